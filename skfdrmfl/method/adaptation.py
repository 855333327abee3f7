"""A fitted model after few rows of a new instrument: how rows are read before it, and what becomes of predictions.

y' = a f(read(x)) + b + w'u, of standardised y: slope a, offset b, and scores u of whitened columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import ceil, log

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.common.arrays import Float, Indices, Present, row_products
from skfdrmfl.common.tree import registered
from skfdrmfl.data.transforms import BlockTransform, TableTransform
from skfdrmfl.method.domain import EDGES, Domain
from skfdrmfl.method.linear import Linear
from skfdrmfl.method.mixture import LinearPart, Mixture
from skfdrmfl.method.reading import Reading, read_table
from skfdrmfl.method.trained_network import TrainedNetwork


@registered
@dataclass(frozen=True, eq=False)
class Adaptation:
    """What few rows of a new instrument have changed, and what else was tried."""

    columns: Mapping[str, Indices]  # of modalities that are read anew
    readings: Mapping[str, Reading]
    slope: Float  # (q,)
    offset: Float  # (q,)
    head: LinearPart | None
    hows: list[str]  # (q,)
    n_rows: int
    errors: Mapping[str, Float]  # (q,) of each way that was tried, on rows left out

    def read(self, table: NDArray) -> NDArray:
        """Return a table as the instruments of the fit would have read it."""
        return read_table(table, self.columns, self.readings)


@dataclass(frozen=True, eq=False)
class Adapted:
    """What predicts after an adaptation."""

    predictor: TrainedNetwork | Mixture
    adaptation: Adaptation

    def evaluate(self, table: Float, present: Present | None) -> tuple[Float, Float]:
        """Return Z (n, c) and standardised y_hat (n, q) of the rows of a table."""
        change = self.adaptation
        table = change.read(table)
        z, before = self.predictor.evaluate(table, present)
        y_hat = change.slope * before + change.offset
        if change.head is not None:
            y_hat += change.head.predict(table, present)
        if isinstance(self.predictor, Mixture):
            z = z + row_products(y_hat - before, self.predictor.from_prediction)
        return z, y_hat

    def jacobians(self, table: Float, present: Present | None) -> Iterator[Float]:
        """Yield the derivatives (rows, q, n_features) of y_hat by the columns of the table, a slab at a time."""
        change, start = self.adaptation, 0
        table = change.read(table)
        for slab in self.predictor.jacobians(table, present):
            rows = slice(start, start := start + len(slab))
            found = change.slope[:, None] * slab
            if change.head is not None:
                found += change.head.slopes(table[rows], None if present is None else present[rows])
            for name, reading in change.readings.items():
                found[..., change.columns[name]] = reading.slopes(found[..., change.columns[name]])
            yield found

    @property
    def is_linear(self) -> bool:
        """Whether predictions are a linear function of the columns of complete rows."""
        return self.predictor.is_linear and (self.adaptation.head is None or self.adaptation.head.is_linear)

    @property
    def selected_features(self) -> Indices:
        """Columns of the table that it depends on, ascending."""
        change = self.adaptation
        used = [self.predictor.selected_features, *(change.columns[name] for name in change.readings)]
        return np.unique(np.concatenate([*used, *([] if change.head is None else [change.head.selected_features])]))


def whitened_scores(domain: Domain) -> TableTransform:
    """Return rows' scores along the axes of a domain, in units of their deviations; without axes, its columns."""
    blocks = {}
    for name, block in domain.blocks.items():
        projection = block.axes / np.sqrt(block.variances) if block.axes.size else None
        power = float(len(block.mean if projection is None else block.variances))
        blocks[name] = BlockTransform(block.mean, block.scale, projection, power, view=block.view)
    return TableTransform(dict(domain.columns), blocks)


def head_of(domain: Domain, weights: Float) -> LinearPart | None:
    """Return what scores with `weights` (k, q) add to predictions; None where that is nothing."""
    if not weights.any():
        return None
    return LinearPart(whitened_scores(domain), Linear(weights, np.zeros(weights.shape[1])))


def domain_around(domain: Domain, table: NDArray, present: Present | None, y: Float) -> Domain:
    """Return the domain of rows that are few: about their mean, as far as the rows of the fit from theirs, or farther.

    Axes stay. Limits keep the distribution of the rows of the fit, in units of the mean distance of these rows, each
    from the mean of the others, where that is more. `y` (n, q) are standardised, and widen the range.
    """
    blocks, counts = {}, domain.counts.copy()
    for m, (name, block) in enumerate(domain.blocks.items()):
        mine = np.ones(len(table), dtype=bool) if present is None else present[:, m]
        rows = np.take(table[mine], domain.columns[name], axis=1).astype(np.float64, copy=False)
        if len(rows) < 2 or not rows.shape[1]:
            blocks[name] = block
            continue
        viewed = rows if block.view is None else block.view.apply(rows)
        blocks[name] = replace(block, mean=viewed.mean(0))
        distances = blocks[name].distances(rows).mean(0) * (len(rows) / (len(rows) - 1)) ** 2
        for kind, (mean, unit) in enumerate(zip(distances, block.units, strict=True)):
            counts[m, kind] = _moved(counts[m, kind], mean / unit)
    around = replace(domain, blocks=blocks, counts=counts)
    reached = around.distances(table, present).max(0, initial=0.0)
    ends = np.stack((np.minimum(domain.y_range[:, 0], y.min(0)), np.maximum(domain.y_range[:, 1], y.max(0))), 1)
    return replace(around, reached=np.maximum(domain.reached, reached), y_range=ends)


def _moved(counts: NDArray[np.int32], mean: float) -> NDArray[np.int32]:
    """Return rows by distance (bins,), farther out by the factor that makes their mean `mean`; never nearer."""
    middle = np.append(EDGES, EDGES[-1]) / np.sqrt(EDGES[1] / EDGES[0])
    before = counts @ middle / max(counts.sum(), 1)
    if not before > 0 or not mean > before:
        return counts
    steps = min(ceil(log(mean / before) / log(EDGES[1] / EDGES[0])), len(counts) - 1)
    out = np.zeros_like(counts)
    out[steps:] = counts[: len(counts) - steps]
    out[-1] += counts[len(counts) - steps :].sum()
    return out
