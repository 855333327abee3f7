"""What is recorded of training, and how it becomes `history_`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.common.arrays import Float, Indices
from skfdrmfl.model.objective import RECORDED


def extend_history(
    history: Mapping[str, Float],
    losses: Float,
    positions: Indices,
    sizes: Indices,
    n_clients: int,
    validation: Float | None = None,
) -> dict[str, Float]:
    """Append finished rounds to `history_`.

    Parameters
    ----------
    history : mapping of str to ndarray
        As delivered before, perhaps with fewer clients; empty at first.
    losses : ndarray of shape (rounds, replicas, n)
        What is `RECORDED` of each client who was invited, NaN in rounds without it.
    positions, sizes : ndarray of shape (replicas,)
        Place in `clients_` and rows of each.
    n_clients : int
        Length of `clients_` now.
    validation : ndarray of shape (rounds,), default=None
        Errors on rows held out.
    """
    out: dict[str, Float] = {}
    weights = np.where(np.isnan(losses[:, :, 0]), 0.0, sizes)
    for i, term in enumerate(RECORDED):
        here = np.full((len(losses), n_clients), np.nan)
        here[:, positions] = losses[:, :, i]
        before = history.get(f"{term}_per_client", np.empty((0, n_clients)))
        before = np.pad(before, ((0, 0), (0, n_clients - before.shape[1])), constant_values=np.nan)
        out[f"{term}_per_client"] = np.concatenate([before, here])
        values = np.where(np.isnan(losses[:, :, i]), 0.0, losses[:, :, i])
        mean = np.average(values, axis=1, weights=weights)
        out[term] = np.concatenate([history.get(term, np.empty(0)), mean])
    if validation is not None or "validation_mse" in history:
        before = history.get("validation_mse", np.full(len(history.get("mse", ())), np.nan))
        now = np.full(len(losses), np.nan) if validation is None else validation
        out["validation_mse"] = np.concatenate([before, now])
    return out


@dataclass(frozen=True)
class Record:
    """What is recorded of one run.

    losses (rounds, K, n), what is `RECORDED` of its clients; with early stopping, validation (rounds,), the error on
    the rows held out, and the best round, 0 if the first weights were never bettered.
    """

    losses: NDArray[np.float64]
    validation: NDArray[np.float64] | None = None
    best_round: int | None = None
