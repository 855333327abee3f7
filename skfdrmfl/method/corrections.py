"""Corrections of predictions by few rows, and which of these is enough.

Glossary: y (n, q) measured and y_hat (n, q) predicted, standardised; u (n, k) scores of whitened columns. A correction
is y' = a y_hat + b + w'u. Each is least squares, for w with a penalty, so the error of a row left out is e / (1 - h).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from skfdrmfl.common.arrays import Float

# Penalties of w, for each row; rows of the fit have scores of variance one.
PENALTIES = (100.0, 10.0, 1.0, 0.1, 0.01)
# 1 - h is at least this: a row that alone decides on a slope says nothing of its error.
LEAST_FREE = 1e-6
# How many standard errors show that one correction errs less than another. At 1 a third of ten rows of an instrument
# of the fit are corrected for nothing, at 2 one in ten with a shifted axis is not.
ENOUGH = 1.5
# Errors of standardised y that are no larger than this are rounding, and all alike.
ROUNDING = 1e-6


@dataclass(frozen=True, eq=False)
class Correction:
    """A correction of all outputs, and its errors."""

    how: str
    slope: Float  # a (q,)
    offset: Float  # b (q,)
    weights: Float  # w (k, q)
    errors: Float  # (n, q), of rows left out


def corrections(y: Float, y_hat: Float, scores: Float, hows: Sequence[str]) -> list[Correction]:
    """Return the corrections of some kinds, "none", "bias", "slope" and "head", in the order of their size."""
    (n, q), k, off = y.shape, scores.shape[1], y - y_hat
    of_bias = (off - off.mean(0)) / (1.0 - 1.0 / n)
    found = {
        "none": [Correction("none", np.ones(q), np.zeros(q), np.zeros((k, q)), off)],
        "bias": [Correction("bias", np.ones(q), off.mean(0), np.zeros((k, q)), of_bias)],
        "slope": _slope(y, y_hat, k) if "slope" in hows else (),
        "head": _heads(off, scores) if "head" in hows else (),
    }
    return [each for how, of_kind in found.items() if how in hows for each in of_kind]


def smallest_enough(found: Sequence[Correction]) -> list[Correction]:
    """Return for each output the smallest correction that errs no more than the best, as far as the rows show."""
    errors = sizes_of(np.array([each.errors for each in found]))  # (corrections, n, q)
    chosen = []
    for j, best in enumerate(errors.mean(1).argmin(0).tolist()):
        enough = (i for i in range(best + 1) if not is_less(errors[best, :, j], errors[i, :, j]))
        chosen.append(found[next(enough)])
    return chosen


def sizes_of(errors: Float) -> Float:
    """Return absolute errors, at least those of rounding."""
    return np.maximum(np.abs(errors), ROUNDING)


def is_less(errors: Float, others: Float) -> bool:
    """Return whether the mean of absolute errors (n,) is less than that of others, by `ENOUGH` standard errors.

    The differences are row by row. Those of squares follow the one row that errs most: of ten rows with a shifted axis
    one in ten then does not show it.
    """
    difference = others - errors
    return bool(difference.mean() > ENOUGH * difference.std(ddof=1) / np.sqrt(len(difference)))


def _slope(y: Float, y_hat: Float, k: int) -> Iterator[Correction]:
    """Yield y' = a y_hat + b; predictions that are all alike have the slope 1."""
    centred = y_hat - y_hat.mean(0)
    squares = (centred**2).sum(0)
    slope = np.divide((centred * y).sum(0), squares, out=np.ones(y.shape[1]), where=squares > 0)
    offset = y.mean(0) - slope * y_hat.mean(0)
    leverage = 1.0 / len(y) + np.divide(centred**2, squares, out=np.zeros_like(y), where=squares > 0)
    errors = (y - slope * y_hat - offset) / np.maximum(1.0 - leverage, LEAST_FREE)
    yield Correction("slope", slope, offset, np.zeros((k, y.shape[1])), errors)


def _heads(off: Float, scores: Float) -> Iterator[Correction]:
    """Yield y' = y_hat + b + w'u, a ridge, by descending penalty."""
    n, mean = len(off), scores.mean(0)
    left, sizes, right = np.linalg.svd(scores - mean, full_matrices=False)
    for penalty in PENALTIES:
        kept = sizes**2 / (sizes**2 + penalty * n)
        hat = (left * kept) @ left.T + 1.0 / n
        weights = right.T @ ((sizes / (sizes**2 + penalty * n))[:, None] * (left.T @ off))
        errors = (off - hat @ off) / np.maximum(1.0 - np.diag(hat), LEAST_FREE)[:, None]
        yield Correction("head", np.ones(off.shape[1]), off.mean(0) - mean @ weights, weights, errors)
