"""PLS with the components, and the pre-treatment of spectra, that folds inside the training rows ask for.

Pre-treatments are those a chemometrician tries first: row by row, so that they learn nothing.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.cross_decomposition import PLSRegression
from sklearn.utils.validation import check_is_fitted, validate_data

from skfdrmfl.common.arrays import Float
from skfdrmfl.common.progress import tell
from skfdrmfl.compare._arguments import shuffled_folds
from skfdrmfl.views import VIEWS, base


def is_smooth(block: Float) -> bool:
    """Return whether columns (n, p) are a spectrum: the median |correlation| of neighbouring columns is above .9."""
    centred = block - block.mean(axis=0)
    squares, products = (centred**2).sum(axis=0), (centred[:, 1:] * centred[:, :-1]).sum(axis=0)
    return base.is_smooth(squares, products)


def snv(rows: Float) -> Float:
    """Return the standard normal variate of rows (n, p), without what `views.SNV` appends; constant rows become 0."""
    return VIEWS["snv"].apply(rows)[:, : rows.shape[1]]


RAW = "raw"
PRETREATMENTS: Mapping[str, Callable[[Float], Float]] = {
    RAW: lambda rows: rows,
    "SNV": snv,
    "SG1": VIEWS["sg1"].apply,
    "SG2": VIEWS["sg2"].apply,
    "SNV + SG1": lambda rows: VIEWS["sg1"].apply(snv(rows)),
}


def pretreated(table: Float, blocks: Sequence[NDArray[np.intp]], name: str) -> Float:
    """Return a table whose columns in each block are pre-treated; other columns stay."""
    if name == RAW:
        return table
    treated = np.array(table, dtype=np.float64)
    for block in blocks:
        treated[:, block] = PRETREATMENTS[name](table[:, block])
    return treated


class ChosenPLS(RegressorMixin, BaseEstimator):
    """PLS regression whose number of components has the least error in folds of the training rows.

    Each output has a model and a number of its own (PLS1), in `n_components_`; at most `max_components` are
    tried. The `n_splits` inner folds are shuffled by `random_state`; rows of one group stay together. Of several
    `pretreatments` of the columns in `blocks`, those of a spectrum each, the folds choose too: `pretreatments_`.
    """

    __metadata_request__fit: ClassVar = {"groups": True}

    def __init__(
        self,
        max_components: int = 30,
        n_splits: int = 5,
        random_state: int = 0,
        pretreatments: Sequence[str] = (RAW,),
        blocks: Sequence[NDArray[np.intp]] = (),
    ):
        self.max_components = max_components
        self.n_splits = n_splits
        self.random_state = random_state
        self.pretreatments = pretreatments
        self.blocks = blocks

    def fit(self, X: ArrayLike, y: ArrayLike, groups: ArrayLike | None = None) -> ChosenPLS:
        """Choose for each output of y (n,) or (n, n_outputs), and fit with what is chosen."""
        table, values = validate_data(self, X, y, multi_output=True, y_numeric=True)
        self._one = values.ndim == 1
        columns = values.reshape(len(values), -1).T
        folds = self._folds(table, groups)
        most = min(self.max_components, table.shape[1], *(len(train) - 1 for train, _ in folds)) if folds else 1
        tables = {name: pretreated(table, self.blocks, name) for name in self.pretreatments}
        chosen = [
            min((*self._choose(X, column, folds, max(1, most)), name) for name, X in tables.items())
            for column in columns
        ]
        self.n_components_ = np.array([n for _, n, _ in chosen])
        self.pretreatments_ = [name for *_, name in chosen]
        self._models = [_fitted(tables[name], column, n) for column, (_, n, name) in zip(columns, chosen, strict=True)]
        return self

    def predict(self, X: ArrayLike) -> Float:
        """Return predictions of shape (n_samples,), or (n_samples, n_outputs)."""
        check_is_fitted(self)
        table = validate_data(self, X, reset=False)
        models = zip(self._models, self.pretreatments_, strict=True)
        of_outputs = [model.predict(pretreated(table, self.blocks, name)).ravel() for model, name in models]
        predicted = np.stack(of_outputs, axis=1)
        return predicted[:, 0] if self._one else predicted

    def _folds(self, X: NDArray[Any], groups: ArrayLike | None) -> list[tuple[Any, Any]]:
        """Return the inner folds, none where there are not two rows or groups."""
        n_splits = min(self.n_splits, len(X if groups is None else np.unique(np.asarray(groups))))
        if n_splits < 2 or len(X) < 4:
            return []
        folds = shuffled_folds(X, groups, n_splits, self.random_state)
        return [(train, test) for train, test in folds if len(train) >= 3]  # a large group may leave fewer

    def _choose(self, X: NDArray[Any], y: NDArray[Any], folds: list[tuple[Any, Any]], most: int) -> tuple[float, int]:
        """Return the least squared error over the folds, and the number of components that has it."""
        squared = np.zeros(most)
        for number, (train, test) in enumerate(folds):
            tell(f"inner fold {number + 1} of {len(folds)}")
            model = _fitted(X[train], y[train], most)
            # One fit has the coefficients of all smaller numbers: the first columns of rotations and loadings.
            centred = (X[test] - model._x_mean) / model._x_std
            steps = (centred @ model.x_rotations_) * model.y_loadings_[0] * model._y_std  # (rows, most)
            squared += ((y[test][:, None] - model.intercept_ - np.cumsum(steps, axis=1)) ** 2).sum(axis=0)
        return float(squared.min()), int(squared.argmin()) + 1


def _fitted(X: NDArray[Any], y: NDArray[Any], n_components: int) -> PLSRegression:
    """Return PLS1 fitted with so many components, or as many as leave something to explain."""
    with warnings.catch_warnings():
        # Components beyond the rank are zero, and change no prediction.
        warnings.filterwarnings("ignore", message=".*residual is constant")
        return PLSRegression(n_components).fit(X, y)
