"""What one method of a comparison reached, and what the methods are called."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

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
