"""Unusual rows: Hotelling's T² within Z against Q residuals outside it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import chi2, f

from skfdrmfl.common.arrays import Float
from skfdrmfl.estimator._transformer import FDRMFLTransformer
from skfdrmfl.inspection._base import Display, by_client, encoder_inputs, transformer_of

# Components with less variance than this, relative to the first, are noise of rounding and do not count in T².
SMALLEST_VARIANCE = 1e-12


def t_squared_limit(n: int, c: int, level: float) -> float:
    """Return the limit of T² for new rows, c (n^2 - 1) / (n (n - c)) F_{c, n - c}(level), with n training rows.

    T. Kourti and J. F. MacGregor, Chemometrics and Intelligent Laboratory Systems 28 (1995) 3-21; infinite for n <= c.
    """
    return float(c * (n**2 - 1) / (n * (n - c)) * f.ppf(level, c, n - c)) if n > c else float("inf")


def q_limit(q: Float, level: float) -> float:
    """Return the limit of Q by matching moments of reference values q (m,): g chi2_h, g = s^2 / 2 m, h = 2 m^2 / s^2.

    G. E. P. Box, Annals of Mathematical Statistics 25 (1954) 290-302; P. Nomikos and J. F. MacGregor, Technometrics 37
    (1995) 41-59.
    """
    mean, variance = float(q.mean()), float(q.var(ddof=1)) if len(q) > 1 else 0.0
    if mean <= 0 or variance <= 0:
        return mean
    return float(variance / (2 * mean) * chi2.ppf(level, 2 * mean**2 / variance))


def residuals(u: Float, z: Float, reference_u: Float, reference_z: Float) -> Float:
    """Return Q (n,) = |u - (a + z B)|^2, with a and B the least-squares regression of reference inputs on their Z.

    `u` (n, e) and `z` (n, c) are inputs and Z of rows, those of reference rows have m rows.
    """
    design = np.column_stack([np.ones(len(reference_z)), reference_z])
    coefficients, *_ = np.linalg.lstsq(design, reference_u, rcond=None)
    return ((u - np.column_stack([np.ones(len(z)), z]) @ coefficients) ** 2).sum(1)


class OutlierDisplay(Display):
    """Hotelling's T² against Q residuals, with limits.

    Rows beyond the limit of T² are extreme in what the model uses; rows beyond that of Q hold what others do not.
    Q is taken in the space that encoders read, whitened or standardised, of numeric columns: the squared distance of a
    row from what its Z tells of it, by the least-squares regression on Z of reference rows. Z is no projection of X, so
    there are no residuals of a decomposition as in PCA; this is the linear reconstruction closest to one.

    Parameters
    ----------
    t2, q : ndarray of shape (n,)
    t2_limit, q_limit : float
    clients : dict of label to ndarray of bool of shape (n,)
        Rows of each client; the label None holds all.
    """

    def __init__(self, t2: Float, q: Float, t2_limit: float, q_limit: float, clients: dict[Any, NDArray[np.bool_]]):
        self.t2, self.q, self.t2_limit, self.q_limit, self.clients = t2, q, t2_limit, q_limit, clients

    @property
    def outliers(self) -> NDArray[np.int64]:
        """Rows beyond either limit."""
        return np.flatnonzero((self.t2 > self.t2_limit) | (self.q > self.q_limit))

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        reference: Any = None,
        client_ids: ArrayLike | None = None,
        level: float = 0.95,
        ax: Any = None,
        **scatter_kw: Any,
    ) -> OutlierDisplay:
        """Draw where rows stand.

        Parameters
        ----------
        estimator : fitted FDRMFLTransformer, or Pipeline with one
        X : array-like of shape (n, n_features)
        reference : array-like of shape (m, n_features), default=None
            Rows that Q is calibrated on, such as the training rows; None: X itself. They are read here, in one place:
            a client has only its own.
        client_ids : array-like of shape (n,), default=None
            Clients of the rows of X.
        level : float in (0, 1), default=0.95
            Share of usual rows within each limit.
        ax : matplotlib Axes, default=None
        **scatter_kw
            Passed to `Axes.scatter`.

        Raises
        ------
        ValueError
            The model has no numeric columns.
        AttributeError
            With privacy: variances of Z are not known.
        """
        model, rows = transformer_of(estimator, X, client_ids=client_ids)
        u, z = _inputs_and_scores(model, rows)
        usual = u, z
        if reference is not None:
            usual = _inputs_and_scores(model, transformer_of(estimator, reference)[1])
        n = int(model.n_samples_per_client_.sum())  # AttributeError with privacy, where no variance is known either
        variance, axes = model._fitted.principal_axes
        counted = variance > SMALLEST_VARIANCE * max(variance.max(initial=0.0), 1e-300)
        display = cls(
            ((z @ axes[:, counted]) ** 2 / variance[counted]).sum(1),
            residuals(u, z, *usual),
            t_squared_limit(n, max(int(counted.sum()), 1), level),
            q_limit(residuals(*usual, *usual), level),
            by_client(client_ids, len(z)),
        )
        return display.plot(ax=ax, **scatter_kw)

    def plot(self, *, ax: Any = None, **scatter_kw: Any) -> OutlierDisplay:
        """Draw them."""
        ax = self._begin(ax)
        self._scatter(np.column_stack([self.t2, self.q]), self.clients, scatter_kw)
        if np.isfinite(self.t2_limit):
            ax.axvline(self.t2_limit, color="#333333", linewidth=0.8, linestyle="--")
        ax.axhline(self.q_limit, color="#333333", linewidth=0.8, linestyle="--")
        ax.set(xlabel="Hotelling's T²", ylabel="Q residual (space of encoder inputs)")
        return self


def _inputs_and_scores(model: FDRMFLTransformer, X: Any) -> tuple[Float, Float]:
    """Return numeric encoder inputs (n, e) and Z (n, c) of rows."""
    x, _ = encoder_inputs(model, X)
    network = model._fitted.network
    numeric = np.ones(x.shape[1], dtype=bool)
    codes = {} if model._fitted.mixture is not None else network.encoders  # the mixture's are numbers
    for name, encoder in codes.items():
        start = network.columns[name].start
        numeric[start : start + len(encoder.code_sizes)] = False
    if not numeric.any():
        raise ValueError("the model reads categories alone, which have no residuals; use ScoresDisplay.")
    return x[:, numeric], np.asarray(model._evaluate(X)[0], dtype=np.float64)
