"""The mixture as it predicts, and as files have it: linear parts in views, shares of networks, and Z made of these."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from skfdrmfl.common.arrays import SLAB_ROWS, Float, Indices, Present, row_products, slabs
from skfdrmfl.common.tree import registered
from skfdrmfl.data.transforms import TableTransform
from skfdrmfl.method.linear import Linear
from skfdrmfl.method.trained_network import EXACT, TrainedNetwork

# The kind of archive that a fitted estimator is.
KIND = "fitted FDRMFLTransformer"


@registered
@dataclass(frozen=True, eq=False)
class LinearPart:
    """A linear model of a transformed table."""

    table: TableTransform
    linear: Linear

    @property
    def selected_features(self) -> Indices:
        """Columns of the table that it depends on."""
        used, start = [np.zeros(0, np.int64)], 0
        for name, block in self.table.blocks.items():
            stop = start + block.n_outputs
            mine = block.columns_behind((self.linear.coefficients[start:stop] != 0).any(1))
            used.append(self.table.columns[name][mine])
            start = stop
        return np.concatenate(used)

    def predict(self, table: Float, present: Present | None) -> Float:
        """Return what it adds to predictions (n, q)."""
        return self.linear.predict(self.table.apply(table, EXACT, present=present))

    def slopes(self, table: Float, present: Present | None) -> Float:
        """Return the derivatives (n, q, n_features) of `predict` by the columns of the table."""
        gradients = np.broadcast_to(self.linear.coefficients.T, (len(table), *self.linear.coefficients.T.shape))
        return self.table.slopes(table, gradients, present)

    @property
    def is_linear(self) -> bool:
        """Whether it is a linear function of the columns of complete rows."""
        return self.table.is_linear


@dataclass(frozen=True, eq=False)
class NetworkPart(TrainedNetwork):
    """A share of what a network predicts."""

    share: Float  # (q,)

    def predict(self, table: Float, present: Present | None) -> Float:
        """Return what it adds to predictions (n, q)."""
        return self.share * self.evaluate(table, present)[1]

    def slopes(self, table: Float, present: Present | None) -> Float:
        """Return the derivatives (n, q, n_features) of `predict` by the columns of the table."""
        return self.share[:, None] * np.concatenate(list(self.jacobians(table, present)))


@dataclass(frozen=True, eq=False)
class Mixture:
    """y_hat = sum of parts, of standardised y; Z = y_hat `from_prediction` (q, c) + the linear part `spare`."""

    parts: tuple[LinearPart | NetworkPart, ...]
    from_prediction: Float
    spare: LinearPart
    covariance: Float  # (c, c), of Z over the training rows

    @property
    def selected_features(self) -> Indices:
        """Columns of the table that Z depends on, ascending."""
        used = [part.selected_features for part in (*self.parts, self.spare)]
        return np.unique(np.concatenate(used))

    def evaluate(self, table: Float, present: Present | None) -> tuple[Float, Float]:
        """Return Z (n, c) and standardised y_hat (n, q) of the rows of a table."""
        q, c = self.from_prediction.shape
        z, y_hat = np.empty((len(table), c)), np.zeros((len(table), q))
        for slab in slabs(len(table), SLAB_ROWS):
            rows, of_rows = table[slab], None if present is None else present[slab]
            for part in self.parts:
                y_hat[slab] += part.predict(rows, of_rows)
            z[slab] = row_products(y_hat[slab], self.from_prediction) + self.spare.predict(rows, of_rows)
        return z, y_hat

    def jacobians(self, table: Float, present: Present | None) -> Iterator[Float]:
        """Yield the derivatives (rows, q, n_features) of y_hat by the columns of the table, a slab at a time.

        Derivatives by codes of categories are 0, as are those by columns of modalities that a row lacks.
        """
        for slab in slabs(len(table), SLAB_ROWS):
            rows, of_rows = table[slab], None if present is None else present[slab]
            found = np.zeros((len(rows), len(self.from_prediction), table.shape[1]))
            for part in self.parts:
                found += part.slopes(rows, of_rows)
            yield found

    @property
    def is_linear(self) -> bool:
        """Whether predictions are a linear function of the columns of complete rows."""
        return all(part.is_linear for part in self.parts)


def mixture_to_tree(mixture: Mixture | None) -> dict[str, Any] | None:
    """Return a mixture as what can be written: of a network all but itself, which is built anew."""
    if mixture is None:
        return None
    parts = [
        {"shape": part.network.shape, **{name: value for name, value in vars(part).items() if name != "network"}}
        if isinstance(part, NetworkPart)
        else part
        for part in mixture.parts
    ]
    return {**vars(mixture), "parts": parts}


def mixture_of_tree(tree: dict[str, Any] | None, network_spec: Any, n_outputs: int) -> Mixture | None:
    """Return the mixture of which `mixture_to_tree` gave this.

    `network_spec` is a dataclass with the fields of a network's `shape`, and builds it (`fit.network_spec`).
    """
    if tree is None:
        return None
    parts: list[Any] = []
    for part in tree["parts"]:
        if isinstance(part, dict):
            table = part["table"]
            spec = replace(network_spec, **part.pop("shape"))
            part = NetworkPart(**part, network=spec.network(table.widths, n_outputs, table.columns))
        parts.append(part)
    return Mixture(**{**tree, "parts": tuple(parts)})
