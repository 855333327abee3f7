"""The point whose distances to the updates have the least sum."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.server.aggregation.median import middle

MAX_STEPS = 100
# Of the median distance: how much of it counts as the same point, and a step shorter than which ends the search.
SMALLEST_DISTANCE, SMALLEST_STEP = 1e-6, 1e-12


def geometric_median(points: NDArray, n_byzantine: int = 0) -> NDArray:
    """Return argmin_v sum_k |w_k - v| of updates (K, D) by smoothed Weiszfeld steps (Pillutla et al. 2022).

    v <- sum_k b_k w_k / sum_k b_k (Weiszfeld 1937), b_k = 1 / max(|w_k - v|, nu), from the coordinate-wise median on,
    nu a millionth of the median distance to that. In float64. `n_byzantine` is not used.
    """
    exact, centre, unit = middle(points)
    if unit == 0:  # most are one point, which is the minimum
        return centre.astype(points.dtype)
    for _ in range(MAX_STEPS):
        pull = 1.0 / np.maximum(np.linalg.norm(exact - centre, axis=1), SMALLEST_DISTANCE * unit)
        step = (pull / pull.sum()) @ (exact - centre)
        centre = centre + step
        if np.linalg.norm(step) <= SMALLEST_STEP * unit:
            break
    return centre.astype(points.dtype)


RULES = {"geometric_median": geometric_median}
