"""The comparison that decides: the same folds and the same regressor behind every way to a few features.

Each method turns the training rows into `n_components` scores, one and the same regressor is fitted on those,
and the test rows of every fold are predicted once. All that is learned, scalers included, is learned from
training rows. A mean predictor stands first, because an error says little without it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from numbers import Integral
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from sklearn import config_context
from sklearn.base import clone
from sklearn.cross_decomposition import PLSRegression
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import RidgeCV
from sklearn.metrics import r2_score
from sklearn.model_selection import GroupKFold, KFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.random_projection import GaussianRandomProjection
from sklearn.utils import _safe_indexing as take_rows
from sklearn.utils import check_consistent_length, column_or_1d

from skfdrmfl.compare._comparison import ALONE, CENTRAL, FEDERATED, HEAD, MEAN, Comparison, MethodResult
from skfdrmfl.data.client_ids import check_client_ids
from skfdrmfl.estimator._ignore_clients import IgnoreClients
from skfdrmfl.estimator._transformer import FDRMFLTransformer
from skfdrmfl.metrics import r2_per_client, rmse, rpd

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


__all__ = ["Comparison", "InvalidArgument", "MethodResult", "compare"]
Progress = Callable[[int, int, str], None]
Fold = tuple["NDArray[np.intp]", "NDArray[np.intp]"]  # positions of training and of test rows
MOST_SEED = 2**32 - 1  # of numpy's RandomState
STRONG_PLS_COMPONENTS = 16  # about what PLS needs on spectra: the rival that is not held to n_components


class InvalidArgument(ValueError):
    """An argument of :func:`compare` that cannot work with these data.

    Parameters
    ----------
    name : str
        The argument.
    value : object
        What was passed.
    fact : str
        What is wrong with it.
    remedy : str
        What to pass instead.
    """

    def __init__(self, name: str, value: object, fact: str, remedy: str) -> None:
        super().__init__(f"{name}={value!r} {fact}; {remedy}.")
        self.name, self.value, self.fact, self.remedy = name, value, fact, remedy


class _Run(NamedTuple):
    """One model to cross-validate."""

    name: str
    model: Pipeline
    seed: int | None = None  # position among the seeds; None: it depends on none
    client: Any = None  # train on the rows of this client alone; None: on all
    head_name: str = ""  # report what the reducer predicts by itself too, under this name


class _Outcome(NamedTuple):
    """Out-of-fold predictions of one run, and the median wall time of its fits."""

    run: _Run
    predicted: NDArray[np.float64]  # (n,), in the unit of y
    covered: NDArray[np.bool_]  # (n,), rows of folds in which the model could be trained
    fit_seconds: float


def compare(
    X: ArrayLike,
    y: ArrayLike,
    client_ids: ArrayLike | Callable[[int], ArrayLike],
    *,
    groups: ArrayLike | None = None,
    n_components: int = 2,
    n_splits: int = 5,
    n_seeds: int = 3,
    regressor: Any = None,
    transformer: Any = None,
    random_state: int = 0,
    progress: Progress | None = None,
) -> Comparison:
    """Cross-validate FDRMFL and the usual reductions with the same regressor on the same folds.

    Parameters
    ----------
    X : array-like or dataframe of shape (n_samples, n_features)
        Rows of all clients.
    y : array-like of shape (n_samples,)
        One numeric target.
    client_ids : array-like of shape (n_samples,), or callable
        The client of each row; or a function of a seed (int) that returns them, so that the split into
        clients varies with the seed as well.
    groups : array-like of shape (n_samples,), default=None
        Rows that must not be parted, such as repeated measurements of one sample: one group is always in
        one fold.
    n_components : int, default=2
        Number of features every method may pass on.
    n_splits : int, default=5
        Number of shuffled folds.
    n_seeds : int, default=3
        Number of seeds: FDRMFL, the random projection and a callable `client_ids` are repeated with
        `random_state`, `random_state + 1`, ... The folds stay.
    regressor : regressor, default=None
        What is fitted on the features. None means `RidgeCV(alphas=numpy.logspace(-6, 3, 10))`.
    transformer : FDRMFLTransformer, default=None
        The federated transformer, for settings of your own such as `modalities`; `n_components` and
        `random_state` are set here. None means the default settings.
    random_state : int, default=0
        First seed, and seed of the folds.
    progress : callable, default=None
        Called as `progress(done, total, name)` before the first and after every fit.

    Returns
    -------
    Comparison
        With one :class:`MethodResult` for: the mean predictor; PCA; TruncatedSVD; GaussianRandomProjection;
        PLS scores; PLS with 16 components, if it fits; FDRMFL; its y_hat only; FDRMFL trained centrally; and
        FDRMFL trained by each client alone (under the first seed only).

    Raises
    ------
    InvalidArgument
        A ValueError: an argument cannot work with these data. It is raised before any training.
    ValueError
        Labels of clients that are missing or cannot be compared, before any training too.

    Notes
    -----
    The regressor behind FDRMFL is fitted on the pooled features Z of the training rows, as it is for every
    other method; the row for y_hat only is what is reached without that.

    Examples
    --------
    >>> from skfdrmfl.compare import compare
    >>> from skfdrmfl.datasets import load_tecator, make_client_ids
    >>> X, y = load_tecator(target="fat", return_X_y=True)
    >>> comparison = compare(X, y, make_client_ids(y, 3, random_state=0))  # doctest: +SKIP
    >>> print(comparison.to_table())  # doctest: +SKIP
    """
    check_consistent_length(X, y, groups)
    measured: NDArray[np.float64] = column_or_1d(y).astype(np.float64)
    _check_complete("X", X)
    _check_complete("y", measured)
    _check_at_least("n_seeds", n_seeds, 1)
    _check_seeds(random_state, n_seeds)
    folds = _folds(X, groups, n_splits, random_state)
    most_components = min(np.shape(X)[1], *(len(train) for train, _ in folds))
    _check_at_least("n_components", n_components, 1)
    if n_components > most_components:
        fact = f"is more than the columns or the rows of a training fold ({most_components}) allow"
        raise InvalidArgument("n_components", n_components, fact, f"pass at most {most_components}")
    seeds = range(random_state, random_state + n_seeds)
    ids = _ids_per_seed(client_ids, seeds, len(measured))
    regressor = RidgeCV(alphas=np.logspace(-6, 3, 10)) if regressor is None else regressor
    transformer = clone(FDRMFLTransformer() if transformer is None else transformer)
    transformer.set_params(n_components=n_components)

    rivals = _rivals(n_components, seeds, regressor, with_strong_pls=most_components >= STRONG_PLS_COMPONENTS)
    runs = [*rivals, *_fdrmfl_runs(transformer, seeds, ids, regressor)]
    outcomes = _cross_validate(runs, X, measured, ids, folds, progress or _silent)

    fold = np.empty(len(measured), dtype=np.intp)
    for number, (_, test) in enumerate(folds):
        fold[test] = number
    return Comparison(
        methods=tuple(_summary(name, of_name, measured, ids) for name, of_name in _by_name(outcomes).items()),
        measured=measured,
        client_ids=ids,
        fold=fold,
        settings={
            "n_samples": len(measured),
            "n_features": int(np.shape(X)[1]),
            "n_clients": len(np.unique(ids[0])),
            "n_components": n_components,
            "n_splits": n_splits,
            "grouped": groups is not None,
            "n_seeds": n_seeds,
            "random_state": random_state,
            "regressor": type(regressor).__name__,
        },
    )


def _rivals(n_components: int, seeds: range, regressor: Any, *, with_strong_pls: bool) -> Iterator[_Run]:
    """The methods that pool all rows; IgnoreClients lets each stand where FDRMFL stands."""

    def run(name: str, *reducer: Any, seed: int | None = None) -> _Run:
        steps = [("reduce", IgnoreClients(make_pipeline(*reducer))), ("regress", regressor)]
        return _Run(name, Pipeline(steps), seed)

    yield _Run(MEAN, Pipeline([("reduce", IgnoreClients(FunctionTransformer())), ("regress", DummyRegressor())]))
    # Exact solvers, so that these three need no seed.
    yield run("PCA", StandardScaler(), PCA(n_components, svd_solver="full"))
    # On centred columns it would be PCA again.
    yield run("TruncatedSVD", StandardScaler(with_mean=False), TruncatedSVD(n_components, random_state=seeds[0]))
    for position, seed in enumerate(seeds):
        projection = GaussianRandomProjection(n_components, random_state=seed)
        yield run("GaussianRandomProjection", StandardScaler(), projection, seed=position)
    yield run("PLS", PLSRegression(n_components))  # it standardises by itself
    if with_strong_pls and n_components < STRONG_PLS_COMPONENTS:
        yield run(f"PLS, {STRONG_PLS_COMPONENTS} components", PLSRegression(STRONG_PLS_COMPONENTS))


def _fdrmfl_runs(transformer: Any, seeds: range, ids: NDArray[Any], regressor: Any) -> Iterator[_Run]:
    """FDRMFL federated, trained centrally, and trained by each client alone."""
    for position, seed in enumerate(seeds):
        reducer = clone(transformer).set_params(random_state=seed)
        federated = Pipeline([("reduce", reducer), ("regress", regressor)])
        central = Pipeline([("reduce", IgnoreClients(reducer)), ("regress", regressor)])
        yield _Run(FEDERATED, federated, position, head_name=HEAD)
        yield _Run(CENTRAL, central, position)
        if position == 0:  # the clients give a spread already, and there may be many of them
            for client in np.unique(ids[position]):
                yield _Run(ALONE, central, position, client=client)


def _cross_validate(
    runs: list[_Run],
    X: ArrayLike,
    y: NDArray[np.float64],
    ids: NDArray[Any],
    folds: list[Fold],
    progress: Progress,
) -> Iterator[_Outcome]:
    """Fit every run on every training fold and predict its test fold."""
    done, total = 0, len(runs) * len(folds)
    progress(done, total, runs[0].name)
    for run in runs:
        clients = ids[run.seed or 0]
        predicted, by_head = np.full((2, len(y)), np.nan)
        covered = np.zeros(len(y), dtype=bool)
        seconds = []
        for train, test in folds:
            if run.client is not None:
                train = train[clients[train] == run.client]
            if len(train) >= 2:
                model = clone(run.model)
                start = time.perf_counter()
                # Whatever the output of transformers is set to: nobody sees that of these.
                with config_context(enable_metadata_routing=True, transform_output="default"):
                    model.fit(take_rows(X, train), y[train], client_ids=clients[train])
                    seconds.append(time.perf_counter() - start)
                    X_test = take_rows(X, test)
                    predicted[test] = model.predict(X_test)
                    if run.head_name:
                        by_head[test] = model.named_steps["reduce"].predict(X_test)
                covered[test] = True
            done += 1
            progress(done, total, run.name)
        if covered.sum() >= 2:  # fewer have no R²
            outcome = _Outcome(run, predicted, covered, float(np.median(seconds)))
            yield outcome
            if run.head_name:
                yield outcome._replace(run=run._replace(name=run.head_name), predicted=by_head)


def _by_name(outcomes: Iterator[_Outcome]) -> dict[str, list[_Outcome]]:
    """The outcomes of each method, methods in order of first appearance."""
    grouped: dict[str, list[_Outcome]] = {}
    for outcome in outcomes:
        grouped.setdefault(outcome.run.name, []).append(outcome)
    return grouped


def _summary(name: str, outcomes: list[_Outcome], y: NDArray[np.float64], ids: NDArray[Any]) -> MethodResult:
    """One row of the table."""

    def of_runs(measure: Callable[..., float]) -> NDArray[np.float64]:
        return np.array([measure(y[o.covered], o.predicted[o.covered]) for o in outcomes], dtype=np.float64)

    return MethodResult(
        name=name,
        predicted=np.stack([outcome.predicted for outcome in outcomes]),
        rmse=of_runs(rmse),
        r2=of_runs(r2_score),
        rpd=of_runs(rpd),
        fit_seconds=float(np.mean([outcome.fit_seconds for outcome in outcomes])),
        client_r2=_mean_client_r2(outcomes, y, ids),
    )


def _mean_client_r2(outcomes: list[_Outcome], y: NDArray[np.float64], ids: NDArray[Any]) -> dict[Any, float]:
    """R² on each client's own rows, the mean over the seeds in which it is defined."""
    values: dict[Any, list[float]] = {client: [] for client in np.unique(ids).tolist()}
    for run, predicted, covered, _ in outcomes:
        # A method without a seed is the same under each of them, but the clients' rows are not.
        for clients in ids if run.seed is None else ids[[run.seed]]:
            for client, r2 in r2_per_client(y[covered], predicted[covered], clients[covered]).items():
                if run.client in (None, client) and not np.isnan(r2):
                    values[client].append(r2)
    return {client: float(np.mean(of_seeds)) if of_seeds else np.nan for client, of_seeds in values.items()}


def _folds(X: ArrayLike, groups: ArrayLike | None, n_splits: int, random_state: int) -> list[Fold]:
    """Shuffled folds, the same for all methods and seeds; groups stay together."""
    if np.ndim(X) != 2:
        raise InvalidArgument("X", type(X).__name__, f"has {np.ndim(X)} dimensions", "pass one 2-D table")
    _check_at_least("n_splits", n_splits, 2)
    most = len(X) if groups is None else len(np.unique(column_or_1d(groups)))  # type: ignore[arg-type]
    if n_splits > most:
        what = "rows" if groups is None else "groups"
        raise InvalidArgument("n_splits", n_splits, f"is more than the {most} {what}", f"pass at most {most}")
    splitter = KFold if groups is None else GroupKFold
    folds = splitter(n_splits, shuffle=True, random_state=random_state)
    return list(folds.split(X, groups=groups))


def _ids_per_seed(client_ids: ArrayLike | Callable[[int], ArrayLike], seeds: range, n_samples: int) -> NDArray[Any]:
    """The client of each row under each seed, (n_seeds, n_samples)."""
    rows = [client_ids(seed) if callable(client_ids) else client_ids for seed in seeds]
    for row in rows:
        if hasattr(row, "__len__") and (n_given := len(row)) != n_samples:  # type: ignore[arg-type]
            fact = f"do not match the {n_samples} rows of X"
            raise InvalidArgument("client_ids", f"<{n_given} entries>", fact, "pass one id per row")
    return np.stack([check_client_ids(row, n_samples) for row in rows])


def _check_at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise InvalidArgument(name, value, f"is less than {least}", f"pass {least} or more")


def _check_seeds(random_state: int, n_seeds: int) -> None:
    if not isinstance(random_state, Integral) or random_state < 0:
        raise InvalidArgument(
            "random_state", random_state, "is no first seed to count from", "pass an integer of 0 or more"
        )
    if random_state + n_seeds - 1 > MOST_SEED:
        fact = f"leaves no {n_seeds} seeds up to {MOST_SEED}, the last one there is"
        raise InvalidArgument("random_state", random_state, fact, "pass a smaller one")


def _check_complete(name: str, values: ArrayLike) -> None:
    """NaN would end in an error of the first method that cannot take it."""
    table = np.asarray(values)
    if table.dtype.kind == "f" and not np.isfinite(table).all():
        n_rows = int((~np.isfinite(table.reshape(len(table), -1))).any(1).sum())
        fact = "has NaN or infinity, with which the rivals cannot be fitted"
        raise InvalidArgument(name, f"<{n_rows} rows>", fact, "impute these values, or drop the rows")


def _silent(done: int, total: int, name: str) -> None:
    """Report nothing."""
