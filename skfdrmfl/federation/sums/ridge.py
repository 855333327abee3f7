"""Ridge regression from client sums: exactly the one of the pooled rows, whoever holds which row.

A client sends counts, sums and products of its encoder inputs and outputs, p (p + q + 1) numbers, and then, of every
penalty, the squared errors that its rows would have had left out, summed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from skfdrmfl.common.arrays import Float, Indices
from skfdrmfl.data.partition import Partition
from skfdrmfl.model.linear_part import Linear

# Penalties tried, relative to the largest eigenvalue of the columns' second moments; infinity is the mean.
PENALTIES = (*np.logspace(-12, 1, 27).tolist(), float("inf"))
# Beyond this many columns p^2 numbers are too much to send, and a p x p matrix too much to solve.
MAX_COLUMNS = 2048
# Where a row's leverage is closer to 1 than this, its error left out is rounding; it counts as unbounded.
SMALLEST_SHARE = 1e-9


class Moments(NamedTuple):
    """Sums over rows: n; x (p,), y (q,); x x' (p, p), x y' (p, q)."""

    n: float
    x: Float
    y: Float
    xx: Float
    xy: Float


class Ridge:
    """The minimisers of sum (y - x'b - b_0)^2 + penalty n ev_1 |b gains|^2 for all penalties (Hoerl and Kennard 1970).

    Parameters
    ----------
    x, y : ndarray of shape (n, p) and (n, q)
        Rows of all clients; only their sums leave a client.
    partition : Partition
    gains : ndarray of shape (p,)
        Length in x of a unit change of a column of the table: x / gains are coordinates in which the penalty
        is that of ridge regression on the columns themselves. ev_1 is their largest second moment.
    """

    def __init__(self, x: Float, y: Float, partition: Partition, gains: Float):
        def client(rows: Indices) -> Moments:
            a, b = x[rows], y[rows]
            return Moments(len(rows), a.sum(0), b.sum(0), a.T @ a, a.T @ b)

        self._x, self._y, self._partition = x, y, partition
        sums = partition.sum_over_clients(client)
        self._n = sums.n
        self._mean_x, self._mean_y = sums.x / sums.n, sums.y / sums.n
        # An input without gain is constant, whatever the table holds: its coefficient is 0.
        per_gain = np.divide(1.0, gains, out=np.zeros_like(gains), where=gains > 0)
        xx = (sums.xx / sums.n - np.outer(self._mean_x, self._mean_x)) * np.outer(per_gain, per_gain)
        xy = (sums.xy / sums.n - np.outer(self._mean_x, self._mean_y)) * per_gain[:, None]
        values, axes = np.linalg.eigh(xx)
        self._values = values.clip(min=0.0)
        self._axes = axes * per_gain[:, None]  # from x, centred, to coordinates along the principal axes
        self._projected = axes.T @ xy

    def linear(self, penalty: float) -> Linear:
        """The regression with one penalty; infinity gives the mean."""
        coefficients = self._axes @ (self._shrunk(penalty)[:, None] * self._projected)
        return Linear(coefficients, self._mean_y - self._mean_x @ coefficients)

    def best_penalty(self) -> float:
        """That of `PENALTIES` with the least squared error on rows left out one at a time; the largest of equals.

        Left out, a row's error is e / (1 - h), h its leverage (Allen 1974): both follow from what the server has found,
        so nobody fits anything anew, and clients send one number a penalty.
        """
        inverses = np.stack([self._shrunk(penalty) for penalty in PENALTIES], 1)  # (p, penalties)

        def client(rows: Indices) -> _Squares:
            z = (self._x[rows] - self._mean_x) @ self._axes
            stays = 1.0 - 1.0 / self._n - (z * z) @ inverses / self._n  # (rows, penalties)
            errors = (self._y[rows] - self._mean_y)[..., None] - np.einsum(
                "ip,pq,pt->iqt", z, self._projected, inverses, optimize=True
            )
            stays = np.where(stays > SMALLEST_SHARE, stays, 0.0)
            with np.errstate(divide="ignore", invalid="ignore"):
                squares = np.square(errors / stays[:, None]).sum((0, 1))
            return _Squares(np.where(np.isfinite(squares), squares, np.inf))

        squares = self._partition.sum_over_clients(client).squares
        return PENALTIES[len(squares) - 1 - int(squares[::-1].argmin())]

    def _shrunk(self, penalty: float) -> Float:
        """1 / (ev + penalty ev_1) of each axis; 0 for an infinite penalty."""
        top = float(self._values.max(initial=0.0))
        if np.isinf(penalty) or top == 0.0:
            return np.zeros_like(self._values)
        return 1.0 / (self._values + penalty * top)


class _Squares(NamedTuple):
    """Squared errors of the rows left out, of each penalty."""

    squares: Float
