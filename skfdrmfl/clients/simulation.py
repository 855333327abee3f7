"""A federation in one memory: the clients' side of the door, and local training of many clients at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.clients.client_data import Client, ClientData
from skfdrmfl.common.arrays import Indices
from skfdrmfl.common.progress import tell
from skfdrmfl.data.held_out import EVERYTHING, Subset
from skfdrmfl.data.partition import Partition, within
from skfdrmfl.engines import ENGINES
from skfdrmfl.engines.batches import steps_per_epoch
from skfdrmfl.engines.held_out import HeldOutRows
from skfdrmfl.engines.rows import Run, stack
from skfdrmfl.method.network import Network
from skfdrmfl.method.suspects import Found, Look
from skfdrmfl.protocol.algorithm_state import AlgorithmState
from skfdrmfl.protocol.door import Block, Query, Roster
from skfdrmfl.protocol.dropped_clients import DroppedClient
from skfdrmfl.protocol.ledger import Ledger
from skfdrmfl.protocol.messages import Averaged, Broadcast, HeldOutErrors, HeldOutSums, Update
from skfdrmfl.protocol.plan import TRAINING_DTYPE, Plan, Schedule
from skfdrmfl.protocol.queries.suspects import suspects_of
from skfdrmfl.server.algorithms import ALGORITHMS
from skfdrmfl.server.outlying_clients import OutlyingClients
from skfdrmfl.server.sum_answers import totals, totals_of_all
from skfdrmfl.server.training_ledger import TrainingLedger

# From so many clients on, sums of rows are taken of all rows at once: a call for each client and query would cost more
# than training. Of fewer they are added client by client, to the bits of a federation over a wire.
MANY_CLIENTS = 256


class LocalTraining:
    """The clients of all runs, ready to train together; a ledger counts what passes the door. See `door.Training`."""

    def __init__(
        self,
        network: Network,
        runs: Sequence[Run],
        schedule: Schedule,
        engine: str,
        ledger: Ledger | None = None,
        n_threads: int = 1,
        device: str = "cpu",
    ):
        rows = stack(runs)
        if rows.present is not None:
            rows = replace(rows, cohort=replace(rows.cohort, group_of=network.encoder_of()))
        self.cohort = rows.cohort
        self._client_task, self._schedule = ALGORITHMS[schedule.algorithm].client_task, schedule
        self._held_out = HeldOutRows(network, rows, device) if rows.held_out else None
        self._engine = ENGINES[engine](
            network,
            rows,
            batch_size=schedule.batch_size,
            n_epochs=schedule.local_epochs,
            keep_history=schedule.history_size > 0,
            client_task=self._client_task,
            n_threads=n_threads,
            device=device,
        )
        self._messages = None  # of a site alone nothing is counted: that is done where its answers arrive
        if ledger is not None:
            self._messages = TrainingLedger(self.cohort, ledger, network.layout.size, schedule, rows.x.itemsize)

    def train(self, participants: Indices, broadcast: Broadcast) -> Iterator[Update]:
        """Let participants train from what is broadcast; yield what comes back, in their order."""
        if self._messages is not None:
            self._messages.sent(participants, broadcast, np.full(len(participants), 1 + len(broadcast.history)))
        answered = [participants[:0]]
        for update in self._engine.run_round(participants, broadcast) if len(participants) else ():
            answered.append(update.replicas)
            yield replace(update, steps=self._steps(update.replicas))
        if self._messages is not None:
            self._messages.answered(np.concatenate(answered))

    def average_rounds(
        self,
        invited: Iterator[Indices],
        broadcast: Broadcast,
        rate_factors: Sequence[float],
        memory: AlgorithmState,
        *,
        each_round: bool,
    ) -> Iterator[Averaged] | None:
        """Go through rounds in the server's place, or return None where the engine leaves them to the server."""
        go_on = getattr(self._engine, "average_rounds", None)
        step = ALGORITHMS[self._schedule.algorithm].server_step
        if go_on is None or step is None or self.cohort.group_of is not None:
            return None
        sizes = {"history_size": self._schedule.history_size, "each_round": each_round}
        return self._counted(go_on(invited, broadcast, rate_factors, step, memory, **sizes), broadcast)

    def _counted(self, blocks: Iterator[Averaged], broadcast: Broadcast) -> Iterator[Averaged]:
        """Yield blocks of rounds, counting what passed the door in each round."""
        done, n_models = broadcast.round_index, 1 + len(broadcast.history)
        for block in blocks:
            n_rounds = len(block.participants)
            sent = [min(n_models + t, 1 + self._schedule.history_size) for t in range(n_rounds)]
            if self._messages is not None:
                self._messages.rounds(block.participants, done, sent)
            done, n_models = done + n_rounds, n_models + n_rounds
            yield block

    def sum(self, query: HeldOutErrors) -> tuple[HeldOutSums]:
        """Return how the models err on the rows held out; of all clients at once, as they train."""
        assert self._held_out is not None
        if self._messages is not None:
            self._messages.asked()
            for run in np.flatnonzero(query.running).tolist():
                self._messages.held_out(self._held_out.positions[run], query.name)
        return (self._held_out.sums(query.weights),)

    def _steps(self, replicas: Indices) -> Indices | None:
        """Return how many local steps some replicas take in a round; None where nobody asks."""
        if not self._client_task.also_sends_steps:
            return None
        per_epoch: Indices = steps_per_epoch(self.cohort.sizes[replicas], self._schedule.batch_size)
        return self._schedule.local_epochs * per_epoch


@dataclass(eq=False)
class Simulation:
    """All clients of one federation, in one memory. See `door.Federation`."""

    tables: ClientData
    partition: Partition  # which rows are whose
    engine: str = "torch"  # key of `ENGINES`
    device: str = "cpu"  # where clients train
    ledger: Ledger = field(default_factory=Ledger)
    # Looks at each client's answers before they are summed; whom it leaves out is asked no more and does not train
    guard: OutlyingClients | None = None
    n_threads: int = 1  # on which clients train, where the engine can use several

    @cached_property
    def clients(self) -> list[Client]:
        """One of each; not made where all are asked at once."""
        return [
            Client(self.tables, rows, position)
            for position, rows in zip(self.partition.positions.tolist(), self.partition.rows, strict=True)
        ]

    def roster(self, subset: Subset = EVERYTHING) -> Roster:
        """Return who takes part, of those who have rows of a subset, and how many each has."""
        members = self.partition if subset is EVERYTHING else within(self.partition, subset, self.tables.blocks)
        return Roster(members.positions, members.sizes)

    def restricted_to(self, there: NDArray[np.bool_]) -> Simulation:
        """Return the federation of those who are there, of all clients (K,), with the same rows and ledger."""
        kept = there[self.partition.positions]
        return self if kept.all() else replace(self, partition=self.partition.restricted_to(kept))

    def without_suspects(
        self, look: Look, block: Block, kept: Mapping[int, Any]
    ) -> tuple[Simulation, dict[int, Found]]:
        """Return the federation without the rows that clients drop, and those they suspect, of who is in `kept`."""
        found = {}
        keep = np.ones(len(self.tables.table), dtype=bool)
        for client in self.clients:
            if client.position in kept:
                mine, stays = suspects_of(client, look, block)
                found[client.position] = mine._replace(rows=client.rows[mine.rows])
                keep[client.rows[~stays]] = False
        if keep.all():
            return self, found
        partition = self.partition.where(keep[self.partition.joined]).numbered(np.cumsum(keep) - 1)
        return replace(self, tables=self.tables.of_rows(keep), partition=partition), found

    def left_out(self) -> list[DroppedClient]:
        """Return whom the guard has left out."""
        return [] if self.guard is None else self.guard.left_out()

    def sum(self, *queries: Query) -> tuple[Any, ...]:
        """Return the sum of all clients' answers to each query, in one exchange; None where nobody had an answer."""
        members = self._without_excluded()
        asked = Roster(members.positions, members.sizes)
        if self.guard is None and self._are_sums_of_rows(queries):
            tell(f"sums of {len(asked.positions):,} clients")
            rows, every_row = members.joined, self.tables.all_rows
            rows = every_row if len(rows) == len(every_row) else np.sort(rows)  # as they lie in memory
            everyone = Client(self.tables, rows, -1)
            return totals_of_all(queries, asked, [query(everyone) for query in queries], self.ledger)
        there = set(members.positions.tolist())

        def answers() -> Iterator[tuple[int, list[Any]]]:  # none waits for those of other clients
            for client in self.clients:
                if client.position in there:
                    tell(f"sums of client {client.position + 1}")
                    yield client.position, [query(client) for query in queries]

        return totals(queries, asked, answers(), self.ledger, self.guard)

    def _are_sums_of_rows(self, queries: Sequence[Query]) -> bool:
        """Return whether answers are to be taken of all rows at once: every client has one to each query."""
        many = len(self.partition.positions) >= MANY_CLIENTS and self.tables.present is None
        return many and all(q.of_rows and q.subset is EVERYTHING for q in queries)

    def _without_excluded(self) -> Partition:
        """Return the rows of all clients but those whom a guard has left out."""
        if self.guard is None or not self.guard.excluded:
            return self.partition
        return self.partition.restricted_to(~np.isin(self.partition.positions, list(self.guard.excluded)))

    def prepare(self, plan: Plan) -> LocalTraining:
        """Let the clients prepare what they train on; what comes back lets them train, round by round."""
        runs = self.runs(plan)
        return LocalTraining(plan.network, runs, plan.schedule, self.engine, self.ledger, self.n_threads, self.device)

    def runs(self, plan: Plan) -> list[Run]:
        """Return the prepared rows of each run of a plan; runs that share inputs or targets share arrays."""
        arrays: dict[int, NDArray] = {}

        def array(of: Any, rows: Callable[[Any], NDArray]) -> NDArray:
            if id(of) not in arrays:
                arrays[id(of)] = rows(of).astype(TRAINING_DTYPE, copy=False)
            return arrays[id(of)]

        return [
            Run(
                array(run.inputs, self.tables.inputs),
                array(run.targets, self.tables.outputs),
                self._within(run.subset),
                run.settings,
                run.seed,
                run.start,
                self.tables.present,
                None if run.held_out is None else self._within(run.held_out),
            )
            for run in plan.runs
        ]

    def _within(self, subset: Subset) -> Partition:
        members = self._without_excluded()
        return members if subset is EVERYTHING else within(members, subset, self.tables.blocks)
