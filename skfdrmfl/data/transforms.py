"""What is applied to the columns of a table: shifts, scales and projections."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.common.arrays import BLOCK_ROWS, SLAB_ROWS, Float, Indices, Present, row_products, slabs
from skfdrmfl.common.spill import new_table
from skfdrmfl.common.tree import registered
from skfdrmfl.views.base import View

# Directions that shrinkage leaves with less variance than this are dropped (a typical one has 1): Adam gives
# their weights steps as large as any, and what they would carry to a prediction is noise ...
MIN_VARIANCE = 1e-6
MANY = 10_000
# Numbers of a table that are transformed together: new memory takes longer to get than they do.
MOST_AT_ONCE = 2**20


@registered
@dataclass(frozen=True)
class BlockTransform:
    """x -> ((view(x) - mean) / scale) @ projection, for the columns (p,) of a modality; p' are those after the view."""

    mean: Float  # (p',)
    scale: Float  # (p',), infinite of a column that was constant: whatever it holds later, it says nothing
    projection: Float | None  # (p', r), or None for the identity
    power: float  # mean squared length of a transformed training row, which sets the scale of the first weights
    # The median column's standard deviation over its mean absolute deviation, in the training rows: 1.25 of Gaussian
    # ones, sqrt(n / k) / 2 where k of n rows are far from all others. 0 where it is not known.
    tail: float = 0.0
    # With a view, mean and mean absolute deviation (p,) of the columns before it, where these are known.
    before: tuple[Float, Float] | None = None
    view: View | None = None
    deviation: Float | None = None  # (p,), standard deviations of the columns in the training rows, where known

    @property
    def is_linear(self) -> bool:
        """Whether outputs are a linear function of the columns."""
        return self.view is None or self.view.is_linear

    @property
    def n_inputs(self) -> int:
        """p, columns before the transformation."""
        return len(self.mean) - (0 if self.view is None else self.view.n_appended)

    @property
    def n_outputs(self) -> int:
        """r, columns after the transformation."""
        return len(self.mean) if self.projection is None else self.projection.shape[1]

    def apply(self, block: Float) -> Float:
        """Return transformed rows (n, r) of `block` (n, p), both float64."""
        centred = (block if self.view is None else self.view.apply(block)) - self.mean
        centred /= self.scale
        return centred if self.projection is None else row_products(centred, self.projection)

    def followed_by(self, matrix: Float) -> BlockTransform:
        """Return the transformation to outputs times a matrix (r, u), which is one product as well."""
        return replace(self, projection=matrix if self.projection is None else row_products(self.projection, matrix))

    def slopes(self, rows: Float, gradients: Float) -> Float:
        """Return derivatives (n, ..., p) by the columns of `rows` (n, p), given those (n, ..., r) by the outputs."""
        by_view = self._slopes(gradients, 1.0)
        return by_view if self.view is None else self.view.slopes(rows, by_view)

    def _slopes(self, gradients: Float, units: Float | float) -> Float:
        """Return derivatives by what the view returns, the same for all rows, by steps in `units` (p',)."""
        steps = units / self.scale
        return gradients * steps if self.projection is None else gradients @ (self.projection * steps[:, None]).T

    @cached_property
    def units(self) -> Float:
        """Steps of the columns (p,) that move an output by up to one; squares in these are finite.

        With a view those that the columns themselves make; 0 of a column that was constant.
        """
        if self.view is not None:
            return np.ones(self.n_inputs) if self.before is None else self.before[1]
        reach = np.ones(len(self.mean)) if self.projection is None else np.abs(self.projection).max(1, initial=0.0)
        says_something = (reach > 0) & np.isfinite(self.scale)
        return np.where(says_something, self.scale, 1.0) / np.where(says_something, reach, 1.0)

    @property
    def centre(self) -> Float:
        """Means of the columns (p,), or what is near them; zeros where nothing is known."""
        if self.view is None:
            return self.mean
        return np.zeros(self.n_inputs) if self.before is None else self.before[0]

    def squared_slopes(self, rows: Float, slopes: Float, first: Float | None, units: Float) -> Float:
        """Return the sums (p,) of squared `slopes` of rows (n, p) by `units` (p,).

        Gradients (n, q, r) are `slopes` (n, q, u) times `first` (u, r), or, with None, these. Without a view those of
        many rows come from the products of their slopes (u, u) alone.
        """
        n_slopes, factored = slopes.shape[-1], first is not None or self.projection is not None
        if self.view is None and factored and slopes.size > n_slopes**2:
            flat = slopes.reshape(-1, n_slopes)
            directions = self._slopes(np.eye(n_slopes) if first is None else first, units)  # (u, p)
            return np.maximum(((flat.T @ flat @ directions) * directions).sum(0), 0.0)
        gradients = slopes if first is None else slopes @ first
        by_units = self._slopes(gradients, units) if self.view is None else self.slopes(rows, gradients) * units
        return np.square(by_units).sum((0, 1))

    def columns_behind(self, outputs: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return the mask of the columns (p,) that the masked outputs (r,) depend on; constant ones say nothing."""
        used = outputs if self.projection is None else np.any(self.projection[:, outputs] != 0, axis=1)
        used = used & np.isfinite(self.scale)
        return used if self.view is None else self.view.columns_behind(used)

    @property
    def unit(self) -> Float:
        """What one is of a standardised column, in its own units (p,); 0 of a column that was constant."""
        return np.where(np.isinf(self.scale), 0.0, self.scale)

    def undo(self, values: Float) -> Float:
        """Return the rows (n, p) of which `values` are the standardised ones; a constant column is its mean again."""
        return self.unit * values + self.mean


@dataclass(frozen=True)
class BlockSpectrum:
    """Principal axes of a block's pooled rows; every whitening of the block follows from them.

    Eigenvalues (r,) descend, eigenvectors are (p', r); the others are as in `BlockTransform`.
    """

    mean: Float
    scale: Float
    eigenvalues: Float
    eigenvectors: Float
    tail: float = 0.0
    before: tuple[Float, Float] | None = None
    view: View | None = None
    deviation: Float | None = None

    def whitening(self, shrinkage: float) -> BlockTransform:
        """Return the whitening W = V / sqrt(ev + shrinkage * ev_1)."""
        shrunk = self.eigenvalues + shrinkage * self.eigenvalues[0]
        variance = self.eigenvalues / shrunk
        keep = variance > MIN_VARIANCE
        keep[0] = True  # however large the shrinkage
        projection = self.eigenvectors[:, keep] / np.sqrt(shrunk[keep])
        power = float(variance[keep].sum())
        others = self.tail, self.before, self.view, self.deviation
        return BlockTransform(self.mean, self.scale, projection, power, *others)


@registered
@dataclass(frozen=True)
class TableTransform:
    """All columns of the table to the inputs of the encoders, modality after modality."""

    columns: dict[str, Indices]  # columns x^m of the table
    blocks: dict[str, BlockTransform]

    @property
    def widths(self) -> dict[str, int]:
        """Columns of each modality after its transformation."""
        return {name: block.n_outputs for name, block in self.blocks.items()}

    @property
    def is_linear(self) -> bool:
        """Whether it is a linear function of the columns of complete rows."""
        return all(block.is_linear for block in self.blocks.values())

    def apply(
        self,
        table: NDArray,
        dtype: np.dtype,
        widths: Mapping[str, int] | None = None,
        present: Present | None = None,
    ) -> NDArray:
        """Return encoder inputs (n, columns) of the rows of `table`, a slab of rows at a time; large ones in a file.

        `widths` pads each block with zero columns, for networks shared by blocks of unequal rank; blocks that a row
        lacks according to `present` (n, M) are zeros.
        """
        widths = widths or self.widths
        out = new_table((len(table), sum(widths.values())), dtype)
        with np.errstate(over="ignore", invalid="ignore"):  # rows that are too large are found by training
            for some in slabs(len(table), max(BLOCK_ROWS, min(SLAB_ROWS, MOST_AT_ONCE // max(1, table.shape[1])))):
                slab, start = table[some], 0
                for m, (name, block) in enumerate(self.blocks.items()):
                    stop = start + block.n_outputs
                    rows = columns_of(slab, self.columns[name])
                    lacking = None if present is None else ~present[some, m]
                    if lacking is not None:
                        rows = np.where(lacking[:, None], 0.0, rows)
                    rows = block.apply(rows)
                    if lacking is not None:
                        rows[lacking] = 0.0
                    out[some, start:stop] = rows
                    start += widths[name]
        return out

    def slopes(self, table: NDArray, gradients: Float, present: Present | None = None) -> Float:
        """Return derivatives (n, q, n_features) by the columns of `table`: those of `apply`, chained.

        `gradients` (n, q, columns) are derivatives by what `apply` returns, without padding. The result is 0 by the
        columns of a block that a row lacks.
        """
        out = np.zeros((*gradients.shape[:-1], table.shape[1]))
        start = 0
        for m, (name, block) in enumerate(self.blocks.items()):
            stop, columns = start + block.n_outputs, self.columns[name]
            rows = np.take(table, columns, axis=1).astype(np.float64, copy=False)
            if present is not None:
                rows[~present[:, m]] = 0.0
            found = block.slopes(rows, gradients[..., start:stop])
            if present is not None:
                found[~present[:, m]] = 0.0
            out[..., columns] = found
            start = stop
        return out


def columns_of(rows: NDArray, columns: Indices) -> Float:
    """Return columns of rows as float64 in C order, a copy where need be: sums depend on the order to the last bit."""
    many = rows.size > MANY  # of fewer the copy takes less time than the look at their columns
    if many and len(columns) == rows.shape[1] and (columns == np.arange(len(columns))).all():
        return np.ascontiguousarray(rows, dtype=np.float64)
    return np.take(rows, columns, axis=1).astype(np.float64, copy=False)


def unchanged(n_columns: int, view: View | None = None) -> BlockTransform:
    """Return the transformation that leaves its columns as they are, or as a view of them returns them."""
    n = n_columns if view is None else view.n_outputs(n_columns)
    return BlockTransform(np.zeros(n), np.ones(n), None, float(n), view=view)


def scaled(mean: Float, deviation: Float) -> BlockTransform:
    """Return the standardisation for given means and standard deviations (p,); a constant column becomes zero."""
    varies = deviation > 0
    return BlockTransform(mean, np.where(varies, deviation, np.inf), None, float(varies.sum()))
