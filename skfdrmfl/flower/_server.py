"""The server's side on Flower."""

from __future__ import annotations

import copy
import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from flwr.app import Context, Message, MessageType, RecordDict
from flwr.serverapp import Grid, ServerApp

from skfdrmfl.clients.remote.channel import LOOK, gathered
from skfdrmfl.clients.remote.packet import Packet, WireError
from skfdrmfl.courier.client import PACKET
from skfdrmfl.fit.saving import check_saves
from skfdrmfl.flower._records import get, put
from skfdrmfl.site.remote_fit import fit_over_channel


class GridChannel:
    """Carries packets over a Grid. See `remote.channel.Channel`; an address is a node's id.

    Answers are waited for `answer_within` seconds, missing clients `wait`.
    """

    def __init__(self, grid: Grid, answer_within: float, wait: float):
        self._grid, self._answer_within, self.wait = grid, answer_within, wait

    def addresses(self) -> list[int]:
        """Return the ids of the nodes that are there now."""
        return sorted(self._grid.get_node_ids())

    def ask(self, packets: Mapping[int, Packet]) -> dict[int, Packet]:
        """Return what nodes answer; who does not answer in time, or with an error of Flower's, is left out."""
        messages = []
        for node, packet in packets.items():
            records = RecordDict()
            put(records, PACKET, packet)
            messages.append(Message(records, node, MessageType.QUERY, ttl=self._answer_within))
        answers = {}
        for reply in self._replies(messages):
            node = reply.metadata.src_node_id
            try:
                if not reply.has_content():
                    raise WireError(reply.error.reason)
                answers[node] = get(reply.content, PACKET)
            except WireError as error:
                print(f"[FDRMFL] node {node}: {error}", flush=True)
        return answers

    def _replies(self, messages: list[Message]) -> Iterator[Message]:
        """Send messages, and yield what is said to them, until all are answered or the time is over."""
        end = time.monotonic() + self._answer_within
        open_ = {number for number in self._grid.push_messages(messages) if number}
        while open_:
            for reply in self._grid.pull_messages(open_):
                open_.discard(reply.metadata.reply_to_message_id)
                yield reply
            if time.monotonic() > end:
                break
            if open_:
                time.sleep(LOOK)


def server_app(
    estimator: Any,
    output: str | os.PathLike[str],
    *,
    n_clients: int = 2,
    answer_within: float = 600.0,
    wait: float = 300.0,
    networks: int = 1,
) -> ServerApp:
    """Return the ServerApp that fits an estimator to the rows of all clients.

    Parameters
    ----------
    estimator : FDRMFLTransformer
        One that `save` takes. With `checkpoint_path`, a run that ended early is gone on with by the next one. With
        `warm_start` and fitted, as `load` returns it, runs go on from there; clients may come and have left since.
    output : str or path-like
        Where the fitted model is written, whole or not at all; `FDRMFLTransformer.load` reads it. Beside it stands
        `output` + ".json": which run it was, whether it finished, why not, and who was left out.
    n_clients : int, default=2
        How many there have to be before anything is asked; the run's configuration "n-clients" goes before it.
    answer_within : float, default=600.0
        Seconds to wait for an answer ("answer-within"). Whoever is later is absent in that round.
    wait : float, default=300.0
        Seconds to wait for clients who are missing ("wait"): at the beginning, and where sums need everybody.
    networks : int, default=1
        How many networks a mixture has at most ("networks"), in the order of docs/method.md. Those of one shape train
        in the same rounds; each other shape takes rounds of its own. What a run takes is printed before its rounds.

    Returns
    -------
    ServerApp
        Its run fails with the reason where the fit does.
    """
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        config = context.run_config
        channel = GridChannel(
            grid,
            float(config.get("answer-within", answer_within)),
            float(config.get("wait", wait)),
        )
        model = copy.copy(estimator)
        report = {"run": context.run_id, "finished": False, "reason": "", "left_out": []}
        try:
            check_saves(model)
            remedy = "start the others' SuperNodes, or lower n-clients"
            gathered(channel, int(config.get("n-clients", n_clients)), remedy)
            fit_over_channel(model, channel, networks=int(config.get("networks", networks)))
            model.save(output)
            report |= {"finished": True, "left_out": model.dropped_clients_}
        except BaseException as error:
            report["reason"] = f"{type(error).__name__}: {error}"
            raise
        finally:
            Path(f"{os.fspath(output)}.json").write_text(json.dumps(report, indent=2, default=str), encoding="utf-8")

    return app
