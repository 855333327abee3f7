"""A fit that goes on from an earlier one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from skfdrmfl.fit.check_input import DataDescription
from skfdrmfl.fit.network_spec import network_spec_of
from skfdrmfl.fit.parameters import schedule_of, settings_of
from skfdrmfl.fit.prepared_fit import Fitting
from skfdrmfl.fit.result import Fitted
from skfdrmfl.protocol.algorithm_state import AlgorithmState
from skfdrmfl.protocol.door import Federation
from skfdrmfl.protocol.plan import TRAINING_DTYPE, Inputs, Plan, RunPlan, Start, Targets


def plan_from_earlier(estimator: Any, federation: Federation, reading: DataDescription, earlier: Fitted) -> Fitting:
    """Return a fit that goes on from an earlier one, whose preprocessing and network stay."""
    tuned = {} if estimator.tuning is None else {"weight_decay": earlier.choice.weight_decay}
    models = np.array(earlier.models)  # copied: mapped models are read-only
    memory = AlgorithmState(*({name: np.array(array) for name, array in part.items()} for part in earlier.memory))
    run = RunPlan(
        Inputs(earlier.table, dtype=TRAINING_DTYPE),
        Targets((earlier.target,), TRAINING_DTYPE),
        settings_of(estimator, len(reading.modalities), **tuned),
        earlier.seed,
        Start(models[0], tuple(models[1 : 1 + estimator.history_size]), earlier.n_rounds, memory),
    )
    fitted = replace(earlier, ledger=federation.ledger)
    return Fitting(federation, Plan(earlier.network, (run,), schedule_of(estimator, ())), fitted)


def check_continues(estimator: Any, reading: DataDescription, earlier: Fitted) -> None:
    """Raise ValueError where what the network was built with has changed since."""
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
        signature = network_spec_of(estimator, reading).network(earlier.table.widths, n_outputs).signature
        changed = [name for name, value in signature.items() if value != built[name]]
    if changed:
        # None for all encoders means those of `hidden_layer_sizes`.
        what = "hidden_layer_sizes" if changed[0] == "encoders" and estimator.encoders is None else changed[0]
        raise ValueError(
            f"{what} is {getattr(estimator, what)!r} now, but the model to go on from was built "
            "with another value; set it back, or clone the estimator and fit it anew."
        )
