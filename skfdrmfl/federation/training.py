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

from skfdrmfl.federation.cohort import make_cohort
from skfdrmfl.federation.engines import ENGINES
from skfdrmfl.federation.record import Record
from skfdrmfl.federation.rounds import federated_rounds
from skfdrmfl.federation.runs import Run, Schedule
from skfdrmfl.federation.server import ServerState
from skfdrmfl.federation.stopping import EarlyStopping
from skfdrmfl.model.network import Network
from skfdrmfl.model.objective import RECORDED


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
