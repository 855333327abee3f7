"""What an aggregation is: updates of one run go in as they come, one model comes out."""

from __future__ import annotations

from typing import Protocol

from numpy.typing import NDArray

from skfdrmfl.common.arrays import Indices


class Aggregation(Protocol):
    """One round's aggregate."""

    def add(self, n_rows: Indices, weights: NDArray) -> None:
        """Take the parameters (C, D) of clients with `n_rows` (C,) |D_k|, or (C, groups) for each group of parameters.

        A client has no say on a group for which it has no row. A caller may write to `weights` afterwards.
        """

    def result(self) -> NDArray:
        """Return the model (D,). Parameters on which nobody has a say stay as they were sent out."""
