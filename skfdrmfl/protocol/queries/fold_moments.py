"""Sums of rows, fold by fold, in one exchange: every linear model of kept rows, and its errors on the others, follow.

All rows of a subset are held out in exactly one fold, so what a fold keeps is the total less its own sums.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import ClassVar, NamedTuple

import numpy as np

from skfdrmfl.common.arrays import Float
from skfdrmfl.data.held_out import EVERYTHING, Subset
from skfdrmfl.protocol.door import ClientRows, Query
from skfdrmfl.protocol.plan import Inputs, Targets


class FoldSums(NamedTuple):
    """Sums over the rows x (p,), y (q,) that each of K folds holds out, as the fields of `mixture.moments.Moments`."""

    n: Float  # (K,)
    x: Float  # (K, p)
    y: Float  # (K, q)
    xx: Float  # (K, p, p)
    xy: Float  # (K, p, q)
    yy: Float  # (K, q, q)


@dataclass(frozen=True, eq=False)
class FoldMoments(Query):
    """Sums and products of encoder inputs and outputs over the rows that each of some folds holds out.

    `inputs` centre and scale columns at most, and `targets` are standardised: sums about pooled means, in units of
    pooled deviations, keep the digits that the server's differences need.
    """

    name: ClassVar[str] = "products by fold"
    powers: ClassVar[tuple[int, ...]] = (0, 1, 1, 2, 2, 2)
    inputs: Inputs
    targets: Targets
    folds: tuple[Subset, ...]  # the rows held out, K sides that hold each row of `subset` once
    subset: Subset = EVERYTHING

    def __call__(self, client: ClientRows) -> FoldSums | None:
        """Return a client's sums, of zeros for a fold that it has no row of."""
        sums = [self._of_fold(client, fold) for fold in self.folds]
        return FoldSums(*map(np.stack, zip(*sums, strict=True))) if any(n for n, *_ in sums) else None

    def _of_fold(self, client: ClientRows, fold: Subset) -> tuple[float, Float, Float, Float, Float, Float]:
        pairs = client.inputs_and_targets(self.inputs, self.targets, fold)
        parts = [(float(len(a)), a.sum(0), b.sum(0), a.T @ a, a.T @ b, b.T @ b) for a, b in pairs]
        return reduce(lambda total, part: tuple(map(add, total, part)), parts)
