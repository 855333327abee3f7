"""The coordinate-wise median of the updates."""

from __future__ import annotations

import torch
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


def middle(points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return where rules that search begin: the updates in float64, their median, and their median distance to it."""
    exact = points.double()
    centre = median(exact)
    return exact, centre, torch.linalg.vector_norm(exact - centre, dim=1).median()
