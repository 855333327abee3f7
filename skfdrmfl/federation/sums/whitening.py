"""Federated centring, scaling and whitening, from sums that each client takes over its own rows.

A client sends a count and a sum, then, about the mean that comes back, sums of absolute deviations and of
products; the server only adds them up. The result equals that of the pooled rows, whoever holds which row.
What a client reveals is what these sums reveal: a client with one row reveals that row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skfdrmfl.common.arrays import Float, Indices, Present
from skfdrmfl.data.partition import Partition
from skfdrmfl.data.transforms import (
    SLAB_ROWS,
    BlockSpectrum,
    BlockTransform,
    TableTransform,
    double,
    scaled,
    unchanged,
)

ReadRows = Callable[[Indices], Tensor]
# Columns whose standard deviations span more than this are standardised before whitening: raw whitening would
# shrink away the columns of small units.
MAX_SCALE_SPAN = 100.0
# Up to this many columns a block's full second moments are exchanged (their square many numbers) ...
MAX_EXACT_COLUMNS = 2048
# ... beyond it, their products with this many random directions. If those hold less than this share of the
# variance the block is not low-dimensional, and it is standardised instead.
RANGE_DIMENSIONS = 256
MIN_RANGE_SHARE = 0.99
# ... and so are directions below this share of the largest eigenvalue, which are rounding.
RANK_TOLERANCE = 1e-13
# A column that deviates less than this from its mean is constant: its inverse would overflow.
SMALLEST_UNIT = 1e-300


class Sums(NamedTuple):
    """What one client sends in one exchange: its number of rows and one sum over them."""

    n_rows: float
    total: Tensor


def standardisation(read: ReadRows, partition: Partition) -> BlockTransform:
    """Columns to zero mean and unit standard deviation; a constant column becomes zero."""
    mean, unit, count = _location(read, partition)
    deviation = unit * np.sqrt(_second_moments(read, partition, mean, unit, full=False) / count)
    return scaled(mean, deviation)


def spectrum(read: ReadRows, partition: Partition) -> BlockSpectrum | None:
    """Principal axes of a block, or None where it has too many columns and no low-dimensional range."""
    mean, unit, count = _location(read, partition)
    n_columns = len(mean)
    if n_columns <= MAX_EXACT_COLUMNS:
        moments = _second_moments(read, partition, mean, unit, full=True) / count
        deviation = unit * np.sqrt(np.diagonal(moments))
    else:
        deviation = unit * np.sqrt(_second_moments(read, partition, mean, unit, full=False) / count)
    scale = _whitening_scale(deviation)
    total = float(np.sum((deviation / scale) ** 2))
    if n_columns <= MAX_EXACT_COLUMNS:
        ratio = unit / scale
        values, vectors = torch.linalg.eigh(torch.as_tensor(moments * np.outer(ratio, ratio)))
    else:
        values, vectors = _range_axes(read, partition, mean, scale, count)
        if float(values.clamp_min(0).sum()) < MIN_RANGE_SHARE * total:
            return None
    values, vectors = values.flip(0).numpy(), vectors.flip(1).numpy()
    keep = values > RANK_TOLERANCE * values[0]
    keep[0] = True  # all columns constant: one direction, of zeros
    vectors = np.where(values > 0, vectors, 0.0)[:, keep]
    values = np.where(values > 0, values, 1.0)[keep]
    # An eigenvector's sign is arbitrary; fixed, the same rows give the same network in whatever order.
    largest = np.abs(vectors).argmax(0)
    vectors = vectors * np.where(vectors[largest, np.arange(vectors.shape[1])] < 0, -1.0, 1.0)
    return BlockSpectrum(mean, scale, values, vectors)


def fit_tables(
    table: NDArray,
    columns: Mapping[str, Indices],
    partition: Partition,
    kind: str | Mapping[str, str | None] | None,
    shrinkages: Sequence[float],
    present: Present | None = None,
) -> list[TableTransform]:
    """The transformation of all modalities for each of `shrinkages`, from the sums of the clients.

    `kind` is "whiten", "standardize" or None, or one of these for each modality; the latter two know no shrinkage.
    Of each modality only the rows enter that have it according to `present` (n, M); there must be some.
    """
    kinds = kind if isinstance(kind, Mapping) else dict.fromkeys(columns, kind)
    blocks: list[dict[str, BlockTransform]] = [{} for _ in shrinkages]
    everybody = partition
    for m, (name, mine) in enumerate(columns.items()):
        if present is not None:
            partition = everybody.where([present[rows, m] for rows in everybody.rows])

        def read(rows: Indices, mine: Indices = mine) -> Tensor:
            return double(table[np.ix_(rows, mine)])

        axes = spectrum(read, partition) if kinds[name] == "whiten" else None
        if axes is not None:
            variants = [axes.whitening(shrinkage) for shrinkage in shrinkages]
        elif kinds[name] is None:
            variants = [unchanged(len(mine))] * len(shrinkages)
        else:
            variants = [standardisation(read, partition)] * len(shrinkages)
        for transforms, variant in zip(blocks, variants, strict=True):
            transforms[name] = variant
    return [TableTransform(dict(columns), transforms) for transforms in blocks]


def fit_targets(targets: Float, partition: Partition) -> BlockTransform:
    """Targets y (n, q) to zero mean and unit standard deviation, from the sums of the clients."""
    return standardisation(lambda rows: double(targets[rows]), partition)


def _total(read: ReadRows, partition: Partition, statistic: Callable[[Tensor], Tensor]) -> Sums:
    """Sum of `statistic` (a sum over the rows it is given) over all clients, a slab of rows at a time."""

    def client(rows: Indices) -> Sums:
        slabs = [rows[i : i + SLAB_ROWS] for i in range(0, len(rows), SLAB_ROWS)]
        total = statistic(read(slabs[0]))
        for slab in slabs[1:]:
            total = total + statistic(read(slab))
        return Sums(len(rows), total)

    return partition.sum_over_clients(client)


def _location(read: ReadRows, partition: Partition) -> tuple[Float, Float, float]:
    """Mean and mean absolute deviation of each column, and the number of rows.

    The deviation only serves as a unit: products of columns in their own units neither overflow nor underflow.
    It is 0 for constant columns, also those whose mean is not exactly their value.
    """
    count, total = _total(read, partition, lambda x: x.sum(0))
    mean = total / count
    _, total = _total(read, partition, lambda x: (x - mean).abs().sum(0))
    unit = total / count
    too_large = torch.nonzero(~torch.isfinite(unit))
    if len(too_large):
        raise ValueError(
            f"{len(too_large)} columns of X or y hold values so large that their sum overflows "
            f"(first: column {int(too_large[0])} of its block); divide them by a constant."
        )
    unit[(unit <= 64 * torch.finfo(torch.float64).eps * mean.abs()) | (unit < SMALLEST_UNIT)] = 0.0
    return mean.numpy(), unit.numpy(), float(count)


def _second_moments(read: ReadRows, partition: Partition, mean: Float, unit: Float, *, full: bool) -> Float:
    """Sums of products of the centred columns in their units: all pairs (p, p), or the squares only (p,)."""
    centre, per_unit = torch.as_tensor(mean), torch.as_tensor(_inverse(unit))

    def statistic(x: Tensor) -> Tensor:
        z = (x - centre) * per_unit
        return z.T @ z if full else z.square().sum(0)

    return _total(read, partition, statistic).total.numpy()


def _range_axes(read: ReadRows, partition: Partition, mean: Float, scale: Float, count: float) -> tuple[Tensor, Tensor]:
    """Leading axes of a wide block, ascending, by a randomised range finder (Halko et al. 2011, alg. 4.4).

    Every product with the second moments is X_k' (X_k Q) summed over clients: p times 256 numbers each.
    """
    centre, per_scale = torch.as_tensor(mean), torch.as_tensor(1.0 / scale)

    def times(q: Tensor) -> Tensor:
        def statistic(x: Tensor) -> Tensor:
            z = (x - centre) * per_scale
            return z.T @ (z @ q)

        return _total(read, partition, statistic).total / count

    directions = np.random.default_rng(0).standard_normal((len(mean), RANGE_DIMENSIONS))
    q = torch.linalg.qr(times(torch.as_tensor(directions))).Q
    for _ in range(2):
        q = torch.linalg.qr(times(q)).Q
    values, axes = torch.linalg.eigh(q.T @ times(q))
    return values, q @ axes


def _inverse(values: Float) -> Float:
    """1 / values, 0 for 0: a constant column has no unit and no deviation."""
    return np.divide(1.0, values, out=np.zeros_like(values), where=values > 0)


def _whitening_scale(deviation: Float) -> Float:
    """One scale for all columns, or each its own where they span too much to be whitened together."""
    varying = deviation[deviation > 0]
    if not len(varying):
        return np.full_like(deviation, np.inf)
    wide = varying.max() > MAX_SCALE_SPAN * varying.min()
    return np.where(deviation > 0, deviation if wide else varying.max(), np.inf)
