"""What the fit of a mixture will take, before it is taken: exchanges and bytes, if all clients answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from typing import Any

import numpy as np

from skfdrmfl.common.arrays import Indices
from skfdrmfl.method.domain import EDGES, Y_EDGES
from skfdrmfl.method.intervals import ERROR_EDGES
from skfdrmfl.method.objective import uses
from skfdrmfl.mixture.fitting import MixtureTask, Pass, Stand
from skfdrmfl.protocol.door import Federation, Roster
from skfdrmfl.protocol.ledger import DOWN, EACH, TOTAL, UP, Ledger
from skfdrmfl.protocol.messages import HeldOutErrors
from skfdrmfl.protocol.plan import TRAINING_DTYPE, Plan
from skfdrmfl.protocol.queries.counts import DistanceCounts, MixtureErrorCounts
from skfdrmfl.protocol.queries.importance import MixtureResponses
from skfdrmfl.protocol.queries.members import MemberErrors, ScoreProducts
from skfdrmfl.protocol.queries.whitening import FEW_DIMENSIONS, MAX_EXACT_COLUMNS, RANGE_DIMENSIONS
from skfdrmfl.protocol.replicas import Members, Replicas
from skfdrmfl.server.rounds import invited
from skfdrmfl.server.trained import Trained
from skfdrmfl.server.training_ledger import TrainingLedger
from skfdrmfl.views import VIEWS

Shapes = Sequence[tuple[int, ...]]


def most_sent(columns: Sequence[int], q: int, n_folds: int, *, viewed: bool) -> int:
    """Return how many bytes a client sends at most before the first round, by the numeric columns of each modality.

    `viewed` says whether views may be asked for, of which SNV has sums of its own.
    """
    n_numbers = 4 * (1 + q) + (n_folds + 2) * (1 + len(columns))
    for appended in (0, VIEWS["snv"].n_appended) if viewed else (0,):
        e = sum(p + appended if p <= MAX_EXACT_COLUMNS else RANGE_DIMENSIONS for p in columns)
        n_numbers += sum(5 * (1 + p + appended) for p in columns)
        n_numbers += n_folds * (1 + e + q + e * e + e * q + q * q)
    directions = 3 * RANGE_DIMENSIONS + 2 * FEW_DIMENSIONS
    return 8 * (n_numbers + sum(5 + p * directions for p in columns if p > MAX_EXACT_COLUMNS))


def forecast(task: MixtureTask, federation: Federation) -> Ledger:
    """Return the ledger as it will be when clients who are elsewhere have trained, from as it is after the sums.

    It is the ledger to the message if all answer and each has rows in every fold. With early stopping, or where
    networks of residuals turn out not to be worth their rounds, it is the most that there will be.
    """
    ledger = federation.ledger.copy()
    ledger.stage = federation.ledger.stage
    n_members, q = len(task.linear), len(task.unit.mean)
    for one, after in zip(task.passes, (*task.passes[1:], None), strict=True):
        n_members += len(one.members)
        there = _rounds(one, federation, ledger)
        if after is None or after.learns_residuals:
            ledger.round = task.n_rounds if after is None else ledger.round
            ledger.exchanges += 1
            _answers(federation, ledger, MemberErrors, ((), (q, n_members, n_members)), there)
    sums = task.sums[None]
    s = min(sums.axes.shape[1], task.n_components + q) + 2 * q
    n, k = int(np.count_nonzero(sums.deviation(task.n_features))), sum(task.n_codes.values())
    ledger.exchanges += 1
    _answers(federation, ledger, ScoreProducts, ((), (s,), (s, s)), there)
    ledger.record(DOWN, f"for {MixtureResponses.name}", ((n,),), there, 8 * n)
    _answers(federation, ledger, MixtureResponses, ((), (n,), (k,), (k,)), there)
    distances = (len(task.domain.blocks), 4, len(EDGES) + 1), (q, len(Y_EDGES) + 1)
    _answers(federation, ledger, DistanceCounts, ((), *distances), there)
    ledger.record(DOWN, f"for {MixtureErrorCounts.name}", ((n_members, q),), there, 8 * n_members * q)
    n_bytes = 8 * (2 + q * (len(ERROR_EDGES) + 1))  # a number of rows, whose, and in which bins
    ledger.record(UP, MixtureErrorCounts.name, ((), None), there, n_bytes, MixtureErrorCounts.seen)
    ledger.stage = ""
    return ledger


def questions(task: MixtureTask) -> Iterator[tuple[Any, ...]]:
    """Yield what goes down beside what the ledger counts: plans, and the queries that hold members.

    They are as large as they will be, of a mixture in which every network has a weight.
    """
    stands: list[tuple[Trained, ...]] = []
    nobody = np.zeros(0, dtype=np.int64)
    for one, after in zip(task.passes, (*task.passes[1:], None), strict=True):
        yield (Plan(one.network, one.runs, one.schedule).as_told,)
        members = [Members(nobody, run.seed, run.settings, nobody) for run in one.runs]
        stands.append(
            tuple(Trained.begin(run.start, m, one.schedule) for run, m in zip(one.runs, members, strict=True))
        )
        stand = Stand(tuple(stands))
        query, networks = task.asking_for_errors(stand, equal_votes=False)
        if after is None or after.learns_residuals:
            yield (query,)
    weights = np.ones((len(task.linear) + len(networks), len(task.unit.mean)))
    yield task.asking_of_mixture(task.mixture_of(weights, networks, stand), MixtureErrorCounts(query, weights))


def _answers(federation: Federation, ledger: Ledger, query: Any, shapes: Shapes, positions: Indices) -> None:
    """Count the answers of these shapes to a query."""
    seen = TOTAL if federation.guard is None else EACH
    ledger.record(UP, query.name, tuple(shapes), positions, 8 * sum(map(prod, shapes)), seen)


def _rounds(one: Pass, federation: Federation, ledger: Ledger) -> Indices:
    """Count the rounds of a pass, and return who is there after them."""
    roster, schedule, runs = federation.roster(), one.schedule, one.runs
    if federation.guard is not None:
        left = ~np.isin(roster.positions, list(federation.guard.excluded))
        roster = Roster(roster.positions[left], roster.sizes[left])
    n_runs, n_clients, n_rounds = len(runs), len(roster.positions), len(schedule.rate_factors)
    cohort = Replicas(
        runs=np.repeat(np.arange(n_runs), n_clients),
        positions=np.tile(roster.positions, n_runs),
        seeds=np.repeat([np.uint64(run.seed) for run in runs], n_clients),
        settings=tuple(run.settings for run in runs),
        counts=np.tile(roster.sizes, n_runs),
    )
    size = one.network.layout.size
    messages = TrainingLedger(cohort, ledger, size, schedule, TRAINING_DTYPE.itemsize)
    contrasts = any(uses(run.settings.terms, "references") for run in runs)
    latest = np.full(n_clients, -1)  # the number of the last model that each client has

    def held_out(number: int) -> None:
        """Count the errors on rows held out of the model that comes after so many rounds."""
        if schedule.patience is not None:
            messages.asked()
            for _ in runs:
                messages.held_out(roster.positions, HeldOutErrors.name, roster.positions[latest < number])
            latest[:] = number

    held_out(0)
    available = runs[0].start.available
    for t in range(n_rounds):
        there = None if available is None else available[t, roster.positions]
        mine = [invited(cohort.members_of(run), schedule, t, there) for run in range(n_runs)]
        n_models = np.minimum(t - latest, 1 + (min(t, schedule.history_size) if contrasts else 0))
        participants = np.concatenate([run * n_clients + who for run, who in enumerate(mine)])
        messages.expected(t, participants, n_models[np.concatenate(mine)])
        latest[np.concatenate(mine)] = t
        held_out(t + 1)
    last = runs[0].start.last_there(n_rounds)
    return roster.positions if last is None else roster.positions[last[roster.positions]]
