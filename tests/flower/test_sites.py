"""`skfdrmfl site` and `skfdrmfl server`: Flower carries bytes alone, in one process and over real ones.

make test-flower
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("flwr", reason="Flower's tests run by: make test-flower")
pytestmark = pytest.mark.flower
os.environ |= {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1"}

from flower_commands import Commands
from flower_standin import StandIn
from flwr.app import Context, RecordDict

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.clients.remote.audit import differences, read_audit
from skfdrmfl.courier import app, channel
from skfdrmfl.courier.channel import RunChannel
from skfdrmfl.courier.sockets import listen
from skfdrmfl.datasets import load_tecator
from skfdrmfl.site.listener import Listener
from skfdrmfl.site.process import SiteProcess
from skfdrmfl.site.remote_fit import fit_over_channel
from skfdrmfl.site.site_data import site_of

X, Y = load_tecator(return_X_y=True)
IDS = np.array(["north", "south"])[np.arange(len(X)) % 2]
SETTINGS = {"n_rounds": 2, "random_state": 0, "tuning": None}


def fit_here(X=X, **parameters):
    return FDRMFLTransformer(**(SETTINGS | parameters)).fit(X, Y, client_ids=IDS)


# --------------------------------------------------------------------------------------------- one process


def test_what_comes_over_the_network_imports_flower_and_none_of_our_package(tmp_path):
    app.write_app(tmp_path / "app")
    code = "import sys, json; import courier.client, courier.server; print(json.dumps(sorted(sys.modules)))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path / "app")
    imported = set(json.loads(done.stdout))
    assert "flwr" in imported
    assert not {"skfdrmfl", "torch", "sklearn", "scipy", "pandas"} & imported


def test_couriers_leave_the_bits_of_one_memory(tmp_path, monkeypatch):
    from skfdrmfl.courier.client import app as client
    from skfdrmfl.courier.server import app as server

    monkeypatch.setattr(channel, "LOOK", 0.01)
    with ExitStack() as stack:
        for label in ("north", "south"):
            rows = label == IDS
            answer = SiteProcess(site_of(FDRMFLTransformer(**SETTINGS), lambda r=rows: (X[r], Y[r]), label))
            listener = Listener(str(tmp_path / f"{label}.socket"), answer)
            thread = threading.Thread(target=listener.serve)
            thread.start()
            stack.callback(thread.join, 10)
            stack.callback(listener.close)
        grid = Grid(client, tmp_path)
        waiting, _ = listen(str(tmp_path / "run.socket"))
        stack.callback(waiting.close)
        context = Context(1, 1, {}, RecordDict(), {"socket": str(tmp_path / "run.socket"), "token": ""})
        run = threading.Thread(target=server, args=(grid, context))
        run.start()
        connection, _ = waiting.accept()
        over = RunChannel(connection, ["north", "south"], wait=10.0)
        over.gather(2)
        model = fit_over_channel(FDRMFLTransformer(**SETTINGS), over)
        over.close()
        run.join(10)
        assert not run.is_alive() and over.run == 1
    assert model._fitted.models.tobytes() == fit_here()._fitted.models.tobytes()


class Grid(StandIn):
    """Answers wait until they are asked for."""

    def __init__(self, client, folder):
        super().__init__([client] * 2, ["north", "south"])
        for context in self.contexts.values():
            context.node_config = {"socket": str(folder / f"{context.node_config['client']}.socket")}
        self.waiting = {}

    def push_messages(self, messages):
        numbers = super().push_messages(messages)
        self.waiting |= {reply.metadata.reply_to_message_id: reply for reply in self.replies}
        return numbers

    def pull_messages(self, message_ids):
        return [self.waiting.pop(number) for number in message_ids if number in self.waiting]


# ------------------------------------------------------------------------------------------ real processes


@pytest.fixture
def commands(tmp_path):
    with ExitStack() as stack:
        yield Commands(tmp_path, stack, {label: np.column_stack([X, Y])[label == IDS] for label in ("north", "south")})


def test_over_tls_a_site_killed_and_started_again_leaves_the_bits_of_one_memory_and_a_model_for_predict(commands):
    commands.secure()
    for label in ("north", "south"):
        commands.start_site(label)
    commands.start_server("--sites", "north,south", "--target", "fat")
    commands.wait_for("north", "round 1: parameters", 500)
    commands.running["north"].send_signal(signal.SIGKILL)
    commands.running["north"].wait()
    commands.start_site("north")
    assert commands.running["server"].wait(600) == 0, commands.said("server")[-3000:]
    model = FDRMFLTransformer.load(commands.folder / "model.skfdrmfl")
    rows = [np.loadtxt(commands.folder / f"{label}.csv", delimiter=",", skiprows=1) for label in ("north", "south")]
    assert model._fitted.models.tobytes() == fit_here()._fitted.models.tobytes()
    assert model.n_samples_per_client_.tolist() == [len(table) for table in rows] and not model.dropped_clients_
    # What the site that nobody killed has written down is what the server has counted; of the other it can be read.
    record = read_audit(commands.folder / "south.jsonl")
    assert differences(model.federation_log_, {"south": record}) == [] and read_audit(commands.folder / "north.jsonl")
    said = commands.said("server")
    assert "waiting for" in said and "round 2/2" in said and "MB to sites" in said
    assert "runs code that comes over the network" in commands.said("south")
    commands.start("predict", "predict", "model.skfdrmfl", "south.csv", "--no-figure")
    assert (
        commands.running["predict"].wait(60) == 0
        and "predicted_fat" in Path(commands.folder / "out" / "predictions.csv").read_text()
    )


def test_a_run_that_fails_says_whom_it_missed_and_has_a_status(commands):
    commands.start_site("south")
    commands.start_server("--sites", "north,south", "--wait", "40")
    assert commands.running["server"].wait(400) == 1
    said = commands.said("server")
    assert "north: not there after 40 s (there: south)" in said
    assert not (commands.folder / "model.skfdrmfl").exists()
    with socket.socket() as probe:  # the SuperLink has ended with its command
        assert probe.connect_ex(("127.0.0.1", commands.port)) != 0
