"""The federated algorithm, a round at a time.

broadcast w_t -> participants train E local epochs on L_k -> aggregate by |D_k| -> the algorithm moves to w_{t+1}
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import cos, pi

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skfdrmfl.common.arrays import Float, Indices
from skfdrmfl.federation import drift, server
from skfdrmfl.federation.aggregation import aggregation_of
from skfdrmfl.federation.aggregation.mean import without_idle
from skfdrmfl.federation.algorithms import ALGORITHMS
from skfdrmfl.federation.cohort import Cohort
from skfdrmfl.federation.door import Training
from skfdrmfl.federation.left_out import finite_replicas
from skfdrmfl.federation.messages import Broadcast
from skfdrmfl.federation.privacy.mechanism import NoisyMean
from skfdrmfl.federation.runs import Schedule
from skfdrmfl.federation.stopping import EarlyStopping
from skfdrmfl.model.objective import record_names, term_names


@dataclass(frozen=True)
class RoundRecord:
    """One finished round.

    Attributes
    ----------
    state : ServerState
        Where the server stands after it.
    losses : ndarray of shape (R, n)
        What is `record_names` of each replica, NaN for those who were not invited or did not answer.
    diverged : ndarray of bool of shape (runs,)
    dropped : ndarray of bool of shape (R,)
        Whose updates were not finite, and went into nothing.
    validation : ndarray of shape (runs, 2), default=None
        Mean squared errors and NWJ values on rows held out, if any are.
    clip_norms : tuple of float
        With privacy, the clip of this round and that of the next.
    """

    state: server.ServerState
    losses: Float
    diverged: NDArray[np.bool_]
    dropped: NDArray[np.bool_]
    validation: Float | None = None
    clip_norms: tuple[float, ...] = ()


def cosine_decay(t: int, n_rounds: int) -> float:
    """Return the factor on the learning rate in round t of n_rounds: from 1 towards 0 along half a cosine."""
    return 0.5 * (1.0 + cos(pi * t / n_rounds))


def federated_rounds(
    training: Training,
    cohort: Cohort,
    state: server.ServerState,
    schedule: Schedule,
    *,
    stopping: EarlyStopping | None = None,
    diverged: NDArray[np.bool_] | None = None,
    available: NDArray[np.bool_] | None = None,
    used: Tensor | None = None,
) -> Iterator[RoundRecord]:
    """Run one round for each rate factor of the schedule, from `state` on, yielding a record after each.

    An update whose parameters or loss are not finite is dropped. A run in which all are, or whose average is not
    finite, has diverged: it keeps the last finite model and trains no more, the other runs go on. So it is with a run
    that `stopping` finds done. A run of which too few clients are there skips the round: its model stays.

    Parameters
    ----------
    training : Training
        The clients.
    cohort : Cohort
    state : ServerState
    schedule : Schedule
    stopping : EarlyStopping, default=None
    diverged : ndarray of bool of shape (runs,), default=None
        Runs that have diverged before; None: no run.
    available : ndarray of bool of shape (rounds, R) or more rows, default=None
        Who can be invited to each round, and in further rows who may come later; None: all. Who comes no more has
        left: what the algorithm remembers of it is forgotten.
    used : Tensor of bool of shape (D,), default=None
        With privacy, the parameters that are sent.
    """
    diverged = np.zeros(cohort.n_runs, dtype=bool) if diverged is None else diverged
    is_plain = ALGORITHMS[schedule.algorithm].only_averages and not schedule.is_robust and schedule.privacy is None
    if is_plain and stopping is None and available is None:
        yield from _averaged_rounds(training, cohort, state, schedule, diverged)
    else:
        yield from _rounds_by_the_server(training, cohort, state, schedule, stopping, diverged, available, used)


def _averaged_rounds(
    training: Training, cohort: Cohort, state: server.ServerState, schedule: Schedule, diverged: NDArray[np.bool_]
) -> Iterator[RoundRecord]:
    """Run rounds of which nothing is asked but the average: by the clients' side, where it goes through them itself."""
    replicas_of_run = [np.flatnonzero(cohort.runs == run) for run in range(cohort.n_runs)]
    nobody = np.zeros(len(cohort.runs), dtype=bool)
    while schedule.rate_factors and not diverged.all():
        factors = schedule.rate_factors
        going_on = [mine for mine, done in zip(replicas_of_run, diverged, strict=True) if not done]
        numbers = range(state.round_index, state.round_index + len(factors))
        invited = (_invited(cohort, going_on, number, schedule, None) for number in numbers)
        sent = Broadcast(state.weights, state.history, state.round_index, factors[0])
        rounds = training.average_rounds(invited, sent, factors, schedule.history_size)
        n_done = 0
        for averaged in rounds or ():
            n_done += 1
            losses: Float = np.concatenate((averaged.losses, averaged.moved[:, None]), 1, dtype=np.float64)
            losses[:, -1] = drift.relative_drift(losses[:, -1], averaged.steps[cohort.runs])
            state = server.advance(state, averaged.weights, state.memory, schedule.history_size)
            yield RoundRecord(state, losses, diverged, nobody)
        schedule = replace(schedule, rate_factors=factors[n_done:])
        # One round by the server: a client's update is not finite, or every round is.
        n_left = len(schedule.rate_factors) if rounds is None else 1
        here = replace(schedule, rate_factors=schedule.rate_factors[:n_left])
        for record in _rounds_by_the_server(training, cohort, state, here, None, diverged, None, None):
            yield record
            state, diverged = record.state, record.diverged
        schedule = replace(schedule, rate_factors=schedule.rate_factors[n_left:])


def _rounds_by_the_server(
    training: Training,
    cohort: Cohort,
    state: server.ServerState,
    schedule: Schedule,
    stopping: EarlyStopping | None,
    diverged: NDArray[np.bool_],
    available: NDArray[np.bool_] | None,
    used: Tensor | None,
) -> Iterator[RoundRecord]:
    """Run rounds one by one; parameters are those of `federated_rounds`."""
    algorithm = ALGORITHMS[schedule.algorithm]
    device = state.weights.device
    runs = torch.as_tensor(cohort.runs, device=device)
    finished = diverged if stopping is None else diverged | stopping.done
    counts, group_of = cohort.counts, cohort.group_of
    nothing = torch.zeros_like(state.weights)
    replicas_of_run = [np.flatnonzero(cohort.runs == run) for run in range(cohort.n_runs)]
    privacy = schedule.privacy
    for t, factor in enumerate(schedule.rate_factors):
        if finished.all():
            return
        there, members = None, cohort
        if available is not None:
            there, stays = available[t], np.logical_or.reduce(available[t:])
            members, state = cohort.staying(stays), replace(state, memory=state.memory.of_staying(stays))
        going_on = [mine for mine, done in zip(replicas_of_run, finished, strict=True) if not done]
        if privacy is None:
            participants = _invited(cohort, going_on, state.round_index, schedule, there)
        else:
            participants = privacy.invite()
        # What is sent is compared with what nobody's work would give: the model sent out, or a gradient of zero.
        origin = state.weights if algorithm.orders.trains else nothing
        shift = algorithm.shift(state.memory, members)
        broadcast = Broadcast(state.weights, state.history, state.round_index, factor, shift)
        noisy = None if privacy is None else NoisyMean(origin, privacy, used)
        average = noisy or aggregation_of(schedule, origin, cohort.runs[participants], counts[participants], group_of)
        losses = np.full((len(cohort.runs), len(record_names())), np.nan)
        answered, dropped = np.zeros((2, len(cohort.runs)), dtype=bool)
        memory = state.memory
        for update in training.train(participants, broadcast):
            mine = update.replicas
            weights = update.weights
            if group_of is not None:
                weights = without_idle(weights, origin, cohort.runs[mine], counts[mine], group_of)
            if noisy is not None:  # nothing else of a client is paid for, not even that its update was not finite
                noisy.add(cohort.runs[mine], counts[mine], weights)
                continue
            moved = drift.squared_distances(weights, origin, cohort.runs[mine])
            usable = finite_replicas(update, moved)
            if not usable.all():
                dropped[mine[~usable]] = True
                update, mine, moved = update.of(usable), mine[usable], moved[usable]
                weights = weights[torch.as_tensor(usable, device=device)]
                if not usable.any():
                    continue
            average.add(cohort.runs[mine], counts[mine], weights)
            memory = algorithm.remember(memory, update, broadcast, cohort)
            answered[mine] = True
            losses[mine, : len(term_names())] = update.losses.cpu().numpy()
            losses[mine, -1] = moved
        middle = average.result()
        weights, memory = algorithm.move(memory, cohort, state.weights, middle, factor)
        trained = np.bincount(cohort.runs[answered], minlength=cohort.n_runs) > 0
        if privacy is None and not trained.all():  # an algorithm may move a model that nobody trains, too
            moves = torch.as_tensor(trained, device=device)
            weights = torch.where(moves.unsqueeze(-1), weights, state.weights)
            memory = memory.where(moves, state.memory, runs)
        lost = np.setdiff1d(cohort.runs[dropped], cohort.runs[answered])
        if len(lost) or not torch.isfinite(weights.sum()):
            finite = torch.isfinite(weights).all(-1)
            finite[torch.as_tensor(lost, device=device)] = False
            diverged = diverged | ~finite.cpu().numpy()
            weights = torch.where(finite.unsqueeze(-1), weights, state.weights)
            memory = memory.where(finite, state.memory, runs)
            middle = torch.where(finite.unsqueeze(-1), middle, origin)
        step = drift.squared_distances(middle, origin)
        losses[:, -1] = drift.relative_drift(losses[:, -1], step[cohort.runs])
        state = server.advance(state, weights, memory, schedule.history_size)
        validation = None if stopping is None else stopping.follow(state, ~finished)
        clip_norms: tuple[float, ...] = ()
        if privacy is not None and noisy is not None:
            before, privacy = privacy, privacy.adapted(noisy.share_within)
            clip_norms = before.clip_norm, privacy.clip_norm
        yield RoundRecord(state, losses, diverged, dropped, validation, clip_norms)
        finished = diverged if stopping is None else diverged | stopping.done


def _invited(
    cohort: Cohort,
    replicas_of_runs: Sequence[Indices],
    round_index: int,
    schedule: Schedule,
    available: NDArray[np.bool_] | None,
) -> Indices:
    """Return who takes part in a round: a share of those of each run who are there, nobody where too few are."""
    invited = [np.zeros(0, dtype=np.int64)]
    for mine in replicas_of_runs:
        there = mine if available is None else mine[available[mine]]
        if len(there) >= schedule.min_clients:
            seed = int(cohort.seeds[mine[0]])
            invited.append(there[server.invite(seed, round_index, len(there), schedule.participation)])
    return np.concatenate(invited)
