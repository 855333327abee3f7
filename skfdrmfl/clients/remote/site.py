"""A client who is elsewhere: it answers one request at a time, from its rows and from what it has kept."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.clients.client_data import Client
from skfdrmfl.clients.remote.channel import DONE, FAILED, LOST, REFUSED, WHO
from skfdrmfl.clients.remote.codec import from_packet, to_packet
from skfdrmfl.clients.remote.limits import answered, check_plan, check_queries, check_subset
from skfdrmfl.clients.remote.packet import MOST_BYTES, NotNow, Packet, Refusal, Request, WireError
from skfdrmfl.clients.remote.watch import (
    Answer,
    Question,
    Watch,
    asked_by,
    asked_in_training,
    asked_of_held_out,
)
from skfdrmfl.clients.simulation import LocalTraining, Simulation
from skfdrmfl.common.threads import single_threaded
from skfdrmfl.data.held_out import Subset
from skfdrmfl.engines import engine_for
from skfdrmfl.method.suspects import NOWHERE, REASONS
from skfdrmfl.protocol.messages import Broadcast, HeldOutErrors, HeldOutSums
from skfdrmfl.protocol.plan import ClientPrivacy, Inputs, Plan
from skfdrmfl.protocol.queries.suspects import Suspects, suspects_of
from skfdrmfl.server.privacy.mechanism import clipped

_log = logging.getLogger("skfdrmfl")
# The name under which a site keeps what rows it has announced, and in which run.
ANNOUNCED = "announced"
# What a plan's name ends with where it names what was prepared for it, and the most bytes of that which are kept: they
# would be carried to and from each process. Of 120 MB Flower gives the next process what was there before, as that
# starts sooner than they are written.
ROWS, MOST_PREPARED = " rows", 2**25
# How many values a site keeps for a server: what was agreed on, a plan, models and some before them.
MOST_KEPT = 256


class Site:
    """One client, wherever it is; its `rows` are a `site.site_data.SiteRows`.

    All that has to live from one request to the next is in `kept`, so that each can be answered by a process of its
    own. A site that lives on does not work out again what has a name there, until it is told to forget the name.
    """

    def __init__(self, rows: Any, watches: Sequence[Watch] = ()):
        self._rows, self._watches = rows, tuple(watches)
        # Of each packet that is kept, by its name: the value, and what has been made of it.
        self._values: dict[str, Any] = {}
        self._made: dict[str, Any] = {}

    def answer(self, packet: Packet, kept: Mapping[str, Packet]) -> tuple[Packet, dict[str, Packet]]:
        """Return the answer to a request, and what is to be kept for those to come: `kept`, of the next."""
        have = dict(kept)
        question = Question("")
        try:
            request = Request.of_packet(packet)
            question = Question(request.what, request.run, request.position, round=request.round)
            have = _kept(request, kept)
            for of_name in (self._values, self._made):
                for name in of_name.keys() - have.keys():
                    del of_name[name]
            lost = [name for name in request.needs if name not in have or name == ANNOUNCED or name.endswith(ROWS)]
            if lost:
                return to_packet((LOST, lost)), have
            with single_threaded():
                question, answer = self._asked(request, have, question)
                for watch in self._watches:
                    watch.before(question)
                value = answer()
                if request.what == "describe":
                    self._announce(request, have)
                said = Answer(to_packet((DONE, value)), value)
        except Exception as error:
            said = self._failure(question, error)
        for watch in self._watches:
            try:
                watch.after(question, said)
            except Exception as error:
                said = self._failure(question, error)
        return said.packet, have

    def _check_announced(self, request: Request, have: dict[str, Packet]) -> None:
        """Raise Refusal where other rows were announced, or those of another run; keep these where none were."""
        n_rows, digest = self._rows.announced
        run, n_before, before = request.run, request.rows, digest
        if ANNOUNCED in have:
            run, n_before, before = json.loads(have[ANNOUNCED].text)
        if run != request.run:
            raise Refusal("this run has not been described here, or another one since; describe the rows anew.")
        if n_before != n_rows:
            raise Refusal(f"{n_before} rows were announced but there are {n_rows} now; start the run again.")
        if before and digest and digest != before:
            raise Refusal("the rows have changed since they were announced; start the run again.")
        if ANNOUNCED not in have:
            self._announce(request, have)

    def _announce(self, request: Request, have: dict[str, Packet]) -> None:
        """Keep which rows a run has been told of."""
        have[ANNOUNCED] = Packet(json.dumps([request.run, *self._rows.announced]))

    def _failure(self, question: Question, error: Exception) -> Answer:
        """Return what is said where no answer can be given: what errors say may quote rows, and stays here."""
        what = question.what or "a message"
        if isinstance(error, (Refusal, WireError)):
            why = "" if error.__cause__ is None else f" ({error.__cause__})"
            _log.error("%s: refused: %s%s", what, error, why, exc_info=isinstance(error, NotNow))
            reason = str(error)
        else:
            _log.exception("%s: no answer could be given", what)
            reason = f"{type(error).__name__} in {what!r}; its own log says more"
        kind = REFUSED if isinstance(error, Refusal) and not isinstance(error, NotNow) else FAILED
        return Answer(to_packet((kind, f"{self._rows.label!r}: {reason}")), refused=reason)

    def _asked(
        self, request: Request, have: dict[str, Packet], question: Question
    ) -> tuple[Question, Callable[[], Any]]:
        """Return what is asked, and what answers it; what has been prepared for it joins what the client has."""
        what = request.what
        if what == WHO:
            return question, lambda: self._rows.label
        if what in ("describe", "names", "differs"):
            told = from_packet(request.about)
            return replace(question, content=told), partial(getattr(self._rows, what), told, request.run)
        if what == "labels":
            simulation, queries = self._rows.labels(request.position), from_packet(request.about)
            self._check_announced(request, have)
            return self._sums(question, simulation, queries)
        agreed, *names = request.needs
        simulation, build = _once(
            self._made, agreed, lambda: self._rows.gather(from_packet(have[agreed]), request.position)
        )
        self._check_announced(request, have)
        (client,) = simulation.clients

        def recall(name: str, *, deeper: bool = True) -> Any:
            """Return what is kept under a name; others may stand in it by name, but none in these."""
            if name not in names:
                raise WireError(f"{name} was not to be needed")
            if name not in self._values:
                inner = partial(recall, deeper=False) if deeper else None
                self._values[name] = from_packet(have[name], build, inner)
            return self._values[name]

        about = from_packet(request.about, build, recall)
        question = replace(question, content=about, client=client)
        if what == "count":
            check_subset(about)
            return question, lambda: _count(simulation, about)
        if what == "sum":
            return self._sums(question, simulation, about)
        name, *others = names
        told, models = recall(name), [of for of in map(recall, others) if not isinstance(of, Inputs)]
        plan: Plan = told["plan"]
        check_plan(plan)
        question = replace(question, plan=plan)
        if what == "prepare":
            return question, lambda: _counts(simulation, plan)

        def training() -> LocalTraining:
            return _once(self._made, name, lambda: _prepared(simulation, told, have, name + ROWS))

        if what == "held out":
            asked = asked_of_held_out(plan, client)
            return replace(question, asked=asked), lambda: _held_out(training(), models[0], about)
        if what == "train":
            asked = asked_in_training(plan, client, [int(run) for run in about["runs"]])
            return replace(question, asked=asked), lambda: _train(training(), models, about, plan.schedule.privacy)
        raise WireError(f"{what!r} is nothing that a client does")

    def _sums(
        self, question: Question, simulation: Simulation, queries: Any
    ) -> tuple[Question, Callable[[], list[Any]]]:
        """Return what some queries ask, and what answers them."""
        (client,) = simulation.clients
        check_queries(queries, client)
        asked = asked_by(queries, client)

        def sums() -> list[Any]:
            _tell_of_suspects(self._rows.label, client, queries)
            return answered(queries, client, asked)

        return replace(question, content=queries, client=client, asked=asked), sums


def _kept(request: Request, kept: Mapping[str, Packet]) -> dict[str, Packet]:
    """Return what a client has of what it has kept and is given, and is to keep; what it makes itself is not given."""
    have = {**kept}
    for name, value in request.given.items():
        if name != ANNOUNCED and not name.endswith(ROWS):
            have[name] = value
    for name in list(have):
        if name != ANNOUNCED and name.removesuffix(ROWS) not in request.keep:
            del have[name]
    if len(have) > MOST_KEPT or sum(map(attrgetter("size"), have.values())) > MOST_BYTES:
        raise WireError("more is to be kept than a site keeps")
    return have


def _tell_of_suspects(label: Any, client: Client, queries: Any) -> None:
    """Write into this site's own log which rows are suspect, when it is asked how many are."""
    for query in queries:
        if isinstance(query, Suspects):
            for row, reason, _, column in zip(*suspects_of(client, query.look, query.block)[0], strict=True):
                where = "" if column == NOWHERE else f", column {column}"
                done = "left out" if client.suspects == "drop" else "used all the same"
                _log.warning("%r: row %d is suspect (%s%s), and %s", label, row, REASONS[reason], where, done)


def _once(found: dict[str, Any], name: str, make: Callable[[], Any]) -> Any:
    """Return what was found before under a name, or make it."""
    if name not in found:
        found[name] = make()
    return found[name]


def _prepared(simulation: Simulation, told: Mapping[str, Any], have: dict[str, Packet], rows: str) -> LocalTraining:
    """Return what trains by a plan; what has been prepared of the rows is kept under the name `rows`.

    Each message may be answered by a process of its own, and transforming many columns takes as long as training does.
    Who has lost what is kept prepares anew and finds the same bits.
    """
    plan: Plan = told["plan"]
    engine, sizes, tables = told["engine"], simulation.partition.sizes, simulation.tables
    if engine == "native":  # what is not compiled here is trained in torch
        settings = [run.settings for run in plan.runs]
        engine = engine_for("auto", plan.network, simulation.device, plan.schedule.history_size, sizes, settings)
    learned_from = list({id(of): of for run in plan.runs for of in (run.inputs, run.targets)}.values())
    if rows in have:
        for of, values in zip(learned_from, from_packet(have[rows]), strict=True):
            tables.know(of, values)
    runs = simulation.runs(plan)
    if rows not in have:
        found = [tables.inputs(of) if isinstance(of, Inputs) else tables.outputs(of) for of in learned_from]
        if sum(map(attrgetter("nbytes"), found)) <= MOST_PREPARED:
            have[rows] = to_packet(found)
    held_out = plan.runs[0].held_out  # those of one plan hold out the same
    if held_out is not None and not simulation.roster(held_out).positions.size:
        runs = [replace(run, held_out=None) for run in runs]
    return LocalTraining(plan.network, runs, plan.schedule, engine)


def _count(simulation: Simulation, subset: Subset) -> int:
    return int(simulation.roster(subset).sizes.sum())


def _counts(simulation: Simulation, plan: Plan) -> dict[str, Any]:
    """Return how many rows each run trains on, by modality where some lack any, and how many it holds out."""
    (client,) = simulation.clients
    masked = simulation.tables.present is not None
    counts, held_out = [], []
    for run in plan.runs:
        present = client.presence(run.subset)
        counts.append([len(present), *(present.sum(0).tolist() if masked else [])])
        held_out.append(0 if run.held_out is None else _count(simulation, run.held_out))
    return {"counts": np.array(counts, dtype=np.int64), "held_out": np.array(held_out, dtype=np.int64)}


def _held_out(training: LocalTraining, models: NDArray, runs: list[int]) -> HeldOutSums:
    """Return how some runs err on the rows held out, zeros of the others."""
    running = np.isin(np.arange(len(models)), runs)
    (sums,) = training.sum(HeldOutErrors(models, running))
    return HeldOutSums._make([*(np.where(running, part, 0.0) for part in sums[:4]), sums.mse_of_each])


def _train(
    training: LocalTraining, models: list[NDArray], about: Mapping[str, Any], privacy: ClientPrivacy | None
) -> dict[str, NDArray]:
    """Return what the runs that are asked for send after a round, in their order.

    With privacy no losses leave, and updates are clipped before they do; where the clip follows how many are within it,
    the server clips.
    """
    replica_of = {int(run): replica for replica, run in enumerate(training.cohort.runs)}
    replicas = np.array([replica_of[int(run)] for run in about["runs"]], dtype=np.int64)

    def of_all(values: NDArray | None) -> NDArray | None:
        if values is None:
            return None
        out = np.zeros((len(training.cohort.runs), values.shape[1]), values.dtype)
        out[replicas] = values
        return out

    shift, widths = of_all(about["shift"]), of_all(about["widths"])
    broadcast = Broadcast(models[0], tuple(models[1:]), about["round"], about["rate"], shift, widths)
    updates = list(training.train(replicas, broadcast))
    trained = np.concatenate([update.replicas for update in updates]).tolist()
    order = [trained.index(replica) for replica in replicas.tolist()]
    sent = {
        name: np.concatenate([getattr(update, name) for update in updates])[order]
        for name in ("weights", "losses", "gradients", "steps")
        if getattr(updates[0], name) is not None
    }
    if privacy is not None:
        sent["losses"] = np.zeros_like(sent["losses"])
        if privacy.target_share is None:
            origin = models[0][about["runs"]].astype(np.float64)
            moved, _ = clipped(sent["weights"] - origin, privacy.clip_norm)
            sent["weights"] = (origin + moved).astype(sent["weights"].dtype)
    return sent
