"""From prepared clients to trained weights: the server's loop over rounds, and what it leaves.

A run is one federation with its own rows, seed and hyper-parameters. Runs whose networks have equal shapes and
whose schedules are equal train together, in one pass of the torch engine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skfdrmfl.common.arrays import Float, Indices
from skfdrmfl.federation.algorithms import ALGORITHMS
from skfdrmfl.federation.cohort import Cohort
from skfdrmfl.federation.door import Training
from skfdrmfl.federation.ledger import Ledger
from skfdrmfl.federation.memory import Memory
from skfdrmfl.federation.record import Record
from skfdrmfl.federation.rounds import federated_rounds
from skfdrmfl.federation.runs import Schedule, Start
from skfdrmfl.federation.server import ServerState
from skfdrmfl.federation.stopping import Best, EarlyStopping
from skfdrmfl.model.network import Network
from skfdrmfl.model.objective import record_names, uses


@dataclass(frozen=True)
class Trained:
    """Where training stands after some rounds.

    Attributes
    ----------
    state : ServerState
        The global models, earlier ones, and what the algorithm remembers.
    losses : ndarray of shape (rounds, R, n)
        What is `record_names` of each replica in each round, NaN if absent.
    cohort : Cohort
    starts : tuple of Start
        Where each run began.
    diverged : ndarray of bool of shape (runs,)
        Runs that stopped, at their last finite model.
    dropped : ndarray of bool of shape (rounds, R)
        Updates that were not finite.
    ledgers : tuple of Ledger
        What passed the door for each run.
    best : Best, default=None
        With early stopping, where each run stood at its best.
    validation : ndarray of shape (rounds, runs, 2), default=None
        Mean squared errors and NWJ values on the rows held out.
    validation_of_each : ndarray of shape (rounds, R), default=None
        Mean squared errors of each replica on its own.
    clip_norms : tuple of float
        With privacy, the clip of each round, then that of the next.
    """

    state: ServerState
    losses: Float
    cohort: Cohort
    starts: tuple[Start, ...]
    diverged: NDArray[np.bool_]
    dropped: NDArray[np.bool_]
    ledgers: tuple[Ledger, ...]
    best: Best | None = None
    validation: Float | None = None
    validation_of_each: Float | None = None
    clip_norms: tuple[float, ...] = ()

    @property
    def n_rounds(self) -> int:
        """Rounds completed."""
        return len(self.losses)

    def is_over(self, n_rounds: int) -> bool:
        """Return whether no round follows, of `n_rounds` at most."""
        over = self.diverged
        if self.best is not None:
            over = over | (self.n_rounds - self.best.rounds >= self.best.patience)
        return self.n_rounds >= n_rounds or bool(over.all())

    def models_of(self, run: int) -> Tensor:
        """Return the models of one run (1 + H, D): the last or the best, then earlier ones, the latest first."""
        if self.best is not None:
            return torch.stack([self.best.weights[run], *self.best.histories[run]])
        return torch.stack([models[run] for models in (self.state.weights, *self.state.history)])

    def memory_of(self, run: int) -> Memory:
        """Return what the algorithm remembers of one run, client by client."""
        replicas = np.flatnonzero(self.cohort.runs == run)
        memory = self.state.memory if self.best is None else self.best.memory
        return memory.of_run(run, replicas, self.cohort.positions[replicas], self.starts[run].memory)

    def record_of(self, run: int) -> Record:
        """Return what is recorded of one run, up to the round it stopped in."""
        replicas = self.cohort.runs == run
        losses, dropped = self.losses[:, replicas], self.dropped[:, replicas]
        positions, sizes = self.cohort.positions[replicas], self.cohort.sizes[replicas]
        if self.best is None or self.validation is None:
            return Record(losses, positions, sizes, dropped=dropped, clip_norms=self.clip_norms)
        best_round = int(self.best.rounds[run])
        n_rounds = min(len(losses), best_round + self.best.patience)
        each = None if self.validation_of_each is None else self.validation_of_each[:n_rounds, replicas]
        validation = self.validation[:n_rounds, run]
        return Record(losses[:n_rounds], positions, sizes, validation, best_round, each, dropped[:n_rounds])

    def numbers_of(self, run: int) -> dict[str, float]:
        """Return what the last round of one run reports: its number "round", from 1, and means by name."""
        if not self.n_rounds:
            return {"round": 0}
        replicas = self.cohort.runs == run
        losses, positions, sizes = (
            self.losses[-1:, replicas],
            self.cohort.positions[replicas],
            self.cohort.sizes[replicas],
        )
        validation = None if self.validation is None else self.validation[-1:, run]
        return {
            "round": self.n_rounds,
            **Record(losses, positions, sizes, validation, clip_norms=self.clip_norms).numbers(),
        }


def train(
    training: Training,
    network: Network,
    starts: Sequence[Start],
    schedule: Schedule,
    resume: Trained | None = None,
) -> Iterator[Trained]:
    """Train all runs together; yield where they stand after every round, or at once if there is none.

    With `resume`, where such a training stood after some of its rounds, it goes on from there, and yields that first.
    """
    cohort = training.cohort
    state = start_together(starts, cohort, schedule) if resume is None else resume.state
    n_done, best = (0, None) if resume is None else (resume.n_rounds, resume.best)
    patience = schedule.patience
    stopping = None if patience is None else EarlyStopping(training, patience, state, best, n_done)
    n_rounds = len(schedule.rate_factors)
    losses = np.full((n_rounds, len(cohort.runs), len(record_names())), np.nan)
    dropped = np.zeros((n_rounds, len(cohort.runs)), dtype=bool)
    validation = None if stopping is None else np.full((n_rounds, cohort.n_runs, 2), np.nan)
    of_each = None if stopping is None else np.full((n_rounds, len(cohort.runs)), np.nan)
    clips: list[float] = []  # with privacy

    def stands(t: int, state: ServerState, diverged: NDArray[np.bool_]) -> Trained:
        followed = None if validation is None else validation[:t]
        best = None if stopping is None else stopping.best
        ledgers = tuple(training.ledgers)
        each = None if of_each is None else of_each[:t]
        return Trained(
            state,
            losses[:t],
            cohort,
            tuple(starts),
            diverged,
            dropped[:t],
            ledgers,
            best,
            followed,
            each,
            (*clips[:t], *clips[-1:]),
        )

    diverged = np.zeros(cohort.n_runs, dtype=bool) if resume is None else resume.diverged
    if resume is not None:
        clips += resume.clip_norms
        before = (losses, resume.losses), (validation, resume.validation), (of_each, resume.validation_of_each)
        for array, recorded in (*before, (dropped, resume.dropped)):
            if array is not None and recorded is not None:
                array[:n_done] = recorded
    if resume is not None or not n_rounds:
        yield stands(n_done, state, diverged)
    left = replace(schedule, rate_factors=schedule.rate_factors[n_done:])
    if left.privacy is not None and resume is not None and resume.clip_norms:
        left = replace(left, privacy=replace(left.privacy, clip_norm=resume.clip_norms[-1]))
    used = None if schedule.privacy is None else network.trained(uses(cohort.settings[0].terms, "critic"))
    available = _stacked_available(starts, cohort)
    available = None if available is None else available[n_done:]
    rounds = federated_rounds(
        training, cohort, state, left, stopping=stopping, diverged=diverged, available=available, used=used
    )
    for t, record in enumerate(rounds, n_done):
        losses[t], dropped[t] = record.losses, record.dropped
        clips[t:] = record.clip_norms
        if validation is not None and record.validation is not None:
            validation[t] = record.validation
        if of_each is not None and stopping is not None:
            of_each[t] = stopping.mse_of_each
        yield stands(t + 1, record.state, record.diverged)


def _stacked_available(starts: Sequence[Start], cohort: Cohort) -> NDArray[np.bool_] | None:
    """Return which replicas can be invited to each round, and may come later (rounds or more, R); None: all to all."""
    n_rows = max((len(start.available) for start in starts if start.available is not None), default=0)
    if not n_rows:
        return None
    available = np.ones((n_rows, len(cohort.runs)), dtype=bool)
    for run, start in enumerate(starts):
        if start.available is not None:
            replicas = cohort.runs == run
            available[:, replicas] = start.available[:, cohort.positions[replicas]]
    return available


def start_together(starts: Sequence[Start], cohort: Cohort, schedule: Schedule) -> ServerState:
    """Return the server's state before the first round of all runs."""
    weights = torch.stack([start.weights for start in starts])
    history = tuple(torch.stack(models) for models in zip(*(start.history for start in starts), strict=True))
    positions: list[Indices] = [cohort.positions[cohort.runs == run] for run in range(cohort.n_runs)]
    algorithm = ALGORITHMS[schedule.algorithm]
    memory = Memory.of_runs([start.memory for start in starts], positions)
    memory = algorithm.begin(memory, weights, len(cohort.runs))
    return ServerState(weights, history, starts[0].round_index, memory)
