"""`members_`: what predicts, in which view, how much each member weighs and how it errs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class MemberTable(list[dict[str, Any]]):
    """A list of dicts of "name", "view", "weight" and "error", the mixture first, that prints as a table.

    Weights add up to 1. Errors are root mean squares, in the units of y, on rows held out inside clients; of several
    outputs both are lists. A network alone has no such error (None).

    Parameters
    ----------
    rows : sequence of dict
    note : str
        What else is to be said, such as why there is no mixture.
    """

    def __init__(self, rows: Sequence[dict[str, Any]] = (), note: str = ""):
        super().__init__(rows)
        self.note = note

    def __repr__(self) -> str:
        shown = [row for row in self if row["name"] == "mixture" or any(weight > 0 for weight in _each(row["weight"]))]
        width = max((len(row["name"]) for row in shown), default=0)
        lines = [
            f"{row['name']:{width}}  {_numbers(row['weight'], '.3f')}  {_numbers(row['error'], '.4g')}" for row in shown
        ]
        head = [f"{'member':{width}}  weight  error on rows held out"] if shown else []
        rest = len(self) - len(shown)
        more = [f"and {rest} without weight"] if rest else []
        return "\n".join([*head, *lines, *more, *([self.note] if self.note else [])])

    __str__ = __repr__

    def __reduce__(self) -> Any:
        return type(self), (list(self), self.note)


def _each(value: Any) -> list[float]:
    return value if isinstance(value, list) else [value]


def _numbers(value: Any, form: str) -> str:
    return "-" if value is None else ", ".join(f"{number:{form}}" for number in _each(value))
