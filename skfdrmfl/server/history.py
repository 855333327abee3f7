"""What is recorded of training, and how it becomes `history_`.

What participants report is kept of them alone: of 100,000 clients of whom 1 % take part, the rest would be NaN.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from skfdrmfl.common.arrays import Float, Indices
from skfdrmfl.common.tree import registered
from skfdrmfl.diagnosis.tables import OF_EACH
from skfdrmfl.method.objective import record_names

# What is recorded of the rows held out, in the order of `Record.validation`.
VALIDATION = ("validation_mse", "validation_mi_nwj")
# Rounds of which reports are kept apart at most.
MOST_LATER = 64
VALIDATION_OF_EACH = "validation_mse_per_client"


@registered
@dataclass(frozen=True, eq=False)
class Reports:
    """What the participants of each round report, round after round, in each by their place."""

    counts: Indices  # (rounds,), participants of each round
    clients: Indices  # (N,), the place of each
    values: Float  # (N, n)

    @classmethod
    def of_table(cls, table: Float) -> Reports:
        """Return what a table (rounds, K, n) has of those who are not NaN in the first of the n."""
        there = ~np.isnan(table[..., 0])
        return cls(there.sum(1), np.nonzero(there)[1], table[there])

    @property
    def rounds(self) -> Indices:
        """The round (N,), from 0, of each participant."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    def table(self, i: int, n_clients: int) -> Float:
        """Return what all report at one place (rounds, n_clients), NaN for who was absent."""
        out = np.full((len(self.counts), n_clients), np.nan)
        out[self.rounds, self.clients] = self.values[:, i]
        return out

    def means(self, sizes: Indices) -> list[Float]:
        """Return the mean (rounds,) at each place by the rows of clients (K,); NaN for rounds without participants.

        Participants are added up one after another: who is absent changes no bit.
        """
        n_rounds, n = len(self.counts), self.values.shape[1]
        weights = sizes[self.clients].astype(np.float64)
        rows = np.bincount(self.rounds, weights, n_rounds).astype(np.float64)
        places = self.rounds[:, None] * n + np.arange(n)
        values = np.where(np.isnan(self.values), 0.0, self.values) * weights[:, None]
        totals = np.bincount(places.ravel(), values.ravel(), n_rounds * n).reshape(n_rounds, n)
        with np.errstate(invalid="ignore"):  # 0 / 0 of rounds without participants
            return list((totals / rows[:, None]).T.copy())

    def followed_by(self, *others: Reports) -> Reports:
        """Return these, then others, by places of the same clients."""
        parts = [(of.counts, of.clients, of.values) for of in (self, *others)]
        return Reports(*map(np.concatenate, zip(*parts, strict=True)))


@registered
@dataclass(frozen=True, eq=False, repr=False)
class History(Mapping[str, Float]):
    """`history_`: arrays by name; those of each client are made of reports when they are read."""

    means: Mapping[str, Float]  # each (rounds,)
    terms: Sequence[str] = ()  # which of these are means of what participants report, at its places
    reports: Reports | None = None
    n_clients: int = 0
    tables: Mapping[str, Float] | None = None  # each (rounds, K), which have no reports behind them

    @classmethod
    def of(cls, history: Mapping[str, Float], terms: Sequence[str], n_clients: int) -> History:
        """Return a history as one of these; earlier versions kept it as a dict of the arrays of `terms` and others."""
        if isinstance(history, cls):
            return history
        n_rounds = len(history.get(terms[0], ()))
        table = np.full((n_rounds, n_clients, len(terms)), np.nan)
        for i, term in enumerate(terms):
            before = history.get(term + OF_EACH, np.empty((0, 0)))
            table[: len(before), : before.shape[-1], i] = before
        tables = {name: v for name, v in history.items() if v.ndim == 2 and name.removesuffix(OF_EACH) not in terms}
        means = {name: values for name, values in history.items() if values.ndim == 1}
        return cls(means, terms, Reports.of_table(table), n_clients, tables)

    def __getitem__(self, name: str) -> Float:
        if name in self.means:
            return self.means[name]
        if self.tables and name in self.tables:
            return self.tables[name]
        if self.reports is None or name not in self:
            raise KeyError(name)
        return self.reports.table(list(self.terms).index(name.removesuffix(OF_EACH)), self.n_clients)

    def __iter__(self) -> Iterator[str]:
        for name in self.means:
            if name in self.terms:
                yield name + OF_EACH
            yield name
        yield from self.tables or ()

    def __contains__(self, name: object) -> bool:
        return any(name == known for known in self)  # without making the table

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __repr__(self) -> str:
        return repr(dict(self))


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
    later: tuple[Reports, ...] = ()  # what follows `reports`: to join all of them each round would cost more than it

    @property
    def n_rounds(self) -> int:
        """Rounds completed."""
        return len(self.reports.counts) + sum([len(reports.counts) for reports in self.later])

    @property
    def joined(self) -> Record:
        """The same with all that is reported in `reports`."""
        if not self.later:
            return self
        return replace(self, reports=self.reports.followed_by(*self.later), later=())

    def after(self, reports: Reports, dropped: Indices | None = None) -> Record:
        """Return what is recorded after some more rounds, and whose updates were not finite in the last (n,)."""
        record = replace(self, later=(*self.later, reports))
        record = record.joined if len(record.later) >= MOST_LATER else record
        if dropped is None or not len(dropped):
            return record
        now = np.column_stack((np.full(len(dropped), record.n_rounds - 1), dropped))
        return replace(record, dropped=now if self.dropped is None else np.concatenate((self.dropped, now)))

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
        last = (self.reports, *self.later)[-1]
        n = int(last.counts[-1])
        last = Reports(last.counts[-1:], last.clients[len(last.clients) - n :], last.values[len(last.values) - n :])
        found = {term: float(mean[0]) for term, mean in zip(record_names(), last.means(self.sizes), strict=True)}
        if self.validation is not None:
            found |= dict(zip(VALIDATION, self.validation[-1].tolist(), strict=True))
        return found


def extend_history(history: Mapping[str, Float], record: Record, n_clients: int) -> History:
    """Return `history_`, which may be empty or of fewer clients, with finished rounds appended, of `n_clients` now."""
    if record.clip_norms:
        return History({"clip_norm": np.concatenate([history.get("clip_norm", np.empty(0)), record.clip_norms[:-1]])})
    terms, record = record_names(), record.joined
    n_rounds = record.n_rounds
    now = dict(zip(terms, record.reports.means(record.sizes), strict=True))
    if record.validation is not None or VALIDATION[0] in history:
        held_out = np.full((n_rounds, 2), np.nan) if record.validation is None else record.validation
        now |= dict(zip(VALIDATION, held_out.T.copy(), strict=True))
    reports = replace(record.reports, clients=record.positions[record.reports.clients])
    n_before = 0
    if history:
        known = History.of(history, terms, n_clients)
        assert known.reports is not None
        n_before = len(known.reports.counts)
        nothing = np.full(n_before, np.nan)
        now = {name: np.concatenate([known.means.get(name, nothing), values]) for name, values in now.items()}
        reports = known.reports.followed_by(reports)
    tables = {}
    if record.validation_of_each is not None or VALIDATION_OF_EACH in history:
        tables[VALIDATION_OF_EACH] = table = np.full((n_before + n_rounds, n_clients), np.nan)
        if VALIDATION_OF_EACH in history:
            before = history[VALIDATION_OF_EACH]
            table[:n_before, : before.shape[1]] = before
        if record.validation_of_each is not None:
            table[n_before:, record.positions] = record.validation_of_each
    return History(now, terms, reports, n_clients, tables)
