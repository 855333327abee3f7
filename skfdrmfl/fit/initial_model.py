"""What a fit begins with: an initial model on what preprocessing has found, or the model of an earlier fit."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.data.transforms import TableTransform
from skfdrmfl.fit.check_input import DataDescription
from skfdrmfl.fit.fit_preprocessing import FoundPreprocessing
from skfdrmfl.fit.network_spec import NetworkSpec, network_spec_of, views_of
from skfdrmfl.fit.parameters import settings_of, value_of
from skfdrmfl.fit.result import Fitted
from skfdrmfl.method.evaluate import is_dense
from skfdrmfl.method.network import Network
from skfdrmfl.protocol.algorithm_state import AlgorithmState
from skfdrmfl.protocol.ledger import Ledger
from skfdrmfl.protocol.plan import TRAINING_DTYPE, Inputs, RunPlan, Start, Targets


def first_weights(network: Network, table: TableTransform, seed: int) -> NDArray:
    """Return the weights (D,) before the first round, drawn by a seed for the encoder inputs of a table."""
    first = network.initial(seed, {name: block.power for name, block in table.blocks.items()})
    return network.layout.pack(first, dtype=TRAINING_DTYPE)


def initial_plan(
    estimator: Any, reading: DataDescription, spec: NetworkSpec, network: Network, seed: int, found: FoundPreprocessing
) -> tuple[RunPlan, Fitted]:
    """Return what is to be trained, and what there is before the first round; spec, network: `build`."""
    table, settings = found.table, settings_of(estimator, len(reading.modalities))
    kind = network.signature, network.shape  # which say all of dense networks
    once = found.once if is_dense(network) else lambda _, __, make: make()
    if reading.categories or table.widths != network.widths:
        build = partial(spec.network, table.widths, reading.n_outputs, table.columns)
        network = once("network", kind, build)
    first = once("weights", (seed, kind), partial(first_weights, network, table, seed))
    fitted = Fitted(
        n_features=reading.n_features,
        feature_names=reading.feature_names,
        number_names=reading.number_names,
        clients=reading.clients[:0],
        n_samples_per_client=np.zeros(0, dtype=np.int64),
        network_spec=spec,
        network=network,
        seed=seed,
        shrinkage=float(value_of(estimator, "shrinkage")),
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
        central=True,
    )
    return RunPlan(found.inputs, found.targets, settings, seed, Start(first)), fitted


def plan_from_earlier(estimator: Any, reading: DataDescription, earlier: Fitted) -> RunPlan:
    """Return what is to be trained of a fit that goes on from an earlier one."""
    models = np.array(earlier.models)  # copied: mapped models are read-only
    memory = AlgorithmState(*({name: np.array(array) for name, array in part.items()} for part in earlier.memory))
    return RunPlan(
        Inputs(earlier.table, dtype=TRAINING_DTYPE),
        Targets((earlier.target,), TRAINING_DTYPE),
        settings_of(estimator, len(reading.modalities)),
        earlier.seed,
        Start(models[0], tuple(models[1 : 1 + estimator.history_size]), earlier.n_rounds, memory),
    )


def check_continues(estimator: Any, reading: DataDescription, earlier: Fitted) -> None:
    """Raise ValueError where what the network was built with has changed since, or more than a network predicts."""
    if earlier.adaptation is not None:
        raise ValueError(
            "the model has been adapted to an instrument, of which training would know nothing; go on from the model "
            "that was adapted."
        )
    if earlier.mixture is not None:
        raise ValueError(
            "the model to go on from is a mixture, and one network alone goes on; fit with tuning=None, or begin with "
            "partial_fit, and go on from that."
        )
    built = earlier.network.signature
    n_outputs = reading.n_outputs
    if n_outputs != built["n_outputs"]:
        raise ValueError(
            f"y has {n_outputs} outputs but the model was trained on {built['n_outputs']}; "
            "pass the same outputs, or fit a new estimator."
        )
    if reading.label_columns != earlier.label_columns:
        raise ValueError(
            f"the columns of labels are {list(reading.label_columns)} now but were {list(earlier.label_columns)} when "
            "the model was fitted; set client_column and groups_column back, or fit a new estimator."
        )
    before, now = earlier.network_spec.modalities, reading.modalities
    changed = []
    if list(before) != list(now) or not all(np.array_equal(before[name], now[name]) for name in now):
        changed = ["modalities"]
    else:
        spec = network_spec_of(estimator, reading)
        signature = spec.network(earlier.table.widths, n_outputs).signature
        changed = [name for name, value in signature.items() if value != built[name]]
        asked = {name: view.name for name, view in views_of(estimator, reading, spec).items()}
        if asked != {name: block.view.name for name, block in earlier.table.blocks.items() if block.view is not None}:
            changed.append("pretreatment")
    if changed:
        # None for all encoders means those of `hidden_layer_sizes`.
        what = "hidden_layer_sizes" if changed[0] == "encoders" and estimator.encoders is None else changed[0]
        raise ValueError(
            f"{what} is {getattr(estimator, what)!r} now, but the model to go on from was built "
            "with another value; set it back, or clone the estimator and fit it anew."
        )
