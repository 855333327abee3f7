"""How far the clients' models move apart in a round, compared with the step of their average."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# Lengths are taken of as many parameters at a time as stay in cache, in float64.
BLOCK = 64_000


def squared_distances(weights: Tensor, models: Tensor, runs: NDArray[np.int64] | None = None) -> NDArray[np.float64]:
    """Return |w - v|^2 of each row w of `weights` (n, D) and its v, the row of `models` that is its own or its run's.

    Added up in float64 and returned with float32's digits. Bits: see docs/maintainers.md, "float32's digits".
    """
    if runs is not None and len(models) > 1:
        models = models.index_select(0, torch.as_tensor(runs, device=models.device))
    n_rows = max(1, BLOCK // weights.shape[1])
    blocks = zip(weights.split(n_rows), models.expand_as(weights).split(n_rows), strict=True)
    squares = [(w - v).double().square_().sum(-1) for w, v in blocks]
    return torch.cat(squares).float().cpu().numpy()


def relative_drift(moved: NDArray[np.floating], step: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return each client's |w_k - w_t|^2 over the round's |w_{t+1} - w_t|^2, less one.

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
