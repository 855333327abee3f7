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
from skfdrmfl.ridge import Linear
from skfdrmfl.rounds import federated_rounds
from skfdrmfl.server import ServerState
from skfdrmfl.stopping import EarlyStopping


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
    held_out : Partition, default=None
        Rows that its clients hold out.
    linear : Linear, default=None
        After training the model is to predict `share` times what the network predicts plus this.
    share : float
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
    held_out: Partition | None = None
    linear: Linear | None = None
    share: float = 1.0


@dataclass(frozen=True)
class Schedule:
    """What runs that train together have in common.

    rate_factors, one a round, multiply the learning rate; local_epochs is E; patience is how many rounds without
    a better error on the rows held out end a run, None if it does not stop early.
    """

    rate_factors: tuple[float, ...]
    local_epochs: int
    batch_size: int
    participation: float
    history_size: int
    patience: int | None = None


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


@dataclass(frozen=True)
class Record:
    """What is recorded of one run.

    losses (rounds, K, n), what is `RECORDED` of its clients; with early stopping, validation (rounds,), the error on
    the rows held out, and the best round, 0 if the first weights were never bettered.
    """

    losses: NDArray[np.float64]
    validation: NDArray[np.float64] | None = None
    best_round: int | None = None


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
    stopping : EarlyStopping, default=None
    validation : ndarray of shape (rounds, runs), default=None
        Mean squared errors on the rows held out.
    """

    state: ServerState
    losses: NDArray[np.float64]
    replica_runs: NDArray[np.int64]
    diverged: NDArray[np.bool_]
    stopping: EarlyStopping | None = None
    validation: NDArray[np.float64] | None = None

    @property
    def n_rounds(self) -> int:
        """Rounds completed."""
        return len(self.losses)

    def models_of(self, run: int) -> Tensor:
        """Models of one run (1 + H, D): the global one, or that of the best round, then earlier ones, latest first."""
        best = self.state.weights if self.stopping is None else self.stopping.best
        return torch.stack([models[run] for models in (best, *self.state.history)])

    def record_of(self, run: int) -> Record:
        """What is recorded of one run, up to the round it stopped in."""
        losses = self.losses[:, self.replica_runs == run]
        if self.stopping is None or self.validation is None:
            return Record(losses)
        n_rounds = min(len(losses), int(self.stopping.best_round[run]) + self.stopping.patience)
        return Record(losses[:n_rounds], self.validation[:n_rounds, run], int(self.stopping.best_round[run]))


def train(network: Network, runs: Sequence[Run], schedule: Schedule, engine: str) -> Iterator[Trained]:
    """Train the runs together; yields where they stand after every round, or at once if there is none."""
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
    stopping = None
    if schedule.patience is not None:
        stopping = EarlyStopping(network, cohort, schedule.patience, state.weights)
    records = federated_rounds(
        backend,
        state,
        schedule.rate_factors,
        participation=schedule.participation,
        history_size=schedule.history_size,
        stopping=stopping,
    )
    losses = np.empty((len(schedule.rate_factors), len(cohort.runs), len(RECORDED)))
    validation = np.empty((len(schedule.rate_factors), len(runs)))
    if not schedule.rate_factors:
        followed = None if stopping is None else validation
        yield Trained(state, losses, cohort.runs, np.zeros(len(runs), dtype=bool), stopping, followed)
    for t, record in enumerate(records):
        losses[t] = record.losses
        if record.validation is not None:
            validation[t] = record.validation
        followed = None if stopping is None else validation[: t + 1]
        yield Trained(record.state, losses[: t + 1], cohort.runs, record.diverged, stopping, followed)
