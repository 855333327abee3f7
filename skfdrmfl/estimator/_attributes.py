"""What a fitted estimator shows, each attribute read from the one object that the fit has left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from math import inf
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.common.arrays import Float
from skfdrmfl.diagnosis.adaptation_table import AdaptationTable
from skfdrmfl.diagnosis.suspect_table import SuspectTable
from skfdrmfl.diagnosis.tables import by_client, by_round
from skfdrmfl.fit.result import Fitted
from skfdrmfl.method.suspects import NOWHERE, REASONS

# What is not paid for.
NOT_RECORDED = ("n_samples_per_client_", "component_variance_", "feature_importances_", "best_round_")


def _suspect_table(fitted: Fitted) -> SuspectTable:
    """Return `suspects_` of a fit."""
    rows = fitted.suspects
    if rows is None:
        why = 'suspects is "ignore", or "auto" with one network, rows are few, values too large, or columns all labels'
        why = "with privacy" if fitted.account is not None else why
        return SuspectTable({}, f"no rows were looked at: {why}")
    clients = fitted.clients[rows.positions]
    reasons = np.array(REASONS, dtype=object)[rows.reasons]
    if not rows.by_row:
        return SuspectTable({"client": clients, "reason": reasons, "n_rows": rows.counts})
    names = np.arange(fitted.n_features) if fitted.feature_names is None else fitted.feature_names
    modalities = [*fitted.network_spec.modalities, ""]
    where = [str(names[j]) if j != NOWHERE else "" for j in rows.columns.tolist()]
    of_y = rows.outputs != NOWHERE
    for i in np.flatnonzero(of_y).tolist():
        where[i] = "y" if fitted.y_ndim == 1 else f"y {rows.outputs[i]}"
    columns = {"client": clients, "row": rows.rows, "reason": reasons}
    columns["modality"] = np.array([modalities[m] for m in rows.modalities.tolist()], dtype=object)
    return SuspectTable(columns | {"column": np.array(where, dtype=object)})


class FromFitted:
    """An attribute read from what the last fit left; AttributeError where there is nothing."""

    def __init__(self, read: Callable[[Fitted], Any]):
        self._read = read

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, estimator: Any, owner: type | None = None) -> Any:
        if estimator is None:
            return self
        fitted = vars(estimator).get("_fitted")
        value = None if fitted is None else self._read(fitted)
        if value is None:
            private = fitted is not None and fitted.account is not None and self._name in NOT_RECORDED
            why = ": with privacy it is not recorded" if private else " before fit; call fit first"
            raise AttributeError(f"{type(estimator).__name__} has no {self._name}{why}.")
        return value


class FittedAttributes:
    """The fitted attributes of `FDRMFLTransformer`, described there; an AttributeError before any fit."""

    _fitted: Fitted
    dp_delta: float | None

    clients_ = FromFitted(attrgetter("clients"))
    n_samples_per_client_ = FromFitted(attrgetter("n_samples_per_client"))
    weights_ = FromFitted(attrgetter("weights"))
    component_variance_ = FromFitted(attrgetter("variance"))
    members_ = FromFitted(attrgetter("members"))
    best_round_ = FromFitted(attrgetter("best_round"))
    feature_importances_ = FromFitted(attrgetter("importances"))
    selected_features_ = FromFitted(attrgetter("selected_features"))
    history_ = FromFitted(attrgetter("history"))
    n_rounds_ = FromFitted(attrgetter("n_rounds"))
    dropped_clients_ = FromFitted(attrgetter("dropped"))
    engine_ = FromFitted(attrgetter("engine"))
    modalities_ = FromFitted(attrgetter("network_spec.modalities"))
    shrinkage_ = FromFitted(attrgetter("shrinkage"))
    history_frame_ = FromFitted(lambda fitted: by_round(fitted.history))
    client_history_frame_ = FromFitted(lambda fitted: by_client(fitted.history, fitted.clients.tolist()))
    suspects_ = FromFitted(_suspect_table)
    federation_log_ = FromFitted(lambda fitted: fitted.ledger.log(fitted.clients.tolist()))
    privacy_bill_ = FromFitted(lambda fitted: list(map(asdict, fitted.account.bill)) if fitted.account else [])
    _n_features_out = FromFitted(attrgetter("network.n_components"))

    @property
    def axis_(self) -> Float | None:
        """The positions (n_features_in_,) that names of columns give, or None."""
        named = self._of_fit().column_names
        return None if named is None else named.axis

    @property
    def categories_(self) -> dict[Any, NDArray]:
        """Categories of each discrete column by its name (its number, if columns have no names)."""
        fitted = self._of_fit()
        names = np.arange(fitted.n_features) if fitted.feature_names is None else fitted.feature_names
        return {names[j]: known for j, known in fitted.network_spec.categories.items()}

    @property
    def epsilon_(self) -> float:
        """Epsilon of all that clients have sent, inf without privacy."""
        account = self._of_fit().account
        return inf if account is None else account.epsilon(self.dp_delta)

    @property
    def adapted_(self) -> AdaptationTable:
        """What `adapt` has changed, and what else was tried."""
        fitted = self._of_fit()
        change, target = fitted.adaptation, fitted.target
        if change is None:
            raise AttributeError(f"{type(self).__name__} is that of a fit; adapt returns one that has adapted_.")

        def given(values: NDArray) -> Any:
            return values.tolist() if fitted.y_ndim > 1 else values[0].item()

        hows = np.array(change.hows)
        rows = [
            {"how": how, "error": given(target.unit * errors), "chosen": given(hows == how)}
            for how, errors in change.errors.items()
        ]
        bias = target.unit * change.offset + target.mean * (1.0 - change.slope)
        axis = {
            name: {"shift": read.shift, "gain": read.gain, "offset": read.offset}
            for name, read in change.readings.items()
        }
        return AdaptationTable(rows, given(hows), change.n_rows, given(change.slope), given(bias), axis)

    def _of_fit(self) -> Fitted:
        """Return what the last fit left; AttributeError before any."""
        if "_fitted" not in vars(self):
            raise AttributeError(f"{type(self).__name__} is not fitted yet; call fit first.")
        return self._fitted
