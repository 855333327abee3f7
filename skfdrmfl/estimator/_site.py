"""The rows of one client who is elsewhere: read, described, and made ready to be asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from skfdrmfl.common.version import __version__
from skfdrmfl.data.categories import column_name, discrete_columns
from skfdrmfl.data.label_columns import Labelled, take_labels
from skfdrmfl.data.partition import Partition
from skfdrmfl.estimator._blueprint import Blueprint, blueprint_of
from skfdrmfl.estimator._fingerprint import described
from skfdrmfl.estimator._parameters import device_of
from skfdrmfl.estimator._preparation import tables_of
from skfdrmfl.estimator._reading import Reading, labels_of, read_with
from skfdrmfl.federation.remote.codec import Build
from skfdrmfl.federation.remote.packet import Refusal
from skfdrmfl.federation.remote.site import Site
from skfdrmfl.federation.simulation import Simulation
from skfdrmfl.model.network import Network

# What a client reads from its own estimator; the rest comes with the plan.
OF_BOTH = (
    *("client_column", "groups_column"),
    *("modalities", "encoders", "hidden_layer_sizes", "modality_dim", "n_components", "fusion"),
    *("head_hidden_layer_sizes", "alignment", "early_stopping", "tuning", "shrinkage", "algorithm"),
)


def agreed_parameters(estimator: Any) -> dict[str, str]:
    """Return what both ends must have set alike, as texts."""
    return {"skfdrmfl": __version__} | {name: described(getattr(estimator, name)) for name in OF_BOTH}


class SiteRows:
    """The rows of one client. See `remote.site.Rows`.

    Parameters
    ----------
    estimator : FDRMFLTransformer
        As the server has it.
    load_data : callable
        Returns (X, y) or (X, y, groups).
    label : str or int
        What the client is called.
    """

    def __init__(self, estimator: Any, load_data: Callable[[], Any], label: Any):
        self._estimator, self.label = estimator, label
        self._loaded = partial(_loaded, load_data)

    def describe(self, about: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a server may know of the rows: numbers of rows and columns, names, and which labels to ask for.

        `about` has the server's parameters, and the categories as soon as there are any.
        """
        mine = agreed_parameters(self._estimator)
        for name, theirs in about["parameters"].items():
            if mine[name] != theirs:
                raise Refusal(f"{name} is {mine[name]} here but {theirs} at the server; give both the same estimator.")
        given, y = self._load()
        discrete = {j: column_name(given.X, j) for j in discrete_columns(given.X)}
        answer = {"label": self.label, "n_rows": len(given.X), "discrete": discrete}
        if discrete and about["categories"] is None:
            return answer
        reading = self._read(given, y, about["categories"] or {})
        present = self._gathered(reading).tables.present
        names = reading.feature_names
        return answer | {
            "n_features": reading.n_features,
            "feature_names": None if names is None else [str(name) for name in names],
            "n_outputs": reading.n_outputs,
            "y_ndim": reading.y_ndim,
            "modalities": reading.modalities,
            "label_columns": reading.label_columns,
            "by_modality": None if present is None else present.sum(0),
        }

    def labels(self, position: int) -> Simulation:
        """Return the client alone, with nothing but the labels of its discrete columns."""
        X = self._load()[0].X
        return Simulation(labels_of(X, discrete_columns(X)), _alone(position, len(X)))

    def gather(self, agreed: Mapping[str, Any], position: int) -> tuple[Simulation, Build]:
        """Return the client alone, ready to be asked, and what makes its networks."""
        reading = self._read(*self._load(), agreed["categories"])
        blueprint = blueprint_of(self._estimator, reading)
        simulation = self._gathered(reading, blueprint, position)
        tables = simulation.tables
        if agreed["masked"] and tables.present is None:  # others lack something: all are masked alike
            tables.present = np.ones((len(reading.table), len(reading.modalities)), dtype=bool)

        def build(widths: Mapping[str, int]) -> Network:
            return blueprint.network(widths, reading.n_outputs)

        return simulation, build

    def _load(self) -> tuple[Labelled, Any]:
        """Return X without labels, the groups, and y; all rows are this client's, whatever a column says."""
        X, y, groups = self._loaded()
        given = take_labels(X, None, groups, self._estimator.client_column, self._estimator.groups_column)
        return given._replace(client_ids=None), y

    def _read(self, given: Labelled, y: Any, categories: Mapping[int, Any]) -> Reading:
        return read_with(self._estimator._draft(), given, y, dict(categories))

    def _gathered(self, reading: Reading, blueprint: Blueprint | None = None, position: int = 0) -> Simulation:
        blueprint = blueprint_of(self._estimator, reading) if blueprint is None else blueprint
        tables = tables_of(self._estimator, reading, blueprint)
        alone = _alone(position, len(reading.table))
        return Simulation(tables, alone, device=device_of(self._estimator.device))


def site_of(estimator: Any, load_data: Callable[[], Any], label: Any) -> Site:
    """Return one client, wherever it is, that answers requests; parameters are those of `SiteRows`."""
    return Site(SiteRows(estimator, load_data, label))


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
