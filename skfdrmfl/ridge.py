"""Ridge regression from client sums: exactly the one of the pooled rows, whoever holds which row.

A client sends counts, sums and products of its encoder inputs and outputs, p (p + q + 1) numbers; sums over folds
inside the clients give the cross-validated error of every penalty at no further exchange.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.partition import Indices, Partition

Float = NDArray[np.float64]

# Penalties tried, relative to the largest eigenvalue of the columns' second moments; infinity is the mean.
PENALTIES = (*np.logspace(-12, 1, 27).tolist(), float("inf"))
# Beyond this many columns p^2 numbers are too much to send, and a p x p matrix too much to solve.
MAX_COLUMNS = 2048


class Moments(NamedTuple):
    """Sums over rows: n; x (p,), y (q,); x x' (p, p), x y' (p, q), y^2 (q,)."""

    n: float
    x: Float
    y: Float
    xx: Float
    xy: Float
    yy: Float

    def plus(self, other: Moments, sign: float = 1.0) -> Moments:
        """The sums with other rows, or without some of their own for `sign` = -1."""
        return Moments(
            self.n + sign * other.n,
            self.x + sign * other.x,
            self.y + sign * other.y,
            self.xx + sign * other.xx,
            self.xy + sign * other.xy,
            self.yy + sign * other.yy,
        )


@dataclass(frozen=True)
class Linear:
    """x -> x' coefficients + intercept; coefficients (p, q), intercept (q,)."""

    coefficients: Float
    intercept: Float

    def predict(self, x: Float) -> Float:
        """Outputs (n, q) for rows x (n, p)."""
        return x @ self.coefficients + self.intercept


def moments(x: Float, y: Float, partition: Partition) -> Moments:
    """The sums of all clients' rows of x (n, p) and y (n, q)."""

    def client(rows: Indices) -> Moments:
        a, b = x[rows], y[rows]
        return Moments(len(rows), a.sum(0), b.sum(0), a.T @ a, a.T @ b, (b * b).sum(0))

    return partition.sum_over_clients(client)


def solve(sums: Moments, gains: Float, penalties: Sequence[float]) -> list[Linear]:
    """The minimiser of sum (y - x'b - b_0)^2 + penalty n ev_1 |b / gains|^2 for each penalty.

    Parameters
    ----------
    sums : Moments
    gains : ndarray of shape (p,)
        Length in x of a unit change of a column of the table: x / gains are coordinates in which the penalty
        is that of ridge regression on the columns themselves. ev_1 is their largest second moment.
    penalties : sequence of float
        Infinity gives the mean.

    Notes
    -----
    Hoerl and Kennard 1970; all penalties from one eigendecomposition.
    """
    mean_x, mean_y = sums.x / sums.n, sums.y / sums.n
    xx = (sums.xx / sums.n - np.outer(mean_x, mean_x)) / np.outer(gains, gains)
    xy = (sums.xy / sums.n - np.outer(mean_x, mean_y)) / gains[:, None]
    values, axes = np.linalg.eigh(xx)
    values = values.clip(min=0.0)
    projected = axes.T @ xy
    top = float(values.max(initial=0.0))
    out = []
    for penalty in penalties:
        if np.isinf(penalty) or top == 0.0:
            coefficients = np.zeros_like(xy)
        else:
            coefficients = (axes @ (projected / (values + penalty * top)[:, None])) / gains[:, None]
        out.append(Linear(coefficients, mean_y - mean_x @ coefficients))
    return out


def squared_error(sums: Moments, linear: Linear) -> float:
    """Sum over rows and outputs of the squared errors of `linear`, from the rows' sums alone."""
    b, b_0 = linear.coefficients, linear.intercept
    fitted = np.einsum("pq,pr,rq->q", b, sums.xx, b) + 2.0 * b_0 * (sums.x @ b) + sums.n * b_0**2
    return float((sums.yy - 2.0 * ((sums.xy * b).sum(0) + sums.y * b_0) + fitted).sum().clip(min=0.0))


def cross_validated(folds: Sequence[Moments], gains: Float) -> tuple[float, float]:
    """The penalty with the least squared error on rows left out, and that error summed over the folds.

    `folds` are the sums of disjoint sets of rows; each is left out once.
    """
    total = folds[0]
    for fold in folds[1:]:
        total = total.plus(fold)
    errors = np.zeros(len(PENALTIES))
    for fold in folds:
        errors += [squared_error(fold, linear) for linear in solve(total.plus(fold, -1.0), gains, PENALTIES)]
    best = len(errors) - 1 - int(errors[::-1].argmin())  # the largest of equals
    return PENALTIES[best], float(errors[best])
