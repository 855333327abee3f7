"""What a fitted estimator shows, each attribute read from the one object that the fit has left."""

from __future__ import annotations

from dataclasses import asdict
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.common.arrays import Float
from skfdrmfl.diagnosis.adaptation_table import AdaptationTable
from skfdrmfl.diagnosis.suspect_table import SuspectTable
from skfdrmfl.diagnosis.tables import Table, by_client, by_round
from skfdrmfl.fit.result import Fitted, read_from_fitted
from skfdrmfl.method.suspects import NOWHERE, REASONS
from skfdrmfl.protocol.ledger import FederationLog


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


class FittedAttributes:
    """The fitted attributes of `FDRMFLTransformer`, described there; an AttributeError before any fit."""

    _fitted: Fitted
    dp_delta: float | None

    clients_ = read_from_fitted("clients")
    n_samples_per_client_ = read_from_fitted("n_samples_per_client")
    weights_ = read_from_fitted("weights")
    component_variance_ = read_from_fitted("variance")
    members_ = read_from_fitted("members")
    best_round_ = read_from_fitted("best_round")
    feature_importances_ = read_from_fitted("importances")
    selected_features_ = read_from_fitted("selected_features")
    history_ = read_from_fitted("history")
    n_rounds_ = read_from_fitted("n_rounds")
    dropped_clients_ = read_from_fitted("dropped")
    engine_ = read_from_fitted("engine")
    modalities_ = read_from_fitted("network_spec.modalities")
    shrinkage_ = read_from_fitted("shrinkage")
    _n_features_out = read_from_fitted("network.n_components")

    @property
    def history_frame_(self) -> Table:
        """Means of `history_`, a row for each round, as a dict of columns."""
        return by_round(self._of_fit().history)

    @property
    def client_history_frame_(self) -> Table:
        """What `history_` has of each client, a row for each round and client, as a dict of columns."""
        fitted = self._of_fit()
        return by_client(fitted.history, fitted.clients.tolist())

    @property
    def suspects_(self) -> SuspectTable:
        """Training rows that look corrupt."""
        return _suspect_table(self._of_fit())

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
    def federation_log_(self) -> FederationLog:
        """All messages between server and clients."""
        fitted = self._of_fit()
        return fitted.ledger.log(fitted.clients.tolist())

    @property
    def epsilon_(self) -> float:
        """Epsilon of all that clients have sent, inf without privacy."""
        account = self._of_fit().account
        return inf if account is None else account.epsilon(self.dp_delta)

    @property
    def privacy_bill_(self) -> list[dict[str, Any]]:
        """What `epsilon_` adds up."""
        account = self._of_fit().account
        return [] if account is None else [asdict(expense) for expense in account.bill]

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
