"""The messages of training, put into ledgers."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from skfdrmfl.common.arrays import Indices
from skfdrmfl.federation.algorithms import ALGORITHMS
from skfdrmfl.federation.cohort import Cohort
from skfdrmfl.federation.ledger import DOWN, EACH, NOISY, TOTAL, UP, Ledger
from skfdrmfl.federation.messages import Broadcast
from skfdrmfl.federation.runs import Schedule
from skfdrmfl.model.objective import term_names

# In the place of a number of parameters, which networks padded to one width have different ones of.
PARAMETERS = -1


class TrainingMessages:
    """Counts what passes the door while runs train.

    Parameters
    ----------
    cohort : Cohort
    ledgers : sequence of Ledger
        One a run, the same for runs of one federation.
    n_parameters : sequence of int
        D of each run's own network.
    schedule : Schedule
    n_bytes : int
        Of a number.
    """

    def __init__(
        self,
        cohort: Cohort,
        ledgers: Sequence[Ledger],
        n_parameters: Sequence[int],
        schedule: Schedule,
        n_bytes: int,
    ):
        by_ledger: dict[int, list[int]] = {}
        for run, ledger in enumerate(ledgers):
            by_ledger.setdefault(id(ledger), []).append(run)
        self._cohort, self._ledgers = cohort, ledgers
        # Each ledger with its runs; of each run, the first one that shares its ledger.
        self._shares = [(ledgers[mine[0]], mine) for mine in by_ledger.values()]
        self._of_share = np.array([by_ledger[id(ledger)][0] for ledger in ledgers])
        self._last: tuple[Indices, list[Indices]] | None = None
        self._orders = ALGORITHMS[schedule.algorithm].orders
        self._seen = EACH if schedule.is_robust else TOTAL
        self._n_parameters, self._privacy, self._n_bytes = n_parameters, schedule.privacy, n_bytes

    def sent(self, participants: Indices, broadcast: Broadcast, n_models: Indices) -> None:
        """Count what goes out in a round to participants (C,): to each so many models, `n_models` (C,)."""
        for ledger, _ in self._shares:
            ledger.round = broadcast.round_index + 1
            if self._privacy is not None:
                ledger.crowd = max(1, round(self._privacy.n_expected))
        for n in sorted(set(n_models.tolist())) or [1 + len(broadcast.history)]:
            if n:
                self._count(DOWN, "global models", (n, PARAMETERS), participants[n_models == n], TOTAL)
        if broadcast.shift is not None:
            self._count(DOWN, "shifts of gradients", (PARAMETERS,), participants, TOTAL)

    def answered(self, replicas: Indices) -> None:
        """Count what came back from some replicas."""
        if self._privacy is not None:
            self._count(UP, "clipped updates", (PARAMETERS,), replicas, NOISY)
            if self._privacy.target_share is not None:
                self._count(UP, "updates within the clip", (), replicas, NOISY)
            return
        self._count(UP, "parameters" if self._orders.trains else "gradients", (PARAMETERS,), replicas, self._seen)
        if self._orders.gradients:
            self._count(UP, "mean gradients", (PARAMETERS,), replicas, EACH)
        self._count(UP, "loss terms", (len(term_names()),), replicas, EACH)

    def held_out(self, run: int, positions: Indices, name: str, sent_to: Indices | None = None) -> None:
        """Count how one run's errors on rows held out are asked for and answered; `sent_to` (None: all) get a model."""
        ledger, n_parameters = self._ledgers[run], self._n_parameters[run]
        down = n_parameters * self._n_bytes
        whom = positions if sent_to is None else sent_to
        ledger.record(DOWN, "global models for rows held out", (n_parameters,), whom, down)
        ledger.record(UP, name, ((), (), (), ()), positions, 4 * 8, EACH)

    def _members(self, replicas: Indices) -> list[Indices]:
        """Return the positions of some replicas' clients, by ledger; mostly they are those of the message before."""
        if self._last is None or not np.array_equal(self._last[0], replicas):
            positions, of_share = self._cohort.positions[replicas], self._of_share[self._cohort.runs[replicas]]
            self._last = replicas, [positions[of_share == mine[0]] for _, mine in self._shares]
        return self._last[1]

    def _count(self, direction: str, what: str, shape: tuple[int, ...], replicas: Indices, seen: str) -> None:
        """Count messages of a shape for each replica; those of all runs of a federation to or from a client are one."""
        for (ledger, mine), members in zip(self._shares, self._members(replicas), strict=True):
            own = tuple(self._n_parameters[mine[0]] if n == PARAMETERS else n for n in shape)
            n_bytes = prod(own) * self._n_bytes
            if len(mine) == 1:
                ledger.record(direction, what, own, members, n_bytes, seen)
            else:
                clients, times = np.unique(members, return_counts=True)
                ledger.record(direction, what, (len(mine), *own), clients, n_bytes * times, seen)
