"""A comparison as one page of HTML that stands by itself: nothing is fetched, figures are inside."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterable
from functools import partial
from html import escape
from typing import Any

from skfdrmfl.common.page import page_of, size_text, table, table_of_kinds
from skfdrmfl.compare._result import FEDERATED
from skfdrmfl.compare._text import table_cells, verdict
from skfdrmfl.compare._variation import TITLES


def page(comparison: Any, title: str, unit: str) -> str:
    """Return the page of a `Comparison` under a title; `unit` is that of y."""
    parts: list[str] = []
    for output in comparison.outputs:
        parts += _of_output(comparison, output, unit)
    parts.append(f'<p class="note">{"<br>".join(map(escape, comparison.footnotes()))}</p>')
    parts += [*_data(comparison.settings), *_ledger(comparison.ledger), *_repeat(comparison.settings)]
    return page_of(title, parts)


def _of_output(comparison: Any, output: str, unit: str) -> Iterable[str]:
    """Yield the answer, the table and the figure of one output."""
    one = comparison.of(output)
    if len(comparison.outputs) > 1:
        yield f"<h2>{escape(output)}</h2>"
    yield f'<p class="answer">{escape(verdict(comparison, output, unit))}</p>'
    cells = table_cells(comparison, output)
    yield table(cells[0], cells[1:], own=FEDERATED)
    text = f"Predicted against measured values of {output}, and residuals, for several methods"
    yield _picture(lambda: one.plot(unit=unit), text)
    for variation in comparison.variations:
        title = TITLES[variation.along]
        yield f"<h2>{escape(title)}</h2>"
        if said := variation.verdict(output):
            yield f'<p class="answer">{escape(said)}</p>'
        cells = variation.cells(output)
        yield table(cells[0], cells[1:], own=FEDERATED)
    if comparison.variations:
        draw = partial(comparison.plot_variations, output=output, unit=unit)
        yield _picture(draw, f"Errors of {output} where these vary")
    for test in comparison.permutations:
        if test.output == output:
            yield f"<p>{escape(test.verdict())}</p>"


def _picture(draw: Callable[[], Any], text: str) -> str:
    """Return a figure as an image, or why there is none."""
    buffer = io.BytesIO()
    try:
        draw().savefig(buffer, format="png", dpi=110)
    except MemoryError:
        raise
    except Exception as error:  # settings, fonts, backends and layouts fail in ways of their own
        return f'<p class="note">No figure: {escape(str(error))}</p>'
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f'<p><img alt="{escape(text)}" src="data:image/png;base64,{data}"></p>'


def _data(settings: dict[str, Any]) -> Iterable[str]:
    """Yield what was compared on, and how."""
    yield "<h2>Data and settings</h2>"
    notes = settings.get("notes", [])
    if notes:
        yield f"<ul>{''.join(f'<li>{escape(note)}</li>' for note in notes)}</ul>"
    elsewhere = ("notes", "versions", "command", "failed")
    shown = {name: v for name, v in settings.items() if name not in elsewhere and v not in ("", {}, None)}
    yield table(["setting", "value"], [[name, _text(value)] for name, value in shown.items()])
    yield "<h2>Versions</h2>"
    yield table(["of", "version"], list(settings.get("versions", {}).items()))


def _ledger(ledger: dict[str, Any]) -> Iterable[str]:
    """Yield what passed between clients and server."""
    yield "<h2>What left the clients</h2>"
    if not ledger:
        yield "<p>No federated fit was finished, so there is no record.</p>"
        return
    sent = sum(row["bytes"] for row in ledger["by_kind"] if row["direction"] == "up")
    received = sum(row["bytes"] for row in ledger["by_kind"] if row["direction"] == "down")
    yield (
        f"<p>In one fit of FDRMFL ({ledger['n_rows']} rows of the first fold, {ledger['n_rounds']} rounds) clients "
        f"sent {size_text(sent)} and received {size_text(received)}. None of the messages is a row, but the sums "
        "of a client with one row are that row. The server needs the total over clients of a message, or each by "
        "itself. The clients are simulated here: the rivals, and the regressor behind FDRMFL, see pooled rows.</p>"
    )
    yield table_of_kinds(ledger["by_kind"])
    clients = [[row["client"], size_text(row["sent"]), size_text(row["received"])] for row in ledger["by_client"]]
    if clients:
        yield table(["client", "sent", "received"], clients)


def _repeat(settings: dict[str, Any]) -> Iterable[str]:
    """Yield how to get these numbers again."""
    yield "<h2>Repeat it</h2>"
    lines = [settings.get("command", "skfdrmfl.compare.compare(...) with the settings above")]
    if versions := settings.get("versions", {}):
        pinned = [name for name in ("scikit-learn", "torch", "numpy", "scipy") if name in versions]
        lines.insert(0, " ".join(["pip install", *(f"{name}=={versions[name].partition('+')[0]}" for name in pinned)]))
    yield f"<pre>{escape(chr(10).join(lines))}</pre>"
    if "sha256" in settings:
        yield f"<p class='note'>The table has the SHA-256 <code>{escape(settings['sha256'])}</code>.</p>"
    yield "<p class='note'>Everything random follows from the seeds; seconds do not.</p>"


def _text(value: Any) -> str:
    """Return a setting as text."""
    return ", ".join(f"{k}: {v}" for k, v in value.items()) if isinstance(value, dict) else str(value)
