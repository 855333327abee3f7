"""Who trains in a round, as far as a server knows it.

A replica is one client of one run; a run is one federation (a candidate, a fold, a seed). To the engines they are all
the same thing: entries of one big stack, each with its own data and hyper-parameters.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skfdrmfl.common import randomness
from skfdrmfl.common.arrays import U64, Indices
from skfdrmfl.federation.runs import Settings


@dataclass(frozen=True)
class Cohort:
    """The replicas of all runs.

    Attributes
    ----------
    runs, positions, seeds : ndarray of shape (R,)
        Run of each replica, its client's position in `clients_`, and the run's seed.
    settings : tuple of Settings, one a run
    counts : ndarray of int of shape (R,) or (R, 1 + M)
        What the server weighs a replica's parameters by: its rows. Where rows lack modalities, all its rows, then
        those that have each modality, which count for its encoder.
    group_of : Tensor of int of shape (D,), default=None
        Where rows lack modalities, the column of `counts` of each parameter (`Network.encoder_of`).
    """

    runs: Indices
    positions: Indices
    seeds: U64
    settings: tuple[Settings, ...]
    counts: Indices
    group_of: Tensor | None = None

    @property
    def sizes(self) -> Indices:
        """Rows of each replica (R,)."""
        return self.counts if self.counts.ndim == 1 else self.counts[:, 0]

    @property
    def n_runs(self) -> int:
        """Number of runs."""
        return len(self.settings)

    def staying(self, stays: NDArray[np.bool_]) -> Cohort:
        """Return the cohort in which those who do not stay, of all replicas (R,), weigh nothing any more."""
        counts = self.counts.copy()
        counts[~stays] = 0
        return replace(self, counts=counts)

    def setting(self, name: str, like: Tensor) -> Tensor:
        """Return one of the settings of each run (runs, 1), of the type and device of `like`."""
        values = [getattr(settings, name) for settings in self.settings]
        return torch.tensor(values, dtype=like.dtype, device=like.device).unsqueeze(-1)

    def dropout(self, replicas: Indices) -> NDArray[np.float64] | None:
        """Return `modality_dropout` of some replicas (C,), or None where none of them drops anything."""
        probability = np.array([self.settings[run].modality_dropout for run in self.runs[replicas]])
        return probability if probability.any() else None

    def keys(self, replicas: Indices, round_index: int) -> U64:
        """Return each replica's key of a round."""
        return randomness.client_keys(self.seeds[replicas], round_index, self.positions[replicas].astype(np.uint64))
