"""The server's arithmetic by hand, and whole federations round by round."""

from math import cos, pi

import numpy as np
import pytest
import torch
from helpers import federate, make_network, make_run, normal, recorded, start_of, train_together
from hypothesis import given, settings
from hypothesis import strategies as st

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.engines.rows import Run, stack
from skfdrmfl.method.objective import term_names
from skfdrmfl.protocol.algorithm_state import AlgorithmState
from skfdrmfl.protocol.plan import Schedule, Start, cosine_decay
from skfdrmfl.protocol.replicas import Members
from skfdrmfl.server.aggregation.aggregates import Average
from skfdrmfl.server.rounds import squared_distances
from skfdrmfl.server.trained import ServerState, Trained, advance, invite


def exact(value, expected, rtol=1e-10, atol=1e-12):
    torch.testing.assert_close(value, expected, rtol=rtol, atol=atol, equal_nan=True)


def records_of(network, runs, engine="torch", *, rate_factors=(1.0,) * 4, **options):
    return federate(engine, network, runs, rate_factors, n_epochs=1, **options)


# ------------------------------------------------------------------------------------------- averaging


def averaged(origin, n_rows, *parts):
    """The average of (rows, parameters) that come in parts."""
    average = Average(origin.numpy(), np.asarray(n_rows))
    for rows, returned in parts:
        average.add(np.asarray(rows), returned.numpy())
    return torch.as_tensor(average.result())


def test_the_average_is_by_rows():
    origin, returned = normal(0, 5), normal(1, 2, 5)
    found = averaged(origin, [1, 3], ([1], returned[:1]), ([3], returned[1:]))
    exact(found, (1 * returned[0] + 3 * returned[1]) / 4)
    exact(averaged(origin, np.zeros(0, dtype=np.int64)), origin)  # nobody took part


@given(st.lists(st.integers(1, 50), min_size=1, max_size=8), st.integers(0, 99), st.data())
def test_the_average_does_not_depend_on_order_or_chunks(sizes, seed, data):
    sizes = np.array(sizes)
    origin, returned = normal([seed, 0], 3), normal([seed, 1], len(sizes), 3)
    order = np.array(data.draw(st.permutations(range(len(sizes)))))
    cut = data.draw(st.integers(0, len(sizes)))
    pieces = [(sizes[members], returned[members]) for members in (order[:cut], order[cut:])]
    exact(averaged(origin, sizes, *pieces), averaged(origin, sizes, (sizes, returned)))


def test_equal_models_average_to_themselves():
    n_rows, model = np.array([5, 1, 7]), normal(0, 6)
    exact(averaged(torch.zeros_like(model), n_rows, (n_rows, model.expand(3, 6))), model)


# --------------------------------------------------------------------------------------------- history


@pytest.mark.parametrize("history_size", [0, 1, 3])
def test_history_keeps_the_last_models_the_latest_first(history_size):
    models = normal(0, 6, 4).numpy()
    state = ServerState(models[0])
    for t in range(1, 6):
        state = advance(state, models[t], AlgorithmState(), history_size)
        assert state.round_index == t
        np.testing.assert_array_equal(state.weights, models[t])
        expected = [models[i] for i in range(t - 1, -1, -1)][:history_size]
        assert len(state.history) == len(expected)
        for kept, model in zip(state.history, expected, strict=True):
            np.testing.assert_array_equal(kept, model)


def test_earlier_models_are_the_ones_that_were_broadcast():
    network = make_network((3,))
    run = make_run(network, [5, 3])
    models = [run.start.weights]
    for record in records_of(network, [run], "torch"):
        assert len(record.state.history) == min(2, len(models))
        for kept, model in zip(record.state.history, models[::-1], strict=False):
            assert torch.equal(kept[0], model)
        models.append(record.state.weights[0].clone())


# ---------------------------------------------------------------------------------------- participation


@given(
    seed=st.integers(0, 2**63 - 1),
    t=st.integers(0, 200),
    n=st.integers(1, 50),
    participation=st.floats(0.001, 1.0),
)
def test_the_right_share_is_invited_at_least_one_each_once_and_repeatably(seed, t, n, participation):
    who = invite(seed, t, n, participation)
    assert len(who) >= 1
    assert len(who) == 1 or abs(len(who) - participation * n) <= 0.5
    assert np.all(np.diff(who) > 0)
    assert who[0] >= 0
    assert who[-1] < n
    np.testing.assert_array_equal(invite(seed, t, n, participation), who)


def test_everyone_is_invited_at_full_participation():
    np.testing.assert_array_equal(invite(3, 1, 7, 1.0), np.arange(7))


def test_invitations_differ_by_seed_and_round_and_reach_everyone_equally_often():
    rounds = [invite(5, t, 10, 0.3) for t in range(2000)]
    assert any(not np.array_equal(invite(6, t, 10, 0.3), rounds[t]) for t in range(5))
    counts = np.bincount(np.concatenate(rounds), minlength=10)
    assert counts.sum() == 6000
    assert np.abs(counts - 600).max() < 5 * np.sqrt(600 * 0.7)


def test_absentees_have_no_losses_and_no_say():
    network = make_network((3,))
    run = make_run(network, [5, 3, 4, 6])
    # An absentee's rows can be anything.
    (record,) = records_of(network, [run], "torch", rate_factors=(1.0,), participation=0.5)
    absent = np.isnan(record.losses).all(1)
    np.testing.assert_array_equal(np.flatnonzero(~absent), invite(run.seed, 0, 4, 0.5))
    assert np.isfinite(record.losses[~absent]).all()
    x = run.x.clone()
    x[np.concatenate([run.partition.rows[k] for k in np.flatnonzero(absent)])] = torch.nan
    poisoned = Run(x, run.y, run.partition, run.settings, run.seed, Start(run.start.weights))
    (other,) = records_of(network, [poisoned], "torch", rate_factors=(1.0,), participation=0.5)
    assert torch.equal(other.state.weights, record.state.weights)


# --------------------------------------------------------------------------------------------- schedule


def test_the_rate_falls_from_one_along_half_a_cosine():
    factors = [cosine_decay(t, 8) for t in range(8)]
    assert factors[0] == 1.0
    assert factors[4] == pytest.approx(0.5)
    assert np.all(np.diff(factors) < 0)
    np.testing.assert_allclose(factors, [(1 + cos(pi * t / 8)) / 2 for t in range(8)])
    np.testing.assert_allclose(np.add(factors[1:], factors[:0:-1]), 1.0)  # odd about the middle
    assert cosine_decay(0, 1) == 1.0


def test_a_rate_factor_is_a_factor_on_the_learning_rate():
    network = make_network((3,))
    run, slower = (make_run(network, [5, 3], learning_rate=rate) for rate in (0.02, 0.01))
    by_factor, by_rate = (
        records_of(network, [r], "torch", rate_factors=factors)[-1].state.weights
        for r, factors in ((run, (0.5, 0.25)), (slower, (1.0, 0.5)))
    )
    exact(by_factor, by_rate)


@pytest.mark.parametrize("participation", [0.4, 1.0])
def test_rounds_can_be_interrupted_and_continued(participation):
    network = make_network((3, 2))
    run = make_run(network, [5, 3, 1, 8])
    factors = (1.0, 0.9, 0.5, 0.3, 0.1)
    whole = records_of(network, [run], "torch", rate_factors=factors, participation=participation)
    for cut in (1, 3):
        state = whole[cut - 1].state
        rest = Run(
            run.x,
            run.y,
            run.partition,
            run.settings,
            run.seed,
            Start(state.weights[0], tuple(h[0] for h in state.history), state.round_index),
        )
        continued = records_of(network, [rest], "torch", rate_factors=factors[cut:], participation=participation)
        for mine, theirs in zip(continued, whole[cut:], strict=True):
            exact(mine.state.weights, theirs.state.weights)
            np.testing.assert_allclose(mine.losses, theirs.losses, rtol=1e-9, equal_nan=True)
            assert mine.state.round_index == theirs.state.round_index


def test_what_a_round_reports_is_numbered_from_one_and_before_the_first_there_is_none():
    network = make_network((3,))
    run, schedule = make_run(network, [5, 3]), Schedule((1.0, 1.0), 1, 4, 1.0, 2)
    members = Members(np.arange(2), run.seed, run.settings, np.array([5, 3]))
    assert Trained.begin(start_of(run), members, schedule).numbers() == {"round": 0}
    assert [after.stands[0].numbers()["round"] for after in train_together(network, [run], schedule, "torch")] == [1, 2]


# ------------------------------------------------------------------------------------------- divergence


def test_a_diverging_run_is_flagged_keeps_its_last_finite_model_and_the_others_go_on():
    network = make_network((3, 2))
    runs = [make_run(network, [5, 3, 1], seed=i) for i in range(3)]
    # Same settings, so that it trains beside the others; its rows overflow after one more step.
    wild = runs[1]
    x = wild.x * 1e155
    runs[1] = Run(x, wild.y, wild.partition, wild.settings, wild.seed, Start(wild.start.weights))
    together = records_of(network, runs, "torch")
    assert len(together) == 4
    for t, record in enumerate(together):
        np.testing.assert_array_equal(record.diverged, [False, True, False])
        assert record.state.weights.isfinite().all()
        exact(record.state.weights[1], wild.start.weights)
        assert np.isnan(record.losses[3:6]).all() or t == 0  # trains no more
    for i in (0, 2):
        for mine, theirs in zip(together, records_of(network, [runs[i]], "torch"), strict=True):
            exact(mine.state.weights[i], theirs.state.weights[0])
            np.testing.assert_allclose(mine.losses[3 * i : 3 * i + 3], theirs.losses, rtol=1e-9)


def test_runs_can_diverge_in_different_rounds():
    network = make_network((3,))
    early, late, steady = (
        make_run(network, [5, 6], seed=i, learning_rate=rate) for i, rate in enumerate((1e-2, 1e200, 1e-2))
    )
    early = Run(early.x * 1e155, early.y, early.partition, early.settings, early.seed, Start(early.start.weights))
    # Factors so small that the fast one trains like others at first, and the others stand still.
    records = records_of(network, [early, late, steady], "torch", rate_factors=(1e-202, 1e-202, 1.0, 1.0))
    flags = [record.diverged.tolist() for record in records]
    assert flags == [[True, False, False]] * 2 + [[True, True, False]] * 2
    assert torch.equal(records[3].state.weights[1], records[1].state.weights[1])
    assert not torch.equal(records[1].state.weights[1], late.start.weights)
    assert records[3].state.weights.isfinite().all()


def test_training_stops_when_every_run_has_diverged():
    network = make_network((3,))
    run = make_run(network, [5], learning_rate=1e200)
    records = records_of(network, [run], "torch")
    assert len(records) < 4
    assert records[-1].diverged.all()
    assert records[-1].state.weights.isfinite().all()


def test_a_model_of_large_finite_weights_has_not_diverged():
    # Their sum overflows, none of them does; rows of zeros keep the training itself finite.
    network = make_network((3,))
    run = make_run(network, [5], learning_rate=1e-30)
    weights = torch.zeros(network.layout.size)
    network.layout.views(weights)["a.weight0"].fill_(3e38)
    big = Run(run.x.float() * 0, run.y.float(), run.partition, run.settings, run.seed, Start(weights))
    (record,) = records_of(network, [big], rate_factors=(1.0,))
    assert not record.diverged.any()
    exact(record.state.weights[0], weights, rtol=1e-6)


# --------------------------------------------------------------------------------------- many runs at once


def test_training_runs_together_reports_each_as_its_records_do():
    network = make_network((3,))
    runs = [make_run(network, sizes, seed=i) for i, sizes in enumerate(([5, 3], [4], [2, 2, 2]))]
    factors = (1.0, 0.5, 0.2)
    records = records_of(network, runs, "torch", rate_factors=factors)
    last = list(train_together(network, runs, Schedule(factors, 1, 4, 1.0, 2), "torch"))[-1]
    assert last.n_rounds == 3
    for i, run in enumerate(runs):
        models, losses = last.models_of(i), recorded(last.record_of(i), "losses")
        first = sum(len(r.partition.rows) for r in runs[:i])
        replicas = slice(first, first + len(run.partition.rows))
        exact(models[0], records[-1].state.weights[i])
        exact(models[1:], torch.stack(records[-1].state.history)[:, i])
        for t, record in enumerate(records):
            np.testing.assert_allclose(losses[t], record.losses[replicas], rtol=1e-12)
    assert not last.diverged.any()


def test_runs_that_share_rows_share_them_in_the_cohort_too():
    network = make_network((3,))
    first, other = make_run(network, [5, 3]), make_run(network, [4], seed=1)
    second = Run(first.x, first.y, first.partition, other.settings, 9, Start(other.start.weights))
    rows = stack([first, other, second])
    assert len(rows.x) == 12
    np.testing.assert_array_equal(rows.rows_of(3), rows.rows_of(0))
    np.testing.assert_array_equal(rows.cohort.sizes, [5, 3, 4, 5, 3])
    np.testing.assert_array_equal(rows.cohort.runs, [0, 0, 1, 2, 2])
    assert np.array_equal(rows.x[rows.rows_of(2)], other.x[other.partition.rows[0]])
    assert np.array_equal(rows.y[rows.rows_of(4)], first.y[first.partition.rows[1]])


# ------------------------------------------------------------------------------- partial_fit and history_


def table(seed=0, n=24):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 6))
    return (
        X,
        X[:, 0] - 0.5 * X[:, 1] + 0.1 * rng.standard_normal(n),
        rng.permutation(np.repeat(list("abc"), n // 3)),
    )


def small(**options):
    settings = {
        "hidden_layer_sizes": (5,),
        "n_rounds": 5,
        "local_epochs": 2,
        "batch_size": 4,
        "random_state": 0,
    }
    return FDRMFLTransformer(**({"tuning": None} | settings | options))


def assert_same_model(mine, theirs):
    assert mine.n_rounds_ == theirs.n_rounds_
    for name, array in mine.weights_.items():
        np.testing.assert_array_equal(array, theirs.weights_[name], err_msg=name)
    for name, array in mine.history_.items():
        np.testing.assert_array_equal(array, theirs.history_[name], err_msg=name)


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("engine", "participation"),
    [("torch", 0.5), ("torch", 1.0), ("auto", 0.5), ("auto", 1.0)],
)
def test_calls_of_partial_fit_are_rounds_at_a_constant_rate(monkeypatch, engine, participation):
    X, y, ids = table()
    options = {"engine": engine, "participation": participation, "history_size": 2, "contrastive_weight": 0.3}
    piecewise = small(**options)
    for _ in range(5):
        piecewise.partial_fit(X, y, ids)
    monkeypatch.setattr("skfdrmfl.fit.parameters.cosine_decay", lambda t, n_rounds: 1.0)
    assert_same_model(piecewise, small(**options).fit(X, y, ids))
    np.testing.assert_array_equal(piecewise.n_samples_per_client_, [40, 40, 40])


def test_a_warm_start_is_the_sequence_of_its_rounds():
    X, y, ids = table()
    warm = small(warm_start=True, n_rounds=1)
    for _ in range(3):
        warm.fit(X, y, ids)  # a schedule of one round is a constant rate
    piecewise = small()
    for _ in range(3):
        piecewise.partial_fit(X, y, ids)
    assert_same_model(warm, piecewise)


def test_history_has_nan_for_absentees_and_means_by_rows_of_those_present():
    X, y, ids = table(n=30)
    ids = np.array(list("aaaaaabbbbbbbbbbcccccccccccccc"))
    model = small(participation=0.5, n_rounds=6).fit(X, y, ids)
    sizes = np.array([6, 10, 14])
    for term in term_names():
        per_client, mean = model.history_[f"{term}_per_client"], model.history_[term]
        assert per_client.shape == (6, 3)
        assert mean.shape == (6,)
        there = ~np.isnan(per_client)
        for t in range(6):
            np.testing.assert_array_equal(np.flatnonzero(there[t]), invite(0, t, 3, 0.5))
            by_hand = sum(v * n for v, n in zip(per_client[t][there[t]], sizes[there[t]], strict=True))
            np.testing.assert_allclose(mean[t], by_hand / sizes[there[t]].sum(), rtol=1e-12)


def test_history_grows_with_clients_who_come_later_and_go():
    X, y, _ = table()
    model = small().partial_fit(X[:16], y[:16], np.repeat(["b", "c"], 8))
    model.partial_fit(X[16:], y[16:], np.repeat(["a", "c"], 4))
    assert model.clients_.tolist() == ["b", "c", "a"]
    np.testing.assert_array_equal(model.n_samples_per_client_, [8, 12, 4])
    for term in term_names():
        per_client = model.history_[f"{term}_per_client"]
        np.testing.assert_array_equal(np.isnan(per_client), [[False, False, True], [True, False, False]])
        np.testing.assert_allclose(model.history_[term][0], per_client[0, :2].mean(), rtol=1e-12)
        np.testing.assert_allclose(model.history_[term][1], per_client[1, 1:].mean(), rtol=1e-12)


def test_the_reported_loss_is_the_weighted_sum_of_the_reported_terms():
    X, y, ids = table()
    options = {"mi_weight": 0.2, "kl_weight": 0.3, "contrastive_weight": 0.4}
    model = small(modalities={"u": slice(0, 3), "v": slice(3, 6)}, **options).fit(X, y, ids)
    history = model.history_
    for suffix in ("", "_per_client"):
        expected = history[f"mse{suffix}"] + sum(
            weight * history[name.removesuffix("_weight") + suffix] for name, weight in options.items()
        )
        np.testing.assert_allclose(history[f"loss{suffix}"], expected, rtol=1e-5)
    assert history["contrastive"][0] == 0
    assert np.all(history["contrastive"][1:] > 0)


@given(order=st.permutations(range(24)))
@settings(max_examples=5)
def test_how_clients_rows_are_interleaved_in_the_table_changes_nothing(order):
    X, y, ids = table()
    rows = {k: iter(np.flatnonzero(ids == k)) for k in "abc"}
    interleaved = np.array([next(rows[ids[i]]) for i in order])  # every client's own order is kept
    one = small(n_rounds=2).fit(X, y, ids)
    other = small(n_rounds=2).fit(X[interleaved], y[interleaved], ids[interleaved])
    np.testing.assert_allclose(other.predict(X), one.predict(X), rtol=1e-4, atol=1e-5)


# ----------------------------------------------------------------------------------------- lengths of steps


@pytest.mark.parametrize("numbers", [1, 10, 25, 10**6])  # fewer than one model has, and more than all
def test_squared_lengths_are_the_same_however_few_numbers_are_taken_at_a_time(monkeypatch, numbers):
    monkeypatch.setattr("skfdrmfl.server.rounds.BLOCK", numbers)
    weights, model = normal(0, 7, 11).numpy(), normal(1, 11).numpy()
    by_hand = [float(((w - model) ** 2).sum()) for w in weights]
    np.testing.assert_allclose(squared_distances(weights, model), by_hand, rtol=1e-6)
