"""Who trains in a round, as far as a server knows it.

A replica is one client of one run; a run is one federation (a candidate, a seed). To the engines they are all the same
thing: entries of one big stack, each with its own data and hyper-parameters. The server's code knows the clients of one
run, its members.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.common import randomness
from skfdrmfl.common.arrays import U64, Indices
from skfdrmfl.protocol.plan import Settings


@dataclass(frozen=True)
class Members:
    """The clients of one run."""

    positions: Indices  # (K,), place of each in `clients_`
    seed: int
    settings: Settings
    # (K,) or (K, 1 + M), what the server weighs a client's parameters by: its rows. Where rows lack modalities, all its
    # rows, then those that have each modality, which count for its encoder.
    counts: Indices
    # (D,), where rows lack modalities, the column of `counts` of each parameter (`Network.encoder_of`)
    group_of: Indices | None = None

    @property
    def sizes(self) -> Indices:
        """Rows of each client (K,)."""
        return self.counts if self.counts.ndim == 1 else self.counts[:, 0]

    def without(self, gone: NDArray[np.bool_]) -> Members:
        """Return the same clients, of whom those that are `gone` (K,) weigh nothing any more."""
        counts = self.counts.copy()
        counts[gone] = 0
        return replace(self, counts=counts)


@dataclass(frozen=True)
class Replicas:
    """The replicas of all runs, run by run."""

    runs: Indices  # (R,), run of each replica
    positions: Indices  # (R,), place of its client in `clients_`
    seeds: U64  # (R,), of its run
    settings: tuple[Settings, ...]  # of each run
    counts: Indices  # (R,) or (R, 1 + M)
    group_of: Indices | None = None  # (D,), as of `Members`

    @property
    def sizes(self) -> Indices:
        """Rows of each replica (R,)."""
        return self.counts if self.counts.ndim == 1 else self.counts[:, 0]

    @cached_property
    def n_runs(self) -> int:
        """Number of runs."""
        return len(self.settings)

    def replicas_of(self, run: int) -> slice:
        """Return the replicas of a run."""
        first, last = np.searchsorted(self.runs, (run, run + 1)).tolist()
        return slice(first, last)

    def members_of(self, run: int) -> Members:
        """Return the clients of a run."""
        mine = self.replicas_of(run)
        seed = int(self.seeds[mine][0]) if mine.start < mine.stop else 0
        return Members(self.positions[mine], seed, self.settings[run], self.counts[mine], self.group_of)

    def dropout(self, replicas: Indices) -> NDArray[np.float64] | None:
        """Return `modality_dropout` of some replicas (C,), or None where none of them drops anything."""
        probability = np.array([self.settings[run].modality_dropout for run in self.runs[replicas]])
        return probability if probability.any() else None

    def keys(self, replicas: Indices, round_index: int) -> U64:
        """Return each replica's key of a round."""
        return randomness.client_keys(self.seeds[replicas], round_index, self.positions[replicas].astype(np.uint64))
