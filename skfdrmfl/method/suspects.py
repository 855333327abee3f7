"""Rows that look corrupt: those of its own that a client finds, by what is usual of the rows of all clients.

Glossary: z (S,) sketched columns (`method.seen_rows`), standardised; v (q,)
outputs about their centre, in units of their spread; T2 and Q as in `method.domain`, r^2 the squared residual of v by a
ridge, each as if its row had been left out. A row is suspect beyond `LIMIT` times what nine of ten rows keep within.

There are two ridges, and each output has the one that usual rows are nearer to: of the columns, and of the shapes of
series (SNV) with products of their leading scores, by which y bends. On Tecator's fat residuals are .37 and .12 of its
spread; with the first alone a fifth of the y exchanged with rows a standard deviation away is within the limit.

Centre and spread are means of the clients' medians and median deviations. Moments are of rows whose length is cut to
`CLIP` times the usual one, and once more without those beyond `FIRST_LIMIT`: three rows that are wrong alike would else
span an axis of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from skfdrmfl.common.arrays import Float, Indices
from skfdrmfl.common.tree import registered
from skfdrmfl.method.domain import BlockDomain
from skfdrmfl.method.seen_rows import Mask, Seen, are_codes, edges_of, filled, sketch

CLIP, Y_CLIP = 3.0, 4.0
# Times the distance, squared, that a share of `USUAL` of the rows keeps within.
USUAL, FIRST_LIMIT, LIMIT = 0.9, 3.0, 9.0
# Upper edges of the bins in which these are counted; one more bin has the rest.
EDGES: Float = np.array(1e-3 * 1.2 ** np.arange(150), dtype=np.float64)
# Penalties of a ridge, relative to the largest eigenvalue; each output has that of the least error at this rank.
PENALTIES: Float = 10.0 ** np.arange(-10.0, 1.0, 2.0)
ERROR_RANK = 0.6
# Leading scores of shapes that products are taken of, and the deviations at which they are cut.
MOST_BENT, BENT_CLIP = 5, 5.0
# Most leverage that a row is taken for: beyond, the residual without it is rounding.
MOST_LEVERAGE = 0.95
# Of so large a share of a client's rows none is suspect: they are how this client is.
MOST_OF_A_CLIENT = 1 / 3
# Values that are codes are placeholders if so many times the spread away from what is usual.
CODE_DISTANCE = 10.0
# Equal values at a row's maximum, side by side, that are no chance where neighbours differ.
PLATEAU = 4
# What a flagged row may have been multiplied with or shifted by, if undoing it brings it so many times nearer.
FACTORS: Float = 10.0 ** np.array([-3, -2, -1, 1, 2, 3])
SHIFTS = tuple(s for k in range(1, 11) for s in (-k, k))
UNDONE = 5.0
# A spike has all columns that stand out by this share of what the first one does, and is this wide at most.
SPIKE_SIZE, MOST_OF_A_SPIKE = 0.3, 0.4
# Rows of a client whose reason is looked for.
MOST_NAMED = 200

# Why a row is suspect, the first that holds.
REASONS = (
    "constant",
    "placeholder in X",
    "placeholder in y",
    "saturated",
    "other units",
    "axis shifted",
    "spike",
    "unlike other rows",
    "repeats with unlike y",
    "y unlike that of like rows",
)
CONSTANT, CODE_X, CODE_Y, SATURATED, UNITS, SHIFTED, SPIKE, UNLIKE, REPEATS, ODD_Y = range(len(REASONS))
NOWHERE = -1


class Rows(NamedTuple):
    """Rows of a client by what is usual."""

    z: Float  # (n, S), standardised columns of all modalities, zeros of those that a row lacks
    present: Mask  # (n, M)
    v: Float  # (n, q)
    code: Indices  # (n,), the first column that holds a placeholder, NOWHERE
    code_y: Mask  # (n,)
    weights: Float  # (n,), with which they count at first
    seen: Seen


class Measured(NamedTuple):
    """How far out rows are, as if each had been left out, in the units in which they are counted."""

    distances: Float  # (n, M, 2), T2 and Q, zeros where a row lacks the modality
    residuals: Float  # (n, L, q), squared, by ridge and penalty; zeros where a row lacks a modality: it says less of y


@registered
@dataclass(frozen=True, eq=False)
class BlockLook:
    """What is usual of a modality."""

    center: Float  # (S,)
    spread: Float  # (S,), 0 of a column that does not vary
    scale: Float  # (S,), one for all columns unless they are of unlike units; infinite of what does not vary
    domain: BlockDomain | None = None
    smooth: bool = False  # whether neighbouring columns say nearly the same, or at first are so many that they may


@registered
@dataclass(frozen=True, eq=False)
class Ridge:
    """v by features: along principal axes, for each penalty."""

    mean: Float  # (S,), of the features
    v_mean: Float  # (q,)
    axes: Float  # (S, r)
    variances: Float  # (r,)
    products: Float  # (r, q)
    n_rows: float

    def squares(self, z: Float, v: Float, weights: Float) -> Float:
        """Return squared residuals (n, L, q) as if each row had been left out, which counts by its weight (n,)."""
        along = (z - self.mean) @ self.axes
        inverse = 1.0 / (self.variances + PENALTIES[:, None] * self.variances.max(initial=0.0))  # (L, r)
        fitted = (along[:, None, :] * inverse) @ self.products
        leverage = np.minimum((weights / self.n_rows)[:, None] * (1.0 + along**2 @ inverse.T), MOST_LEVERAGE)
        return ((v - self.v_mean)[:, None, :] - fitted) ** 2 / (1.0 - leverage[:, :, None]) ** 2


class Found(NamedTuple):
    """Suspect rows of a client, by their number among its own: the reason, and where."""

    rows: Indices
    reasons: Indices
    modalities: Indices  # NOWHERE of y
    columns: Indices  # of the modality, or the output; NOWHERE of all of them


@registered
@dataclass(frozen=True, eq=False)
class SuspectRows:
    """Suspect rows of all clients (n,), or where these are elsewhere how many there are of each client and reason."""

    positions: Indices
    rows: Indices  # of X as it was given
    reasons: Indices
    modalities: Indices  # NOWHERE of y
    columns: Indices  # of X; NOWHERE of none in particular
    outputs: Indices  # NOWHERE of X
    counts: Indices
    by_row: bool

    def by_reason(self) -> dict[str, int]:
        """Return how many rows there are of each reason."""
        numbers = np.bincount(self.reasons, self.counts, minlength=len(REASONS)).astype(int).tolist()
        return {reason: n for reason, n in zip(REASONS, numbers, strict=True) if n}


@registered
@dataclass(frozen=True, eq=False)
class Look:
    """What a client holds its rows against; it grows in the order of the fields."""

    widths: tuple[int, ...]  # columns of each modality
    blocks: tuple[BlockLook, ...]
    y_center: Float  # (q,)
    y_scale: Float  # (q,), infinite of an output that is not looked at
    former: Look | None = None  # by which rows were left out of what follows
    bent: BlockDomain | None = None  # the leading axes of shapes: products of scores are features of what follows
    ridges: tuple[Ridge, ...] = ()
    limits: Float | None = None  # (M, 2)
    y_limits: Float | None = None  # (q,)
    models: Indices | None = None  # (q,), places among the ridges' penalties

    # -------------------------------------------------------------------------------------------- reading

    @property
    def places(self) -> list[slice]:
        """Where the sketched columns of each modality are."""
        ends = np.cumsum([len(block.center) for block in self.blocks]).tolist()
        return [slice(end - len(block.center), end) for end, block in zip(ends, self.blocks, strict=True)]

    def read(self, seen: Seen) -> Rows:
        """Return rows as they are looked at."""
        center, spread, scale = (
            np.concatenate([getattr(b, name) for b in self.blocks]) for name in ("center", "spread", "scale")
        )
        z = (seen.s - center) / scale
        present = np.stack([~np.isnan(z[:, mine]).any(1) for mine in self.places], 1)
        z = filled(z)
        with np.errstate(over="ignore"):
            v = (seen.y - self.y_center) / self.y_scale
            sizes = np.stack([(z[:, mine] ** 2).mean(1) for mine in self.places], 1)
        code, (row, column) = np.full(len(z), NOWHERE), seen.cells.T
        if len(row):
            edges, starts = [edges_of(width) for width in self.widths], np.cumsum([0, *self.widths])
            firsts = np.concatenate([of[:-1] + start for of, start in zip(edges, starts, strict=False)])
            place = np.searchsorted(firsts, column, side="right") - 1
            far = np.abs(seen.values - center[place]) > CODE_DISTANCE * spread[place]
            code[row[far][::-1]] = column[far][::-1]  # the first column of a row comes last
        code_y = np.asarray(((np.abs(v) > CODE_DISTANCE) & are_codes(seen.y)).any(1))
        usual = [np.mean((b.spread / b.scale) ** 2) if len(b.scale) else 0.0 for b in self.blocks]
        cuts = CLIP**2 * np.array(usual)
        weights = np.divide(cuts, sizes, out=np.ones_like(sizes), where=sizes > cuts).prod(1)
        weights[(code != NOWHERE) | code_y] = 0.0
        return Rows(z, present, v, code, code_y, weights, seen)

    def bending(self, rows: Rows) -> Float:
        """Return shapes of the series among the modalities, z of the others (n, S), and products of scores of shapes.

        Of no series nothing (n, 0).
        """
        smooth = self.smooth_columns
        if not smooth.any():
            return np.zeros((len(rows.z), 0))
        found = rows.seen.shapes if smooth.all() else np.where(smooth, rows.seen.shapes, rows.z)
        bent = None if self.former is None else self.former.bent
        if bent is None:
            return found
        scores = np.clip(bent.scores(found[:, smooth])[0] / np.sqrt(bent.variances), -BENT_CLIP, BENT_CLIP)
        first, second = np.triu_indices(scores.shape[1])
        return np.concatenate((found, scores[:, first] * scores[:, second]), 1)

    @property
    def smooth_columns(self) -> Mask:
        """Which sketched columns (S,) are of series."""
        return np.repeat([block.smooth for block in self.blocks], [len(block.center) for block in self.blocks])

    def spared(self, rows: Rows, measured: Measured) -> Float:
        """Return the weight (n,) with which rows count hereafter, 0 of those beyond the limits."""
        far, odd = self.beyond(measured)
        far, odd = far.max((1, 2), initial=0.0) > 1.0, odd.max(1, initial=0.0) > 1.0
        out = _unlike_the_rest(far) | _unlike_the_rest(odd) | _unlike_the_rest(self._flat(rows))
        return np.where(out, 0.0, rows.weights)

    def measured(self, rows: Rows, weights: Float) -> Measured:
        """Return how far out rows are that count by `weights` (n,)."""
        distances = np.zeros((len(weights), len(self.blocks), 2))
        for m, (mine, block) in enumerate(zip(self.places, self.blocks, strict=True)):
            if block.domain is not None:
                with np.errstate(over="ignore"):
                    found = block.domain.left_out(block.domain.distances(rows.z[:, mine]), weights[:, None])
                distances[:, m] = np.where(rows.present[:, m : m + 1], found / block.domain.units, 0.0)
        features = (rows.z, self.bending(rows))[: len(self.ridges)]
        with np.errstate(over="ignore", invalid="ignore"):
            squares = [r.squares(f, rows.v, weights) for r, f in zip(self.ridges, features, strict=True)]
        residuals = np.concatenate(squares, 1)
        residuals[~rows.present.all(1)] = 0.0
        return Measured(distances, np.where(np.isnan(residuals), np.inf, residuals))

    def beyond(self, measured: Measured) -> tuple[Float, Float]:
        """Return how many times their limits distances (n, M, 2) and squared residuals (n, q) are."""
        assert self.limits is not None and self.y_limits is not None and self.models is not None
        residuals = measured.residuals[:, self.models, np.arange(len(self.models))]
        return measured.distances / self.limits, residuals / self.y_limits

    # -------------------------------------------------------------------------------------------- finding

    def find(self, rows: Rows, measured: Measured, blocks: Indices, x_of: Callable[[Indices], Float]) -> Found:
        """Return the suspect rows of a client, of which `x_of` returns some in all their numeric columns.

        `blocks` (n,) are numbers of blocks of rows, equal ones together.
        """
        far, odd = self.beyond(measured)
        reason, n = np.full(len(blocks), NOWHERE), len(blocks)
        where, column = np.full(n, NOWHERE), np.full(n, NOWHERE)

        def name(mask: Mask, why: int, modality: Indices | None, place: Indices | None = None) -> None:
            new = mask & (reason == NOWHERE)
            reason[new] = why
            where[new] = NOWHERE if modality is None else modality[new]
            column[new] = NOWHERE if place is None else place[new]

        starts = np.concatenate(([0], np.cumsum(self.widths)))
        flat, widths = self._flat(rows), np.array(self.widths)
        level = flat & (rows.seen.plateau == widths)
        name(_unlike_the_rest(level), CONSTANT, level.argmax(1))
        of_code = np.searchsorted(starts, rows.code, side="right") - 1
        name(rows.code != NOWHERE, CODE_X, of_code, rows.code - starts[of_code])
        name(rows.code_y, CODE_Y, None, np.abs(rows.v).argmax(1))
        name(_unlike_the_rest(flat), SATURATED, flat.argmax(1))
        times = far.max(2, initial=0.0)
        worst = times.argmax(1) if times.shape[1] else np.zeros(n, dtype=np.int64)
        unlike = _unlike_the_rest(times.max(1, initial=0.0) > 1.0) & (reason == NOWHERE)
        name(unlike, UNLIKE, worst)
        unlike_rows = np.flatnonzero(unlike)[:MOST_NAMED]
        for i, x in zip(unlike_rows.tolist(), x_of(unlike_rows) if len(unlike_rows) else (), strict=True):
            m = int(worst[i])
            reason[i], column[i] = self._why(x[starts[m] : starts[m + 1]], m)
        odd_row = odd.max(1, initial=0.0) > 1.0
        output = odd.argmax(1)
        name(self._contradictory(rows, blocks, odd_row), REPEATS, None, output)
        name(_unlike_the_rest(odd_row), ODD_Y, None, output)
        found = np.flatnonzero(reason != NOWHERE)
        return Found(found, reason[found], where[found], column[found])

    def _flat(self, rows: Rows) -> Mask:
        """Return in which modalities (n, M) rows have a plateau at their maximum."""
        return np.asarray((rows.seen.plateau >= PLATEAU) & [block.smooth for block in self.blocks])

    def _why(self, x: Float, m: int) -> tuple[int, int]:
        """Return why a row of a modality (p,) that is unlike others is so, and the column where it is."""
        block, limits = self.blocks[m], self.limits
        assert block.domain is not None and limits is not None
        domain, mine = block.domain, limits[m]

        def standardised(tried: Float) -> Float:
            return np.asarray((sketch(tried) - block.center) / block.scale)

        def excess(tried: Float) -> Float:
            return (domain.distances(standardised(tried)) / domain.units / mine).max(1)

        now = excess(x[None])[0]
        with np.errstate(all="ignore"):
            times = np.nanmedian(sketch(x[None])[0] / block.center)
            undone = excess(x[None] / FACTORS[:, None])
        if ((undone < now / UNDONE) & (np.abs(np.log2(times / FACTORS)) < 1.0)).any():
            return UNITS, NOWHERE
        if not block.smooth:
            return UNLIKE, NOWHERE
        off = np.abs(domain.standing_out(standardised(x[None]))[0])
        out = np.flatnonzero(off > SPIKE_SIZE * off.max())
        if out[-1] - out[0] < MOST_OF_A_SPIKE * len(off):
            return SPIKE, int(edges_of(len(x))[off.argmax()])
        places = np.arange(len(x)) + np.array(SHIFTS)[:, None]
        if excess(x[np.clip(places, 0, len(x) - 1)]).min() * UNDONE < now:
            return SHIFTED, NOWHERE
        return UNLIKE, NOWHERE

    def _contradictory(self, rows: Rows, blocks: Indices, odd: Mask) -> Mask:
        """Return which rows equal another one in X but not in y; where one of these is odd, that one alone."""
        assert self.y_limits is not None
        mask = np.zeros(len(blocks), dtype=bool)
        counts = np.bincount(blocks)
        several = np.flatnonzero(counts[blocks] > 1)
        several = several[np.argsort(blocks[several], kind="stable")]
        for mine in np.split(several, np.cumsum(counts[counts > 1])[:-1]) if len(several) else ():
            s = filled(rows.seen.s[mine])
            mine = mine[(s == s[:1]).all(1)]
            if len(mine) < 2:
                continue
            away = (rows.v[mine] - np.median(rows.v[mine], axis=0)) ** 2
            apart = np.ptp(rows.v[mine], axis=0) ** 2 > 2.0 * self.y_limits
            if apart.any():
                unlike = (away[:, apart] > self.y_limits[apart] / 2.0).any(1)
                mask[mine] = unlike & odd[mine] if (unlike & odd[mine]).any() else unlike
        return mask


def at_rank(counts: Float, share: float) -> Float:
    """Return the upper edge of the bin with the row of a rank, from counts (..., bins); of no rows the first edge."""
    reached = np.cumsum(counts, -1) >= share * counts.sum(-1, keepdims=True)
    return np.append(EDGES, EDGES[-1])[reached.argmax(-1)]


def _unlike_the_rest(mask: Mask) -> Mask:
    """Return which of a client's rows hold anywhere (n,), none where they are too many to be the exception."""
    rows = np.asarray(mask.any(tuple(range(1, mask.ndim))))
    return rows if rows.sum() <= max(1.0, MOST_OF_A_CLIENT * len(rows)) else np.zeros_like(rows)
