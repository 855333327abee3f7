"""What an aggregation rule is: updates go in as they come, one model a run comes out."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from skfdrmfl.common.arrays import Indices


class Aggregation(Protocol):
    """One round's aggregate.

    Parameters
    ----------
    broadcast : Tensor of shape (runs, D)
        The global models sent out; a run of which nobody answers keeps its own.
    runs : ndarray of shape (participants,)
        Run of everyone invited.
    n_rows : ndarray of shape (participants,) or (participants, groups)
        |D_k|; or, for each group of parameters, the rows that count for it. A group for which no row counts keeps its
        values.
    group_of : Tensor of int of shape (D,), default=None
        Group of each parameter, where there are several.
    """

    def __init__(self, broadcast: Tensor, runs: Indices, n_rows: Indices, group_of: Tensor | None = None): ...

    def add(self, runs: Indices, n_rows: Indices, weights: Tensor) -> None:
        """Take the parameters (C, D) of clients of `runs` (C,) with `n_rows` (as above)."""

    def result(self) -> Tensor:
        """Return the models (runs, D)."""
