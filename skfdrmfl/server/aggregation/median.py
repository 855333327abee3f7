"""The coordinate-wise median of the updates."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.common.arrays import Float


def median(points: NDArray, n_byzantine: int = 0) -> NDArray:
    """Return the median of each coordinate, the mean of the middle two where clients are even (Yin et al. 2018).

    med_j = argmin_v sum_k |w_kj - v| of updates (K, D). It needs no guess at the dishonest, `n_byzantine`: fewer than
    half of the clients, whatever they send, leave each coordinate within the range of the honest ones.
    """
    ordered = np.sort(points, axis=0)
    return 0.5 * ordered[(len(points) - 1) // 2] + 0.5 * ordered[len(points) // 2]


def middle(points: NDArray) -> tuple[Float, Float, float]:
    """Return where rules that search begin: the updates in float64, their median, and their median distance to it."""
    exact: Float = points.astype(np.float64)
    centre = median(exact)
    distances = np.sort(np.linalg.norm(exact - centre, axis=1))
    return exact, centre, float(distances[(len(points) - 1) // 2])


RULES = {"median": median}
