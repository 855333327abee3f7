"""The messages of training, put into the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

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
        self._answers = answers_of(schedule, n_parameters)

    def sent(self, participants: Indices, broadcast: Broadcast, n_models: Indices) -> None:
        """Count what goes out in a round to participants (C,): to each so many models, `n_models` (C,)."""
        self._ledger.round = broadcast.round_index + 1
        if len(participants) or self._privacy is not None:  # with privacy nobody may know that nobody came
            self.asked()
        if self._privacy is not None:
            self._ledger.crowd = max(1, round(self._privacy.n_expected))
        for n in sorted(set(n_models.tolist())) or [1 + len(broadcast.history)]:
            if n:
                self._count(participants[n_models == n], (DOWN, "global models", (n, self._n_parameters), TOTAL))
        if broadcast.shift is not None:
            self._count(participants, (DOWN, "shifts of gradients", (self._n_parameters,), TOTAL))

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
        self._count(replicas, *((UP, *answer) for answer in self._answers))

    def rounds(self, participants: Sequence[Indices], round_index: int, n_models: Sequence[int]) -> None:
        """Count rounds in the server's place after `round_index` others; so many models go out, and all answer."""
        self._ledger.exchanges += sum(map(bool, map(len, participants)))
        first = 0
        for t in range(1, len(participants) + 1):
            alike = t < len(participants) and n_models[t] == n_models[first]
            if not alike or participants[t] is not participants[first]:
                kinds: list[Any] = [(DOWN, "global models", (n_models[first], self._n_parameters), TOTAL)]
                if self._shifts:
                    kinds.append((DOWN, "shifts of gradients", (self._n_parameters,), TOTAL))
                kinds += [(UP, *answer) for answer in self._answers]
                self._count(participants[first], *kinds, rounds=range(round_index + first + 1, round_index + t + 1))
                first = t

    def held_out(self, positions: Indices, name: str, sent_to: Indices | None = None) -> None:
        """Count how one run's errors on rows held out are asked for and answered; `sent_to` (None: all) get a model."""
        down = self._n_parameters * self._n_bytes
        whom = positions if sent_to is None else sent_to
        self._ledger.record(DOWN, "global models for rows held out", (self._n_parameters,), whom, down)
        self._ledger.record(UP, name, ((), (), (), ()), positions, 4 * 8, EACH)

    def _count(self, replicas: Indices, *kinds: Any, rounds: Sequence[int] | None = None) -> None:
        """Count messages of some kinds from or to some replicas; those of all runs to or from a client are one.

        A kind is a direction, a name, the shape for each replica and who sees it; `rounds` are by default this one.
        """
        n_runs, positions = self._cohort.n_runs, self._cohort.positions[replicas]
        times: Indices | int = 1
        if n_runs > 1:
            positions, times = np.unique(positions, return_counts=True)
        sized = [
            Kind(direction, what, shape if n_runs == 1 else (n_runs, *shape), prod(shape) * self._n_bytes, seen)
            for direction, what, shape, seen in kinds
        ]
        self._ledger.record_rounds(rounds or [self._ledger.round], sized, positions, times)


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
