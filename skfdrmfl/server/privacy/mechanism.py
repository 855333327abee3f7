"""A private round: who takes part is drawn, their updates are clipped, noise comes upon the sum.

w_t + (sum over participants of clip(w_k - w_t, C) + N(0, (sigma C)^2 I)) / (q K)      (McMahan et al. 2018)
"""

from __future__ import annotations

from dataclasses import replace
from math import exp

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.common.arrays import Float
from skfdrmfl.protocol.plan import ClientPrivacy
from skfdrmfl.server.privacy import noise

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


def with_adapted_clip(privacy: ClientPrivacy, share_within: float) -> ClientPrivacy:
    """Return the same with the clip that follows the share of updates that were within it."""
    if privacy.target_share is None:
        return privacy
    return replace(privacy, clip_norm=adapted(privacy.clip_norm, share_within, privacy.target_share))


class NoisyMean:
    """The aggregate of a private round: as `Average`, with equal weights and a fixed denominator.

    Parameters other than `used` (D,) stay as they were sent out in `origin` (D,).
    """

    def __init__(self, origin: NDArray, privacy: ClientPrivacy, used: NDArray[np.bool_] | None = None):
        self._origin, self._privacy = origin, privacy
        self._used = np.ones(1, dtype=bool) if used is None else used
        self._sum = np.zeros(len(origin))
        self._centred_count = 0.0

    def add(self, n_rows: NDArray, weights: NDArray) -> None:
        """Take the parameters (C, D) of some clients, whatever the numbers of their rows."""
        updates = np.where(self._used, weights.astype(np.float64) - self._origin.astype(np.float64), 0.0)
        updates, within = clipped(updates, self._privacy.clip_norm)
        self._sum += updates.sum(0)
        self._centred_count += float(within.sum()) - 0.5 * len(weights)

    def result(self) -> NDArray:
        """Return the model (D,); noise is drawn once, so ask once."""
        privacy = self._privacy
        multiplier, deviation = privacy.noise_multiplier, 0.0
        if privacy.target_share is not None:
            multiplier, deviation = noise.divided(privacy.noise_multiplier, privacy.n_expected)
        drawn = noise.gaussian(len(self._sum), multiplier * privacy.clip_norm)
        total = self._sum + np.where(self._used, drawn, 0.0)
        count = self._centred_count + float(noise.gaussian(1, deviation)[0])
        self.share_within = count / privacy.n_expected + 0.5
        mean = self._origin.astype(np.float64) + total / privacy.n_expected
        return mean.astype(self._origin.dtype)
