"""The ClientApp that comes over the network: it carries bytes between Flower's message and the site's own process."""

from __future__ import annotations

import time

from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from .sockets import answered

TEXT, DATA = "packet text", "packet bytes"

app = ClientApp()


def answer(message: Message, context: Context) -> Message:
    """Return what the site's process answers to a message."""
    site = context.node_config
    text, data = unpacked(message.content)
    wait = message.metadata.created_at + message.metadata.ttl - time.time()
    said, back = answered(str(site["socket"]), str(site.get("token", "")), text, data, wait)
    return Message(packed(said, back), reply_to=message)


def packed(text: str, data: bytes | bytearray) -> RecordDict:
    """Return Flower's records of a text, and of bytes where there are any."""
    records = RecordDict({TEXT: ConfigRecord({"text": text})})
    if data:
        records[DATA] = ArrayRecord({"bytes": Array("uint8", (len(data),), "skfdrmfl.bytes", bytes(data))})
    return records


def unpacked(records: RecordDict) -> tuple[str, bytes]:
    """Return the text and the bytes in Flower's records; KeyError where there is no text."""
    data = records.array_records[DATA]["bytes"].data if DATA in records.array_records else b""
    return str(records.config_records[TEXT]["text"]), data


app.train()(answer)
app.query()(answer)
