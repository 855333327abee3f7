"""What one client knows: its rows, and how it answers a query about them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skfdrmfl.common.arrays import Float, Indices, Present
from skfdrmfl.data.categories import Column
from skfdrmfl.data.held_out import EVERYTHING, Subset, number_blocks
from skfdrmfl.data.transforms import SLAB_ROWS, double
from skfdrmfl.federation.door import Block
from skfdrmfl.federation.runs import Inputs, Model, Targets
from skfdrmfl.model.evaluate import evaluate
from skfdrmfl.model.linear_part import Linear
from skfdrmfl.model.sensitivity import jacobians, swaps

# What is computed of all rows is kept for the clients and queries to come: as many inputs (as large as the table) and
# results (a few columns each) as one fold of tuning asks for.
MOST_INPUTS, MOST_RESULTS = 12, 64


class Tables:
    """The rows of one memory, those of a site or in a simulation of all clients, and what was computed of them.

    Parameters
    ----------
    table : ndarray of shape (n, n_features)
    targets : ndarray of shape (n, q)
    present : ndarray of bool of shape (n, M), default=None
        Which modalities each row has; None: all.
    blocks : ndarray of shape (n,), default=None
        Label of each row's block, rows that no split may part; None: every row is one.
    labels : mapping of int to Column
        Labels of the discrete columns.
    n_modalities : int
    """

    def __init__(
        self,
        table: NDArray,
        targets: Float,
        present: Present | None = None,
        blocks: NDArray | None = None,
        labels: Mapping[int, Column] | None = None,
        n_modalities: int = 1,
    ):
        self.table, self.targets, self.present, self.blocks = table, targets, present, blocks
        self.labels = labels or {}
        self.n_modalities = n_modalities
        self._inputs, self._results = _Kept(MOST_INPUTS), _Kept(MOST_RESULTS)
        self._responses: tuple[Any, Any] = (None, None)  # of the last model: they are as large as the table

    def know(self, of: Inputs | Targets, found: Any) -> None:
        """Take what `inputs` or `outputs` returned of the same rows before."""
        (self._inputs if isinstance(of, Inputs) else self._results).once(of, lambda: found)

    def inputs(self, inputs: Inputs) -> Tensor:
        """Return the encoder inputs (n, columns) of all rows."""
        return self._inputs.once(
            inputs, lambda: inputs.transform.apply(self.table, inputs.dtype, inputs.widths, self.present)
        )

    def linear(self, linear: Linear, inputs: Inputs) -> Float:
        """Return what a linear model of encoder inputs predicts (n, q) of all rows."""
        return self._results.once(linear, lambda: linear.predict(self.inputs(inputs).numpy()))

    def outputs(self, targets: Targets) -> Float:
        """Return what networks learn (n, q) of all rows."""
        return self._results.once(targets, lambda: self._outputs(targets))

    def codes(self, model: Model) -> tuple[Float, Float]:
        """Return Z (n, c) and predictions (n, q) of all rows."""
        return self._results.once(
            model, lambda: evaluate(model.network, model.arrays, self.inputs(model.inputs), self.present)
        )

    def responses(self, model: Model) -> NDArray[np.float32]:
        """Return how predictions of all rows respond to each place (n, w); see `sums.importance.ResponseSums`."""
        kept, found = self._responses
        if kept is not model:
            self._responses = model, (found := self._respond(model))
        return found

    def _respond(self, model: Model) -> NDArray[np.float32]:
        network, arrays, x = model.network, model.arrays, self.inputs(model.inputs)
        transform = model.inputs.transform
        parts: list[Any] = []
        slopes: list[list[Any]] = [[] for _ in network.encoders]
        start = 0
        for gradients in jacobians(network, arrays, x, self.present):
            slab = slice(start, start := start + len(gradients))
            present = None if self.present is None else self.present[slab]
            by_column = transform.slopes(self.table[slab], gradients, present, units=True)
            for mine, (name, encoder) in zip(slopes, network.encoders.items(), strict=True):
                numeric = transform.columns[name][len(encoder.code_sizes) :]
                mine.append(np.square(by_column[..., numeric]).mean(1).astype(np.float32))
        for mine, (name, encoder) in zip(slopes, network.encoders.items(), strict=True):
            first = network.columns[name].start
            for j, size in enumerate(encoder.code_sizes):
                parts.append(swaps(network, arrays, x, first + j, size, self.present).astype(np.float32))
            parts.append(np.concatenate(mine))
        return np.concatenate(parts, axis=1)

    def _outputs(self, targets: Targets) -> Float:
        y = torch.as_tensor(self.targets)
        for step in targets.steps:
            y = step.apply(y)
        learned = y.to(targets.dtype).double().numpy()
        if targets.linear is not None and targets.inputs is not None:
            learned = learned - self.linear(targets.linear, targets.inputs)
        return learned / targets.scale if targets.scale != 1.0 else learned


class _Kept:
    """Results by the object they were computed for; of more than `most` the one longest unused is dropped."""

    def __init__(self, most: int):
        self._most = most
        self._kept: OrderedDict[int, tuple[Any, Any]] = OrderedDict()

    def once(self, key: Any, compute: Callable[[], Any]) -> Any:
        """Return what was computed for this very object before, or compute it."""
        number = id(key)
        if number not in self._kept:
            self._kept[number] = key, compute()  # the object is kept too, so that its number stays its own
            if len(self._kept) > self._most:
                self._kept.popitem(last=False)
        self._kept.move_to_end(number)
        return self._kept[number][1]


@dataclass(frozen=True, eq=False)
class Client:
    """One client: its place in `clients_`, and which rows of the tables are its own. See `door.ClientRows`."""

    tables: Tables
    rows: Indices
    position: int

    def rows_of(self, subset: Subset) -> Indices:
        """Return the row numbers (n,) of a subset."""
        return self.rows if subset is EVERYTHING else self.rows[subset.mask(self._blocks(self.rows), self.position)]

    def slabs(self, block: Block, subset: Subset) -> Iterator[Tensor]:
        """Yield the rows (n, p) of a block as float64, a slab of rows at a time."""
        rows = self.rows_of(subset)
        present = self.tables.present
        if block.modality is not None and present is not None:
            rows = rows[present[rows, block.modality]]
        for start in range(0, len(rows), SLAB_ROWS):
            mine = rows[start : start + SLAB_ROWS]
            if block.columns is None:
                x = double(self.tables.targets[mine])
            else:  # in C order, which `ix_` gives: sums over rows depend on it to the last bit
                x = double(self.tables.table[np.ix_(mine, block.columns)])
            for transform in block.after:
                x = transform.apply(x)
            yield x

    def inputs(self, inputs: Inputs, subset: Subset) -> Float:
        """Return encoder inputs (n, columns)."""
        return self.tables.inputs(inputs).numpy()[self.rows_of(subset)]

    def linear(self, linear: Linear, inputs: Inputs, subset: Subset) -> Float:
        """Return what a linear model of encoder inputs predicts (n, q)."""
        return self.tables.linear(linear, inputs)[self.rows_of(subset)]

    def targets(self, targets: Targets, subset: Subset) -> Float:
        """Return what a network learns (n, q)."""
        return self.tables.outputs(targets)[self.rows_of(subset)]

    def codes(self, model: Model, subset: Subset) -> tuple[Float, Float]:
        """Return Z (n, c) and predictions (n, q) of a model."""
        z, y_hat = self.tables.codes(model)
        rows = self.rows_of(subset)
        return z[rows], y_hat[rows]

    def responses(self, model: Model, subset: Subset) -> NDArray[np.float32]:
        """Return how predictions respond to each place (n, w); see `sums.importance.ResponseSums`."""
        return self.tables.responses(model)[self.rows_of(subset)]

    def presence(self, subset: Subset) -> NDArray[np.bool_]:
        """Return which modalities each row has (n, M)."""
        rows, present = self.rows_of(subset), self.tables.present
        return np.ones((len(rows), self.tables.n_modalities), dtype=bool) if present is None else present[rows]

    def blocks(self, subset: Subset) -> Indices:
        """Return the block (n,) of each row; rows of one block are never parted."""
        return self._blocks(self.rows_of(subset))

    def labels(self, column: int) -> frozenset[Any]:
        """Return the labels of a discrete column, None among them where values are missing."""
        labels, places = self.tables.labels[column]
        seen = np.unique(places[self.rows]).tolist()
        return frozenset(None if place < 0 else labels[place] for place in seen)

    def _blocks(self, rows: Indices) -> Indices:
        blocks = self.tables.blocks
        return np.arange(len(rows)) if blocks is None else number_blocks(blocks[rows])
