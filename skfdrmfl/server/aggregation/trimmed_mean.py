"""The coordinate-wise mean of the updates without the extremes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def trimmed_mean(points: NDArray, n_byzantine: int = 0) -> NDArray:
    """Return the mean of each coordinate of updates (K, D) without its f largest and smallest (Yin et al. 2018).

    With w_(1)j <= .. <= w_(K)j and f = `n_byzantine` < K / 2: sum of w_(k)j over f < k <= K - f, divided by K - 2 f.
    Without dishonest clients, f = 0, it is the mean.
    """
    kept = np.sort(points, axis=0)[n_byzantine : len(points) - n_byzantine]
    return kept.mean(0, dtype=np.float64).astype(points.dtype)


RULES = {"trimmed_mean": trimmed_mean}
