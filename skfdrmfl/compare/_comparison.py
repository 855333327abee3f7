"""The outcome of a comparison: the measures of each method, as text, as JSON and as a figure."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from skfdrmfl.compare._result import MethodResult
from skfdrmfl.compare._table import spread, table_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray


MEAN = "mean predictor"
FEDERATED = "FDRMFL"
HEAD = "FDRMFL, y_hat only"
CENTRAL = "FDRMFL, central"
ALONE = "FDRMFL, each client alone"
DRAWN = ("PCA", "PLS", "PLS, 16 components", FEDERATED)  # by `plot`, unless it is told otherwise


@dataclass(frozen=True, eq=False)
class Comparison:
    """The outcome of :func:`compare`: a result for each method, and what is needed to draw or recompute it.

    Attributes
    ----------
    methods : tuple of MethodResult
        In the order of the table, the mean predictor first.
    measured : ndarray of shape (n_samples,)
        The reference values y.
    client_ids : ndarray of shape (n_seeds, n_samples)
        The client of each row, seed by seed.
    fold : ndarray of shape (n_samples,)
        The fold in which each row was predicted.
    settings : dict
        The arguments of the comparison, as plain values.
    """

    methods: tuple[MethodResult, ...]
    measured: NDArray[np.float64]
    client_ids: NDArray[Any]
    fold: NDArray[np.intp]
    settings: dict[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> MethodResult:
        """Return the result of the method with this name."""
        for method in self.methods:
            if method.name == name:
                return method
        names = ", ".join(repr(method.name) for method in self.methods)
        raise KeyError(f"There is no method {name!r}; choose from {names}.")

    def to_table(self) -> str:
        """Return the table as text: RMSE, R², RPD, seconds of a fit, and R² per client.

        Returns
        -------
        str
            Lines without a trailing newline.
        """
        return "\n".join([table_text(self.methods), "", *self._footnotes()])

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain Python values that :mod:`json` can write; NaN becomes None.

        Returns
        -------
        dict
            With `settings`, `methods`, `measured`, `client_ids` and `fold`.
        """
        return {
            "settings": self.settings,
            "methods": [
                {
                    "name": method.name,
                    **{
                        name: {
                            "mean": _number(runs.mean()),
                            "sd": _number(spread(runs)),
                            "runs": _numbers(runs),
                        }
                        for name, runs in (("rmse", method.rmse), ("r2", method.r2), ("rpd", method.rpd))
                    },
                    "fit_seconds": _number(method.fit_seconds),
                    "client_r2": {str(client): _number(r2) for client, r2 in method.client_r2.items()},
                    "predicted": [_numbers(run) for run in method.predicted],
                }
                for method in self.methods
            ],
            "measured": _numbers(self.measured),
            "client_ids": _plain(self.client_ids).tolist(),
            "fold": self.fold.tolist(),
        }

    def to_json(self) -> str:
        """Return what :meth:`to_dict` returns as JSON text that ends in a newline.

        Returns
        -------
        str
        """
        return json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False) + "\n"

    def plot(self, *, names: list[str] | None = None, title: str = "", unit: str = "") -> Figure:
        """Draw out-of-fold predictions against measured values, a panel a method, under the first seed.

        Of a method with one model a client, the predictions of the first client's model are drawn.

        Parameters
        ----------
        names : list of str, default=None
            Methods to draw. None draws PCA, PLS, PLS with more components and FDRMFL, as far as they were compared.
        title : str, default=""
            A line above the panels.
        unit : str, default=""
            Unit of y, for the axes.

        Returns
        -------
        matplotlib.figure.Figure
            The figure is not known to pyplot: nothing has to be closed, and no screen is needed.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        KeyError
            If a method of that name was not compared.
        """
        from skfdrmfl.compare._plots import plot_predicted

        if names is None:
            names = [method.name for method in self.methods if method.name in DRAWN]
        panels = {f"{m.name}: RMSE {m.rmse[0]:.3g}": m.predicted[0] for m in (self[name] for name in names)}
        return plot_predicted(self.measured, self.client_ids[0], panels, title=title, unit=unit)

    def _footnotes(self) -> list[str]:
        """Return the lines below the table that say what its rows and figures are."""
        n_seeds = self.settings["n_seeds"]
        lines = [
            f"Every method but {MEAN!r} and {HEAD!r} is followed by the same {self.settings['regressor']}.",
            "PCA, TruncatedSVD, GaussianRandomProjection and PLS see the rows of all clients, scaled.",
            f"{HEAD}: the prediction of its own head. {CENTRAL}: trained on all rows as one client.",
            f"{ALONE}: trained on one client's rows, regressor too, and tested on all rows;",
            "  its ± is over clients, under the first seed; the R² of a client is that of its own model "
            "on its own rows.",
        ]
        if n_seeds > 1:
            lines.insert(1, f"± is the standard deviation over {n_seeds} seeds; methods without it have no seed.")
        if any(np.isnan(method.predicted).any() for method in self.methods):
            lines.append(f"{ALONE}: folds in which a client has fewer than two training rows are left out.")
        return lines


def _plain(labels: NDArray[Any]) -> NDArray[Any]:
    """Return labels as values that JSON knows: dates become strings."""
    return labels.astype(str) if labels.dtype.kind == "M" else labels


def _number(value: float) -> float | None:
    """Return a value as a float that JSON knows: NaN and infinity become None."""
    return float(value) if np.isfinite(value) else None


def _numbers(values: NDArray[np.float64]) -> list[float | None]:
    """Return values as a list of floats that JSON knows."""
    return [_number(value) for value in values]
