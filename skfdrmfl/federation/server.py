"""What the server does: invite clients, average what they return, remember earlier global models.

It sees parameters, row counts and loss sums, never rows.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from skfdrmfl.common import randomness
from skfdrmfl.federation.memory import Memory


@dataclass(frozen=True)
class ServerState:
    """All that lives from one round to the next, for every run.

    Attributes
    ----------
    weights : Tensor of shape (runs, D)
        The global model w_t.
    history : tuple of Tensor of shape (runs, D)
        Earlier global models, the latest first.
    round_index : int
        t, rounds completed so far.
    memory : Memory
        What the algorithm remembers.
    """

    weights: Tensor
    history: tuple[Tensor, ...] = ()
    round_index: int = 0
    memory: Memory = field(default_factory=Memory)


def invite(seed: int, round_index: int, n_clients: int, participation: float) -> NDArray[np.int64]:
    """Return who takes part in a round: a share of `n_clients`, at least one, drawn without replacement."""
    if participation >= 1.0:
        return np.arange(n_clients)
    n_invited = max(1, round(participation * n_clients))
    rng = randomness.generator(seed, randomness.PARTICIPATION, round_index)
    return np.sort(rng.choice(n_clients, n_invited, replace=False))


def advance(state: ServerState, weights: Tensor, memory: Memory, history_size: int) -> ServerState:
    """Return the state after a round that ended with `weights` and `memory`."""
    history = (state.weights, *state.history)[:history_size]
    return ServerState(weights, history, state.round_index + 1, memory)
