"""Z as it is delivered: centred and on its principal axes, from two exchanges of sums."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from skfdrmfl.common.arrays import Arrays, Float
from skfdrmfl.data.held_out import EVERYTHING, Subset
from skfdrmfl.protocol.door import ClientRows, Query
from skfdrmfl.protocol.plan import Model


class CodeTotals(NamedTuple):
    """The number of rows, and the sum of Z (c,)."""

    n_rows: float
    z: Float

    @property
    def center(self) -> Float:
        """The mean of Z (c,)."""
        return self.z / self.n_rows


class CodeMoments(NamedTuple):
    """Sums of Z Z' (c, c) and of Z y_hat' (c, q), Z centred."""

    zz: Float
    zy: Float


@dataclass(frozen=True, eq=False)
class CodeSums(Query):
    """The sum of Z under a model."""

    name: ClassVar[str] = "sums of Z"
    powers: ClassVar[tuple[int, ...]] = (0, 1)
    of_rows: ClassVar[bool] = True
    model: Model
    subset: Subset = EVERYTHING

    def __call__(self, client: ClientRows) -> CodeTotals | None:
        """Return a client's sums."""
        z, _ = client.codes(self.model, self.subset)
        return CodeTotals(len(z), z.sum(0)) if len(z) else None


@dataclass(frozen=True, eq=False)
class CodeProducts(Query):
    """Products of Z with itself and with predictions, under a model and about `center` (c,)."""

    name: ClassVar[str] = "products of Z"
    powers: ClassVar[tuple[int, ...]] = (2, 2)
    of_rows: ClassVar[bool] = True
    model: Model
    center: Float
    subset: Subset = EVERYTHING

    def __call__(self, client: ClientRows) -> CodeMoments | None:
        """Return a client's sums."""
        z, y_hat = client.codes(self.model, self.subset)
        z = z - self.center
        return CodeMoments(z.T @ z, z.T @ y_hat) if len(z) else None


def delivered(model: Model, sums: CodeTotals, products: CodeMoments) -> tuple[Arrays, Float]:
    """Return a model whose Z is on its principal axes over the rows, and the variance (c,) of each column of that.

    Z is centred, rotated to its principal axes, ordered by variance, each sign such that Z correlates positively with
    the prediction it explains most.
    """
    variance, axes = np.linalg.eigh(products.zz / sums.n_rows)
    variance, axes = variance[::-1].clip(min=0.0), axes[:, ::-1]
    covariance = axes.T @ products.zy  # (c, q)
    explained = covariance[np.arange(len(axes)), np.abs(covariance).argmax(1)]
    axes = axes * np.where(explained < 0, -1.0, 1.0)
    return model.network.rotated(model.arrays, sums.center, axes), variance
