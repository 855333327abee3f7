"""What the server sends out in a round, and what comes back."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from skfdrmfl.common.arrays import Indices


@dataclass(frozen=True)
class Broadcast:
    """What the server sends out at the start of a round.

    weights (runs, D); history, earlier global models (runs, D) each; the round's number; and the factor that
    the schedule puts on every learning rate.
    """

    weights: Tensor
    history: tuple[Tensor, ...]
    round_index: int
    rate_factor: float


@dataclass(frozen=True)
class Update:
    """What some replicas return: parameters (C, D), and loss terms averaged over their steps (C, terms)."""

    replicas: Indices
    weights: Tensor
    losses: Tensor
