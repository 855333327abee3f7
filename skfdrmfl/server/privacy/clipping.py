"""Updates clipped to a length, and the length that adapts to them (Andrew et al. 2021)."""

from __future__ import annotations

from math import exp

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.common.arrays import Float

# eta_C of Andrew et al.: how fast the length follows the fraction of updates within it.
CLIP_RATE = 0.2


@np.errstate(over="ignore", invalid="ignore")
def clipped(updates: NDArray, clip_norm: float) -> tuple[Float, NDArray[np.bool_]]:
    """Return updates (C, D) in float64, none longer than `clip_norm`, and which were not longer before (C,).

    u min(1, C / |u|). An update that is not finite becomes zero and counts as longer: it says nothing, and nobody is
    told, since that would be one more thing to pay for.
    """
    updates = updates.astype(np.float64)
    finite = np.isfinite(updates).all(-1)
    updates = np.where(finite[:, None], updates, 0.0)
    lengths = np.linalg.norm(updates, axis=-1)
    within = finite & (lengths <= clip_norm)
    factors = np.divide(clip_norm, lengths, out=np.ones_like(lengths), where=lengths > clip_norm)
    return updates * factors[:, None], within


def adapted(clip_norm: float, share_within: float, target_share: float) -> float:
    """Return the next round's length: C exp(-eta (b - gamma)) (Andrew et al. 2021, algorithm 1).

    `share_within` b is the share of updates that were NOT clipped: where more of them than `target_share` are within C,
    C shrinks.
    """
    return clip_norm * exp(-CLIP_RATE * (share_within - target_share))
