"""What one method of a comparison reached, what the methods are called, and how much one errs over another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.common.arrays import Float

MEAN = "mean predictor"
FEDERATED = "FDRMFL"
HEAD = "FDRMFL, y_hat only"
CENTRAL = "FDRMFL, central"
ALONE = "FDRMFL, each client alone"
RIDGE = "RidgeCV, all columns"
CHOSEN_PLS = "PLS, components chosen"
CHOSEN_PRETREATMENT = "PLS, pre-treatment chosen"
DRAWN = ("PCA", "PLS", CHOSEN_PLS, RIDGE, FEDERATED)  # in pictures, unless they are told otherwise
N_DRAWS = 2000  # of a bootstrap
LEVEL = 0.95


@dataclass(frozen=True, eq=False)
class MethodResult:
    """The measures of one method; a run is one seed or, for clients alone, one client under the first seed.

    Attributes
    ----------
    name : str
        The method.
    predicted : ndarray of shape (n_runs, n_samples)
        Out-of-fold predictions, in the unit of y. NaN in folds where a client alone had fewer than two rows.
    rmse, r2, rpd : ndarray of shape (n_runs,)
        Measures of the predictions of all folds pooled; `rmse` in the unit of y.
    fit_seconds : float
        Wall time of one fit (reduction and regressor): the median over folds, the mean of that over runs.
    client_r2 : dict of {client id: float}
        R² on each client's own rows, the mean over seeds; NaN where it is not defined.
    output : str
        What is predicted.
    """

    name: str
    predicted: Float
    rmse: Float
    r2: Float
    rpd: Float
    fit_seconds: float
    client_r2: dict[Any, float]
    output: str = "y"


def squared_errors(predicted: Float, y: Float) -> Float:
    """Return the squared error of each row (n,), the mean over runs (n_runs, n) that have predicted it, NaN without."""
    squared: Float = np.ma.masked_invalid((predicted - y) ** 2).mean(axis=0).filled(np.nan)
    return squared


class Ratio(NamedTuple):
    """A ratio of two RMSEs, and the ends of its interval."""

    value: float
    low: float
    high: float


NO_RATIO = Ratio(float("nan"), float("nan"), float("nan"))


def rmse_ratio(squared: Float, reference: Float, groups: NDArray[np.intp]) -> Ratio:
    """Return sqrt(sum `squared` / sum `reference`), with a paired bootstrap interval over groups of rows.

    Rows are drawn with replacement, whole groups at a time, and with each its error under both methods: what makes a
    row hard for both cancels. The models stay as they are, so that the interval says nothing of other training rows.

    The errors (n,) are NaN for a row that one method has not predicted; the ratio is NaN where the reference has none.
    """
    both = np.isfinite(squared) & np.isfinite(reference)
    _, place = np.unique(groups[both], return_inverse=True)
    n_groups = int(place.max()) + 1 if len(place) else 0
    if n_groups == 0 or not reference[both].sum() > 0:
        return NO_RATIO
    sums = np.stack([np.bincount(place, values[both], n_groups) for values in (squared, reference)])  # (2, groups)
    value = float(np.sqrt(sums[0].sum() / sums[1].sum()))
    if n_groups == 1:
        return Ratio(value, float("nan"), float("nan"))
    draws = np.random.default_rng(0).multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=N_DRAWS)
    of_draws = draws @ sums.T  # (draws, 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.sqrt(of_draws[:, 0] / of_draws[:, 1])
    low, high = np.nanpercentile(ratios, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    return Ratio(value, float(low), float(high))
