"""What each member weighs: the mixture with the least squared error on rows held out, weights on the simplex."""

from __future__ import annotations

import numpy as np
from scipy.optimize import nnls

from skfdrmfl.common.arrays import Float

# Members whose root mean squared error is more than this many times the least get no weight: they would get little,
# and by chance.
WITHIN = 1.3
# How much the weights are drawn to equal ones, relative to the mean squared error of a member: few rows tell little
# of the differences between members that err alike.
SHRINK = 0.1
# Of the sum of the weights, in the least squares below; any value gives the same direction.
ON_SIMPLEX = 1.0
# A weight below this is rounding.
SMALLEST = 1e-6


def mixture_weights(errors: Float, within: float = WITHIN, shrink: float = SHRINK) -> Float:
    """Return the weights (M,) of members by the mean products of their errors (M, M), infinite of one that failed.

    Of the weights w >= 0 that add up to 1 they minimise w'Cw + shrink (tr C / M) |w - 1/M|^2, C being the products of
    those whose error is `within` so many times the least.
    """
    squares = np.diagonal(errors)
    finite = np.isfinite(squares)
    best = squares[finite].min()
    kept = np.flatnonzero(finite & (squares <= within**2 * best))
    weights = np.zeros(len(errors))
    if best == 0.0 or len(kept) == 1:
        weights[kept[squares[kept].argmin()]] = 1.0
        return weights
    c = errors[np.ix_(kept, kept)] / best
    # On the simplex |w - 1/M|^2 = |w|^2 - 1/M. Without it, w = t s with s on the simplex: whatever t, the best s is the
    # same, so that non-negative least squares with one more row, for the sum, finds its direction.
    a = c + shrink * np.trace(c) / len(c) * np.eye(len(c))
    root = np.linalg.cholesky(a + 1e-12 * np.trace(a) / len(a) * np.eye(len(a))).T
    rows = np.vstack((root, np.full((1, len(c)), ON_SIMPLEX)))
    found, _ = nnls(rows, np.append(np.zeros(len(c)), ON_SIMPLEX))
    found = np.where(found < SMALLEST * found.sum(), 0.0, found)
    weights[kept] = found / found.sum()
    return weights
