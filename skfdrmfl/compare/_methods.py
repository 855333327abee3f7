"""The models that are compared: the usual reductions and FDRMFL in front of one regressor, and rivals by themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.cross_decomposition import PLSRegression
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.random_projection import GaussianRandomProjection
from sklearn.utils import _safe_indexing as take_columns

from skfdrmfl.compare._arguments import InvalidArgument
from skfdrmfl.compare._pls import PRETREATMENTS, ChosenPLS, is_smooth
from skfdrmfl.compare._result import ALONE, CENTRAL, CHOSEN_PLS, CHOSEN_PRETREATMENT, FEDERATED, HEAD, MEAN, RIDGE
from skfdrmfl.data.categories import by_kind, discrete_columns
from skfdrmfl.data.modalities import features_of, resolve_modalities
from skfdrmfl.estimator._ignore_clients import IgnoreClients

STRONG_PLS_COMPONENTS = 16  # about what PLS needs on spectra: the rival that is not held to n_components


class Run(NamedTuple):
    """A model to cross-validate; a method is one run, or several that differ in seed or client."""

    name: str
    model: Any
    seed: int | None = None  # position among the seeds; None if the model depends on none
    client: Any = None  # the client on whose rows alone it is trained; None for all rows
    head_name: str = ""  # the name under which the reducer's own predictions are reported too
    is_rival: bool = False  # whether it is the user's own


def ridge(n_outputs: int) -> RidgeCV:
    """Return the ridge regression that stands behind every reduction unless another regressor is asked for."""
    return RidgeCV(alphas=np.logspace(-6, 3, 10), alpha_per_target=n_outputs > 1)


def reductions(n_components: int, most_components: int, seeds: range, regressor: Any, X: ArrayLike) -> Iterator[Run]:
    """Yield the reductions that pool the rows of all clients, the mean predictor first."""
    before = _numbers(X)

    def run(name: str, *reducer: Any, seed: int | None = None) -> Run:
        return Run(name, _before(regressor, make_pipeline(*before, *reducer)), seed)

    yield Run(MEAN, _before(DummyRegressor(), make_pipeline(*before, FunctionTransformer())))
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


def regressions(n_outputs: int, random_state: int, X: ArrayLike, modalities: Any) -> Iterator[Run]:
    """Yield what predicts from all columns, the rows of all clients pooled; on spectra behind pre-treatments too."""
    before = _numbers(X)

    def pls(name: str, **parameters: Any) -> Run:
        return Run(name, make_pipeline(*before, ChosenPLS(random_state=random_state, **parameters)))

    yield pls(CHOSEN_PLS)
    if blocks := _spectra(X, modalities):
        for name in ("SNV", "SG1"):
            yield pls(f"{name} + PLS", pretreatments=(name,), blocks=blocks)
        yield pls(CHOSEN_PRETREATMENT, pretreatments=tuple(PRETREATMENTS), blocks=blocks)
    yield Run(RIDGE, make_pipeline(*before, StandardScaler(), ridge(n_outputs)))


def rival_runs(rivals: Mapping[str, Any] | None, taken: set[str], regressor: Any) -> Iterator[Run]:
    """Yield the user's own rivals, without `predict` before the regressor; refuse others and names that are taken."""
    if not isinstance(rivals or {}, Mapping):
        raise InvalidArgument("rivals", rivals, "has no names", "pass a dict of names to estimators")
    for name, rival in (rivals or {}).items():
        if not isinstance(name, str) or not name:
            raise InvalidArgument("rivals", name, "is no name of a rival", "pass a dict of names to estimators")
        if name in taken:
            fact = "is the name of a method that is compared anyway"
            raise InvalidArgument("rivals", name, fact, "call it otherwise")
        if isinstance(rival, type) or not hasattr(rival, "fit") or not hasattr(rival, "get_params"):
            shown = rival if isinstance(rival, type) else type(rival)
            remedy = "pass an object such as Ridge(), or a Pipeline of such"
            raise InvalidArgument("rivals", f"{{{name!r}: {shown.__name__}}}", "is no estimator", remedy)
        if hasattr(rival, "predict"):
            yield Run(name, rival, is_rival=True)
        else:
            yield Run(name, _before(regressor, rival), is_rival=True)


def fdrmfl_runs(transformer: Any, seeds: range, clients: NDArray[Any], regressor: Any) -> Iterator[Run]:
    """Yield FDRMFL federated, central, and of each client alone; `clients` is (n_seeds, n_samples)."""
    for position, seed in enumerate(seeds):
        reducer = clone(transformer).set_params(random_state=seed)
        federated = Pipeline([("reduce", reducer), ("regress", regressor)])
        central = _before(regressor, reducer)
        yield Run(FEDERATED, federated, position, head_name=HEAD)
        yield Run(CENTRAL, central, position)
        if position == 0:  # the clients give a spread already, and there may be many of them
            for client in np.unique(clients[position]):
                yield Run(ALONE, central, position, client=client)


def _before(regressor: Any, reducer: Any) -> Pipeline:
    """Return a reduction before a regressor; IgnoreClients lets it stand where FDRMFL stands."""
    return Pipeline([("reduce", IgnoreClients(reducer)), ("regress", regressor)])


def _numbers(X: ArrayLike) -> list[Any]:
    """Return the step that makes numbers of the discrete columns of a frame, if it has any: a column a label, last."""
    discrete = discrete_columns(X)
    if not discrete:
        return []
    one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    return [make_column_transformer(("passthrough", features_of(np.shape(X)[1], discrete)), (one_hot, discrete))]


def _spectra(X: ArrayLike, modalities: Any) -> list[NDArray[np.intp]]:
    """Return the columns of each modality that is smooth, counted among those that hold no labels."""
    discrete = discrete_columns(X)
    numbers = features_of(np.shape(X)[1], discrete)
    if not len(numbers):
        return []
    table = np.asarray(take_columns(X, numbers, axis=1) if discrete else X, dtype=np.float64)
    blocks = [np.searchsorted(numbers, of_one) for of_one in modality_columns(X, modalities, discrete).values()]
    return [block for block in blocks if is_smooth(table[:, block])]


def modality_columns(X: ArrayLike, modalities: Any, labels: Sequence[int] = ()) -> dict[str, NDArray[np.intp]]:
    """Return the columns of each modality, as FDRMFLTransformer finds them, but for those of labels."""
    if modalities is None and not labels and (discrete := discrete_columns(X)):
        return by_kind(np.arange(np.shape(X)[1]), dict.fromkeys(discrete, np.empty(0)))
    names = None if (columns := getattr(X, "columns", None)) is None else np.asarray(columns, dtype=object)
    return resolve_modalities(modalities, X, names, np.shape(X)[1], labels)
