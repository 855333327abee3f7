"""Packets to sites over a run of Flower, by the labels that sites give themselves."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from skfdrmfl.clients.remote.channel import DONE, LOOK, WHO, WORD, gathered
from skfdrmfl.clients.remote.codec import from_packet, to_packet
from skfdrmfl.clients.remote.packet import Packet, Request, WireError
from skfdrmfl.courier.sockets import receive, send

# How often a question is put to a node whose courier failed, and how long a site may be away before it counts as gone.
TIMES, PATIENCE = 3, 180.0


@dataclass
class Asked:
    """A question on its way to a site."""

    packet: Packet
    node: int | None = None  # to which it was sent last
    number: str = ""  # of the message, while it is open
    n_sent: int = 0  # to this node


class RunChannel:
    """Carries packets over a run of `courier.server`. See `remote.channel.Channel`; an address is a label.

    `sites` are the labels that may take part, none: all. An answer is waited for `answer_within` seconds, sites without
    whom nothing can go on `wait`, and a site that is away, as while it is started again, `patience`.
    """

    def __init__(
        self,
        connection: socket.socket,
        sites: Collection[str] = (),
        *,
        answer_within: float = 600.0,
        wait: float = 300.0,
        patience: float = PATIENCE,
        say: Callable[[str], None] = print,
    ):
        self._connection, self._sites, self._say = connection, frozenset(sites), say
        self._answer_within, self.wait, self._patience = answer_within, wait, patience
        said, _ = receive(connection, 60.0)
        self.run = int(json.loads(said)["run"])
        self.sent = self.received = 0
        self._nodes: set[int] = set()  # that are there
        self._node_of: dict[Any, int] = {}
        self._seen: dict[Any, float] = {}
        self._who: dict[str, int] = {}  # nodes that are asked who they are, by the message
        self._strangers: dict[int, Any] = {}  # nodes that have not the label that they claim
        self._later: dict[int, float] = {}  # when nodes that did not say who they are are asked again

    # -------------------------------------------------------------------------------------------- who is there

    def gather(self, n_sites: int) -> list[Any]:
        """Return who is there when all are; see `gathered`."""
        remedy = "start `skfdrmfl site` there, or pass a longer --wait"
        return gathered(self, n_sites, remedy, self._sites, self._say)

    def addresses(self) -> list[Any]:
        """Return the labels of the sites that are there, or were so short a while ago that they may come back."""
        self._look()
        now = time.monotonic()
        return sorted((label for label, seen in self._seen.items() if now - seen <= self._patience), key=str)

    def _look(self) -> None:
        """See which nodes are there, and ask new ones who they are."""
        self._nodes = set(self._call({"what": "nodes"}))
        now = time.monotonic()
        known = {*self._node_of.values(), *self._who.values(), *self._strangers}
        known |= {node for node, at in self._later.items() if at > now}
        for node in sorted(self._nodes - known):
            self._ask_who(node)
        for number, (packet, error) in self._pull(self._who).items():
            node = self._who.pop(number)
            try:
                if packet is None:
                    raise WireError(str(error))
                kind, label = from_packet(packet)
                if kind != DONE or not isinstance(label, str | int):
                    raise WireError("an answer of no known kind")
            except (WireError, TypeError, ValueError) as reason:
                self._say(f"node {node} does not say who it is: {reason}")
                self._later[node] = now + WORD
                if node in self._node_of.values():  # it has lost its label
                    self._node_of = {label: of for label, of in self._node_of.items() if of != node}
                continue
            self._welcome(node, label)
        self._strangers = {node: label for node, label in self._strangers.items() if node in self._nodes}
        for node, label in list(self._strangers.items()):
            holder = self._node_of.get(label)
            if (holder is None or holder not in self._nodes) and self._is_wanted(label):
                del self._strangers[node]
                self._welcome(node, label)
        self._seen |= {label: now for label, node in self._node_of.items() if node in self._nodes}

    def _is_wanted(self, label: Any) -> bool:
        return not self._sites or label in self._sites

    def _welcome(self, node: int, label: Any) -> None:
        """Let a node have its label, unless another one that answers has it."""
        holder = self._node_of.get(label)
        if not self._is_wanted(label):
            self._strangers[node] = label
            self._say(f"{label!r} is there and none of --sites; it is left out")
        elif holder is not None and holder != node and holder in self._nodes:
            self._strangers[node] = label
            self._say(f"a second node calls itself {label!r}; it is left out unless the first is gone")
            self._ask_who(holder)
        else:
            if holder != node:
                self._say(f"{label} is there")
            self._node_of[label] = node

    def _ask_who(self, node: int) -> None:
        number = self._push(node, Request(WHO, -1, to_packet(None)).packet(), self._answer_within)
        if number:
            self._who[number] = node

    # ------------------------------------------------------------------------------------------------ questions

    def ask(self, packets: Mapping[Any, Packet]) -> dict[Any, Packet]:
        """Return what sites answer, by label; who does not in time is left out.

        A question whose courier failed, or whose site has come back as another node, is sent again: the answer to it
        is the same.
        """
        end = time.monotonic() + self._answer_within
        open_ = {label: Asked(packet) for label, packet in packets.items()}
        answers: dict[Any, Packet] = {}
        while open_ and time.monotonic() < end:
            for label, asked in open_.items():
                node = self._node_of.get(label)
                if node in self._nodes and (node != asked.node or not asked.number):
                    asked.number = self._push(node, asked.packet, max(1.0, end - time.monotonic()))
                    asked.node, asked.n_sent = node, asked.n_sent + 1 if node == asked.node else 1
            numbers = {asked.number: label for label, asked in open_.items() if asked.number}
            for number, (packet, error) in self._pull(numbers).items():
                label = numbers[number]
                if packet is None:
                    self._say(f"{label}: {error}")
                    open_[label].number = ""
                    self._look()  # of a node that is gone nothing is wanted: its site may come back as another one
                    if open_[label].node in self._nodes and open_[label].n_sent >= TIMES:
                        del open_[label]
                else:
                    answers[label] = packet
                    del open_[label]
            if open_:
                time.sleep(LOOK)
                there = self.addresses()
                for label in [label for label in open_ if label not in there]:
                    self._say(f"{label} is away for more than {self._patience:g} s; others go on")
                    del open_[label]
        for label in open_:
            self._say(f"{label} has not answered within {self._answer_within:g} s")
        return answers

    def passed(self) -> str:
        """Return in words how many bytes have gone to sites, and come from them."""
        return f"{self.sent / 1e6:.2f} MB to sites, {self.received / 1e6:.2f} MB from them"

    def close(self) -> None:
        """End the run."""
        send(self._connection, json.dumps({"what": "end"}))
        self._connection.close()

    # ---------------------------------------------------------------------------------------------- the run

    def _push(self, node: int | None, packet: Packet, within: float) -> str:
        text, data = packet.flat()
        self.sent += len(text) + len(data)
        return str(self._call({"what": "push", "node": node, "text": text, "within": within}, data) or "")

    def _pull(self, numbers: Collection[str]) -> dict[str, tuple[Packet | None, str | None]]:
        """Return the packet, or the error, that has come for each message that is answered."""
        found: dict[str, tuple[Packet | None, str | None]] = {}
        for _ in range(self._call({"what": "pull", "ids": list(numbers)}) if numbers else 0):
            said, data = receive(self._connection, 60.0)
            number, text, error = json.loads(said)
            self.received += len(text) + len(data)
            packet = None
            if error is None:
                try:
                    packet = Packet.of_flat(text, data)
                except WireError as reason:
                    error = str(reason)
            found[number] = packet, error
        return found

    def _call(self, what: dict[str, Any], data: bytes = b"") -> Any:
        """Return what the ServerApp says; ConnectionError where the run has ended."""
        try:
            send(self._connection, json.dumps(what), data)
            said, _ = receive(self._connection, 120.0)
        except OSError as error:
            raise ConnectionError(f"the run has ended at Flower's ({error}); its output is above.") from error
        return json.loads(said)
