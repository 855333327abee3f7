"""What participants report, kept of them alone: of 100,000 clients of whom 1 % take part, the rest would be NaN."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from skfdrmfl.common.arrays import Float, Indices
from skfdrmfl.common.tree import registered
from skfdrmfl.diagnosis.tables import OF_EACH


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
        n_rounds, weights = len(self.counts), sizes[self.clients].astype(np.float64)

        def total(weights: Float) -> Float:
            return np.bincount(self.rounds, weights, n_rounds).astype(np.float64)

        rows = total(weights)
        means = [np.full(n_rounds, np.nan) for _ in range(self.values.shape[1])]
        for mean, values in zip(means, self.values.T, strict=True):
            np.divide(total(np.where(np.isnan(values), 0.0, values) * weights), rows, out=mean, where=rows > 0)
        return means

    def followed_by(self, other: Reports, places: Indices | None = None) -> Reports:
        """Return these, then others, whose clients have other `places` (K,) here; None: the same."""
        clients = np.concatenate((self.clients, other.clients if places is None else places[other.clients]))
        counts = np.concatenate((self.counts, other.counts))
        return Reports(counts, clients, np.concatenate((self.values, other.values)))


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
