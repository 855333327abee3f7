"""What the clients say of a view of the columns, fold by fold; its linear members and whitenings follow from it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy.linalg import block_diag

from skfdrmfl.common.arrays import Float, Indices
from skfdrmfl.common.progress import tell
from skfdrmfl.data.held_out import Subset
from skfdrmfl.data.transforms import BlockSpectrum, BlockTransform, TableTransform, scaled, unchanged
from skfdrmfl.mixture.linear_paths import in_range
from skfdrmfl.mixture.moments import Moments
from skfdrmfl.protocol.door import Block, Federation
from skfdrmfl.protocol.plan import Inputs, Targets
from skfdrmfl.protocol.queries.labels import Presence
from skfdrmfl.protocol.queries.members import FoldMoments
from skfdrmfl.protocol.queries.whitening import MAX_EXACT_COLUMNS, Found, fit_series, sorted_axes, whitening_scale
from skfdrmfl.views import VIEWS
from skfdrmfl.views.base import SMOOTH_CORRELATION, View
from skfdrmfl.views.within import Chain


def _parts(view: View) -> tuple[str | None, str | None]:
    """Return the names of the view whose sums clients send, and of the linear one after it, done to these sums."""
    if view.is_linear:
        return None, view.name
    return (view.first.name, view.second.name) if isinstance(view, Chain) else (view.name, None)


PARTS_OF_VIEW = {"raw": (None, None)} | {name: _parts(view) for name, view in VIEWS.items()}

# A base view and a modality; the outputs among them.
Key = tuple[str | None, str]
OUTPUTS: Key = ("", "")


class ViewBlock(NamedTuple):
    """A modality in one view: v = center + gains s, s being the coordinates that the moments are of."""

    view: View | None
    from_base: Float  # (p_v, p), from z
    center: Float  # (p_v,)
    gains: Float  # (p_v, r)
    deviation: Float  # (p_v,), over all rows that have the modality
    n_appended: int  # columns at the end that are of other units than those before


@dataclass(frozen=True, eq=False)
class ViewSums:
    """Moments of the numeric columns in a base view, side by side.

    They are of coordinates s with z = axes s, where z = (view(x) - mean) / deviation, zeros of modalities that a row
    lacks, and `axes` (p, r) hold all that the rows say.
    """

    table: TableTransform  # x to z; a modality without numbers has no columns
    smooth: tuple[str, ...]  # modalities that are pre-treated
    axes: Float
    held_out: Moments  # (K,), of the rows that each fold holds out
    present: Float  # (K, M), how many of these have each modality
    wide: TableTransform  # modalities too wide for moments, which have no columns in `table`, standardised

    @cached_property
    def total(self) -> Moments:
        """Moments of all rows."""
        return self.held_out.sum()

    @cached_property
    def kept(self) -> Moments:
        """Moments (K + 1,) of the rows that each fold keeps, and of all rows."""
        return self.held_out.kept

    @cached_property
    def kept_present(self) -> Float:
        """How many rows (K + 1, M) have each modality, of those that each fold keeps, and of all."""
        total = self.present.sum(0)
        return np.concatenate((total - self.present, total[None]))

    def usable_folds(self) -> list[int]:
        """Return the folds that hold out rows, and keep some of each modality."""
        usable = (self.held_out.n > 0) & (self.kept.n[:-1] > 0) & (self.kept_present[:-1] > 0).all(1)
        return np.flatnonzero(usable).tolist()

    def blocks(self, view: str) -> dict[str, ViewBlock]:
        """Return each modality in a view that follows from this one by a linear map."""
        out = {}
        for m, name, block, mine in self._modalities():
            p, treated = block.n_outputs, name in self.smooth and view != "raw"
            base, step = PARTS_OF_VIEW[view] if treated else (None, None)
            n_appended = 0 if base is None else VIEWS[base].n_appended
            unit, center = block.unit, block.mean
            if block.projection is not None:  # principal axes stand for themselves
                unit, center = np.ones(p), np.zeros(p)
            from_base = np.eye(p)
            if step is not None:
                from_base = block_diag(VIEWS[step].matrix(p - n_appended), np.eye(n_appended))
            gains = from_base @ (unit[:, None] * mine)
            deviation = _deviation(gains, self._covariance(-1, m))
            out[name] = ViewBlock(
                VIEWS[view] if treated else None, from_base * unit, from_base @ center, gains, deviation, n_appended
            )
        return out

    def transforms(
        self,
        view: str,
        kinds: Mapping[str, str | None],
        shrinkage: float,
        sets: Sequence[int],
    ) -> list[TableTransform]:
        """Return what encoders read in a view, fitted on some of the sets of rows in `kept`."""
        by_block = {
            name: self._transforms(sets, m, block, kinds[name], shrinkage)
            for m, (name, block) in enumerate(self.blocks(view).items())
        }
        columns = self.table.columns | self.wide.columns
        return [
            TableTransform(columns, {name: fitted[i] for name, fitted in by_block.items()} | self.wide.blocks)
            for i in range(len(sets))
        ]

    def _transforms(
        self, sets: Sequence[int], m: int, block: ViewBlock, kind: str | None, shrinkage: float
    ) -> list[BlockTransform]:
        """Return what the columns of a modality go through, fitted on some of the sets of rows in `kept`."""
        if kind is None or not len(block.center):
            n_columns = len(list(self.table.columns.values())[m])
            return [unchanged(n_columns, block.view)] * len(sets)
        out, of_base = [], list(self.table.blocks.values())[m]
        scale = whitening_scale(block.deviation, block.view)
        if of_base.projection is not None:  # principal axes have one unit: short ones are to shrink
            scale = np.where(block.deviation > 0, block.deviation.max(), np.inf)
        axes, r = np.linalg.qr(block.gains / scale[:, None])
        for number in sets:
            mean = block.center + block.gains @ (self.kept.x[number] / max(self.kept_present[number, m], 1.0))
            covariance = self._covariance(number, m)
            tell("axes of columns")
            if kind == "whiten" and len(covariance):  # else every column is constant
                values, vectors = np.linalg.eigh(r @ covariance @ r.T)
                fitted = sorted_axes(mean, scale, values, axes @ vectors).whitening(shrinkage)
            else:
                deviation = _deviation(block.gains, covariance)
                fitted = scaled(mean, np.where(block.deviation > 0, deviation, 0.0))
            out.append(replace(_behind(of_base, fitted), tail=of_base.tail, view=block.view))
        return out

    def deviation(self, n_features: int) -> Float:
        """Return the standard deviation over all rows of each numeric column of the table, 0 of others."""
        spread = np.zeros(n_features)
        for m, name, block, mine in self._modalities():
            deviation = block.unit
            if block.projection is not None:
                deviation = block.unit * _deviation(block.projection @ mine, self._covariance(-1, m))
            spread[self.table.columns[name]] = deviation
        for name, block in self.wide.blocks.items():
            spread[self.wide.columns[name]] = block.unit
        return spread

    def spectra(self) -> dict[str, BlockSpectrum]:
        """Return the principal axes of each modality's columns, as they are, over all rows that have it."""
        found = {}
        for m, name, block, mine in self._modalities():
            scale, basis, inside = block.scale, block.projection, mine
            if basis is None:
                scale = whitening_scale(block.unit)
                basis, inside = np.linalg.qr((block.unit / scale)[:, None] * mine)
            if mine.size:  # else it has no numbers, or all are constant
                values, vectors = np.linalg.eigh(inside @ self._covariance(-1, m) @ inside.T)
                found[name] = sorted_axes(block.mean, scale, values, basis @ vectors)
        return found

    def _modalities(self) -> Iterator[tuple[int, str, BlockTransform, Float]]:
        """Yield number, name, columns and rows of `axes` of each modality."""
        start = 0
        for m, (name, block) in enumerate(self.table.blocks.items()):
            yield m, name, block, self.axes[start : start + block.n_outputs]
            start += block.n_outputs

    def _covariance(self, number: int, m: int) -> Float:
        """Return the covariance (r, r) of the coordinates, over the rows of a set in `kept` that have a modality."""
        n = max(float(self.kept_present[number, m]), 1.0)
        mean = self.kept.x[number] / n
        return self.kept.xx[number] / n - np.outer(mean, mean)


def _deviation(gains: Float, covariance: Float) -> Float:
    """Return the standard deviations (p,) of gains s (p, r), s having this covariance (r, r)."""
    return np.sqrt(np.maximum(((gains @ covariance) * gains).sum(1), 0.0))


def _behind(base: BlockTransform, then: BlockTransform) -> BlockTransform:
    """Return one transformation of the columns for `then` behind the axes of `base`, if it has any."""
    if base.projection is None:
        return then
    projection = np.eye(len(then.mean)) if then.projection is None else then.projection
    projection = base.projection @ np.divide(projection, then.scale[:, None])
    mean = base.mean + base.unit * (base.projection @ then.mean)
    return replace(then, mean=mean, scale=base.scale, projection=projection)


def ask(
    federation: Federation,
    blocks: Mapping[str, Block],
    bases: Sequence[str | None],
    series: Sequence[str],
    folds: Sequence[Subset],
    subset: Subset,
) -> tuple[dict[str | None, ViewSums], BlockTransform]:
    """Return the sums of `blocks`, one for each modality, in each base view, and the standardisation of y.

    Four exchanges: means, deviations (in two steps), and the moments of all folds and views. Those of the modalities in
    `series` whose neighbouring columns correlate are smooth; where none is, the columns are left as they are. A
    modality that is too wide for moments stands on its principal axes where few hold nearly all of it (`fit_blocks`),
    else it has no columns in them.
    """
    columns = {name: np.asarray(block.columns) for name, block in blocks.items()}
    wide = {name for name in columns if len(columns[name]) > MAX_EXACT_COLUMNS}
    asked: dict[Key, Block] = {(None, name): block for name, block in blocks.items() if len(columns[name])}
    asked |= {(base, name): replace(blocks[name], view=VIEWS[base]) for base in bases if base for name in series}
    kinds: dict[Key, str | None] = {(base, name): "whiten" if name in wide else "standardize" for base, name in asked}
    raw: list[Key] = [(None, name) for name in series]
    found, correlation = fit_series(
        federation, {**asked, OUTPUTS: Block(None)}, {**kinds, OUTPUTS: "standardize"}, raw, subset
    )
    smooth = tuple(name for name in series if correlation[None, name] > SMOOTH_CORRELATION)
    y = found.pop(OUTPUTS)
    assert isinstance(y, BlockTransform)
    tables = {
        base: _tables({name: found.get((base if name in smooth else None, name)) for name in blocks}, columns, wide)
        for base in (dict.fromkeys((None, *bases)) if smooth else (None,))
    }
    answers = federation.sum(
        *(FoldMoments(Inputs(table), Targets((y,)), tuple(folds), subset) for table, _ in tables.values()),
        *(Presence(fold) for fold in folds),
    )
    moments, present = answers[: len(tables)], answers[len(tables) :]
    counts = np.stack([np.zeros(len(blocks)) if p is None else p.by_modality.astype(float) for p in present])
    sums = {}
    for (base, (table, too_wide)), answer in zip(tables.items(), moments, strict=True):
        held_out, axes = Moments(*answer), np.zeros((0, 0))
        if held_out.x.shape[-1]:
            tell("axes of all columns")
            held_out, axes = in_range(held_out)
        sums[base] = ViewSums(table, smooth, axes, held_out, counts, too_wide)
    return sums, y


def _tables(
    found: Mapping[str, Found | None], columns: Mapping[str, Indices], wide: Collection[str]
) -> tuple[TableTransform, TableTransform]:
    """Return what the moments are taken of, and the modalities that are too wide for them."""
    nothing = BlockTransform(np.zeros(0), np.ones(0), None, 0.0)
    table, too_wide = TableTransform({}, {}), TableTransform({}, {})
    for name, fitted in found.items():
        mine = columns[name]
        if isinstance(fitted, BlockSpectrum):
            power = float(fitted.eigenvalues.sum())
            fitted = BlockTransform(fitted.mean, fitted.scale, fitted.eigenvectors, power, fitted.tail)
        elif fitted is None or name in wide:
            if fitted is not None:
                too_wide.columns[name], too_wide.blocks[name] = mine, fitted
            fitted, mine = nothing, mine[:0]
        table.columns[name], table.blocks[name] = mine, fitted
    return table, too_wide
