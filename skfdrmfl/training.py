"""From prepared runs to trained weights: builds the cohort, starts the engine, drives the rounds.

A run is one federation with its own rows, seed and hyper-parameters. Runs whose networks have equal shapes and
whose schedules are equal train together, in one pass of the stacked engine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skfdrmfl.client import RECORDED
from skfdrmfl.cohort import Cohort, Settings
from skfdrmfl.engine import ENGINES
from skfdrmfl.missing import Present
from skfdrmfl.network import Network
from skfdrmfl.partition import Partition
from skfdrmfl.rounds import federated_rounds
from skfdrmfl.server import ServerState


@dataclass(frozen=True)
class Run:
    """One federation, ready to train.

    Attributes
    ----------
    x : Tensor of shape (n, columns); y : Tensor of shape (n, q)
        Preprocessed rows. Runs may share one tensor.
    partition : Partition
    settings : Settings
    seed : int
    weights : Tensor of shape (D,)
        Global model to start from.
    history : tuple of Tensor of shape (D,)
        Earlier global models, the latest first.
    round_index : int
        Rounds completed before.
    present : ndarray of bool of shape (n, M), or None
        Which modalities each row has; None: all.
    """

    x: Tensor
    y: Tensor
    partition: Partition
    settings: Settings
    seed: int
    weights: Tensor
    history: tuple[Tensor, ...] = ()
    round_index: int = 0
    present: Present | None = None


@dataclass(frozen=True)
class Schedule:
    """What runs that train together have in common.

    rate_factors, one a round, multiply the learning rate; local_epochs is E.
    """

    rate_factors: tuple[float, ...]
    local_epochs: int
    batch_size: int
    participation: float
    history_size: int


def make_cohort(runs: Sequence[Run]) -> Cohort:
    """Stack the runs' clients as replicas; runs that share rows keep sharing them."""
    places: dict[tuple[int, int, int], int] = {}
    tables: list[tuple[Tensor, Tensor]] = []
    presents: list[Present | None] = []
    n_rows = 0
    rows, sizes, positions = [], [], []
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
        present=_stacked_present(presents, [len(x) for x, _ in tables]),
    )


def _stacked_present(presents: Sequence[Present | None], n_rows: Sequence[int]) -> Present | None:
    """`present` of several tables below each other."""
    known = [present for present in presents if present is not None]
    if not known:
        return None
    everything = [np.ones((n, known[0].shape[1]), dtype=bool) for n in n_rows]
    return np.concatenate([a if p is None else p for p, a in zip(presents, everything, strict=True)])


@dataclass(frozen=True)
class Trained:
    """Where training stands after some rounds.

    Attributes
    ----------
    state : ServerState
        The global models, and earlier ones.
    losses : ndarray of shape (rounds, R, n)
        What is `RECORDED` of each replica in each round, NaN if absent.
    replica_runs : ndarray of shape (R,)
        Run of each replica.
    diverged : ndarray of shape (runs,)
        Runs that stopped, at their last finite model.
    """

    state: ServerState
    losses: NDArray[np.float64]
    replica_runs: NDArray[np.int64]
    diverged: NDArray[np.bool_]

    @property
    def n_rounds(self) -> int:
        """Rounds completed."""
        return len(self.losses)

    def models_of(self, run: int) -> Tensor:
        """Models of one run (1 + H, D): the global one, then earlier ones, the latest first."""
        return torch.stack([models[run] for models in (self.state.weights, *self.state.history)])

    def losses_of(self, run: int) -> NDArray[np.float64]:
        """What is `RECORDED` of one run's clients (rounds, K, n)."""
        return self.losses[:, self.replica_runs == run]


def train(network: Network, runs: Sequence[Run], schedule: Schedule, engine: str) -> Iterator[Trained]:
    """Train the runs together; yields where they stand after every round."""
    cohort = make_cohort(runs)
    history = tuple(torch.stack(models) for models in zip(*(run.history for run in runs), strict=True))
    state = ServerState(torch.stack([run.weights for run in runs]), history, runs[0].round_index)
    backend = ENGINES[engine](
        network,
        cohort,
        batch_size=schedule.batch_size,
        n_epochs=schedule.local_epochs,
        keep_history=schedule.history_size > 0,
    )
    records = federated_rounds(
        backend,
        state,
        schedule.rate_factors,
        participation=schedule.participation,
        history_size=schedule.history_size,
    )
    losses = np.empty((len(schedule.rate_factors), len(cohort.runs), len(RECORDED)))
    for t, record in enumerate(records):
        losses[t] = record.losses
        yield Trained(record.state, losses[: t + 1], cohort.runs, record.diverged)
