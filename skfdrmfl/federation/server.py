"""What the server does: invite clients, average what they return, remember earlier global models.

It sees parameters, row counts and loss sums, never rows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from skfdrmfl.common import randomness


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
    """

    weights: Tensor
    history: tuple[Tensor, ...] = ()
    round_index: int = 0


def invite(seed: int, round_index: int, n_clients: int, participation: float) -> NDArray[np.int64]:
    """Who takes part in this round: a share of the clients who are there, drawn without replacement."""
    if participation >= 1.0:
        return np.arange(n_clients)
    n_invited = max(1, round(participation * n_clients))
    rng = randomness.generator(seed, randomness.PARTICIPATION, round_index)
    return np.sort(rng.choice(n_clients, n_invited, replace=False))


def advance(state: ServerState, weights: Tensor, history_size: int) -> ServerState:
    """The state after a round that averaged to `weights`."""
    history = (state.weights, *state.history)[:history_size]
    return replace(state, weights=weights, history=history, round_index=state.round_index + 1)
