"""What the server asks of the clients in a round, who they are, and what they send back.

A replica is one client of one run; a run is one federation (a candidate, a fold, a seed). To the engines they
are all the same thing: rows of one big stack, each with its own data and hyper-parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skfdrmfl.common import randomness
from skfdrmfl.common.arrays import U64, Indices, Present
from skfdrmfl.federation.runs import Run, Settings
from skfdrmfl.model.objective import TermWeights


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
    seeds: U64
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

    def keys(self, replicas: Indices, round_index: int) -> U64:
        """Each replica's key of this round."""
        return randomness.client_keys(self.seeds[replicas], round_index, self.positions[replicas].astype(np.uint64))


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


def make_cohort(runs: Sequence[Run]) -> Cohort:
    """Stack the runs' clients as replicas; runs that share rows keep sharing them."""
    places: dict[tuple[int, int, int], int] = {}
    tables: list[tuple[Tensor, Tensor]] = []
    presents: list[Present | None] = []
    n_rows = 0
    rows, sizes, positions = [], [], []
    held_out = []
    for run in runs:
        key = (id(run.x), id(run.y), id(run.present))
        if key not in places:
            places[key] = n_rows
            tables.append((run.x, run.y))
            presents.append(run.present)
            n_rows += len(run.x)
        rows += [places[key] + client_rows for client_rows in run.partition.rows]
        sizes.append(run.partition.sizes)
        positions.append(run.partition.positions)
        if run.held_out is not None:
            held_out.append(places[key] + np.concatenate(run.held_out.rows))
    n_clients = [len(run.partition.rows) for run in runs]
    one = len(tables) == 1
    return Cohort(
        x=tables[0][0] if one else torch.cat([x for x, _ in tables]),
        y=tables[0][1] if one else torch.cat([y for _, y in tables]),
        rows=np.concatenate(rows),
        offsets=np.concatenate(([0], np.cumsum(np.concatenate(sizes)))),
        runs=np.repeat(np.arange(len(runs)), n_clients),
        positions=np.concatenate(positions),
        seeds=np.repeat(np.array([run.seed for run in runs], dtype=np.uint64), n_clients),
        settings=tuple(run.settings for run in runs),
        held_out=tuple(held_out),
        present=_stacked_present(presents, [len(x) for x, _ in tables]),
    )


def _stacked_present(presents: Sequence[Present | None], n_rows: Sequence[int]) -> Present | None:
    """`present` of several tables below each other."""
    known = [present for present in presents if present is not None]
    if not known:
        return None
    everything = [np.ones((n, known[0].shape[1]), dtype=bool) for n in n_rows]
    return np.concatenate([a if p is None else p for p, a in zip(presents, everything, strict=True)])
