"""Errors on held-out rows of all runs at once: what early stopping asks after every round."""

from __future__ import annotations

from functools import reduce
from operator import add

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.common.arrays import Indices
from skfdrmfl.common.late_torch import Tensor, torch
from skfdrmfl.engines.batches import LANES
from skfdrmfl.engines.rows import TrainingRows
from skfdrmfl.method.equations import information, prediction
from skfdrmfl.method.network import Network
from skfdrmfl.method.objective import uses
from skfdrmfl.protocol.messages import HeldOutSums

# Numbers gathered at a time to be sent through the network.
SLAB = 4_000_000


class HeldOutRows:
    """The rows that the clients of each run hold out; `device` is where they go through the network."""

    def __init__(self, network: Network, rows: TrainingRows, device: str = "cpu"):
        self._network = network
        self._x, self._y = (torch.from_numpy(array).to(device) for array in (rows.x, rows.y))
        self._present = None if rows.present is None else torch.as_tensor(rows.present, device=device)
        self._with_pairs = [uses(settings.terms, "critic") for settings in rows.cohort.settings]
        self.positions = [partition.positions for partition in rows.held_out]  # in `clients_`, of who holds out rows
        self._n_replicas = len(rows.cohort.runs)
        self._replicas: list[Indices] = []  # of each run, the places of these clients among all replicas
        self._clients: list[Indices] = []  # of each row of a run, the number of its client
        self._slots: list[tuple[Tensor, Tensor]] = []  # the rows of a run, and beside each the next one of its client
        for run, partition in enumerate(rows.held_out):
            mine, sizes = np.flatnonzero(rows.cohort.runs == run), partition.sizes
            self._replicas.append(mine[np.searchsorted(rows.cohort.positions[mine], partition.positions)])
            self._clients.append(np.repeat(np.arange(len(sizes)), sizes))
            partners = np.roll(partition.joined, -1)
            last = np.cumsum(sizes) - 1
            partners[last] = partition.joined[last - sizes + 1]  # each client's last row goes with its first
            n_slots = -(-len(partners) // LANES) * LANES  # Bits: see docs/maintainers.md, "lanes".
            slots, others = (
                torch.as_tensor(np.resize(numbers, n_slots), device=device) for numbers in (partition.joined, partners)
            )
            self._slots.append((slots, others))

    def sums(self, weights: NDArray) -> HeldOutSums:
        """Return the sums of what each run's clients send, given the models (runs, D)."""
        models = torch.as_tensor(weights).to(self._x)
        n_rows, squares, n_pairs, nwj = np.zeros((4, len(models)))
        mse_of_each = np.full(self._n_replicas, np.nan)
        for run, clients in enumerate(self._clients):
            values, bounds = (of[: len(clients)] for of in self._values(models[run : run + 1], run))
            sizes = np.bincount(clients)
            n_rows[run] = len(clients)
            squares[run] = _over_clients(clients, values)
            mse_of_each[self._replicas[run]] = np.bincount(clients, values) / sizes
            if self._with_pairs[run]:
                paired = sizes[clients] > 1  # rows of clients who have another one
                n_pairs[run] = paired.sum()
                nwj[run] = _over_clients(clients[paired], bounds[paired])
        return HeldOutSums(n_rows, squares, n_pairs, nwj, mse_of_each)

    def _values(self, model: Tensor, run: int) -> tuple[NDArray, NDArray]:
        """Return squared errors and NWJ values of the rows of a run under its model (1, D)."""
        views = self._network.layout.views(model)
        n = max(LANES, SLAB // self._x.shape[1] // LANES * LANES)
        squares, bounds = [], []
        for rows, partners in zip(*(of[None].split(n, 1) for of in self._slots[run]), strict=True):
            act = self._network.forward(views, self._x[rows], None if self._present is None else self._present[rows])
            y = self._y[rows]
            squares.append(prediction.squared_error(act.y_hat, y)[0])
            if self._with_pairs[run]:
                pairs = torch.cat((y, self._y[partners]), 1)
                bounds.append(information.nwj(*self._network.criticise(views, act.z, pairs))[0])
            else:
                bounds.append(torch.zeros_like(squares[-1]))
        return torch.cat(squares).double().cpu().numpy(), torch.cat(bounds).double().cpu().numpy()


def _over_clients(clients: Indices, values: Indices) -> float:
    """Return the sum of values (n,) client by client, then over clients in their order: as it comes over a wire."""
    return reduce(add, np.bincount(clients, weights=values).tolist(), 0.0)
