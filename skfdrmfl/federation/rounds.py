"""The federated algorithm, a round at a time.

broadcast w_t -> participants train E local epochs on L_k -> aggregate by |D_k| -> the algorithm moves to w_{t+1}
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import cos, pi

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skfdrmfl.common.arrays import Float
from skfdrmfl.federation import drift, server
from skfdrmfl.federation.aggregation import aggregation_of
from skfdrmfl.federation.aggregation.mean import without_idle
from skfdrmfl.federation.algorithms import ALGORITHMS
from skfdrmfl.federation.cohort import Cohort
from skfdrmfl.federation.door import Training
from skfdrmfl.federation.left_out import finite_replicas
from skfdrmfl.federation.messages import Broadcast
from skfdrmfl.federation.runs import Schedule
from skfdrmfl.federation.stopping import EarlyStopping
from skfdrmfl.model.objective import RECORDED, TERMS


@dataclass(frozen=True)
class RoundRecord:
    """One finished round.

    Attributes
    ----------
    state : ServerState
        Where the server stands after it.
    losses : ndarray of shape (R, n)
        What is `RECORDED` of each replica, NaN for those who were not invited or did not answer.
    diverged : ndarray of bool of shape (runs,)
    dropped : ndarray of bool of shape (R,)
        Whose updates were not finite, and went into nothing.
    validation : ndarray of shape (runs, 2), default=None
        Mean squared errors and NWJ values on rows held out, if any are.
    """

    state: server.ServerState
    losses: Float
    diverged: NDArray[np.bool_]
    dropped: NDArray[np.bool_]
    validation: Float | None = None


def cosine_decay(t: int, n_rounds: int) -> float:
    """Return the factor on the learning rate in round t of n_rounds: from 1 towards 0 along half a cosine."""
    return 0.5 * (1.0 + cos(pi * t / n_rounds))


def federated_rounds(
    training: Training,
    cohort: Cohort,
    state: server.ServerState,
    schedule: Schedule,
    *,
    group_of: Tensor | None = None,
    stopping: EarlyStopping | None = None,
) -> Iterator[RoundRecord]:
    """Run one round for each rate factor of the schedule, from `state` on, yielding a record after each.

    An update whose parameters or loss are not finite is dropped. A run in which all are, or whose average is not
    finite, has diverged: it keeps the last finite model and trains no more, the other runs go on. So it is with a run
    that `stopping` finds done.

    Parameters
    ----------
    training : Training
        The clients.
    cohort : Cohort
    state : ServerState
    schedule : Schedule
    group_of : Tensor of int of shape (D,), default=None
        Where rows lack modalities, the group of each parameter (`Network.encoder_of`).
    stopping : EarlyStopping, default=None
    """
    algorithm = ALGORITHMS[schedule.algorithm]
    device = state.weights.device
    runs = torch.as_tensor(cohort.runs, device=device)
    diverged = np.zeros(cohort.n_runs, dtype=bool)
    finished = diverged
    counts = cohort.counts
    replicas_of_run = [np.flatnonzero(cohort.runs == run) for run in range(cohort.n_runs)]
    for factor in schedule.rate_factors:
        participants = np.concatenate(
            [
                mine[server.invite(int(cohort.seeds[mine[0]]), state.round_index, len(mine), schedule.participation)]
                for run, mine in enumerate(replicas_of_run)
                if not finished[run]
            ]
        )
        shift = algorithm.shift(state.memory, runs)
        broadcast = Broadcast(state.weights, state.history, state.round_index, factor, shift)
        average = aggregation_of(schedule, state.weights, cohort.runs[participants], counts[participants], group_of)
        losses = np.full((len(cohort.runs), len(RECORDED)), np.nan)
        answered, dropped = np.zeros((2, len(cohort.runs)), dtype=bool)
        memory = state.memory
        for update in training.train(participants, broadcast):
            mine = update.replicas
            weights = update.weights
            if group_of is not None:
                weights = without_idle(weights, state.weights, cohort.runs[mine], counts[mine], group_of)
            moved = drift.squared_distances(weights, state.weights, cohort.runs[mine])
            usable = finite_replicas(update, moved)
            if not usable.all():
                dropped[mine[~usable]] = True
                update, mine, moved = update.of(usable), mine[usable], moved[usable]
                weights = weights[torch.as_tensor(usable, device=device)]
                if not usable.any():
                    continue
            average.add(cohort.runs[mine], counts[mine], weights)
            memory = algorithm.remember(memory, update, broadcast, runs)
            answered[mine] = True
            losses[mine, : len(TERMS)] = update.losses.cpu().numpy()
            losses[mine, -1] = moved
        weights, memory = algorithm.move(memory, state.weights, average.result(), factor)
        if finished.any():  # an algorithm may move a model that nobody trains, too
            going_on = torch.as_tensor(~finished, device=device)
            weights = torch.where(going_on.unsqueeze(-1), weights, state.weights)
            memory = memory.where(going_on, state.memory, runs)
        lost = np.setdiff1d(cohort.runs[dropped], cohort.runs[answered])
        if len(lost) or not torch.isfinite(weights.sum()):
            finite = torch.isfinite(weights).all(-1)
            finite[torch.as_tensor(lost, device=device)] = False
            diverged = diverged | ~finite.cpu().numpy()
            weights = torch.where(finite.unsqueeze(-1), weights, state.weights)
            memory = memory.where(finite, state.memory, runs)
        step = drift.squared_distances(weights, state.weights)
        losses[:, -1] = drift.relative_drift(losses[:, -1], step[cohort.runs])
        state = server.advance(state, weights, memory, schedule.history_size)
        validation = None if stopping is None else stopping.follow(state, ~finished)
        yield RoundRecord(state, losses, diverged, dropped, validation)
        finished = diverged if stopping is None else diverged | stopping.done
        if finished.all():
            return
