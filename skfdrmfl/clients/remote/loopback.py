"""Sites in the memory of the server: a channel that reaches no network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from skfdrmfl.clients.remote.packet import Packet
from skfdrmfl.clients.remote.site import Site


class Loopback:
    """Carries packets as bytes to sites in one memory, by their addresses. See `channel.Channel`."""

    wait = 0.0

    def __init__(self, sites: Mapping[Any, Site]):
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
