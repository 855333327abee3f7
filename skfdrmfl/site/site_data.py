"""The rows of one client who is elsewhere: read, described, and made ready to be asked."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import Any

import numpy as np

from skfdrmfl.clients.client_data import ClientData
from skfdrmfl.clients.policy import SitePolicy
from skfdrmfl.clients.policy_watch import PolicyWatch
from skfdrmfl.clients.remote.codec import Build
from skfdrmfl.clients.remote.packet import NotNow, Refusal
from skfdrmfl.clients.remote.site import Site
from skfdrmfl.clients.remote.watch import Watch
from skfdrmfl.clients.simulation import Simulation
from skfdrmfl.data.categories import Column, discrete_columns
from skfdrmfl.data.column_names import flat, names_of, number_names
from skfdrmfl.data.label_columns import Labelled, take_labels
from skfdrmfl.data.partition import Partition, Pieces
from skfdrmfl.data.row_names import check_same_rows
from skfdrmfl.fit.check_input import CheckedData, read
from skfdrmfl.fit.network_spec import NetworkSpec, network_spec_of
from skfdrmfl.fit.parameters import device_of
from skfdrmfl.fit.prepare import client_data_of
from skfdrmfl.method.network import Network
from skfdrmfl.site.site_terms import Terms, agreed_parameters, check_parameters

_log = logging.getLogger("skfdrmfl")


class SiteRows:
    """The rows of one client: what `remote.site.Site` answers from.

    They are loaded for each description, with which every fit begins, and by whoever is asked for more without one; a
    fit that follows sees rows that have changed since. `load_data` returns (X, y) or (X, y, groups); the estimator is
    the server's, `label` what the client is called, and `policy` the hash of the one that it answers under.
    """

    def __init__(self, estimator: Any, load_data: Callable[[], Any], label: Any, policy: str = ""):
        self._estimator, self._load_data, self.label, self._policy = estimator, load_data, label, policy
        self._data: tuple[Labelled, Any, list[str] | None] | None = None
        self._checked: tuple[CheckedData, NetworkSpec, ClientData] | None = None
        # How many rows there are, and a hash of what stands in them, which stays here; "" before it is read.
        self.announced = 0, ""

    def describe(self, about: Mapping[str, Any], run: str) -> dict[str, Any]:
        """Return what a server may know of the rows: numbers of rows and columns, and which labels to ask for.

        `about` has the server's parameters, and the categories as soon as there are any. Names of columns are told as a
        hash, which is another one in each `run`.
        """
        check_parameters(self._estimator, about["parameters"])
        self._data, self._checked, self.announced = None, None, (0, "")
        (X, *_), _, names = self._given()
        answer = {
            "label": self.label,
            "n_rows": len(X),
            "n_features": int(np.shape(X)[-1]),
            "discrete": discrete_columns(X),
            "columns": digest_of_names(names, run),
            "policy": self._policy,
        }
        if answer["discrete"] and about["categories"] is None:
            return answer
        reading, _, tables = self._check(about["categories"] or {})
        present = tables.present
        return answer | {
            "n_outputs": reading.n_outputs,
            "y_ndim": reading.y_ndim,
            "modalities": reading.modalities,
            "label_columns": reading.label_columns,
            "by_modality": None if present is None else present.sum(0),
        }

    def check(self) -> None:
        """Raise ValueError that says what is wrong with the rows, which a server hears the type of alone."""
        self.describe({"parameters": agreed_parameters(self._estimator), "categories": None}, "")

    def names(self, first: int | None, run: str) -> Any:
        """Return the names of the columns, or a hash of the `first` so many, by which one that differs is found."""
        (X, *_), _, names = self._given()
        if first is not None:
            return digest_of_names(None if names is None else names[:first], run)
        numbers = number_names(X)
        is_text = names is not None and numbers is None
        return {"feature_names": names_of(X) if is_text else None, "number_names": numbers}

    def differs(self, column: int, run: str) -> None:
        """Take notice that most others call a column otherwise."""
        names = self._given()[2] or []
        called = f"{names[column]!r} here, and otherwise" if 0 <= column < len(names) else "otherwise than here"
        _log.error("column %d is called %s where others are; let load_data return the same columns", column, called)

    def labels(self, position: int) -> Simulation:
        """Return the client alone, with nothing but the labels of its discrete columns."""
        X = self._given()[0].X
        return Simulation(ClientData.of_labels(X, discrete_columns(X)), _alone(position, len(X)))

    def gather(self, agreed: Mapping[str, Any], position: int) -> tuple[Simulation, Build]:
        """Return the client alone, ready to be asked, and what makes its networks.

        Raises Refusal where the parameters or the names of columns are not those agreed on.
        """
        check_parameters(self._estimator, agreed["parameters"])
        if agreed["columns"] != digest_of_names(self._given()[2], agreed["run"]):
            raise Refusal("columns have other names or another order here than at the others; the log says more.")
        reading, network_spec, tables = self._check(agreed["categories"])
        if agreed["masked"] and tables.present is None:  # others lack something: all are masked alike
            tables.present = np.ones((len(reading.table), len(reading.modalities)), dtype=bool)
        # Whoever watches sees how many rows have each label.
        codes = {j: Column(list(known), reading.table[:, j].astype(int)) for j, known in agreed["categories"].items()}
        tables.labels = codes
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

    def _given(self) -> tuple[Labelled, Any, list[str] | None]:
        """Return X without labels, and the groups; y; and names of columns as texts. All rows are this client's."""
        if self._data is None:
            X, y, groups = _loaded(self._load_data)
            check_same_rows(X=X, y=y, groups=groups)
            given = take_labels(flat(X), None, groups, self._estimator.client_column, self._estimator.groups_column)
            self._data = given._replace(client_ids=None), y, text_of_names(given.X)
            self.announced = len(given.X), ""
        return self._data

    def _check(self, categories: Mapping[int, Any]) -> tuple[CheckedData, NetworkSpec, ClientData]:
        """Return the rows, checked, with codes for these categories."""
        if self._checked is None or not _same(self._checked[0].categories, categories):
            given, y, _ = self._given()
            reading = read(self._estimator._draft(), given, y, dict(categories))
            network_spec = network_spec_of(self._estimator, reading)
            self._checked = reading, network_spec, client_data_of(self._estimator, reading, network_spec)
            total = blake2b(digest_size=16)
            for part in (reading.table, reading.targets, self._checked[2].blocks):
                total.update(b"" if part is None else np.ascontiguousarray(part).data)
            self.announced = len(reading.table), total.hexdigest()
        return self._checked


def site_of(
    estimator: Any,
    load_data: Callable[[], Any],
    label: Any,
    watches: Sequence[Watch] = (),
    *,
    policy: SitePolicy | None = None,
) -> Site:
    """Return one client, wherever it is, that answers requests; parameters are those of `SiteRows`.

    What is asked is held to the estimator and to a policy, then goes to those who watch. ValueError: a policy, and
    rows that are dropped.
    """
    if policy is not None and estimator.suspects == "drop":
        raise ValueError(
            'suspects is "drop" at a site with a policy, but sums before and after rows are dropped differ by these '
            'rows alone; set suspects="warn", and leave out of the table what suspects_ or the log names.'
        )
    own: list[Watch] = [Terms(estimator, warns=policy is None), *([] if policy is None else [PolicyWatch(policy)])]
    digest = "" if policy is None else policy.digest
    return Site(SiteRows(estimator, load_data, label, digest), (*own, *watches))


def text_of_names(X: Any) -> list[str] | None:
    """Return the names of the columns of X as texts; see `texts_of`."""
    names = names_of(X)
    text = names if names and all(isinstance(name, str) for name in names) else None
    return texts_of(text, number_names(X))


def texts_of(names: Iterable[str] | None, numbers: Iterable[float] | None) -> list[str] | None:
    """Return names of columns as texts that tell numbers from text; None where there are none."""
    if numbers is not None:
        return [f"number {float(number)!r}" for number in numbers]
    return None if names is None else [f"text {name}" for name in names]


def digest_of_names(names: Sequence[str] | None, run: str) -> str | None:
    """Return a hash of names in their order, one that nobody could have worked out before the run."""
    return None if names is None else blake2b(repr([run, *names]).encode(), digest_size=16).hexdigest()


def _same(categories: Mapping[int, Any], others: Mapping[int, Any]) -> bool:
    return categories.keys() == others.keys() and all(np.array_equal(categories[j], others[j]) for j in categories)


def _alone(position: int, n_rows: int) -> Partition:
    return Partition(np.array([position]), Pieces.of([np.arange(n_rows)]))


def _loaded(load_data: Callable[[], Any]) -> tuple[Any, Any, Any]:
    """Return X, y and groups, which may be None."""
    try:
        data = load_data()
        X, y, *groups = data
    except Exception as error:
        raise NotNow(f"load_data raised {type(error).__name__}; it is to return (X, y) or (X, y, groups).") from error
    return X, y, groups[0] if groups else None
