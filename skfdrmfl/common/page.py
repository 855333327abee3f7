"""A page of HTML that stands by itself: nothing is fetched, no script runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; border-bottom: 1px solid #ddd; }
.answer { font-size: 1.1rem; background: #eef5fb; border-left: 4px solid #0072B2; padding: .6rem 1rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .85rem; }
th, td { padding: .25rem .45rem; text-align: right; white-space: nowrap; border-bottom: 1px solid #eee; }
th:first-child, td:first-child { text-align: left; } thead th { border-bottom: 2px solid #999; }
tr.own { background: #eef5fb; } img { max-width: 100%; }
code, pre { font: .9rem ui-monospace, monospace; background: #f5f5f5; } code { padding: 0 .2rem; }
pre { padding: .6rem; white-space: pre-wrap; } .note { color: #555; font-size: .9rem; }
"""


def page_of(title: str, parts: Iterable[str]) -> str:
    """Return the page of some parts under a title."""
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(title)}</title>'
    head = f"<head>{head}<style>{STYLE}</style></head>"
    body = "\n".join(["<main>", f"<h1>{escape(title)}</h1>", *parts, "</main>"])
    return f'<!DOCTYPE html>\n<html lang="en">{head}\n<body>\n{body}\n</body></html>\n'


def table(titles: Sequence[str], rows: Sequence[Sequence[str]], own: str = "") -> str:
    """Return a table; the row whose first cell is `own` is marked."""
    head = "".join(f'<th scope="col">{escape(title)}</th>' for title in titles)
    body = "\n".join(
        f"<tr{' class=own' if own and row[0] == own else ''}>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>"
        for row in rows
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table></div>'


def table_of_kinds(by_kind: Iterable[Mapping[str, Any]]) -> str:
    """Return the table of what passed between clients and server, by kind of message."""
    rows = [[r["what"], r["direction"], r["seen"] or "-", str(r["messages"]), size_text(r["bytes"])] for r in by_kind]
    return table(["message", "direction", "the server sees", "messages", "size"], rows)


def size_text(n: int) -> str:
    """Return a number of bytes with its unit."""
    if n < 1000:
        return f"{n} B"
    return f"{n / 1e3:.3g} kB" if n < 1e6 else f"{n / 1e6:.3g} MB"
