"""Mixing before a rule: each update becomes the mean of its nearest ones."""

from __future__ import annotations

import torch
from torch import Tensor


def nearest_neighbors(points: Tensor, n_byzantine: int) -> tuple[Tensor, int]:
    """Return the mean of the K - f points nearest to each one, itself among them (Allouah et al. 2023, NNM).

    y_k = 1 / (K - f) times the sum of w_i over the K - f smallest |w_i - w_k|, f = `n_byzantine`. Honest clients come
    close to each other, which takes from a rule what their differences would cost, and from the dishonest the cover
    of them. With f = 0 all become the mean.

    Distances are taken in float64 and compared with float32's digits, in which neither company nor padding shows.

    Parameters
    ----------
    points : Tensor of shape (K, D)
    n_byzantine : int
        f, less than K / 2.

    Returns
    -------
    points : Tensor of shape (K, D)
    n_byzantine : int
        f still.
    """
    exact = points.double()
    distances = torch.cdist(exact, exact, compute_mode="donot_use_mm_for_euclid_dist").float()
    nearest = distances.argsort(dim=1, stable=True)[:, : len(points) - n_byzantine]
    shares = torch.zeros_like(exact[:, :1]).expand(-1, len(points)).contiguous()
    shares = shares.scatter(1, nearest, 1.0 / nearest.shape[1])
    return (shares @ exact).to(points.dtype), n_byzantine
