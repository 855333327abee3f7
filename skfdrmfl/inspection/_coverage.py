"""Which share of measured values lies in their intervals, client by client."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from skfdrmfl.common.arrays import Float
from skfdrmfl.data.row_names import check_same_rows
from skfdrmfl.inspection._base import COLOURS, Display, by_client
from skfdrmfl.inspection._predictions import column_of


class CoverageDisplay(Display):
    """A bar for each client: the share of its rows whose y lies in the interval, beside the confidence asked for.

    Parameters
    ----------
    coverage : dict of label to float
        Of each client; of a label None all rows.
    n_rows : dict of label to int
    confidence : float
    median_width : float
        Of all intervals, in the units of y.
    """

    def __init__(self, coverage: dict[Any, float], n_rows: dict[Any, int], confidence: float, median_width: float):
        self.coverage, self.n_rows = coverage, n_rows
        self.confidence, self.median_width = confidence, median_width

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: ArrayLike,
        *,
        client_ids: ArrayLike | None = None,
        confidence: float = 0.9,
        output: int = 0,
        ax: Any = None,
        **bar_kw: Any,
    ) -> CoverageDisplay:
        """Draw the coverage of a fitted FDRMFLTransformer's intervals.

        Parameters
        ----------
        estimator : fitted FDRMFLTransformer
        X, y : array-like
            Rows that the estimator was not fitted to, and their measured values.
        client_ids : array-like of shape (n,), default=None
            Clients of the rows: the intervals are each client's own.
        confidence : float in (0, 1), default=0.9
        output : int, default=0
            Which y.
        ax : matplotlib Axes, default=None
        **bar_kw
            Passed to `Axes.bar`.
        """
        check_same_rows(X=X, y=y, client_ids=client_ids)
        ends = np.asarray(estimator.predict_interval(X, confidence, client_ids=client_ids))
        ends = ends if ends.ndim == 2 else ends[:, output]
        return cls.from_intervals(column_of(y, output), ends, confidence, client_ids=client_ids, ax=ax, **bar_kw)

    @classmethod
    def from_intervals(
        cls,
        y: ArrayLike,
        ends: Float,
        confidence: float,
        *,
        client_ids: ArrayLike | None = None,
        ax: Any = None,
        **bar_kw: Any,
    ) -> CoverageDisplay:
        """Draw the coverage of given intervals `ends` (n, 2) of y (n,), whoever made them."""
        y = np.asarray(y, dtype=np.float64)
        inside = (ends[:, 0] <= y) & (y <= ends[:, 1])
        clients = by_client(client_ids, len(y))
        coverage = {label: float(inside[mine].mean()) for label, mine in clients.items()}
        n_rows = {label: int(mine.sum()) for label, mine in clients.items()}
        width = float(np.median(ends[:, 1] - ends[:, 0]))
        return cls(coverage, n_rows, confidence, width).plot(ax=ax, **bar_kw)

    def plot(self, *, ax: Any = None, **bar_kw: Any) -> CoverageDisplay:
        """Draw it, with the confidence as a line and, above each bar, the share."""
        ax = self._begin(ax)
        places = np.arange(len(self.coverage))
        colours = [COLOURS[i % len(COLOURS)] for i in range(len(places))]
        bars = ax.bar(places, list(self.coverage.values()), **({"color": colours, "alpha": 0.6} | bar_kw))
        ax.bar_label(bars, fmt="%.2f")
        ax.axhline(self.confidence, color="#333333", linewidth=0.8, linestyle="--")
        ax.set_xticks(places, [f"{'all' if label is None else label}\nn {n}" for label, n in self.n_rows.items()])
        ax.set(xlabel="client", ylabel=f"share within intervals (confidence {self.confidence:g})", ylim=(0, 1.08))
        return self
