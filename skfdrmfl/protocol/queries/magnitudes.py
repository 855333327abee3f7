"""How large the values of each client are: what a guard asks before anything is summed up."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from skfdrmfl.common.arrays import Float
from skfdrmfl.data.held_out import EVERYTHING, Subset
from skfdrmfl.protocol.door import Block, Federation
from skfdrmfl.protocol.queries.whitening import BlockSum


@dataclass(frozen=True, eq=False)
class Magnitudes(BlockSum):
    """The sum of the absolute values of each column (p,)."""

    name: ClassVar[str] = "magnitudes of columns"

    def of(self, x: Float) -> Float:
        """Return the sum over the rows x (n, p)."""
        return np.abs(x).sum(0)


def compare_magnitudes(federation: Federation, blocks: Iterable[Block], subset: Subset = EVERYTHING) -> None:
    """Ask everybody how large the values of each block are, so that a guard may leave out who answers out of line."""
    federation.sum(*(Magnitudes(block, subset) for block in blocks))
