"""What columns say: importances in the manner of VIP, and how a prediction moves with each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from skfdrmfl.common.arrays import Float, Indices
from skfdrmfl.common.threads import single_threaded
from skfdrmfl.data.axis import label_of
from skfdrmfl.data.modalities import features_of
from skfdrmfl.estimator._transformer import FDRMFLTransformer
from skfdrmfl.inspection._base import COLOURS, Display, checked_output, transformer_of


def positions_of(model: FDRMFLTransformer) -> tuple[Float, bool, str]:
    """Return where each column stands on an axis (p,), whether its name says so, and what the axis is called.

    The axis is `axis_` where all columns but those of labels have a place there. Else the columns stand one after
    another.
    """
    measured = features_of(model.n_features_in_, model._fitted.label_columns)
    named = model._fitted.column_names
    if named is None or named.axis is None or not np.isfinite(named.axis[measured]).all():
        return np.arange(model.n_features_in_, dtype=np.float64), False, "column"
    return named.axis, True, label_of(named.names[j] for j in measured.tolist())


def mean_jacobian(model: FDRMFLTransformer, X: Any) -> tuple[Float, Float]:
    """Return mean and deviation over rows of d y_hat / d x, each (q, n_features), in units of y per unit of x.

    Columns of categories have no derivative: NaN. A row that lacks a modality has derivatives of 0 there.
    """
    fitted = model._fitted
    table, present = model._read(X)
    with single_threaded():
        found = np.concatenate(list(fitted.jacobians(table, present)))
    mean, deviation = found.mean(0), found.std(0)
    discrete = list(fitted.network_spec.categories)
    mean[:, discrete] = deviation[:, discrete] = np.nan
    return mean, deviation


@dataclass(eq=False, repr=False)
class ImportanceDisplay(Display):
    """Importance of each column, scaled as VIP is: VIP_j = sqrt(p I_j^2 / sum_k I_k^2), whose mean square is 1.

    I is `feature_importances_`. As with the "variable importance in projection" of PLS (Wold, Johansson and Cocchi,
    1993), columns above 1 say more than the average one; the two are not the same quantity.

    Parameters
    ----------
    vip : ndarray of shape (n_features,)
    modalities : dict of str to ndarray of int
        Columns of each.
    positions : ndarray of shape (n_features,)
        Where columns stand on the axis: the numbers in their names, or their places.
    named : bool
        Whether `positions` are from the columns' names.
    names : list of str
    axis_name : str, default="column"
        What the axis is called, such as "wavelength, nm".
    """

    vip: Float
    modalities: dict[str, Indices]
    positions: Float
    named: bool
    names: list[str]
    axis_name: str = "column"

    @classmethod
    def from_estimator(cls, estimator: Any, **plot_kw: Any) -> ImportanceDisplay:
        """Draw the importances that a fit has left; no rows are needed."""
        model, _ = transformer_of(estimator)
        importances = model.feature_importances_
        measured = np.concatenate(list(model.modalities_.values()))  # and no labels
        length = np.sqrt(np.mean(importances[measured] ** 2))
        vip = importances / length if length > 0 else importances
        positions, named, axis_name = positions_of(model)
        columns = model._fitted.column_names
        names = list(map(str, range(model.n_features_in_) if columns is None else columns.names))
        return cls(vip, dict(model.modalities_), positions, named, names, axis_name).plot(**plot_kw)

    def plot(self, *, xlabel: str | None = None, ax: Any = None, **bar_kw: Any) -> ImportanceDisplay:
        """Draw them; without `xlabel` the axis says what the unit in the columns' names says, or "column"."""
        ax = self._begin(ax)
        apart = np.diff(np.unique(self.positions[~np.isnan(self.positions)]))
        width = 0.9 * float(apart.min()) if len(apart) else 0.9
        for i, (name, columns) in enumerate(self.modalities.items()):
            look = {"width": width, "color": COLOURS[i % len(COLOURS)], "label": name}
            ax.bar(self.positions[columns], self.vip[columns], **(look | bar_kw))
        ax.axhline(1.0, color="#333333", linewidth=0.8, linestyle="--")
        if len(self.modalities) > 1:
            ax.legend()
        if not self.named and len(self.names) <= 20:
            ax.set_xticks(self.positions, self.names, rotation=45, ha="right")
        ax.set(xlabel=xlabel or self.axis_name, ylabel="importance (mean square 1, as VIP)")
        return self


@dataclass(eq=False, repr=False)
class SensitivityDisplay(Display):
    """Mean derivative of the prediction by each column, with a band of one standard deviation over rows.

    Parameters
    ----------
    sensitivities, deviations : ndarray of shape (n_outputs, n_features)
        Mean and standard deviation over rows of d y_hat / d x, in units of y over units of x.
    exact : bool
        Whether the model is linear: then every row has the same derivative, the regression vector, and
        y_hat = x' sensitivities + `intercept` exactly.
    intercept : ndarray of shape (n_outputs,), or None
        Of the linear model.
    modalities, positions, named, axis_name
        As of `ImportanceDisplay`; each modality has a line of its own.
    """

    sensitivities: Float
    deviations: Float
    exact: bool
    intercept: Float | None
    modalities: dict[str, Indices]
    positions: Float
    named: bool
    axis_name: str = "column"

    @classmethod
    def from_estimator(cls, estimator: Any, X: Any, *, output: int = 0, **plot_kw: Any) -> SensitivityDisplay:
        """Draw the derivatives, by the columns that reach the transformer, averaged over the rows of X."""
        model, rows = transformer_of(estimator, X)
        mean, deviation = mean_jacobian(model, rows)
        checked_output(output, len(mean))
        intercept = None
        if model._fitted.is_linear:
            table, present = model._read(rows)
            if present is None or present.all():  # else rows differ by what they lack
                y_hat = np.asarray(model.predict(rows), dtype=np.float64).reshape(len(table), -1)
                intercept = y_hat[0] - mean @ table[0].astype(np.float64)
        positions, named, axis_name = positions_of(model)
        modalities, exact = dict(model.modalities_), intercept is not None
        display = cls(mean, deviation, exact, intercept, modalities, positions, named, axis_name)
        return display.plot(output=output, **plot_kw)

    def plot(self, *, output: int = 0, xlabel: str | None = None, ax: Any = None, **line_kw: Any) -> SensitivityDisplay:
        """Draw them; without `xlabel` the axis says what the unit in the columns' names says, or "column"."""
        ax = self._begin(ax)
        ax.axhline(0.0, color="#999999", linewidth=0.8)
        for i, (name, columns) in enumerate(self.modalities.items()):
            mine = columns[np.argsort(self.positions[columns], kind="stable")]
            x, y, band = self.positions[mine], self.sensitivities[output, mine], self.deviations[output, mine]
            colour = COLOURS[i % len(COLOURS)]
            ax.plot(x, y, **({"color": colour, "label": name} | line_kw))
            if not self.exact:
                ax.fill_between(x, y - band, y + band, color=colour, alpha=0.2, linewidth=0)
        if len(self.modalities) > 1:
            ax.legend()
        what = "regression coefficient" if self.exact else "mean d ŷ / d x"
        ax.set(xlabel=xlabel or self.axis_name, ylabel=f"{what} (units of y per unit of x)")
        return self
