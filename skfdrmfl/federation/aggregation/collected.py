"""What rules have in common that need all updates of a run at once: who votes on what, and run by run."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from skfdrmfl.common.arrays import Indices

# From updates w_k - w_t (K, D) of one run, and how many of them may be dishonest: the update (D,) of the model.
Rule = Callable[[Tensor, int], Tensor]
# From the same: other updates (K', D), and how many of those may be dishonest.
Mixing = Callable[[Tensor, int], tuple[Tensor, int]]


class Collected:
    """One round's aggregate by a rule over the updates of each run, kept until all have come. See `base.Aggregation`.

    **Each client has one vote, however many rows it has**: a count of rows is but a claim. A client has no vote on a
    group of parameters for which it has no rows, such as the encoder of a modality that it lacks, and each group is
    aggregated by itself among those who have. Who does not answer has no vote either; where nobody has one the
    parameters stay as they were sent out. Where fewer vote than twice `n_byzantine`, as many count as dishonest as a
    majority of honest ones leaves room for.

    Parameters
    ----------
    broadcast, runs, n_rows, group_of
        As of `base.Aggregation`; of `n_rows` only who has any matters.
    rule : callable
        From updates w_k - w_t (K, D) and `n_byzantine` to that of the model (D,).
    mixing : callable, default=None
        What the updates go through before.
    n_byzantine : int
        How many of the clients of a run may be dishonest.
    """

    def __init__(
        self,
        broadcast: Tensor,
        runs: Indices,
        n_rows: Indices,
        group_of: Tensor | None = None,
        *,
        rule: Rule,
        mixing: Mixing | None = None,
        n_byzantine: int = 0,
    ):
        self._broadcast, self._rule, self._mixing, self._n_byzantine = broadcast, rule, mixing, n_byzantine
        n_groups = n_rows.reshape(len(runs), -1).shape[1]
        of = torch.zeros(broadcast.shape[1], dtype=torch.int64) if group_of is None else group_of.cpu()
        self._groups = [torch.nonzero(of == group)[:, 0].to(broadcast.device) for group in range(n_groups)]
        self._kept: list[tuple[Indices, Indices, Tensor]] = []

    def add(self, runs: Indices, n_rows: Indices, weights: Tensor) -> None:
        """Keep the parameters (C, D) of clients of `runs` (C,) with `n_rows` (C,) or (C, groups)."""
        self._kept.append((runs, n_rows.reshape(len(runs), -1), weights.clone()))

    def result(self) -> Tensor:
        """Return the models (runs, D)."""
        models = self._broadcast.clone()
        if not self._kept:
            return models
        runs, n_rows = (np.concatenate([kept[i] for kept in self._kept]) for i in (0, 1))
        weights = torch.cat([kept[2] for kept in self._kept])
        moved = weights - self._broadcast[torch.as_tensor(runs, device=weights.device)]
        for run in np.unique(runs).tolist():
            for group, columns in enumerate(self._groups):
                voters = np.flatnonzero((runs == run) & (n_rows[:, group] > 0))
                if len(voters) and len(columns):
                    points = moved[torch.as_tensor(voters, device=weights.device)]
                    models[run, columns] += self._of(points if len(self._groups) == 1 else points[:, columns])
        return models

    def _of(self, points: Tensor) -> Tensor:
        """Return the aggregate (d,) of the votes (n, d) on some parameters."""
        votes = points, min(self._n_byzantine, (len(points) - 1) // 2)
        return self._rule(*(votes if self._mixing is None else self._mixing(*votes)))
