"""The coordinate-wise mean of the updates without the extremes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def trimmed_mean(points: NDArray, n_byzantine: int = 0) -> NDArray:
    """Return the mean of each coordinate without its f largest and f smallest values (Yin et al. 2018).

    With w_(1)j <= .. <= w_(K)j and f = `n_byzantine`: sum of w_(k)j over f < k <= K - f, divided by K - 2 f. Without
    dishonest clients, f = 0, it is the mean.

    Parameters
    ----------
    points : ndarray of shape (K, D)
    n_byzantine : int
        f, less than K / 2.
    """
    kept = np.sort(points, axis=0)[n_byzantine : len(points) - n_byzantine]
    return kept.mean(0, dtype=np.float64).astype(points.dtype)
