"""Errors, client by client."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from skfdrmfl.common.arrays import Float
from skfdrmfl.data.row_names import check_same_rows
from skfdrmfl.inspection._base import COLOURS, Display, by_client
from skfdrmfl.inspection._predictions import column_of
from skfdrmfl.metrics import chemometric_report


class ClientErrorsDisplay(Display):
    """A box of each client's errors (predicted less measured), its RMSE above it.

    Parameters
    ----------
    errors : dict of label to ndarray
        Errors of each client's rows.
    report : ChemometricReport
        Measures of all rows, then of each client's.
    """

    def __init__(self, errors: dict[Any, Float], report: Any):
        self.errors, self.report = errors, report

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: ArrayLike,
        client_ids: ArrayLike,
        *,
        output: int = 0,
        ax: Any = None,
        **box_kw: Any,
    ) -> ClientErrorsDisplay:
        """Draw any regressor's errors on rows.

        Parameters
        ----------
        estimator : fitted regressor
        X, y, client_ids : array-like
            Rows, best such that the estimator was not fitted to, their measured values and clients.
        output : int, default=0
            Which y.
        ax : matplotlib Axes, default=None
        **box_kw
            Passed to `Axes.boxplot`.
        """
        check_same_rows(X=X, y=y, client_ids=client_ids)
        return cls.from_predictions(y, estimator.predict(X), client_ids, output=output, ax=ax, **box_kw)

    @classmethod
    def from_predictions(
        cls,
        y_true: ArrayLike,
        y_pred: ArrayLike,
        client_ids: ArrayLike,
        *,
        output: int = 0,
        ax: Any = None,
        **box_kw: Any,
    ) -> ClientErrorsDisplay:
        """Draw the errors of given predictions; parameters as of `from_estimator`."""
        check_same_rows(y_true=y_true, y_pred=y_pred, client_ids=client_ids)
        y_true, y_pred = column_of(y_true, output), column_of(y_pred, output)
        error = y_pred - y_true
        errors = {label: error[mine] for label, mine in by_client(client_ids, len(error)).items()}
        return cls(errors, chemometric_report(y_true, y_pred, client_ids)).plot(ax=ax, **box_kw)

    def plot(self, *, ax: Any = None, **box_kw: Any) -> ClientErrorsDisplay:
        """Draw them."""
        ax = self._begin(ax)
        places = np.arange(len(self.errors))
        ax.axhline(0.0, color="#999999", linewidth=0.8)
        boxes = ax.boxplot(list(self.errors.values()), **({"positions": places, "patch_artist": True} | box_kw))
        for i, box in enumerate(boxes["boxes"]):
            box.set(facecolor=COLOURS[i % len(COLOURS)], alpha=0.5)
        labels = [f"{row['client']}\nn {row['n']}\nRMSE {row['rmse']:.3g}" for row in self.report[1:]]
        ax.set_xticks(places, labels)
        ax.set(xlabel="client", ylabel="predicted less measured")
        return self
