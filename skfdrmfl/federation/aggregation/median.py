"""The coordinate-wise median of the updates."""

from __future__ import annotations

from torch import Tensor


def median(points: Tensor, n_byzantine: int = 0) -> Tensor:
    """Return the median of each coordinate, the mean of the middle two where clients are even (Yin et al. 2018).

    med_j = argmin_v sum_k |w_kj - v|. It needs no guess at the dishonest: fewer than half of the clients, whatever
    they send, leave each coordinate within the range of the honest ones.

    Parameters
    ----------
    points : Tensor of shape (K, D)
    n_byzantine : int
        Not used.
    """
    ordered = points.sort(0).values
    return 0.5 * ordered[(len(points) - 1) // 2] + 0.5 * ordered[len(points) // 2]
