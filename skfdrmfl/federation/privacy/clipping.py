"""Updates clipped to a length, and the length that adapts to them (Andrew et al. 2021)."""

from __future__ import annotations

from math import exp

import torch
from torch import Tensor

# eta_C of Andrew et al.: how fast the length follows the fraction of updates within it.
CLIP_RATE = 0.2


def clipped(updates: Tensor, clip_norm: float) -> tuple[Tensor, Tensor]:
    """Return updates (C, D) in float64, none longer than `clip_norm`, and which were not longer before (C,).

    u min(1, C / |u|). An update that is not finite becomes zero and counts as longer: it says nothing, and nobody is
    told, since that would be one more thing to pay for.
    """
    updates = updates.double()
    finite = torch.isfinite(updates).all(-1)
    updates = torch.where(finite.unsqueeze(-1), updates, 0.0)
    lengths = torch.linalg.vector_norm(updates, dim=-1)
    within = finite & (lengths <= clip_norm)
    factors = torch.where(lengths > clip_norm, clip_norm / lengths, 1.0)
    return updates * factors.unsqueeze(-1), within


def adapted(clip_norm: float, share_within: float, target_share: float) -> float:
    """Return the next round's length: C exp(-eta (b - gamma)) (Andrew et al. 2021, algorithm 1).

    `share_within` b is the share of updates that were NOT clipped: where more of them than `target_share` are within C,
    C shrinks.
    """
    return clip_norm * exp(-CLIP_RATE * (share_within - target_share))
