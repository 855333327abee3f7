"""How far off predictions of rows held out are, by counts in bins: what intervals are read off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from skfdrmfl.common.arrays import Float
from skfdrmfl.data.held_out import Subset
from skfdrmfl.method.intervals import ERROR_EDGES, HeldOutCounts
from skfdrmfl.protocol.door import ClientRows, Federation
from skfdrmfl.protocol.plan import Model, Targets
from skfdrmfl.protocol.queries.members import MemberErrors


class BinnedRows(frozenset[Any]):
    """Entries of `HeldOutCounts`, as tuples; those of two clients have none in common, and their sum is the union."""

    def __add__(self, other: frozenset[Any]) -> BinnedRows:
        return BinnedRows(self | other)


class ErrorCountTotals(NamedTuple):
    """The number of rows held out, and their errors."""

    n_rows: float
    entries: BinnedRows


@dataclass(frozen=True, eq=False)
class MixtureErrorCounts:
    """How far off a mixture is on the rows that each fold holds out, its members fitted on the others."""

    name: ClassVar[str] = "counts of errors"
    powers: ClassVar[tuple[int, ...]] = (0, 0)
    seen: ClassVar[str] = "each"
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
        return _binned(client.position, np.concatenate(mixed)) if mixed else None


@dataclass(frozen=True, eq=False)
class NetworkErrorCounts:
    """How far off a network alone is on the rows that were held out of its training."""

    name: ClassVar[str] = "counts of errors"
    powers: ClassVar[tuple[int, ...]] = (0, 0)
    seen: ClassVar[str] = "each"
    model: Model
    targets: Targets  # standardised y
    subset: Subset

    def __call__(self, client: ClientRows) -> ErrorCountTotals | None:
        """Return a client's counts."""
        errors = client.codes(self.model, self.subset)[1] - client.targets(self.targets, self.subset)
        return _binned(client.position, errors) if len(errors) else None


def held_out_counts(
    federation: Federation, query: MixtureErrorCounts | NetworkErrorCounts, n_outputs: int
) -> HeldOutCounts | None:
    """Return the counts of all clients who hold out rows; None where nobody does."""
    (answer,) = federation.sum(query)
    if answer is None:
        return None
    return HeldOutCounts(np.array(sorted(answer.entries), dtype=np.int64).reshape(-1, 4), n_outputs)


def _binned(position: int, errors: Float) -> ErrorCountTotals:
    """Return the counts of a client's errors (n, q)."""
    bins = np.searchsorted(ERROR_EDGES, np.abs(errors))
    entries = [
        (position, output, int(place), int(rows))
        for output, of_output in enumerate(bins.T)
        for place, rows in zip(*np.unique(of_output, return_counts=True), strict=True)
    ]
    return ErrorCountTotals(float(len(errors)), BinnedRows(entries))
