"""Runs that train together: one exchange with the clients carries what all of them ask.

A run is one federation with its own rows, seed and hyper-parameters (a candidate of tuning). Runs whose networks have
equal shapes and whose schedules are equal train together.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import tee
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.method.network import Network
from skfdrmfl.method.objective import uses
from skfdrmfl.protocol.algorithm_state import AlgorithmState
from skfdrmfl.protocol.door import Training
from skfdrmfl.protocol.messages import Averaged, Broadcast, HeldOutErrors, HeldOutSums
from skfdrmfl.protocol.plan import Schedule, Start
from skfdrmfl.server.rounds import HeldOut, Request, Train, TrainRounds, federated_run
from skfdrmfl.server.trained import Trained

Run = Generator[Request | Trained, Any, None]


def train(
    training: Training,
    network: Network,
    starts: Sequence[Start],
    schedule: Schedule,
    resume: Sequence[Trained] | None = None,
    *,
    each_round: bool = True,
) -> Iterator[tuple[Trained, ...]]:
    """Train all runs together; yield where each stands after every round, or at once if there is none.

    A run goes on from where it stood after some of its rounds, in `resume`, and yields that first. `each_round` is that
    of `rounds.federated_run`.
    """
    used = None
    if schedule.privacy is not None:
        used = network.trained(uses(training.cohort.settings[0].terms, "critic"))
    runs = []
    for run, start in enumerate(starts):
        members = training.cohort.members_of(run)
        trained = Trained.begin(start, members, schedule) if resume is None else resume[run]
        available = None if start.available is None else start.available[:, members.positions]
        runs.append(federated_run(members, schedule, trained, available=available, used=used, each_round=each_round))
    return drive_together(runs, training)


def drive_together(runs: Sequence[Run], training: Training) -> Iterator[tuple[Trained, ...]]:
    """Let many runs go on, in the order of those of `training`, and put what they ask at a time into one exchange.

    Yielded is where each run stands, whenever all that go on have said so; the others stand where they ended.
    """
    exchange = _Exchange(training)
    asked: dict[int, Request | Trained] = {}
    stands: dict[int, Trained] = {}

    def go_on(run: int, answer: Any = None) -> None:
        """Take what a run asks next, if it goes on."""
        asked.pop(run, None)
        with suppress(StopIteration):
            asked[run] = runs[run].send(answer)

    for run in range(len(runs)):
        go_on(run)
    while asked:
        requests = {run: request for run, request in asked.items() if not isinstance(request, Trained)}
        if not requests:
            stands |= {run: trained for run, trained in asked.items() if isinstance(trained, Trained)}
            yield tuple(stands[run] for run in range(len(runs)))
            for run in sorted(asked):
                go_on(run)
            continue
        kind = type(next(iter(requests.values())))
        for run, answer in exchange.answers({r: q for r, q in requests.items() if type(q) is kind}).items():
            go_on(run, answer)


class _Exchange:
    """Asks the clients what several runs ask, all of it at once.

    The arrays of all runs are stacked; a run that asks nothing is stacked with the models that it had last. The same
    models give the same stack, by which clients who are elsewhere know that they have it.
    """

    def __init__(self, training: Training):
        self._training, self._cohort = training, training.cohort
        self._replicas = [self._cohort.replicas_of(run) for run in range(self._cohort.n_runs)]
        self._models: list[tuple[NDArray, ...]] = [()] * self._cohort.n_runs  # of each run, the latest first
        self._ahead: set[int] = set()  # runs of whose models the latest has not been sent out to train
        self._stacks: dict[tuple[int, ...], tuple[tuple[NDArray, ...], NDArray]] = {}

    def answers(self, requests: dict[int, Any]) -> dict[int, Any]:
        """Return the answer to each run's request; all are of one kind."""
        kind = type(next(iter(requests.values())))
        if kind is HeldOut:
            return self._held_out(requests)
        return self._rounds(requests) if kind is TrainRounds else self._round(requests)

    def _round(self, requests: dict[int, Train]) -> dict[int, None]:
        """Let the participants of all runs train, and hand each run its clients' updates."""
        broadcasts = {run: request.broadcast for run, request in requests.items()}
        participants = [self._replicas[run].start + request.participants for run, request in requests.items()]
        sent = replace(self._stacked(broadcasts), shift=self._shift(broadcasts))
        for update in self._training.train(np.concatenate(participants), sent):
            of_run = self._cohort.runs[update.replicas]
            for run in np.unique(of_run).tolist():
                mine = update.of(of_run == run)
                first = self._replicas[run].start
                requests[run].take(replace(mine, replicas=mine.replicas - first) if first else mine)
        return dict.fromkeys(requests)

    def _rounds(self, requests: dict[int, TrainRounds]) -> dict[int, Iterator[Averaged] | None]:
        """Let the clients' side go through many rounds of all runs, if it can."""
        broadcast = self._stacked({run: request.broadcast for run, request in requests.items()})
        starts = [self._replicas[run].start for run in requests]
        joined: dict[tuple[int, ...], NDArray] = {}  # rounds with the same participants have the same array
        invited = []
        for who in zip(*(request.invited for request in requests.values()), strict=True):
            key = tuple(map(id, who))
            if key not in joined:
                joined[key] = np.concatenate([first + mine for first, mine in zip(starts, who, strict=True)])
            invited.append(joined[key])
        factors = next(iter(requests.values())).rate_factors
        each_round = any(request.each_round for request in requests.values())
        memory = AlgorithmState.stacked({run: request.memory for run, request in requests.items()}, self._replicas)
        blocks = self._training.average_rounds(iter(invited), broadcast, factors, memory, each_round=each_round)
        if blocks is None:
            return dict.fromkeys(requests)
        copies = tee(blocks, len(requests))  # runs go on in step, so that one block is kept at a time
        return {
            run: map(partial(Averaged.of_run, run=run, members=self._replicas[run]), copy)
            for run, copy in zip(requests, copies, strict=True)
        }

    def _held_out(self, requests: dict[int, HeldOut]) -> dict[int, HeldOutSums]:
        """Return the errors of each run on the rows held out."""
        for run, request in requests.items():
            self._models[run] = (request.model, *self._models[run])
            self._ahead.add(run)
        running = np.isin(np.arange(len(self._models)), list(requests))
        models = self._stack([models[0] if models else next(iter(requests.values())).model for models in self._models])
        (sums,) = self._training.sum(HeldOutErrors(models, running))
        return {
            run: HeldOutSums._make([*(part[run] for part in sums[:4]), sums.mse_of_each[self._replicas[run]]])
            for run in requests
        }

    # ------------------------------------------------------------------------------------------ all runs as one

    def _stacked(self, broadcasts: dict[int, Broadcast]) -> Broadcast:
        """Return what goes out for all runs; those that ask nothing stay where they are."""
        first = next(iter(broadcasts.values()))
        n_models = 1 + len(first.history)
        for run, models in enumerate(self._models):
            if run in broadcasts:
                models = (broadcasts[run].weights, *broadcasts[run].history)
            elif not models:  # it has ended before
                models = (first.weights,)
            elif run not in self._ahead:  # as if a round had passed without a step
                models = (models[0], *models)
            self._models[run] = (*models, *models[-1:] * n_models)[:n_models]
        self._ahead.clear()
        before, self._stacks = self._stacks, {}
        stacks = [self._stack([models[i] for models in self._models], before) for i in range(n_models)]
        return Broadcast(stacks[0], tuple(stacks[1:]), first.round_index, first.rate_factor)

    def _stack(
        self, rows: list[NDArray], before: dict[tuple[int, ...], tuple[tuple[NDArray, ...], NDArray]] | None = None
    ) -> NDArray:
        """Return the models (runs, D) of all runs: of the same models the same array."""
        key = tuple(map(id, rows))
        if key not in self._stacks:
            known = (before or {}).get(key)
            stacked = rows[0][None] if len(rows) == 1 else np.stack(rows)
            self._stacks[key] = (tuple(rows), stacked) if known is None else known
        return self._stacks[key][1]

    def _shift(self, broadcasts: dict[int, Broadcast]) -> NDArray | None:
        """Return the shifts of all replicas (R, D); None: of none."""
        shifts = {run: broadcast.shift for run, broadcast in broadcasts.items() if broadcast.shift is not None}
        if not shifts:
            return None
        if len(self._replicas) == 1:
            return shifts[0]
        like = next(iter(shifts.values()))
        out = np.zeros((len(self._cohort.runs), like.shape[1]), like.dtype)
        for run, shift in shifts.items():
            out[self._replicas[run]] = shift
        return out
