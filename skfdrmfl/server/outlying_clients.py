"""The guard of the sums: who answers a query out of line with most is left out of this sum and of all that follow.

A sum has no robust rule: one client whose values are a thousand times those of the others is all there is to their
sum, and so to centre, scale and whitening. What is compared is how large answers are a row, in logarithms, in which
other units are a shift. Directions and shapes are not compared: clients may hold what they like, so long as its size is
not beyond anything that most of them have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.common.arrays import Float
from skfdrmfl.common.warn import warn_caller
from skfdrmfl.protocol.door import Query
from skfdrmfl.protocol.dropped_clients import OUT_OF_LINE, DroppedClient, warning
from skfdrmfl.protocol.queries.whitening import Magnitudes

# An answer is out of line if it differs from the median one by this factor, where values are compared as they are, ...
UNITS = 30.0
# ... or exceeds it by this one, where it is a sum of what has gone through that: squared deviations from a mean, which
# most share, are a hundred times larger at an honest client who holds the tail of a skew y ...
SUMS = 100.0
# ... and by this many standard deviations of the answers' logarithms, estimated from their median absolute deviation:
# where clients differ much, as those sorted by a y of many orders of magnitude do, more is needed to stand out.
DEVIATIONS = 3.0
MAD_OF_NORMAL = 0.6745
# With fewer answers nobody can say which is out of line.
FEWEST_ANSWERS = 3


class OutlyingClients:
    """Who has been left out so far; `clients` are the labels in the order of `clients_`, `excluded` places in it."""

    def __init__(self, clients: Sequence[Any]):
        self._clients = clients
        self.excluded: set[int] = set()

    def judge(self, queries: Sequence[Query], answers: Sequence[Mapping[int, Any]], n_rows: Mapping[int, int]) -> None:
        """Leave out who answers one of some queries out of line, and warn of it.

        `answers` are those to each query by position, `n_rows` by position for answers that begin with no count of
        rows.
        """
        found: set[int] = set()
        for query, by_position in zip(queries, answers, strict=True):
            if len(by_position) >= FEWEST_ANSWERS:
                positions, theirs = np.array(list(by_position)), list(by_position.values())
                counts = [float(a[0]) if np.ndim(a[0]) == 0 else n_rows[p] for p, a in by_position.items()]
                found |= set(positions[_out_of_line(query, theirs, np.array(counts, dtype=np.float64))].tolist())
        self.excluded |= found
        said = warning(self._entries(found), OUT_OF_LINE)
        if said is not None:
            warn_caller(said)

    def left_out(self) -> list[DroppedClient]:
        """Return who was left out, for `dropped_clients_`."""
        return self._entries(self.excluded)

    def _entries(self, positions: set[int]) -> list[DroppedClient]:
        return [{"client": self._clients[p], "reason": OUT_OF_LINE, "rounds": []} for p in sorted(positions)]


def _out_of_line(query: Query, answers: Sequence[Any], n_rows: Float) -> NDArray[np.bool_]:
    """Return which answers (n,) to a query are out of line in any of their parts."""
    out = np.zeros(len(answers), dtype=bool)
    for power, part in zip(query.powers, zip(*answers, strict=True), strict=True):
        if power:
            sums = np.stack([np.asarray(value, dtype=np.float64).ravel() for value in part])
            finite = np.isfinite(sums).all(1)
            out |= ~finite
            compare = other_units if isinstance(query, Magnitudes) else too_large
            out[finite] |= compare(sums[finite], n_rows[finite], power)
    return out


def too_large(sums: Float, n_rows: Float, power: int = 1) -> NDArray[np.bool_]:
    """Return which (K,) of some clients' sums (K, p) over `n_rows` (K,) are far larger than those of most.

    A mean over few rows may be far from 0 by chance where the mean over many is near it, so a sum must stand out both
    among sums of n rows that add up and among those of n rows that cancel, which grow with sqrt(n). The sums grow with
    `power` of the rows' units.
    """
    means = sums / n_rows[:, None]
    by_rows = _stands_out(means, power, SUMS)
    by_root = _stands_out(means * np.sqrt(n_rows)[:, None], power, SUMS)
    return np.minimum(by_rows, by_root) > 1


def other_units(sums: Float, n_rows: Float, power: int = 1) -> NDArray[np.bool_]:
    """Return which of some clients' sums of absolute values are far larger or far smaller than those of most.

    Smaller units move centre and scale as well. Compared are the lengths of the mean absolute values, which the largest
    columns make, and their medians over columns relative to what is typical of each. All zeros are in no units.
    """
    means = sums / n_rows[:, None]
    typical = np.median(means, axis=0)
    relative = np.median(means[:, typical > 0] / typical[typical > 0], axis=1) if typical.any() else means[:, 0]
    of_all, of_columns = _stands_out(means, power, UNITS), _stands_out(relative[:, None], power, UNITS)
    return np.maximum(np.abs(of_all), np.abs(of_columns)) > 1


def _stands_out(values: Float, power: int, factor: float) -> Float:
    """Return how far the length of each row of `values` (K, p) is from the median one, 1 where it is out of line.

    Rows of zeros are nowhere in logarithms, and are not judged.
    """
    largest = np.abs(values).max(1, initial=0.0)
    judged = largest > 0
    if judged.sum() < FEWEST_ANSWERS:
        return np.zeros(len(values))
    lengths = np.linalg.norm(values[judged] / largest[judged, None], axis=1)  # which cannot overflow
    logarithms = (np.log(largest[judged]) + np.log(lengths)) / power
    away = logarithms - np.median(logarithms)
    deviation = float(np.median(np.abs(away))) / MAD_OF_NORMAL
    out = np.zeros(len(values))
    out[judged] = away / max(log(factor), DEVIATIONS * deviation)
    return out
