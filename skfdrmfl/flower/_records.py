"""Packets as Flower's records: a text, and bytes where there are any."""

from __future__ import annotations

from collections.abc import Mapping

from flwr.app import RecordDict

from skfdrmfl.clients.remote.packet import Packet, WireError
from skfdrmfl.courier import client


def put(records: RecordDict, name: str, packet: Packet) -> None:
    """Put a packet among some records, under a name."""
    client.put(records, name, *packet.flat())


def get(records: RecordDict, name: str) -> Packet:
    """Return the packet under a name; WireError where there is none."""
    try:
        text, data = client.get(records, name)
    except KeyError as error:
        raise WireError("a message holds no packet; is the other end of another version?") from error
    return Packet.of_flat(text, bytes(data))


def keep(records: RecordDict, kept: Mapping[str, Packet]) -> None:
    """Put what a client keeps in the place of all that is there."""
    before = kept_in(records)
    for name in before.keys() - kept.keys():
        for kind in ("text", "bytes"):
            records.pop(f"{name} {kind}", None)
    for name in kept.keys() - before.keys():
        put(records, name, kept[name])


def kept_in(records: RecordDict) -> dict[str, Packet]:
    """Return what a client has kept."""
    names = [key.removesuffix(" text") for key in records.config_records if key.endswith(" text")]
    return {name: get(records, name) for name in names}
