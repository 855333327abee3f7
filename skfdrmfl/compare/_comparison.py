"""What a comparison found: a row a method, as text, as JSON and as a figure."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray


MEAN = "mean predictor"
FEDERATED = "FDRMFL"
HEAD = "FDRMFL, y_hat only"
CENTRAL = "FDRMFL, central"
ALONE = "FDRMFL, each client alone"
DRAWN = ("PCA", "PLS", "PLS, 16 components", FEDERATED)
MOST_CLIENT_COLUMNS = 6  # beyond that the table shows the worst, the middle and the best client


@dataclass(frozen=True, eq=False)
class MethodResult:
    """What one method reached; a run is one seed or, for clients alone, one client under the first seed.

    Attributes
    ----------
    name : str
        The method.
    predicted : ndarray of shape (n_runs, n_samples)
        Out-of-fold predictions, in the unit of y. NaN in folds where a client alone had fewer than two rows.
    rmse, r2, rpd : ndarray of shape (n_runs,)
        Of the predictions of all folds pooled; `rmse` in the unit of y.
    fit_seconds : float
        Wall time of one fit (reduction and regressor): the median over folds, the mean of that over runs.
    client_r2 : dict of {client id: float}
        R² on each client's own rows, the mean over seeds; NaN where it is not defined.
    """

    name: str
    predicted: NDArray[np.float64]
    rmse: NDArray[np.float64]
    r2: NDArray[np.float64]
    rpd: NDArray[np.float64]
    fit_seconds: float
    client_r2: dict[Any, float]


@dataclass(frozen=True, eq=False)
class Comparison:
    """The outcome of :func:`compare`: rows of a table, and what is needed to draw or recompute them.

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
        for method in self.methods:
            if method.name == name:
                return method
        names = ", ".join(repr(method.name) for method in self.methods)
        raise KeyError(f"There is no method {name!r}; choose from {names}.")

    def to_table(self) -> str:
        """The table as text: RMSE, R², RPD, seconds of a fit, and R² per client.

        Returns
        -------
        str
            Lines without a trailing newline.
        """
        titles, cells = _client_cells(self.methods)
        header = ["method", "RMSE", "±", "R²", "RPD", "fit (s)", *titles]
        decimals = _decimals([float(method.rmse.mean()) for method in self.methods])
        body = [
            [
                method.name,
                f"{method.rmse.mean():.{decimals}f}",
                f"{_spread(method.rmse):.{decimals}f}" if len(method.rmse) > 1 else "",
                f"{method.r2.mean():.3f}",
                f"{method.rpd.mean():.2f}",
                f"{method.fit_seconds:.3f}",
                *client_cells,
            ]
            for method, client_cells in zip(self.methods, cells, strict=True)
        ]
        return "\n".join([_aligned([header, *body]), "", *self._footnotes()])

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain Python values that :mod:`json` can write; NaN becomes None.

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
                            "sd": _number(_spread(runs)),
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
        """:meth:`to_dict` as JSON text, ending in a newline.

        Returns
        -------
        str
        """
        return json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False) + "\n"

    def plot(self, *, names: list[str] | None = None, title: str = "", unit: str = "") -> Figure:
        """Out-of-fold predictions against measured values, a panel a method, under the first seed.

        Of a method with one model a client, the first client's is drawn.

        Parameters
        ----------
        names : list of str, default=None
            Methods to draw. None draws PCA, PLS, PLS with more components and FDRMFL, as far as they are there.
        title : str, default=""
            A line above the panels.
        unit : str, default=""
            Unit of y, for the axes.

        Returns
        -------
        matplotlib.figure.Figure
            Not known to pyplot: nothing has to be closed, and no screen is needed.

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


def _client_cells(methods: tuple[MethodResult, ...]) -> tuple[list[str], list[list[str]]]:
    """Column titles and cells for R² per client: each client, or the worst, middle and best of many."""
    rows = [list(method.client_r2.values()) for method in methods]
    if len(rows[0]) <= MOST_CLIENT_COLUMNS:
        return [f"R² client {client}" for client in methods[0].client_r2], [[f"{r2:.3f}" for r2 in row] for row in rows]
    defined = [[r2 for r2 in row if not np.isnan(r2)] or [np.nan] for row in rows]
    cells = [[f"{value:.3f}" for value in (min(row), float(np.median(row)), max(row))] for row in defined]
    return ["R² worst client", "middle", "best"], cells


def _spread(runs: NDArray[np.float64]) -> float:
    """Sample standard deviation, NaN for a single run."""
    return float(np.std(runs, ddof=1)) if len(runs) > 1 else float("nan")


def _decimals(values: list[float]) -> int:
    """Enough that the smallest value shows three digits, between two and six."""
    smallest = min((value for value in values if value > 0), default=1.0)
    return int(np.clip(2 - np.floor(np.log10(smallest)), 2, 6))


def _aligned(rows: list[list[str]]) -> str:
    """Columns under their titles: the first to the left, the others to the right."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def _plain(labels: NDArray[Any]) -> NDArray[Any]:
    """Labels that JSON knows: dates become strings."""
    return labels.astype(str) if labels.dtype.kind == "M" else labels


def _number(value: float) -> float | None:
    """A float that JSON knows."""
    return float(value) if np.isfinite(value) else None


def _numbers(values: NDArray[np.float64]) -> list[float | None]:
    return [_number(value) for value in values]
