"""The door between server and clients: all that leaves a client, and all that reaches it, passes through here.

A federation answers four verbs: `roster`, `sum`, `prepare`, and `train` of what has been prepared. What stands behind
them is of no consequence to the server: clients in one memory (`simulation.Simulation`), or a network with a client at
each end. Nothing here, nor in what imports only this, can reach a row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.common.arrays import Float, Indices
from skfdrmfl.data.held_out import EVERYTHING, Subset
from skfdrmfl.method.linear import Linear
from skfdrmfl.method.mixture import Mixture
from skfdrmfl.method.suspects import Found, Look
from skfdrmfl.protocol.algorithm_state import AlgorithmState
from skfdrmfl.protocol.dropped_clients import DroppedClient
from skfdrmfl.protocol.ledger import Ledger
from skfdrmfl.protocol.messages import Averaged, Broadcast, HeldOutErrors, HeldOutSums, Update
from skfdrmfl.protocol.plan import Inputs, Model, Plan, Targets
from skfdrmfl.protocol.replicas import Replicas
from skfdrmfl.views.base import View

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Roster:
    """Who takes part, or has rows of a subset."""

    positions: Indices  # (K,), place of each client in `clients_`
    sizes: Indices  # (K,), rows of each client


@dataclass(frozen=True)
class Block:
    """Columns that a sum is taken of: of the table, or the outputs."""

    columns: Indices | None  # columns of the table; None for the outputs
    modality: int | None = None  # number of the modality that a row must have to count; None counts all rows
    view: View | None = None  # what they are pre-treated by first


class EachSaid(frozenset[Any]):
    """What clients say that no sum can hold; the sum of two is their union."""

    def __add__(self, other: frozenset[Any]) -> EachSaid:
        return EachSaid(self | other)


class ClientRows(Protocol):
    """What a query may ask of the one client that it is handed to."""

    @property
    def position(self) -> int:
        """Its place in `clients_`."""

    @property
    def suspects(self) -> str:
        """What it does with rows that look corrupt: "warn", "drop" or "ignore"."""

    def once(self, key: Any, compute: Callable[[], Answer]) -> Answer:
        """Return what was computed of its rows for this very object before, or compute it."""

    def slabs(self, block: Block, subset: Subset) -> Iterator[Float]:
        """Yield copies of the rows (n, p) of a block as float64, a slab of rows at a time."""

    def inputs(self, inputs: Inputs, subset: Subset) -> Iterator[NDArray]:
        """Yield encoder inputs (n, columns), a slab of rows at a time."""

    def inputs_and_targets(self, inputs: Inputs, targets: Targets, subset: Subset) -> Iterator[tuple[Float, Float]]:
        """Yield encoder inputs (n, columns) and what a network learns (n, q), all rows at once unless they are many."""

    def linear(self, linear: Linear, inputs: Inputs, subset: Subset) -> Float:
        """Return what a linear model of encoder inputs predicts (n, q)."""

    def targets(self, targets: Targets, subset: Subset) -> Float:
        """Return what a network learns (n, q)."""

    def codes(self, model: Model | Mixture, subset: Subset) -> tuple[Float, Float]:
        """Return Z (n, c) and predictions (n, q) of a model."""

    def responses(self, model: Model, subset: Subset) -> tuple[int, Float]:
        """Return a number of rows, and sums over them of how predictions respond to each place (w,)."""

    def mixture_responses(
        self, mixture: Mixture, sizes: Mapping[int, int], subset: Subset
    ) -> tuple[int, Float, Float, Float]:
        """Return a number of rows, and over them squared slopes by columns, squared changes by codes and their counts.

        `sizes` are the numbers of codes by column.
        """

    def presence(self, subset: Subset) -> NDArray[np.bool_]:
        """Return which modalities each row has (n, M)."""

    def blocks(self, subset: Subset) -> Indices:
        """Return the block (n,) of each row; rows of one block are never parted."""

    def labels(self, column: int) -> frozenset[Any]:
        """Return the labels of a discrete column, None among them where values are missing."""


class Query:
    """A question to every client, whose answers are added up: a frozen dataclass of arrays, and a pure function.

    One with `of_rows` is answered by a sum over rows and nothing else, by every client who has some.
    """

    name: ClassVar[str]  # what the ledger calls the answers
    # Of each part of an answer, with which power of the rows' units it grows; 0 for what has none, such as counts, and
    # what clients may well differ in, such as errors. A guard compares the others.
    powers: ClassVar[tuple[int, ...]]
    of_rows: ClassVar[bool] = False
    subset: Any  # the rows it is about

    def __call__(self, client: ClientRows) -> Any:
        """Return a client's answer, a NamedTuple of things that can be added; None where it has no such row."""


class OfAllRows(Query):
    """A query that is about all rows."""

    subset: Any = EVERYTHING


class Training(Protocol):
    """What a server needs of clients who have prepared."""

    @property
    def cohort(self) -> Replicas:
        """Who trains in which run."""

    def sum(self, query: HeldOutErrors) -> tuple[HeldOutSums]:
        """Return how the models of all runs err on the rows that were set aside."""

    def train(self, participants: Indices, broadcast: Broadcast) -> Iterator[Update]:
        """Let participants train from what is broadcast; yield what comes back, in their order."""

    def average_rounds(
        self,
        invited: Iterator[Indices],
        broadcast: Broadcast,
        rate_factors: Sequence[float],
        memory: AlgorithmState,
        *,
        each_round: bool,
    ) -> Iterator[Averaged] | None:
        """Go through rounds in the server's place, as its `ServerStep` says, or return None where it takes one.

        `invited` are who takes part in each round, `broadcast` what is sent out in the first, but for shifts, `memory`
        what the algorithm keeps of all runs. Yielded are blocks of one or, without `each_round`, more rounds, which are
        those that `train`, the mean and the algorithm would give, to the bit. They may end early: before a round in
        which something is not finite.
        """


class NoAnswer(RuntimeError):
    """Clients, at `positions` in `clients_`, who were asked for what nobody else can say, and have not answered."""

    def __init__(self, said: str, positions: tuple[int, ...] = ()):
        super().__init__(said)
        self.positions = positions


class Federation(Protocol):
    """What a server can ask of its clients."""

    ledger: Ledger
    # Looks at each client's answers before they are summed; whom it leaves out is asked no more and does not train
    guard: Any
    engine: str  # key of `ENGINES`

    def roster(self, subset: Subset = EVERYTHING) -> Roster:
        """Return who takes part, of those who have rows of a subset, and how many each has."""

    def restricted_to(self, there: NDArray[np.bool_]) -> Federation:
        """Return the federation of those who are there, of all clients (K,)."""

    def without_suspects(
        self, look: Look, block: Block, kept: Mapping[int, Any]
    ) -> tuple[Federation, dict[int, Found]]:
        """Return the federation without the rows that clients drop by a look, and the suspect ones of who is here.

        `kept` says of those who were asked how many rows they keep, and how many of these have each modality; who is
        elsewhere names no rows.
        """

    def left_out(self) -> list[DroppedClient]:
        """Return who was left out so far, by whatever looks after the federation."""

    def sum(self, *queries: Query) -> tuple[Any, ...]:
        """Return the sum of all clients' answers to each query, in one exchange; None where nobody had an answer.

        Raises NoAnswer where some did not answer at all: without them it would be a sum over others.
        """

    def prepare(self, plan: Plan) -> Training:
        """Let the clients prepare what they train on; what comes back lets them train, round by round."""


def of_those_who_answer(
    federation: Federation, there: NDArray[np.bool_] | None, ask: Callable[[Federation], Answer]
) -> Answer:
    """Return what `ask` makes of the clients who are `there` (K,), None being all, and answer to the end.

    What is trained is for nobody's silence to lose: NoAnswer is raised where nobody is left.
    """
    positions = federation.roster().positions
    there = np.ones(int(positions.max(initial=-1)) + 1, dtype=bool) if there is None else there.copy()
    while True:
        try:
            return ask(federation.restricted_to(there))
        except NoAnswer as silence:
            there[list(silence.positions)] = False
            if not (silence.positions and there[positions].any()):
                raise
