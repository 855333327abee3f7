"""How far the clients' models move apart in a round, compared with the step of their average."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Lengths are taken of as many parameters at a time as stay in cache, in float64.
BLOCK = 64_000


@np.errstate(over="ignore", invalid="ignore")  # of a run that diverges
def squared_distances(weights: NDArray, model: NDArray) -> NDArray[np.float64]:
    """Return |w - v|^2 of each row w of `weights` (n, D) and a model v (D,).

    Added up in float64 and returned with float32's digits. Bits: see docs/maintainers.md, "float32's digits".
    """
    n_rows = max(1, BLOCK // weights.shape[1])
    squares = np.empty(len(weights))
    for first in range(0, len(weights), n_rows):
        away = (weights[first : first + n_rows] - model).astype(np.float64)
        squares[first : first + n_rows] = np.einsum("ij,ij->i", away, away)
    return squares.astype(np.float32).astype(np.float64)


def relative_drift(moved: NDArray[np.floating], step: NDArray[np.floating] | float) -> NDArray[np.float64]:
    """Return each client's |w_k - w_t|^2, `moved` (..., K), over |w_{t+1} - w_t|^2, `step` (..., 1), less one.

    Its average by rows is sum_k p_k |w_k - w_{t+1}|^2 / |w_{t+1} - w_t|^2, the spread of the clients about their
    average relative to the length of the step: 0 when all return the same model, about n - 1 when n equal clients go
    independent ways, more when they undo each other's work.
    """
    tiny = float(np.finfo(np.float32).tiny)  # without any movement the drift is 0
    with np.errstate(invalid="ignore", over="ignore"):  # infinite lengths: the run has as good as diverged
        return (np.asarray(moved) + tiny) / (np.asarray(step, dtype=np.float64) + tiny) - 1.0
