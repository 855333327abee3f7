"""How far out the rows lie, and over what range y does, by counts in bins: what the limits of a domain are read off."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import numpy as np

from skfdrmfl.common.arrays import Float
from skfdrmfl.method.domain import EDGES, T2, Y_EDGES, Domain, counted
from skfdrmfl.protocol.door import Block, ClientRows, OfAllRows
from skfdrmfl.protocol.plan import Inputs, Targets


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
        """Return a client's counts."""
        y = client.targets(self.targets, self.subset)
        if not len(y):
            return None
        counts = np.zeros((len(self.domain.blocks), 4, len(EDGES) + 1))
        for m, (name, block) in enumerate(self.domain.blocks.items()):
            columns = self.domain.columns[name]
            for found in self._distances(client, m, name) if len(columns) else ():
                both = np.concatenate((found, block.left_out(found)), 1) / np.tile(block.units, 2)
                counts[m] += [counted(values, EDGES) for values in both.T]
        return DistanceTotals(float(len(y)), counts, np.array([counted(of_output, Y_EDGES) for of_output in y.T]))

    def _distances(self, client: ClientRows, m: int, name: str) -> Iterator[Float]:
        """Yield T2 and Q (n, 2) of the rows that have a modality, a slab of rows at a time."""
        if self.inputs is None or name not in self.of_inputs:
            for rows in client.slabs(Block(self.domain.columns[name], m), self.subset):
                yield self.domain.blocks[name].distances(rows)
            return
        there, start = client.presence(self.subset)[:, m], 0
        for x in client.inputs(self.inputs, self.subset):
            found = np.zeros((len(x), 2))
            found[:, T2] = np.square(x, dtype=np.float64) @ self.of_inputs[name]
            yield found[there[start : start + len(x)]]
            start += len(x)


def counted_rows(query: DistanceCounts, totals: DistanceTotals | None) -> Domain:
    """Return the domain after the rows of those who have answered were counted."""
    if totals is None:
        return query.domain
    return query.domain.with_rows(totals.distances[:, :2], totals.distances[:, 2:], totals.y)
