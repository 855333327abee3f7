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
    content, site = message.content, context.node_config
    data = content.array_records[DATA]["bytes"].data if DATA in content.array_records else b""
    wait = message.metadata.created_at + message.metadata.ttl - time.time()
    text = str(content.config_records[TEXT]["text"])
    said, back = answered(str(site["socket"]), str(site.get("token", "")), text, data, wait)
    records = RecordDict({TEXT: ConfigRecord({"text": said})})
    if back:
        records[DATA] = ArrayRecord({"bytes": Array("uint8", (len(back),), "skfdrmfl.bytes", bytes(back))})
    return Message(records, reply_to=message)


app.train()(answer)
app.query()(answer)
