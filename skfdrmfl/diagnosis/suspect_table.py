"""What `suspects_` is: a row for each row that looks corrupt, as a dict of columns that prints as a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.common.wording import counted
from skfdrmfl.diagnosis.tables import aligned

# Rows that are shown.
MOST_SHOWN = 20
# Reasons that rows of a clean table may have too, by the tails of what is measured: in so large a share, or so many.
BY_DISTANCE, USUAL_SHARE, USUAL_ROWS = ("unlike other rows", "y unlike that of like rows"), 0.02, 2


class SuspectTable(dict[str, NDArray[Any]]):
    """A dict of columns, which `pandas.DataFrame` takes as it is; printed, counts by reason and the first rows.

    Columns (n,) are "client", "row" (of X as `fit` was given it), "reason", "modality" and "column" (empty where it is
    no single one); of rows that are elsewhere "client", "reason" and "n_rows". `note` says why nothing was looked at.
    """

    def __init__(self, columns: Mapping[str, NDArray[Any]], note: str = ""):
        super().__init__(columns)
        self.note = note

    @property
    def n_rows(self) -> int:
        """How many rows are suspect."""
        return int(np.sum(self["n_rows"])) if "n_rows" in self else len(self.get("row", ()))

    def by_reason(self) -> dict[str, int]:
        """Return how many rows there are of each reason."""
        found: dict[str, int] = {}
        reasons = self.get("reason", np.zeros(0, dtype=object))
        for reason, n in zip(reasons, self.get("n_rows", np.ones(len(reasons), dtype=int)), strict=True):
            found[str(reason)] = found.get(str(reason), 0) + int(n)
        return found

    def alarming(self, n_rows: int) -> dict[str, int]:
        """Return the numbers by reason, none where of so many rows a clean table may have as many."""
        found = self.by_reason()
        return found if is_alarming(found, n_rows) else {}

    def __repr__(self) -> str:
        if self.note:
            return self.note
        if not (n := self.n_rows):
            return "0 suspect rows"
        cells = [list(self), *zip(*(map(str, values) for values in self.values()), strict=True)]
        rest = len(cells) - 1 - MOST_SHOWN
        head = f"{counted(n, 'suspect row')}: {in_words(self.by_reason())}"
        return "\n".join([head, *aligned(cells)[: MOST_SHOWN + 1], *([f"and {rest} more"] if rest > 0 else [])])


def is_alarming(by_reason: Mapping[str, int], n_rows: int) -> bool:
    """Return whether numbers of rows by reason are more than those of a clean table of `n_rows` may be."""
    n_far = sum(by_reason.get(reason, 0) for reason in BY_DISTANCE)
    return sum(by_reason.values()) > n_far or n_far > max(USUAL_SHARE * n_rows, USUAL_ROWS)


def in_words(by_reason: Mapping[str, int]) -> str:
    """Return numbers of rows by reason as text."""
    return ", ".join(f"{n} {reason}" for reason, n in by_reason.items())
