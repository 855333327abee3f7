"""A card of a fitted federation: one page for those who gave rows, of what the fitted model holds and nothing else."""

from __future__ import annotations

import json
import os
from html import escape
from math import ceil, isfinite
from pathlib import Path
from typing import Any

import numpy as np

from skfdrmfl.common.page import page_of, size_text, table, table_of_kinds
from skfdrmfl.inspection._base import transformer_of
from skfdrmfl.protocol.ledger import UP

UNKNOWN = "not recorded"
MEANINGS = {
    "sites": "Each site by the label that it gave itself. Rows are those it trained on, bytes those of its messages. "
    "The error is the median absolute one on rows that the site held out, in units of y, to 2.5 %.",
    "members": "What predicts, by weight, and the error on rows held out inside sites, in units of y.",
    "privacy": "Whoever has the model tells whether one site took part no better than epsilon and delta say. Without "
    "privacy epsilon is infinite: nothing is promised.",
    "ledger": "What passed between sites and server, by kind, over all rounds. Of what goes up the server needs the "
    "total over sites, or each site's own.",
    "dropped": "Who was left out of what, and why.",
    "policies": "Hash of the policy that each site answered under: a site finds its own in its record.",
    "versions": "What the server fitted with.",
}


class FederationCard:
    """A fitted federation on one page: sites, errors, privacy, what left the sites, versions and policies.

    Parameters
    ----------
    content : dict
        As `to_dict` returns it.

    Examples
    --------
    >>> from skfdrmfl.inspection import FederationCard
    >>> FederationCard.from_estimator(model).save("card.html")  # doctest: +SKIP
    """

    def __init__(self, content: dict[str, Any]):
        self._content = content

    @classmethod
    def from_estimator(cls, estimator: Any, *, title: str = "A fitted federation") -> FederationCard:
        """Return the card of a fitted FDRMFLTransformer, or of a Pipeline with one, from what the model holds."""
        model, _ = transformer_of(estimator)
        fitted, log = model._fitted, model.federation_log_
        account, epsilon = fitted.account, float(model.epsilon_)
        privacy = {
            "epsilon": epsilon if isfinite(epsilon) else None,
            "delta": None if account is None else account.delta(model.dp_delta),
            "bill": model.privacy_bill_,
        }
        members = [
            {name: row[name] for name in ("name", "view", "weight", "error")}
            for row in fitted.members
            if row["name"] == "mixture" or np.any(np.asarray(row["weight"]) > 0)
        ]
        return cls(
            {
                "title": title,
                "settings": repr(model),
                "n_rounds": int(fitted.n_rounds),
                "columns": int(fitted.n_features),
                "outputs": len(fitted.target.mean),
                "engine": fitted.engine,
                "sites": _sites(model),
                "members": members,
                "privacy": privacy,
                "ledger": {"exchanges": log.exchanges, "by_kind": log.by_kind()},
                "dropped": [dict(entry) for entry in fitted.dropped],
                "policies": dict(fitted.policies),
                "versions": dict(fitted.versions),
                "meanings": MEANINGS,
            }
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the card as plain values; None stands for what the model does not hold, or has no bound."""
        plain: dict[str, Any] = json.loads(self.to_json())
        return plain

    def to_json(self) -> str:
        """Return the card as JSON."""
        return json.dumps(self._content, indent=1, ensure_ascii=False, default=_plain) + "\n"

    def to_html(self) -> str:
        """Return the card as a page that stands by itself."""
        of = self.to_dict()
        sent = size_text(sum(row["bytes"] for row in of["ledger"]["by_kind"] if row["direction"] == UP))
        answer = f"{len(of['sites'])} sites, {of['n_rounds']} rounds; together they sent {sent}."
        parts = [f'<p class="answer">{escape(answer)} {escape(_promise(of["privacy"]))}</p>']

        def head(title: str, key: str) -> None:
            parts.append(f"<h2>{escape(title)}</h2>\n<p class='note'>{escape(MEANINGS[key])}</p>")

        def add(title: str, key: str, titles: list[str], rows: list[list[Any]], otherwise: str = "") -> None:
            head(title, key)
            cells = [[_text(cell) for cell in row] for row in rows]
            parts.append(table(titles, cells) if rows else f"<p>{escape(otherwise)}</p>")

        names = ["rows", "sent", "received", "rows_held_out", "error"]
        sites = [[row["site"], *(row[name] for name in names)] for row in of["sites"]]
        for row in sites:
            row[2:4] = [UNKNOWN if n is None else size_text(n) for n in row[2:4]]
        add("Sites", "sites", ["site", "rows", "sent", "received", "rows held out", "error"], sites)
        members = [[*row.values()] for row in of["members"]]
        add("What predicts", "members", ["member", "view", "weight", "error"], members)
        bill = [[*expense.values()] for expense in of["privacy"]["bill"]]
        add("Privacy", "privacy", ["what", "noise multiplier", "sampling rate", "times"], bill, "No noise was added.")
        head("What passed", "ledger")
        parts.append(table_of_kinds(of["ledger"]["by_kind"]))
        dropped = [[row["client"], row["reason"], ", ".join(map(str, row["rounds"]))] for row in of["dropped"]]
        add("Left out", "dropped", ["site", "reason", "rounds"], dropped, "Nobody was.")
        add("Policies", "policies", ["site", "hash"], [[*item] for item in of["policies"].items()], "None is known.")
        add("Versions", "versions", ["of", "version"], [[*item] for item in of["versions"].items()], "None is known.")
        parts.append(f"<h2>Settings</h2>\n<pre>{escape(of['settings'])}</pre>")
        return page_of(of["title"], parts)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the card: as JSON where `path` ends in .json, as HTML where it ends in .html."""
        path = Path(path)
        text = {".json": self.to_json, ".html": self.to_html}.get(path.suffix)
        if text is None:
            raise ValueError(f"path is {str(path)!r}, but a card is a page or JSON; let it end in .html or .json.")
        path.write_text(text(), encoding="utf-8")


def _sites(model: Any) -> list[dict[str, Any]]:
    """Return a row for each site: what it gave, what passed, and how the model errs on rows that it held out."""
    fitted, log = model._fitted, model.federation_log_
    labels = fitted.clients.tolist()
    traffic = log.by_client() if log.clients else [{"sent": None, "received": None}] * len(labels)
    counts = fitted.n_samples_per_client
    n_held_out = {} if fitted.held_out is None else fitted.held_out.n_rows()
    rows = []
    for position, (label, passed) in enumerate(zip(labels, traffic, strict=True)):
        n, error = n_held_out.get(position, 0), None
        if n:
            found = fitted.held_out.half_width(ceil(n / 2), position) * fitted.target.unit
            error = [float(e) if isfinite(e) else None for e in found]
        rows.append(
            {
                "site": label,
                "rows": None if counts is None else int(counts[position]),
                "sent": passed["sent"],
                "received": passed["received"],
                "rows_held_out": n or None,
                "error": error,
            }
        )
    return rows


def _promise(privacy: dict[str, Any]) -> str:
    """Return what is promised about one site's part in it."""
    if privacy["delta"] is None:
        return "No differential privacy: what a site reveals is what its messages reveal."
    if privacy["epsilon"] is None:
        return "Updates were clipped without noise: nothing is promised."
    return f"Differential privacy of sites: epsilon {privacy['epsilon']:.3g} at delta {privacy['delta']:.2g}."


def _text(value: Any) -> str:
    """Return a value as a cell shows it."""
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    if isinstance(value, float):
        return f"{value:.4g}"
    return UNKNOWN if value is None else str(value)


def _plain(value: Any) -> Any:
    """Return what JSON takes of numpy's values; text of others."""
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else str(value)
