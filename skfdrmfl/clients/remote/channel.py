"""What a transport has to do: carry packets to some clients, and bring back what they answer within a time limit."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from typing import Any, Protocol

from skfdrmfl.clients.remote.packet import Packet

# What a client's answer begins with: what was asked for, the names of what it has lost, what went wrong, or why it does
# not give what was asked for.
DONE, LOST, FAILED, REFUSED = "done", "lost", "failed", "refused"
# What a stranger is asked: which client it is.
WHO = "who"
# Why a client is missing, for `dropped_clients_`.
NO_ANSWER, NOT_AS_ASKED = "no answer", "answer not as asked"
AN_ERROR, A_REFUSAL = "an error where its rows are", "refused"
# Seconds between two looks at who is there, or has answered, of which Flower's own three are half of a short round; and
# between two words on who is not.
LOOK, WORD = 0.5, 5.0


class Channel(Protocol):
    """Carries packets. Clients have addresses that mean nothing but to the channel."""

    wait: float  # seconds to wait for clients without whom nothing can go on

    def addresses(self) -> list[Any]:
        """Return the addresses of the clients who are there now. One who comes back may have another one."""

    def ask(self, packets: Mapping[Any, Packet]) -> Mapping[Any, Packet]:
        """Return what the clients at some addresses answer; who does not answer in time is left out."""


def gathered(
    channel: Channel, n_clients: int, remedy: str, wanted: Collection[Any] = (), say: Callable[[str], None] = print
) -> list[Any]:
    """Return the addresses of so many clients as soon as they are there, those `wanted` among them.

    Who is missing is said; TimeoutError after the channel's `wait` seconds.
    """
    start = said = time.monotonic()
    while True:
        there = channel.addresses()
        if len(there) >= n_clients and set(wanted) <= set(there):
            return there
        now = time.monotonic()
        missing = ", ".join(sorted(set(wanted) - set(there))) or f"{n_clients - len(there)} more"
        if now > start + channel.wait:
            those = ", ".join(map(str, there)) or "nobody"
            raise TimeoutError(f"{missing}: not there after {channel.wait:g} s (there: {those}); {remedy}.")
        if now >= said:
            say(f"waiting for {missing}; {len(there)} of {n_clients} are there")
            said = now + WORD
        time.sleep(LOOK)


class Loopback:
    """Carries packets as bytes to each `remote.site.Site` in one memory, by its address. See `Channel`."""

    wait = 0.0

    def __init__(self, sites: Mapping[Any, Any]):
        self.sites = dict(sites)
        self.kept: dict[Any, dict[str, Packet]] = {address: {} for address in self.sites}

    def addresses(self) -> list[Any]:
        """Return the addresses of all sites."""
        return sorted(self.sites)

    def ask(self, packets: Mapping[Any, Packet]) -> dict[Any, Packet]:
        """Return what the sites at some addresses answer."""
        answers = {}
        for address, packet in packets.items():
            asked = Packet.of_flat(*packet.flat())
            answer, self.kept[address] = self.sites[address].answer(asked, self.kept[address])
            answers[address] = Packet.of_flat(*answer.flat())
        return answers
