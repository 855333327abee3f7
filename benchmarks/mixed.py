"""Categories beside numbers: FDRMFL on a DataFrame against one-hot + Ridge and gradient boosting.

    python benchmarks/mixed.py                # three data sets: about ten minutes
    python benchmarks/mixed.py --data diabetes

Data that scikit-learn ships or makes, with some columns turned into categories:

- diabetes: `load_diabetes`; sex by its name, age and the first serum column in five and six bins.
- friedman: `make_friedman1`, 600 rows; x0 of sin(pi x0 x1) and x3 of 10 x3 in eight and six bins, so that a category
  and a number interact, and a site of twelve levels with an effect of its own.
- levels: `make_regression`, 600 rows, 8 numbers; three columns of 4, 10 and 25 levels, each level with an effect, two
  of them also with a slope of one of the numbers.

Protocol: 5 shuffled folds; the training rows are dealt at random to 3 clients. Every method is tuned by 3 inner folds
of the training rows, by RMSE, unless it says so; the test rows are seen once. FDRMFL has 8 components; "Ridge" is
`RidgeCV(alphas=np.logspace(-6, 3, 10))`, which the search also scores with. The rivals see all rows at once, and
their categories without any agreement.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from _common import arguments, check, note, parser, save, table
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.datasets import load_diabetes, make_friedman1, make_regression
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.datasets import make_client_ids

ASKED = 1.05  # RMSE relative to the better rival
N_COMPONENTS, N_CLIENTS = 8, 3
RIDGE, BOOSTING = "one-hot + Ridge", "gradient boosting"
BEHIND_Z, HEAD = "FDRMFL, Ridge behind Z", "FDRMFL, its head"
TOGETHER = {"all": slice(None)}  # one modality of both kinds, in which they can interact
UNTUNED = {"FDRMFL untuned, two modalities, Ridge": None, "FDRMFL untuned, one modality, Ridge": TOGETHER}

Data = tuple[pd.DataFrame, NDArray[np.float64]]


def named_bins(values: Any, n_bins: int, letter: str) -> pd.Series:
    """Bins of about equal size, as strings."""
    return pd.qcut(pd.Series(np.asarray(values)), n_bins, labels=False).map(lambda i: f"{letter}{i}").astype("category")


def diabetes() -> Data:
    X, y = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
    X["sex"] = X["sex"].map({1.0: "one", 2.0: "two"}).astype("category")
    X["age"], X["s1"] = named_bins(X["age"], 5, "age"), named_bins(X["s1"], 6, "s")
    return X, y.to_numpy(dtype=float)


def friedman() -> Data:
    x, y = make_friedman1(n_samples=600, n_features=10, noise=1.0, random_state=0)
    X = pd.DataFrame(x, columns=[f"x{j}" for j in range(10)])
    X["x0"], X["x3"] = named_bins(x[:, 0], 8, "a"), named_bins(x[:, 3], 6, "b")
    rng = np.random.default_rng(0)
    site = rng.integers(12, size=len(y))
    X["site"] = pd.Categorical([f"site {i}" for i in site])
    return X, y + rng.normal(0, 2, 12)[site]


def levels() -> Data:
    x, y = make_regression(n_samples=600, n_features=8, n_informative=5, noise=0.0, random_state=0)
    X = pd.DataFrame(x, columns=[f"x{j}" for j in range(8)])
    rng = np.random.default_rng(1)
    y = y / y.std()
    for j, n_levels in enumerate((4, 10, 25)):
        level = rng.integers(n_levels, size=len(y))
        X[f"c{j}"] = [f"level {i}" for i in level]  # strings
        y = y + rng.normal(0, 0.7, n_levels)[level]
        if j < 2:
            y = y + rng.normal(0, 0.5, n_levels)[level] * x[:, j]
    return X, y + rng.normal(0, 0.5, len(y))


DATA: dict[str, Callable[[], Data]] = {"diabetes": diabetes, "friedman": friedman, "levels": levels}


def ridge() -> RidgeCV:
    """The regressor behind Z and behind the one-hot columns."""
    return RidgeCV(alphas=np.logspace(-6, 3, 10))


def grids(smallest: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the searches over boosting and over FDRMFL look at: one setting each at their smallest."""
    boosting = {"learning_rate": [0.03, 0.1], "max_leaf_nodes": [4, 8, 31], "max_iter": [100, 300]}
    fdrmfl = {
        "fdrmfl__modalities": [None, TOGETHER],
        "fdrmfl__hidden_layer_sizes": [(), (32,)],
        "fdrmfl__weight_decay": [0.3, 1.0, 3.0],
    }
    if smallest:
        boosting, fdrmfl = ({name: values[:1] for name, values in grid.items()} for grid in (boosting, fdrmfl))
        fdrmfl["fdrmfl__n_rounds"] = [2]
    return boosting, fdrmfl


def rivals(inner: KFold, grid: dict[str, Any]) -> dict[str, Any]:
    """Central methods that see all training rows at once."""
    one_hot = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), make_column_selector(dtype_exclude="number")),
        remainder=StandardScaler(),
    )
    boosting = HistGradientBoostingRegressor(categorical_features="from_dtype", random_state=0)
    return {
        "mean predictor": DummyRegressor(),
        RIDGE: make_pipeline(one_hot, ridge()),
        BOOSTING: GridSearchCV(boosting, grid, cv=inner, scoring="neg_root_mean_squared_error"),
    }


def behind_z(seed: int, modalities: Any = None) -> Pipeline:
    """FDRMFL's defaults and a ridge."""
    transformer = FDRMFLTransformer(N_COMPONENTS, modalities=modalities, random_state=seed, tuning=None)
    return Pipeline([("fdrmfl", transformer), ("ridge", ridge())])


def fdrmfl(inner: KFold, seed: int, grid: dict[str, Any]) -> GridSearchCV:
    """The search over FDRMFL's parameters."""
    return GridSearchCV(behind_z(seed), grid, cv=inner, scoring="neg_root_mean_squared_error")


def rmse(y: NDArray[np.float64], predicted: NDArray[np.float64]) -> float:
    """Root mean squared error of all rows, each predicted once."""
    return float(np.sqrt(np.mean((predicted - y) ** 2)))


def run(name: str, seed: int, n_folds: int, smallest: bool) -> dict[str, Any]:
    """RMSE of every method on one data set, and what the search chose."""
    X, y = DATA[name]()
    # Gradient boosting knows categories by their dtype.
    X = X.astype({c: "category" for c in X.columns if not pd.api.types.is_numeric_dtype(X[c])})
    inner = KFold(3, shuffle=True, random_state=0)
    of_boosting, of_fdrmfl = grids(smallest)
    predicted = {method: np.empty_like(y) for method in (*rivals(inner, of_boosting), *UNTUNED, BEHIND_Z, HEAD)}
    chosen = []
    for train, test in KFold(n_folds, shuffle=True, random_state=0).split(X):
        X_train, y_train, X_test = X.iloc[train], y[train], X.iloc[test]
        for method, model in rivals(inner, of_boosting).items():
            predicted[method][test] = clone(model).fit(X_train, y_train).predict(X_test)
        start = time.perf_counter()
        client_ids = make_client_ids(y_train, N_CLIENTS, random_state=seed)
        for method, modalities in UNTUNED.items():
            model = behind_z(seed, modalities).fit(X_train, y_train, fdrmfl__client_ids=client_ids)
            predicted[method][test] = model.predict(X_test)
        search = fdrmfl(inner, seed, of_fdrmfl).fit(X_train, y_train, fdrmfl__client_ids=client_ids)
        predicted[BEHIND_Z][test] = search.predict(X_test)
        predicted[HEAD][test] = search.best_estimator_["fdrmfl"].predict(X_test)
        chosen.append({key.removeprefix("fdrmfl__"): str(value) for key, value in search.best_params_.items()})
        note(f"{name}, seed {seed}, a fold: {time.perf_counter() - start:.0f} s, {chosen[-1]}")
    return {"rmse": {method: rmse(y, p) for method, p in predicted.items()}, "chosen": chosen}


def main() -> None:
    """Run everything and report."""
    options = parser(__doc__)
    options.add_argument("--data", choices=list(DATA), action="append", help="one data set (default: all)")
    options.add_argument("--seed", type=int, default=0, help="of clients and weights (default: %(default)s)")
    options.add_argument("--folds", type=int, default=5, help="of the rows (default: %(default)s)")
    args = arguments(options, data=["diabetes"], folds=2)
    results = {name: run(name, args.seed, args.folds, args.smallest) for name in args.data or DATA}
    methods = list(next(iter(results.values()))["rmse"])
    print(f"# Categories and numbers: {N_COMPONENTS} components, {N_CLIENTS} clients, {args.folds} folds\n\n## RMSE\n")
    print(table(["method", *results], [[m, *(f"{r['rmse'][m]:.4g}" for r in results.values())] for m in methods]))
    print(f"\n## Relative to the better rival (asked: at most {ASKED:g})\n")
    rows = []
    for name, result in results.items():
        best = min(result["rmse"][RIDGE], result["rmse"][BOOSTING])
        behind, head = (result["rmse"][m] / best for m in (BEHIND_Z, HEAD))
        rows.append([name, f"{behind:.3f}", check(behind, ASKED), f"{head:.3f}", check(head, ASKED)])
    print(table(["data", "Ridge behind Z", "ok", "head", "ok"], rows))
    save(args.out, "mixed", {"asked": ASKED, "seed": args.seed, "results": results})


if __name__ == "__main__":
    main()
