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
    keys = [(id(run.x), id(run.y), id(run.present)) for run in runs]
    tables = dict(zip(keys, runs, strict=True))
    ends = np.cumsum([len(run.x) for run in tables.values()]).tolist()
    places = {key: np.arange(end - len(run.x), end) for (key, run), end in zip(tables.items(), ends, strict=True)}
    x, y = (
        parts[0] if len(parts) == 1 else np.concatenate(parts)
        for parts in ([np.asarray(getattr(run, name)) for run in tables.values()] for name in ("x", "y"))
    )
    present = _stacked_present([run.present for run in tables.values()], [len(run.x) for run in tables.values()])
    rows = np.concatenate([places[key][run.partition.joined] for key, run in zip(keys, runs, strict=True)])
    counts = np.concatenate([run.partition.sizes for run in runs])
    offsets = np.concatenate(([0], np.cumsum(counts)))
    if present is not None:
        by_modality = np.add.reduceat(present[rows], offsets[:-1], axis=0, dtype=np.int64)
        counts = np.column_stack((counts, by_modality))
    n_clients = [len(run.partition.positions) for run in runs]
    cohort = Replicas(
        runs=np.repeat(np.arange(len(runs)), n_clients),
        positions=np.concatenate([run.partition.positions for run in runs]),
        seeds=np.repeat(np.array([run.seed for run in runs], dtype=np.uint64), n_clients),
        settings=tuple(run.settings for run in runs),
        counts=counts,
    )
    held_out = [(key, run.held_out) for key, run in zip(keys, runs, strict=True) if run.held_out is not None]
    return TrainingRows(
        cohort, x, y, rows, offsets, present, tuple(partition.numbered(places[key]) for key, partition in held_out)
    )


def _stacked_present(presents: Sequence[Present | None], n_rows: Sequence[int]) -> Present | None:
    """Return `present` of several tables, one below another."""
    known = [present for present in presents if present is not None]
    if not known:
        return None
    everything = [np.ones((n, known[0].shape[1]), dtype=bool) for n in n_rows]
    return np.concatenate([a if p is None else p for p, a in zip(presents, everything, strict=True)])
