"""What the server does: invite clients, average what they return, remember earlier global models.

It sees parameters, row counts and loss sums, never rows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skfdrmfl import _streams

# Lengths are taken of as many parameters at a time as stay in cache, in float64.
BLOCK = 64_000


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
    rng = _streams.generator(seed, _streams.PARTICIPATION, round_index)
    return np.sort(rng.choice(n_clients, n_invited, replace=False))


class Average:
    """FedAvg: parameters averaged by |D_k| over the participants of each run (McMahan et al. 2017).

    Parameters
    ----------
    broadcast : Tensor of shape (runs, D)
        The global models sent out; a run without participants keeps its own.
    runs : ndarray of shape (participants,)
        Run of everyone invited.
    n_rows : ndarray of shape (participants,) or (participants, groups)
        |D_k|; or, for each group of parameters, the rows that count for it. A group for which no row counts keeps
        its values.
    group_of : Tensor of int of shape (D,), default=None
        Group of each parameter, where there are several.
    """

    def __init__(
        self, broadcast: Tensor, runs: NDArray[np.int64], n_rows: NDArray[np.int64], group_of: Tensor | None = None
    ):
        self._group_of = None if group_of is None else group_of.to(broadcast.device)
        n_rows = n_rows.reshape(len(runs), -1)
        self._rows_of_run = np.zeros((broadcast.shape[0], n_rows.shape[1]))
        np.add.at(self._rows_of_run, runs, n_rows)
        self._sum = torch.zeros_like(broadcast)
        for run in np.flatnonzero((self._rows_of_run == 0).any(1)):
            without = torch.as_tensor(self._rows_of_run[run] == 0, device=broadcast.device)
            self._sum[run] = torch.where(self._of_parameters(without), broadcast[run], 0.0)

    def add(self, runs: NDArray[np.int64], n_rows: NDArray[np.int64], weights: Tensor) -> None:
        """Add the parameters (C, D) that the clients of `runs` (C,) with `n_rows` (as above) return."""
        # Not a matrix product: that would round a run's sum differently when other runs are averaged with it.
        shares = n_rows.reshape(len(runs), -1) / np.maximum(self._rows_of_run[runs], 1.0)
        share = self._of_parameters(torch.as_tensor(shares, dtype=weights.dtype, device=weights.device))
        index = torch.as_tensor(runs, device=weights.device)
        self._sum.index_add_(0, index, weights * share)

    def result(self) -> Tensor:
        """The averages (runs, D)."""
        return self._sum

    def _of_parameters(self, values: Tensor) -> Tensor:
        """What each group has (..., groups), for each parameter (..., D); with one group (..., 1) will do."""
        return values if self._group_of is None else values[..., self._group_of]


def without_idle(
    weights: Tensor, broadcast: Tensor, runs: NDArray[np.int64], n_rows: NDArray[np.int64], group_of: Tensor
) -> Tensor:
    """`weights` (C, D), those of groups for which a client has no row as they were sent out: it only let them decay.

    The other parameters are those of `Average`, `n_rows` (C, groups).
    """
    idle = torch.as_tensor(n_rows == 0, device=weights.device)[:, group_of.to(weights.device)]
    return torch.where(idle, broadcast.index_select(0, torch.as_tensor(runs, device=weights.device)), weights)


def squared_distances(weights: Tensor, models: Tensor, runs: NDArray[np.int64] | None = None) -> NDArray[np.float64]:
    """|w - v|^2 of each row w of `weights` (n, D) and its v: the same row of `models`, or that of its run.

    Added up in float64 and returned with float32's digits, in which neither company nor padding shows.
    """
    if runs is not None and len(models) > 1:
        models = models.index_select(0, torch.as_tensor(runs, device=models.device))
    n_rows = max(1, BLOCK // weights.shape[1])
    blocks = zip(weights.split(n_rows), models.expand_as(weights).split(n_rows), strict=True)
    squares = [(w - v).double().square_().sum(-1) for w, v in blocks]
    return torch.cat(squares).float().cpu().numpy()


def relative_drift(moved: NDArray[np.float64], step: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each client's |w_k - w_t|^2 over the round's |w_{t+1} - w_t|^2, less one.

    Its average by rows is sum_k p_k |w_k - w_{t+1}|^2 / |w_{t+1} - w_t|^2, the spread of the clients about their
    average relative to the length of the step: 0 when all return the same model, about n - 1 when n equal
    clients go independent ways, more when they undo each other's work.

    Parameters
    ----------
    moved, step : ndarray of shape (n,)
        Squared lengths of the clients' updates, and of the step of each one's run.
    """
    tiny = float(np.finfo(np.float32).tiny)  # without any movement the drift is 0
    with np.errstate(invalid="ignore"):  # infinite lengths: the run has as good as diverged
        return (moved + tiny) / (step.astype(np.float64) + tiny) - 1.0


def advance(state: ServerState, weights: Tensor, history_size: int) -> ServerState:
    """The state after a round that averaged to `weights`."""
    history = (state.weights, *state.history)[:history_size]
    return replace(state, weights=weights, history=history, round_index=state.round_index + 1)
