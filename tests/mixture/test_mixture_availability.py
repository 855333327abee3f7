"""A mixture of clients that come and go: sums are of those there first, weights of those there last."""

import numpy as np
from mixture_data import THREE, make, rows
from numpy.testing import assert_array_equal

from skfdrmfl.fit import mixture as mixture_fit

X, Y = rows(q=1)
IDS = np.array(["a", "b", "c"])[THREE]
ROUNDS = 4


def fit(availability=None, mine=slice(None), **changes):
    parameters = {"n_rounds": ROUNDS, "availability": availability} | changes
    return make(**parameters).fit(X[mine], Y[mine, 0], client_ids=IDS[mine])


def clients_by_kind(model):
    """Of each kind of message, and of training the round, how many clients sent it."""
    found = {}
    for m in model.federation_log_:
        if m.direction == "up":
            what = m.what.removeprefix("mixture: ")
            found.setdefault((what, m.round if what in ("parameters", "gradients") else None), set()).add(m.clients)
    return found


def test_all_there_is_no_availability_to_the_bit():
    plain, all_there = fit(), fit(np.ones((ROUNDS, 3), dtype=bool))
    assert list(plain.members_) == list(all_there.members_)
    assert_array_equal(plain.transform(X), all_there.transform(X))
    assert plain.federation_log_ == all_there.federation_log_


def test_sums_are_of_who_is_there_first_rounds_of_who_is_there_and_weights_of_who_is_there_last():
    model = fit([[1, 1, 0], [0, 1, 0], [1, 1, 1], [0, 1, 1]])
    sent = clients_by_kind(model)
    assert model.members_[0]["name"] == "mixture"
    assert sent["products by fold", None] == sent["sums of columns", None] == {2}
    assert [sent["parameters", t] for t in range(1, ROUNDS + 1)] == [{2}, {1}, {3}, {2}]
    assert sent["products of errors", None] == sent["products of scores", None] == {2}
    left = IDS != "a"  # Z is centred over the rows of those who are there last
    assert np.abs(model.transform(X[left]).mean(0)).max() < 1e-7


def test_linear_members_are_those_of_the_clients_of_the_first_round():
    joined, without = fit(lambda t, client: client != "c" or t > 1), fit(mine=IDS != "c")
    for a, b in zip(joined._prepare_fit(X, Y[:, 0], IDS).task.linear, linear_of(without), strict=True):
        assert_array_equal(a.coefficients, b.coefficients)
        assert (a.name, a.chosen) == (b.name, b.chosen)
    assert [row["error"] for row in joined.members_] != [row["error"] for row in without.members_]


def linear_of(model):
    mine = IDS != "c"
    return model._prepare_fit(X[mine], Y[mine, 0], IDS[mine]).task.linear


def test_of_networks_by_gradients_ten_rounds_are_one_of_the_schedule(monkeypatch):
    monkeypatch.setattr(mixture_fit, "UNLIKE", -1.0)
    monkeypatch.setattr(mixture_fit, "UNLIKE_EACH", 0.0)
    sent = clients_by_kind(fit([[1, 1, 0], [1, 1, 1]], n_rounds=2))
    assert [sent["gradients", t] for t in range(1, 21)] == [{2}] * 10 + [{3}] * 10
