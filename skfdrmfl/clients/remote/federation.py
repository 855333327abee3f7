"""The server's side of a federation whose clients are elsewhere: the four verbs of the door as questions to them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.clients.remote.channel import A_REFUSAL
from skfdrmfl.clients.remote.codec import to_packet
from skfdrmfl.clients.remote.exchange import Exchange
from skfdrmfl.clients.remote.packet import WireError
from skfdrmfl.common.arrays import Indices
from skfdrmfl.data.held_out import EVERYTHING, Subset
from skfdrmfl.engines import ENGINES
from skfdrmfl.method.objective import term_names, uses
from skfdrmfl.method.suspects import Found, Look
from skfdrmfl.protocol.door import Block, Query, Roster
from skfdrmfl.protocol.dropped_clients import DroppedClient, together
from skfdrmfl.protocol.ledger import Ledger
from skfdrmfl.protocol.messages import Broadcast, HeldOutErrors, HeldOutSums, Update
from skfdrmfl.protocol.plan import TRAINING_DTYPE, Plan
from skfdrmfl.protocol.replicas import Replicas
from skfdrmfl.server.algorithms import ALGORITHMS
from skfdrmfl.server.outlying_clients import OutlyingClients
from skfdrmfl.server.sum_answers import totals
from skfdrmfl.server.training_ledger import TrainingLedger


@dataclass(eq=False)
class Remote:
    """A federation whose clients are elsewhere. See `door.Federation`."""

    exchange: Exchange
    positions: Indices  # (K,), of those who take part
    sizes: Indices  # (K,), rows of each
    by_modality: Indices | None  # (K, M), rows of each that have each modality; None: all have all
    agreed: str  # name of what all have agreed on; "" before: all they can say is which labels they have
    engine: str  # key of `ENGINES`
    ledger: Ledger
    guard: OutlyingClients | None = None
    looks_told: int = 0  # bytes of looks that each client has received, which the ledger leaves out

    def roster(self, subset: Subset = EVERYTHING) -> Roster:
        """Return who takes part, of those who have rows of a subset, and how many each has."""
        if subset is EVERYTHING:
            return Roster(self.positions, self.sizes)
        self.exchange.round = self.ledger.round
        sizes = self.exchange.ask_all("count", dict.fromkeys(self.positions.tolist(), subset), [self.agreed], _number)
        counted = np.array(list(sizes.values()), dtype=np.int64)
        return Roster(self.positions[counted > 0], counted[counted > 0])

    def passed(self) -> str:
        """Return in words how many bytes have crossed the wire; "" where its channel does not count."""
        return getattr(self.exchange.channel, "passed", str)()

    def restricted_to(self, there: NDArray[np.bool_]) -> Remote:
        """Return the federation of those who are there, of all clients (K,)."""
        kept = there[self.positions]
        return self if kept.all() else self._of(kept)

    def without_suspects(self, look: Look, block: Block, kept: Mapping[int, Any]) -> tuple[Remote, dict[int, Found]]:
        """Return the federation after clients were told what they drop rows by; which ones stays with them."""
        positions = self.positions.tolist()
        sizes = np.array([kept.get(p, (n,))[0] for p, n in zip(positions, self.sizes.tolist(), strict=True)])
        if (sizes == self.sizes).all():
            return self, {}
        told_before = self.exchange.kept(self.agreed)
        self.exchange.forget(self.agreed)
        agreed = self.exchange.keep(told_before | {"look": look, "block": block, "looked": sorted(kept)})
        found = replace(self, agreed=agreed, sizes=np.clip(sizes, 0, self.sizes))
        if self.by_modality is not None:
            counts = [kept[p][1] if p in kept else n for p, n in zip(positions, self.by_modality, strict=True)]
            found.by_modality = np.clip(np.array(counts), 0, self.by_modality)
        return found._of(found.sizes > 0), {}

    def left_out(self) -> list[DroppedClient]:
        """Return whom the guard has left out, and who has not answered; with privacy nobody may know who came."""
        if self.ledger.crowd is not None:
            return []
        return together([] if self.guard is None else self.guard.left_out(), self.exchange.missed)

    def sum(self, *queries: Query) -> tuple[Any, ...]:
        """Return the sum of all clients' answers to each query, in one exchange; None where nobody had an answer."""
        members = self._without_excluded()
        positions = members.positions.tolist()

        def check(position: int, answers: Any) -> None:
            if not isinstance(answers, list) or len(answers) != len(queries):
                raise WireError(f"{len(queries)} answers were asked for")
            for query, answer in zip(queries, answers, strict=True):
                for power, part in zip(query.powers, answer or (), strict=False):
                    if power and np.isnan(np.asarray(part, dtype=np.float64)).any():
                        raise WireError(f"{query.name} that are no numbers")

        models = [query.model for query in queries if hasattr(query, "model")]  # the next exchange asks about it too
        needs = [*([self.agreed] if self.agreed else ()), *self.exchange.shared]
        needs += dict.fromkeys(map(self.exchange.keep_last, models))
        self.exchange.round = self.ledger.round
        looks = [query for query in queries if hasattr(query, "look")]
        self.looks_told += sum(len(part) for part in to_packet(looks).flat()) if looks else 0
        what = "sum" if self.agreed else "labels"
        answers = self.exchange.ask_all(what, dict.fromkeys(positions, queries), needs, check)
        self.exchange.check_alike(answers)
        asked = Roster(members.positions, members.sizes)
        return totals(queries, asked, answers.items(), self.ledger, self.guard)

    def prepare(self, plan: Plan) -> RemoteTraining:
        """Let the clients prepare what they train on; what comes back lets them train, round by round."""
        members = self._without_excluded()
        self.exchange.forget_all_but(self.agreed)  # plans come one after another
        inputs = {id(run.inputs): run.inputs for run in plan.runs}
        self.exchange.shared = [*map(self.exchange.keep, inputs.values())]
        name = self.exchange.keep({"plan": plan.as_told, "engine": self.engine})
        return RemoteTraining(members, plan, name)

    def _without_excluded(self) -> Remote:
        """Return all clients but those whom a guard has left out."""
        if self.guard is None or not self.guard.excluded:
            return self
        return self._of(~np.isin(self.positions, list(self.guard.excluded)))

    def _of(self, kept: NDArray[np.bool_]) -> Remote:
        by_modality = None if self.by_modality is None else self.by_modality[kept]
        return replace(self, positions=self.positions[kept], sizes=self.sizes[kept], by_modality=by_modality)


class RemoteTraining:
    """Clients who are elsewhere, prepared for a plan. See `door.Training`."""

    def __init__(self, federation: Remote, plan: Plan, name: str):
        self._exchange, self._plan, self._name = federation.exchange, plan, name
        self._exchange.round = federation.ledger.round
        self._agreed, self._engine = federation.agreed, federation.engine
        self._client_task = ALGORITHMS[plan.schedule.algorithm].client_task
        self.cohort, self._holding = self._counted(federation)
        size, n_bytes = plan.network.layout.size, TRAINING_DTYPE.itemsize
        self._messages = TrainingLedger(self.cohort, federation.ledger, size, plan.schedule, n_bytes)
        self._models: list[tuple[str, NDArray]] = []  # those that clients may be asked about, and their names
        # What `Update` is made of, and the shape of each part of one replica.
        self._parts: dict[str, tuple[int, ...]] = {"weights": (size,), "losses": (len(term_names()),)}
        if self._client_task.also_sends_mean_gradient:
            self._parts["gradients"] = (size,)
        if self._client_task.also_sends_steps:
            self._parts["steps"] = ()
        self._contrasts = any(uses(run.settings.terms, "references") for run in plan.runs)

    def train(self, participants: Indices, broadcast: Broadcast) -> Iterator[Update]:
        """Let participants train from what is broadcast; yield what comes back, in the order of the engine."""
        cohort, exchange, round_number = self.cohort, self._exchange, broadcast.round_index + 1
        exchange.round = round_number
        models = [broadcast.weights, *(broadcast.history if self._contrasts else ())]
        names = self._named(models)
        positions = cohort.positions[participants]
        unknown = {p: sum(not exchange.knows(p, name) for name in names) for p in np.unique(positions).tolist()}
        self._messages.sent(participants, broadcast, np.array([unknown[p] for p in positions.tolist()], dtype=np.int64))
        if not len(participants):
            self._messages.answered(participants)
            return
        chunks, widths = ENGINES[self._engine].chunking(
            self._plan.network, cohort, participants, self._plan.schedule.batch_size, self._client_task
        )
        asked = {p: participants[positions == p] for p in unknown}
        about = {
            p: {
                "runs": cohort.runs[mine],
                "round": broadcast.round_index,
                "rate": broadcast.rate_factor,
                "shift": None if broadcast.shift is None else broadcast.shift[mine],
                "widths": None if widths is None else widths[mine],
            }
            for p, mine in asked.items()
        }
        answers, silent = exchange.ask("train", about, self._needs(names), lambda p, a: self._check(a, len(asked[p])))
        if refused := {p: silence for p, silence in silent.items() if silence.reason == A_REFUSAL}:
            raise exchange.stopped(refused, len(about))  # who is merely absent may come back, who refuses will not
        exchange.note(silent, [round_number])
        came = np.concatenate([participants[:0], *(asked[p] for p in answers)])
        row = np.full(len(cohort.runs), -1)
        row[came] = np.arange(len(came))
        parts = {key: np.concatenate([answer[key] for answer in answers.values()]) for key in self._parts if answers}
        for chunk in chunks:
            replicas = chunk[row[chunk] >= 0]
            if len(replicas):
                yield Update(replicas, **{key: part[row[replicas]] for key, part in parts.items()})
        self._messages.answered(came)

    def average_rounds(self, *asked: Any, **more: Any) -> None:
        """Return None: every round passes the server."""

    def sum(self, query: HeldOutErrors) -> tuple[HeldOutSums]:
        """Return how the models err on the rows held out."""
        self._messages.asked()
        (name,) = self._named([query.weights])
        n_runs, running = len(query.weights), np.flatnonzero(query.running)
        for run in running.tolist():
            holding = np.flatnonzero(self._holding[run])
            new = np.array([p for p in holding.tolist() if not self._exchange.knows(p, name)], dtype=np.int64)
            self._messages.held_out(holding, query.name, new)
        positions = np.flatnonzero(self._holding[running].any(0)).tolist()
        about = dict.fromkeys(positions, running)

        def check(position: int, answer: Any) -> None:
            if not isinstance(answer, HeldOutSums) or any(np.shape(part)[:1] != (n_runs,) for part in answer[:4]):
                raise WireError(f"errors of {n_runs} models were asked for")

        answers = self._exchange.ask_all("held out", about, self._needs([name]), check)
        of_each = np.zeros((4, self._holding.shape[1], n_runs))
        for position, answer in answers.items():
            of_each[:, position] = answer[:4]
        n_rows, squares = of_each[:2, self.cohort.positions, self.cohort.runs]
        mse_of_each = np.divide(squares, n_rows, out=np.full(len(n_rows), np.nan), where=n_rows > 0)
        sums = of_each.cumsum(1)[:, -1]  # one after another, as in one memory
        return (HeldOutSums(sums[0], sums[1], sums[2], sums[3], mse_of_each),)

    # ---------------------------------------------------------------------------------------------- details

    def _counted(self, federation: Remote) -> tuple[Replicas, NDArray[np.bool_]]:
        """Return who trains in which run, and which positions hold out rows of which run (runs, K)."""
        plan, positions, by_modality = self._plan, federation.positions, federation.by_modality
        n_runs, masked = len(plan.runs), by_modality is not None
        holding = np.zeros((n_runs, int(positions.max(initial=-1)) + 1), dtype=bool)
        if all(run.subset is EVERYTHING and run.held_out is None for run in plan.runs):
            mine = federation.sizes[:, None]
            mine = mine if by_modality is None else np.column_stack((mine, by_modality))
            counts = np.broadcast_to(mine, (n_runs, *mine.shape))
        else:
            n_columns = 1 + len(plan.network.encoders) if masked else 1

            def check(position: int, answer: Any) -> None:
                for name, shape in (("counts", (n_runs, n_columns)), ("held_out", (n_runs,))):
                    if np.shape(answer[name]) != shape or np.asarray(answer[name]).dtype.kind != "i":
                        raise WireError("numbers of rows were asked for")

            about = dict.fromkeys(positions.tolist(), self._name)
            answers = self._exchange.ask_all("prepare", about, self._needs([]), check)
            counts = np.stack([answer["counts"] for answer in answers.values()], axis=1)
            for p, answer in answers.items():
                holding[:, p] = answer["held_out"] > 0
        runs, places = np.nonzero(counts[..., 0] > 0)
        found = counts[runs, places]
        seeds = np.array([run.seed for run in plan.runs], dtype=np.uint64)
        settings, group_of = tuple([run.settings for run in plan.runs]), plan.network.encoder_of() if masked else None
        found = found if masked else found[:, 0]
        return Replicas(runs, positions[places], seeds[runs], settings, found, group_of), holding

    def _needs(self, models: Sequence[str]) -> list[str]:
        return [self._agreed, self._name, *self._exchange.shared, *models]

    def _named(self, models: Sequence[NDArray]) -> list[str]:
        """Return the names of models (runs, D) that clients keep; those not asked about any more are forgotten."""
        known = {id(model): name for name, model in self._models}
        named = [(known.get(id(model)) or self._exchange.keep(model), model) for model in models]
        names = {name for name, _ in named}
        n_kept = self._plan.schedule.history_size if self._contrasts else 0
        older = [(name, model) for name, model in self._models if name not in names][: max(0, n_kept + 1 - len(named))]
        for name, _ in self._models:
            if name not in names and name not in dict(older):
                self._exchange.forget(name)
        self._models = [*named, *older]
        return [name for name, _ in named]

    def _check(self, answer: Any, n_replicas: int) -> None:
        """Raise WireError where an update is not of the form that was asked for; what is in it, others look at."""
        for key, of_one in self._parts.items():
            part, dtype = answer[key], np.dtype(np.int64) if key == "steps" else TRAINING_DTYPE
            shape = (n_replicas, *of_one)
            if not isinstance(part, np.ndarray) or part.shape != shape or part.dtype != dtype:
                raise WireError(f"{key} of shape {shape} in {dtype} were asked for")
            if key == "steps" and not (part > 0).all():
                raise WireError("numbers of local steps are 1 at least")


def _number(position: int, answer: Any) -> None:
    """Raise WireError where an answer is no number of rows."""
    if not isinstance(answer, int) or answer < 0:
        raise WireError("a number of rows was asked for")
