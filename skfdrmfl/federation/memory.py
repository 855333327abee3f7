"""What an algorithm remembers between rounds, of the server and of each client."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skfdrmfl.common.arrays import Indices


@dataclass(frozen=True)
class Memory:
    """What an algorithm remembers from round to round.

    Attributes
    ----------
    server : mapping of str to Tensor of shape (runs, D)
        Arrays of the server. Of one run alone: (D,).
    clients : mapping of str to Tensor of shape (R, D)
        Arrays of each replica. Of one run alone: (K, D), client by client in the order of `clients_`; who has not been
        met yet has zeros.
    """

    server: Mapping[str, Tensor] = field(default_factory=dict)
    clients: Mapping[str, Tensor] = field(default_factory=dict)

    def where(self, keep: Tensor, other: Memory, runs: Tensor) -> Memory:
        """Return this memory for the runs to `keep` (runs,), `other` for the rest; `runs` (R,) are the replicas'."""
        return Memory(
            {n: torch.where(keep.unsqueeze(-1), a, other.server[n]) for n, a in self.server.items()},
            {n: torch.where(keep[runs].unsqueeze(-1), a, other.clients[n]) for n, a in self.clients.items()},
        )

    def of_staying(self, stays: NDArray[np.bool_]) -> Memory:
        """Return the memory with zeros, as before they came, for those who do not stay, of all replicas (R,)."""
        gone = torch.as_tensor(np.flatnonzero(~stays))
        return Memory(self.server, {n: a.index_fill(0, gone.to(a.device), 0.0) for n, a in self.clients.items()})

    def of_run(self, run: int, replicas: Indices, positions: Indices, before: Memory) -> Memory:
        """Return the memory of one run alone, whose `replicas` are the clients at `positions`.

        Clients who did not take part keep what they had in `before`, the memory of that run alone at the start.
        """
        clients = {}
        for name, array in self.clients.items():
            known = before.clients.get(name, array.new_zeros(0, array.shape[1]))
            n_clients = max(len(known), int(positions.max(initial=-1)) + 1)
            clients[name] = array.new_zeros(n_clients, array.shape[1])
            clients[name][: len(known)] = known
            clients[name][torch.as_tensor(positions, device=array.device)] = array[replicas]
        return Memory({name: array[run] for name, array in self.server.items()}, clients)

    @staticmethod
    def of_runs(memories: Sequence[Memory], positions: Sequence[Indices]) -> Memory:
        """Return the memory of several runs together, each of clients at `positions`; all remember the same arrays."""
        first = memories[0]
        clients = {
            name: [_rows_at(m.clients[name], p) for m, p in zip(memories, positions, strict=True)]
            for name in first.clients
        }
        return Memory(
            {name: torch.stack([memory.server[name] for memory in memories]) for name in first.server},
            {name: torch.cat(parts) for name, parts in clients.items()},
        )

    def mapped(self, change: Callable[[Tensor], Tensor]) -> Memory:
        """Return the memory with every array changed alike, such as moved to a device."""
        return Memory(
            {name: change(array) for name, array in self.server.items()},
            {name: change(array) for name, array in self.clients.items()},
        )


def _rows_at(array: Tensor, positions: Indices) -> Tensor:
    """Return the rows (K, D) at some positions, zeros beyond the last."""
    rows = array.new_zeros(len(positions), array.shape[1])
    known = torch.as_tensor(positions < len(array))
    rows[known] = array[torch.as_tensor(positions[positions < len(array)])]
    return rows
