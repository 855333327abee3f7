"""What the server asks of the clients in a round, who they are, and what they send back.

A replica is one client of one run; a run is one federation (a candidate, a fold, a seed). To the engines they
are all the same thing: rows of one big stack, each with its own data and hyper-parameters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skfdrmfl import _streams
from skfdrmfl.client import TermWeights
from skfdrmfl.missing import Present
from skfdrmfl.partition import Indices


@dataclass(frozen=True)
class Settings:
    """Hyper-parameters that may differ from run to run without changing a shape or a step count."""

    learning_rate: float
    weight_decay: float
    input_l1: float
    mi_weight: float
    kl_weight: float
    contrastive_weight: float
    temperature: float
    modality_dropout: float = 0.0


@dataclass(frozen=True)
class Cohort:
    """The replicas of all runs, and the rows they train on.

    Attributes
    ----------
    x : Tensor of shape (N, columns); y : Tensor of shape (N, q)
        Preprocessed rows.
    rows : ndarray
        Row numbers in x and y, replica after replica: replica r owns `rows[offsets[r]:offsets[r + 1]]`.
    offsets : ndarray of shape (R + 1,)
    runs, positions, seeds : ndarray of shape (R,)
        Run of each replica, its client's position in `clients_`, and the run's seed.
    settings : tuple of Settings, one a run
    held_out : tuple of ndarray, one a run
        Row numbers in x and y of the rows that its clients hold out, if any.
    present : ndarray of bool of shape (N, M), or None
        Which modalities each row has; None: all.
    """

    x: Tensor
    y: Tensor
    rows: Indices
    offsets: Indices
    runs: Indices
    positions: Indices
    seeds: _streams.U64
    settings: tuple[Settings, ...]
    present: Present | None = None
    held_out: tuple[Indices, ...] = ()

    @property
    def sizes(self) -> Indices:
        """Rows of each replica."""
        return np.diff(self.offsets)

    def rows_of(self, replica: int) -> Indices:
        """Row numbers of one replica."""
        return self.rows[self.offsets[replica] : self.offsets[replica + 1]]

    @property
    def counts(self) -> Indices:
        """What the server weighs a replica's parameters by: its rows (R,).

        Where rows lack modalities: (R, 1 + M), all its rows, then those that have each modality, which count for
        its encoder (`Network.encoder_of`).
        """
        if self.present is None:
            return self.sizes
        there = np.add.reduceat(self.present[self.rows], self.offsets[:-1], axis=0, dtype=np.int64)
        return np.column_stack((self.sizes, there))

    def dropout(self, replicas: Indices) -> NDArray[np.float64] | None:
        """`modality_dropout` of some replicas (C,), or None where none of them drops anything."""
        probability = np.array([self.settings[run].modality_dropout for run in self.runs[replicas]])
        return probability if probability.any() else None

    def keys(self, replicas: Indices, round_index: int) -> _streams.U64:
        """Each replica's key of this round."""
        return _streams.client_keys(self.seeds[replicas], round_index, self.positions[replicas].astype(np.uint64))


@dataclass(frozen=True)
class Broadcast:
    """What the server sends out at the start of a round.

    weights (runs, D); history, earlier global models (runs, D) each; the round's number; and the factor that
    the schedule puts on every learning rate.
    """

    weights: Tensor
    history: tuple[Tensor, ...]
    round_index: int
    rate_factor: float


@dataclass(frozen=True)
class Update:
    """What some replicas return: parameters (C, D), and loss terms averaged over their steps (C, terms)."""

    replicas: Indices
    weights: Tensor
    losses: Tensor


def term_weights(cohort: Cohort, replicas: Indices) -> TermWeights:
    """The weights of the terms of some replicas, as tensors."""
    settings = [cohort.settings[run] for run in cohort.runs[replicas]]

    def column(values: list[float]) -> Tensor:
        return torch.tensor(values, dtype=cohort.x.dtype, device=cohort.x.device).unsqueeze(-1)

    def term(values: list[float]) -> Tensor | None:
        return column(values) if any(values) else None

    return TermWeights(
        term([s.mi_weight for s in settings]),
        term([s.kl_weight for s in settings]),
        term([s.contrastive_weight for s in settings]),
        column([s.temperature for s in settings]),
    )
