"""Sites agree on the names and the order of columns before the first sum, and names do not leave to be compared."""

import re

import numpy as np
import pandas as pd
import pytest
from wire import Wire, fit_over

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.clients.remote.codec import from_packet
from skfdrmfl.site.site_data import digest_of_names, site_of, text_of_names

RNG = np.random.default_rng(0)
X = RNG.standard_normal((60, 12))
Y = X[:, 0] + 0.1 * RNG.standard_normal(60)
LABELS = np.array(["a", "b", "c"])[np.arange(60) % 3]
TEXT = [f"column{j}" for j in range(12)]
NUMBERS = np.arange(12) * 2.5 + 1100


def estimator():
    return FDRMFLTransformer(tuning=None, n_rounds=1, local_epochs=1, random_state=0)


class Keeping(Wire):
    """Keeps every answer as text."""

    def answer(self, address, packet):
        answer = super().answer(address, packet)
        self.said = [*getattr(self, "said", []), (address, self.asked[-1][1].what, answer.text)]
        return answer


def wire_of(names, of_c, kind=Keeping):
    """Three sites, of which "c" has its columns under other names or in another order."""

    def load(label):
        frame = pd.DataFrame(X[label == LABELS], columns=names)
        return (of_c(frame) if label == "c" else frame), Y[label == LABELS]

    return kind({label: site_of(estimator(), lambda label=label: load(label), label) for label in "abc"})


@pytest.mark.parametrize("place", [0, 1, 6, 10])
@pytest.mark.parametrize("names", [TEXT, NUMBERS], ids=["text", "numbers"])
def test_who_has_two_columns_in_another_order_is_named_with_the_first_and_told_which(names, place, caplog):
    order = list(range(12))
    order[place], order[place + 1] = place + 1, place
    wire = wire_of(names, lambda frame: frame.iloc[:, order])
    said = f"client 'c' has other names of columns than client 'a' (column {place} is the first)"
    with pytest.raises(ValueError, match=re.escape(said)):
        fit_over(wire, estimator())
    assert {request.what for _, request, *_ in wire.asked} == {"describe", "names", "differs"}
    assert len([1 for _, request, *_ in wire.asked if request.what == "names"]) <= 2 * 4  # of 12 columns
    (told,) = [record.getMessage() for record in caplog.records if "is called" in record.getMessage()]
    mine = pd.DataFrame(X, columns=names).iloc[:, order]
    assert f"column {place} is called {text_of_names(mine)[place]!r} here" in told
    assert not any("column1" in text or "1102.5" in text for _, _, text in wire.said)


@pytest.mark.parametrize(
    "of_c",
    [
        lambda frame: frame[frame.columns[::-1]],
        lambda frame: frame.set_axis(frame.columns.astype(str), axis=1),
        lambda frame: frame.to_numpy(),
    ],
    ids=["reversed", "as text", "an array"],
)
def test_numbers_as_names_are_names(of_c):
    with pytest.raises(ValueError, match="client 'c' has other names of columns than client 'a'"):
        fit_over(wire_of(NUMBERS, of_c), estimator())


@pytest.mark.parametrize("names", [TEXT, NUMBERS], ids=["text", "numbers"])
def test_names_leave_one_site_once_all_have_agreed(names):
    wire = wire_of(names, lambda frame: frame)
    model = fit_over(wire, estimator())
    known = model.feature_names_in_.tolist() if names is TEXT else model.axis_.tolist()
    assert known == list(names)
    told = [(address, what) for address, what, text in wire.said if "column1" in text]
    assert told == ([("a", "names")] if names is TEXT else [])
    with pytest.raises(ValueError, match="order"):
        model.predict(pd.DataFrame(X, columns=names).iloc[:, ::-1])


def test_a_sum_before_columns_were_agreed_on_is_refused():
    wire = wire_of(TEXT, lambda frame: frame)
    fit_over(wire, estimator())
    other = wire_of(TEXT, lambda frame: frame[TEXT[::-1]])
    request = next(request for address, request, *_ in wire.asked if address == "c" and request.what == "sum")
    answer, _ = other.sites["c"].answer(request._request.packet(), wire.kept["c"])
    kind, said = from_packet(answer)
    assert kind == "refused" and "columns have other names or another order here" in said


def test_hashes_of_names_tell_order_and_kind_and_are_others_in_each_run():
    lists = (["a", "b"], ["b", "a"], ["ab"], ["number 1.0"], None)
    hashes = [digest_of_names(names, run) for run in ("r", "s") for names in lists]
    assert len(set(hashes)) == 2 * 4 + 1
