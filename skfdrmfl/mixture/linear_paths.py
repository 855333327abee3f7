"""Ridge and PLS for a whole path of penalties or components, from moments alone, for many sets of rows at once.

Both are the ones of the pooled rows, and both follow an orthogonal change of coordinates: rows that span few directions
(`in_range`) cost what those directions cost.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.linalg import lapack

from skfdrmfl.common.arrays import Float, Indices
from skfdrmfl.mixture.moments import EPSILON, Moments

# Coefficients (P, ..., p, q) and intercepts (P, ..., q) of P models for each set of rows.
Path = tuple[Float, Float]

# Shares of the covariance of x and y, and of the variance of y, that are taken for rounding.
ROUNDING = 1e-13


def ridge_path(moments: Moments, penalties: Sequence[float]) -> Path:
    """Return the minimisers of sum (y - x'b - b_0)^2 + penalty n ev_1 |b|^2 for each penalty (Hoerl and Kennard 1970).

    ev_1 is the largest eigenvalue of the set's own covariances. Directions whose variance is rounding get no
    coefficient, so a penalty of 0 gives the shortest least squares solution; infinity gives the mean.
    """
    cxx, cxy, _ = moments.covariances()
    values, axes = np.linalg.eigh(cxx)
    top = values[..., -1:].clip(min=0.0)
    projected = np.swapaxes(axes, -1, -2) @ cxy
    per_value = np.zeros((len(penalties), *values.shape))
    sound = values > values.shape[-1] * EPSILON * np.maximum(top, _squares(moments).max(-1, initial=0.0)[..., None])
    for inverses, penalty in zip(per_value, penalties, strict=True):
        if np.isfinite(penalty):
            np.divide(1.0, values + penalty * top, out=inverses, where=sound)
    shrunk = np.moveaxis(per_value, 0, -1)[..., None] * projected[..., None, :]  # (..., r, P, q)
    b = axes @ shrunk.reshape(*shrunk.shape[:-2], shrunk.shape[-2] * shrunk.shape[-1])
    return _with_intercept(moments, np.moveaxis(b.reshape(shrunk.shape), -2, 0))


def pls_path(moments: Moments, n_components: int) -> Path:
    """Return PLS1 of each output by itself with 1 to A components (Dayal and MacGregor 1997, algorithm 2).

    X'X is never deflated; X'y is, by what each component explains. A set and output stops where nothing is left to
    explain: at p components, at n - 1, or where a component is rounding. Its further models are then the last sound
    one, or the mean where y or x is constant.

    References
    ----------
    B. S. Dayal and J. F. MacGregor, Improved PLS algorithms, Journal of Chemometrics 11 (1997) 73-85.
    """
    xx, xy, yy = moments.covariances()
    c = np.ascontiguousarray(np.swapaxes(xy, -1, -2))  # X'y / n, deflated, of each output (..., q, p)
    b = np.zeros((n_components, *c.shape))
    R, P = (np.zeros((*c.shape[:-1], n_components, c.shape[-1])) for _ in range(2))
    power = _squares(moments).sum(-1)[..., None]
    y_power = np.diagonal(moments.yy, axis1=-2, axis2=-1) * moments.per_row[..., None]
    smallest = ROUNDING * np.sqrt(power * y_power)
    left = np.diagonal(yy, axis1=-2, axis2=-1)  # variance of y
    goes_on = np.ones(left.shape, dtype=bool)
    last = min(n_components, c.shape[-1])
    for a in range(last):
        norm = np.linalg.norm(c, axis=-1)
        goes_on &= (norm > smallest) & (a < moments.n[..., None] - 1)
        r = w = _over(c, norm, goes_on)
        if a:
            along = np.matmul(P[..., :a, :], w[..., None])  # (..., q, a, 1)
            r = w - np.matmul(np.swapaxes(along, -1, -2), R[..., :a, :])[..., 0, :]
        p = r @ xx
        tt = (p * r).sum(-1)  # t't / n
        goes_on &= tt > EPSILON * power * np.square(r).sum(-1)
        p = _over(p, tt, goes_on)
        rc = (r * c).sum(-1)
        q = _over(rc[..., None], tt, goes_on)
        explained = q[..., 0] * rc
        goes_on &= explained <= left + ROUNDING * y_power
        q[~goes_on] = 0.0
        left = left - np.where(goes_on, explained, 0.0)
        c = c - p * q * tt[..., None]
        R[..., a, :], P[..., a, :] = r, p
        b[a] = b[a - 1] + q * r
    b[last:] = b[last - 1]
    return _with_intercept(moments, np.swapaxes(b, -1, -2))


def best_of_path(path: Path, held_out: Moments) -> tuple[Indices, Float]:
    """Return which model of a path errs least over all folds (..., q), and the squared errors of each (P, ..., q).

    The path is of `Moments.kept` (..., K + 1) of the rows `held_out` (..., K).
    """
    coefficients, intercept = path
    errors = held_out.squared_errors(coefficients[..., :-1, :, :], intercept[..., :-1, :]).sum(-2)
    return errors.argmin(0), errors


def in_range(moments: Moments) -> tuple[Moments, Float]:
    """Return the moments of A'x, and the orthonormal axes A (p, r) of the directions that any of the rows takes.

    Coefficients of x are A times those of A'x, and paths stay the same. The axes span the columns of a pivoted Cholesky
    factor of all sets' products together, which ends where what is left is rounding (Higham 1990).
    """
    total = moments.xx.reshape(-1, *moments.xx.shape[-2:]).sum(0)
    factor, pivots, rank, _ = lapack.dpstrf(total, lower=1)
    rows = np.tril(factor)[:, :rank]
    axes, _ = np.linalg.qr(rows[np.argsort(pivots)])
    return moments.through(np.ascontiguousarray(axes.T)), axes


def _with_intercept(moments: Moments, b: Float) -> Path:
    """Return coefficients (P, ..., p, q) with the intercepts that put the mean on the mean."""
    return b, moments.mean_y - (moments.mean_x[..., None] * b).sum(-2)


def _squares(moments: Moments) -> Float:
    """Return the mean squares of x (..., p), about the common centre: what rounding is measured by."""
    return np.diagonal(moments.xx, axis1=-2, axis2=-1) * moments.per_row[..., None]


def _over(values: Float, divisor: Float, where: np.ndarray) -> Float:
    """Return values (..., q, p) over divisors (..., q), 0 for outputs that do not go on."""
    return np.divide(values, divisor[..., None], out=np.zeros_like(values), where=where[..., None])
