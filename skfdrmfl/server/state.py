"""Where the server of one run stands, and whom it invites.

It sees parameters, row counts and loss sums, never rows.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.common import randomness
from skfdrmfl.protocol.algorithm_state import AlgorithmState


@dataclass(frozen=True)
class ServerState:
    """All that lives from one round of a run to the next."""

    weights: NDArray  # (D,), the global model w_t
    history: tuple[NDArray, ...] = ()  # each (D,), earlier global models, the latest first
    round_index: int = 0  # t, rounds completed so far
    memory: AlgorithmState = field(default_factory=AlgorithmState)


def invite(seed: int, round_index: int, n_clients: int, participation: float) -> NDArray[np.int64]:
    """Return who takes part in a round: a share of `n_clients`, at least one, drawn without replacement."""
    if participation >= 1.0:
        return np.arange(n_clients)
    n_invited = max(1, round(participation * n_clients))
    rng = randomness.generator(seed, randomness.PARTICIPATION, round_index)
    return np.sort(rng.choice(n_clients, n_invited, replace=False))


def advance(state: ServerState, weights: NDArray, memory: AlgorithmState, history_size: int) -> ServerState:
    """Return the state after a round that ended with `weights` and `memory`."""
    history = (state.weights, *state.history)[:history_size]
    return ServerState(weights, history, state.round_index + 1, memory)
