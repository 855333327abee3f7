"""The ClientApp that comes over the network: it carries bytes between Flower's message and the site's own process."""

from __future__ import annotations

import time

from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from .sockets import answered

PACKET = "packet"  # the name of what a message carries

app = ClientApp()


def answer(message: Message, context: Context) -> Message:
    """Return what the site's process answers to a message."""
    site = context.node_config
    text, data = get(message.content, PACKET)
    wait = message.metadata.created_at + message.metadata.ttl - time.time()
    said, back = answered(str(site["socket"]), str(site.get("token", "")), text, data, wait)
    records = RecordDict()
    put(records, PACKET, said, back)
    return Message(records, reply_to=message)


def put(records: RecordDict, name: str, text: str, data: bytes | bytearray) -> None:
    """Put a text among Flower's records, and bytes where there are any, under a name."""
    records[f"{name} text"] = ConfigRecord({"text": text})
    if data:
        records[f"{name} bytes"] = ArrayRecord({"bytes": Array("uint8", (len(data),), "skfdrmfl.bytes", bytes(data))})


def get(records: RecordDict, name: str) -> tuple[str, bytes]:
    """Return the text and the bytes under a name; KeyError where there is no text."""
    arrays = records.array_records.get(f"{name} bytes")
    return str(records.config_records[f"{name} text"]["text"]), b"" if arrays is None else arrays["bytes"].data


app.train()(answer)
app.query()(answer)
