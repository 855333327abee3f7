"""Predictions of rows beside their measured values: one against the other, errors and intervals by client."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skfdrmfl.common.arrays import Float
from skfdrmfl.data.row_names import check_same_rows
from skfdrmfl.inspection._base import COLOURS, Display, by_client, checked_output, transformer_of
from skfdrmfl.metrics import ChemometricReport, chemometric_report, systematic_error


def column_of(values: Any, output: int) -> Float:
    """Return one output (n,) of y or of predictions; what has no columns is that output already."""
    array = np.asarray(values, dtype=np.float64)
    return array if array.ndim == 1 else array[:, checked_output(output, array.shape[1], "y")]


@dataclass(eq=False, repr=False)
class _OfPredictions:
    """What Displays of predictions hold."""

    y_true: Float
    y_pred: Float
    clients: dict[Any, NDArray[np.bool_]]
    report: ChemometricReport

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, y: ArrayLike, client_ids: ArrayLike | None = None, **kwargs: Any
    ) -> Any:
        """Draw any regressor's predictions of rows, best such that it was not fitted to, by `from_predictions`."""
        check_same_rows(X=X, y=y, client_ids=client_ids)
        return cls.from_predictions(y, estimator.predict(X), client_ids, **kwargs)

    @classmethod
    def from_predictions(
        cls,
        y_true: ArrayLike,
        y_pred: ArrayLike,
        client_ids: ArrayLike | None = None,
        *,
        output: int = 0,
        **plot_kw: Any,
    ) -> Any:
        """Draw given predictions, such as those of `cross_val_predict`, beside measured values, both of one shape."""
        check_same_rows(y_true=y_true, y_pred=y_pred, client_ids=client_ids)
        y_true, y_pred = column_of(y_true, output), column_of(y_pred, output)
        report = chemometric_report(y_true, y_pred, client_ids)
        return cls(y_true, y_pred, by_client(client_ids, len(y_true)), report).plot(**plot_kw)  # type: ignore


class PredictedMeasuredDisplay(_OfPredictions, Display):
    """Predictions against measured values, by client, with the line on which they agree.

    Parameters
    ----------
    y_true, y_pred : ndarray of shape (n,)
    clients : dict of label to ndarray of bool of shape (n,)
        Rows of each client; the label None holds all.
    report : ChemometricReport
        Measures of all rows and of each client's.
    """

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


class ClientErrorsDisplay(_OfPredictions, Display):
    """A box of each client's errors (predicted less measured), its RMSE above it, of a `PredictedMeasuredDisplay`.

    Attributes
    ----------
    errors : dict of label to ndarray
        Errors of each client's rows.
    """

    @property
    def errors(self) -> dict[Any, Float]:
        """Errors of each client's rows."""
        return {label: (self.y_pred - self.y_true)[mine] for label, mine in self.clients.items()}

    def plot(self, *, ax: Any = None, **box_kw: Any) -> ClientErrorsDisplay:
        """Draw them."""
        ax = self._begin(ax)
        places = np.arange(len(self.errors))
        ax.axhline(0.0, color="#999999", linewidth=0.8)
        boxes = ax.boxplot(list(self.errors.values()), **({"positions": places, "patch_artist": True} | box_kw))
        for i, box in enumerate(boxes["boxes"]):
            box.set(facecolor=COLOURS[i % len(COLOURS)], alpha=0.5)
        labels = [f"{row['client']}\nn {row['n']}\nRMSE {row['rmse']:.3g}" for row in self.report[1:] or self.report]
        ax.set_xticks(places, labels)
        ax.set(xlabel="client", ylabel="predicted less measured")
        return self


@dataclass(eq=False, repr=False)
class CoverageDisplay(Display):
    """A bar for each client: the share of its rows whose y lies in the interval, beside the confidence asked for.

    Parameters
    ----------
    coverage : dict of label to float
        Of each client; of a label None all rows.
    n_rows : dict of label to int
    confidence : float
    """

    coverage: dict[Any, float]
    n_rows: dict[Any, int]
    confidence: float

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
        **plot_kw: Any,
    ) -> CoverageDisplay:
        """Draw the coverage of an FDRMFLTransformer's intervals, each client's own, of rows that it has not seen."""
        model, rows = transformer_of(estimator, X, y=y, client_ids=client_ids)
        ends = np.asarray(model.predict_interval(rows, confidence, client_ids=client_ids))
        ends = ends if ends.ndim == 2 else ends[:, output]
        y = column_of(y, output)
        inside = (ends[:, 0] <= y) & (y <= ends[:, 1])
        clients = by_client(client_ids, len(y))
        coverage = {label: float(inside[mine].mean()) for label, mine in clients.items()}
        n_rows = {label: int(mine.sum()) for label, mine in clients.items()}
        return cls(coverage, n_rows, confidence).plot(**plot_kw)

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
