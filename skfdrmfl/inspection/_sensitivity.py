"""What moves a prediction, column by column: mean input Jacobian, regression vector."""

from __future__ import annotations

from typing import Any

import numpy as np

from skfdrmfl.common.arrays import Float, Indices
from skfdrmfl.common.threads import single_threaded
from skfdrmfl.estimator._transformer import FDRMFLTransformer
from skfdrmfl.inspection._base import COLOURS, Display, checked_output, positions_of, transformer_of


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
    modalities : dict of str to ndarray of int
        Columns of each; each has a line of its own.
    positions : ndarray of shape (n_features,)
        Where columns stand on the axis: the numbers in their names, or their places.
    named : bool
        Whether `positions` are from names.
    axis_name : str, default="column"
        What the axis is called, such as "wavelength, nm".
    """

    def __init__(
        self,
        sensitivities: Float,
        deviations: Float,
        *,
        exact: bool,
        intercept: Float | None,
        modalities: dict[str, Indices],
        positions: Float,
        named: bool,
        axis_name: str = "column",
    ):
        self.sensitivities, self.deviations, self.exact, self.intercept = sensitivities, deviations, exact, intercept
        self.modalities, self.positions, self.named, self.axis_name = modalities, positions, named, axis_name

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, *, output: int = 0, xlabel: str | None = None, ax: Any = None, **line_kw: Any
    ) -> SensitivityDisplay:
        """Draw the sensitivities of a model's predictions on rows.

        Parameters
        ----------
        estimator : fitted FDRMFLTransformer, or Pipeline with one
            Derivatives are by the columns that reach the transformer.
        X : array-like of shape (n, n_features)
            Rows over which the derivatives are averaged.
        output : int, default=0
            Which y.
        xlabel : str, default=None
            None says "wavelength", or what the unit in the names says, where all names of columns are on an axis
            (`axis_`), else "column".
        ax : matplotlib Axes, default=None
        **line_kw
            Passed to `Axes.plot`.
        """
        model, rows = transformer_of(estimator, X)
        mean, deviation = mean_jacobian(model, rows)
        checked_output(output, len(mean))
        exact = model._fitted.is_linear
        intercept = None
        if exact:
            table, present = model._read(rows)
            whole = np.ones(len(table), dtype=bool) if present is None else present.all(1)
            exact = bool(whole.all())
            if exact:
                y_hat = np.asarray(model.predict(rows), dtype=np.float64).reshape(len(table), -1)
                intercept = y_hat[0] - mean @ table[0].astype(np.float64)
        positions, named, axis_name = positions_of(model)
        display = cls(
            mean,
            deviation,
            exact=exact,
            intercept=intercept,
            modalities=dict(model.modalities_),
            positions=positions,
            named=named,
            axis_name=axis_name,
        )
        return display.plot(output=output, xlabel=xlabel, ax=ax, **line_kw)

    def plot(self, *, output: int = 0, xlabel: str | None = None, ax: Any = None, **line_kw: Any) -> SensitivityDisplay:
        """Draw them; arguments are those of `from_estimator`."""
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
        label = xlabel or self.axis_name
        what = "regression coefficient" if self.exact else "mean d ŷ / d x"
        ax.set(xlabel=label, ylabel=f"{what} (units of y per unit of x)")
        return self
