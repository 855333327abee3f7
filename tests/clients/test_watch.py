"""Who watches over a site sees every question and every answer, refused ones too."""

import numpy as np
import pytest
from wire import Wire, fit_over, rows_of

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.clients.remote.packet import Packet, Refusal
from skfdrmfl.protocol.door import NoAnswer
from skfdrmfl.site.site_data import site_of

RNG = np.random.default_rng(0)
X = RNG.standard_normal((60, 4))
Y = X[:, 0] + 0.1 * RNG.standard_normal(60)
LABELS = np.array(["a", "b", "c"])[np.arange(60) % 3]


def estimator(**parameters):
    return FDRMFLTransformer(**({"tuning": None, "n_rounds": 2, "local_epochs": 1, "random_state": 0} | parameters))


class Record:
    """Keeps all that passes."""

    def __init__(self, refuses=""):
        self.refuses, self.asked, self.said = refuses, [], []

    def before(self, question):
        self.asked.append(question)
        if question.what == self.refuses:
            raise Refusal("no such thing leaves here")

    def after(self, question, answer):
        self.said.append((question, answer))


def wire_of(parameters, watches):
    sites = {
        label: site_of(estimator(**parameters), rows_of(X, Y, label == LABELS), label, watches.get(label, ()))
        for label in np.unique(LABELS).tolist()
    }
    return Wire(sites)


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"tuning": "mixture"},
        {"early_stopping": True, "algorithm": "scaffold"},
        {"modalities": {"u": [0, 1], "v": [2, 3]}},
    ],
    ids=["network", "mixture", "early stopping", "modalities"],
)
def test_a_watch_sees_by_their_names_the_messages_that_the_ledger_counts(parameters):
    record = Record()
    model = fit_over(wire_of(parameters, {"a": [record]}), estimator(**parameters))
    seen = [one.name for question, answer in record.said for one in question.asked if not answer.refused]
    counted = [m.what.removeprefix("mixture: ") for m in model.federation_log_ if m.direction == "up"]
    assert sorted(set(seen)) == sorted(set(counted))
    assert record.asked == [question for question, _ in record.said]
    assert len({question.run for question in record.asked}) == 1
    assert all(one.rows >= one.fewest > 0 for q in record.asked for one in q.asked)


def test_a_fold_of_few_rows_is_seen_before_it_is_answered():
    record = Record()
    fit_over(wire_of({"tuning": "mixture"}, {"a": [record]}), estimator(tuning="mixture"))
    assert {one.fewest for q in record.asked for one in q.asked if one.name == "products by fold"} == {20 // 5}


def test_what_one_watch_refuses_reaches_those_behind_it_as_refused_and_the_server_with_the_reason():
    guard, record = Record("sum"), Record()
    with pytest.raises(NoAnswer, match="'a': no such thing leaves here"):
        fit_over(wire_of({}, {"a": [guard, record]}), estimator())
    *_, (question, answer) = record.said
    assert [one.name for one in question.asked] == ["sums of columns", "sums of columns"]
    assert answer.refused == "no such thing leaves here" and answer.value is None
    assert not answer.packet.arrays


def test_what_cannot_be_kept_account_of_does_not_leave():
    class Full(Record):
        def after(self, question, answer):
            if question.what == "sum":
                raise OSError("no space left where row 7 lies")

    with pytest.raises(NoAnswer, match="'a': OSError in 'sum'") as raised:
        fit_over(wire_of({}, {"a": [Full()]}), estimator())
    assert "row 7" not in str(raised.value)


def test_a_message_that_is_none_is_answered_and_seen():
    record = Record()
    site = site_of(estimator(), rows_of(X, Y, LABELS == "a"), "a", [record])
    answer, kept = site.answer(Packet("no JSON"), {})
    assert "a request was expected" in answer.text and kept == {}
    ((question, said),) = record.said
    assert question.what == "" and said.refused
