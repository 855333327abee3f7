"""The ClientApp that comes over the network: it carries bytes between Flower's message and the site's own process."""

from __future__ import annotations

import time

from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from .sockets import Refused, connect, receive, send

TEXT, DATA = "packet text", "packet bytes"
# Seconds to wait for a site's process that does not listen, and between two looks.
PATIENCE, LOOK = 60.0, 0.2

app = ClientApp()


def carried(
    address: str, token: str, text: str, data: bytes, wait: float, patience: float = PATIENCE
) -> tuple[str, bytearray]:
    """Return what the process at an address answers within `wait` seconds, a text and data.

    Where the process ends before it has answered it is asked again: `patience` seconds later it is back, or said to be
    missing.
    """
    end, seen = time.monotonic() + wait, time.monotonic()
    while True:
        try:
            with connect(address, token) as connection:
                seen = time.monotonic()
                send(connection, text, data)
                return receive(connection, max(0.0, end - time.monotonic()))
        except Refused:
            raise
        except OSError as error:
            if time.monotonic() > min(end, seen + patience):
                print(f"[FDRMFL] {address}: {error}", flush=True)
                said = "no process of the site answers at its socket; start `skfdrmfl site` there"
                raise RuntimeError(said) from error
            time.sleep(LOOK)


def answer(message: Message, context: Context) -> Message:
    """Return what the site's process answers to a message."""
    content, site = message.content, context.node_config
    data = content.array_records[DATA]["bytes"].data if DATA in content.array_records else b""
    wait = message.metadata.created_at + message.metadata.ttl - time.time()
    text = str(content.config_records[TEXT]["text"])
    said, back = carried(str(site["socket"]), str(site.get("token", "")), text, data, wait)
    records = RecordDict({TEXT: ConfigRecord({"text": said})})
    if back:
        records[DATA] = ArrayRecord({"bytes": Array("uint8", (len(back),), "skfdrmfl.bytes", bytes(back))})
    return Message(records, reply_to=message)


app.train()(answer)
app.query()(answer)
