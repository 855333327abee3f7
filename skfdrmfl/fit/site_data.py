"""The rows of one client who is elsewhere: read, described, and made ready to be asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from skfdrmfl.clients.client_data import ClientData
from skfdrmfl.clients.remote.codec import Build
from skfdrmfl.clients.remote.packet import Refusal
from skfdrmfl.clients.remote.site import Site
from skfdrmfl.clients.simulation import Simulation
from skfdrmfl.common.version import __version__
from skfdrmfl.data.categories import column_name, discrete_columns
from skfdrmfl.data.column_names import flat
from skfdrmfl.data.label_columns import Labelled, take_labels
from skfdrmfl.data.partition import Partition
from skfdrmfl.data.row_names import check_same_rows
from skfdrmfl.fit.check_input import CheckedData, labels_of, read
from skfdrmfl.fit.fingerprint import described
from skfdrmfl.fit.network_spec import NetworkSpec, network_spec_of
from skfdrmfl.fit.parameters import device_of
from skfdrmfl.fit.prepare import client_data_of
from skfdrmfl.method.network import Network

# What a client reads from its own estimator; the rest comes with the plan.
OF_BOTH = (
    *("client_column", "groups_column"),
    *("modalities", "encoders", "hidden_layer_sizes", "modality_dim", "n_components", "fusion"),
    *("head_hidden_layer_sizes", "alignment", "early_stopping", "tuning", "shrinkage", "algorithm", "pretreatment"),
)


def agreed_parameters(estimator: Any) -> dict[str, str]:
    """Return what both ends must have set alike, as texts."""
    return {"skfdrmfl": __version__} | {name: described(getattr(estimator, name)) for name in OF_BOTH}


class SiteRows:
    """The rows of one client. See `remote.site.Rows`.

    They are loaded for each description, with which every fit begins, and by whoever is asked for more without one; a
    fit that follows sees rows that have changed since. `load_data` returns (X, y) or (X, y, groups); the estimator is
    the server's, and `label` what the client is called.
    """

    def __init__(self, estimator: Any, load_data: Callable[[], Any], label: Any):
        self._estimator, self._load_data, self.label = estimator, load_data, label
        self._data: tuple[Labelled, Any] | None = None
        self._checked: tuple[CheckedData, NetworkSpec, ClientData] | None = None

    def describe(self, about: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a server may know of the rows: numbers of rows and columns, names, and which labels to ask for.

        `about` has the server's parameters, and the categories as soon as there are any.
        """
        mine = agreed_parameters(self._estimator)
        for name, theirs in about["parameters"].items():
            if mine[name] != theirs:
                raise Refusal(f"{name} is {mine[name]} here but {theirs} at the server; give both the same estimator.")
        self._data = self._checked = None
        X = self._given()[0].X
        discrete = {j: column_name(X, j) for j in discrete_columns(X)}
        answer = {"label": self.label, "n_rows": len(X), "discrete": discrete}
        if discrete and about["categories"] is None:
            return answer
        reading, _, tables = self._check(about["categories"] or {})
        present = tables.present
        names = reading.feature_names
        return answer | {
            "n_features": reading.n_features,
            "feature_names": None if names is None else [str(name) for name in names],
            "number_names": reading.number_names,
            "n_outputs": reading.n_outputs,
            "y_ndim": reading.y_ndim,
            "modalities": reading.modalities,
            "label_columns": reading.label_columns,
            "by_modality": None if present is None else present.sum(0),
        }

    def labels(self, position: int) -> Simulation:
        """Return the client alone, with nothing but the labels of its discrete columns."""
        X = self._given()[0].X
        return Simulation(labels_of(X, discrete_columns(X)), _alone(position, len(X)))

    def gather(self, agreed: Mapping[str, Any], position: int) -> tuple[Simulation, Build]:
        """Return the client alone, ready to be asked, and what makes its networks."""
        reading, network_spec, tables = self._check(agreed["categories"])
        if agreed["masked"] and tables.present is None:  # others lack something: all are masked alike
            tables.present = np.ones((len(reading.table), len(reading.modalities)), dtype=bool)
        networks: dict[tuple[Any, ...], Network] = {}

        def build(widths: Mapping[str, int], shape: Mapping[str, Any]) -> Network:
            key = (*widths.items(), *shape.items())
            if key not in networks:
                networks[key] = replace(network_spec, **shape).network(widths, reading.n_outputs)
            return networks[key]

        alone = _alone(position, len(reading.table))
        simulation = Simulation(tables, alone, device=device_of(self._estimator.device))
        if position in agreed.get("looked", ()):  # every process of a site comes to the same rows
            simulation, _ = simulation.without_suspects(agreed["look"], agreed["block"], {position: None})
        return simulation, build

    def _given(self) -> tuple[Labelled, Any]:
        """Return X without labels, the groups, and y; all rows are this client's, whatever a column says."""
        if self._data is None:
            X, y, groups = _loaded(self._load_data)
            check_same_rows(X=X, y=y, groups=groups)
            given = take_labels(flat(X), None, groups, self._estimator.client_column, self._estimator.groups_column)
            self._data = given._replace(client_ids=None), y
        return self._data

    def _check(self, categories: Mapping[int, Any]) -> tuple[CheckedData, NetworkSpec, ClientData]:
        """Return the rows, checked, with codes for these categories."""
        if self._checked is None or not _same(self._checked[0].categories, categories):
            given, y = self._given()
            reading = read(self._estimator._draft(), given, y, dict(categories))
            network_spec = network_spec_of(self._estimator, reading)
            self._checked = reading, network_spec, client_data_of(self._estimator, reading, network_spec)
        return self._checked


def site_of(estimator: Any, load_data: Callable[[], Any], label: Any) -> Site:
    """Return one client, wherever it is, that answers requests; parameters are those of `SiteRows`."""
    return Site(SiteRows(estimator, load_data, label))


def _same(categories: Mapping[int, Any], others: Mapping[int, Any]) -> bool:
    return categories.keys() == others.keys() and all(np.array_equal(categories[j], others[j]) for j in categories)


def _alone(position: int, n_rows: int) -> Partition:
    return Partition(np.array([position]), [np.arange(n_rows)])


def _loaded(load_data: Callable[[], Any]) -> tuple[Any, Any, Any]:
    """Return X, y and groups, which may be None."""
    try:
        data = load_data()
        X, y, *groups = data
    except Exception as error:
        raise Refusal(f"load_data raised {type(error).__name__}; it is to return (X, y) or (X, y, groups).") from error
    return X, y, groups[0] if groups else None
