"""Intervals of predictions from how clients' predictions err on rows that they hold out: conformal, by counts.

Of n exchangeable absolute errors and one more, that one is among the ceil((n + 1) c) smallest with probability c or
more (V. Vovk, A. Gammerman, G. Shafer, Algorithmic Learning in a Random World, 2005). The n are of rows held out in
folds, predicted by models of the other rows, the one more of the model of all rows: cross-conformal, as exact as
leaving rows out changes little (V. Vovk, Annals of Mathematics and Artificial Intelligence 74, 2015, 9-28).
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import ceil

import numpy as np

from skfdrmfl.common.arrays import Float, Indices
from skfdrmfl.common.tree import registered

# Upper edges of the bins of absolute errors, in standard deviations of y; one more bin has what lies beyond.
ERROR_EDGES: Float = np.array(1e-5 * 1.025 ** np.arange(750), dtype=np.float64)


@registered
@dataclass(frozen=True, eq=False)
class HeldOutCounts:
    """How many rows that each client holds out are predicted how badly.

    `entries` (m, 4) have the position of a client in `clients_`, an output, a bin of `ERROR_EDGES`, and the number of
    rows in it; bins without rows have none.
    """

    entries: Indices
    n_outputs: int

    def n_rows(self) -> dict[int, int]:
        """Return how many rows each client holds out, by its position."""
        mine = self.entries[self.entries[:, 1] == 0]
        return {int(k): int(mine[mine[:, 0] == k, 3].sum()) for k in np.unique(mine[:, 0])}

    def half_width(self, rank: int, position: int | None = None) -> Float:
        """Return the upper edge (q,) of the bin of the `rank` smallest error of a client, or of all together."""
        edges, mine = np.append(ERROR_EDGES, np.inf), self.entries
        if position is not None:
            mine = mine[mine[:, 0] == position]
        counts = np.zeros((self.n_outputs, len(edges)), dtype=np.int64)
        np.add.at(counts, (mine[:, 1], mine[:, 2]), mine[:, 3])
        return edges[[np.searchsorted(of_output, rank) for of_output in counts.cumsum(1)]]


def fewest_rows(confidence: float) -> int:
    """Return the smallest number of errors among which `domain.rank_of` finds one."""
    share = Fraction(str(confidence))
    return ceil(share / (1 - share))
