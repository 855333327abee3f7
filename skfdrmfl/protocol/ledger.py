"""The ledger: the messages between server and clients, counted where they pass the door.

What it leaves out is on the page on privacy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from skfdrmfl.common.arrays import Indices
from skfdrmfl.diagnosis.tables import aligned

UP, DOWN = "up", "down"
TOTAL, EACH, NOISY = "total", "each", "noisy total"
# What the names of messages of a mixture begin with.
OF_MIXTURE = "mixture: "


class Message(NamedTuple):
    """All messages of one kind: a query's way down, the answers to it, or what goes out or comes back in a round.

    Attributes
    ----------
    round : int
        The round, from 1, that it belongs to; what follows a round has its number. 0 before the first round.
    direction : {"up", "down"}
        "up" goes from clients to the server.
    what : str
        The kind.
    shape : tuple
        Shapes of the arrays in one message; of sets of labels, which differ, None.
    clients : int
        Clients who sent or received it.
    bytes : int
        Bytes of all of them together.
    seen : {"total", "each", "noisy total", ""}
        What the server needs of messages that go up: their sum, each by itself, or their sum with noise. Empty for
        those that go down.
    """

    round: int
    direction: str
    what: str
    shape: tuple[Any, ...]
    clients: int
    bytes: int
    seen: str


class Kind(NamedTuple):
    """A kind of message of a round: as of `Message`, with the bytes of one, or of each (K,)."""

    direction: str
    what: str
    shape: tuple[Any, ...]
    n_bytes: Indices | int
    seen: str


class Ledger:
    """Messages so far, one record for all clients and messages of a kind and query or round, and bytes by client.

    `exchanges` is how often clients were asked for what is counted: all of them at a time, several queries at once.
    `runs` are the names by which clients elsewhere know the fits that are counted.
    """

    # With privacy, how many clients are taken to send or receive any message, whoever and however many they are, and no
    # bytes are counted by client. None: who really did.
    crowd: int | None = None

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.runs: tuple[str, ...] = ()
        self.exchanges = 0
        self.round = 0
        self.stage = ""
        self._by_client = {UP: np.zeros(0, dtype=np.int64), DOWN: np.zeros(0, dtype=np.int64)}

    def record(
        self,
        direction: str,
        what: str,
        shape: tuple[Any, ...],
        positions: Indices,
        n_bytes: Indices | int,
        seen: str = TOTAL,
    ) -> None:
        """Count messages of one kind from or to the clients at `positions` (K,); `n_bytes` of each."""
        kind = Kind(direction, what, shape, n_bytes, seen if direction == UP else "")
        self.record_rounds({self.round: [kind]}, positions)

    def record_rounds(self, rounds: Mapping[int, Sequence[Kind]], positions: Indices, times: Indices | int = 1) -> None:
        """Count messages of the kinds of each of some rounds, `times` (K,) for the clients at `positions` (K,)."""
        n_clients = len(positions) if self.crowd is None else self.crowd
        n_messages = n_clients if isinstance(times, int) else int(times.sum())
        n_bytes: dict[str, Indices | int] = {UP: 0, DOWN: 0}
        for number, kinds in rounds.items():
            self.round = number
            for direction, what, shape, n, seen in kinds if n_clients else ():
                n_bytes[direction] += n
                n = int(n.sum()) if isinstance(n, np.ndarray) else n * n_messages
                self.messages.append(Message(number, direction, f"{self.stage}{what}", shape, n_clients, n, seen))
        for direction, n in n_bytes.items():
            if np.any(n) and self.crowd is None and len(positions):
                most = int(positions.max()) + 1
                if most > len(self._by_client[direction]):  # some are met for the first time
                    self._by_client[direction] = _padded(self._by_client[direction], most)
                self._by_client[direction][positions] += n * times

    def extend(self, other: Ledger) -> None:
        """Count what another ledger has counted."""
        self.messages += other.messages
        self.runs = tuple(dict.fromkeys((*self.runs, *other.runs)))
        self.exchanges += other.exchanges
        for direction, theirs in other._by_client.items():
            mine = self._by_client[direction]
            self._by_client[direction] = _padded(mine, len(theirs)) + _padded(theirs, len(mine))

    def copy(self) -> Ledger:
        """Return a ledger that counts on by itself."""
        other = Ledger()
        other.extend(self)
        other.round, other.crowd = self.round, self.crowd
        return other

    def to_dict(self, first: int = 0) -> dict[str, Any]:
        """Return all that has been counted as plain values, of messages those from number `first` on."""
        return {
            "messages": [tuple(m) for m in self.messages[first:]],
            "exchanges": self.exchanges,
            "round": self.round,
            "by_client": dict(self._by_client),
            "crowd": self.crowd,
            "runs": list(self.runs),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Ledger:
        """Return the ledger of which `to_dict` gave these values."""
        ledger = cls()
        ledger.messages = [Message(*message) for message in values["messages"]]
        ledger.round, ledger._by_client = values["round"], dict(values["by_client"])
        ledger.crowd, ledger.exchanges = values.get("crowd"), values.get("exchanges", 0)  # of old files not known
        ledger.runs = tuple(values.get("runs", ()))
        return ledger

    def log(self, clients: Sequence[Any]) -> FederationLog:
        """Return what has been counted, for clients of these labels."""
        clients = clients if self.crowd is None else []
        sent, received = (_padded(self._by_client[d], len(clients))[: len(clients)] for d in (UP, DOWN))
        return FederationLog(self.messages, clients, sent, received, self.exchanges, self.runs)


class FederationLog(list[Message]):
    """All messages between server and clients, a `Message` for each kind and query or round; printed, a table by kind.

    Parameters
    ----------
    messages : iterable of Message
    clients : sequence of length K
        Labels.
    sent, received : ndarray of int of shape (K,)
        Bytes by client.
    exchanges : int
        How often the server has asked for what is here: sums, a round, errors on rows held out.
    runs : sequence of str
        Names by which clients elsewhere know the fits that this is of.
    """

    def __init__(
        self,
        messages: Iterable[Message],
        clients: Sequence[Any],
        sent: Indices,
        received: Indices,
        exchanges: int = 0,
        runs: Sequence[str] = (),
    ):
        super().__init__(messages)
        self.clients = list(clients)
        self.sent, self.received, self.exchanges, self.runs = sent, received, exchanges, tuple(runs)

    def by_client(self) -> list[dict[str, Any]]:
        """Return the bytes that each client has sent and received."""
        return [
            {"client": client, "sent": int(sent), "received": int(received)}
            for client, sent, received in zip(self.clients, self.sent, self.received, strict=True)
        ]

    def by_kind(self) -> list[dict[str, Any]]:
        """Return the number of records, messages and bytes of each kind, in order of first appearance."""
        kinds: dict[tuple[str, str, str], dict[str, Any]] = {}
        for m in self:
            row = kinds.setdefault(
                (m.direction, m.what, m.seen),
                {"what": m.what, "direction": m.direction, "seen": m.seen, "records": 0, "messages": 0, "bytes": 0},
            )
            row["records"] += 1
            row["messages"] += m.clients
            row["bytes"] += m.bytes
        return list(kinds.values())

    def __repr__(self) -> str:
        rows = [[str(value) for value in row.values()] for row in self.by_kind()]
        rows.insert(0, ["what", "direction", "seen", "records", "messages", "bytes"])
        return "\n".join(aligned(rows, right=range(3, 6)))


def _padded(counts: Indices, n: int) -> Indices:
    """Return counts with zeros behind them, `n` or more in all."""
    return np.concatenate((counts, np.zeros(max(0, n - len(counts)), dtype=counts.dtype)))


def shapes_of(answer: Any) -> tuple[Any, ...]:
    """Return the shapes of the parts of an answer; None for a set."""
    return tuple([None if isinstance(part, frozenset) else tuple(np.shape(part)) for part in answer])


def bytes_of(part: Any) -> int:
    """Return how many bytes a part of a message takes: 8 for a number, UTF-8 for a label."""
    if isinstance(part, np.ndarray):
        return part.nbytes
    if isinstance(part, (frozenset, tuple, list)):
        return sum([p.nbytes if isinstance(p, np.ndarray) else bytes_of(p) for p in part])
    if isinstance(part, str):
        return len(part.encode())
    return 0 if part is None else 8
