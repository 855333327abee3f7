"""How far out the rows lie, and over what range y does, by counts in bins: what the limits of a domain are read off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from skfdrmfl.common.arrays import Float
from skfdrmfl.method.domain import EDGES, Y_EDGES, Domain, counted
from skfdrmfl.protocol.door import Block, ClientRows, OfAllRows
from skfdrmfl.protocol.plan import Targets

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

    def __call__(self, client: ClientRows) -> DistanceTotals | None:
        """Return a client's counts, which stay the same however often it is asked about a domain."""
        found: DistanceTotals | None = client.once(self.domain, lambda: self._of(client))
        return found

    def _of(self, client: ClientRows) -> DistanceTotals | None:
        y = client.targets(self.targets, self.subset)
        if not len(y):
            return None
        counts = np.zeros((len(self.domain.blocks), 4, len(EDGES) + 1))
        for m, (name, block) in enumerate(self.domain.blocks.items()):
            columns = self.domain.columns[name]
            for rows in client.slabs(Block(columns, m), self.subset) if len(columns) else ():
                found = block.distances(rows)
                both = np.concatenate((found, block.left_out(found)), 1) / np.tile(block.units, 2)
                counts[m] += counted(both, EDGES)
        return DistanceTotals(float(len(y)), counts, counted(y, Y_EDGES))


def counted_rows(query: DistanceCounts, totals: DistanceTotals | None) -> Domain:
    """Return the domain after the rows of those who have answered were counted."""
    if totals is None:
        return query.domain
    return query.domain.with_rows(totals.distances[:, :2], totals.distances[:, 2:], totals.y)
