"""What is usual of the rows, by sums and counts that rows out of line do not move; and how many rows are suspect."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.common.arrays import Float, Indices
from skfdrmfl.data.held_out import EVERYTHING
from skfdrmfl.data.transforms import BlockSpectrum
from skfdrmfl.method.domain import BlockDomain, of_spectrum
from skfdrmfl.method.seen_rows import MOST_COLUMNS, Seen, joined, sketch
from skfdrmfl.method.suspects import (
    EDGES,
    ERROR_RANK,
    FIRST_LIMIT,
    LIMIT,
    MOST_BENT,
    PENALTIES,
    REASONS,
    USUAL,
    Y_CLIP,
    BlockLook,
    Found,
    Look,
    Measured,
    Ridge,
    Rows,
    at_rank,
)
from skfdrmfl.protocol.door import Block, ClientRows, EachSaid, OfAllRows
from skfdrmfl.protocol.queries.whitening import sorted_axes, whitening_scale
from skfdrmfl.views.base import FEWEST_SMOOTH, is_smooth

# Rows of a client that sums are taken of, evenly spaced, and rows that make a median worth the name.
MOST_ROWS, FEWEST_ROWS = 4096, 4
OUTPUTS = Block(None)
# The median deviation of a normal distribution, in standard deviations.
MEDIAN_DEVIATION = 0.6745
# Axes of a ridge: what has less variance, relative to the first, is rounding, and more are no use to so few rows.
SMALLEST_AXIS, MOST_AXES = 1e-10, 2 / 3


class CenterTotals(NamedTuple):
    """A number of rows, and times that the medians of columns (S,) and outputs (q,), their squares, and deviations.

    `counts` are the rows that a modality's columns are known of (S,); `between` counts, of each output, the rows that
    are neither a client's least nor its largest.
    """

    n_rows: float
    counts: Float
    medians: Float  # (S + q,)
    squares: Float
    deviations: Float
    between: Float  # (q,)


@dataclass(frozen=True, eq=False)
class Centers(OfAllRows):
    """Where the middle of each client's rows is, and how far they lie from it."""

    name: ClassVar[str] = "medians"
    powers: ClassVar[tuple[int, ...]] = (0, 0, 0, 0, 0, 0)
    block: Block  # the numeric columns of all modalities
    widths: tuple[int, ...]

    def __call__(self, client: ClientRows) -> CenterTotals | None:
        """Return what a client's rows give; None where they are too few."""
        n_all = len(client.presence(self.subset))
        if n_all < FEWEST_ROWS:
            return None
        seen = _seen(client, self.block, self.widths)
        table, y = np.concatenate((seen.s, seen.y), axis=1), seen.y
        n, known = float(len(table)), ~np.isnan(table)
        counts = known.sum(0).astype(np.float64)
        lacks = not known.all()
        table = table[:, counts > 0]
        with np.errstate(all="ignore"):
            median = np.nanmedian(table, axis=0) if lacks else np.median(table, axis=0)
            away = np.abs(table - median)
            deviation = np.nanmedian(away, axis=0) if lacks else np.median(away, axis=0)
            sums = np.zeros((3, len(counts)))
            sums[:, counts > 0] = counts[counts > 0] * np.stack((median, median**2, deviation))
        between = ((y > y.min(0)) & (y < y.max(0))).sum(0).astype(np.float64)
        return CenterTotals(n, counts, sums[0], sums[1], sums[2], between)


class MomentTotals(NamedTuple):
    """A number of rows, and weighted products of 1, features and clipped outputs.

    Features are presence and standardised columns in `products` (a, a), and in `bending` (b, b) what `Look.bending`
    returns, of no series nothing (0, 0).
    """

    n_rows: float
    products: Float
    bending: Float


@dataclass(frozen=True, eq=False)
class RobustMoments(OfAllRows):
    """Products of columns and outputs over rows that are cut to a usual length, without those that are out of line."""

    name: ClassVar[str] = "products of usual rows"
    powers: ClassVar[tuple[int, ...]] = (0, 0, 0)
    look: Look
    block: Block

    def __call__(self, client: ClientRows) -> MomentTotals | None:
        """Return a client's sums."""
        rows = rows_of(client, self.block, self.look)
        with np.errstate(all="ignore"):
            weights = _weights(client, self.block, self.look)
            v, bending = np.clip(rows.v, -Y_CLIP, Y_CLIP), self.look.bending(rows)
            products = _products(np.concatenate((rows.present, rows.z), 1), v, weights)
            of_bending = _products(bending, v, weights) if bending.size else np.zeros((0, 0))
        return MomentTotals(float(len(v)), products, of_bending)


class OutlyingTotals(NamedTuple):
    """A number of rows, and how many lie in each bin: by T2 and Q, and by r^2 for each ridge and penalty."""

    n_rows: float
    distances: Float  # (M, 2, bins)
    residuals: Float  # (L, q, bins)


@dataclass(frozen=True, eq=False)
class OutlyingCounts(OfAllRows):
    """How far rows lie from where others put them, each as if it had been left out."""

    name: ClassVar[str] = "counts of usual distances"
    powers: ClassVar[tuple[int, ...]] = (0, 0, 0)
    look: Look
    block: Block

    def __call__(self, client: ClientRows) -> OutlyingTotals | None:
        """Return a client's counts."""
        rows = rows_of(client, self.block, self.look)
        with np.errstate(all="ignore"):
            measured = _measured(client, self.block, self.look)
        distances = _counts(measured.distances, rows.present)
        residuals = _counts(measured.residuals, np.asarray(rows.present.all(1)))
        return OutlyingTotals(float(len(rows.v)), distances, residuals)


class SuspectTotals(NamedTuple):
    """The number of rows, and of each client its position and what it says of its own.

    That is its number of suspect rows by reason, how many rows it keeps, and how many of these have each modality.
    """

    n_rows: float
    clients: EachSaid


@dataclass(frozen=True, eq=False)
class Suspects(OfAllRows):
    """How many rows each client suspects, and how many it keeps."""

    name: ClassVar[str] = "counts of suspects"
    powers: ClassVar[tuple[int, ...]] = (0, 0)
    seen: ClassVar[str] = "each"
    look: Look
    block: Block

    def __call__(self, client: ClientRows) -> SuspectTotals:
        """Return a client's counts."""
        found, kept = suspects_of(client, self.look, self.block)
        by_reason = np.bincount(found.reasons, minlength=len(REASONS)).tolist()
        by_modality = client.presence(self.subset)[kept].sum(0).tolist()
        mine = client.position, tuple(by_reason), int(kept.sum()), tuple(by_modality)
        return SuspectTotals(float(len(kept)), EachSaid({mine}))


def suspects_of(client: ClientRows, look: Look, block: Block) -> tuple[Found, NDArray[np.bool_]]:
    """Return the rows that a client suspects, and which of its rows (n,) it keeps; one that ignores them finds none."""
    return client.once(look, lambda: _suspects_of(client, look, block))


def _suspects_of(client: ClientRows, look: Look, block: Block) -> tuple[Found, NDArray[np.bool_]]:
    """Return what `suspects_of` does, worked out."""
    n_rows = len(client.presence(EVERYTHING))
    kept, nothing = np.ones(n_rows, dtype=bool), np.zeros(0, dtype=np.int64)
    if client.suspects == "ignore":
        return Found(nothing, nothing, nothing, nothing), kept
    with np.errstate(all="ignore"):
        if n_rows <= MOST_ROWS:
            rows, measured = rows_of(client, block, look), _measured(client, block, look)
        else:  # sums were not taken of all rows
            rows = look.read(joined([Seen.of(x, y, look.widths) for x, y in _slabs(client, block)]))
            weights, former = rows.weights, look.former
            if former is not None:
                weights = former.spared(rows, former.measured(rows, weights))
            measured = look.measured(rows, weights)
        found = look.find(rows, measured, client.blocks(EVERYTHING), lambda which: _some(client, block, which))
    if client.suspects == "drop":
        kept[found.rows] = False
    return found, kept


def _slabs(client: ClientRows, block: Block) -> Iterator[tuple[Float, Float]]:
    """Yield the numeric columns and the outputs of all rows, a slab of rows at a time."""
    return zip(client.slabs(block, EVERYTHING), client.slabs(OUTPUTS, EVERYTHING), strict=True)


def sampled(client: ClientRows, block: Block) -> Iterator[tuple[Float, Float]]:
    """Yield columns and outputs of at most MOST_ROWS rows, evenly spaced."""
    step = -(-len(client.presence(EVERYTHING)) // MOST_ROWS)
    start = 0
    for x, y in _slabs(client, block):
        yield x[-start % step :: step], y[-start % step :: step]
        start += len(x)


def _some(client: ClientRows, block: Block, which: Indices) -> Float:
    """Return numeric columns of some rows, by their number among the client's."""
    start, found = 0, []
    for x in client.slabs(block, EVERYTHING):
        found.append(x[which[(which >= start) & (which < start + len(x))] - start])
        start += len(x)
    return np.concatenate(found)


# What follows is worked out once a client, as far as it is the same to several questions: by that part of a look which
# stays one object in those that grow from it.


def _seen(client: ClientRows, block: Block, widths: Sequence[int]) -> Seen:
    """Return the rows that sums are taken of."""
    return client.once(block, lambda: joined([Seen.of(x, y, widths) for x, y in sampled(client, block)]))


def rows_of(client: ClientRows, block: Block, look: Look) -> Rows:
    """Return the rows that sums are taken of, as they are looked at."""
    return client.once(look.y_center, lambda: look.read(_seen(client, block, look.widths)))


def _weights(client: ClientRows, block: Block, look: Look) -> Float:
    """Return the weight (n,) with which these rows count in moments."""
    rows, former = rows_of(client, block, look), look.former
    if former is None:
        return rows.weights
    return client.once(former, lambda: former.spared(rows, _measured(client, block, former)))


def _measured(client: ClientRows, block: Block, look: Look) -> Measured:
    """Return how far out these rows are."""
    weights = _weights(client, block, look)
    return client.once(look.ridges, lambda: look.measured(rows_of(client, block, look), weights))


def _products(features: Float, v: Float, weights: Float) -> Float:
    """Return products (a, a) of 1, features and outputs over rows, each by its weight."""
    some = weights > 0
    table = np.concatenate((np.ones((len(v), 1)), features, v), axis=1)[some] * np.sqrt(weights[some])[:, None]
    return np.asarray(table.T @ table)


def _counts(values: Float, kept: NDArray[np.bool_]) -> Float:
    """Return how many of the rows that are kept (n, ...) lie in each bin (..., bins), of values (n, ...)."""
    n_bins = len(EDGES) + 1
    table = values.reshape(len(values), -1)
    weights = np.broadcast_to(kept.reshape(*kept.shape, *(1,) * (values.ndim - kept.ndim)), values.shape)
    places = np.searchsorted(EDGES, table) + n_bins * np.arange(table.shape[1])
    counts: Float = np.bincount(places.ravel(), weights.ravel(), n_bins * table.shape[1]).astype(np.float64)
    return counts.reshape(*values.shape[1:], n_bins)


def most_sent(columns: Sequence[int], q: int) -> int:
    """Return how many bytes a client sends, by the numeric columns of each modality."""
    u = sum(min(p, MOST_COLUMNS) for p in columns) + q
    is_series = max(columns, default=0) >= FEWEST_SMOOTH
    bins = (2 * len(columns) + (1 + is_series) * len(PENALTIES) * q) * (len(EDGES) + 1)
    bending = is_series * (1 + u + MOST_BENT * (MOST_BENT + 1) // 2) ** 2
    said = 3 + len(REASONS) + len(columns)
    return 8 * (1 + 4 * u + q + 2 * (1 + (1 + len(columns) + u) ** 2 + bending + 1 + bins) + said)


# ------------------------------------------------------------------------------------------- what they give


def first_look(totals: CenterTotals, widths: Sequence[int]) -> Look:
    """Return centre and spread of all columns and outputs."""
    q = len(totals.between)
    n = np.maximum(totals.counts, 1.0)
    center = totals.medians / n
    # Clients whose rows lie apart: the spread within them, and that of their medians.
    with np.errstate(over="ignore"):
        within, between = (totals.deviations / n / MEDIAN_DEVIATION) ** 2, totals.squares / n - center**2
    spread = np.sqrt(within + np.maximum(between, 0.0))
    spread[spread <= 64 * np.finfo(np.float64).eps * np.abs(center)] = 0.0
    blocks, start = [], 0
    for width in widths:
        size = len(sketch(np.zeros((1, width)))[0])
        mine = slice(start, start + size)
        blocks.append(
            BlockLook(center[mine], spread[mine], whitening_scale(spread[mine]), smooth=width >= FEWEST_SMOOTH)
        )
        start += size
    looked_at = (spread[-q:] > 0) & (totals.between > 0)  # of two classes none is far from the other
    return Look(tuple(map(int, widths)), tuple(blocks), center[-q:], np.where(looked_at, spread[-q:], np.inf))


def with_axes(look: Look, totals: MomentTotals) -> Look:
    """Return a look with principal axes of each modality and the ridges, before it has limits of these."""
    a, n_modalities = totals.products, len(look.blocks)
    first = 1 + n_modalities
    blocks, start = [], first
    for m, block in enumerate(look.blocks):
        mine = slice(start, start + len(block.center))
        start = mine.stop
        n_there = max(float(a[0, 1 + m]), 1.0)
        mean = a[0, mine] / n_there
        covariance = a[mine, mine] / n_there - np.outer(mean, mean)
        along = np.linalg.eigh(covariance)
        found = sorted_axes(mean, block.scale, *along)
        axes = BlockSpectrum(mean, np.ones_like(mean), found.eigenvalues, found.eigenvectors)
        smooth = block.smooth and _is_smooth(covariance)
        blocks.append(replace(block, domain=of_spectrum(axes, n_there), smooth=smooth))
    q, kinds = len(look.y_center), [block.smooth for block in blocks]
    ridges = [_ridge(a, first, q, along if n_modalities == 1 else None)]
    is_same = kinds == [block.smooth for block in look.blocks]  # else features will be others
    if is_same and totals.bending.size:
        ridges.append(_ridge(totals.bending, 1, q))
    bent = look.bent
    if bent is None and any(kinds):
        bent = _scores_of_shapes(totals.bending, np.repeat(kinds, [len(block.center) for block in blocks]))
    return replace(look, blocks=tuple(blocks), bent=bent, ridges=tuple(ridges), limits=None)


def _ridge(a: Float, first: int, q: int, along: tuple[Float, Float] | None = None) -> Ridge:
    """Return the ridge by weighted products of 1, features from place `first` on, and outputs.

    `along` are the eigenvalues and vectors of the features' covariance, if known.
    """
    n, f, v = float(a[0, 0]), slice(first, len(a) - q), slice(len(a) - q, None)
    mean, v_mean = a[0, f] / n, a[0, v] / n
    values, vectors = np.linalg.eigh(a[f, f] / n - np.outer(mean, mean)) if along is None else along
    keep = (values > SMALLEST_AXIS * values[-1]) & (np.arange(len(values))[::-1] < MOST_AXES * n)
    products = vectors[:, keep].T @ (a[f, v] / n - np.outer(mean, v_mean))
    return Ridge(mean, v_mean, vectors[:, keep], values[keep], products, n)


def _scores_of_shapes(a: Float, smooth: NDArray[np.bool_]) -> BlockDomain:
    """Return the leading axes of shapes, from products of 1 and columns (S,) of which some are of series."""
    mine = 1 + np.flatnonzero(smooth)
    n, mean = a[0, 0], a[0, mine] / a[0, 0]
    values, vectors = np.linalg.eigh(a[np.ix_(mine, mine)] / n - np.outer(mean, mean))
    keep = np.flatnonzero(values > SMALLEST_AXIS * values[-1])[-MOST_BENT:]
    return BlockDomain(mean, np.ones(len(mine)), vectors[:, keep], values[keep], 0.0, float(n))


def _is_smooth(covariance: Float) -> bool:
    """Return whether neighbouring columns, of which there are some, say nearly the same."""
    # Columns that are unlike by their sign say no more of each other's maxima than those that do not go together.
    variances, alike = (np.maximum(np.diagonal(covariance, k), 0.0) for k in (0, 1))
    return is_smooth(variances, alike)


def with_limits(look: Look, totals: OutlyingTotals, *, is_last: bool) -> Look:
    """Return a look with the limits beyond which rows are suspect, or before the last one left out of the moments."""
    times = LIMIT if is_last else FIRST_LIMIT
    models = len(totals.residuals) - 1 - at_rank(totals.residuals, ERROR_RANK)[::-1].argmin(0)  # of equals the last
    residuals = totals.residuals[models, np.arange(len(models))]
    y_limits = np.where(np.isfinite(look.y_scale), times * at_rank(residuals, USUAL), np.inf)
    limits = times * at_rank(totals.distances, USUAL)
    limited = replace(look, limits=limits, y_limits=y_limits, models=models)
    return limited if is_last else replace(limited, former=limited)
