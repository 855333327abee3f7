"""Networks of the mixture: which there are, and what each trains on, fold by fold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from skfdrmfl.common.arrays import Arrays
from skfdrmfl.data.transforms import BlockTransform, TableTransform, scaled
from skfdrmfl.method.linear import Linear
from skfdrmfl.method.network import Network
from skfdrmfl.mixture.linear import LinearMember
from skfdrmfl.mixture.sums import ViewSums
from skfdrmfl.protocol.plan import TRAINING_DTYPE, Inputs, Model, Targets
from skfdrmfl.protocol.queries.members import NetworkMember
from skfdrmfl.server.trained import Trained

DEEP, LITTLE_DECAY, SNV_SHRINKAGE = (("hidden_layer_sizes", (32, 32)),), 0.1, 2e-2
# Of wide tables that are not smooth a few columns are to be found: a linear encoder, thinned, and a small head.
SPARSE = (("hidden_layer_sizes", ()), ("head_hidden_layer_sizes", (8,)), ("modality_dim", 2))
SPARSE_BATCH = 128
# What networks of the rule have otherwise than asked for.
SHAPES = (*DEEP, *SPARSE, ("hidden_layer_sizes", (32,)))


@dataclass(frozen=True)
class Recipe:
    """A network of the mixture: what it reads, its size, and how it is trained."""

    name: str
    view: str
    shape: tuple[tuple[str, Any], ...]  # parameters of the network, by name, that are others than those asked for
    weight_decay: float
    shrinkage: float
    learns_residual: bool = False  # what the best linear member leaves, not y
    algorithm: str | None = None  # None: what was asked for
    input_l1: float | None = None  # None: what was asked for
    batch_size: int | None = None


def recipes_of_rule(views: Sequence[str], best_view: str, alone: Mapping[str, Any], *, wide: bool) -> list[Recipe]:
    """Return the networks of the rule, in its order.

    `best_view` is that of the best linear member, `alone` what a network alone has, and `wide` says whether a modality
    is too wide for moments.
    """
    if wide:
        return [Recipe("network sparse", "raw", SPARSE, 0.0, 0.0, input_l1=0.1, batch_size=SPARSE_BATCH)]
    recipes = [
        Recipe(f"network {view}", view, DEEP, LITTLE_DECAY, shrinkage)
        for view, shrinkage in (("raw", alone["shrinkage"]), ("snv", SNV_SHRINKAGE))
        if view in views
    ] or [Recipe(f"network {views[0]}", views[0], DEEP, LITTLE_DECAY, SNV_SHRINKAGE)]
    shallow = (("hidden_layer_sizes", alone["hidden_layer_sizes"]),)
    of_residuals = Recipe(
        "network of residuals", best_view, shallow, alone["weight_decay"], alone["shrinkage"], learns_residual=True
    )
    return [*recipes, of_residuals]


@dataclass(frozen=True, eq=False)
class NetworkRuns:
    """A recipe as runs: on the rows that each of some folds keeps, then on all rows."""

    recipe: Recipe
    tables: tuple[TableTransform, ...]  # what encoders read
    targets: tuple[Targets, ...]
    units: tuple[BlockTransform, ...]  # of y, in which a network predicts
    scales: tuple[float, ...] = ()  # of what a linear member leaves, in which a network that learns that predicts
    beside: int | None = None  # that member

    def member(self, network: Network, inputs: Sequence[Inputs], stands: Sequence[Trained]) -> NetworkMember | None:
        """Return the networks of the folds, as far as they are trained; None where one has diverged."""
        if any(trained.diverged for trained in stands):
            return None
        n_folds = len(self.tables) - 1
        models = [
            Model(network, network.arrays(trained.models[0]), x)
            for trained, x in zip(stands[:n_folds], inputs[:n_folds], strict=True)
        ]
        return NetworkMember(tuple(models), self.units[:n_folds], self.scales[:n_folds], self.beside)


def of_y(
    recipe: Recipe, tables: Sequence[TableTransform], sets: Sequence[int], sums: ViewSums, y: BlockTransform
) -> NetworkRuns:
    """Return the runs of a network that learns y, standardised on the rows it sees.

    `sets` are the numbers, in `ViewSums.kept`, of the sets of rows of the runs.
    """
    deviation = np.sqrt(np.maximum(sums.kept.variance_y, 0.0))
    units = tuple(scaled(sums.kept.mean_y[i], deviation[i]) for i in sets)
    return NetworkRuns(recipe, tuple(tables), tuple(Targets((y, unit), TRAINING_DTYPE) for unit in units), units)


def of_residual(
    recipe: Recipe,
    tables: Sequence[TableTransform],
    sets: Sequence[int],
    sums: ViewSums,
    y: BlockTransform,
    members: Sequence[LinearMember],
    beside: int,
    inputs: Inputs,
) -> NetworkRuns:
    """Return the runs of a network that learns what a linear member leaves, of unit mean square over its rows."""
    b, b_0 = members[beside].coefficients, members[beside].intercept
    n_outputs = b.shape[-1]
    squares = sums.kept.squared_errors(sums.axes.T @ b, b_0).sum(-1)
    scales = tuple(float(np.sqrt(squares[i] * sums.kept.per_row[i] / n_outputs)) or 1.0 for i in sets)
    targets = tuple(
        Targets((y,), linear=Linear(b[i], b_0[i]), inputs=inputs, scale=scale)
        for i, scale in zip(sets, scales, strict=True)
    )
    unit = BlockTransform(np.zeros(n_outputs), np.ones(n_outputs), None, 1.0)
    return NetworkRuns(recipe, tuple(tables), targets, (unit,) * len(tables), scales, beside)


def cropped(network: Network, arrays: Arrays) -> Arrays:
    """Return the weights of a network, from those of one with more inputs: they stand at the end, and are zero."""
    return {
        name: arrays[name][tuple(slice(0, size) for size in shape)] for name, shape in network.layout.shapes.items()
    }
