"""What is recorded of training, and how it becomes `history_`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.common.arrays import Float, Indices
from skfdrmfl.method.objective import record_names
from skfdrmfl.server.reports import History, Reports

# What is recorded of the rows held out, in the order of `Record.validation`.
VALIDATION = ("validation_mse", "validation_mi_nwj")
VALIDATION_OF_EACH = "validation_mse_per_client"


@dataclass(frozen=True)
class Record:
    """What is recorded of one run of K clients."""

    reports: Reports  # what is `record_names`, of those who took part
    positions: Indices  # (K,), place of each in `clients_`
    sizes: Indices  # (K,), rows of each
    validation: Float | None = None  # (rounds, 2), with early stopping, `VALIDATION`
    best_round: int | None = None  # with early stopping, the best round, 0 if the first weights were never bettered
    # (rounds, K), with early stopping, the error of each client on its own rows held out, NaN for one without any
    validation_of_each: Float | None = None
    # (n, 2), round, from 0, and client whose update was not finite: as if it had not taken part. None: nobody's.
    dropped: Indices | None = None
    # With privacy, the clip of each round, then that of the next; nothing else is recorded then
    clip_norms: tuple[float, ...] = ()

    @property
    def n_rounds(self) -> int:
        """Rounds completed."""
        return len(self.reports.counts)

    def numbers(self) -> dict[str, float]:
        """Return the means of the last round by name."""
        if self.clip_norms:
            return {"clip_norm": float(self.clip_norms[-2])}
        last, n = self.reports, int(self.reports.counts[-1])
        last = Reports(last.counts[-1:], last.clients[len(last.clients) - n :], last.values[len(last.values) - n :])
        found = {term: float(mean[0]) for term, mean in zip(record_names(), last.means(self.sizes), strict=True)}
        if self.validation is not None:
            found |= dict(zip(VALIDATION, self.validation[-1].tolist(), strict=True))
        return found


class Recorder:
    """Takes down rounds of one run as they pass, after those `before`, up to `n_rounds` in all.

    What it has returned before stays as it is.
    """

    def __init__(self, before: Record, n_rounds: int, *, holds_out: bool):
        n_clients = len(before.positions)
        self._before, self._n_rounds = before, before.n_rounds
        self._counts = _extended(before.reports.counts, n_rounds, 0)
        # Who took part, and what these report: arrays with room for more.
        earlier = before.reports
        self._n, self._clients, self._values = len(earlier.clients), earlier.clients, earlier.values
        self._dropped = [] if before.dropped is None else [before.dropped]
        self._validation = self._of_each = None
        if holds_out:
            known, of_each = before.validation, before.validation_of_each
            self._validation = _extended(np.zeros((0, 2)) if known is None else known, n_rounds, np.nan)
            self._of_each = _extended(np.zeros((0, n_clients)) if of_each is None else of_each, n_rounds, np.nan)
        self._clip_norms = list(before.clip_norms)

    def add(self, reports: Reports, dropped: Indices | None = None) -> None:
        """Take down some rounds, and whose updates were not finite in the last (n,)."""
        first, n_before, n_after = self._n_rounds, self._n, self._n + len(reports.clients)
        self._n_rounds, self._n = first + len(reports.counts), n_after
        self._counts[first : self._n_rounds] = reports.counts
        if n_after > len(self._clients):
            per_round = -(-n_after // self._n_rounds)  # as many as up to now will come in each of those that follow
            room = max(n_after, 2 * len(self._clients), per_round * len(self._counts))
            self._clients = _extended(self._clients[:n_before], room, 0)
            self._values = _extended(self._values[:n_before], room, np.nan)
        self._clients[n_before:n_after], self._values[n_before:n_after] = reports.clients, reports.values
        if dropped is not None and len(dropped):
            self._dropped.append(np.column_stack((np.full(len(dropped), self._n_rounds - 1), dropped)))

    def add_held_out(self, values: tuple[float, float], of_each: Float) -> None:
        """Take down the last round's errors on rows held out, of all clients and of each."""
        assert self._validation is not None and self._of_each is not None
        self._validation[self._n_rounds - 1], self._of_each[self._n_rounds - 1] = values, of_each

    def add_clip(self, now: float, then: float) -> None:
        """Take down the clip of the last round, and that of the next."""
        self._clip_norms[self._n_rounds - 1 :] = now, then

    def record(self, best_round: int | None = None) -> Record:
        """Return what is recorded of all rounds so far."""
        n = self._n_rounds
        held = [None if array is None else array[:n] for array in (self._validation, self._of_each)]
        return replace(
            self._before,
            reports=Reports(self._counts[:n], self._clients[: self._n], self._values[: self._n]),
            dropped=np.concatenate(self._dropped) if self._dropped else None,
            validation=held[0],
            validation_of_each=held[1],
            best_round=best_round,
            clip_norms=tuple(self._clip_norms),
        )


def _extended(array: NDArray, n: int, filled: float) -> NDArray:
    """Return an array in memory of its own, with room for `n` in all."""
    out = np.full((max(n, len(array)), *array.shape[1:]), filled, array.dtype)
    out[: len(array)] = array
    return out


def extend_history(history: Mapping[str, Float], record: Record, n_clients: int) -> History:
    """Return `history_`, which may be empty or of fewer clients, with finished rounds appended, of `n_clients` now."""
    if record.clip_norms:
        return History({"clip_norm": np.concatenate([history.get("clip_norm", np.empty(0)), record.clip_norms[:-1]])})
    terms = record_names()
    known, n_rounds = History.of(history, terms, n_clients), record.n_rounds
    assert known.reports is not None
    n_before = len(known.reports.counts)
    means = {
        term: np.concatenate([known.means.get(term, np.full(n_before, np.nan)), mean])
        for term, mean in zip(terms, record.reports.means(record.sizes), strict=True)
    }
    for i, name in enumerate(VALIDATION):
        if record.validation is not None or name in known:
            before = known.means.get(name, np.full(n_before, np.nan))
            now = np.full(n_rounds, np.nan) if record.validation is None else record.validation[:, i]
            means[name] = np.concatenate([before, now])
    tables = {}
    if record.validation_of_each is not None or VALIDATION_OF_EACH in known:
        tables[VALIDATION_OF_EACH] = table = np.full((n_before + n_rounds, n_clients), np.nan)
        if VALIDATION_OF_EACH in known:
            before = known[VALIDATION_OF_EACH]
            table[:n_before, : before.shape[1]] = before
        if record.validation_of_each is not None:
            table[n_before:, record.positions] = record.validation_of_each
    reports = known.reports.followed_by(record.reports, record.positions)
    return History(means, terms, reports, n_clients, tables)
