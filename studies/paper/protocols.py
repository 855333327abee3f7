"""How methods are compared: fairly, and as published.

**Fair.** The same regressors for every reducer: `RidgeCV(alphas=logspace(-6, 3, 10))` and
`RandomForestRegressor(100)`. Scalers, reducers and regressors see training rows only. Rows that repeat a spectrum
stay in one fold. A repeat fixes rows, folds, clients and seeds for all methods, so differences are paired.

**As published.** Three clients, one small test set, a forest of 100 trees behind the new method and of 5 behind
the baselines, and every table scaled by its own statistics, the test rows too. Gains under it are no evidence: a
larger forest alone wins, since averaging 20 times as many trees removes most of the variance of single ones.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from cases import Case, Float, Split, Table
from methods import ALPHAS, Method, TrainingRows, fdrmfl
from scipy.stats import t as student
from sklearn.base import BaseEstimator
from sklearn.ensemble import RandomForestRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from skfdrmfl.datasets import make_client_ids

N_CLIENTS = 3
ITSELF, BY_RIDGE, BY_FOREST = "itself", "Ridge", "forest"
MOST_FOREST_COLUMNS = 200  # behind more, a forest takes minutes: it is grown on demand only

# {method: {regressor: [mean squared error of each fold's test rows]}}
Scores = dict[str, dict[str, list[float]]]


class Interval(NamedTuple):
    """A mean and its confidence limits."""

    mean: float
    low: float
    high: float


def paired_interval(
    differences: Sequence[float] | Float, *, test_to_train: float = 0.0, confidence: float = 0.95
) -> Interval:
    """Student's interval of the mean of paired differences.

    Folds of one data set share training rows. With `test_to_train`, a fold's number of test rows over its number
    of training rows, the variance of the mean is (1 / n + test_to_train) s² instead of s² / n (Nadeau and Bengio,
    Machine Learning 52, 2003): the interval then is one for new rows, not just for new folds of the same ones.
    """
    d = np.asarray(differences, dtype=np.float64)
    mean = float(d.mean())
    if len(d) < 2:
        return Interval(mean, -np.inf, np.inf)
    half = float(student.ppf(0.5 + confidence / 2, len(d) - 1) * d.std(ddof=1) * np.sqrt(1 / len(d) + test_to_train))
    return Interval(mean, mean - half, mean + half)


def iid(y: Float, seed: int) -> Any:
    """Three clients, rows dealt at random."""
    return make_client_ids(y, N_CLIENTS, random_state=seed)


def regressors(seed: int) -> dict[str, BaseEstimator]:
    """What stands behind every reducer alike."""
    return {BY_RIDGE: RidgeCV(ALPHAS), BY_FOREST: RandomForestRegressor(100, random_state=seed)}


def training_rows(case: str, table: Table, split: Split, client_ids: Any) -> TrainingRows:
    """What a method may see of a fold."""
    train = split.train
    return TrainingRows(case, table.X[train], table.y[train], table.modalities, table.groups[train], client_ids[train])


def fair(case: Case, methods: Mapping[str, Method], repeat: int, *, wide_forests: bool = False) -> dict[str, Any]:
    """One repeat of the fair protocol: scores and seconds of each method, and the number of rows of each fold."""
    table = case.table(repeat)
    splits = case.splits(table, repeat)
    client_ids = iid(table.y, repeat) if table.clients is None else table.clients
    scores: Scores = {name: {} for name in methods}
    took = dict.fromkeys(methods, 0.0)
    for fold, split in enumerate(splits):
        seed = repeat * len(splits) + fold
        rows = training_rows(case.name, table, split, client_ids)
        for name, method in methods.items():
            start = time.perf_counter()
            behind = regressors(seed)
            found = errors(method, rows, table.X[split.test], table.y[split.test], seed, behind, wide_forests)
            for regressor, mse in found.items():
                scores[name].setdefault(regressor, []).append(mse)
            took[name] += time.perf_counter() - start
    return {"scores": scores, "seconds": took, **_sizes(splits)}


def errors(
    method: Method,
    rows: TrainingRows,
    X_test: Float,
    y_test: Float,
    seed: int,
    behind: Mapping[str, BaseEstimator],
    wide_forests: bool = False,
) -> dict[str, float]:
    """Mean squared error on the test rows: of the method's own prediction, and of each regressor behind it."""
    found: dict[str, list[float]] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # rivals that stop early are scored as they are
        for estimator, seen in method.fitted(rows, seed):
            if hasattr(estimator, "predict"):
                found.setdefault(ITSELF, []).append(_mse(estimator.predict(X_test), y_test))
            if not hasattr(estimator, "transform"):
                continue
            Z, Z_test = estimator.transform(seen.X), estimator.transform(X_test)
            for name, regressor in behind.items():
                if name == BY_FOREST and Z.shape[1] > MOST_FOREST_COLUMNS and not wide_forests:
                    continue
                found.setdefault(name, []).append(_mse(regressor.fit(Z, seen.y).predict(Z_test), y_test))
    return {name: float(np.mean(values)) for name, values in found.items()}


def variants(
    case: str,
    table: Table,
    splits: Sequence[Split],
    candidates: Mapping[str, Mapping[str, Any]],
    repeat: int,
    *,
    client_ids: Any,
    behind: str = BY_RIDGE,
) -> dict[str, Any]:
    """One repeat of the fair protocol for FDRMFL under several settings, all with the same folds."""
    build = fdrmfl()(training_rows(case, table, splits[0], client_ids), repeat)
    search = GridSearchCV(
        Pipeline([("fdrmfl", build), ("behind", regressors(repeat)[behind])]),
        [{f"fdrmfl__{key}": [value] for key, value in changes.items()} for changes in candidates.values()],
        cv=[tuple(split) for split in splits],
        scoring="neg_mean_squared_error",
        refit=False,
        error_score="raise",
    )
    found = search.fit(table.X, table.y, fdrmfl__client_ids=client_ids).cv_results_
    by_fold = -np.array([found[f"split{fold}_test_score"] for fold in range(len(splits))])
    scores: Scores = {name: {behind: by_fold[:, j].tolist()} for j, name in enumerate(candidates)}
    return {"scores": scores, **_sizes(splits)}


def as_published(case: Case, methods: Mapping[str, Method], ours: str, repeat: int) -> dict[str, Any]:
    """One repeat of the published protocol; the module's docstring says what is wrong with it."""
    table = case.table(repeat)
    split = case.splits(table, repeat)[0]
    if case.error == "RMSE":  # one test set of a fifth of the rows, repeats of a spectrum on both sides
        split = Split(*train_test_split(np.arange(len(table.y)), test_size=0.2, random_state=repeat))
    X = np.empty_like(table.X)
    for part in split:
        X[part] = StandardScaler().fit_transform(table.X[part])
    rows = training_rows(case.name, replace(table, X=X), split, iid(table.y, repeat))
    scores: Scores = {}
    for name, method in methods.items():
        forest = RandomForestRegressor(100 if name == ours else 5, random_state=repeat)
        by = errors(method, rows, X[split.test], table.y[split.test], repeat, {BY_FOREST: forest}, wide_forests=True)
        scores[name] = {regressor: [mse] for regressor, mse in by.items()}
    return {"scores": scores, **_sizes([split])}


def _mse(predicted: Float, y: Float) -> float:
    return float(np.mean((np.ravel(predicted) - y) ** 2))


def _sizes(splits: Sequence[Split]) -> dict[str, list[int]]:
    return {"n_train": [len(split.train) for split in splits], "n_test": [len(split.test) for split in splits]}
