"""The verdict of a comparison in words: who errs least, by how much, and whether it pays to train together."""

from __future__ import annotations

from typing import Any

from skfdrmfl.compare._result import ALONE, FEDERATED
from skfdrmfl.compare._table import ratio_text


def verdict(comparison: Any, output: str, unit: str = "") -> str:
    """Return in a sentence or two how FDRMFL stands to the best rival, and to the mean predictor.

    Another one says so where a client alone does better: on all rows by the interval, on its own rows by R².
    """
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
