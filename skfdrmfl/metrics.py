"""Measures of a prediction that scikit-learn does not have; all others are in :mod:`sklearn.metrics`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.metrics import r2_score, root_mean_squared_error
from sklearn.utils import check_consistent_length, column_or_1d

from skfdrmfl.data.client_ids import check_client_ids

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["r2_per_client", "rmse", "rpd"]

#: Root mean squared error, in the unit of y: scikit-learn's, under the name chemometricians use.
rmse = root_mean_squared_error


def rpd(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """Return the ratio of performance to deviation: how many times smaller the error is than the spread of y.

    RPD is the sample standard deviation (`ddof=1`) of the reference values over the root mean squared error of the
    prediction. It says the same as R², on a scale on which halving the error doubles the figure:
    RPD = sqrt(n / (n - 1)) / sqrt(1 - R²). Predicting the mean of `y_true` gives just over 1.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        Reference values.
    y_pred : array-like of shape (n_samples,)
        Predictions.

    Returns
    -------
    float
        RPD, without unit; `inf` for a prediction without error, and NaN where `y_true` is constant besides.

    Raises
    ------
    ValueError
        If there are fewer than two rows, or not as many predictions as reference values.

    Notes
    -----
    Many authors divide by the standard error of prediction, from which the bias is taken out. The root mean
    squared error leaves it in, so that a biased model does not look better than it is.

    References
    ----------
    P. C. Williams and D. C. Sobering, "Comparison of commercial near infrared transmittance and reflectance
    instruments for analysis of whole grains and seeds", Journal of Near Infrared Spectroscopy 1 (1993) 25-32.

    Examples
    --------
    >>> from skfdrmfl.metrics import rpd
    >>> round(rpd([1.0, 2.0, 3.0], [1.0, 2.0, 3.5]), 3)
    3.464
    """
    y_true, y_pred = _paired(y_true, y_pred)
    if len(y_true) < 2:
        raise ValueError(
            f"rpd needs at least 2 rows for a standard deviation, got {len(y_true)}; pass pooled predictions."
        )
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.std(y_true, ddof=1) / np.float64(rmse(y_true, y_pred)))


def r2_per_client(y_true: ArrayLike, y_pred: ArrayLike, client_ids: ArrayLike) -> dict[Any, float]:
    """Return R² on the rows of each client by itself, about that client's own mean.

    A good R² over all clients can hide a client for whom the model is useless: differences between clients count
    towards the pooled R², not towards a client's own.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        Reference values.
    y_pred : array-like of shape (n_samples,)
        Predictions.
    client_ids : array-like of shape (n_samples,)
        The client of each row.

    Returns
    -------
    dict of {client id: float}
        The clients are in sorted order of their ids, which are plain Python values. A client with one row or
        constant `y_true`, for whom R² is not defined, has NaN.

    Raises
    ------
    ValueError
        If the three arguments do not have the same length, or labels of clients are missing.

    Examples
    --------
    >>> from skfdrmfl.metrics import r2_per_client
    >>> r2_per_client([1, 2, 3, 7, 8], [1, 2, 3, 8, 7], ["a", "a", "a", "b", "b"])
    {'a': 1.0, 'b': -3.0}
    """
    y_true, y_pred = _paired(y_true, y_pred)
    clients = check_client_ids(client_ids, len(y_true), "y_true")
    rows_of = {client: clients == client for client in np.unique(clients)}
    return {_plain(client): _r2_or_nan(y_true[rows], y_pred[rows]) for client, rows in rows_of.items()}


def _r2_or_nan(y_true: NDArray[Any], y_pred: NDArray[Any]) -> float:
    """Return R², or NaN where it is not defined and `r2_score` warns, or returns 0 or 1."""
    if len(y_true) < 2 or np.ptp(y_true) == 0:
        return float("nan")
    return float(r2_score(y_true, y_pred))


def _paired(y_true: ArrayLike, y_pred: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return reference values and predictions as 1-D arrays of one length."""
    check_consistent_length(y_true, y_pred)
    return column_or_1d(y_true), column_or_1d(y_pred)


def _plain(label: Any) -> Any:
    """Return the Python value of a numpy scalar, and anything else unchanged."""
    return label.item() if isinstance(label, np.generic) else label
