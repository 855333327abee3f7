"""Ridge regression from client sums: exactly the one of the pooled rows, whoever holds which row.

A client sends counts, sums and products of its encoder inputs and outputs, p (p + q + 1) numbers, and then, of every
penalty, the squared errors that its rows would have had left out, summed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from skfdrmfl.common.arrays import Float, Indices
from skfdrmfl.data.held_out import EVERYTHING, Subset
from skfdrmfl.method.linear_part import Linear
from skfdrmfl.protocol.door import ClientRows, Federation
from skfdrmfl.protocol.plan import Inputs, Targets

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


@dataclass(frozen=True, eq=False)
class MomentsQuery:
    """Sums and products of encoder inputs and outputs; of the first `n_columns` inputs, or of all."""

    name: ClassVar[str] = "products for the ridge"
    powers: ClassVar[tuple[int, ...]] = (0, 1, 1, 2, 2)
    inputs: Inputs
    targets: Targets
    subset: Subset = EVERYTHING
    n_columns: int | None = None

    def __call__(self, client: ClientRows) -> Moments | None:
        """Return a client's moments."""
        a = client.inputs(self.inputs, self.subset)[:, : self.n_columns]
        b = client.targets(self.targets, self.subset)
        return Moments(len(a), a.sum(0), b.sum(0), a.T @ a, a.T @ b) if len(a) else None


class LeftOutSquares(NamedTuple):
    """Squared errors of the rows left out, of each penalty."""

    squares: Float


@dataclass(frozen=True, eq=False)
class LeftOutErrors:
    """Errors of rows left out block by block, by all that the server has found (Allen 1974).

    A row that is a block by itself has the error e / (1 - h) when left out, h its leverage; a block of several rows
    (I - H)^-1 e, H its part of the hat matrix. So nobody fits anything anew, and clients send one number a penalty.
    """

    name: ClassVar[str] = "errors of the ridge on rows left out"
    powers: ClassVar[tuple[int, ...]] = (0,)
    inputs: Inputs  # as of `MomentsQuery`
    targets: Targets
    subset: Subset
    n_columns: int | None
    n: float  # rows of all clients
    mean_x: Float  # (p,)
    mean_y: Float  # (q,)
    axes: Float  # (p, r), from x, centred, to coordinates along the principal axes
    projected: Float  # (r, q), covariance of those coordinates with y
    inverses: Float  # (r, penalties), 1 / (ev + penalty ev_1) of each axis

    def __call__(self, client: ClientRows) -> LeftOutSquares | None:
        """Return a client's sums of squares."""
        x = client.inputs(self.inputs, self.subset)[:, : self.n_columns]
        if not len(x):
            return None
        y = client.targets(self.targets, self.subset)
        z = (x - self.mean_x) @ self.axes
        errors = (y - self.mean_y)[..., None] - np.einsum(
            "ip,pq,pt->iqt", z, self.projected, self.inverses, optimize=True
        )
        blocks = client.blocks(self.subset)
        alone = np.bincount(blocks)[blocks] == 1
        squares = self._of_single_rows(z[alone], errors[alone])
        for block in np.unique(blocks[~alone]).tolist():
            squares = squares + self._of_block(z[blocks == block], errors[blocks == block])
        return LeftOutSquares(np.where(np.isfinite(squares), squares, np.inf))

    def _of_single_rows(self, z: Float, errors: Float) -> Float:
        """Return the sums of squares (penalties,) of rows (m, r) that are blocks by themselves."""
        stays = 1.0 - 1.0 / self.n - (z * z) @ self.inverses / self.n  # (rows, penalties)
        stays = np.where(stays > SMALLEST_SHARE, stays, 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.square(errors / stays[:, None]).sum((0, 1))

    def _of_block(self, z: Float, errors: Float) -> Float:
        """Return the sums of squares (penalties,) of the rows (m, r) of one block."""
        hat = np.einsum("ip,pt,jp->tij", z, self.inverses, z, optimize=True) / self.n + 1.0 / self.n
        values, vectors = np.linalg.eigh(np.eye(len(z)) - hat)  # (penalties, m), (penalties, m, m)
        values = np.where(values > SMALLEST_SHARE, values, 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.square(np.einsum("tij,iqt->tjq", vectors, errors) / values[..., None]).sum((1, 2))


class Ridge:
    """The minimisers of sum (y - x'b - b_0)^2 + penalty n ev_1 |b gains|^2 for all penalties (Hoerl and Kennard 1970).

    x are the `inputs`; where they have more than `MAX_COLUMNS` columns none is used, and the regression is the mean.
    The `gains` of their transformation are the lengths in x of a unit change of a column of the table: x / gains are
    coordinates in which the penalty is that of ridge regression on the columns themselves. ev_1 is their largest second
    moment. With `mean_only` no products are asked for, which is enough for an infinite penalty.
    """

    def __init__(
        self,
        federation: Federation,
        inputs: Inputs,
        targets: Targets,
        subset: Subset = EVERYTHING,
        *,
        mean_only: bool = False,
    ):
        self._federation = federation
        gains = inputs.transform.gains
        self._n_inputs = len(gains)
        self._n_columns = 0 if mean_only or len(gains) > MAX_COLUMNS else None
        gains = gains[: self._n_columns]
        self._query = MomentsQuery(inputs, targets, subset, self._n_columns)
        (sums,) = federation.sum(self._query)
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
        """Return the regression with one penalty; infinity gives the mean."""
        used = self._axes @ (self._shrunk(penalty)[:, None] * self._projected)
        coefficients = np.zeros((self._n_inputs, len(self._mean_y)))
        coefficients[: len(used)] = used
        return Linear(coefficients, self._mean_y - self._mean_x @ used)

    def best_penalty(self) -> float:
        """Return that of `PENALTIES` with the least squared error on rows left out; the largest of equals."""
        inverses = np.stack([self._shrunk(penalty) for penalty in PENALTIES], 1)  # (r, penalties)
        query = self._query
        (answer,) = self._federation.sum(
            LeftOutErrors(
                query.inputs,
                query.targets,
                query.subset,
                query.n_columns,
                self._n,
                self._mean_x,
                self._mean_y,
                self._axes,
                self._projected,
                inverses,
            )
        )
        squares: Indices = answer.squares
        return PENALTIES[len(squares) - 1 - int(squares[::-1].argmin())]

    def _shrunk(self, penalty: float) -> Float:
        """Return 1 / (ev + penalty ev_1) of each axis; 0 for an infinite penalty."""
        top = float(self._values.max(initial=0.0))
        if np.isinf(penalty) or top == 0.0:
            return np.zeros_like(self._values)
        return 1.0 / (self._values + penalty * top)


def fit_ridge(
    federation: Federation, inputs: Inputs, targets: Targets, penalty: float, subset: Subset = EVERYTHING
) -> Linear:
    """Return the federated ridge of outputs on encoder inputs; for the mean, no products are sent."""
    return Ridge(federation, inputs, targets, subset, mean_only=bool(np.isinf(penalty))).linear(penalty)
