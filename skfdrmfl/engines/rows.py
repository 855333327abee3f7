"""The prepared rows of the clients who train in one memory, stacked for the engines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.common.arrays import Indices, Present
from skfdrmfl.data.partition import Partition
from skfdrmfl.protocol.plan import Settings, Start
from skfdrmfl.protocol.replicas import Replicas


@dataclass(frozen=True)
class Run:
    """One federation's prepared rows, and where its server begins; runs may share arrays."""

    x: NDArray  # (n, columns)
    y: NDArray  # (n, q)
    partition: Partition  # rows to train on
    settings: Settings
    seed: int
    start: Start
    present: Present | None = None  # (n, M), which modalities each row has; None: all
    held_out: Partition | None = None  # rows that its clients hold out


@dataclass(frozen=True)
class TrainingRows:
    """The rows that the replicas of a cohort train on."""

    cohort: Replicas
    x: NDArray  # (N, columns), prepared
    y: NDArray  # (N, q)
    rows: Indices  # numbers in x and y, replica after replica: replica r owns `rows[offsets[r]:offsets[r + 1]]`
    offsets: Indices  # (R + 1,)
    present: Present | None = None  # (N, M), which modalities each row has; None: all
    held_out: tuple[Partition, ...] = ()  # one a run, of rows that its clients hold out; empty where nobody is asked

    def rows_of(self, replica: int) -> Indices:
        """Return the row numbers of one replica."""
        return self.rows[self.offsets[replica] : self.offsets[replica + 1]]


def stack(runs: Sequence[Run]) -> TrainingRows:
    """Stack the runs' clients as replicas; runs that share rows keep sharing them."""
    first_row: dict[tuple[int, int, int], int] = {}
    tables: list[tuple[NDArray, NDArray]] = []
    presents: list[Present | None] = []
    n_rows = 0
    rows, sizes, positions = [], [], []
    held_out = []
    for run in runs:
        key = (id(run.x), id(run.y), id(run.present))
        if key not in first_row:
            first_row[key] = n_rows
            tables.append((np.asarray(run.x), np.asarray(run.y)))
            presents.append(run.present)
            n_rows += len(run.x)
        start = first_row[key]
        rows.append(start + run.partition.joined)
        sizes.append(run.partition.sizes)
        positions.append(run.partition.positions)
        if run.held_out is not None:
            held_out.append(run.held_out.numbered(np.arange(start, start + len(run.x))))
    n_clients = [len(run.partition.positions) for run in runs]
    one = len(tables) == 1
    present = _stacked_present(presents, [len(x) for x, _ in tables])
    all_rows = np.concatenate(rows)
    offsets = np.concatenate(([0], np.cumsum(np.concatenate(sizes))))
    cohort = Replicas(
        runs=np.repeat(np.arange(len(runs)), n_clients),
        positions=np.concatenate(positions),
        seeds=np.repeat(np.array([run.seed for run in runs], dtype=np.uint64), n_clients),
        settings=tuple(run.settings for run in runs),
        counts=_counts(np.diff(offsets), None if present is None else present[all_rows], offsets),
    )
    return TrainingRows(
        cohort,
        tables[0][0] if one else np.concatenate([x for x, _ in tables]),
        tables[0][1] if one else np.concatenate([y for _, y in tables]),
        all_rows,
        offsets,
        present,
        tuple(held_out),
    )


def _counts(sizes: Indices, present: NDArray[np.bool_] | None, offsets: Indices) -> Indices:
    """Return `Replicas.counts`."""
    if present is None:
        return sizes
    by_modality = np.add.reduceat(present, offsets[:-1], axis=0, dtype=np.int64)
    return np.column_stack((sizes, by_modality))


def _stacked_present(presents: Sequence[Present | None], n_rows: Sequence[int]) -> Present | None:
    """Return `present` of several tables, one below another."""
    known = [present for present in presents if present is not None]
    if not known:
        return None
    everything = [np.ones((n, known[0].shape[1]), dtype=bool) for n in n_rows]
    return np.concatenate([a if p is None else p for p, a in zip(presents, everything, strict=True)])
