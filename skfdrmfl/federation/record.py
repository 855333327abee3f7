"""What is recorded of training, and how it becomes `history_`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.common.arrays import Float, Indices
from skfdrmfl.model.objective import record_names

# What is recorded of the rows held out, in the order of `Record.validation`.
VALIDATION = ("validation_mse", "validation_mi_nwj")
VALIDATION_OF_EACH = "validation_mse_per_client"


@dataclass(frozen=True)
class Record:
    """What is recorded of one run.

    Attributes
    ----------
    losses : ndarray of shape (rounds, K, n)
        What is `record_names` of each client, NaN in rounds without it.
    positions, sizes : ndarray of shape (K,)
        Place in `clients_` and rows of each.
    validation : ndarray of shape (rounds, 2), default=None
        With early stopping, `VALIDATION`.
    best_round : int, default=None
        With early stopping, the best round, 0 if the first weights were never bettered.
    validation_of_each : ndarray of shape (rounds, K), default=None
        With early stopping, the error of each client on its own rows held out, NaN for one without any.
    dropped : ndarray of bool of shape (rounds, K), default=None
        Whose updates were not finite; their losses are NaN, as if they had not taken part. None: nobody's.
    clip_norms : tuple of float
        With privacy, the clip of each round, then that of the next; nothing else is recorded then.
    """

    losses: Float
    positions: Indices
    sizes: Indices
    validation: Float | None = None
    best_round: int | None = None
    validation_of_each: Float | None = None
    dropped: NDArray[np.bool_] | None = None
    clip_norms: tuple[float, ...] = ()

    def weights(self) -> Float:
        """Return what each client counts for in each round (rounds, K): its rows if it took part."""
        return np.where(np.isnan(self.losses[:, :, 0]), 0.0, self.sizes)

    def numbers(self) -> dict[str, float]:
        """Return the means of the last round by name."""
        if self.clip_norms:
            return {"clip_norm": float(self.clip_norms[-2])}
        last = replace(self, losses=self.losses[-1:])
        found = {term: float(last.mean(i)[0]) for i, term in enumerate(record_names())}
        if self.validation is not None:
            found |= dict(zip(VALIDATION, self.validation[-1].tolist(), strict=True))
        return found

    def mean(self, i: int) -> Float:
        """Return the mean by rows (rounds,) of what stands at place i; NaN in rounds that nobody took part in."""
        weights = self.weights()
        values = np.where(np.isnan(self.losses[:, :, i]), 0.0, self.losses[:, :, i])
        alone = weights.sum(1) == 0
        return np.where(alone, np.nan, np.average(values, axis=1, weights=np.where(alone[:, None], 1.0, weights)))


def extend_history(history: Mapping[str, Float], record: Record, n_clients: int) -> dict[str, Float]:
    """Return `history_` with finished rounds appended.

    Parameters
    ----------
    history : mapping of str to ndarray
        As delivered before, perhaps with fewer clients; empty at first.
    record : Record
    n_clients : int
        Length of `clients_` now.
    """
    if record.clip_norms:
        return {"clip_norm": np.concatenate([history.get("clip_norm", np.empty(0)), record.clip_norms[:-1]])}
    out: dict[str, Float] = {}
    n_rounds, n_before = len(record.losses), len(history.get("mse", ()))
    for i, term in enumerate(record_names()):
        before = history.get(f"{term}_per_client", np.empty((0, n_clients)))
        out[f"{term}_per_client"] = _appended(before, record.losses[:, :, i], record.positions, n_clients)
        out[term] = np.concatenate([history.get(term, np.empty(0)), record.mean(i)])
    for i, name in enumerate(VALIDATION):
        if record.validation is not None or name in history:
            before = history.get(name, np.full(n_before, np.nan))
            now: NDArray[np.float64] = (
                np.full(n_rounds, np.nan) if record.validation is None else record.validation[:, i]
            )
            out[name] = np.concatenate([before, now])
    if record.validation_of_each is not None or VALIDATION_OF_EACH in history:
        before = history.get(VALIDATION_OF_EACH, np.full((n_before, n_clients), np.nan))
        of_each = record.validation_of_each
        if of_each is None:
            of_each = np.full((n_rounds, len(record.positions)), np.nan)
        out[VALIDATION_OF_EACH] = _appended(before, of_each, record.positions, n_clients)
    return out


def _appended(before: Float, values: Float, positions: Indices, n_clients: int) -> Float:
    """Return (rounds, n_clients): earlier rounds, then those of the clients at `positions`; NaN for who was absent."""
    mine = np.full((len(values), n_clients), np.nan)
    mine[:, positions] = values
    before = np.pad(before, ((0, 0), (0, n_clients - before.shape[1])), constant_values=np.nan)
    return np.concatenate([before, mine])
