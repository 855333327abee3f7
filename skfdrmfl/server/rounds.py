"""The federated algorithm, a round at a time, about one model.

broadcast w_t -> participants train E local epochs on L_k -> aggregate by |D_k| -> the algorithm moves to w_{t+1}

A run is a generator. It yields what it asks of the clients and is sent the answers; `training.drive_together` asks for
many runs at once. After each round it yields where it stands.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.common.arrays import Indices
from skfdrmfl.method.objective import record_names
from skfdrmfl.protocol.algorithm_state import AlgorithmState
from skfdrmfl.protocol.dropped_clients import finite_replicas
from skfdrmfl.protocol.messages import Averaged, Broadcast, HeldOutSums, Update
from skfdrmfl.protocol.plan import Schedule
from skfdrmfl.protocol.replicas import Members
from skfdrmfl.server.aggregation import Average, Collected, aggregation_of
from skfdrmfl.server.aggregation.aggregates import keep_untrained_parameters
from skfdrmfl.server.algorithms import ALGORITHMS
from skfdrmfl.server.algorithms.base import Round
from skfdrmfl.server.history import Reports
from skfdrmfl.server.privacy import noise
from skfdrmfl.server.privacy.mechanism import NoisyMean, with_adapted_clip
from skfdrmfl.server.trained import Best, ServerState, Trained, advance, invite, means

# Lengths are taken of as many parameters at a time as stay in cache, in float64.
BLOCK = 64_000


@dataclass(frozen=True, eq=False)
class Train:
    """Asks some clients to train from what is broadcast. The answer is None, after all updates have been taken."""

    participants: Indices  # (C,), places among the members
    broadcast: Broadcast  # of one run
    take: Callable[[Update], None]  # is given each `Update` as it comes


@dataclass(frozen=True, eq=False)
class TrainRounds:
    """Asks for many rounds in the server's place. The answer is an iterator of `Averaged`, or None: ask round by round.

    The iterator ends early before a round in which something is not finite.
    """

    invited: Sequence[Indices]  # who takes part in each round
    broadcast: Broadcast  # what is sent out in the first
    rate_factors: Sequence[float]  # of each round
    memory: AlgorithmState  # what the algorithm keeps before the first
    each_round: bool  # whether to be told of each round by itself


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Asks how a model errs on the rows held out. The answer is the `HeldOutSums` of this run."""

    model: NDArray


Request = Train | TrainRounds | HeldOut
Aggregate = Average | Collected | NoisyMean


def federated_run(
    members: Members,
    schedule: Schedule,
    trained: Trained,
    *,
    available: NDArray[np.bool_] | None = None,
    used: NDArray[np.bool_] | None = None,
    each_round: bool = True,
) -> Generator[Request | Trained, Any, None]:
    """Train one run to its end, from where it stands: `Trained.begin`, or after some rounds, which is yielded first.

    An update whose parameters or loss are not finite is dropped. Where all are, or the model after a round is not
    finite, the run has diverged: it keeps the last finite model and ends. A round of which too few clients are there,
    or that nobody answers, leaves the model as it is.

    `available` (rounds or more, K) says who can be invited to each round, and in further rows who may come later; None:
    all. What the algorithm keeps of a client that comes no more is forgotten. With privacy, `used` (D,) are the
    parameters that are sent. Without `each_round`, a block of rounds that are trained in one go is yielded as one.
    """
    n_rounds, privacy = len(schedule.rate_factors), schedule.privacy
    if schedule.patience is not None and trained.best is None:
        error, _ = means((yield HeldOut(trained.state.weights)))
        at_start = Best(trained.state, 0, error, schedule.patience)
        validation, of_each = np.zeros((0, 2)), np.zeros((0, len(members.positions)))
        record = replace(trained.record, validation=validation, validation_of_each=of_each, best_round=0)
        trained = replace(trained, best=at_start, record=record)
    if trained.n_rounds or not n_rounds:
        yield trained
    if privacy is not None and trained.record.clip_norms:
        privacy = replace(privacy, clip_norm=trained.record.clip_norms[-1])
    in_one_go = goes_in_one_go(schedule) and available is None

    while not trained.is_over(n_rounds):
        if in_one_go:
            blocks = yield _rounds_ahead(members, schedule, trained, each_round=each_round)
            in_one_go = blocks is not None
            for block in blocks or ():
                trained = _after(trained, block, schedule.history_size)
                yield trained
            if trained.is_over(n_rounds):
                break

        # Who is there, and who is invited.
        t, state, algorithm = trained.n_rounds, trained.state, ALGORITHMS[schedule.algorithm]
        there, present = None, members
        if available is not None:
            there, gone = available[t], ~np.logical_or.reduce(available[t:])
            present, state = members.without(gone), replace(state, memory=state.memory.forgetting(gone))
        if privacy is None:
            participants = invited(members, schedule, state.round_index, there)
        else:
            participants = noise.poisson_sample(privacy.n_clients, privacy.sampling_rate)

        # The model goes out, and updates are added as they come.
        broadcast = Broadcast(
            state.weights,
            state.history,
            state.round_index,
            schedule.rate_factors[t],
            algorithm.shift(state.memory, present),
        )
        nothing = np.zeros_like(state.weights)
        origin = nothing if algorithm.averages_directions else state.weights
        aggregate: Aggregate
        if privacy is None:
            aggregate = aggregation_of(schedule, origin, members.counts[participants], members.group_of)
        else:
            aggregate = noisy = NoisyMean(origin, privacy, used)
        answers = _Answers(members, schedule, state, aggregate, origin)
        yield Train(participants, broadcast, answers.take)

        # The algorithm makes the next model of the aggregate.
        facts = Round(present, broadcast.rate_factor, answers.answered, answers.steps)
        middle, weights, memory = answers.moved(facts)
        diverged = answers.lost or not np.isfinite(weights).all()
        if diverged:
            middle, weights, memory = origin, state.weights, state.memory
        state = advance(state, weights, memory, schedule.history_size)
        reports = answers.reports(squared_distances(middle[None], origin))
        record = trained.record.after(reports, np.flatnonzero(answers.dropped))
        if privacy is not None:
            before, privacy = privacy, with_adapted_clip(privacy, noisy.share_within)
            record = record.after_clip(before.clip_norm, privacy.clip_norm)

        # Clients say how it errs on rows held out.
        best = trained.best
        if best is not None:
            sums: HeldOutSums = yield HeldOut(state.weights)
            best = best.or_better(state, t + 1, means(sums)[0])
            record = record.after_held_out(means(sums), sums.mse_of_each, best.round)
        trained = Trained(state, record, best, diverged)
        yield trained


def goes_in_one_go(schedule: Schedule) -> bool:
    """Return whether nothing happens between rounds but the mean, and what those who train can do by themselves."""
    plain = not schedule.is_robust and schedule.privacy is None and schedule.patience is None
    return ALGORITHMS[schedule.algorithm].server_step is not None and plain


def invited(
    members: Members, schedule: Schedule, round_index: int, available: NDArray[np.bool_] | None = None
) -> Indices:
    """Return who takes part in a round: a share of those who are there, nobody where too few are."""
    there = np.arange(len(members.positions)) if available is None else np.flatnonzero(available)
    if len(there) < max(1, schedule.min_clients):
        return there[:0]
    return there[invite(members.seed, round_index, len(there), schedule.participation)]


def _rounds_ahead(members: Members, schedule: Schedule, trained: Trained, *, each_round: bool) -> TrainRounds:
    """Return what is asked for all rounds to come."""
    state, factors = trained.state, schedule.rate_factors[trained.n_rounds :]
    numbers = range(state.round_index, state.round_index + len(factors))
    if schedule.participation >= 1.0:
        who = [invited(members, schedule, state.round_index)] * len(factors)
    else:
        who = [invited(members, schedule, number) for number in numbers]
    sent = Broadcast(state.weights, state.history, state.round_index, factors[0])
    return TrainRounds(who, sent, factors, state.memory, each_round)


def _after(trained: Trained, block: Averaged, history_size: int) -> Trained:
    """Return where a run stands after a block of rounds."""
    who, counts = block.participants, np.array([len(mine) for mine in block.participants])
    told = np.concatenate((block.losses, block.moved[:, None]), -1, dtype=np.float64)
    told[:, -1] = relative_drift(told[:, -1], np.repeat(block.steps[:, 0], counts))
    n_silent = len(who) - len(block.weights)  # rounds whose models nobody asks for any more
    state = replace(trained.state, round_index=trained.state.round_index + n_silent)
    for weights in block.weights:
        state = advance(state, weights, block.memory, history_size)
    return replace(trained, state=state, record=trained.record.after(Reports(counts, np.concatenate(who), told)))


class _Answers:
    """What comes back in a round of one run."""

    def __init__(self, members: Members, schedule: Schedule, state: ServerState, aggregate: Aggregate, origin: NDArray):
        self._members, self._state, self._memory = members, state, state.memory
        self._algorithm, self._is_private = ALGORITHMS[schedule.algorithm], schedule.privacy is not None
        self._aggregate, self._origin = aggregate, origin
        self._sent_from = (
            state.weights if self._algorithm.client_task.sends_parameters else np.zeros_like(state.weights)
        )
        n_clients = len(members.positions)
        # `record_names`, with squared lengths of updates in the place of the drift, of those who have answered.
        self._told: list[tuple[Indices, NDArray]] = []
        # Whose updates are in the aggregate, and whose were not finite. With privacy nobody may know.
        self.answered, self.dropped = np.zeros((2, n_clients), dtype=bool)
        self.steps = np.zeros(n_clients, dtype=np.int64)

    @np.errstate(over="ignore", invalid="ignore", divide="ignore")  # what is not finite is dropped
    def take(self, update: Update) -> None:
        """Take the update of some members into the aggregate."""
        members, model = self._members, self._state.weights
        if members.group_of is not None:
            n_rows = members.counts[update.replicas]
            kept = keep_untrained_parameters(update.weights, self._sent_from, n_rows, members.group_of)
            update = replace(update, weights=kept)
        if self._is_private:  # nothing else of a client is paid for, not even that its update was not finite
            self._aggregate.add(members.counts[update.replicas], update.weights)
            return
        moved = squared_distances(update.weights, self._sent_from)
        usable = finite_replicas(update, moved)
        self.dropped[update.replicas[~usable]] = True
        update, moved = update.of(usable), moved[usable]
        if not len(moved):
            return
        mine = update.replicas
        points, self._memory = self._algorithm.read(self._memory, update, model, members)
        if points is not update.weights:
            moved = squared_distances(points, self._origin)
        self._aggregate.add(members.counts[mine], points)
        self.answered[mine] = True
        if update.steps is not None:
            self.steps[mine] = update.steps
        self._told.append((mine, np.concatenate((update.losses, moved[:, None]), -1, dtype=np.float64)))

    def reports(self, step: NDArray) -> Reports:
        """Return what those who have answered report of a round with a step (1,) of this squared length."""
        if not self._told:
            return Reports(np.zeros(1, np.int64), np.zeros(0, np.int64), np.zeros((0, len(record_names()))))
        who, told = map(np.concatenate, zip(*self._told, strict=True))
        order = np.argsort(who)
        who, told = who[order], told[order]
        told[:, -1] = relative_drift(told[:, -1], step)
        return Reports(np.array([len(who)]), who, told)

    @property
    def lost(self) -> bool:
        """Whether updates were dropped, and none is left."""
        return bool(self.dropped.any()) and not self.answered.any()

    @np.errstate(over="ignore", invalid="ignore")
    def moved(self, facts: Round) -> tuple[NDArray, NDArray, AlgorithmState]:
        """Return the aggregate, the next model (D,) and what the algorithm keeps; without an answer all stays."""
        middle, state = self._aggregate.result(), self._state
        if not self._is_private and not self.answered.any():  # an algorithm may move a model that nobody trains, too
            return middle, state.weights, state.memory
        return middle, *self._algorithm.step(self._memory, state.weights, middle, facts)


@np.errstate(over="ignore", invalid="ignore")  # of a run that diverges
def squared_distances(weights: NDArray, model: NDArray) -> NDArray[np.float64]:
    """Return |w - v|^2 of each row w of `weights` (n, D) and a model v (D,).

    Added up in float64 and returned with float32's digits. Bits: see docs/maintainers.md, "float32's digits".
    """
    n_rows = max(1, BLOCK // weights.shape[1])
    squares = np.empty(len(weights))
    for first in range(0, len(weights), n_rows):
        away = (weights[first : first + n_rows] - model).astype(np.float64)
        squares[first : first + n_rows] = np.einsum("ij,ij->i", away, away)
    return squares.astype(np.float32).astype(np.float64)


def relative_drift(moved: NDArray[np.floating], step: NDArray[np.floating] | float) -> NDArray[np.float64]:
    """Return each client's |w_k - w_t|^2, `moved` (..., K), over |w_{t+1} - w_t|^2, `step` (..., 1), less one.

    Its average by rows is sum_k p_k |w_k - w_{t+1}|^2 / |w_{t+1} - w_t|^2, the spread of the clients about their
    average relative to the length of the step: 0 when all return the same model, about n - 1 when n equal clients go
    independent ways, more when they undo each other's work.
    """
    tiny = float(np.finfo(np.float32).tiny)  # without any movement the drift is 0
    with np.errstate(invalid="ignore", over="ignore"):  # infinite lengths: the run has as good as diverged
        return (np.asarray(moved) + tiny) / (np.asarray(step, dtype=np.float64) + tiny) - 1.0
