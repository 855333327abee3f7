"""The server's end of a run of Flower: who is waited for, what is sent again, and who is left out."""

import json
import socket
import threading

import numpy as np
import pytest
from test_process import IDS, SETTINGS, X, Y, bits
from wire import rows_of

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.clients.remote import channel as remote_channel
from skfdrmfl.courier import channel
from skfdrmfl.courier.channel import RunChannel
from skfdrmfl.courier.sockets import receive, send
from skfdrmfl.site.process import SiteProcess
from skfdrmfl.site.remote_fit import fit_over_channel
from skfdrmfl.site.site_data import site_of


def process(label):
    load = rows_of(X, Y, label == IDS)
    return SiteProcess(site_of(FDRMFLTransformer(**SETTINGS), load, label))


RUNS = []


class Run:
    """A run of Flower whose nodes answer at once: what `courier.server` says, with faults by number of push."""

    def __init__(self, nodes, faults=None):
        self.nodes, self.faults, self.n_pushed, self.pushed, self.replies = dict(nodes), faults or {}, 0, [], {}
        self.mine, self.theirs = socket.socketpair()
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()
        RUNS.append(self)

    def serve(self):
        with self.mine:
            send(self.mine, json.dumps({"run": 7}))
            try:
                while self.do(*receive(self.mine)):
                    pass
            except OSError:
                pass

    def do(self, text, data):
        asked = json.loads(text)
        if asked["what"] == "nodes":
            send(self.mine, json.dumps(sorted(self.nodes)))
        elif asked["what"] == "push":
            send(self.mine, json.dumps(self.push(asked["node"], asked["text"], bytes(data))))
        elif asked["what"] == "pull":
            found = [(number, *self.replies.pop(number)) for number in asked["ids"] if number in self.replies]
            send(self.mine, json.dumps(len(found)))
            for number, said, error, back in found:
                send(self.mine, json.dumps([number, said, error]), back)
        return asked["what"] != "end"

    def push(self, node, text, data):
        self.n_pushed += 1
        self.pushed.append(node)
        number = f"message {self.n_pushed}"
        if (fault := self.faults.get(self.n_pushed)) is not None and fault(self, number) is not None:
            return number
        if node in self.nodes:
            said, back = self.nodes[node](text, data)
            self.replies[number] = said, None, back
        return number

    def channel(self, sites=("north", "south"), **options):
        self.said = []
        options = {"answer_within": 5.0, "wait": 0.3, "patience": 0.3, "say": self.said.append} | options
        return RunChannel(self.theirs, sites, **options)


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    for waits in (channel, remote_channel):
        monkeypatch.setattr(waits, "LOOK", 0.01)
        monkeypatch.setattr(waits, "WORD", 0.1)
    yield
    while RUNS:
        run = RUNS.pop()
        run.theirs.close()
        run.thread.join(5)


@pytest.fixture(scope="module")
def here():
    return bits(FDRMFLTransformer(**SETTINGS).fit(X, Y, client_ids=IDS))


def fitted(run, **options):
    over = run.channel(**options)
    over.gather(2)
    try:
        return fit_over_channel(FDRMFLTransformer(**SETTINGS), over)
    finally:
        over.close()


def fails(run, number):
    run.replies[number] = "", "ClientApp crashed", b""
    return True


def comes_back(run, number):
    """The SuperNode of node 2 is killed with its message, and is another node afterwards."""
    run.nodes[12] = run.nodes.pop(2)
    return True


def silent_node(text, data):
    raise AssertionError("it is asked nothing")


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    "faults",
    [
        {},
        *({n: fails} for n in range(1, 23, 3)),
        {6: fails, 7: fails},
        *({n: comes_back} for n in (2, 4, 6, 10, 14)),
    ],
)
def test_a_courier_that_fails_or_comes_back_as_another_node_leaves_the_bits_of_one_memory(here, faults):
    run = Run({1: process("north"), 2: process("south")}, faults)
    model = fitted(run, patience=5.0, wait=5.0)
    run.thread.join(5)
    assert bits(model) == here and not model.dropped_clients_
    assert not run.thread.is_alive(), "the run is ended"


class Dying(Run):
    """A run whose second node is killed with what it is asked in training, and is another one then, so many times."""

    n_kills = 4

    def push(self, node, text, data):
        if node == 1 or json.loads(json.loads(text)[0])[0] != "train" or not self.n_kills:
            return super().push(node, text, data)
        self.n_kills, self.n_pushed = self.n_kills - 1, self.n_pushed + 1
        self.nodes[node + 10] = self.nodes.pop(node)
        self.replies[f"message {self.n_pushed}"] = "", "Node Unavailable", b""
        return f"message {self.n_pushed}"


def test_a_site_killed_again_and_again_with_one_question_leaves_the_bits_of_one_memory(here):
    run = Dying({1: process("north"), 2: process("south")})
    model = fitted(run, patience=5.0, wait=5.0)
    assert bits(model) == here and not model.dropped_clients_ and not run.n_kills


def test_a_site_that_is_gone_for_good_is_left_out_and_named():
    def gone(run, number):
        run.nodes.pop(2)
        return True

    # Two say who they are and describe, three sums of two; the first round is from the eleventh on.
    run = Run({1: process("north"), 2: process("south")}, {14: gone})
    model = fitted(run)
    (entry,) = [entry for entry in model.dropped_clients_ if entry["rounds"]]
    assert (entry["client"], entry["reason"]) == ("south", "no answer")
    assert 2 in entry["rounds"] and np.isfinite(model.predict(X)).all()
    assert any("south is away" in line for line in run.said)


def test_a_site_whose_courier_always_fails_ends_the_run_before_its_rounds_by_name():
    south = {2}
    run = Run({1: process("north"), 2: process("south")})
    push = run.push

    def fail(node, text, data):
        number = push(node, text, data)
        if node in south and run.n_pushed > 4:
            run.replies[number] = "", "ClientApp crashed", b""
        return number

    run.push = fail
    with pytest.raises(Exception, match="'south': no answer"):
        fitted(run, wait=0.0)
    assert run.said.count("south: ClientApp crashed") >= channel.TIMES


def test_who_is_missing_is_said_and_is_an_error_after_the_wait():
    run = Run({1: process("north")})
    with pytest.raises(TimeoutError, match=r"south: not there after 0.3 s \(there: north\)"):
        run.channel().gather(2)
    assert "waiting for south; 1 of 2 are there" in run.said
    run = Run({})
    with pytest.raises(TimeoutError, match="nobody"):
        run.channel().gather(2)
    assert set(run.said) == {"waiting for north, south; 0 of 2 are there"}
    run = Run({1: process("north")})
    with pytest.raises(TimeoutError, match="1 more: not there"):
        run.channel(sites=()).gather(2)


def test_who_is_not_among_the_sites_is_asked_nothing_but_its_name():
    run = Run({1: process("north"), 2: process("south"), 3: process("north")})
    run.nodes[3] = SiteProcess(site_of(FDRMFLTransformer(**SETTINGS), silent_node, "west"))
    fitted(run)
    assert run.pushed.count(3) == 1
    assert any("'west' is there and none of --sites" in line for line in run.said)


def test_another_sites_label_is_not_given_away_while_its_site_answers(here):
    run = Run({1: process("north"), 2: process("south")})
    over = run.channel(patience=5.0)
    over.gather(2)
    run.nodes[3] = SiteProcess(site_of(FDRMFLTransformer(**SETTINGS), silent_node, "north"))
    assert bits(fit_over_channel(FDRMFLTransformer(**SETTINGS), over)) == here
    assert run.pushed.count(3) == 1
    assert any("a second node calls itself 'north'" in line for line in run.said)


@pytest.mark.parametrize("said", ["", "{}", "[" * 9999, '["[\\"done\\", \\"north\\"]", [["<f8", [9], "C"]]]'])
def test_what_a_node_says_that_is_no_packet_is_said_and_ends_nothing(said):
    run = Run({1: process("north"), 2: process("south"), 3: lambda text, data: (said, b"")})
    over = run.channel()
    assert over.gather(2) == ["north", "south"]
    assert any("node 3 does not say who it is" in line for line in run.said)


def test_a_run_that_has_ended_is_an_error():
    run = Run({1: process("north"), 2: process("south")})
    over = run.channel()
    over.gather(2)
    run.mine.shutdown(socket.SHUT_RDWR)
    with pytest.raises(ConnectionError, match="the run has ended at Flower's"):
        over.addresses()
