"""A client who is elsewhere: it answers one request at a time, from its rows and from what it has kept."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.clients.remote.channel import DONE, FAILED, LOST, WHO
from skfdrmfl.clients.remote.codec import Build, from_packet, to_packet
from skfdrmfl.clients.remote.packet import Packet, Refusal, Request, WireError
from skfdrmfl.clients.remote.prepared import ROWS, know, prepared
from skfdrmfl.clients.simulation import LocalTraining, Simulation
from skfdrmfl.common.threads import single_threaded
from skfdrmfl.data.held_out import Subset
from skfdrmfl.engines import engine_for
from skfdrmfl.method.suspects import NOWHERE, REASONS
from skfdrmfl.protocol.messages import Broadcast, HeldOutErrors
from skfdrmfl.protocol.plan import Plan
from skfdrmfl.protocol.queries.suspects import Suspects, suspects_of

_log = logging.getLogger("skfdrmfl")


class Rows(Protocol):
    """Where a client's rows come from, and what it is called."""

    label: Any

    def describe(self, about: Any) -> Any:
        """Return what a server may know of the rows before anything is agreed on."""

    def labels(self, position: int) -> Simulation:
        """Return the client alone, with nothing but the labels of its discrete columns."""

    def gather(self, agreed: Any, position: int) -> tuple[Simulation, Build]:
        """Return the client alone, ready to be asked, and what makes its networks."""


class Site:
    """One client, wherever it is.

    All that has to live from one request to the next is in `kept`, so that each can be answered by a process of its
    own. A site that lives on does not work out again what has a name there, until it is told to forget the name.
    """

    def __init__(self, rows: Rows):
        self._rows = rows
        # Of each packet that is kept, by its name: the value, and what has been made of it.
        self._values: dict[str, Any] = {}
        self._made: dict[str, Any] = {}

    def answer(self, packet: Packet, kept: Mapping[str, Packet]) -> tuple[Packet, dict[str, Packet]]:
        """Return the answer to a request, and what is to be kept for those to come: `kept`, of the next."""
        request = Request.of_packet(packet)
        have = {**kept, **request.given}
        have = {name: value for name, value in have.items() if name.removesuffix(ROWS) in request.keep}
        for of_name in (self._values, self._made):
            for name in of_name.keys() - have.keys():
                del of_name[name]
        lost = [name for name in request.needs if name not in have or name.endswith(ROWS)]
        if lost:
            return to_packet((LOST, lost)), have
        try:
            with single_threaded():
                return to_packet((DONE, self._answer(request, have))), have
        except Refusal as error:
            _log.exception("%s: refused", request.what)
            return to_packet((FAILED, f"{self._rows.label!r}: {error}")), have
        except Exception as error:
            # What errors say may quote rows: that stays here.
            _log.exception("%s: no answer could be given", request.what)
            said = f"{self._rows.label!r}: {type(error).__name__} in {request.what!r}; its own log says more"
            return to_packet((FAILED, said)), have

    def _answer(self, request: Request, have: dict[str, Packet]) -> Any:
        """Return the answer; what has been prepared for it joins what the client has."""
        if request.what == WHO:
            return self._rows.label
        if request.what == "describe":
            return self._rows.describe(from_packet(request.about))
        if request.what == "labels":
            return _answers(self._rows.labels(request.position), from_packet(request.about))
        agreed, *names = request.needs
        simulation, build = _once(
            self._made, agreed, lambda: self._rows.gather(from_packet(have[agreed]), request.position)
        )

        def recall(name: str) -> Any:
            if name not in names:
                raise WireError(f"{name} was not to be needed")
            return _once(self._values, name, lambda: from_packet(have[name], build))

        about = from_packet(request.about, build, recall)
        if request.what == "count":
            return _count(simulation, about)
        if request.what == "sum":
            self._tell_of_suspects(simulation, about)
            return _answers(simulation, about)
        name, *models = names
        told = recall(name)
        if request.what == "prepare":
            return _counts(simulation, told["plan"])
        training = _once(self._made, name, lambda: _prepared(simulation, told, have, name + ROWS))
        if request.what == "held out":
            return _held_out(training, recall(models[0]))
        if request.what == "train":
            return _train(training, [recall(model) for model in models], about)
        raise WireError(f"{request.what!r} is nothing that a client does")

    def _tell_of_suspects(self, simulation: Simulation, queries: Any) -> None:
        """Write into this site's own log which rows are suspect, when it is asked how many are."""
        for query in queries:
            if isinstance(query, Suspects):
                (client,) = simulation.clients
                for row, reason, _, column in zip(*suspects_of(client, query.look, query.block)[0], strict=True):
                    where = "" if column == NOWHERE else f", column {column}"
                    done = "left out" if client.suspects == "drop" else "used all the same"
                    _log.warning(
                        "%r: row %d is suspect (%s%s), and %s", self._rows.label, row, REASONS[reason], where, done
                    )


def _once(found: dict[str, Any], name: str, make: Callable[[], Any]) -> Any:
    """Return what was found before under a name, or make it."""
    if name not in found:
        found[name] = make()
    return found[name]


def _prepared(simulation: Simulation, told: Mapping[str, Any], have: dict[str, Packet], rows: str) -> LocalTraining:
    """Return what trains by a plan; what has been prepared of the rows is kept under the name `rows`."""
    plan: Plan = told["plan"]
    engine, sizes = told["engine"], simulation.partition.sizes
    if engine == "native":  # what is not compiled here is trained in torch
        settings = [run.settings for run in plan.runs]
        engine = engine_for("auto", plan.network, simulation.device, plan.schedule.history_size, sizes, settings)
    if rows in have:
        know(simulation.tables, plan, have[rows])
    runs = simulation.runs(plan)
    if rows not in have and (found := prepared(simulation.tables, plan)) is not None:
        have[rows] = found
    held_out = plan.runs[0].held_out  # those of one plan hold out the same
    if held_out is not None and not simulation.roster(held_out).positions.size:
        runs = [replace(run, held_out=None) for run in runs]
    return LocalTraining(plan.network, runs, plan.schedule, engine)


def _answers(simulation: Simulation, queries: Any) -> list[Any]:
    (client,) = simulation.clients
    return [query(client) for query in queries]


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


def _held_out(training: LocalTraining, models: NDArray) -> Any:
    (sums,) = training.sum(HeldOutErrors(models, np.ones(len(models), dtype=bool)))
    return sums


def _train(training: LocalTraining, models: list[NDArray], about: Mapping[str, Any]) -> dict[str, NDArray]:
    """Return what the runs that are asked for send after a round, in their order."""
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
    parts: dict[str, dict[int, NDArray]] = {name: {} for name in ("weights", "losses", "gradients", "steps")}
    for update in training.train(replicas, broadcast):
        for name, of_replica in parts.items():
            if (part := getattr(update, name)) is not None:
                of_replica.update(zip(update.replicas.tolist(), part, strict=True))
    return {
        name: np.stack([of_replica[r] for r in replicas.tolist()]) for name, of_replica in parts.items() if of_replica
    }
