"""Who watches over a site: what is asked, from how many rows it would be answered, and what leaves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple, Protocol

import numpy as np

from skfdrmfl.clients.client_data import Client
from skfdrmfl.clients.remote.packet import Packet
from skfdrmfl.data.held_out import Subset
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
    return tuple([_asked(query, client) for query in queries])


def asked_in_training(plan: Plan, client: Client, runs: Iterable[int]) -> tuple[Asked, ...]:
    """Return what a round of some runs of a plan asks of a client."""
    rows, fewest = _rows_of_parts([plan.runs[run].subset for run in runs], client, client.tables.labels)
    n_parameters = plan.network.layout.size
    return tuple([Asked(name, rows, fewest) for name, _, _ in answers_of(plan.schedule, n_parameters)])


def asked_of_held_out(plan: Plan, client: Client) -> tuple[Asked, ...]:
    """Return what the errors on the rows that the runs of a plan hold out ask of a client."""
    rows, fewest = _rows_of_parts([run.held_out for run in plan.runs if run.held_out is not None], client)
    return (Asked(HeldOutErrors.name, rows, fewest),)


def _asked(query: Any, client: Client) -> Asked:
    if isinstance(query, ColumnLabels):  # whatever its subset
        return Asked(query.name, len(client.rows), _rows_of_parts((), client, [query.column])[1])
    blocks, folds = blocks_of(query), getattr(getattr(query, "members", query), "folds", ())
    labels = () if blocks else client.tables.labels
    rows, fewest = _rows_of_parts((query.subset, *folds), client, labels, blocks)
    return Asked(query.name, rows, fewest)


def blocks_of(query: Any) -> tuple[Block, ...]:
    """Return the blocks of columns that a query names."""
    return getattr(query, "blocks", ()) or ((query.block,) if hasattr(query, "block") else ())


def _rows_of_parts(
    subsets: Iterable[Subset], client: Client, labels: Iterable[int] = (), blocks: Sequence[Block] = ()
) -> tuple[int, int]:
    """Return how many rows are in any of the subsets, and in the smallest part that an answer is made of or leaves out.

    Parts are the rows with each label of some columns, and of each subset all and those that have the modalities of
    some blocks, all where there are none; those without rows are left out.
    """
    rows, present = client.rows, client.tables.present
    is_read = np.zeros(int(rows.max(initial=-1)) + 1, dtype=bool)
    parts: list[Any] = []
    for column in labels:
        parts.append(np.unique(client.tables.labels[column][1][rows], return_counts=True)[1])
    for subset in subsets:
        mine = client.rows_of(subset)
        is_read[mine] = True
        parts.append((len(mine), len(rows) - len(mine)))
        if present is not None:
            named = [block.modality for block in blocks if block.modality is not None]
            modalities = named if blocks else slice(None)
            with_each = present[mine].sum(0)
            parts += [with_each[modalities], (present[rows].sum(0) - with_each)[modalities]]
    return int(is_read.sum()), int(min(filter(None, chain.from_iterable(parts)), default=0))
