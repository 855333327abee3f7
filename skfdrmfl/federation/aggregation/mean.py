"""The rule of FedAvg: the mean of the parameters, weighted by rows."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


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
        n_rows = n_rows if n_rows.ndim > 1 else n_rows[:, None]
        self._rows_of_run = np.zeros((broadcast.shape[0], n_rows.shape[1]))
        np.add.at(self._rows_of_run, runs, n_rows)
        self._rows_answered = np.zeros_like(self._rows_of_run)
        self._broadcast = broadcast
        self._sum = torch.zeros_like(broadcast)
        for run in np.flatnonzero((self._rows_of_run == 0).any(1)):
            without = torch.as_tensor(self._rows_of_run[run] == 0, device=broadcast.device)
            self._sum[run] = torch.where(self._of_parameters(without), broadcast[run], 0.0)

    def add(self, runs: NDArray[np.int64], n_rows: NDArray[np.int64], weights: Tensor) -> None:
        """Add the parameters (C, D) that the clients of `runs` (C,) with `n_rows` (as above) return."""
        np.add.at(self._rows_answered, runs, n_rows.reshape(len(runs), -1))
        # Not a matrix product. Bits: see docs/maintainers.md, "one sum a run".
        shares = n_rows.reshape(len(runs), -1) / np.maximum(self._rows_of_run[runs], 1.0)
        share = self._of_parameters(torch.as_tensor(shares, dtype=weights.dtype, device=weights.device))
        index = torch.as_tensor(runs, device=weights.device)
        self._sum.index_add_(0, index, weights * share)

    def result(self) -> Tensor:
        """Return the averages (runs, D) over those who answered; a group of which nobody answered keeps its values."""
        for run in np.flatnonzero((self._rows_answered != self._rows_of_run).any(1)):
            invited, answered = np.maximum(self._rows_of_run[run], 1.0), self._rows_answered[run]
            silent = torch.as_tensor((answered == 0) & (self._rows_of_run[run] > 0), device=self._sum.device)
            share = np.maximum(answered, 1.0) / invited
            divisor = self._of_parameters(torch.as_tensor(share, dtype=self._sum.dtype, device=self._sum.device))
            mean = self._sum[run] / divisor
            self._sum[run] = torch.where(self._of_parameters(silent), self._broadcast[run], mean)
        return self._sum

    def _of_parameters(self, values: Tensor) -> Tensor:
        """Return what each group has (..., groups), for each parameter (..., D); of one group (..., 1)."""
        return values if self._group_of is None else values[..., self._group_of]


def without_idle(
    weights: Tensor, broadcast: Tensor, runs: NDArray[np.int64], n_rows: NDArray[np.int64], group_of: Tensor
) -> Tensor:
    """Return `weights` (C, D) with those of groups for which a client has no row as they were sent out.

    The other parameters are those of `Average`, `n_rows` (C, groups).
    """
    idle = torch.as_tensor(n_rows == 0, device=weights.device)[:, group_of.to(weights.device)]
    return torch.where(idle, broadcast.index_select(0, torch.as_tensor(runs, device=weights.device)), weights)


def unweighted(points: Tensor, n_byzantine: int = 0) -> Tensor:
    """Return the mean of updates (K, D), one vote each: what follows where updates are mixed before."""
    return points.mean(0)
