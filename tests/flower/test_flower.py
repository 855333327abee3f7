"""Flower: the same fit through its messages in one process, and over real processes with all that befalls them.

    make test-flower

Those of real processes share what they can: each message to a client costs seconds.
"""

import json
import os
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
import pytest

pytest.importorskip("flwr", reason="Flower's tests run by: make test-flower")
pytestmark = pytest.mark.flower
os.environ |= {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1"}

from flower_certificates import certificates, node_key
from flower_processes import Processes
from flower_standin import StandIn, fit_on_flower
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.clients.remote.codec import from_packet, to_packet
from skfdrmfl.clients.remote.packet import Request
from skfdrmfl.clients.remote.site import ROWS
from skfdrmfl.datasets import load_tecator
from skfdrmfl.flower import _server, client_app

X, Y = load_tecator(return_X_y=True)
IDS = np.array(["a", "b", "c"])[np.arange(len(X)) % 3]
SIZES = np.repeat(["a", "b", "c"], [150, 50, 15])[np.random.default_rng(0).permutation(215)]
TWO = {"modalities": {"left": slice(0, 50), "right": slice(50, None)}}
HOLES = np.where((IDS == "b")[:, None] & (np.arange(100) >= 50), np.nan, X)


def fit_here(parameters, table=X, ids=IDS):
    return FDRMFLTransformer(tuning=None, **parameters).fit(table, Y, client_ids=ids)


# --------------------------------------------------------------------------------------------- one process


@pytest.mark.parametrize(
    ("parameters", "table", "ids"),
    [
        pytest.param({}, X, IDS, id="defaults"),
        pytest.param(TWO, HOLES, IDS, id="a site without a modality"),
        pytest.param({"participation": 0.67}, X, IDS, id="participation"),
        pytest.param({"early_stopping": True}, X, SIZES, id="early stopping"),
        pytest.param({"algorithm": "scaffold"}, X, SIZES, id="scaffold"),
        pytest.param({"availability": [[1, 0, 1], [0, 1, 1], [0, 0, 0], [1, 1, 0]]}, X, IDS, id="availability"),
    ],
)
def test_messages_give_the_bits_of_one_memory(parameters, table, ids, tmp_path):
    parameters = {"n_rounds": 4, "random_state": 0} | parameters
    a, (b, _) = (
        fit_here(parameters, table, ids),
        fit_on_flower(FDRMFLTransformer(tuning=None, **parameters), table, Y, ids, tmp_path),
    )
    assert a._fitted.models.tobytes() == b._fitted.models.tobytes()
    assert np.abs(a.predict(table) - b.predict(table)).max() < 1e-6
    report = json.loads((tmp_path / "model.skfdrmfl.json").read_text())
    assert report == {"run": 1, "finished": True, "reason": "", "left_out": []}


def test_a_mixture_is_that_of_one_memory_where_as_many_networks_are_asked_for(tmp_path):
    parameters = {"n_rounds": 3, "local_epochs": 1, "random_state": 0}
    model = FDRMFLTransformer(**parameters)
    here = FDRMFLTransformer(**parameters).fit(X, Y, client_ids=IDS)
    there, _ = fit_on_flower(model, X, Y, IDS, tmp_path, networks=9)
    assert list(here.members_) == list(there.members_)
    assert here.transform(X).tobytes() == there.transform(X).tobytes()
    one, _ = fit_on_flower(model, X, Y, IDS, tmp_path)
    assert [row["name"] for row in one.members_ if row["name"].startswith("network")] == ["network raw"]


def test_a_loaded_model_is_gone_on_from(tmp_path):
    parameters = {"n_rounds": 2, "random_state": 0, "algorithm": "scaffold", "warm_start": True}
    here = fit_here(parameters)
    loaded, _ = fit_on_flower(FDRMFLTransformer(tuning=None, **parameters), X, Y, IDS, tmp_path)
    mine = IDS != "a"
    here.fit(X[mine], Y[mine], client_ids=IDS[mine])
    again, _ = fit_on_flower(loaded, X[mine], Y[mine], IDS[mine], tmp_path)
    assert again._fitted.models.tobytes() == here._fitted.models.tobytes()
    assert again.n_rounds_ == 4 and again.n_samples_per_client_.tolist() == here.n_samples_per_client_.tolist()
    assert loaded.n_rounds_ == 2


@pytest.mark.parametrize(("algorithm", "n_vectors"), [("fedavg", 1), ("scaffold", 2)])
def test_a_round_costs_its_vectors_and_two_kilobytes(algorithm, n_vectors, tmp_path):
    model = FDRMFLTransformer(n_rounds=5, random_state=0, algorithm=algorithm, tuning=None)
    fitted, grid = fit_on_flower(model, X, Y, IDS, tmp_path)

    def size(message):
        return sum(len(part.deflate()) for part in get_all_nested_objects(message).values())

    n_bytes = 4 * fitted._fitted.network.layout.size * n_vectors
    rounds = grid.messages[-6 - 3 * 4 : -6]  # but the first, which brings the plan; two exchanges of sums follow
    for _, question, answer in rounds:
        assert n_bytes < size(question) < 1.05 * n_bytes + 2000
        assert n_bytes < size(answer) < 1.05 * n_bytes + 2000
    for context in grid.contexts.values():  # rows as the network reads them are kept where they are
        assert sum(key.endswith(f"{ROWS} bytes") for key in context.state) == 1


def test_answers_are_looked_for_until_all_are_there_or_the_time_is_over(monkeypatch):
    class Slow(StandIn):
        """One answers at the third look, another never."""

        def push_messages(self, messages):
            self.asked, self.looks = [message.object_id for message in messages], []
            return super().push_messages(messages)

        def pull_messages(self, message_ids):
            self.looks.append(set(message_ids))
            if len(self.looks) not in (1, 3):
                return []
            return [r for r in self.replies if r.metadata.reply_to_message_id == self.asked[len(self.looks) // 2]]

    monkeypatch.setattr(_server, "LOOK", 0.05)
    grid = Slow([client_app(lambda context: (X, Y), FDRMFLTransformer(tuning=None))] * 3, ["a", "b", "c"])
    nodes = grid.get_node_ids()
    who = dict.fromkeys(nodes, Request("who", -1, to_packet(None)).packet())
    start = time.monotonic()
    answers = _server.GridChannel(grid, answer_within=1.0, wait=0.0).ask(who)
    assert 1.0 <= time.monotonic() - start < 2.0
    assert {node: from_packet(answer)[1] for node, answer in answers.items()} == {nodes[0]: "a", nodes[1]: "b"}
    assert [len(looked) for looked in grid.looks[:5]] == [3, 2, 2, 1, 1] and len(grid.looks) < 25
    start = time.monotonic()
    few = dict(list(who.items())[:1])
    assert list(_server.GridChannel(grid, answer_within=60.0, wait=0.0).ask(few)) == nodes[:1]
    assert time.monotonic() - start < 1.0


def test_too_few_clients_are_an_error_within_the_limit_and_leave_no_model(tmp_path):
    start = time.monotonic()
    with pytest.raises(TimeoutError, match="1 more: not there after 2 s"):
        fit_on_flower(
            FDRMFLTransformer(tuning=None), X, Y, np.zeros(215, dtype=int), tmp_path, **{"n-clients": 2, "wait": 2.0}
        )
    assert 2 <= time.monotonic() - start < 10
    assert not (tmp_path / "model.skfdrmfl").exists()
    report = json.loads((tmp_path / "model.skfdrmfl.json").read_text())
    assert not report["finished"] and report["reason"].startswith("TimeoutError: 1 more")


def test_what_no_file_can_hold_is_refused_before_anything_is_asked(tmp_path):
    model = FDRMFLTransformer(modalities={"x": lambda X: slice(None)}, tuning=None)
    with pytest.raises(TypeError, match=r"modalities\.x is a"):
        fit_on_flower(model, X, Y, IDS, tmp_path)
    assert json.loads((tmp_path / "model.skfdrmfl.json").read_text())["reason"].startswith("TypeError: modalities.x")


def test_a_client_imports_what_training_needs_and_no_more():
    import subprocess

    code = (
        "import sys, json; from skfdrmfl.flower import client_app; from skfdrmfl import FDRMFLTransformer; "
        "print(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported = set(json.loads(done.stdout))
    assert "skfdrmfl.clients.site" in imported or "skfdrmfl.clients.remote.site" in imported
    assert "torch" not in imported
    few = {"matplotlib", "sklearn.model_selection", "sklearn.ensemble", "sklearn.linear_model"}  # not pandas: sklearn
    assert not imported & few


# ------------------------------------------------------------------------------------------ real processes

PARAMETERS = {"n_rounds": 2, "random_state": 0}


class Recorder:
    """Passes connections on to another port, and keeps what goes over them."""

    def __init__(self, target):
        self.target, self.seen, self.open, self.threads = target, bytearray(), [], []
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        self.start(self.listen)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        for connection in (self.server, *self.open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self.threads:
            thread.join(10)
        for connection in (self.server, *self.open):
            connection.close()

    def start(self, work, *arguments):
        self.threads.append(threading.Thread(target=work, args=arguments, daemon=True))
        self.threads[-1].start()

    def listen(self):
        with suppress(OSError):
            while True:
                here, _ = self.server.accept()
                try:
                    there = socket.create_connection(("127.0.0.1", self.target))
                except ConnectionRefusedError:  # nobody is there just now
                    here.close()
                    continue
                self.open += [here, there]
                self.start(self.carry, here, there)
                self.start(self.carry, there, here)

    def carry(self, one, other):
        with suppress(OSError):
            while data := one.recv(65536):
                self.seen += data
                other.sendall(data)
        with suppress(OSError):
            other.shutdown(socket.SHUT_WR)


def test_over_tls_and_a_superlink_restart_registered_nodes_give_the_bits_of_one_memory_and_nobody_else_gets_in(
    tmp_path,
):
    tls = certificates(tmp_path / "tls")
    keys = {client: node_key(tmp_path / "tls" / f"node_{client}") for client in "abx"}
    checkpoint = tmp_path / "checkpoint"
    kept = {**PARAMETERS, "checkpoint_path": str(checkpoint), "checkpoint_every": 1}
    processes = Processes(tmp_path / "run", kept, tls=tls, labels=["a", "b"])
    with processes, Recorder(processes.port) as recorder:

        def register(client):
            return processes.flwr("supernode", "register", keys[client]["public"], "loop", "--format", "json")

        def start_nodes():
            with ThreadPoolExecutor() as pool:  # each takes seconds to start
                for done in pool.map(register, "ab"):
                    assert '"success": true' in done.stdout, done.stdout + done.stderr
            for client in "ba":
                processes.start_node(client, keys[client]["private"], port=recorder.port)

        processes.start_node("x", keys["x"]["private"])  # nobody has registered it
        start_nodes()
        interrupted = processes.submit(n_clients=2)
        processes.wait_for(checkpoint.exists, 240, "the checkpoint")
        before = checkpoint.stat().st_mtime_ns
        processes.wait_for(lambda: checkpoint.stat().st_mtime_ns > before, 120, "a round")
        processes.stop("superlink", patience=1)
        assert not processes.output.exists()
        processes.start_superlink()
        for client in "ab":  # nodes leave a SuperLink that does not know them, and are started anew
            processes.stop(f"node {client}")
        start_nodes()
        run = processes.submit(n_clients=2)
        assert run != interrupted and processes.wait_for_run(run, 400) == "finished:completed"
        fitted = FDRMFLTransformer.load(processes.output)
        said = {client: (processes.folder / f"node {client}.log").read_text(errors="replace") for client in "abx"}
    two = np.array(["a", "b"])[np.arange(len(X)) % 2]
    assert fitted._fitted.models.tobytes() == fit_here(PARAMETERS, ids=two)._fitted.models.tobytes()
    assert fitted.clients_.tolist() == ["a", "b"]
    assert "Failed to activate SuperNode" in said["x"]
    assert [client for client, log in said.items() if "SuperNode ID" in log] == ["a", "b"]
    # Nine questions to each, where two whole runs would be sixteen: descriptions, three sums, a round; then
    # descriptions, the other round, two sums.
    assert [said[client].count("Sent successfully") for client in "ab"] == [9, 9]
    seen = bytes(recorder.seen)
    assert len(seen) > 50_000 and seen[:2] == b"\x16\x03"  # a TLS handshake
    assert b"skfdrmfl" not in seen and b"HTTP/1.1" not in seen and b"json" not in seen


def test_whoever_is_killed_late_or_wrong_is_left_out_and_named_and_training_ends(tmp_path):
    # Who takes longer to come back than an answer may is there in the last round.
    parameters = {"n_rounds": 4, "random_state": 0, "algorithm": "scaffold", "verbose": 2}
    # By number of message: the first describes, three are of sums, the fifth is the first round.
    faults = {"c": {"kill": 6}, "a": {"late": 6}}
    within = 40.0
    settings = {"faults": faults, "late": within, "spoiled": {"b": ["nan", "", "shape"]}}
    with Processes(tmp_path, parameters, **settings) as processes:
        for client in "abc":
            processes.start_node(client)
        run = processes.submit(answer_within=within, wait=90.0)
        node = processes.running["node c"]
        processes.wait_for(lambda: node.poll() is not None, 400, "the end of node c")
        processes.stop("node c")
        processes.start_node("c")  # with nothing of what it had
        assert processes.wait_for_run(run, 600) == "finished:completed"
        report = processes.report()
        fitted = FDRMFLTransformer.load(processes.output)
    assert report["finished"]
    assert np.isfinite(fitted.predict(X)).all()
    left_out = {(entry["client"], entry["reason"]): entry["rounds"] for entry in report["left_out"]}
    assert left_out["b", "update not finite"] == [1]
    assert left_out["b", "answer not as asked"] == [3]
    assert left_out["c", "no answer"][0] == 2
    assert left_out["a", "no answer"][0] == 2
    losses = fitted.history_["loss_per_client"]
    assert np.isfinite(losses[-1, 2]), "who came back trains again"
    assert np.isnan(losses).sum() == sum(map(len, left_out.values()))
