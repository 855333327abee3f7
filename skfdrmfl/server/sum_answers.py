"""Clients' answers added up: what the server makes of an exchange, wherever the clients are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from operator import add
from typing import Any

import numpy as np

from skfdrmfl.common.arrays import Indices
from skfdrmfl.protocol.door import Query, Roster
from skfdrmfl.protocol.ledger import DOWN, EACH, TOTAL, UP, Ledger, bytes_of, shapes_of
from skfdrmfl.server.outlying_clients import OutlyingClients

# The answers of one client, None for each query that it has no row for, and its position.
Answers = tuple[int, Sequence[Any]]


def totals(
    queries: Sequence[Query],
    asked: Roster,
    answers: Iterable[Answers],
    ledger: Ledger,
    guard: OutlyingClients | None = None,
) -> tuple[Any, ...]:
    """Return the sum of the answers to each query, taken client by client as they come; None where there are none.

    Answers come in the order of `asked`: sums depend on it to the last bit. A guard sees all before any is added, and
    those whom it leaves out are not.
    """
    if guard is not None:
        answers = list(answers)
        by_query = [{p: mine[i] for p, mine in answers if mine[i] is not None} for i in range(len(queries))]
        guard.judge(queries, by_query, dict(zip(asked.positions.tolist(), asked.sizes.tolist(), strict=True)))
    tallies = [_Tally() for _ in queries]
    for position, mine in answers:
        counts = guard is None or position not in guard.excluded
        for tally, answer in zip(tallies, mine, strict=True):
            if answer is None:
                continue
            if not tally.answered:
                tally.shapes = shapes_of(answer)
            if not tally.answered or None in tally.shapes:  # sets of labels differ, arrays are alike
                tally.n_bytes.append(bytes_of(answer))
            tally.answered.append(position)
            if counts:
                tally.total = answer if tally.total is None else type(answer)(*map(add, tally.total, answer))
    ledger.exchanges += 1
    seen = TOTAL if guard is None else EACH
    for query, tally in zip(queries, tallies, strict=True):
        n_bytes = np.array(tally.n_bytes) if None in tally.shapes else sum(tally.n_bytes)
        answered = np.array(tally.answered, dtype=np.int64)
        _record(query, ledger, asked.positions, answered, tally.shapes, n_bytes, seen)
    return tuple([tally.total for tally in tallies])


def totals_of_all(queries: Sequence[Query], asked: Roster, answers: Sequence[Any], ledger: Ledger) -> tuple[Any, ...]:
    """Return answers that were taken of all clients at once, and count what each of them would have sent."""
    ledger.exchanges += 1
    for query, answer in zip(queries, answers, strict=True):
        _record(query, ledger, asked.positions, asked.positions, shapes_of(answer), bytes_of(answer), TOTAL)
    return tuple(answers)


@dataclass(slots=True)
class _Tally:
    """The answers to a query so far: their sum, who gave them, and what they weigh."""

    total: Any = None
    answered: list[int] = field(default_factory=list)
    shapes: tuple[Any, ...] = ()
    n_bytes: list[int] = field(default_factory=list)  # of each; of the first alone where all weigh the same


def _record(
    query: Query,
    ledger: Ledger,
    asked: Indices,
    answered: Indices,
    shapes: tuple[Any, ...],
    n_bytes: Indices | int,
    seen: str,
) -> None:
    """Count a query's arrays on their way down, and answers on their way up, with shapes and bytes of each."""
    arrays = [value for value in vars(query).values() if isinstance(value, np.ndarray)]
    if arrays:
        ledger.record(DOWN, f"for {query.name}", shapes_of(arrays), asked, bytes_of(arrays))
    if len(answered):
        seen = getattr(query, "seen", seen)  # what is sent with noise says so
        ledger.record(UP, query.name, shapes, answered, n_bytes, seen)
