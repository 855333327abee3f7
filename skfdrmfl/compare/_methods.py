"""The models that are compared: the usual reductions and FDRMFL, each in front of the same regressor."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from sklearn.base import clone
from sklearn.cross_decomposition import PLSRegression
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.dummy import DummyRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.random_projection import GaussianRandomProjection

from skfdrmfl.compare._comparison import ALONE, CENTRAL, FEDERATED, HEAD, MEAN
from skfdrmfl.estimator._ignore_clients import IgnoreClients

if TYPE_CHECKING:
    from numpy.typing import NDArray


STRONG_PLS_COMPONENTS = 16  # about what PLS needs on spectra: the rival that is not held to n_components


class Run(NamedTuple):
    """A model to cross-validate; a method is one run, or several that differ in seed or client."""

    name: str
    model: Pipeline
    seed: int | None = None  # position among the seeds; None if the model depends on none
    client: Any = None  # the client on whose rows alone it is trained; None for all rows
    head_name: str = ""  # the name under which the reducer's own predictions are reported too


def rivals(n_components: int, most_components: int, seeds: range, regressor: Any) -> Iterator[Run]:
    """Yield the methods that pool the rows of all clients, the mean predictor first."""

    def run(name: str, *reducer: Any, seed: int | None = None) -> Run:
        # IgnoreClients lets each stand where FDRMFL stands.
        steps = [("reduce", IgnoreClients(make_pipeline(*reducer))), ("regress", regressor)]
        return Run(name, Pipeline(steps), seed)

    yield Run(MEAN, Pipeline([("reduce", IgnoreClients(FunctionTransformer())), ("regress", DummyRegressor())]))
    # Exact solvers, so that these three need no seed.
    yield run("PCA", StandardScaler(), PCA(n_components, svd_solver="full"))
    # On centred columns it would be PCA again.
    yield run("TruncatedSVD", StandardScaler(with_mean=False), TruncatedSVD(n_components, random_state=seeds[0]))
    for position, seed in enumerate(seeds):
        projection = GaussianRandomProjection(n_components, random_state=seed)
        yield run("GaussianRandomProjection", StandardScaler(), projection, seed=position)
    yield run("PLS", PLSRegression(n_components))  # it standardises by itself
    if n_components < STRONG_PLS_COMPONENTS <= most_components:
        yield run(f"PLS, {STRONG_PLS_COMPONENTS} components", PLSRegression(STRONG_PLS_COMPONENTS))


def fdrmfl_runs(transformer: Any, seeds: range, clients: NDArray[Any], regressor: Any) -> Iterator[Run]:
    """Yield FDRMFL trained by federated averaging, centrally, and by each client alone.

    `clients` (n_seeds, n_samples) has the client of each row under each seed.
    """
    for position, seed in enumerate(seeds):
        reducer = clone(transformer).set_params(random_state=seed)
        federated = Pipeline([("reduce", reducer), ("regress", regressor)])
        central = Pipeline([("reduce", IgnoreClients(reducer)), ("regress", regressor)])
        yield Run(FEDERATED, federated, position, head_name=HEAD)
        yield Run(CENTRAL, central, position)
        if position == 0:  # the clients give a spread already, and there may be many of them
            for client in np.unique(clients[position]):
                yield Run(ALONE, central, position, client=client)
