"""Sums over rows from which linear models, and their squared errors, follow without the rows.

Glossary: rows x (p,) and y (q,); n their number; C covariances, divided by n; b coefficients, b_0 intercepts; L a
linear map of x. Leading axes "..." are any number of sets of rows: folds, views, clients.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from math import prod

import numpy as np

from skfdrmfl.common.arrays import Float

EPSILON = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, eq=False)
class Moments:
    """Sums over rows about a centre that all sets share.

    What is computed here are differences of sums, which lose the digits that means far from the centre, or columns of
    very unequal units, take up: a mean of m deviations costs 2 log10(m) digits. About the pooled mean, in units of the
    pooled deviations, none are lost.
    """

    n: Float  # (...), numbers of rows; a set may have none
    x: Float  # (..., p), sums of the rows
    y: Float  # (..., q)
    xx: Float  # (..., p, p), sums of products x x'
    xy: Float  # (..., p, q)
    yy: Float  # (..., q, q)

    @classmethod
    def of_rows(cls, x: Float, y: Float) -> Moments:
        """Return the moments of rows x (..., n, p) and y (..., n, q), which are about their centre already."""
        xt, yt = np.swapaxes(x, -1, -2), np.swapaxes(y, -1, -2)
        return cls(np.full(x.shape[:-2], float(x.shape[-2])), x.sum(-2), y.sum(-2), xt @ x, xt @ y, yt @ y)

    @classmethod
    def stacked(cls, sets: Sequence[Moments]) -> Moments:
        """Return sets side by side, along a new leading axis; all have as many x and y."""
        return cls(*map(np.stack, zip(*(each._sums() for each in sets), strict=True)))

    @property
    def kept(self) -> Moments:
        """Moments (K + 1, ...) of all rows but those of each of K sets, and of all rows."""
        return Moments(*(np.concatenate((of.sum(0) - of, of.sum(0)[None])) for of in self._sums()))

    def sum(self, axis: int = 0) -> Moments:
        """Return the moments of the rows of all sets along a leading axis, counted from the first."""
        return Moments(*(of.sum(axis) for of in self._sums()))

    def through(self, L: Float) -> Moments:
        """Return the moments of rows L x, with L (p', p): L x x' L' and so on."""
        return Moments(self.n, self.x @ L.T, self.y, L @ self.xx @ L.T, L @ self.xy, self.yy)

    @property
    def per_row(self) -> Float:
        """1 / n (...); 0 of a set without rows."""
        return np.divide(1.0, self.n, out=np.zeros_like(self.n), where=self.n > 0)

    @property
    def mean_x(self) -> Float:
        """Mean of x (..., p); 0 of a set without rows."""
        return self.x * self.per_row[..., None]

    @property
    def mean_y(self) -> Float:
        """Mean of y (..., q); 0 of a set without rows."""
        return self.y * self.per_row[..., None]

    @property
    def variance_y(self) -> Float:
        """Variance of y (..., q), the diagonal of C_yy."""
        return np.diagonal(self.yy, axis1=-2, axis2=-1) * self.per_row[..., None] - self.mean_y**2

    def covariances(self) -> tuple[Float, Float, Float]:
        """Return C_xx (..., p, p), C_xy (..., p, q) and C_yy (..., q, q), about each set's own mean."""
        per_row = self.per_row[..., None, None]
        x, y = self.mean_x, self.mean_y
        cxx, cxy, cyy = self.xx * per_row, self.xy * per_row, self.yy * per_row
        cxx -= x[..., :, None] * x[..., None, :]
        cxy -= x[..., :, None] * y[..., None, :]
        cyy -= y[..., :, None] * y[..., None, :]
        return cxx, cxy, cyy

    def squared_errors(self, coefficients: Float, intercept: Float) -> Float:
        """Return the sums over rows of (y - x'b - b_0)^2, of each output.

        An error below the rounding of its terms is returned as that rounding, so never negative: of several models the
        least error is not one that rounding made. Leading axes before those of the sets are of several models a set.
        """
        b, b_0 = coefficients, intercept
        curved = _times(self.xx, b) + self.x[..., None] * b_0[..., None, :] - self.xy  # minus X'e
        rest = (self.x[..., None] * b).sum(-2) + self.n[..., None] * b_0 - self.y  # minus 1'e
        yy = np.diagonal(self.yy, axis1=-2, axis2=-1)
        squares = yy - self.y * b_0 + b_0 * rest
        squares += np.einsum("...pq,...pq->...q", b, curved - self.xy)
        size = yy + self.n[..., None] * np.square(b_0)
        size = size + np.trace(self.xx, axis1=-2, axis2=-1)[..., None] * np.square(b).sum(-2)
        return np.maximum(squares, EPSILON * size)

    def _sums(self) -> list[Float]:
        return [getattr(self, field.name) for field in fields(self)]


def _times(matrices: Float, b: Float) -> Float:
    """Return matrices (..., p, p) times b (E, ..., p, q), by one product a matrix whatever E is."""
    if b.ndim <= matrices.ndim:
        return matrices @ b
    extra = b.shape[: b.ndim - matrices.ndim]
    several = b.reshape(prod(extra), *b.shape[len(extra) :])
    side_by_side = np.moveaxis(several, 0, -2)  # (..., p, E, q)
    of_models = side_by_side.shape[-2:]
    product = matrices @ side_by_side.reshape(*side_by_side.shape[:-2], prod(of_models))
    product = np.moveaxis(product.reshape(*product.shape[:-1], *of_models), -2, 0)
    return product.reshape(*extra, *product.shape[1:])
