"""Standardisation from noisy moments within public bounds: one exchange, one line on the bill."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from typing import ClassVar, NamedTuple

import numpy as np

from skfdrmfl.common.arrays import Float, Indices
from skfdrmfl.data.transforms import BlockTransform, scaled
from skfdrmfl.protocol.door import Block, ClientRows, Federation, OfAllRows
from skfdrmfl.protocol.ledger import NOISY
from skfdrmfl.server.privacy import noise
from skfdrmfl.server.privacy.mechanism import clipped

# Moments are asked of everybody and are worth little noise: multiplier of their noise, in those of a round.
MOMENTS_NOISE = 4.0
# Columns that fill their bounds evenly have moments of about this length each, which is the most that is let through.
LENGTH_OF_COLUMN = 0.5


@dataclass(frozen=True)
class Bounds:
    """Public bounds of the columns of a block, both (p,): values beyond are taken to lie on them."""

    low: Float
    high: Float

    def of(self, columns: Indices) -> Bounds:
        """Return the bounds of some of the columns."""
        return Bounds(self.low[columns], self.high[columns])

    @property
    def middle(self) -> Float:
        """Half-way between the bounds (p,)."""
        return (self.low + self.high) / 2

    @property
    def half(self) -> Float:
        """Half of the distance between the bounds (p,)."""
        return (self.high - self.low) / 2


class ClippedMeans(NamedTuple):
    """One client's means of columns and of their squares, clipped together, (2 p,) of all blocks."""

    values: Float


@dataclass(frozen=True, eq=False)
class ClippedMoments(OfAllRows):
    """Means over a client's rows of u and u^2, u in [-1, 1] between the bounds; every client weighs the same."""

    name: ClassVar[str] = "clipped moments"
    seen: ClassVar[str] = NOISY
    powers: ClassVar[tuple[int, ...]] = (0,)
    blocks: tuple[Block, ...]
    bounds: tuple[Bounds, ...]
    clip_norm: float  # the most that one client's means are long

    def __call__(self, client: ClientRows) -> ClippedMeans:
        """Return a client's means."""
        parts = []
        for block, bounds in zip(self.blocks, self.bounds, strict=True):
            n_rows, total = 0, np.zeros(2 * len(bounds.low))
            for x in client.slabs(block, self.subset):
                u = np.clip((x - bounds.middle) / bounds.half, -1.0, 1.0)
                total += np.concatenate((u.sum(0), np.square(u).sum(0)))
                n_rows += len(x)
            parts.append(total / n_rows)
        clipped_sums, _ = clipped(np.concatenate(parts)[None], self.clip_norm)
        return ClippedMeans(clipped_sums[0])


def standardisations(
    federation: Federation,
    blocks: Mapping[str, Block],
    bounds: Mapping[str, Bounds],
    n_clients: int,
    noise_multiplier: float,
) -> dict[str, BlockTransform]:
    """Return the standardisation of each block, from moments with noise `noise_multiplier` times their sensitivity.

    A variance smaller than twice its noise is taken to be that: a column that does not vary cannot be told from one
    that varies little.
    """
    n_columns = sum(len(bounds[name].low) for name in blocks)
    clip_norm = LENGTH_OF_COLUMN * sqrt(n_columns)
    (answer,) = federation.sum(
        ClippedMoments(tuple(blocks.values()), tuple(bounds[name] for name in blocks), clip_norm)
    )
    deviation = noise_multiplier * clip_norm
    means = (answer.values + noise.gaussian(2 * n_columns, deviation)) / n_clients
    smallest = max(2 * deviation / n_clients, 1e-6)
    found, start = {}, 0
    for name in blocks:
        within, p = bounds[name], len(bounds[name].low)
        mean, square = np.clip(means[start : start + p], -1.0, 1.0), means[start + p : start + 2 * p]
        variance = np.clip(square - mean**2, smallest, 1.0)
        found[name] = scaled(within.middle + within.half * mean, within.half * np.sqrt(variance))
        start += 2 * p
    return found
