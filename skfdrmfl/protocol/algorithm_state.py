"""What an algorithm keeps between rounds, of the server and of each client."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.common.arrays import Indices
from skfdrmfl.common.tree import registered


@registered
@dataclass(frozen=True)
class AlgorithmState:
    """What an algorithm keeps from round to round; empty for one that keeps nothing."""

    server: Mapping[str, NDArray] = field(default_factory=dict)  # arrays of the server: (D,), or a number as ()
    # each (K, D), a row for each client: while a run trains, of its members; as kept by a fit, in the order of
    # `clients_`, zeros for a client that has not trained yet
    clients: Mapping[str, NDArray] = field(default_factory=dict)

    @classmethod
    def stacked(cls, states: Mapping[int, AlgorithmState], members: Sequence[slice]) -> AlgorithmState:
        """Return what some of several runs keep as one: of the server (runs, ...), of all replicas (R, D).

        `members` are the replicas of each run. A run that is not in `states`, which is not empty, has zeros.
        """
        first = next(iter(states.values()))
        server, clients = {}, {}
        for name, array in first.server.items():
            parts = [states[run].server[name] if run in states else np.zeros_like(array) for run in range(len(members))]
            server[name] = np.stack(parts)
        for name, array in first.clients.items():
            clients[name] = np.zeros((members[-1].stop, *array.shape[1:]), array.dtype)
            for run, state in states.items():
                clients[name][members[run]] = state.clients[name]
        return cls(server, clients)

    def of_run(self, run: int, members: slice) -> AlgorithmState:
        """Return what one run keeps of what several keep: the inverse of `stacked`."""
        server = {name: np.asarray(array[run]) for name, array in self.server.items()}
        return AlgorithmState(server, {name: array[members] for name, array in self.clients.items()})

    def forgetting(self, gone: NDArray[np.bool_]) -> AlgorithmState:
        """Return the state with zeros in the rows of clients that are `gone` (K,)."""
        if not self.clients or not gone.any():
            return self
        return AlgorithmState(self.server, {n: np.where(gone[:, None], 0.0, a) for n, a in self.clients.items()})

    def of_members(self, positions: Indices) -> AlgorithmState:
        """Return the rows of the clients at some places in `clients_`, zeros beyond the last that is known."""
        clients = {}
        for name, array in self.clients.items():
            clients[name] = np.zeros((len(positions), *array.shape[1:]), array.dtype)
            known = positions < len(array)
            clients[name][known] = array[positions[known]]
        return AlgorithmState(self.server, clients)

    def of_all(self, positions: Indices, before: AlgorithmState) -> AlgorithmState:
        """Return the inverse of `of_members`; clients at other places keep their rows of `before`."""
        clients = {}
        for name, array in self.clients.items():
            known = before.clients.get(name, array[:0])
            n_clients = max(len(known), int(positions.max(initial=-1)) + 1)
            clients[name] = np.zeros((n_clients, *array.shape[1:]), array.dtype)
            clients[name][: len(known)] = known
            clients[name][positions] = array
        return AlgorithmState(self.server, clients)
