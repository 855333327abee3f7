"""Where rows stand: Hotelling's T2 in the whitened scores of each modality, Q in what its axes leave, and their limits.

Glossary: z (p,) standardised columns of a modality, V (p, k) its principal axes, lambda (k,) variances along these over
n training rows; T2 = sum_i (v_i'z)^2 / lambda_i, Q = |z - V V'z|^2.

A training row is nearer to axes that it has helped to find than a new one will be: on Tecator and Corn 8 and 13 % of
new rows lie beyond the 95 % limit of Q after Jackson and Mudholkar (Technometrics 21, 1979, 341-349), 7 % beyond that
of T2 by the F distribution. So limits are quantiles of the training rows' own distances, each as if its row had been
left out, by counts in bins; these hold 5 to 6 and 4 %.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.common.arrays import SLAB_ROWS, Float, Indices, Present, slabs
from skfdrmfl.common.tree import registered
from skfdrmfl.data.transforms import BlockSpectrum, BlockTransform, columns_of
from skfdrmfl.views.base import View
from skfdrmfl.views.within import Within

# Axes of less variance than this, relative to the first, count in Q: what deviates along them is noise, or new.
SMALLEST_AXIS = 1e-6
# Axes are at most so many for each training row: more would fit these alone.
MOST_AXES = 1 / 3
# The unit of Q is at least this share of the columns' variance: far below it all is rounding.
SMALLEST_Q = 1e-6
# Upper edges of the bins in which distances are counted, in units of `BlockDomain.units`; one more bin has the rest.
EDGES: Float = np.array(1e-3 * 1.1 ** np.arange(300), dtype=np.float64)
# Of standardised y; the last and the first bin have what lies beyond.
Y_EDGES: Float = np.linspace(-16.0, 16.0, 321)
# Rows are far outside beyond so many times a limit of this level, and beyond every training row.
FAR, FAR_LEVEL = 10.0, 0.99
# Rows whose columns are looked at together, in so many steps; deviations beyond HUGE are all alike.
N_AT_ONCE, N_REWEIGHTED, HUGE = 256, 20, 1e100
# Of a limit, below which a bound holds whatever the axes' last bits are.
SAFE = 0.99
T2, Q = range(2)


@registered
@dataclass(frozen=True, eq=False)
class BlockDomain:
    """Principal axes of a modality's numeric columns, and what lies off them."""

    mean: Float  # (p,)
    scale: Float  # (p,), infinite of a column that was constant
    axes: Float  # (p, k)
    variances: Float  # (k,), along these
    rest: float  # the variance that they leave
    n_rows: float
    view: View | None = None

    @property
    def units(self) -> Float:
        """What is usual of T2 and Q (2,)."""
        return np.array([max(len(self.variances), 1), self.rest])

    @property
    def is_complete(self) -> bool:
        """Whether the axes leave nothing: all columns that vary are combinations of them."""
        return bool(self.axes.shape[1] == np.isfinite(self.scale).sum())

    def _standardised(self, rows: Float) -> Float:
        """Return z (n, p) of rows (n, columns)."""
        with np.errstate(over="ignore", invalid="ignore"):
            z = (rows if self.view is None else self.view.apply(rows)) - self.mean
            z /= self.scale
        return z

    def scores(self, rows: Float) -> tuple[Float, Float]:
        """Return V'z (n, k) and z - V V'z (n, p) of rows (n, columns)."""
        return self._scores(self._standardised(rows))

    def _scores(self, z: Float) -> tuple[Float, Float]:
        """Return `scores` of z (n, p), which is overwritten."""
        with np.errstate(over="ignore", invalid="ignore"):  # what is too large is far out
            scores = z @ self.axes
            z -= scores @ self.axes.T
            return scores, z

    def distances(self, rows: Float) -> Float:
        """Return T2 and Q (n, 2)."""
        return self._distances(self._standardised(rows))

    def _distances(self, z: Float) -> Float:
        """Return `distances` of z (n, p), which is overwritten."""
        found = np.empty((len(z), 2))
        with np.errstate(over="ignore", invalid="ignore"):
            if self.is_complete:
                scores, left = z @ self.axes, np.zeros((len(z), 0))
            else:
                scores, left = self._scores(z)
            np.square(scores, out=scores)
            scores /= self.variances
            scores.sum(1, out=found[:, T2])
            np.einsum("np,np->n", left, left, out=found[:, Q])
        found[np.isnan(found).any(1)] = np.inf
        return found

    def beyond(self, rows: Float, limits: Float) -> NDArray[np.bool_]:
        """Return which rows (n,) have T2 or Q beyond `limits` (2,).

        T2 is at most |z|^2 / min(lambda), Q at most |z|^2: rows that are short enough take no product with axes.
        """
        z = self._standardised(rows)
        reach = np.inf if self.is_complete else limits[Q]
        if len(self.variances):
            reach = min(reach, limits[T2] * self.variances.min())
        with np.errstate(over="ignore", invalid="ignore"):
            maybe = ~(np.einsum("np,np->n", z, z) <= SAFE * reach)
        maybe[maybe] = (self._distances(z[maybe]) > limits).any(1)
        return maybe

    def standing_out(self, rows: Float) -> Float:
        """Return how far columns (n, p) of rows are from where the others put them.

        Least squares would bend the axes to a few columns that are wrong, and leave its residuals beside these. So each
        row's scores have the largest posterior density under N(0, lambda) with errors of Cauchy's distribution, whose
        width goes from the row's largest deviation down to that of usual residuals (graduated non-convexity, A. Blake
        and A. Zisserman, Visual Reconstruction, 1987).
        """
        scores, left = self.scores(rows)
        z = np.clip(np.nan_to_num(scores @ self.axes.T + left), -HUGE, HUGE)
        usual, largest = np.sqrt(self.rest / max(len(self.mean), 1)), np.abs(z).max(1, initial=0.0)
        off = z
        if not self.axes.size:
            return off
        for width in np.geomspace(np.maximum(largest, usual), np.full(len(z), usual), N_REWEIGHTED):
            weights = 1.0 / (width[:, None] ** 2 + off**2)
            weighted = self.axes.T * weights[:, None]  # (n, k, p)
            products = weighted @ self.axes + np.diag(1.0 / self.variances)
            off = z - np.linalg.solve(products, weighted @ z[:, :, None])[:, :, 0] @ self.axes.T
        return off

    def left_out(self, distances: Float, weights: Float | float = 1.0) -> Float:
        """Return what `distances` (n, 2) of training rows, which count by `weights` (n, 1), would be without the row.

        With the leverage h = (1 + T2) / n they are T2 / (1 - h), exactly, and about Q / (1 - h)^2, the residual of a
        least-squares fit. A row that is all there is to an axis is taken for 1 - h = 1 / n.
        """
        without = np.maximum(1.0 - weights * (1.0 + distances[:, :1]) / self.n_rows, 1.0 / self.n_rows)
        return distances / np.concatenate((without, without**2), 1)


def of_spectrum(spectrum: BlockSpectrum, n_rows: float) -> BlockDomain:
    """Return the domain that the principal axes of pooled rows span."""
    values = spectrum.eigenvalues
    counts = (values > SMALLEST_AXIS * values[0]) & (np.arange(len(values)) < MOST_AXES * (n_rows - 1))
    counts &= (spectrum.eigenvectors != 0).any(0)
    rest = max(float(values[~counts].sum()), SMALLEST_Q * float(values.sum()))
    axes = spectrum.eigenvectors[:, counts]
    return BlockDomain(spectrum.mean, spectrum.scale, axes, values[counts], rest, n_rows, spectrum.view)


def of_transform(block: BlockTransform, shrinkage: float, n_codes: int, n_rows: float) -> BlockDomain:
    """Return the domain of what encoders read, without the codes that come first in it.

    Whitening is undone: the columns of its projection have the lengths 1 / sqrt(ev + shrinkage * ev_1). Columns that
    were scaled have no axes, and all of them count in Q.
    """
    mean, scale, view = block.mean[n_codes:], block.scale[n_codes:], block.view
    if isinstance(view, Within):
        view = view.view
    if block.projection is None:
        return scaled_domain(mean, scale, n_rows, view)
    projection = block.projection[n_codes:, n_codes:]
    lengths = np.linalg.norm(projection, axis=0)
    some = lengths > 0
    shrunk = 1.0 / np.where(some, lengths, 1.0) ** 2
    values = np.where(some, shrunk - shrinkage * shrunk[0] / (1.0 + shrinkage), 1.0)
    vectors = projection * np.where(some, 1.0 / np.where(some, lengths, 1.0), 0.0)
    return of_spectrum(BlockSpectrum(mean, scale, values, vectors, view=view), n_rows)


def squares_of_outputs(domain: BlockDomain, block: BlockTransform, n_codes: int) -> Float | None:
    """Return by what squared outputs (r,) of a transformation add up to T2 of its domain; None where Q is left."""
    if block.projection is None or not domain.is_complete:
        return None
    lengths = np.linalg.norm(block.projection[n_codes:, n_codes:], axis=0)[: len(domain.variances)]
    return np.concatenate((np.zeros(n_codes), 1.0 / (lengths**2 * domain.variances)))


def scaled_domain(mean: Float, scale: Float, n_rows: float, view: View | None = None) -> BlockDomain:
    """Return the domain of standardised columns without axes."""
    nothing = np.zeros((len(mean), 0))
    return BlockDomain(mean, scale, nothing, np.zeros(0), max(float(np.isfinite(scale).sum()), 1.0), n_rows, view)


class Limits(NamedTuple):
    """Limits of T2 and Q by modality (M, 2), and beyond what a row is far outside."""

    usual: Float
    far: Float


@registered
@dataclass(frozen=True, eq=False)
class Domain:
    """Where the training rows lie, modality by modality, and how many of them how far out."""

    columns: Mapping[str, Indices]  # numeric ones of the table
    blocks: Mapping[str, BlockDomain]
    discrete: Indices  # columns of labels
    counts: NDArray[np.int32]  # (M, 2, bins), rows by T2 and Q, each as if left out
    reached: Float  # (M, 2), by the outermost rows
    y_range: Float  # (q, 2), of standardised y

    @classmethod
    def without_rows(
        cls, columns: Mapping[str, Indices], blocks: Mapping[str, BlockDomain], discrete: Indices, n_outputs: int
    ) -> Domain:
        """Return a domain before any row has been counted."""
        counts = np.zeros((len(blocks), 2, len(EDGES) + 1), dtype=np.int32)
        nowhere = np.tile([np.inf, -np.inf], (n_outputs, 1))
        return cls(columns, blocks, discrete, counts, np.zeros((len(blocks), 2)), nowhere)

    def with_rows(self, distances: Float, left_out: Float, y: Float) -> Domain:
        """Return the domain with more rows: how many (M, 2, bins) lie in each bin, and of standardised y (q, bins)."""
        units = np.array([block.units for block in self.blocks.values()]).reshape(-1, 2)
        reached = _outermost(distances)
        ends = np.concatenate(([-np.inf], Y_EDGES, [np.inf]))
        bins = [np.flatnonzero(of_output)[[0, -1]] for of_output in y]
        found = np.array([ends[[first, last + 1]] for first, last in bins])
        return replace(
            self,
            counts=self.counts + left_out.astype(self.counts.dtype),
            reached=np.maximum(self.reached, reached * units),
            y_range=np.stack((np.minimum(self.y_range, found)[:, 0], np.maximum(self.y_range, found)[:, 1]), 1),
        )

    def distances(self, table: NDArray, present: Present | None) -> Float:
        """Return T2 and Q of each modality (n, M, 2), zeros of those that a row lacks."""
        out = np.zeros((len(table), len(self.blocks), 2))
        for slab in slabs(len(table), SLAB_ROWS):
            for m, (name, block) in enumerate(self.blocks.items()):
                if len(self.columns[name]):
                    out[slab, m] = block.distances(columns_of(table[slab], self.columns[name]))
        return out if present is None else np.where(present[:, :, None], out, 0.0)

    def beyond(self, table: NDArray, present: Present | None, limits: Float) -> NDArray[np.bool_]:
        """Return which rows (n,) lie beyond limits (M, 2) of T2 or Q, in a modality that they have."""
        out = np.zeros(len(table), dtype=bool)
        for slab in slabs(len(table), SLAB_ROWS):
            for m, (name, block) in enumerate(self.blocks.items()):
                if len(self.columns[name]):
                    found = block.beyond(columns_of(table[slab], self.columns[name]), limits[m])
                    out[slab] |= found if present is None else found & present[slab, m]
        return out

    def unseen(self, table: NDArray) -> NDArray[np.bool_]:
        """Return which of the `discrete` columns (n, columns) hold a label that no training row had."""
        from skfdrmfl.data.categories import UNSEEN  # which takes scikit-learn

        return table[:, self.discrete] == UNSEEN

    def limits(self, level: float) -> Limits:
        """Return the limits within which a share `level` of new rows lies by T2, and so many by Q.

        Of several modalities each has 1 - (1 - level) / M. With fewer rows than 1 / (1 - level) - 1 the quantile would
        be beyond the last: the limit is then the outermost one's, or that of the F distribution with the rows' own mean
        and, of Q, variance, whichever is larger; of T2 k (n^2 - 1) / (n (n - k)) F(k, n - k) (T. Kourti and J. F.
        MacGregor, Chemometrics and Intelligent Laboratory Systems 28, 1995, 3-21), of Q m F(2 m^2 / s^2, n - 1), which
        for many rows is g chi2_h (G. E. P. Box, Annals of Mathematical Statistics 25, 1954, 290-302).
        """
        used = sum(len(columns) > 0 for columns in self.columns.values())
        share = 1.0 - (1.0 - level) / max(used, 1)
        usual = np.zeros((len(self.blocks), 2))
        for m, block in enumerate(self.blocks.values()):
            for kind, of_kind in enumerate(self.counts[m]):
                k = len(block.variances) if kind == T2 else None
                usual[m, kind] = 0.0 if k == 0 else block.units[kind] * _limit(of_kind, share, k)
        wide = usual if level == FAR_LEVEL else self.limits(FAR_LEVEL).usual
        return Limits(usual, np.maximum(FAR * wide, self.reached))

    def moved(self, table: NDArray, m: int) -> list[Indices]:
        """Return for each row of a table the columns of a modality, those first that stand out most.

        Columns that a view appends are none of the table.
        """
        name, block = list(self.blocks.items())[m]
        columns, found = self.columns[name], []
        for start in range(0, len(table), N_AT_ONCE):
            rows = np.take(table[start : start + N_AT_ONCE], columns, axis=1).astype(np.float64, copy=False)
            found += list(columns[np.argsort(-np.abs(block.standing_out(rows))[:, : len(columns)], kind="stable")])
        return found


def counted(values: Float, edges: Float) -> Float:
    """Return how many values of each column (n, k) lie in each bin (k, bins): up to each edge, and beyond the last."""
    n_bins, k = len(edges) + 1, values.shape[1]
    places = np.searchsorted(edges, values) + n_bins * np.arange(k)
    return np.bincount(places.ravel(), minlength=n_bins * k).reshape(k, n_bins).astype(np.float64)


def rank_of(n: float, level: float) -> int:
    """Return which of n exchangeable values, in ascending order, a further one exceeds in a share 1 - level at most."""
    return ceil((int(n) + 1) * Fraction(str(level)))


def _limit(counts: Float, level: float, k: int | None) -> float:
    """Return a limit in units, of rows (bins,) by distance; `k` is the number of axes where that is T2."""
    n = counts.sum()
    rank = rank_of(n, level)
    if rank <= n:
        return float(np.append(EDGES, np.inf)[np.searchsorted(np.cumsum(counts), rank)])
    return max(float(_outermost(counts)), _by_moments(counts, n, level, k))


def _by_moments(counts: Float, n: float, level: float, k: int | None) -> float:
    """Return the limit of the F distribution; see `Domain.limits`."""
    from scipy.stats import f  # which processes that only predict do without

    if k is not None:
        return float((n**2 - 1) / (n * (n - k)) * f.ppf(level, k, n - k)) if 0 < k < n else 0.0
    middle = np.append(EDGES, EDGES[-1]) / np.sqrt(EDGES[1] / EDGES[0])
    mean = float(counts @ middle / max(n, 1.0))
    variance = float(counts @ (middle - mean) ** 2 / max(n - 1, 1.0))
    return mean * float(f.ppf(level, 2 * mean**2 / variance, n - 1)) if variance > 0 else mean


def _outermost(counts: Float) -> Float:
    """Return the upper edge of the last bin (..., bins) with a row; 0 without rows."""
    last = len(EDGES) - (counts > 0)[..., ::-1].argmax(-1)
    return np.where(counts.any(-1), np.append(EDGES, np.inf)[last], 0.0)
