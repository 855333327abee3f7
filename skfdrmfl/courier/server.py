"""The ServerApp of a run: it does what the process of `skfdrmfl server` asks of Flower, and carries bytes."""

from __future__ import annotations

import json

from flwr.app import Context, Message, MessageType, RecordDict
from flwr.serverapp import Grid, ServerApp

from .client import PACKET, get, put
from .sockets import connect, receive, send

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Do what is asked, until it is the end."""
    with connect(str(context.run_config["socket"]), str(context.run_config["token"])) as connection:
        send(connection, json.dumps({"run": context.run_id}))
        while True:
            text, data = receive(connection)
            asked = json.loads(text)
            what = asked["what"]
            if what == "end":
                return
            if what == "nodes":
                send(connection, json.dumps(sorted(grid.get_node_ids())))
            elif what == "push":
                records = RecordDict()
                put(records, PACKET, asked["text"], data)
                message = Message(records, asked["node"], MessageType.QUERY, ttl=asked["within"])
                (number,) = grid.push_messages([message])
                send(connection, json.dumps(number))
            elif what == "pull":
                replies = list(grid.pull_messages(asked["ids"]))
                send(connection, json.dumps(len(replies)))
                for reply in replies:
                    said, back, error = "", b"", None
                    if not reply.has_content():
                        error = reply.error.reason
                    else:
                        try:
                            said, back = get(reply.content, PACKET)
                        except KeyError:
                            error = "a message that holds no packet"
                    send(connection, json.dumps([reply.metadata.reply_to_message_id, said, error]), back)
