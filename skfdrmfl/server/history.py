"""What is recorded of training, and how it becomes `history_`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.common.arrays import Float, Indices
from skfdrmfl.method.objective import record_names

# What is recorded of the rows held out, in the order of `Record.validation`.
VALIDATION = ("validation_mse", "validation_mi_nwj")
VALIDATION_OF_EACH = "validation_mse_per_client"


@dataclass(frozen=True)
class Record:
    """What is recorded of one run."""

    losses: Float  # (rounds, K, n), what is `record_names` of each client, NaN in rounds without it
    positions: Indices  # (K,), place of each in `clients_`
    sizes: Indices  # (K,), rows of each
    validation: Float | None = None  # (rounds, 2), with early stopping, `VALIDATION`
    best_round: int | None = None  # with early stopping, the best round, 0 if the first weights were never bettered
    # (rounds, K), with early stopping, the error of each client on its own rows held out, NaN for one without any
    validation_of_each: Float | None = None
    # (rounds, K), whose updates were not finite; their losses are NaN, as if they had not taken part. None: nobody's.
    dropped: NDArray[np.bool_] | None = None
    # With privacy, the clip of each round, then that of the next; nothing else is recorded then
    clip_norms: tuple[float, ...] = ()

    @property
    def n_rounds(self) -> int:
        """Rounds completed."""
        return len(self.losses)

    def weights(self) -> Float:
        """Return what each client counts for in each round (rounds, K): its rows if it took part."""
        return np.where(np.isnan(self.losses[:, :, 0]), 0.0, self.sizes)

    def numbers(self) -> dict[str, float]:
        """Return the means of the last round by name."""
        if self.clip_norms:
            return {"clip_norm": float(self.clip_norms[-2])}
        last = replace(self, losses=self.losses[-1:])
        found = {term: float(mean[0]) for term, mean in zip(record_names(), last.means(), strict=True)}
        if self.validation is not None:
            found |= dict(zip(VALIDATION, self.validation[-1].tolist(), strict=True))
        return found

    def means(self) -> list[Float]:
        """Return the mean by rows (rounds,) of what stands at each place; NaN in rounds that nobody took part in."""
        weights = self.weights()
        total = weights.sum(1)
        means = [np.full(len(total), np.nan) for _ in range(self.losses.shape[2])]
        for i, mean in enumerate(means):
            values = np.where(np.isnan(self.losses[:, :, i]), 0.0, self.losses[:, :, i])
            np.divide((values * weights).sum(1), total, out=mean, where=total > 0)
        return means


class Recorder:
    """Takes down rounds of one run as they pass, after those `before`, up to `n_rounds` in all.

    What it has returned before stays as it is.
    """

    def __init__(self, before: Record, n_rounds: int, *, holds_out: bool):
        n_clients = len(before.positions)
        self._before, self._n_rounds = before, before.n_rounds
        # Client by client in memory: the order in which means are added up depends on it.
        self._losses = _extended(before.losses.swapaxes(0, 1), n_rounds, np.nan, axis=1).swapaxes(0, 1)
        nobody = np.zeros((0, n_clients), dtype=bool)
        self._dropped = _extended(nobody if before.dropped is None else before.dropped, n_rounds, False)
        self._validation = self._of_each = None
        if holds_out:
            known, of_each = before.validation, before.validation_of_each
            self._validation = _extended(np.zeros((0, 2)) if known is None else known, n_rounds, np.nan)
            self._of_each = _extended(np.zeros((0, n_clients)) if of_each is None else of_each, n_rounds, np.nan)
        self._clip_norms = list(before.clip_norms)

    def add(self, losses: Float, dropped: NDArray[np.bool_] | None = None) -> None:
        """Take down some rounds: `record_names` (rounds, K, n), and whose updates were not finite (rounds, K)."""
        last = self._n_rounds + len(losses)
        self._losses[self._n_rounds : last] = losses
        if dropped is not None:
            self._dropped[self._n_rounds : last] = dropped
        self._n_rounds = last

    def add_held_out(self, values: tuple[float, float], of_each: Float) -> None:
        """Take down the last round's errors on rows held out, of all clients and of each."""
        assert self._validation is not None and self._of_each is not None
        self._validation[self._n_rounds - 1], self._of_each[self._n_rounds - 1] = values, of_each

    def add_clip(self, now: float, then: float) -> None:
        """Take down the clip of the last round, and that of the next."""
        self._clip_norms[self._n_rounds - 1 :] = now, then

    def record(self, n_rounds: int, best_round: int | None = None) -> Record:
        """Return what is recorded of the first `n_rounds`."""
        held = [None if array is None else array[:n_rounds] for array in (self._validation, self._of_each)]
        return replace(
            self._before,
            losses=self._losses[:n_rounds],
            dropped=self._dropped[:n_rounds],
            validation=held[0],
            validation_of_each=held[1],
            best_round=best_round,
            clip_norms=tuple(self._clip_norms),
        )


def _extended(array: NDArray, n_rounds: int, filled: float, axis: int = 0) -> NDArray:
    """Return an array in memory of its own, with room for `n_rounds` in all along an axis."""
    shape = list(array.shape)
    shape[axis] = max(n_rounds, shape[axis])
    out = np.full(shape, filled, array.dtype)
    out[tuple(map(slice, array.shape))] = array
    return out


def extend_history(history: Mapping[str, Float], record: Record, n_clients: int) -> dict[str, Float]:
    """Return `history_`, which may be empty or of fewer clients, with finished rounds appended, of `n_clients` now."""
    if record.clip_norms:
        return {"clip_norm": np.concatenate([history.get("clip_norm", np.empty(0)), record.clip_norms[:-1]])}
    out: dict[str, Float] = {}
    n_rounds, n_before = len(record.losses), len(history.get("mse", ()))
    for i, (term, mean) in enumerate(zip(record_names(), record.means(), strict=True)):
        before = history.get(f"{term}_per_client", np.empty((0, n_clients)))
        out[f"{term}_per_client"] = _appended(before, record.losses[:, :, i], record.positions, n_clients)
        out[term] = np.concatenate([history.get(term, np.empty(0)), mean])
    for i, name in enumerate(VALIDATION):
        if record.validation is not None or name in history:
            before = history.get(name, np.full(n_before, np.nan))
            now = np.full(n_rounds, np.nan) if record.validation is None else record.validation[:, i]
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
    out = np.full((len(before) + len(values), n_clients), np.nan)
    out[: len(before), : before.shape[1]] = before
    out[len(before) :, positions] = values
    return out
