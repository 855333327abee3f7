"""What one client knows: its rows, and how it answers a query about them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.common.arrays import SLAB_ROWS, Float, Indices, Present, slabs
from skfdrmfl.common.spill import rows_of_table
from skfdrmfl.data.categories import Column, read_labels
from skfdrmfl.data.held_out import EVERYTHING, Subset, number_blocks
from skfdrmfl.data.transforms import columns_of
from skfdrmfl.method.evaluate import evaluate
from skfdrmfl.method.linear import Linear
from skfdrmfl.method.mixture import Mixture
from skfdrmfl.method.sensitivity import factored_slopes, swaps
from skfdrmfl.protocol.door import Block
from skfdrmfl.protocol.plan import Inputs, Model, Targets

# What is computed of all rows is kept for the clients and queries to come: as many inputs (as large as the table) and
# results (a few columns each) as one fold of tuning asks for. So is what clients know of so many objects.
MOST_INPUTS, MOST_RESULTS, MOST_OBJECTS = 12, 64, 16
# Inputs of more bytes are multiplied some rows at a time.
PRODUCT_BYTES = 2**26


class ClientData:
    """The rows of one memory, those of a site or in a simulation of all clients, and what was computed of them.

    `present` (n, M) says which modalities each row has (None: all), `blocks` (n,) which rows no split may part (None:
    every row is a block), `labels` what the codes of discrete columns stand for, and `suspects` what the clients do
    with rows that look corrupt.
    """

    def __init__(
        self,
        table: NDArray,
        targets: Float,
        present: Present | None = None,
        blocks: NDArray | None = None,
        labels: Mapping[int, Column] | None = None,
        n_modalities: int = 1,
        suspects: str = "ignore",
    ):
        self.table, self.targets, self.present, self.blocks = table, targets, present, blocks
        self.labels = labels or {}
        self.n_modalities, self.suspects = n_modalities, suspects
        self.known_rows: dict[Subset, dict[int, Indices]] = {}  # of each subset that was asked about, by client
        self._inputs, self._results = _Kept(MOST_INPUTS), _Kept(MOST_RESULTS)
        # Of an object, by its number: itself, and what each client, by its place, knows of it. Fits of the same rows
        # share it.
        self.of_clients: dict[int, tuple[Any, dict[int, Any]]] = {}

    @classmethod
    def of_labels(cls, X: Any, discrete: Iterable[int]) -> ClientData:
        """Return rows of which only the labels of discrete columns are known so far."""
        return cls(np.empty((len(X), 0)), np.empty((len(X), 0)), labels=read_labels(X, list(discrete)))

    @cached_property
    def all_rows(self) -> Indices:
        """The numbers (n,) of all rows, by which nothing has to be copied."""
        return np.arange(len(self.table))

    def of_rows(self, keep: NDArray[np.bool_]) -> ClientData:
        """Return some of the rows, of which nothing has been computed."""
        present, blocks = (None if of is None else of[keep] for of in (self.present, self.blocks))
        labels = {column: Column(of.labels, of.places[keep]) for column, of in self.labels.items()}
        others = present, blocks, labels, self.n_modalities, self.suspects
        return ClientData(rows_of_table(self.table, np.flatnonzero(keep)), self.targets[keep], *others)

    def know(self, of: Inputs | Targets, found: Any) -> None:
        """Take what `inputs` or `outputs` returned of the same rows before."""
        (self._inputs if isinstance(of, Inputs) else self._results).once(of, lambda: found)

    def known_of_clients(self, key: Any) -> dict[int, Any]:
        """Return what clients know of an object, by their place in `clients_`; what they add stays."""
        _, known = self.of_clients.setdefault(id(key), (key, {}))
        for oldest in list(self.of_clients)[:-MOST_OBJECTS]:
            self.of_clients.pop(oldest, None)
        return known

    def inputs(self, inputs: Inputs) -> NDArray:
        """Return the encoder inputs (n, columns) of all rows."""
        return self._inputs.once(
            inputs, lambda: inputs.transform.apply(self.table, inputs.dtype, inputs.widths, self.present)
        )

    def linear(self, linear: Linear, inputs: Inputs) -> Float:
        """Return what a linear model of encoder inputs predicts (n, q) of all rows."""
        return self._results.once(linear, lambda: linear.predict(self.inputs(inputs)))

    def outputs(self, targets: Targets) -> Float:
        """Return what networks learn (n, q) of all rows."""
        return self._results.once(targets, lambda: self._outputs(targets))

    def codes(self, model: Model | Mixture) -> tuple[Float, Float]:
        """Return Z (n, c) and predictions (n, q) of all rows."""
        if isinstance(model, Mixture):
            mixture = model
            return self._results.once(mixture, lambda: mixture.evaluate(self.table, self.present))
        return self._results.once(
            model, lambda: evaluate(model.network, model.arrays, self.inputs(model.inputs), self.present)
        )

    def responses(self, model: Model, rows: Indices) -> Float:
        """Return the sums over some rows of how predictions respond to each place (w,); see `ResponseSums`."""
        return np.sum([self._responses(model, rows[slab]) for slab in slabs(len(rows), SLAB_ROWS)], axis=0)

    def _responses(self, model: Model, rows: Indices) -> Float:
        """Return the sums (w,) of squared slopes, mean over outputs, and of squared changes by codes, of a slab."""
        network, transform = model.network, model.inputs.transform
        present = None if self.present is None else self.present[rows]
        slopes, sums = self._slopes(model, rows), []
        for m, ((name, encoder), (by_first, first)) in enumerate(zip(network.encoders.items(), slopes, strict=True)):
            for column, n_codes in enumerate(encoder.code_sizes, network.columns[name].start):
                x = self.inputs(model.inputs)[rows]
                sums.append(swaps(network, model.arrays, x, column, n_codes, present).sum(0))
            block = transform.blocks[name]
            # The slopes of a row depend on it where there is a view, and there alone.
            mine = rows[:0] if block.view is None else rows
            before = columns_of(self.table[mine], transform.columns[name])
            if present is not None and len(before):
                before[~present[:, m]] = 0.0
            squares = block.squared_slopes(before, by_first, first, block.units)
            sums.append(squares[len(encoder.code_sizes) :] / by_first.shape[1])
        return np.concatenate(sums)

    def _slopes(self, model: Model, rows: Indices) -> list[tuple[Float, Float | None]]:
        """Return the `factored_slopes` of a slab of rows; those of a small table are taken once, of all its rows."""

        def of(rows: Indices) -> list[tuple[Float, Float | None]]:
            x = self.inputs(model.inputs)[rows].astype(np.float64, copy=False)
            return factored_slopes(model.network, model.arrays, x, None if self.present is None else self.present[rows])

        if len(self.table) > SLAB_ROWS:
            return of(rows)
        slopes = self._results.once(model.arrays, lambda: of(self.all_rows))
        return [(by_first[rows], first) for by_first, first in slopes]

    def _outputs(self, targets: Targets) -> Float:
        y = self.targets
        for step in targets.steps:
            y = step.apply(y)
        learned = y.astype(targets.dtype).astype(np.float64)
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

    tables: ClientData
    rows: Indices
    position: int

    @property
    def suspects(self) -> str:
        """What it does with rows that look corrupt."""
        return self.tables.suspects

    def once(self, key: Any, compute: Callable[[], Any]) -> Any:
        """Return what was computed of its rows for this very object before, or compute it."""
        if self.position < 0 and self.rows is not self.tables.all_rows:  # some clients at once, whoever they are
            return compute()
        known = self.tables.known_of_clients(key)
        if self.position not in known:
            known[self.position] = compute()
        return known[self.position]

    def rows_of(self, subset: Subset) -> Indices:
        """Return the row numbers (n,) of a subset."""
        if subset is EVERYTHING:
            return self.rows
        known = self.tables.known_rows.setdefault(subset, {})
        if self.position not in known:
            known[self.position] = self.rows[subset.mask(self._blocks(self.rows), self.position)]
        return known[self.position]

    def slabs(self, block: Block, subset: Subset) -> Iterator[Float]:
        """Yield copies of the rows (n, p) of a block as float64, a slab of rows at a time."""
        rows = self.rows_of(subset)
        present = self.tables.present
        if block.modality is not None and present is not None:
            rows = rows[present[rows, block.modality]]
        for slab in slabs(len(rows), SLAB_ROWS):
            if block.columns is None:
                x = self.tables.targets[rows[slab]]
            else:
                x = columns_of(self.tables.table.take(rows[slab], axis=0), block.columns)
            yield x if block.view is None else block.view.apply(x)

    def inputs(self, inputs: Inputs, subset: Subset) -> Iterator[NDArray]:
        """Yield encoder inputs (n, columns), a slab of rows at a time."""
        x, rows = self.tables.inputs(inputs), self.rows_of(subset)
        return (x.take(rows[slab], axis=0) for slab in slabs(len(rows)))

    def inputs_and_targets(self, inputs: Inputs, targets: Targets, subset: Subset) -> Iterator[tuple[Float, Float]]:
        """Yield encoder inputs (n, columns) and what a network learns (n, q), all rows at once unless they are many."""
        x, y, rows = self.tables.inputs(inputs), self.tables.outputs(targets), self.rows_of(subset)
        for slab in slabs(max(1, len(rows)), max(SLAB_ROWS, PRODUCT_BYTES // (8 * max(1, x.shape[1])))):
            yield x[rows[slab]], y[rows[slab]]

    def linear(self, linear: Linear, inputs: Inputs, subset: Subset) -> Float:
        """Return what a linear model of encoder inputs predicts (n, q)."""
        return self._taken(self.tables.linear(linear, inputs), subset)

    def targets(self, targets: Targets, subset: Subset) -> Float:
        """Return what a network learns (n, q)."""
        return self._taken(self.tables.outputs(targets), subset)

    def codes(self, model: Model | Mixture, subset: Subset) -> tuple[Float, Float]:
        """Return Z (n, c) and predictions (n, q) of a model."""
        z, y_hat = self.tables.codes(model)
        return self._taken(z, subset), self._taken(y_hat, subset)

    def responses(self, model: Model, subset: Subset) -> tuple[int, Float]:
        """Return a number of rows, and sums over them of how predictions respond to each place (w,)."""
        rows = self.rows_of(subset)
        return len(rows), self.tables.responses(model, rows)

    def mixture_responses(
        self, mixture: Mixture, sizes: Mapping[int, int], subset: Subset
    ) -> tuple[int, Float, Float, Float]:
        """Return a number of rows, and over them squared slopes by columns, squared changes by codes and their counts.

        `sizes` are the numbers of codes by column.
        """
        rows, n_places = self.rows_of(subset), sum(sizes.values())
        squares, changes, counts = np.zeros(self.tables.table.shape[1]), np.zeros(n_places), np.zeros(n_places)
        for slab in slabs(len(rows), SLAB_ROWS):
            mine = rows[slab]
            table, present = self.tables.table[mine], None if self.tables.present is None else self.tables.present[mine]
            for slopes in mixture.jacobians(table, present):
                squares += np.square(slopes).mean(1).sum(0)
            places = [(column, code) for column, n_codes in sizes.items() for code in range(n_codes)]
            before = mixture.evaluate(table, present)[1] if places else np.zeros((0, 0))
            for place, (column, code) in enumerate(places):
                swapped = table.copy()
                swapped[:, column] = code
                changes[place] += np.square(mixture.evaluate(swapped, present)[1] - before).mean(1).sum()
                counts[place] += (table[:, column] == code).sum()
        return len(rows), squares, changes, counts

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

    def _taken(self, values: NDArray, subset: Subset) -> NDArray:
        """Return what its rows have of values of all rows (n, ...)."""
        rows = self.rows_of(subset)
        return values if rows is self.tables.all_rows else values[rows]

    def _blocks(self, rows: Indices) -> Indices:
        blocks = self.tables.blocks
        return np.arange(len(rows)) if blocks is None else number_blocks(blocks[rows])
