"""Who watches over a site: what is asked, from how many rows it would be answered, and what leaves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple, Protocol

import numpy as np

from skfdrmfl.clients.client_data import Client
from skfdrmfl.clients.remote.packet import Packet
from skfdrmfl.data.held_out import EVERYTHING, Subset
from skfdrmfl.protocol.door import Block
from skfdrmfl.protocol.messages import HeldOutErrors
from skfdrmfl.protocol.plan import Plan
from skfdrmfl.protocol.queries.labels import ColumnLabels
from skfdrmfl.server.training_ledger import answers_of


class Asked(NamedTuple):
    """A thing that is asked: what the ledger calls the answer, from how many rows it is made, and the fewest.

    The fewest rows are those of the smallest part that the answer gives away: a fold, a modality, a label, or the rows
    that were left out of the others.
    """

    name: str
    rows: int
    fewest: int


@dataclass(frozen=True, eq=False)
class Question:
    """What a server asks of a site.

    `what` is "describe", "labels", "count", "sum", "prepare", "held out", "train" or "who"; "" of what cannot be read.
    `content` is the question as it was read: queries; a subset; of training, what the round is. `plan` is what training
    goes by, `client` who answers. `asked` is empty where nothing leaves that a ledger counts.
    """

    what: str
    run: str = ""  # the exchange's own name, one for all messages of a fit
    position: int = -1  # the site's place in `clients_`, -1 before places are known
    content: Any = None
    asked: tuple[Asked, ...] = ()
    plan: Plan | None = None
    client: Client | None = None
    round: int = 0  # that the server's ledger counts it in

    @property
    def names(self) -> tuple[str, ...]:
        """What the ledger calls what is asked."""
        return tuple(one.name for one in self.asked)


@dataclass(frozen=True, eq=False)
class Answer:
    """What leaves a site: the packet as it is sent, the value in it, and the reason where it is a refusal."""

    packet: Packet
    value: Any = None
    refused: str = ""


class Watch(Protocol):
    """Looks at every question of a site and at every answer, in that order; both may raise `Refusal`.

    Of several who watch, each sees what those before it have let pass. Refused questions reach `after` too.
    """

    def before(self, question: Question) -> None:
        """See a question before anything is computed for it; by default let it pass."""
        return

    def after(self, question: Question, answer: Answer) -> None:
        """See the answer before it leaves."""


def asked_by(queries: Iterable[Any], client: Client) -> tuple[Asked, ...]:
    """Return what some queries ask of a client."""
    return tuple(Asked(query.name, _rows_of(query, client), _fewest(_parts(query, client))) for query in queries)


def asked_in_training(plan: Plan, client: Client, runs: Iterable[int]) -> tuple[Asked, ...]:
    """Return what a round of some runs of a plan asks of a client."""
    subsets = [plan.runs[run].subset for run in runs]
    rows = sum(len(client.rows_of(subset)) for subset in subsets)
    fewest = _fewest(chain(_of_labels(client), *(_of_subset(subset, client) for subset in subsets)))
    return tuple(Asked(name, rows, fewest) for name, _, _ in answers_of(plan.schedule, plan.network.layout.size))


def asked_of_held_out(plan: Plan, client: Client) -> tuple[Asked, ...]:
    """Return what the errors on the rows that the runs of a plan hold out ask of a client."""
    held_out = [run.held_out for run in plan.runs if run.held_out is not None]
    rows = sum(len(client.rows_of(subset)) for subset in held_out)
    fewest = _fewest(chain(*(_of_subset(subset, client) for subset in held_out)))
    return (Asked(HeldOutErrors.name, rows, fewest),)


def _parts(query: Any, client: Client) -> Iterator[int]:
    """Yield from how many rows each part of an answer is made, and how many are left out of it."""
    if isinstance(query, ColumnLabels):  # whatever its subset
        yield from _of_labels(client, query.column)
        return
    blocks: Iterable[Block] = getattr(query, "blocks", ()) or ((query.block,) if hasattr(query, "block") else ())
    if not blocks:
        yield from _of_labels(client)
    members = getattr(query, "members", query)
    for subset in (query.subset, *getattr(members, "folds", ())):
        yield from _of_subset(subset, client, {block.modality for block in blocks} if blocks else None)


def _rows_of(query: Any, client: Client) -> int:
    """Return from how many rows an answer is made."""
    return len(client.rows if isinstance(query, ColumnLabels) else client.rows_of(query.subset))


def _fewest(numbers: Iterable[int]) -> int:
    """Return the smallest of some numbers of rows, but for those that are none."""
    return min((n for n in numbers if n), default=0)


def _of_labels(client: Client, column: int | None = None) -> Iterator[int]:
    """Yield how many rows have each label of a discrete column, or of all."""
    for _, places in client.tables.labels.values() if column is None else [client.tables.labels[column]]:
        yield from np.unique(places[client.rows], return_counts=True)[1].tolist()


def _of_subset(subset: Subset, client: Client, modalities: set[int | None] | None = None) -> Iterator[int]:
    """Yield how many rows a subset has and leaves out, all of them and those of some modalities (None: of each)."""
    present = client.tables.present
    of_all = client.presence(EVERYTHING).sum(0)
    mine = client.rows_of(subset)
    yield len(mine)
    yield len(client.rows) - len(mine)
    if present is not None:
        with_each = present[mine].sum(0)
        for m in range(len(of_all)) if modalities is None else [m for m in modalities if m is not None]:
            yield int(with_each[m])
            yield int(of_all[m] - with_each[m])
