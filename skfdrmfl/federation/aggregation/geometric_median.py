"""The point whose distances to the updates have the least sum."""

from __future__ import annotations

import torch
from torch import Tensor

from skfdrmfl.federation.aggregation.median import middle

MAX_STEPS = 100
# Of the median distance: how much of it counts as the same point, and a step shorter than which ends the search.
SMALLEST_DISTANCE, SMALLEST_STEP = 1e-6, 1e-12


def geometric_median(points: Tensor, n_byzantine: int = 0) -> Tensor:
    """Return argmin_v sum_k |w_k - v| by smoothed Weiszfeld steps (Weiszfeld 1937; Pillutla et al. 2022).

    v <- sum_k b_k w_k / sum_k b_k, b_k = 1 / max(|w_k - v|, nu), from the coordinate-wise median on, nu a millionth of
    the median distance to that. In float64.

    Parameters
    ----------
    points : Tensor of shape (K, D)
    n_byzantine : int
        Not used.
    """
    exact, centre, unit = middle(points)
    if unit == 0:  # most are one point, which is the minimum
        return centre.to(points.dtype)
    for _ in range(MAX_STEPS):
        pull = 1.0 / torch.linalg.vector_norm(exact - centre, dim=1).clamp_min(SMALLEST_DISTANCE * unit)
        step = (pull / pull.sum()) @ (exact - centre)
        centre = centre + step
        if torch.linalg.vector_norm(step) <= SMALLEST_STEP * unit:
            break
    return centre.to(points.dtype)
