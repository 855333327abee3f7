"""The comparison itself: every reduction to a few features meets the same folds and the same regressor.

Each method turns the training rows into `n_components` scores, one and the same regressor is fitted on those,
and the test rows of every fold are predicted once. All that is learned, scalers included, is learned from
training rows. A mean predictor stands first, because an error says little without its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from sklearn import config_context
from sklearn.base import clone
from sklearn.linear_model import RidgeCV
from sklearn.metrics import r2_score
from sklearn.utils import _safe_indexing as take_rows
from sklearn.utils import check_consistent_length, column_or_1d

from skfdrmfl.compare._arguments import Fold, check_complete, check_components, check_seeds, clients_by_seed, make_folds
from skfdrmfl.compare._comparison import Comparison
from skfdrmfl.compare._methods import Run, fdrmfl_runs, rivals
from skfdrmfl.compare._result import MethodResult
from skfdrmfl.estimator._transformer import FDRMFLTransformer
from skfdrmfl.metrics import r2_per_client, rmse, rpd

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


Progress = Callable[[int, int, str], None]


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
        one fold. FDRMFL is given the groups of its training rows, to keep them together in the rows that it
        holds out itself.
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
        One :class:`MethodResult` each for: the mean predictor; PCA; TruncatedSVD; GaussianRandomProjection;
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
    check_complete("X", X)
    check_complete("y", measured)
    seeds = check_seeds(random_state, n_seeds)
    folds = make_folds(X, groups, n_splits, random_state)
    most_components = check_components(n_components, X, folds)
    clients = clients_by_seed(client_ids, seeds, len(measured))
    regressor = RidgeCV(alphas=np.logspace(-6, 3, 10)) if regressor is None else regressor
    transformer = clone(FDRMFLTransformer() if transformer is None else transformer)
    transformer.set_params(n_components=n_components)

    runs = [
        *rivals(n_components, most_components, seeds, regressor),
        *fdrmfl_runs(transformer, seeds, clients, regressor),
    ]
    labels = None if groups is None else column_or_1d(groups)
    outcomes = _cross_validate(runs, X, measured, clients, labels, folds, progress or _ignore_progress)

    fold_of_row = np.empty(len(measured), dtype=np.intp)
    for number, (_, test) in enumerate(folds):
        fold_of_row[test] = number
    return Comparison(
        methods=tuple(_result(name, of_method, measured, clients) for name, of_method in _by_method(outcomes).items()),
        measured=measured,
        client_ids=clients,
        fold=fold_of_row,
        settings={
            "n_samples": len(measured),
            "n_features": int(np.shape(X)[1]),
            "n_clients": len(np.unique(clients[0])),
            "n_components": n_components,
            "n_splits": n_splits,
            "grouped": groups is not None,
            "n_seeds": n_seeds,
            "random_state": random_state,
            "regressor": type(regressor).__name__,
        },
    )


class _Outcome(NamedTuple):
    """What the cross-validation of one run gave."""

    run: Run
    predicted: NDArray[np.float64]  # out-of-fold predictions (n,), in the unit of y
    covered: NDArray[np.bool_]  # (n,), rows of folds in which the model could be trained
    fit_seconds: float  # median wall time of a fit


def _cross_validate(
    runs: list[Run],
    X: ArrayLike,
    y: NDArray[np.float64],
    clients: NDArray[Any],
    groups: NDArray[Any] | None,
    folds: list[Fold],
    progress: Progress,
) -> Iterator[_Outcome]:
    """Fit every run on every training fold and predict its test fold; yield the outcome of each run."""
    done, total = 0, len(runs) * len(folds)
    progress(done, total, runs[0].name)
    for run in runs:
        client_of_row = clients[run.seed or 0]
        predicted, by_head = np.full((2, len(y)), np.nan)
        covered = np.zeros(len(y), dtype=bool)
        seconds = []
        for train, test in folds:
            if run.client is not None:
                train = train[client_of_row[train] == run.client]
            if len(train) >= 2:
                model = clone(run.model)
                metadata = {"client_ids": client_of_row[train]}
                if groups is not None:  # metadata routing refuses even None where no step asks for groups
                    metadata["groups"] = groups[train]
                start = time.perf_counter()
                # The user's setting of transformers' output must not change what the regressor is given.
                with config_context(enable_metadata_routing=True, transform_output="default"):
                    model.fit(take_rows(X, train), y[train], **metadata)
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


def _by_method(outcomes: Iterator[_Outcome]) -> dict[str, list[_Outcome]]:
    """Return the outcomes of each method by its name, methods in order of first appearance."""
    of_methods: dict[str, list[_Outcome]] = {}
    for outcome in outcomes:
        of_methods.setdefault(outcome.run.name, []).append(outcome)
    return of_methods


def _result(name: str, outcomes: list[_Outcome], y: NDArray[np.float64], clients: NDArray[Any]) -> MethodResult:
    """Return the measures of one method from the outcomes of its runs."""

    def of_runs(measure: Callable[..., float]) -> NDArray[np.float64]:
        return np.array([measure(y[o.covered], o.predicted[o.covered]) for o in outcomes], dtype=np.float64)

    return MethodResult(
        name=name,
        predicted=np.stack([outcome.predicted for outcome in outcomes]),
        rmse=of_runs(rmse),
        r2=of_runs(r2_score),
        rpd=of_runs(rpd),
        fit_seconds=float(np.mean([outcome.fit_seconds for outcome in outcomes])),
        client_r2=_mean_client_r2(outcomes, y, clients),
    )


def _mean_client_r2(outcomes: list[_Outcome], y: NDArray[np.float64], clients: NDArray[Any]) -> dict[Any, float]:
    """Return R² on each client's own rows: the mean over the seeds in which it is defined."""
    values: dict[Any, list[float]] = {client: [] for client in np.unique(clients).tolist()}
    for run, predicted, covered, _ in outcomes:
        # A method without a seed is the same under each of them, but the clients' rows are not.
        for client_of_row in clients if run.seed is None else clients[[run.seed]]:
            for client, r2 in r2_per_client(y[covered], predicted[covered], client_of_row[covered]).items():
                if run.client in (None, client) and not np.isnan(r2):
                    values[client].append(r2)
    return {client: float(np.mean(of_seeds)) if of_seeds else np.nan for client, of_seeds in values.items()}


def _ignore_progress(done: int, total: int, name: str) -> None:
    """Report nothing: what `progress=None` stands for."""
