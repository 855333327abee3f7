"""A private round: who takes part is drawn, their updates are clipped, noise comes upon the sum.

w_t + (sum over participants of clip(w_k - w_t, C) + N(0, (sigma C)^2 I)) / (q K)      (McMahan et al. 2018)
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from numpy.typing import NDArray
from torch import Tensor

from skfdrmfl.common.arrays import Indices
from skfdrmfl.federation.privacy import noise
from skfdrmfl.federation.privacy.clipping import adapted, clipped


@dataclass(frozen=True)
class ClientPrivacy:
    """What protects clients in a round.

    Attributes
    ----------
    noise_multiplier : float
        sigma: standard deviation of the noise over the clip.
    clip_norm : float
        C: the most that one client moves the sum, in l2.
    sampling_rate : float
        q: probability with which each client takes part.
    n_clients : int
        K, which is public.
    target_share : float, default=None
        Share of updates that is to lie within the clip, which follows it; None: the clip stays.
    """

    noise_multiplier: float
    clip_norm: float
    sampling_rate: float
    n_clients: int
    target_share: float | None = None

    @property
    def n_expected(self) -> float:
        """Q K, the clients expected in a round, whoever comes: a denominator that tells nothing."""
        return self.sampling_rate * self.n_clients

    def invite(self) -> Indices:
        """Return who takes part."""
        return noise.poisson_sample(self.n_clients, self.sampling_rate)

    def adapted(self, share_within: float) -> ClientPrivacy:
        """Return the same with the clip that follows the share of updates that were within it."""
        if self.target_share is None:
            return self
        return replace(self, clip_norm=adapted(self.clip_norm, share_within, self.target_share))


class NoisyMean:
    """The aggregate of a private round of one run: an `Aggregation` with equal weights and a fixed denominator.

    Parameters
    ----------
    broadcast : Tensor of shape (1, D)
    privacy : ClientPrivacy
    used : Tensor of bool of shape (D,), default=None
        Parameters that are trained and sent; the others stay as they were. None: all.
    """

    def __init__(self, broadcast: Tensor, privacy: ClientPrivacy, used: Tensor | None = None):
        if len(broadcast) != 1:
            raise ValueError(f"{len(broadcast)} runs in one pass cannot be private; fit them one after another.")
        self._broadcast, self._privacy = broadcast, privacy
        self._used = torch.ones(1, dtype=torch.bool) if used is None else used
        self._used = self._used.to(broadcast.device)
        self._sum = torch.zeros(broadcast.shape[1], dtype=torch.float64, device=broadcast.device)
        self._centred_count = 0.0

    def add(self, runs: Indices, n_rows: NDArray, weights: Tensor) -> None:
        """Take the parameters (C, D) of some clients, whatever the numbers of their rows."""
        updates = torch.where(self._used, weights.double() - self._broadcast.double(), 0.0)
        updates, within = clipped(updates, self._privacy.clip_norm)
        self._sum += updates.sum(0)
        self._centred_count += float(within.sum()) - 0.5 * len(weights)

    def result(self) -> Tensor:
        """Return the model (1, D); noise is drawn once, so ask once."""
        privacy = self._privacy
        multiplier, deviation = privacy.noise_multiplier, 0.0
        if privacy.target_share is not None:
            multiplier, deviation = noise.divided(privacy.noise_multiplier, privacy.n_expected)
        drawn = noise.gaussian(len(self._sum), multiplier * privacy.clip_norm)
        total = self._sum + torch.where(self._used, torch.as_tensor(drawn, device=self._sum.device), 0.0)
        count = self._centred_count + float(noise.gaussian(1, deviation)[0])
        self.share_within = count / privacy.n_expected + 0.5
        mean = self._broadcast.double() + total / privacy.n_expected
        return mean.to(self._broadcast.dtype)
