"""The coordinate-wise mean of the updates without the extremes."""

from __future__ import annotations

from torch import Tensor


def trimmed_mean(points: Tensor, n_byzantine: int = 0) -> Tensor:
    """Return the mean of each coordinate without its f largest and f smallest values (Yin et al. 2018).

    With w_(1)j <= .. <= w_(K)j and f = `n_byzantine`: sum of w_(k)j over f < k <= K - f, divided by K - 2 f. Without
    dishonest clients, f = 0, it is the mean.

    Parameters
    ----------
    points : Tensor of shape (K, D)
    n_byzantine : int
        f, less than K / 2.
    """
    return points.sort(0).values[n_byzantine : len(points) - n_byzantine].mean(0)
