"""Messages that are malformed or mean ill: nothing crashes, hangs, answers with rows or takes memory without end."""

import json
import re
import tracemalloc
from contextlib import nullcontext
from dataclasses import dataclass, replace

import numpy as np
import pytest
from wire import Wire, fit_over, rows_of

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.clients.client_data import Client, ClientData
from skfdrmfl.clients.remote import limits
from skfdrmfl.clients.remote import packet as packets
from skfdrmfl.clients.remote.codec import from_packet, to_packet
from skfdrmfl.clients.remote.exchange import Exchange
from skfdrmfl.clients.remote.limits import MOST_FOLDS, answered
from skfdrmfl.clients.remote.packet import Packet, Request, WireError
from skfdrmfl.clients.remote.watch import asked_by
from skfdrmfl.data.held_out import EVERYTHING, Fold, Split, Subset
from skfdrmfl.data.transforms import TableTransform, unchanged
from skfdrmfl.protocol.door import Block, NoAnswer, Query
from skfdrmfl.protocol.plan import Inputs, Targets
from skfdrmfl.protocol.queries.axes import CodeProducts, CodeSums
from skfdrmfl.protocol.queries.members import FoldMoments
from skfdrmfl.protocol.queries.whitening import AbsoluteDeviations, ColumnSums, RangeProducts, SecondMoments
from skfdrmfl.site.site_data import site_of

RNG = np.random.default_rng(0)
X = RNG.standard_normal((60, 4))
Y = X[:, 0] + 0.1 * RNG.standard_normal(60)
LABELS = np.array(["a", "b", "c"])[np.arange(60) % 3]


def estimator():
    return FDRMFLTransformer(tuning=None, n_rounds=2, local_epochs=1, random_state=0)


@pytest.fixture(scope="module")
def wire():
    """A fit over a wire, with all that was asked; its sites are in the midst of a run."""

    class Keeping(Wire):
        def answer(self, address, packet):
            self.packets = [*getattr(self, "packets", []), (address, packet)]
            return super().answer(address, packet)

    wire = Keeping({label: site_of(estimator(), rows_of(X, Y, label == LABELS), label) for label in "abc"})
    fit_over(wire, estimator())
    return wire


def spoiled(rng, text, data):
    """A message of which something is not as it was."""
    kind = rng.integers(7)
    if kind == 0:  # random bytes
        return rng.bytes(rng.integers(1, 200)).decode("latin-1"), rng.bytes(rng.integers(0, 200))
    if kind == 1:  # flipped, cut or doubled
        place = int(rng.integers(len(text)))
        return text[:place] + str(rng.choice(list('[]{}"0,9'))) + text[place + 1 :], data[
            : int(rng.integers(len(data) + 1))
        ]
    own, forms = json.loads(text)
    if kind == 2 and forms:  # wrong shapes and types, huge ones too
        form = forms[int(rng.integers(len(forms)))]
        kinds = ["<U999999999", "|O", "V9", "x"]
        form[int(rng.integers(2))] = [-1, 10**12] if rng.random() < 0.5 else str(rng.choice(kinds))
    elif kind == 3:  # not a number
        data = np.full(len(data) // 8, np.nan).tobytes() + data[: len(data) % 8]
    elif kind == 4:  # another run, place or kind
        try:
            parts = json.loads(own)
            parts[int(rng.integers(len(parts)))] = [None, -1, 10**30, "sum", ["x"], {}][int(rng.integers(6))]
            own = json.dumps(parts)
        except (ValueError, TypeError, IndexError):
            own = "[]"
    elif kind == 5:  # deep
        own = "[" * 5000
    else:
        names = ["Fold", "Split", "Plan", "Network", "ColumnSums", "Block", "RunPlan", "array", "tuple", "again"]
        a, b = rng.choice(names, 2, replace=False)
        own = own.replace(str(a), str(b))
    return json.dumps([own, forms]), data


@pytest.mark.parametrize("n_messages", [150, pytest.param(400, marks=pytest.mark.slow)])
def test_malformed_messages_to_a_site_are_answered_and_never_with_rows(wire, n_messages):
    rng = np.random.default_rng(1)
    rows = [X[i].tobytes() for i in range(60)] + [X[i].astype(np.float32).tobytes() for i in range(60)]
    legal = max(sum(map(len, packet.flat())) for _, packet in wire.packets)
    kinds = {"damaged": 0}
    tracemalloc.start()
    for number in range(n_messages):
        _, packet = wire.packets[int(rng.integers(len(wire.packets)))]
        text, data = packet.flat()
        flat = (text, data) if number % 10 == 0 else spoiled(rng, text, data)  # some are replayed as they were
        label = "abc"[number % 3]  # and what was for one goes to another
        try:
            received = Packet.of_flat(*flat)
        except WireError:
            kinds["damaged"] += 1
            continue
        answer, kept = wire.sites[label].answer(received, wire.kept[label])
        assert sum(array.nbytes for value in kept.values() for array in value.arrays) < 10 * legal
        kind, _ = from_packet(answer)
        kinds[kind] = kinds.get(kind, 0) + 1
        assert not any(row in array.tobytes() for array in answer.arrays for row in rows)
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kinds.keys() <= {"damaged", "done", "lost", "failed", "refused"} and min(kinds.values()) > 0
    assert peak < 2 * packets.MOST_BYTES and held < 20e6
    assert from_packet(wire.sites["a"].answer(Request("who", -1, to_packet(None)).packet(), {})[0]) == ("done", "a")


@pytest.mark.filterwarnings("ignore:.*")
@pytest.mark.parametrize("asked", ["describe", "sum", "train"])
def test_malformed_answers_end_a_fit_with_the_site_named_or_leave_it_out(asked):
    class Hostile(Wire):
        """One answers what it likes."""

        def answer(self, address, packet):
            answer = super().answer(address, packet)
            if address != "b" or self.asked[-1][1].what != asked:
                return answer
            text, data = spoiled(rng, *answer.flat())
            try:
                return Packet.of_flat(text, data)
            except WireError:  # transports leave such out
                return None

    rng = np.random.default_rng(2)
    ended = []
    for _ in range(6):
        wire = Hostile({label: site_of(estimator(), rows_of(X, Y, label == LABELS), label) for label in "abc"})
        try:
            model = fit_over(wire, estimator())
        except (NoAnswer, ValueError) as error:
            ended.append(str(error))
        else:
            ended.append("fitted")
            assert np.isfinite(model.predict(X)).all()
    unnamed = [said for said in ended if said != "fitted" and not re.search("'(at )?b'", said)]
    assert unnamed == []


@pytest.mark.parametrize("answers", [[None], [None] * 3, (None, None), "xy", {"x": None, "y": None}])
def test_all_but_a_list_of_an_answer_to_each_question_is_not_as_asked(answers):
    class Other(Wire):
        def answer(self, address, packet):
            answer = super().answer(address, packet)
            spoils = address == "b" and self.asked[-1][1].what == "sum"
            return to_packet(("done", answers)) if spoils else answer

    wire = Other({label: site_of(estimator(), rows_of(X, Y, label == LABELS), label) for label in "abc"})
    with pytest.raises(NoAnswer, match="'b'.*2 answers were asked for"):
        fit_over(wire, estimator())


@pytest.mark.parametrize("answer", [-1, 2.0, "20", None])
def test_a_number_of_rows_is_a_whole_one_and_not_negative(answer):
    class Other(Wire):
        def answer(self, address, packet):
            counted = super().answer(address, packet)
            return to_packet(("done", answer)) if address == "b" and self.asked[-1][1].what == "count" else counted

    model = estimator().set_params(early_stopping=True)
    wire = Other({label: site_of(model, rows_of(X, Y, label == LABELS), label) for label in "abc"})
    with pytest.raises(NoAnswer, match="'b'.*a number of rows was asked for"):
        fit_over(wire, model)


@pytest.mark.parametrize("n_messages", [150, pytest.param(400, marks=pytest.mark.slow)])
def test_malformed_answers_to_an_exchange_are_no_answers_and_say_little(wire, n_messages):
    class Junk:
        """A channel to one client, who says what it likes."""

        wait = 0.0

        def addresses(self):
            return [0]

        def ask(self, packets):
            try:
                return {0: Packet.of_flat(*spoiled(rng, *said[int(rng.integers(len(said)))]))}
            except WireError:
                return {}

    rng = np.random.default_rng(3)
    said = [to_packet(("done", [X[:2].sum(0)])).flat(), to_packet(("lost", ["r.1"])).flat()]
    said += [to_packet(("failed", "why" * 1000)).flat(), to_packet(("done", {"weights": X, "losses": Y})).flat()]
    exchange = Exchange(Junk(), [0], ["a"])
    reasons = set()
    tracemalloc.start()
    for _ in range(n_messages):
        found, silent = exchange.ask("sum", {0: None})
        assert len(found) + len(silent) == 1
        reasons |= {silence.reason for silence in silent.values()}
        assert all(len(silence.detail) < 1100 for silence in silent.values())
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert reasons >= {"no answer", "answer not as asked", "an error where its rows are"}
    assert held < 5e6 and peak < 100e6


# ------------------------------------------------------------------- questions that are formed well and mean ill


@pytest.fixture
def ask(wire):
    """Ask site "a" for sums, as the run does."""
    request = next(request for address, request, *_ in wire.asked if address == "a" and request.what == "sum")

    def ask(*queries):
        about = to_packet(list(queries))
        asked = Request("sum", request.position, about, request.needs, {}, request.needs, request.run, request.rows)
        answer, _ = wire.sites["a"].answer(asked.packet(), wire.kept["a"])
        return from_packet(answer)

    assert ask(ColumnSums(Block(None), EVERYTHING))[0] == "done"
    return ask


ALL = Block(np.arange(4))


@pytest.mark.parametrize(
    "query",
    [
        AbsoluteDeviations(ALL, EVERYTHING, np.zeros((2, 1, 4))),  # twice the absolute value of each row
        SecondMoments(ALL, EVERYTHING, np.zeros((3, 1, 4)), np.ones(4)),
        RangeProducts(ALL, EVERYTHING, np.zeros((2, 1, 4)), np.ones(4), np.ones((4, 1))),
        ColumnSums(ALL, Fold(EVERYTHING, 0, 0, True, 20_000_000)),
        ColumnSums(ALL, Fold(Fold(EVERYTHING, 0, 0, True, 3), 0, 0, True, 3)),
        ColumnSums(ALL, Split("1e999999999", 0, True)),
        ColumnSums(Block(np.zeros(100_000, dtype=np.int64)), EVERYTHING),  # one column again and again
        ColumnSums(Block(np.array([99])), EVERYTHING),
        ColumnSums("X", EVERYTHING),
        ColumnSums(ALL, "all"),
        Fold(EVERYTHING, 0, 0, True, 3),
        CodeSums(None),
        CodeProducts(None, np.zeros(1)),
        7,
    ],
    ids=repr,
)
def test_a_question_that_would_make_rows_or_a_mountain_of_a_sum_is_not_answered(ask, query):
    kind, _ = ask(query)
    assert kind == "failed"


def test_a_model_of_odd_shapes_does_not_make_rows_of_a_sum(ask, wire):
    given = {name: packet for _, request, *_ in wire.asked for name, packet in request.given.items()}
    agreed, *_, name = wire.asked[-1][1].needs
    _, build = wire.sites["a"]._made[agreed]
    model = from_packet(given[name], build, lambda name: from_packet(given[name], build))
    assert ask(CodeSums(model))[0] == "done"
    bias, n_rows = model.network.mixer.layers[-1][1], 20
    odd = np.zeros((n_rows, 1, *model.arrays[bias].T.shape))  # the sum of Z would be n_rows times the Z of each row
    assert ask(CodeSums(replace(model, arrays=model.arrays | {bias: odd})))[0] == "failed"


@dataclass(frozen=True, eq=False)
class RowsOfFolds(Query):
    """No sum at all."""

    name = "rows"
    folds: tuple[Subset, ...]
    subset = EVERYTHING

    def __call__(self, client):
        """Return the outputs of the rows of each fold."""
        return [rows for fold in self.folds for rows in client.slabs(Block(None), fold)] or None


HALF, THIRDS = Fold(EVERYTHING, 0, 0, True, 2), Fold(EVERYTHING, 0, 1, False, 3)


@pytest.mark.parametrize("n_rows", range(1, 13))
@pytest.mark.parametrize("fold", [EVERYTHING, HALF, THIRDS])
def test_no_number_of_rows_is_taken_for_a_sum(n_rows, fold):
    client, query = Client(ClientData(X[:n_rows], Y[:n_rows, None]), np.arange(n_rows), 0), RowsOfFolds((fold,))
    with pytest.raises(WireError, match="no sum over them") if len(client.rows_of(fold)) else nullcontext():
        answered([query], client, asked_by([query], client))


def test_more_numbers_than_a_message_holds_are_not_answered(monkeypatch):
    client = Client(ClientData(X, Y[:, None]), np.arange(60), 0)
    queries = [ColumnSums(ALL, EVERYTHING) for _ in range(3)]  # of five numbers each
    for n_bytes, refused in ((8 * 15, nullcontext()), (8 * 15 - 1, pytest.raises(WireError, match="more than 119"))):
        monkeypatch.setattr(limits, "MOST_BYTES", n_bytes)
        with refused:
            answered(queries, client, asked_by(queries, client))


def test_a_question_is_answered_once_however_often_it_stands_in_a_message(ask):
    query = ColumnSums(ALL, EVERYTHING)
    assert ask(*[query] * 5_000)[0] == "failed"
    assert ask(*[ColumnSums(ALL, EVERYTHING) for _ in range(1025)])[0] == "failed"


def test_what_is_kept_is_named_in_what_is_kept_but_no_deeper(wire):
    request = next(request for address, request, *_ in wire.asked if address == "a" and request.what == "sum")
    block = Block(None)
    given = {"block": to_packet(block), "sums": to_packet(ColumnSums(block, EVERYTHING), {id(block): "block"})}
    given |= {"deeper": Packet('{"again": "sums"}'), "itself": Packet('{"again": "itself"}')}
    for name, kind in {"itself": "failed", "deeper": "failed", "sums": "done"}.items():
        about, needs = Packet(json.dumps([{"again": name}])), (*request.needs, *given)
        asked = Request("sum", request.position, about, needs, given, needs, request.run, request.rows)
        assert from_packet(wire.sites["a"].answer(asked.packet(), wire.kept["a"])[0])[0] == kind


def test_sums_of_as_many_folds_as_there_may_be_are_answered_and_of_one_more_are_not(ask):
    inputs = Inputs(TableTransform({"x": np.arange(4)}, {"x": unchanged(4)}))
    for n_folds, answer in ((MOST_FOLDS, "done"), (MOST_FOLDS + 1, "failed")):
        folds = (Fold(EVERYTHING, 0, 0, True, 3),) * n_folds
        assert ask(FoldMoments(inputs, Targets((unchanged(1),)), folds))[0] == answer


def test_what_a_site_keeps_for_a_server_has_an_end(wire, monkeypatch):
    from skfdrmfl.clients.remote import site

    monkeypatch.setattr(site, "MOST_BYTES", 10_000)
    given = {f"x{i}": to_packet(np.zeros(1000)) for i in range(2)}
    request = Request("who", -1, to_packet(None), (), given, tuple(given))
    answer, kept = wire.sites["a"].answer(request.packet(), wire.kept["a"])
    assert from_packet(answer)[0] == "failed" and kept == wire.kept["a"]


def test_a_server_neither_gives_nor_gets_what_a_site_makes_for_itself(wire):
    own = {"announced": to_packet(["r", 20, ""]), "r.2 rows": to_packet([])}
    request = Request("who", -1, to_packet(None), (), own, (*own, "r.2"))
    _, kept = wire.sites["a"].answer(request.packet(), {})
    assert kept == {}
    answer, _ = wire.sites["a"].answer(Request("who", -1, to_packet(None), ("announced",)).packet(), wire.kept["a"])
    assert from_packet(answer) == ("lost", ["announced"])


def test_a_run_that_was_not_described_here_is_refused(wire):
    request = next(request for address, request, *_ in wire.asked if address == "a" and request.what == "sum")
    for run, said in (("other", "has not been described here"), (request.run, "done")):
        asked = Request("sum", 0, request.about, request.needs, {}, request.needs, run, 20)
        kind, answer = from_packet(wire.sites["a"].answer(asked.packet(), wire.kept["a"])[0])
        assert said in (kind, str(answer)) or said in str(answer)


def test_a_message_that_is_too_large_is_not_read(monkeypatch):
    monkeypatch.setattr(packets, "MOST_TEXT", 1000)
    monkeypatch.setattr(packets, "MOST_BYTES", 1000)
    for text, data in (("[" * 1001, b""), ("", bytes(1001))):
        with pytest.raises(WireError, match="too large"):
            Packet.of_flat(text, data)
