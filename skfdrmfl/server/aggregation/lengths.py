"""Leaving out before a rule: updates that are far longer or far shorter than most."""

from __future__ import annotations

from math import log

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.server.aggregation.nearest_neighbors import nearest_neighbors

# An update is out of line if its length differs from the median one by this factor: clients who take equally many
# steps of Adam move equally far, whatever their rows say ...
FACTOR = 2.0
# ... and by this many standard deviations of the lengths' logarithms, estimated from their median absolute deviation.
DEVIATIONS, MAD_OF_NORMAL = 2.0, 0.6745


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


MIXINGS = {"lengths": usual_lengths, "lengths+nnm": usual_lengths_nearest_neighbors}
