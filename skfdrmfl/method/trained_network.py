"""A trained network and what it reads, as one function of the rows of a table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import cast
from weakref import WeakKeyDictionary

import numpy as np

from skfdrmfl.common.arrays import Arrays, Float, Indices, Present, slabs
from skfdrmfl.data.transforms import TableTransform
from skfdrmfl.method.evaluate import after_first_layers, evaluate, is_dense
from skfdrmfl.method.mlp import MLP
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
        """Return Z (n, c) and standardised y_hat (n, q) of the rows of a table."""
        parts = [
            self._of_slab(table[slab], None if present is None else present[slab]) for slab in slabs(max(1, len(table)))
        ]
        z, y_hat = zip(*parts, strict=True)
        return (z[0], y_hat[0]) if len(parts) == 1 else (np.concatenate(z), np.concatenate(y_hat))

    def _of_slab(self, rows: Float, present: Present | None) -> tuple[Float, Float]:
        """Return Z and y_hat of some rows, dense layers taking up where the transformation ends."""
        if not is_dense(self.network):
            return evaluate(self.network, self.arrays, self.table.apply(rows, EXACT, present=present), present)
        first = self._to_first_products()
        products = np.split(first.apply(rows, EXACT, present=present), np.cumsum([*first.widths.values()])[:-1], axis=1)
        return after_first_layers(self.network, self.arrays, products, present)

    def _to_first_products(self) -> TableTransform:
        """Return the transformation of the table to the products with the weights of each encoder's first layer.

        A row takes one product with a matrix (p, u), where whitening and the layer after it take two.
        """
        if self not in _FIRST_PRODUCTS:
            encoders = cast(dict[str, MLP], self.network.encoders)
            blocks = {
                name: block.followed_by(self.arrays[encoders[name].first_weight].T)
                for name, block in self.table.blocks.items()
            }
            _FIRST_PRODUCTS[self] = replace(self.table, blocks=blocks)
        return _FIRST_PRODUCTS[self]

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


# What rows are multiplied by, of each network that has been evaluated; no part of a saved model.
_FIRST_PRODUCTS: WeakKeyDictionary[TrainedNetwork, TableTransform] = WeakKeyDictionary()
