"""What an aggregation is: updates of one run go in as they come, one model comes out."""

from __future__ import annotations

from typing import Protocol

from numpy.typing import NDArray

from skfdrmfl.common.arrays import Indices


class Aggregation(Protocol):
    """One round's aggregate."""

    def add(self, n_rows: Indices, weights: NDArray) -> None:
        """Take the parameters (C, D) of clients with `n_rows`.

        Parameters
        ----------
        n_rows : ndarray of shape (C,) or (C, groups)
            |D_k|; or, for each group of parameters, the rows that count for it. A client has no say on a group for
            which it has no row.
        weights : ndarray of shape (C, D)
            Not kept: a caller may write to it afterwards.
        """

    def result(self) -> NDArray:
        """Return the model (D,). Parameters on which nobody has a say stay as they were sent out."""
