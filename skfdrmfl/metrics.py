"""Measures of a prediction that scikit-learn does not have; all others are in :mod:`sklearn.metrics`."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit
from sklearn.metrics import make_scorer, r2_score, root_mean_squared_error
from sklearn.model_selection import cross_val_predict
from sklearn.utils import check_consistent_length, column_or_1d

from skfdrmfl.data.client_ids import rows_of_clients
from skfdrmfl.data.row_names import check_same_rows
from skfdrmfl.diagnosis.tables import aligned

__all__ = [
    "SCORERS",
    "ChemometricReport",
    "SystematicError",
    "bias",
    "chemometric_report",
    "r2_per_client",
    "rmse",
    "rmsec",
    "rmsecv",
    "rmsep",
    "rpd",
    "rpiq",
    "sep",
    "slope",
    "systematic_error",
]

# A correction that leaves more than this share of the error is none that anybody is told of.
WORTH = 0.9
#: Root mean squared error, in the unit of y: scikit-learn's, under the name chemometricians use.
rmse = root_mean_squared_error


def rpd(y_true: ArrayLike, y_pred: ArrayLike, *, error: str = "rmse") -> float:
    """Return the ratio of performance to deviation: how many times smaller the error is than the spread of y.

    RPD is the sample standard deviation (`ddof=1`) of the reference values over the root mean squared error of the
    prediction. It says the same as R², on a scale on which halving the error doubles the figure:
    RPD = sqrt(n / (n - 1)) / sqrt(1 - R²). Predicting the mean of `y_true` gives just over 1.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n_samples,)
        Reference values, and predictions of them.
    error : {"rmse", "sep"}, default="rmse"
        What the deviation is divided by: the root mean squared error, which leaves the bias in, or, as many authors
        have it, the standard error of prediction (`sep`), by which a biased model looks better than it is.

    Returns
    -------
    float
        RPD, without unit; `inf` for a prediction without error, and NaN where `y_true` is constant besides.

    Raises
    ------
    ValueError
        If there are fewer than two rows, not as many predictions as reference values, or another `error`.

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
    if error not in ("rmse", "sep"):
        raise ValueError(f'error is {error!r}; use "rmse" or "sep".')
    return _ratio(np.std(y_true, ddof=1), rmse(y_true, y_pred) if error == "rmse" else sep(y_true, y_pred))


def rmsep(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """Return the root mean squared error of prediction, RMSEP = sqrt(sum (y_hat - y)^2 / n), on rows not fitted to.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n_samples,)
        Reference values, and predictions of them.

    Returns
    -------
    float
        In the unit of y. RMSEP^2 = bias^2 + SEP^2 (n - 1) / n.

    References
    ----------
    T. Naes, T. Isaksson, T. Fearn and T. Davies, "A User-Friendly Guide to Multivariate Calibration and
    Classification", NIR Publications (2002), chapter 13.
    """
    return float(rmse(*_paired(y_true, y_pred)))


def rmsec(y_true: ArrayLike, y_pred: ArrayLike, *, n_parameters: int = 0) -> float:
    """Return the root mean squared error of calibration, RMSEC = sqrt(sum (y_hat - y)^2 / (n - n_parameters)).

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n_samples,)
        Reference values of the rows that the model was fitted to, and its predictions of them.
    n_parameters : int, default=0
        Degrees of freedom that the fit has used: A + 1 for a regression on A components with an intercept. 0 gives the
        plain root mean square; a network has no such number.

    Returns
    -------
    float
        In the unit of y.

    Raises
    ------
    ValueError
        If no degree of freedom is left.

    References
    ----------
    H. Martens and T. Naes, "Multivariate Calibration", Wiley (1989), section 4.3.
    """
    y_true, y_pred = _paired(y_true, y_pred)
    if len(y_true) <= n_parameters:
        raise ValueError(f"{len(y_true)} rows leave no degree of freedom to n_parameters={n_parameters}; lower it.")
    return float(np.sqrt(np.sum((y_pred - y_true) ** 2) / (len(y_true) - n_parameters)))


def rmsecv(
    estimator: Any, X: Any, y: ArrayLike, *, cv: Any = None, groups: ArrayLike | None = None, params: Any = None
) -> float:
    """Return the root mean squared error of cross-validation: the RMSE of all rows' predictions out of fold.

    RMSECV = sqrt(sum (y_hat_(-i) - y)^2 / n), pooled over folds: not the mean of the folds' own errors.

    Parameters
    ----------
    estimator : regressor
    X : array-like of shape (n_samples, n_features)
    y : array-like of shape (n_samples,)
    cv, groups, params
        As of `sklearn.model_selection.cross_val_predict`; clients go as `params={"client_ids": ...}`.

    Returns
    -------
    float
        In the unit of y.
    """
    check_same_rows(X=X, y=y, groups=groups)
    return rmsep(y, cross_val_predict(estimator, X, y, cv=cv, groups=groups, params=params))


def bias(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """Return the mean error, bias = sum (y_hat - y) / n, in the unit of y: positive where predictions are too high.

    Parameters are those of `rmsep`.
    """
    y_true, y_pred = _paired(y_true, y_pred)
    return float(np.mean(y_pred - y_true))


def sep(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """Return the standard error of prediction, SEP = sqrt(sum (y_hat - y - bias)^2 / (n - 1)).

    It is the standard deviation of the errors, in the unit of y; NaN for a single row. Parameters are those of `rmsep`.

    References
    ----------
    ISO 12099:2017, "Guidelines for the application of near infrared spectrometry".
    """
    y_true, y_pred = _paired(y_true, y_pred)
    return float(np.std(y_pred - y_true, ddof=1)) if len(y_true) > 1 else float("nan")


def slope(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """Return the slope of the least-squares line of reference values on predictions; 1 is right, below it overshoots.

    b = sum (y_hat - mean y_hat)(y - mean y) / sum (y_hat - mean y_hat)^2, as ISO 12099 has it: measured on predicted.
    NaN where all predictions are equal. Parameters are those of `rmsep`.
    """
    y_true, y_pred = _paired(y_true, y_pred)
    centred = y_pred - np.mean(y_pred)
    return float(centred @ (y_true - np.mean(y_true)) / (centred @ centred)) if np.ptp(y_pred) else float("nan")


class SystematicError(NamedTuple):
    """What is wrong with all predictions alike, by the tests of ISO 12099; printed, a clause that says so."""

    n: int
    bias: float
    bias_limit: float  # of the absolute bias
    slope: float
    slope_t: float  # |slope - 1| over its standard error
    slope_t_limit: float
    remedy: str | None  # "bias" or "slope", as `FDRMFLTransformer.adapt` has it

    def __str__(self) -> str:
        if self.remedy == "slope":
            return f"slope {self.slope:.3g} is not 1 (t {self.slope_t:.3g}, limit {self.slope_t_limit:.3g}, n {self.n})"
        if self.remedy == "bias":
            return f"bias {self.bias:.3g} is beyond its limit {self.bias_limit:.3g} (n {self.n})"
        return "no bias or slope to correct"


def systematic_error(y_true: ArrayLike, y_pred: ArrayLike, level: float = 0.95) -> SystematicError:
    """Return whether a bias or a slope is what is wrong with predictions, by the tests of ISO 12099.

    A bias b is beyond chance where |b| > t(n - 1) SEP / sqrt(n), a slope s where |s - 1| > t(n - 2) s_res / sqrt(sum
    (y_hat - mean y_hat)^2), with two-sided quantiles t and the residual deviation s_res of the line. The remedy is the
    one that is beyond chance and takes away a tenth of the error or more: with many rows any bias is beyond chance.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n_samples,)
        As of `rmsep`.
    level : float in (0, 1), default=0.95

    Returns
    -------
    SystematicError
        A tuple of n, bias, bias_limit, slope, slope_t, slope_t_limit and remedy, None where neither is; NaN, and no
        remedy, for fewer than 3 rows.

    References
    ----------
    ISO 12099:2017, "Guidelines for the application of near infrared spectrometry", clause 9.

    Examples
    --------
    >>> from skfdrmfl.metrics import systematic_error
    >>> print(systematic_error([1.0, 2.0, 3.0, 4.0, 5.0], [1.6, 2.4, 3.5, 4.6, 5.4]))
    bias 0.5 is beyond its limit 0.124 (n 5)
    """
    y_true, y_pred = _paired(y_true, y_pred)
    n, off, line = len(y_true), bias(y_true, y_pred), slope(y_true, y_pred)
    if n < 3:
        nothing = float("nan")
        return SystematicError(n, off, nothing, line, nothing, nothing, None)
    spread, error = sep(y_true, y_pred), rmsep(y_true, y_pred)
    of_mean, of_line = (float(stdtrit(n - used, 0.5 + level / 2)) for used in (1, 2))
    limit = of_mean * spread / np.sqrt(n)
    centred = y_pred - np.mean(y_pred)
    left = y_true - np.mean(y_true) - np.nan_to_num(line) * centred
    residual = float(np.sqrt(left @ left / (n - 2)))
    found = _ratio(abs(line - 1.0) * np.sqrt(centred @ centred), residual)
    remedy = None
    if found > of_line and residual < WORTH * min(error, spread):
        remedy = "slope"
    elif abs(off) > limit and spread < WORTH * error:
        remedy = "bias"
    return SystematicError(n, off, limit, line, found, of_line, remedy)


def rpiq(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """Return the ratio of performance to interquartile range, RPIQ = (Q3 - Q1) / RMSEP.

    The quartiles, linearly interpolated, are those of the reference values. It says of a skewed y what RPD says of a
    normal one, without unit; `inf` for a prediction without error. Parameters are those of `rmsep`.

    References
    ----------
    V. Bellon-Maurel, E. Fernandez-Ahumada, B. Palagos, J.-M. Roger and A. McBratney, "Critical review of chemometric
    indicators commonly used for assessing the quality of the prediction of soil attributes by NIR spectroscopy",
    Trends in Analytical Chemistry 29 (2010) 1073-1081.
    """
    y_true, y_pred = _paired(y_true, y_pred)
    first, third = np.percentile(y_true, [25, 75])
    return _ratio(third - first, rmse(y_true, y_pred))


class ChemometricReport(list[dict[str, Any]]):
    """What `chemometric_report` returns: a list of dicts, which pandas takes as it is, that prints as a table."""

    def __repr__(self) -> str:
        rows = [[f"{v:.4g}" if isinstance(v, float) else str(v) for v in row.values()] for row in self]
        names = [list(row) for row in self[:1]]
        return "\n".join(aligned([*names, *rows], range(len(names[0]) if names else 0)))


def chemometric_report(y_true: ArrayLike, y_pred: ArrayLike, client_ids: ArrayLike | None = None) -> ChemometricReport:
    """Return the usual measures of a calibration in one table, of all rows and of each client's own.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n_samples,)
        Reference values, and predictions of them: of rows not fitted to for RMSEP, out of fold for RMSECV, of training
        rows for RMSEC; which of the three "rmse" is follows from the rows.
    client_ids : array-like of shape (n_samples,), default=None
        The client of each row.

    Returns
    -------
    ChemometricReport
        A dict for all rows ("client" is "all"), then one for each client, sorted: "client", "n", "rmse", "bias", "sep",
        "slope", "r2", "rpd" (on RMSE), "rpd_sep" (on SEP) and "rpiq"; NaN where a measure is not defined.

    Examples
    --------
    >>> from skfdrmfl.metrics import chemometric_report
    >>> chemometric_report([1.0, 2.0, 3.0, 4.0], [1.5, 2.0, 3.5, 4.0])
    client  n    rmse  bias     sep   slope     r2    rpd  rpd_sep   rpiq
       all  4  0.3536  0.25  0.2887  1.059  0.9  3.651    4.472  4.243
    """
    y_true, y_pred = _paired(y_true, y_pred, client_ids)
    report = ChemometricReport([_measures("all", y_true, y_pred)])
    if client_ids is not None:
        for client, mine in rows_of_clients(client_ids, len(y_true), "y_true").items():
            report.append(_measures(client, y_true[mine], y_pred[mine]))
    return report


def _measures(client: Any, y_true: NDArray[Any], y_pred: NDArray[Any]) -> dict[str, Any]:
    """Return one row of the report."""
    measures = {"rmse": rmsep, "bias": bias, "sep": sep, "slope": slope, "r2": _r2_or_nan}
    of_several: dict[str, Any] = {"rpd": rpd, "rpd_sep": partial(rpd, error="sep"), "rpiq": rpiq}
    found = {name: measure(y_true, y_pred) for name, measure in measures.items()}
    found |= {name: ratio(y_true, y_pred) if len(y_true) > 1 else float("nan") for name, ratio in of_several.items()}
    return {"client": client, "n": len(y_true), **found}


def _absolute_bias(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """Return |bias|, which a search can make small."""
    return abs(bias(y_true, y_pred))


def _slope_error(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """Return |1 - slope|, infinite where there is none."""
    found = slope(y_true, y_pred)
    return abs(1.0 - found) if np.isfinite(found) else float("inf")


#: Scorers by name, for `scoring` of searches and cross-validation: pass the dict, or one of them. Greater is better, so
#: errors are negative.
SCORERS = {
    "neg_rmsep": make_scorer(rmsep, greater_is_better=False),
    "neg_absolute_bias": make_scorer(_absolute_bias, greater_is_better=False),
    "neg_sep": make_scorer(sep, greater_is_better=False),
    "neg_slope_error": make_scorer(_slope_error, greater_is_better=False),
    "rpd": make_scorer(rpd),
    "rpd_sep": make_scorer(rpd, error="sep"),
    "rpiq": make_scorer(rpiq),
}


def r2_per_client(y_true: ArrayLike, y_pred: ArrayLike, client_ids: ArrayLike) -> dict[Any, float]:
    """Return R² on the rows of each client by itself, about that client's own mean.

    A good R² over all clients can hide a client for whom the model is useless: differences between clients count
    towards the pooled R², not towards a client's own.

    Parameters
    ----------
    y_true, y_pred, client_ids : array-like of shape (n_samples,)
        Reference values, predictions of them, and the client of each row.

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
    y_true, y_pred = _paired(y_true, y_pred, client_ids)
    rows_of = rows_of_clients(client_ids, len(y_true), "y_true")
    return {client: _r2_or_nan(y_true[rows], y_pred[rows]) for client, rows in rows_of.items()}


def _r2_or_nan(y_true: NDArray[Any], y_pred: NDArray[Any]) -> float:
    """Return R², or NaN where it is not defined and `r2_score` warns, or returns 0 or 1."""
    if len(y_true) < 2 or np.ptp(y_true) == 0:
        return float("nan")
    return float(r2_score(y_true, y_pred))


def _ratio(spread: float, error: float) -> float:
    """Return a spread over an error, infinite over 0 and NaN where both are 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.float64(spread) / np.float64(error))


def _paired(y_true: ArrayLike, y_pred: ArrayLike, client_ids: Any = None) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return reference values and predictions as 1-D arrays of one length, whose rows go together."""
    check_same_rows(y_true=y_true, y_pred=y_pred, client_ids=client_ids)
    check_consistent_length(y_true, y_pred)
    return column_or_1d(y_true), column_or_1d(y_pred)
