"""The messages of training, put into the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from skfdrmfl.common.arrays import Indices
from skfdrmfl.method.objective import term_names
from skfdrmfl.protocol.ledger import DOWN, EACH, NOISY, TOTAL, UP, Kind, Ledger
from skfdrmfl.protocol.messages import Broadcast
from skfdrmfl.protocol.plan import Schedule
from skfdrmfl.protocol.replicas import Replicas
from skfdrmfl.server.algorithms import ALGORITHMS


class TrainingLedger:
    """Counts what passes the door while runs of one federation train: numbers of `n_bytes`, D of them in a model."""

    def __init__(self, cohort: Replicas, ledger: Ledger, n_parameters: int, schedule: Schedule, n_bytes: int):
        self._cohort, self._ledger = cohort, ledger
        self._n_parameters, self._n_bytes, self._privacy = n_parameters, n_bytes, schedule.privacy
        algorithm = ALGORITHMS[schedule.algorithm]
        self._shifts = algorithm.server_step is not None and algorithm.server_step.controls
        self._shift = self._kind(DOWN, "shifts of gradients", (n_parameters,))
        self._answers = [self._kind(UP, *answer) for answer in answers_of(schedule, n_parameters)]

    def sent(self, participants: Indices, broadcast: Broadcast, n_models: Indices) -> None:
        """Count what goes out in a round to participants (C,): to each so many models, `n_models` (C,)."""
        self._ledger.round = broadcast.round_index + 1
        if len(participants) or self._privacy is not None:  # with privacy nobody may know that nobody came
            self.asked()
        if self._privacy is not None:
            self._ledger.crowd = max(1, round(self._privacy.n_expected))
        for n in sorted(set(n_models.tolist())) or [1 + len(broadcast.history)]:
            if n:
                self._count(participants[n_models == n], [self._models(n)])
        if broadcast.shift is not None:
            self._count(participants, [self._shift])

    def asked(self) -> None:
        """Count that clients were asked once more."""
        self._ledger.exchanges += 1

    def expected(self, round_index: int, participants: Indices, n_models: Indices) -> None:
        """Count a round before it has passed: so many models go out to participants (C,), and all answer."""
        nothing = np.zeros(0)
        self.sent(participants, Broadcast(nothing, (), round_index, 1.0, nothing if self._shifts else None), n_models)
        self.answered(participants)

    def answered(self, replicas: Indices) -> None:
        """Count what came back from some replicas."""
        self._count(replicas, self._answers)

    def rounds(self, participants: Sequence[Indices], round_index: int, n_models: Sequence[int]) -> None:
        """Count rounds in the server's place after `round_index` others; so many models go out, and all answer."""
        self._ledger.exchanges += sum(map(bool, map(len, participants)))
        others = [self._shift] * self._shifts + self._answers
        kinds = {n: [self._models(n), *others] for n in set(n_models)}
        first = 0
        for t in range(1, len(participants) + 1):
            if t == len(participants) or participants[t] is not participants[first]:
                of_rounds = {round_index + i + 1: kinds[n_models[i]] for i in range(first, t)}
                self._ledger.record_rounds(of_rounds, *self._clients(participants[first]))
                first = t

    def held_out(self, positions: Indices, name: str, sent_to: Indices | None = None) -> None:
        """Count how one run's errors on rows held out are asked for and answered; `sent_to` (None: all) get a model."""
        down = self._n_parameters * self._n_bytes
        whom = positions if sent_to is None else sent_to
        self._ledger.record(DOWN, "global models for rows held out", (self._n_parameters,), whom, down)
        self._ledger.record(UP, name, ((), (), (), ()), positions, 4 * 8, EACH)

    def _kind(self, direction: str, what: str, shape: tuple[int, ...], seen: str = TOTAL) -> Kind:
        """Return a kind of message, of this shape for each replica; those of all runs to or from a client are one."""
        n_runs, n_bytes = self._cohort.n_runs, prod(shape) * self._n_bytes
        shape = shape if n_runs == 1 else (n_runs, *shape)
        return Kind(direction, what, shape, n_bytes, seen if direction == UP else "")

    def _models(self, n: int) -> Kind:
        return self._kind(DOWN, "global models", (n, self._n_parameters))

    def _clients(self, replicas: Indices) -> tuple[Indices, Indices | int]:
        """Return the places of the clients (K,) of some replicas, and of each the number of its replicas."""
        positions = self._cohort.positions[replicas]
        return (positions, 1) if self._cohort.n_runs == 1 else np.unique(positions, return_counts=True)

    def _count(self, replicas: Indices, kinds: Sequence[Kind]) -> None:
        """Count messages of this round from or to some replicas."""
        self._ledger.record_rounds({self._ledger.round: kinds}, *self._clients(replicas))


def answers_of(schedule: Schedule, n_parameters: int) -> list[tuple[str, tuple[int, ...], str]]:
    """Return what comes back from each replica in a round, by its name, shape and who sees it; D are its parameters."""
    client_task, seen = ALGORITHMS[schedule.algorithm].client_task, EACH if schedule.is_robust else TOTAL
    if schedule.privacy is not None:
        answers: list[tuple[str, tuple[int, ...], str]] = [("clipped updates", (n_parameters,), NOISY)]
        if schedule.privacy.target_share is not None:
            answers.append(("updates within the clip", (), NOISY))
        return answers
    answers = [("parameters" if client_task.sends_parameters else "gradients", (n_parameters,), seen)]
    if client_task.also_sends_mean_gradient:
        answers.append(("mean gradients", (n_parameters,), EACH))
    answers.append(("loss terms", (len(term_names()),), EACH))
    if client_task.also_sends_steps:
        answers.append(("local steps", (), EACH))
    return answers
