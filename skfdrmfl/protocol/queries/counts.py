"""Counts in bins: how far out rows lie, where their y do, and how far off predictions of rows held out are.

The limits of a domain are read off these, and intervals.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import ClassVar, NamedTuple

import numpy as np

from skfdrmfl.common.arrays import Float
from skfdrmfl.data.held_out import Subset
from skfdrmfl.method.domain import EDGES, T2, Y_EDGES, Domain, counted
from skfdrmfl.method.intervals import ERROR_EDGES, HeldOutCounts
from skfdrmfl.protocol.door import Block, ClientRows, EachSaid, OfAllRows, Query
from skfdrmfl.protocol.plan import Inputs, Model, Targets
from skfdrmfl.protocol.queries.members import MemberErrors

# Of the counts of one modality.
BYTES_OF_COUNTS = 8 * 4 * (len(EDGES) + 1)


class DistanceTotals(NamedTuple):
    """The number of rows, and how many lie in each bin.

    Of each modality by T2, Q, and T2 and Q as if each row were left out (M, 4, bins); by standardised y (q, bins).
    """

    n_rows: float
    distances: Float
    y: Float


@dataclass(frozen=True, eq=False)
class DistanceCounts(OfAllRows):
    """How many rows lie how far out of a domain, and where their y do."""

    name: ClassVar[str] = "counts of distances"
    powers: ClassVar[tuple[int, ...]] = (0, 0, 0)
    of_rows: ClassVar[bool] = True
    domain: Domain
    targets: Targets  # standardised y
    # Of modalities whose axes leave nothing to Q, by what the squares of these `inputs` (columns,) add up to T2
    inputs: Inputs | None = None
    of_inputs: Mapping[str, Float] = field(default_factory=dict)

    def __call__(self, client: ClientRows) -> DistanceTotals | None:
        """Return a client's counts, which stay the same however often it is asked about a domain."""
        found: DistanceTotals | None = client.once(self.domain, lambda: self._of(client))
        return found

    def _of(self, client: ClientRows) -> DistanceTotals | None:
        y = client.targets(self.targets, self.subset)
        if not len(y):
            return None
        counts = np.zeros((len(self.domain.blocks), 4, len(EDGES) + 1))
        blocks = list(self.domain.blocks.values())
        for m, found in chain(self._by_columns(client), self._by_inputs(client)):
            both = np.concatenate((found, blocks[m].left_out(found)), 1) / np.tile(blocks[m].units, 2)
            counts[m] += counted(both, EDGES)
        return DistanceTotals(float(len(y)), counts, counted(y, Y_EDGES))

    def _by_columns(self, client: ClientRows) -> Iterator[tuple[int, Float]]:
        """Yield the number of each other modality, and T2 and Q (n, 2) of a slab of the rows that have it."""
        for m, (name, block) in enumerate(self.domain.blocks.items()):
            if name not in self.of_inputs and len(self.domain.columns[name]):
                for rows in client.slabs(Block(self.domain.columns[name], m), self.subset):
                    yield m, block.distances(rows)

    def _by_inputs(self, client: ClientRows) -> Iterator[tuple[int, Float]]:
        """Yield the same of the modalities `of_inputs`, in one pass over these."""
        if self.inputs is None or not self.of_inputs:
            return
        names, there, start = list(self.domain.blocks), client.presence(self.subset), 0
        for x in client.inputs(self.inputs, self.subset):
            squares, stop = np.square(x, dtype=np.float64), start + len(x)
            for name, by_output in self.of_inputs.items():
                m, found = names.index(name), np.zeros((len(x), 2))
                found[:, T2] = squares @ by_output
                yield m, found[there[start:stop, m]]
            start = stop


def counted_rows(query: DistanceCounts, totals: DistanceTotals | None) -> Domain:
    """Return the domain after the rows of those who have answered were counted."""
    if totals is None:
        return query.domain
    return query.domain.with_rows(totals.distances[:, :2], totals.distances[:, 2:], totals.y)


class ErrorCountTotals(NamedTuple):
    """The number of rows held out, and of each client its position and its rows (q, bins) by output and bin."""

    n_rows: float
    rows: EachSaid


class ErrorCounts(Query):
    """The kind of message that counts of errors are, whatever predicts."""

    name: ClassVar[str] = "counts of errors"
    powers: ClassVar[tuple[int, ...]] = (0, 0)
    seen: ClassVar[str] = "each"


@dataclass(frozen=True, eq=False)
class MixtureErrorCounts(ErrorCounts):
    """How far off a mixture is on the rows that each fold holds out, its members fitted on the others."""

    members: MemberErrors
    weights: Float  # (M, q)

    @property
    def subset(self) -> Subset:
        """The rows it is about."""
        return self.members.subset

    def __call__(self, client: ClientRows) -> ErrorCountTotals | None:
        """Return a client's counts."""
        used = self.weights.any(1)  # a member that failed has no weight, and no errors
        mixed = [np.einsum("mq,qmn->nq", self.weights[used], found[:, used]) for found in self.members.of(client)]
        return binned(client.position, np.concatenate(mixed)) if mixed else None


@dataclass(frozen=True, eq=False)
class NetworkErrorCounts(ErrorCounts):
    """How far off a network alone is on the rows that were held out of its training."""

    model: Model
    targets: Targets  # standardised y
    subset: Subset

    def __call__(self, client: ClientRows) -> ErrorCountTotals | None:
        """Return a client's counts."""
        errors = client.codes(self.model, self.subset)[1] - client.targets(self.targets, self.subset)
        return binned(client.position, errors) if len(errors) else None


def held_out_counts(totals: ErrorCountTotals | None, n_outputs: int) -> HeldOutCounts | None:
    """Return the counts of all clients who hold out rows; None where nobody does."""
    if totals is None:
        return None
    entries = [
        (position, output, place, n)
        for position, by_output in sorted(totals.rows)
        for output, by_bin in enumerate(by_output)
        for place, n in enumerate(by_bin)
        if n
    ]
    return HeldOutCounts(np.array(entries, dtype=np.int64).reshape(-1, 4), n_outputs)


def binned(position: int, errors: Float) -> ErrorCountTotals:
    """Return the counts of a client's errors (n, q) of standardised y."""
    by_output = tuple(tuple(map(int, of_output)) for of_output in counted(np.abs(errors), ERROR_EDGES))
    return ErrorCountTotals(float(len(errors)), EachSaid({(position, by_output)}))
