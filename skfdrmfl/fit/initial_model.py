"""What a fit begins with: all that preparation has found, and the network and first weights build_network on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.common.tree import registered
from skfdrmfl.data.transforms import BlockTransform, TableTransform
from skfdrmfl.fit.check_input import DataDescription
from skfdrmfl.fit.network_spec import NetworkSpec
from skfdrmfl.fit.parameters import settings_of
from skfdrmfl.fit.result import Fitted
from skfdrmfl.fit.tuning import Choice
from skfdrmfl.method.linear_part import Linear
from skfdrmfl.method.network import Network
from skfdrmfl.protocol.ledger import Ledger
from skfdrmfl.protocol.plan import TRAINING_DTYPE, Inputs, RunPlan, Start, Targets


@dataclass(frozen=True, eq=False)
class FoundPreprocessing:
    """What preparation has found: all that it takes sums and tuning to know.

    Attributes
    ----------
    choice : Choice
    tuning : list of dict, or None
        All that were compared.
    table : TableTransform
    target : BlockTransform
    linear : Linear, default=None
        After training the model is to predict `share` times what the network predicts plus this.
    share : float
    left_out : tuple of int
        Positions of clients whom the guard of the sums has left out.
    """

    choice: Choice
    tuning: list[dict[str, Any]] | None
    table: TableTransform
    target: BlockTransform
    linear: Linear | None = None
    share: float = 1.0
    left_out: tuple[int, ...] = ()

    @cached_property
    def inputs(self) -> Inputs:
        """What encoders read."""
        return Inputs(self.table, dtype=TRAINING_DTYPE)

    @cached_property
    def targets(self) -> Targets:
        """What the network learns, less what a linear model predicts."""
        return Targets((self.target,), TRAINING_DTYPE)


for _cls in (FoundPreprocessing, Choice, TableTransform, BlockTransform, Linear):
    registered(_cls)


def build_network(
    network_spec: NetworkSpec, table: TableTransform, widths: Mapping[str, int], n_outputs: int, seed: int
) -> tuple[Network, NDArray]:
    """Return the network for encoder inputs of given widths, and its first weights (D,)."""
    network = network_spec.network(widths, n_outputs, table.columns)
    first = network.initial(seed, {name: block.power for name, block in table.blocks.items()})
    return network, network.layout.pack(first, dtype=TRAINING_DTYPE)


def initial_plan(
    estimator: Any, reading: DataDescription, network_spec: NetworkSpec, seed: int, found: FoundPreprocessing
) -> tuple[Network, RunPlan, Fitted]:
    """Return the network, what is to be trained, and what there is before the first round.

    Parameters
    ----------
    estimator : FDRMFLTransformer
    reading : DataDescription
    network_spec : NetworkSpec
    seed : int
    found : FoundPreprocessing
    """
    table, choice, settings = found.table, found.choice, settings_of(estimator, len(reading.modalities))
    network, first = build_network(network_spec, table, table.widths, reading.n_outputs, seed)
    targets = found.targets
    if choice.start == "residual":
        targets = replace(targets, linear=found.linear, inputs=Inputs(table), scale=found.share)
    if estimator.tuning is not None:
        settings = replace(settings, weight_decay=choice.weight_decay)
    fitted = Fitted(
        n_features=reading.n_features,
        feature_names=reading.feature_names,
        clients=reading.clients[:0],
        n_samples_per_client=np.zeros(0, dtype=np.int64),
        network_spec=network_spec,
        network=network,
        seed=seed,
        choice=choice,
        tuning=found.tuning,
        table=table,
        target=found.target,
        y_ndim=reading.y_ndim,
        models=first[None],
        weights={},
        variance=np.zeros(0),
        history={},
        n_rounds=0,
        best_round=None,
        ledger=Ledger(),
        label_columns=reading.label_columns,
    )
    run = RunPlan(found.inputs, targets, settings, seed, Start(first))
    return network, run, fitted
