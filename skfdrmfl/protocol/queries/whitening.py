"""Federated centring, scaling and whitening, from sums that each client takes over its own rows.

A client sends a count and a sum, then, about the mean that comes back, sums of absolute deviations and of
products; the server only adds them up. The result equals that of the pooled rows, whoever holds which row.
What a client reveals is what these sums reveal: a client with one row reveals that row.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple, TypeVar

import numpy as np

from skfdrmfl.common.arrays import Float
from skfdrmfl.data.held_out import EVERYTHING, Subset
from skfdrmfl.data.transforms import BlockSpectrum, BlockTransform, scaled, unchanged
from skfdrmfl.protocol.door import Block, ClientRows, Federation, Query
from skfdrmfl.views.base import View, neighbour_correlation

# Columns whose standard deviations span more than this are standardised before whitening: raw whitening would
# shrink away the columns of small units.
MAX_SCALE_SPAN = 100.0
# Up to this many columns a block's full second moments are exchanged (their square many numbers) ...
MAX_EXACT_COLUMNS = 2048
# ... beyond it, their products with this many random directions. If those hold less than this share of the
# variance the block is not low-dimensional, and it is standardised instead.
RANGE_DIMENSIONS = 256
MIN_RANGE_SHARE = 0.99
# Fewer do where all that they leave is noise: too little to count in that share, and spread so evenly that the least of
# them has at most so many times the variance of a direction beyond.
FEW_DIMENSIONS, FLAT = 64, 5.0
# ... and so are directions below this share of the largest eigenvalue, which are rounding.
RANK_TOLERANCE = 1e-13
# A column that deviates less than this from its mean is constant: its inverse would overflow.
SMALLEST_UNIT = 1e-300
# Products of columns that a second factor makes orthonormal to the last bits are so near to the identity.
NEARLY_ORTHONORMAL = 1e-3


# ------------------------------------------------------------------------------------------- the queries


class Sums(NamedTuple):
    """What one client sends of a block: its number of rows and one sum over them."""

    n_rows: float
    total: Float


@dataclass(frozen=True, eq=False)
class BlockSum(Query):
    """A sum over the rows of a block, taken a slab of rows (n, p) at a time; subclasses say of what."""

    name: ClassVar[str]
    powers: ClassVar[tuple[int, ...]] = (0, 1)
    of_rows: ClassVar[bool] = True
    block: Block
    subset: Subset

    def _of(self, x: Float) -> Float:
        """Return the sum over some rows, which may be overwritten."""
        raise NotImplementedError

    def __call__(self, client: ClientRows) -> Sums | None:
        """Return a client's sum."""
        n_rows, total = 0, None
        for x in client.slabs(self.block, self.subset):
            part = self._of(x)
            total = part if total is None else total + part
            n_rows += x.shape[0]
        return None if total is None else Sums(n_rows, total)


class ColumnSums(BlockSum):
    """The sum of each column (p,)."""

    name: ClassVar[str] = "sums of columns"

    def _of(self, x: Float) -> Float:
        return x.sum(0)


class Magnitudes(BlockSum):
    """The sum of the absolute values of each column (p,)."""

    name: ClassVar[str] = "magnitudes of columns"

    def _of(self, x: Float) -> Float:
        return np.abs(x, out=x).sum(0)


@dataclass(frozen=True, eq=False)
class AbsoluteDeviations(BlockSum):
    """The sum of absolute deviations of each column from `mean` (p,)."""

    name: ClassVar[str] = "absolute deviations"
    mean: Float

    def _of(self, x: Float) -> Float:
        x -= self.mean
        return np.abs(x, out=x).sum(0)


@dataclass(frozen=True, eq=False)
class SquaredDeviations(BlockSum):
    """The sum of squared deviations of each column from `mean` (p,), in units 1 / `per_unit` (p,)."""

    name: ClassVar[str] = "squared deviations"
    powers: ClassVar[tuple[int, ...]] = (0, 2)
    mean: Float
    per_unit: Float

    def _scaled(self, x: Float) -> Float:
        x -= self.mean
        x *= self.per_unit
        return x

    def _of(self, x: Float) -> Float:
        z = self._scaled(x)
        return np.square(z, out=z).sum(0)


class SecondMoments(SquaredDeviations):
    """The sum of products (p, p) of all pairs of columns, centred and in units as in `SquaredDeviations`."""

    name: ClassVar[str] = "products of columns"

    def _of(self, x: Float) -> Float:
        z = self._scaled(x)
        return z.T @ z


class NeighbourProducts(SquaredDeviations):
    """The sum of products (p - 1,) of neighbouring columns, centred and in units as in `SquaredDeviations`."""

    name: ClassVar[str] = "products of neighbours"

    def _of(self, x: Float) -> Float:
        z = self._scaled(x)
        return (z[:, 1:] * z[:, :-1]).sum(0)


@dataclass(frozen=True, eq=False)
class RangeProducts(SquaredDeviations):
    """The products of the second moments of scaled columns with some directions (p, r), not the moments themselves."""

    name: ClassVar[str] = "products with directions"
    directions: Float

    def _of(self, x: Float) -> Float:
        z = self._scaled(x)
        return z.T @ (z @ self.directions)


# ------------------------------------------------------------------------------------------- what they give


def compare_magnitudes(federation: Federation, blocks: Iterable[Block], subset: Subset = EVERYTHING) -> None:
    """Ask everybody how large the values of each block are, so that a guard may leave out who answers out of line."""
    federation.sum(*(Magnitudes(block, subset) for block in blocks))


Name = TypeVar("Name", bound=Hashable)
Found = BlockSpectrum | BlockTransform


def fit_blocks(
    federation: Federation, blocks: Mapping[Name, Block], kinds: Mapping[Name, str | None], subset: Subset = EVERYTHING
) -> dict[Name, Found]:
    """Return what each block's columns go through, from sums of the clients over a subset of their rows.

    Three exchanges, whatever the number of blocks; a block too wide for its second moments takes two or five more.
    `kinds` are "whiten", "standardize", or None to leave the columns alone. A spectrum, from which whitenings of all
    shrinkages follow, is returned where one was asked for and found. Of each block some client must have rows.
    Sums of a block with a view are of its rows after it; where its columns lie before it, the first two exchanges ask
    beside.
    """
    return fit_series(federation, blocks, kinds, (), subset)[0]


def fit_series(
    federation: Federation,
    blocks: Mapping[Name, Block],
    kinds: Mapping[Name, str | None],
    series: Collection[Name],
    subset: Subset,
) -> tuple[dict[Name, Found], dict[Name, float]]:
    """Return what `fit_blocks` does, and how neighbouring columns of some of its blocks correlate in the median.

    It takes no more exchanges. The blocks in `series` are to be standardised.
    """
    names = [name for name in blocks if kinds[name] is not None]
    before = {name: replace(blocks[name], view=None) for name in names if blocks[name].view is not None}
    asked = {_key(block): block for block in (*(blocks[name] for name in names), *before.values())}
    located = dict(zip(asked, zip(*_locations(federation, list(asked.values()), subset), strict=True), strict=True))
    mean, unit, count = zip(*(located[_key(blocks[name])] for name in names), strict=True) if names else ((), (), ())
    full = [kinds[name] == "whiten" and len(m) <= MAX_EXACT_COLUMNS for name, m in zip(names, mean, strict=True)]
    centred = {name: (blocks[name], subset, m, _inverse(u)) for name, m, u in zip(names, mean, unit, strict=True)}
    answers = federation.sum(
        *(
            (SecondMoments if exact else SquaredDeviations)(*centred[name])
            for name, exact in zip(names, full, strict=True)
        ),
        *(NeighbourProducts(*centred[name]) for name in series),
    )
    correlation = {
        name: neighbour_correlation(answers[names.index(name)].total, products.total)
        for name, products in zip(series, answers[len(names) :], strict=True)
    }
    found: dict[Name, Found] = {}
    for name, m, u, n, exact, answer in zip(names, mean, unit, count, full, answers[: len(names)], strict=True):
        moments, view = answer.total / n, blocks[name].view
        deviation = u * np.sqrt(np.diagonal(moments) if exact else moments)
        axes = None
        if exact:
            axes = _spectrum(m, u, deviation, moments, view)
        elif kinds[name] == "whiten":
            axes = _wide_spectrum(federation, blocks[name], subset, m, deviation, n)
        found[name] = replace(
            scaled(m, deviation) if axes is None else axes,
            tail=_tail(deviation, u),
            before=located[_key(before[name])][:2] if name in before else None,
            view=view,
            deviation=deviation if view is None else None,
        )
    for name, block in blocks.items():
        if name not in found:
            assert block.columns is not None
            found[name] = unchanged(len(block.columns), block.view)
    return {name: found[name] for name in blocks}, correlation


def _key(block: Block) -> tuple[Hashable, ...]:
    """Return the same for blocks of the same columns, rows and view."""
    return id(block.columns), block.modality, block.view


def whitened(found: Mapping[str, Found], shrinkage: float) -> dict[str, BlockTransform]:
    """Return the transformation of each block; only spectra know a shrinkage."""
    return {name: b.whitening(shrinkage) if isinstance(b, BlockSpectrum) else b for name, b in found.items()}


def _locations(
    federation: Federation, blocks: Sequence[Block], subset: Subset
) -> tuple[list[Float], list[Float], list[float]]:
    """Return mean and mean absolute deviation of each column, and the number of rows, of each block.

    The deviation only serves as a unit: products of columns in their own units neither overflow nor underflow.
    It is 0 for constant columns, also those whose mean is not exactly their value.
    """
    sums = federation.sum(*(ColumnSums(block, subset) for block in blocks))
    count = [float(answer.n_rows) for answer in sums]
    mean = [answer.total / answer.n_rows for answer in sums]
    deviations = federation.sum(*(AbsoluteDeviations(b, subset, m) for b, m in zip(blocks, mean, strict=True)))
    units = []
    for m, answer in zip(mean, deviations, strict=True):
        unit = answer.total / answer.n_rows
        too_large = np.flatnonzero(~np.isfinite(unit))
        if len(too_large):
            raise ValueError(
                f"{len(too_large)} columns of X or y hold values so large that their sum overflows "
                f"(first: column {int(too_large[0])} of its block); divide them by a constant."
            )
        unit[(unit <= 64 * np.finfo(np.float64).eps * np.abs(m)) | (unit < SMALLEST_UNIT)] = 0.0
        units.append(unit)
    return mean, units, count


def _spectrum(mean: Float, unit: Float, deviation: Float, moments: Float, view: View | None = None) -> BlockSpectrum:
    """Return the principal axes of a block from its second moments (p, p), in units (p,)."""
    scale = whitening_scale(deviation, view)
    ratio = unit / scale
    return sorted_axes(mean, scale, *np.linalg.eigh(moments * np.outer(ratio, ratio)))


def _wide_spectrum(
    federation: Federation, block: Block, subset: Subset, mean: Float, deviation: Float, count: float
) -> BlockSpectrum | None:
    """Return the leading axes of a wide block, or None where they do not hold nearly all of its variance.

    By a randomised range finder. Every product with the second moments is X_k' (X_k Q) summed over clients: p times 64
    numbers, twice, and where 64 directions leave more than noise p times 256, three times.
    """
    scale = whitening_scale(deviation, block.view)
    per_scale, total = 1.0 / scale, float(np.sum((deviation / scale) ** 2))
    random = np.random.default_rng(0)

    def product(q: Float) -> tuple[Float, Float]:
        q = _orthonormal(q)[0]
        return q, times(q)

    def times(q: Float) -> Float:
        (answer,) = federation.sum(RangeProducts(block, subset, mean, per_scale, q))
        return answer.total / count

    for n_directions in sorted({min(FEW_DIMENSIONS, RANGE_DIMENSIONS), RANGE_DIMENSIONS}):
        q, found = product(times(random.standard_normal((len(mean), n_directions))))
        values, axes = _axes_of(q, found)
        if _leave_noise(values, total, min(count, len(mean))):
            break
    else:
        values, axes = _axes_of(*product(found))
    if float(values.sum()) < MIN_RANGE_SHARE * total:
        return None
    return sorted_axes(mean, scale, values, axes)


def _axes_of(q: Float, found: Float) -> tuple[Float, Float]:
    """Return ascending eigenvalues (r,) and axes (p, r) of moments C by their products C Q with orthonormal q (p, r).

    They are those of Nystrom's approximation C Q (Q'C Q)^-1 Q'C, which has the range of one product more than Q (A.
    Gittens and M. W. Mahoney, Journal of Machine Learning Research 17, 2016, no. 117).
    """
    values, vectors = np.linalg.eigh(q.T @ found)
    exists = values > max(RANK_TOLERANCE * values[-1], SMALLEST_UNIT)
    roots = np.sqrt(np.where(exists, values, np.inf))
    basis, inside = _orthonormal(found @ (vectors / roots))
    axes, lengths, _ = np.linalg.svd(inside)
    return lengths[::-1] ** 2, basis @ axes[:, ::-1]


def _orthonormal(columns: Float) -> tuple[Float, Float]:
    """Return orthonormal Q (p, r) and R (r, r) whose product is `columns`.

    Cholesky's factors, twice, take a third of Householder's time (Y. Yamamoto and others, Electronic Transactions on
    Numerical Analysis 44, 2015, 306-326). Where columns are nearly dependent, Householder's reflections find them.
    """
    from scipy.linalg import qr  # which processes that only predict do without

    with suppress(np.linalg.LinAlgError):
        first = np.linalg.cholesky(columns.T @ columns).T
        q = columns @ np.linalg.inv(first)
        products = q.T @ q
        if np.abs(products - np.eye(len(products))).max() < NEARLY_ORTHONORMAL:
            second = np.linalg.cholesky(products).T
            return q @ np.linalg.inv(second), second @ first
    q, r = qr(columns, mode="economic", check_finite=False)
    return q, r


def _leave_noise(ascending: Float, total: float, rank: float) -> bool:
    """Return whether directions of these variances (r,) leave noise alone of the `total` of moments of that rank."""
    left = total - float(ascending.sum())
    if left > (1.0 - MIN_RANGE_SHARE) * total:
        return False
    least = RANK_TOLERANCE * ascending[-1]
    return bool(ascending[0] <= max(least, FLAT * left / max(1.0, rank - len(ascending))))


def sorted_axes(mean: Float, scale: Float, ascending: Float, axes: Float) -> BlockSpectrum:
    """Return the axes (p, r) by descending eigenvalue, without those that are rounding, each with a sign of its own."""
    values, vectors = ascending[::-1], axes[:, ::-1]
    keep = values > RANK_TOLERANCE * values[0]
    keep[0] = True  # all columns constant: one direction, of zeros
    vectors = np.where(values > 0, vectors, 0.0)[:, keep]
    values = np.where(values > 0, values, 1.0)[keep]
    # An eigenvector's sign is arbitrary; fixed, the same rows give the same network in whatever order.
    largest = np.abs(vectors).argmax(0)
    vectors = vectors * np.where(vectors[largest, np.arange(vectors.shape[1])] < 0, -1.0, 1.0)
    return BlockSpectrum(mean, scale, values, vectors)


# ------------------------------------------------------------------------------------------------ scales


def _tail(deviation: Float, unit: Float) -> float:
    """Return `BlockTransform.tail` of columns of these standard and mean absolute deviations (p,)."""
    varies = (deviation > 0) & (unit > 0)
    return float(np.median(deviation[varies] / unit[varies])) if varies.any() else 0.0


def _inverse(values: Float) -> Float:
    """Return 1 / values, 0 for 0: a constant column has no unit and no deviation."""
    return np.divide(1.0, values, out=np.zeros_like(values), where=values > 0)


def whitening_scale(deviation: Float, view: View | None = None) -> Float:
    """Return one scale for all columns, or each its own where they span too much to be whitened together.

    Columns that a view has appended are scaled to the root mean square spread of the others that vary.
    """
    if view is not None and view.n_appended:
        others, appended = np.split(deviation, [len(deviation) - view.n_appended])
        scale = whitening_scale(others)
        spread = (others / scale)[others > 0]
        target = float(np.sqrt(np.mean(spread**2))) if len(spread) else 1.0
        return np.concatenate((scale, np.where(appended > 0, appended / target, np.inf)))
    varying = deviation[deviation > 0]
    if not len(varying):
        return np.full_like(deviation, np.inf)
    wide = varying.max() > MAX_SCALE_SPAN * varying.min()
    return np.where(deviation > 0, deviation if wide else varying.max(), np.inf)
