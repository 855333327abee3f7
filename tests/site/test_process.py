"""Sites as processes: what is fitted over their sockets, also where they are started again, and what they keep."""

import numpy as np
import pytest
from sites_on_sockets import OnSockets
from wire import fit_over

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.clients.remote.channel import WHO
from skfdrmfl.clients.remote.codec import from_packet, to_packet
from skfdrmfl.clients.remote.packet import Packet, Request, WireError
from skfdrmfl.datasets import load_tecator
from skfdrmfl.site import process
from skfdrmfl.site.process import SiteProcess
from skfdrmfl.site.site_data import site_of

X, Y = load_tecator(return_X_y=True)
X = np.ascontiguousarray(X[:60, ::5])
Y = Y[:60]
IDS = np.array(["north", "south"])[np.arange(60) % 2]
SETTINGS = {"n_rounds": 4, "local_epochs": 1, "random_state": 0, "tuning": None}


def bits(model):
    return model._fitted.models.tobytes() + model.transform(X).tobytes()


@pytest.fixture(scope="module")
def here():
    return bits(FDRMFLTransformer(**SETTINGS).fit(X, Y, client_ids=IDS))


def fitted(channel):
    return fit_over(channel, FDRMFLTransformer(**SETTINGS))


def test_sites_on_sockets_give_the_bits_of_one_memory_and_read_their_rows_once(tmp_path, here):
    with OnSockets(tmp_path, FDRMFLTransformer(**SETTINGS), X, Y, IDS) as sites:
        model = fitted(sites)
    assert bits(model) == here
    assert sites.n_read == 2 and not model.dropped_clients_
    said = [line for label, line in sites.said if label == "north"]
    rounds = [line for line in said if "parameters, loss terms: " in line]
    assert [line.partition(":")[0] for line in rounds] == [f"round {i}" for i in range(1, 5)]
    assert all(line.endswith("from 30 rows") for line in rounds) and said[0].startswith("describe: ")


@pytest.mark.sampled(3)
@pytest.mark.parametrize("at", range(1, 9))
def test_a_site_started_again_before_any_message_goes_on_to_the_same_bits(tmp_path, here, at):
    class Restarting(OnSockets):
        n = 0

        def answer(self, address, packet):
            if address == "south":
                self.n += 1
                if self.n == at:
                    self.end(address)
                    self.start(address)
            return super().answer(address, packet)

    with Restarting(tmp_path, FDRMFLTransformer(**SETTINGS), X, Y, IDS) as sites:
        model = fitted(sites)
    assert bits(model) == here and not model.dropped_clients_


def test_a_courier_killed_after_it_asked_leaves_a_site_that_answers_again_alike(tmp_path, here):
    class Killed(OnSockets):
        def answer(self, address, packet):
            super().answer(address, packet)  # nobody hears this
            return super().answer(address, packet)

    with Killed(tmp_path, FDRMFLTransformer(**SETTINGS), X, Y, IDS) as sites:
        assert bits(fitted(sites)) == here


def site_process():
    rows = IDS == "north"
    return SiteProcess(site_of(FDRMFLTransformer(**SETTINGS), lambda: (X[rows], Y[rows]), "north"))


def is_refused(answer, text):
    """Whether what has come is called no question, or answered with a reason that says no more than that."""
    try:
        kind, said = from_packet(Packet.of_flat(*answer(text, b"")))
    except WireError:
        return True
    return kind == "failed" and any(word in said for word in ("a request was expected", "a message"))


@pytest.mark.parametrize("text", ["", "{}", "[1, 2]", "[" * 100_000, '["[]", [["<f8", [-1], "C"]]]', "null"])
def test_what_is_no_question_is_refused_as_such(text):
    answer = site_process()
    assert is_refused(answer, text)
    assert from_packet(Packet.of_flat(*answer(*Request(WHO, -1, to_packet(None)).packet().flat())))[1] == "north"


def test_arrays_of_impossible_sizes_are_refused_as_such():
    answer = site_process()
    for shape in ([2**62, 2**62], [2**31], [10**30]):
        assert is_refused(answer, f'["[]", [["<f8", {shape}, "C"]]]')


def test_a_site_keeps_no_more_than_it_may_and_says_what_it_has_lost(monkeypatch):
    answer = site_process()
    monkeypatch.setattr(process, "MOST_KEPT", 10_000)
    names = []
    for i in range(20):  # each asks it to keep all that came before
        names.append(f"a.{i}")
        about = Request(WHO, -1, to_packet(None), (), {names[-1]: to_packet(np.zeros(200))}, tuple(names))
        answer(*about.packet().flat())
        assert sum(packet.size for packet in answer._kept.values()) <= 10_000
    lost = Request("train", 0, to_packet(None), ("a.0",), {}, ("a.0",)).packet()
    kind, said = from_packet(Packet.of_flat(*answer(*lost.flat())))
    assert kind == "lost" and said == ["a.0"]
