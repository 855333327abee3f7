"""What updates go through before a rule: from updates (K, D), and how many may be dishonest, to the same of others."""

from __future__ import annotations

from math import log

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

# An update is out of line if its length differs from the median one by this factor: clients who take equally many
# steps of Adam move equally far, whatever their rows say ...
FACTOR = 2.0
# ... and by this many standard deviations of the lengths' logarithms, estimated from their median absolute deviation.
DEVIATIONS, MAD_OF_NORMAL = 2.0, 0.6745


def nearest_neighbors(points: NDArray, n_byzantine: int) -> tuple[NDArray, int]:
    """Return the mean of the K - f points (K, D) nearest to each, itself among them, and f (Allouah et al. 2023, NNM).

    y_k = 1 / (K - f) times the sum of w_i over the K - f smallest |w_i - w_k|, f = `n_byzantine` < K / 2. Honest
    clients come close to each other, which takes from a rule what their differences would cost, and from the dishonest
    the cover of them. With f = 0 all become the mean. Distances are taken in float64 and compared with float32's
    digits.
    """
    exact = points.astype(np.float64)
    distances = cdist(exact, exact).astype(np.float32)
    nearest = distances.argsort(axis=1, kind="stable")[:, : len(points) - n_byzantine]
    shares = np.zeros((len(points), len(points)))
    np.put_along_axis(shares, nearest, 1.0 / nearest.shape[1], axis=1)
    return (shares @ exact).astype(points.dtype), n_byzantine


def usual_lengths(updates: NDArray, n_byzantine: int) -> tuple[NDArray, int]:
    """Return the updates (K, D) without those, f at most, whose lengths are the furthest out of line, and f less those.

    With l_k = log |w_k - w_t|, med their median and s = med |l_k - med| / 0.6745: without those of |l_k - med| above
    max(log 2, 2 s), or without the f = `n_byzantine` < K / 2 furthest of them. Large updates are an attack that every
    rule knows; very short ones, all in one direction against that of the others, look central to rules that go by
    distance, and hold a model back.
    """
    lengths = np.linalg.norm(updates.astype(np.float64), axis=1).astype(np.float32).astype(np.float64)
    logarithms = np.log(np.maximum(lengths, np.finfo(np.float32).tiny))
    away = np.abs(logarithms - np.median(logarithms))
    out = away > max(log(FACTOR), DEVIATIONS * float(np.median(away)) / MAD_OF_NORMAL)
    furthest = np.zeros_like(out)
    furthest[(-away).argsort(kind="stable")[:n_byzantine]] = True
    left_out = out & furthest
    return updates[~left_out], n_byzantine - int(left_out.sum())


def usual_lengths_nearest_neighbors(updates: NDArray, n_byzantine: int) -> tuple[NDArray, int]:
    """Return `nearest_neighbors` of `usual_lengths`."""
    return nearest_neighbors(*usual_lengths(updates, n_byzantine))


MIXINGS = {"lengths": usual_lengths, "lengths+nnm": usual_lengths_nearest_neighbors, "nnm": nearest_neighbors}
