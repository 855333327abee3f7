"""Clients that come and go: who is asked what in which round, and what a round without clients leaves."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.server.algorithms import ALGORITHMS

SITES = np.array(["a", "b", "c", "d"])
ROUNDS = 6


def problem(n=48):
    rng = np.random.default_rng(3)
    X = rng.normal(size=(n, 5))
    return X, X[:, 0] + 0.3 * X[:, 1] ** 2, np.resize(SITES, n)


def fit(availability=None, *, rows=slice(None), **changes):
    X, y, ids = problem()
    parameters = {"n_rounds": ROUNDS, "local_epochs": 2, "batch_size": 8, "random_state": 0} | changes
    return FDRMFLTransformer(availability=availability, tuning=None, **parameters).fit(
        X[rows], y[rows], client_ids=ids[rows]
    )


def joins(client, t):
    """Everybody is there always, but `client` only from round t on."""
    return lambda round_, label: label != client or round_ >= t


def took_part(model):
    return ~np.isnan(model.history_["mse_per_client"])


def assert_same(a, b):
    assert_array_equal(a._fitted.models, b._fitted.models)
    for name, array in a.weights_.items():
        assert_array_equal(array, b.weights_[name])


def test_all_there_is_no_availability_to_the_bit():
    plain = fit()
    assert_same(plain, fit(np.ones((ROUNDS, 4), dtype=bool)))
    assert_same(plain, fit(lambda round_, client: True))


def test_a_table_and_a_callable_say_the_same():
    rng = np.random.default_rng(0)
    table = rng.random((ROUNDS, 4)) < 0.6
    table[0, 0] = True
    places = {site: k for k, site in enumerate(SITES.tolist())}
    assert_same(fit(table), fit(lambda round_, client: table[round_ - 1, places[client]]))
    assert_array_equal(took_part(fit(table)), table)
    assert_array_equal(took_part(fit(table.astype(int).tolist())), table)


@pytest.mark.parametrize("engine", ["torch", "auto"])
def test_rows_of_who_joins_enter_no_sum_before(engine):
    X, _, ids = problem()
    model = fit(joins("b", 4), engine=engine)
    without = fit(rows=ids != "b")
    for name, block in model._fitted.table.blocks.items():
        assert_array_equal(block.mean, without._fitted.table.blocks[name].mean)
        assert_array_equal(block.projection, without._fitted.table.blocks[name].projection)
    assert_array_equal(model._fitted.target.mean, without._fitted.target.mean)
    assert_array_equal(took_part(model)[:, 1], np.arange(1, ROUNDS + 1) >= 4)
    for message in model.federation_log_:
        assert message.clients == (3 if message.round < 4 else 4), message
    # Its rows train the rounds that it is there in.
    assert np.abs(model.predict(X) - without.predict(X)).max() > 1e-3


def test_until_a_client_joins_the_fit_is_that_without_it():
    X, _, ids = problem()
    rows = ids != "d"  # the last in `clients_`, so that the others keep their places and their random streams
    never = fit(joins("d", ROUNDS + 1))
    assert_array_equal(never._fitted.models, fit(rows=rows)._fitted.models)
    assert_array_equal(never.transform(X), fit(rows=rows).transform(X))
    assert_array_equal(never.clients_, SITES)


def test_who_has_left_is_not_asked_at_the_end():
    model = fit(lambda round_, client: client != "c" or round_ < 3)
    assert {m.clients for m in model.federation_log_ if m.what in ("sums of Z", "products of Z")} == {3}
    assert_array_equal(took_part(model)[:, 2], np.arange(1, ROUNDS + 1) < 3)


def test_of_who_has_left_nothing_is_remembered():
    leaves = fit(lambda round_, client: client != "c" or round_ < 3, algorithm="scaffold")
    control = leaves._fitted.memory[1]["control"]
    assert_array_equal(np.abs(control).max(1) > 0, [True, True, False, True])
    # One who is away for some rounds has not left.
    away = fit(lambda round_, client: client != "c" or round_ in (1, ROUNDS), algorithm="scaffold")
    assert (np.abs(away._fitted.memory[1]["control"]).max(1) > 0).all()


def test_once_a_client_has_left_the_others_go_on_as_if_it_had_never_had_a_control_variate():
    """Nor as if its rows weighed anything in the mean of the control variates."""
    X, y, ids = problem()
    parameters = {"local_epochs": 1, "batch_size": 8, "random_state": 0, "n_rounds": 2, "algorithm": "scaffold"}
    both = []
    for remembered in (1.0, 0.0):
        model = FDRMFLTransformer(tuning=None, **parameters).partial_fit(X, y, client_ids=ids)
        model._fitted.memory[1]["control"][2] *= remembered
        model.set_params(warm_start=True, availability=lambda round_, client: client != "c")
        both.append(model.fit(X, y, client_ids=ids))
    assert_same(*both)
    assert not both[0]._fitted.memory[1]["control"][2].any()
    others = ids != "c"
    alone = FDRMFLTransformer(tuning=None, **parameters).partial_fit(X, y, client_ids=ids)
    alone.set_params(warm_start=True).fit(X[others], y[others], client_ids=ids[others])
    assert_array_equal(alone._fitted.models, both[0]._fitted.models)


def test_after_a_round_of_partial_fit_anybody_may_come_again():
    X, y, ids = problem()
    model = FDRMFLTransformer(
        algorithm="scaffold",
        local_epochs=1,
        random_state=0,
        availability=lambda round_, client: (round_, client) != (2, "c"),
        tuning=None,
    )
    model.partial_fit(X, y, client_ids=ids)
    before = model._fitted.memory[1]["control"][2].copy()
    model.partial_fit(X, y, client_ids=ids)
    assert_array_equal(model._fitted.memory[1]["control"][2], before)
    assert np.abs(before).max() > 0


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_round_with_too_few_clients_is_skipped(algorithm):
    """The model stays, whatever momentum the server has."""
    there = np.ones((ROUNDS, 4), dtype=bool)
    there[2:, 1:] = False
    model = fit(there, min_clients=2, algorithm=algorithm, history_size=ROUNDS)
    models = model._fitted.models
    assert_array_equal(models[0], models[1])  # of the last rounds
    assert_array_equal(models[0], models[4])
    assert np.abs(models[4] - models[5]).max() > 0
    assert_array_equal(took_part(model).any(1), [True, True, False, False, False, False])
    assert np.isnan(model.history_["loss"][2:]).all() and np.isfinite(model.history_["loss"][:2]).all()
    assert model.n_rounds_ == ROUNDS
    # With one client it would have gone on.
    assert_array_equal(took_part(fit(there, algorithm=algorithm)).any(1), [True] * ROUNDS)


def test_participation_draws_among_those_who_are_there():
    there = np.ones((ROUNDS, 4), dtype=bool)
    there[1:, 0] = False
    model = fit(there, participation=0.5)
    counts = took_part(model).sum(1)
    assert_array_equal(counts, [2, 2, 2, 2, 2, 2])
    assert not took_part(model)[1:, 0].any()


def test_partial_fit_counts_rounds_on_and_keeps_the_model_where_nobody_is_there():
    X, y, ids = problem()
    asked = []

    def availability(round_, client):
        asked.append(round_)
        return round_ != 2

    model = FDRMFLTransformer(availability=availability, local_epochs=1, random_state=0, tuning=None)
    model.partial_fit(X, y, client_ids=ids)
    first = {name: array.copy() for name, array in model.weights_.items()}
    variance = model.component_variance_.copy()
    model.partial_fit(X, y, client_ids=ids)
    for name, array in first.items():
        assert_array_equal(array, model.weights_[name])
    assert_array_equal(variance, model.component_variance_)
    assert model.n_rounds_ == 2
    model.partial_fit(X, y, client_ids=ids)
    assert any(np.abs(array - model.weights_[name]).max() > 0 for name, array in first.items())
    assert sorted(set(asked)) == [1, 2, 3]
    assert_array_equal(took_part(model).any(1), [True, False, True])


def test_categories_come_from_who_is_there():
    pd = pytest.importorskip("pandas")
    X, y, ids = problem()
    frame = pd.DataFrame(X, columns=list("vwxyz")).assign(kind=np.where(ids == "b", "seen late", "plain"))
    model = FDRMFLTransformer(n_rounds=3, random_state=0, availability=joins("b", 2), tuning=None).fit(
        frame, y, client_ids=ids
    )
    assert_array_equal(model.categories_["kind"], ["plain"])


@pytest.mark.parametrize(
    ("availability", "changes", "message"),
    [
        (np.ones((ROUNDS - 1, 4), dtype=bool), {}, r"shape \(5, 4\).*4 clients and rounds up to 6"),
        (np.ones((ROUNDS, 3), dtype=bool), {}, r"shape \(6, 3\)"),
        (np.full((ROUNDS, 4), 0.5), {}, "other than True and False"),
        (lambda round_, client: round_ > 1, {}, "no client be there in round 1"),
        (lambda round_, client: True, {"early_stopping": True}, "early_stopping=False"),
        ("sometimes", {}, "availability"),
        (None, {"min_clients": 5}, "min_clients is 5, but at most 4 clients of 4 can be there .* set it to 4 or less"),
        (lambda round_, client: client < "c", {"min_clients": 3}, "is 3, but at most 2 clients of 4 can .* to 2 or"),
        (
            np.ones((9, 3), bool),
            {"dp_clip_norm": 1.0, "preprocessing": None},
            "says who is there, and with privacy .* use availability=None",
        ),
    ],
)
def test_bad_availability_is_told(availability, changes, message):
    with pytest.raises(ValueError, match=message):
        fit(availability, **changes)


def test_rounds_of_partial_fit_may_be_skipped_for_want_of_clients_but_never_all_of_fit():
    X, y, _ = problem()
    model = fit(min_clients=4)
    before = model._fitted.models.copy()
    model.partial_fit(X[:9], y[:9], client_ids=["a"] * 9)
    assert_array_equal(model._fitted.models[0], before[0])
    with pytest.raises(ValueError, match="at most 1 client of 1 can be there"):
        FDRMFLTransformer(min_clients=2).fit(X, y)


def test_diagnosis_names_the_rounds_without_clients():
    there = np.ones((12, 4), dtype=bool)
    there[[4, 7], 1:] = False
    findings = {found["name"]: found for found in fit(there, min_clients=2, n_rounds=12).diagnose()}
    assert findings["rounds without clients"]["evidence"] == {"rounds": "5, 8", "n_rounds": 12}
    assert "rounds without clients" not in fit(there, n_rounds=12).diagnose().names
