"""The table of a comparison as text: a line a method, and R² of each client in its last columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from skfdrmfl.common.arrays import Float
from skfdrmfl.compare._paired import Ratio
from skfdrmfl.compare._result import MethodResult
from skfdrmfl.diagnosis import tables

MOST_CLIENT_COLUMNS = 6  # beyond that the table shows the worst, the middle and the best client


def table_cells(methods: Sequence[MethodResult], ratios: Mapping[str, Ratio]) -> list[list[str]]:
    """Return RMSE, R², RPD, the RMSE over FDRMFL's, seconds of a fit and R² per client of each method, titles first.

    Without `ratios`, the RMSE over FDRMFL's by method, there is no such column.
    """
    titles, client_cells = _client_columns(methods)
    decimals = decimals_of(method.rmse.mean() for method in methods)
    rows = [["method", "RMSE", "±", "R²", "RPD", *(["x FDRMFL"] if ratios else []), "fit (s)", *titles]]
    for method, of_clients in zip(methods, client_cells, strict=True):
        deviation = f"{spread(method.rmse):.{decimals}f}" if len(method.rmse) > 1 else ""
        error, r2, rpd = f"{method.rmse.mean():.{decimals}f}", f"{method.r2.mean():.3f}", f"{method.rpd.mean():.2f}"
        of_ratio = [ratio_text(ratios.get(method.name))] if ratios else []
        rows.append([method.name, error, deviation, r2, rpd, *of_ratio, f"{method.fit_seconds:.3f}", *of_clients])
    return rows


def rmse_texts(chosen: Sequence[MethodResult], methods: Sequence[MethodResult]) -> list[str]:
    """Return the RMSE of some of the methods in a table as it stands there, and of how many runs it is the mean."""
    decimals = decimals_of(method.rmse.mean() for method in methods)
    return [
        f"RMSE {method.rmse.mean():.{decimals}f}" + (f", mean of {n}" if (n := len(method.rmse)) > 1 else "")
        for method in chosen
    ]


def ratio_text(ratio: Ratio | None) -> str:
    """Return a ratio and the ends of its interval with three digits; FDRMFL itself, which has none, is 1."""
    return "1" if ratio is None else f"{ratio.value:.3g} [{ratio.low:.3g}, {ratio.high:.3g}]"


def spread(runs: Float) -> float:
    """Return the sample standard deviation of a measure over runs, NaN for a single run."""
    return float(np.std(runs, ddof=1)) if len(runs) > 1 else float("nan")


def _client_columns(methods: Sequence[MethodResult]) -> tuple[list[str], list[list[str]]]:
    """Return titles, and a method's cells, for R² of each client; of many: the worst, the middle and the best."""
    rows = [list(method.client_r2.values()) for method in methods]
    if len(rows[0]) <= MOST_CLIENT_COLUMNS:
        return [f"R² client {client}" for client in methods[0].client_r2], [[f"{r2:.3f}" for r2 in row] for row in rows]
    defined = [[r2 for r2 in row if not np.isnan(r2)] or [np.nan] for row in rows]
    cells = [[f"{value:.3f}" for value in (min(row), float(np.median(row)), max(row))] for row in defined]
    return ["R² worst client", "middle", "best"], cells


def decimals_of(errors: Iterable[float]) -> int:
    """Return how many decimals show the smallest error with three digits, between two and six."""
    smallest = min((error for error in map(float, errors) if error > 0), default=1.0)
    return int(np.clip(2 - np.floor(np.log10(smallest)), 2, 6))


def aligned(rows: list[list[str]]) -> str:
    """Return rows of cells as lines, the first column to the left and the others to the right, a rule below titles."""
    titles, *lines = tables.aligned(rows, range(1, len(rows[0])))
    return "\n".join([titles, "-" * len(titles), *lines])
