"""What is recorded of training, and how it becomes `history_`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

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

    def after(self, reports: Reports, dropped: Indices | None = None) -> Record:
        """Return what is recorded after some more rounds, and whose updates were not finite in the last (n,)."""
        joined = self.reports.followed_by(reports)
        if dropped is None or not len(dropped):
            return replace(self, reports=joined)
        now = np.column_stack((np.full(len(dropped), len(joined.counts) - 1), dropped))
        return replace(
            self, reports=joined, dropped=now if self.dropped is None else np.concatenate((self.dropped, now))
        )

    def after_held_out(self, values: tuple[float, float], of_each: Float, best_round: int) -> Record:
        """Return the same with the last round's errors on rows held out, of all clients and of each."""
        assert self.validation is not None and self.validation_of_each is not None
        validation, each = np.vstack((self.validation, values)), np.vstack((self.validation_of_each, of_each))
        return replace(self, validation=validation, validation_of_each=each, best_round=best_round)

    def after_clip(self, now: float, then: float) -> Record:
        """Return the same with the clip of the last round, and that of the next."""
        return replace(self, clip_norms=(*self.clip_norms[:-1], now, then))

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
