"""`members_`: what predicts, in which view, how much each member weighs and how it errs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from skfdrmfl.diagnosis.tables import aligned, each


class MemberTable(list[dict[str, Any]]):
    """A list of dicts of "name", "view", "weight" and "error", the mixture first, that prints as a table.

    Weights add up to 1. Errors are root mean squares, in the units of y, on rows held out inside clients; of several
    outputs both are lists. A network alone has no such error (None). `note` says such as why there is no mixture.
    """

    def __init__(self, rows: Sequence[dict[str, Any]] = (), note: str = ""):
        super().__init__(rows)
        self.note = note

    def __repr__(self) -> str:
        shown = [row for row in self if row["name"] == "mixture" or any(weight > 0 for weight in each(row["weight"]))]
        cells = [[row["name"], _numbers(row["weight"], ".3f"), _numbers(row["error"], ".4g")] for row in shown]
        lines = aligned([["member", "weight", "error on rows held out"], *cells]) if shown else []
        rest = len(self) - len(shown)
        more = [f"and {rest} without weight"] if rest else []
        return "\n".join([*lines, *more, *([self.note] if self.note else [])])


def _numbers(value: Any, form: str) -> str:
    return "-" if value is None else ", ".join(f"{number:{form}}" for number in each(value))
