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
        self._with_pairs = np.array([uses(settings.terms, "critic") for settings in rows.cohort.settings])
        self.positions = [partition.positions for partition in rows.held_out]  # in `clients_`, of who holds out rows
        self._n_replicas = len(rows.cohort.runs)
        self._replicas: list[Indices] = []  # of each run, the places of these clients among all replicas
        self._clients: list[Indices] = []  # of each row of a run, the number of its client
        all_rows, partners = [], []
        for run, partition in enumerate(rows.held_out):
            mine, sizes = np.flatnonzero(rows.cohort.runs == run), partition.sizes
            self._replicas.append(mine[np.searchsorted(rows.cohort.positions[mine], partition.positions)])
            self._clients.append(np.repeat(np.arange(len(sizes)), sizes))
            all_rows.append(partition.joined)
            partners.append(np.roll(partition.joined, -1))
            last = np.cumsum(sizes) - 1
            partners[-1][last] = partition.joined[last - sizes + 1]  # each client's last row goes with its first
        # Runs of as many rows, in multiples of `LANES`, go through the network together: so a run's error is the
        # same, to the last bit, whatever other runs there are.
        self._groups: list[tuple[Indices, Tensor, Tensor]] = []
        padded = np.array([-(-len(mine) // LANES) * LANES for mine in all_rows])
        for n_slots in np.unique(padded).tolist():
            runs = np.flatnonzero(padded == n_slots)
            slots, others = (
                torch.as_tensor(np.stack([np.resize(numbers[run], n_slots) for run in runs.tolist()]))
                for numbers in (all_rows, partners)
            )
            self._groups.append((runs, slots.to(device), others.to(device)))

    def sums(self, weights: NDArray) -> HeldOutSums:
        """Return the sums of what each run's clients send, given the models (runs, D)."""
        models = torch.as_tensor(weights).to(self._x)
        n_runs = len(models)
        n_rows, squares, n_pairs, nwj = np.zeros((4, n_runs))
        mse_of_each = np.full(self._n_replicas, np.nan)
        for runs, slots, others in self._groups:
            step = max(1, SLAB // (slots.shape[1] * self._x.shape[1]))
            for i in range(0, len(runs), step):
                some = slice(i, i + step)
                values, bounds = self._values(models, runs[some], slots[some], others[some])
                for run, mine, theirs in zip(runs[some].tolist(), values, bounds, strict=True):
                    clients, sizes = self._clients[run], np.bincount(self._clients[run])
                    paired = sizes[clients] > 1  # rows of clients who have another one
                    n_rows[run] = len(clients)
                    squares[run] = _over_clients(clients, mine[: len(clients)])
                    mse_of_each[self._replicas[run]] = np.bincount(clients, mine[: len(clients)]) / sizes
                    if self._with_pairs[run]:
                        n_pairs[run] = paired.sum()
                        nwj[run] = _over_clients(clients[paired], theirs[: len(clients)][paired])
        return HeldOutSums(n_rows, squares, n_pairs, nwj, mse_of_each)

    def _values(self, weights: Tensor, runs: Indices, slots: Tensor, others: Tensor) -> tuple[Indices, Indices]:
        """Return squared errors and NWJ values (runs, B) of the rows in slots, beside the next row of their client."""
        index = torch.as_tensor(runs, device=weights.device)
        views = self._network.layout.views(weights.index_select(0, index))
        n = max(LANES, SLAB // self._x.shape[1] // LANES * LANES)
        squares, bounds = [], []
        for rows, partners in zip(slots.split(n, 1), others.split(n, 1), strict=True):
            mask = None if self._present is None else self._present[rows]
            act = self._network.forward(views, self._x[rows], mask)
            y = self._y[rows]
            squares.append(prediction.squared_error(act.y_hat, y))
            if self._with_pairs[runs].any():
                pairs = torch.cat((y, self._y[partners]), 1)
                t_joint, t_marginal = self._network.criticise(views, act.z, pairs)
                bounds.append(information.nwj(t_joint, t_marginal))
            else:
                bounds.append(torch.zeros_like(squares[-1]))
        return torch.cat(squares, 1).double().cpu().numpy(), torch.cat(bounds, 1).double().cpu().numpy()


def _over_clients(clients: Indices, values: Indices) -> float:
    """Return the sum of values (n,) client by client, then over clients in their order: as it comes over a wire."""
    return reduce(add, np.bincount(clients, weights=values).tolist(), 0.0)
