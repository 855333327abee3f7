"""Data sets to cross-validate on, with their folds and clients, and the rivals that see the rows of all clients."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from _common import note
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, load_linnerud, load_wine, make_friedman1
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GroupKFold, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skfdrmfl.compare._pls import ChosenPLS
from skfdrmfl.datasets import fetch_corn, load_tecator, make_client_ids

Float = NDArray[np.float64]
Rows = NDArray[np.intp]
ALPHAS = np.logspace(-6, 3, 10)
MEAN, RIDGE, PLS = "mean predictor", "RidgeCV", "PLS"


@dataclass(frozen=True)
class Case:
    """One target of one data set, with who has which row."""

    name: str
    X: Float
    y: Float
    groups: NDArray[Any] | None = None  # rows that no fold parts
    sites: NDArray[Any] | None = None  # the client of each row; None: training rows are dealt to `n_clients`
    n_clients: int = 3
    scheme: str = "iid"

    def folds(self, n_splits: int, seed: int) -> list[tuple[Rows, Rows]]:
        """Shuffled folds; groups stay together."""
        splitter = KFold if self.groups is None else GroupKFold
        return list(splitter(n_splits, shuffle=True, random_state=seed).split(self.X, groups=self.groups))

    def labels(self, train: Rows, seed: int) -> dict[str, NDArray[Any]]:
        """What a federated fit of some rows is told of them: clients and, where there are any, groups."""
        clients = make_client_ids(self.y[train], self.n_clients, self.scheme, random_state=seed)
        labels = {"client_ids": clients if self.sites is None else self.sites[train]}
        return labels if self.groups is None else labels | {"groups": self.groups[train]}


# A contender is fitted to training rows of a case, and returns predictions of rows of X by the names of methods.
Contender = Callable[[Case, Rows, int], Callable[[Float], dict[str, Float]]]


def measure(case: Case, contenders: Mapping[str, Contender], repeats: int, n_splits: int) -> dict[str, Float]:
    """RMSE (repeats,) of every method, of all rows together, each predicted out of fold.

    Repeat r has folds, clients and first weights of seed r.
    """
    errors: dict[str, list[float]] = {}
    for seed in range(repeats):
        squared: dict[str, Float] = {}
        for train, test in case.folds(n_splits, seed):
            for fit in contenders.values():
                for name, predicted in fit(case, train, seed)(case.X[test]).items():
                    squared.setdefault(name, np.empty(len(case.y)))[test] = (predicted - case.y[test]) ** 2
        for name, values in squared.items():
            errors.setdefault(name, []).append(float(np.sqrt(values.mean())))
    return {name: np.array(values) for name, values in errors.items()}


def pooled(name: str, fitted: Callable[[Float, Float, Any], Any]) -> Contender:
    """A model that sees all training rows; `fitted` is given X, y and groups, None where there are none."""

    def fit(case: Case, train: Rows, seed: int) -> Callable[[Float], dict[str, Float]]:
        model = fitted(case.X[train], case.y[train], None if case.groups is None else case.groups[train])
        return lambda X: {name: np.ravel(model.predict(X))}

    return fit


def ridge(groups: NDArray[Any] | None = None) -> Any:
    """RidgeCV on standardised columns: by leave-one-out, or by five folds that keep groups together."""
    if groups is None:
        return make_pipeline(StandardScaler(), RidgeCV(ALPHAS))
    folds = list(GroupKFold(min(5, len(np.unique(groups)))).split(groups, groups=groups))
    return make_pipeline(StandardScaler(), RidgeCV(ALPHAS, cv=folds, scoring="neg_mean_squared_error"))


RIVALS: dict[str, Contender] = {
    MEAN: pooled(MEAN, lambda X, y, groups: DummyRegressor().fit(X, y)),
    RIDGE: pooled(RIDGE, lambda X, y, groups: ridge(groups).fit(X, y)),
    # It standardises, and has as many components, up to 30, as inner folds choose.
    PLS: pooled(PLS, lambda X, y, groups: ChosenPLS().fit(X, y, groups=groups)),
}


def tecator(targets: tuple[str, ...] = ("fat", "water", "protein")) -> Iterator[Case]:
    """Tecator's spectra, repeats of a spectrum as groups."""
    data = load_tecator("all")
    for name in targets:
        yield Case(f"Tecator {name}", data.data, data.target[:, data.target_names.index(name)], data.groups)


def corn(path: Path, instrument: str, targets: tuple[str, ...]) -> Iterator[Case]:
    """Corn's spectra of one instrument; nothing, and a line that says so, where the file is absent."""
    try:
        data = fetch_corn(path, instrument=instrument, target="all")
    except FileNotFoundError as error:
        note(f"Corn {instrument} is left out: {error}")
        return
    for name in targets:
        yield Case(f"Corn {instrument} {name}", data.data, data.target[:, data.target_names.index(name)])


def linear(n_columns: int, rank: int, noise: float) -> Case:
    """70 rows of a rank with scales from 1 to .01, and y linear in them."""
    rng = np.random.default_rng(0)
    scores = rng.standard_normal((70, rank)) * np.logspace(0, -2, rank)
    X = scores @ rng.standard_normal((rank, n_columns)) + 1e-3 * rng.standard_normal((70, n_columns))
    y = X @ rng.standard_normal(n_columns)
    return Case(f"linear, 70 x {n_columns}, rank {rank}", X, y / y.std() + noise * rng.standard_normal(70))


def diabetes() -> Case:
    """A table of unlike columns."""
    return Case("diabetes", *load_diabetes(return_X_y=True))


def development(path: Path) -> Iterator[Case]:
    """The 14 cases on which the mixture's rule was tried; their outer errors have been looked at."""
    yield from tecator()
    yield from corn(path, "m5", ("moisture", "oil", "protein", "starch"))
    yield from corn(path, "mp6", ("moisture", "protein"))
    yield diabetes()
    yield Case("Friedman 1", *make_friedman1(300, 10, noise=1.0, random_state=0))
    yield from (linear(20, 20, 0.3), linear(200, 8, 0.1), linear(200, 30, 0.3))


def unseen() -> Iterator[Case]:
    """Small sets that nothing here was chosen on: the last column of each file, from all columns before it.

    They are measured, continuous, and come with scikit-learn, as classification for the most part: which column is the
    target is settled by the file and not by a result. Digits are left out, whose last column is a pixel that is blank,
    and diabetes, which is among the development cases. The wheel of chemotools has spectra of a fermentation.
    """
    for name, load in (("iris", load_iris), ("wine", load_wine), ("breast cancer", load_breast_cancer)):
        data = load()
        yield Case(f"{name}, {data.feature_names[-1]}", data.data[:, :-1], data.data[:, -1])
    data = load_linnerud()
    yield Case(f"linnerud, {data.target_names[-1].lower()}", data.data, data.target[:, -1])
    try:
        from chemotools.datasets import load_fermentation_train
    except ImportError:
        note("Fermentation is left out: pip install chemotools brings it, in its wheel")
        return
    X, y = load_fermentation_train()
    yield Case("fermentation, glucose", X.to_numpy(), y.to_numpy()[:, -1])


def spectra(seed: int, n_samples: int = 100, n_scans: int = 2, n_columns: int = 150) -> Case:
    """Simulated spectra of samples that are scanned twice, at three sites with offsets of their own.

    Absorbance is .4 + c + .02 c² of the sum c of four Gaussian bands times contents; a scan multiplies it, and adds an
    offset, a slope and noise. y is one content as a laboratory measures it, once a sample.
    """
    rng = np.random.default_rng(seed)
    wavelengths = np.linspace(1100, 1696, n_columns)
    protein, moisture = rng.uniform(8, 16, n_samples), rng.uniform(9, 15, n_samples)
    other, fat = rng.normal(0, 1, n_samples), rng.uniform(1, 3, n_samples)
    bands = ((protein, 0.02, 1510, 30), (moisture, 0.03, 1450, 45), (other, 0.02, 1380, 35), (fat, 0.03, 1210, 25))
    content = sum(
        np.outer(height * amount, np.exp(-(((wavelengths - centre) / width) ** 2)))
        for amount, height, centre, width in bands
    )
    sample = np.repeat(np.arange(n_samples), n_scans)
    site = sample % 3
    n = len(sample)
    scale = np.exp(0.15 * rng.normal(size=(n, 1)))
    slope = 0.03 * rng.normal(size=(n, 1)) * np.linspace(-1, 1, n_columns)
    X = scale * (0.4 + content + 0.02 * content**2)[sample]
    X += 0.05 * rng.normal(size=(n, 1)) + slope + 0.02 * site[:, None] + 4e-4 * rng.normal(size=(n, n_columns))
    y = (protein + 0.15 * rng.normal(size=n_samples))[sample]
    return Case(f"spectra, draw {seed}", X, y, sample, np.array(["Bremen", "Lyon", "Porto"])[site])


def permuted(case: Case, seed: int) -> Case:
    """The case with its targets dealt anew to its rows, so that X says nothing of them."""
    y = np.random.default_rng(seed).permutation(case.y)
    return replace(case, name=f"{case.name}, permuted", y=y)
