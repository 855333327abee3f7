"""What rules have in common that need all updates at once: who votes on what."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.common.arrays import Indices
from skfdrmfl.server.aggregation.mean import by_group

# From updates w_k - w_t (K, D), and how many of them may be dishonest: the update (D,) of the model.
Rule = Callable[[NDArray, int], NDArray]
# From the same: other updates (K', D), and how many of those may be dishonest.
Mixing = Callable[[NDArray, int], tuple[NDArray, int]]


class Collected:
    """One round's aggregate by a `rule` over all updates, after a `mixing`, kept until all have come.

    **Each client has one vote, however many rows it has**: a count of rows is but a claim. A client has no vote on a
    group of parameters for which it has no rows, such as the encoder of a modality that it lacks, and each group is
    aggregated by itself among those who have. Who does not answer has no vote either; where nobody has one the
    parameters stay as they were sent out. Where fewer vote than twice `n_byzantine`, as many count as dishonest as a
    majority of honest ones leaves room for. `origin` and `group_of` are those of `mean.Average`.
    """

    def __init__(
        self,
        origin: NDArray,
        group_of: Indices | None = None,
        *,
        rule: Rule,
        mixing: Mixing | None = None,
        n_byzantine: int = 0,
    ):
        self._origin, self._group_of = origin, group_of
        self._rule, self._mixing, self._n_byzantine = rule, mixing, n_byzantine
        self._kept: list[tuple[Indices, NDArray]] = []

    def add(self, n_rows: Indices, weights: NDArray) -> None:
        """Keep the parameters of some clients."""
        self._kept.append((by_group(n_rows), weights.copy()))

    @np.errstate(over="ignore", invalid="ignore")  # whether the model is finite is looked at afterwards
    def result(self) -> NDArray:
        """Return the model (D,)."""
        model = self._origin.copy()
        if not self._kept:
            return model
        votes = np.concatenate([n_rows for n_rows, _ in self._kept]) > 0
        moved = np.concatenate([weights for _, weights in self._kept]) - self._origin
        if self._group_of is None:
            return model + self._of(moved[votes[:, 0]]) if votes.any() else model
        for group in np.unique(self._group_of).tolist():
            mine = self._group_of == group
            if votes[:, group].any():
                model[mine] += self._of(moved[np.ix_(votes[:, group], mine)])
        return model

    def _of(self, points: NDArray) -> NDArray:
        """Return the aggregate (d,) of the votes (n, d) on some parameters."""
        votes = points, min(self._n_byzantine, (len(points) - 1) // 2)
        return self._rule(*(votes if self._mixing is None else self._mixing(*votes)))
