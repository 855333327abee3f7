"""A comparison as text.

The table has a line a method, and R² of each client in its last columns. The verdict says who errs least, by how much,
and whether it pays to train together.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from skfdrmfl.common.arrays import Float
from skfdrmfl.compare._result import ALONE, FEDERATED, MethodResult, Ratio
from skfdrmfl.diagnosis import tables

MOST_CLIENT_COLUMNS = 6  # beyond that the table shows the worst, the middle and the best client


def table_cells(comparison: Any, output: str) -> list[list[str]]:
    """Return RMSE, R², RPD, the RMSE over FDRMFL's, seconds of a fit and R² per client of each method, titles first."""
    methods = comparison.of(output).methods
    ratios = {name: ratio for (name, of), ratio in comparison.ratios.items() if of == output}
    titles, client_cells = _client_columns(methods)
    decimals = decimals_of(method.rmse.mean() for method in methods)
    rows = [["method", "RMSE", "±", "R²", "RPD", *(["x FDRMFL"] if ratios else []), "fit (s)", *titles]]
    for method, of_clients in zip(methods, client_cells, strict=True):
        deviation = f"{spread(method.rmse):.{decimals}f}" if len(method.rmse) > 1 else ""
        error, r2, rpd = f"{method.rmse.mean():.{decimals}f}", f"{method.r2.mean():.3f}", f"{method.rpd.mean():.2f}"
        of_ratio = [ratio_text(ratios.get(method.name))] if ratios else []
        rows.append([method.name, error, deviation, r2, rpd, *of_ratio, f"{method.fit_seconds:.3f}", *of_clients])
    return rows


def rmse_text(comparison: Any, name: str) -> str:
    """Return the RMSE of a method of one output as it stands in the table, and of how many runs it is the mean."""
    runs, decimals = comparison[name].rmse, decimals_of(method.rmse.mean() for method in comparison.methods)
    return f"RMSE {runs.mean():.{decimals}f}" + (f", mean of {len(runs)}" if len(runs) > 1 else "")


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


def verdict(comparison: Any, output: str, unit: str = "") -> str:
    """Return in a sentence or two how FDRMFL stands to the best rival and the mean, and who is better alone."""
    one = comparison.of(output)
    by_name = {method.name: method for method in one.methods}
    best = min((m for m in one.methods if not m.name.startswith(FEDERATED)), key=lambda m: m.rmse.mean())
    suffix = f" {unit}" if unit else ""
    if FEDERATED not in by_name:
        return f"The least error is that of {best.name}: RMSE {best.rmse.mean():.3g}{suffix}."
    own, mean = by_name[FEDERATED], one.methods[0]
    ratio = comparison.ratios[best.name, output]
    if ratio.low > 1:
        found = f"less than every rival: the best, {best.name}, errs {ratio_text(ratio)} times as much"
    elif ratio.high < 1:
        found = f"more than the best rival, {best.name}, which errs {ratio_text(ratio)} times as much"
    else:
        found = f"about as much as the best rival: {best.name} errs {ratio_text(ratio)} times as much"
    return (
        f"FDRMFL has an RMSE of {own.rmse.mean():.3g}{suffix}, {found} (95 % interval, rows resampled); rivals "
        f"see the pooled rows of all clients. Predicting the mean has {mean.rmse.mean():.3g}{suffix}."
        + _alone(comparison, output, by_name)
    )


def _alone(comparison: Any, output: str, by_name: dict[str, Any]) -> str:
    """Return a sentence on clients that are better alone than together, if there are any."""
    if ALONE not in by_name:
        return ""
    ratio = comparison.ratios[ALONE, output]
    if ratio.high < 1:
        return f" Each client alone is better than together: it errs {ratio_text(ratio)} times as much on all rows."
    alone, together = by_name[ALONE].client_r2, by_name[FEDERATED].client_r2
    # As printed: a difference in the fourth digit is none.
    better = {client: (r2, together[client]) for client, r2 in alone.items() if round(r2 - together[client], 3) > 0}
    if not better:
        return ""
    named = ", ".join(f"{client} (R² {mine:.3f} against {ours:.3f})" for client, (mine, ours) in better.items())
    return f" Better alone than together, on its own rows: {named}."
