"""A trained network and what it reads, as one function of the rows of a table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from skfdrmfl.common.arrays import SLAB_ROWS, Arrays, Float, Indices, Present, slabs
from skfdrmfl.data.transforms import TableTransform
from skfdrmfl.method.evaluate import evaluate, first_products, is_dense
from skfdrmfl.method.network import Network
from skfdrmfl.method.sensitivity import is_linear, jacobians

EXACT = np.dtype(np.float64)


@dataclass(frozen=True, eq=False)
class TrainedNetwork:
    """A network, its parameters, and the transformation of the table before it."""

    table: TableTransform
    network: Network
    arrays: Arrays

    def evaluate(self, table: Float, present: Present | None) -> tuple[Float, Float]:
        """Return Z (n, c) and standardised y_hat (n, q) of the rows of a table.

        Of more than a slab of rows the last bits may be others than those of fewer.
        """
        begun = len(table) > SLAB_ROWS and is_dense(self.network)
        reading = first_products(self.network, self.arrays, self.table) if begun else self.table
        parts = [
            evaluate(self.network, self.arrays, reading.apply(table[slab], EXACT, present=there), there, begun=begun)
            for slab in slabs(max(1, len(table)))
            for there in [None if present is None else present[slab]]
        ]
        z, y_hat = zip(*parts, strict=True)
        return (z[0], y_hat[0]) if len(parts) == 1 else (np.concatenate(z), np.concatenate(y_hat))

    def jacobians(self, table: Float, present: Present | None) -> Iterator[Float]:
        """Yield the derivatives (rows, q, n_features) of y_hat by the columns of the table, a slab at a time.

        Derivatives by codes of categories are 0, as are those by columns of modalities that a row lacks.
        """
        start = 0
        for gradients in jacobians(self.network, self.arrays, self.table.apply(table, EXACT, present=present), present):
            slab = slice(start, start := start + len(gradients))
            yield self.table.slopes(table[slab], gradients, None if present is None else present[slab])

    @property
    def is_linear(self) -> bool:
        """Whether predictions are a linear function of the columns of complete rows."""
        return is_linear(self.network) and self.table.is_linear

    @property
    def selected_features(self) -> Indices:
        """Columns of the table that it depends on, ascending."""
        used = [
            self.table.columns[name][self.table.blocks[name].columns_behind(encoder.columns_used(self.arrays))]
            for name, encoder in self.network.encoders.items()
        ]
        return np.sort(np.concatenate(used))
