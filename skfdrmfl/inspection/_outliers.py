"""Unusual rows: Hotelling's T² along the axes of the training rows against Q residuals off them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skfdrmfl.common.arrays import Float
from skfdrmfl.fit.judgement import domain_of
from skfdrmfl.inspection._base import Display, by_client, transformer_of


class OutlierDisplay(Display):
    """Hotelling's T² against Q residuals, each over its limit: those of `FDRMFLTransformer.domain`.

    Rows beyond the limit of T² are extreme along the axes of the training rows; rows beyond that of Q hold what these
    do not. Of several modalities a row's are those of the modality in which it is farthest out.

    Parameters
    ----------
    t2, q : ndarray of shape (n,)
    t2_limit, q_limit : float or ndarray of shape (n,)
    clients : dict of label to ndarray of bool of shape (n,)
        Rows of each client; the label None holds all.
    """

    def __init__(
        self,
        t2: Float,
        q: Float,
        t2_limit: float | Float,
        q_limit: float | Float,
        clients: dict[Any, NDArray[np.bool_]],
    ):
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
            The model has no numeric columns, or no domain.
        """
        model, rows = transformer_of(estimator, X)
        table = model.domain(rows, level)
        if not any(map(len, domain_of(model._fitted).columns.values())):
            raise ValueError("the model reads categories alone, which have no residuals; use ScoresDisplay.")
        clients = by_client(client_ids, len(table["T2"]))
        t2_limit, q_limit = _one(table["T2_limit"]), _one(table["Q_limit"])
        return cls(table["T2"], table["Q"], t2_limit, q_limit, clients).plot(ax=ax, **scatter_kw)

    def plot(self, *, ax: Any = None, **scatter_kw: Any) -> OutlierDisplay:
        """Draw them; values over their limits where these are not the same for all rows."""
        ax = self._begin(ax)
        limits, over = (self.t2_limit, self.q_limit), ""
        t2, q = self.t2, self.q
        if any(np.ndim(limit) for limit in limits):
            t2, q = (v / np.where(limit > 0, limit, 1.0) for v, limit in zip((t2, q), limits, strict=True))
            limits, over = (1.0, 1.0), " over its limit"
        self._scatter(np.column_stack([t2, q]), self.clients, scatter_kw)
        if np.isfinite(limits[0]):
            ax.axvline(limits[0], color="#333333", linewidth=0.8, linestyle="--")
        ax.axhline(limits[1], color="#333333", linewidth=0.8, linestyle="--")
        ax.set(xlabel=f"Hotelling's T²{over}", ylabel=f"Q residual{over}")
        return self


def _one(limits: Float) -> float | Float:
    """Return the limit of all rows, or of each where there are several."""
    return float(limits[0]) if len(limits) and (limits == limits[0]).all() else limits
