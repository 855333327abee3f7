"""Clients' answers added up: what the server makes of an exchange, wherever the clients are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
    tallies = [_Sum(query) for query in queries]
    for position, mine in answers:
        counts = guard is None or position not in guard.excluded
        for tally, answer in zip(tallies, mine, strict=True):
            tally.add(position, answer, counts=counts)
    ledger.exchanges += 1
    for tally in tallies:
        tally.record(ledger, asked.positions, TOTAL if guard is None else EACH)
    return tuple([tally.total for tally in tallies])


def totals_of_all(queries: Sequence[Query], asked: Roster, answers: Sequence[Any], ledger: Ledger) -> tuple[Any, ...]:
    """Return answers that were taken of all clients at once, and count what each of them would have sent."""
    ledger.exchanges += 1
    for query, answer in zip(queries, answers, strict=True):
        _record(query, ledger, asked.positions, asked.positions, shapes_of(answer), bytes_of(answer), TOTAL)
    return tuple(answers)


class _Sum:
    """The sum of clients' answers to a query, taken as they come, and what all answers weigh."""

    def __init__(self, query: Query):
        self.query = query
        self.total: Any = None
        self._answered: list[int] = []
        self._n_bytes: list[int] = []
        self._shapes: tuple[Any, ...] = ()

    def add(self, position: int, answer: Any, *, counts: bool) -> None:
        """Take a client's answer, if it has one; it goes into the sum where it `counts`."""
        if answer is None:
            return
        if not self._answered:
            self._shapes = shapes_of(answer)
        if not self._answered or None in self._shapes:  # sets of labels differ, arrays are alike
            self._n_bytes.append(bytes_of(answer))
        self._answered.append(position)
        if counts:
            self.total = answer if self.total is None else type(answer)(*map(add, self.total, answer))

    def record(self, ledger: Ledger, asked: Indices, seen: str) -> None:
        """Count the query's arrays on their way down to the clients `asked`, and the answers on their way up."""
        n_bytes = np.array(self._n_bytes) if None in self._shapes else (self._n_bytes or [0])[0]
        _record(self.query, ledger, asked, np.array(self._answered, dtype=np.int64), self._shapes, n_bytes, seen)


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
