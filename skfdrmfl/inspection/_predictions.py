"""Predicted against measured."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skfdrmfl.common.arrays import Float
from skfdrmfl.data.row_names import check_same_rows
from skfdrmfl.inspection._base import Display, by_client, checked_output
from skfdrmfl.metrics import chemometric_report, systematic_error


def column_of(values: Any, output: int) -> Float:
    """Return one output (n,) of y or of predictions; what has no columns is that output already."""
    array = np.asarray(values, dtype=np.float64)
    return array if array.ndim == 1 else array[:, checked_output(output, array.shape[1], "y")]


class PredictedMeasuredDisplay(Display):
    """Predictions against measured values, by client, with the line on which they agree.

    Parameters
    ----------
    y_true, y_pred : ndarray of shape (n,)
    clients : dict of label to ndarray of bool of shape (n,)
        Rows of each client; the label None holds all.
    report : ChemometricReport
        Measures of all rows and of each client's.
    """

    def __init__(self, y_true: Float, y_pred: Float, clients: dict[Any, NDArray[np.bool_]], report: Any):
        self.y_true, self.y_pred, self.clients, self.report = y_true, y_pred, clients, report

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: ArrayLike,
        *,
        client_ids: ArrayLike | None = None,
        output: int = 0,
        ax: Any = None,
        **scatter_kw: Any,
    ) -> PredictedMeasuredDisplay:
        """Draw any regressor's predictions of rows.

        Parameters
        ----------
        estimator : fitted regressor
        X, y : array-like
            Rows, best such that the estimator was not fitted to, and their measured values.
        client_ids : array-like of shape (n,), default=None
        output : int, default=0
            Which y.
        ax : matplotlib Axes, default=None
        **scatter_kw
            Passed to `Axes.scatter`.
        """
        check_same_rows(X=X, y=y, client_ids=client_ids)
        y_pred = estimator.predict(X)
        return cls.from_predictions(y, y_pred, client_ids=client_ids, output=output, ax=ax, **scatter_kw)

    @classmethod
    def from_predictions(
        cls,
        y_true: ArrayLike,
        y_pred: ArrayLike,
        *,
        client_ids: ArrayLike | None = None,
        output: int = 0,
        ax: Any = None,
        **scatter_kw: Any,
    ) -> PredictedMeasuredDisplay:
        """Draw given predictions, such as those of `cross_val_predict`; parameters as of `from_estimator`."""
        check_same_rows(y_true=y_true, y_pred=y_pred, client_ids=client_ids)
        y_true, y_pred = column_of(y_true, output), column_of(y_pred, output)
        report = chemometric_report(y_true, y_pred, client_ids)
        return cls(y_true, y_pred, by_client(client_ids, len(y_true)), report).plot(ax=ax, **scatter_kw)

    def plot(self, *, ax: Any = None, **scatter_kw: Any) -> PredictedMeasuredDisplay:
        """Draw them."""
        ax = self._begin(ax)
        ends = [min(self.y_true.min(), self.y_pred.min()), max(self.y_true.max(), self.y_pred.max())]
        ax.plot(ends, ends, color="#333333", linewidth=1)
        self._scatter(np.column_stack([self.y_true, self.y_pred]), self.clients, scatter_kw, legend="lower right")
        rows = self.report[0]
        wrong = systematic_error(self.y_true, self.y_pred)
        text = f"RMSE {rows['rmse']:.3g}\nbias {rows['bias']:.3g}\nRPD {rows['rpd_sep']:.3g} (on SEP)"
        if wrong.remedy:
            text += f"\n{wrong}:\nadapt the model"
        ax.text(0.03, 0.97, text, transform=ax.transAxes, va="top")
        ax.set(xlabel="measured", ylabel="predicted")
        return self
