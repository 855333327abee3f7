"""A client's side on Flower."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp

from skfdrmfl.courier.client import PACKET
from skfdrmfl.flower._records import get, keep, kept_in, put
from skfdrmfl.site.site_data import site_of

# Keys of a SuperNode's configuration that say what its client is called, the first that is there.
LABELS = ("client", "partition-id")


def client_app(load_data: Callable[[Context], Any], estimator: Any) -> ClientApp:
    """Return the ClientApp that trains an estimator on the rows of whoever runs it.

    Parameters
    ----------
    load_data : callable
        load_data(context) returns (X, y) or (X, y, groups), as `fit` takes them: the rows of this client alone. It is
        called for every message, so it is to be quick. What it raises stays in this client's own log.
    estimator : FDRMFLTransformer
        As the server has it; `device` is this client's own.

    Returns
    -------
    ClientApp
        The client is called what `--node-config 'client="..."'` of its SuperNode says, or by its "partition-id".
    """
    app = ClientApp()

    def answer(message: Message, context: Context) -> Message:
        site = site_of(estimator, partial(load_data, context), label_of(context))
        packet, kept = site.answer(get(message.content, PACKET), kept_in(context.state))
        keep(context.state, kept)
        records = RecordDict()
        put(records, PACKET, packet)
        return Message(records, reply_to=message)

    app.train()(answer)
    app.query()(answer)
    return app


def label_of(context: Context) -> Any:
    """Return what a client is called."""
    for key in LABELS:
        if key in context.node_config:
            return context.node_config[key]
    raise ValueError(
        f"the SuperNode's configuration ({dict(context.node_config)}) does not say what the client is called; start it "
        "with --node-config 'client=\"NAME\"'."
    )
