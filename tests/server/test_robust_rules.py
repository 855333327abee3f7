"""Rules of aggregation that do not trust every client: each against numpy, and in training."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from helpers import make_network, make_run, normal, run_round, train_together
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.optimize import minimize

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.clients.simulation import Simulation
from skfdrmfl.protocol.messages import Update
from skfdrmfl.protocol.plan import Schedule
from skfdrmfl.server.aggregation import AGGREGATIONS, PREAGGREGATIONS, Collected, aggregation_of
from skfdrmfl.server.aggregation.rules import N_STEPS

ENGINES = ("torch", "loop")
ROBUST = [name for name in AGGREGATIONS if name != "mean"]
PAIRS = [pair for pair in product(AGGREGATIONS, (None, *PREAGGREGATIONS)) if pair != ("mean", None)]
# A third of the pairs by default, one of each rule and of each way of mixing at least.
SOME = [pytest.param(*pair, marks=[pytest.mark.slow] * (i % 3 > 0)) for i, pair in enumerate(PAIRS)]
rng = np.random.default_rng(0)


# ------------------------------------------------------------------------- the rules, written out in numpy


def by_sorting(points, f):
    return np.median(points, axis=0)


def without_extremes(points, f):
    return np.array([np.mean(sorted(column)[f : len(points) - f]) for column in points.T])


def by_search(points, f):
    """The least sum of distances, found without a gradient of ours."""
    start = np.median(points, axis=0)
    found = minimize(lambda v: np.sqrt(((points - v) ** 2).sum(1) + 1e-16).sum(), start, method="BFGS", tol=1e-10)
    return found.x


def clipped(points, f):
    v = np.median(points, axis=0)
    tau = np.sort(np.linalg.norm(points - v, axis=1))[(len(points) - 1) // 2]
    for _ in range(N_STEPS):
        steps = []
        for w in points:
            length = np.linalg.norm(w - v)
            steps.append((w - v) * (tau / length if length > tau else 1.0))
        v = v + np.mean(steps, axis=0)
    return v


WRITTEN = {
    "mean": lambda points, f: points.mean(0),
    "median": by_sorting,
    "trimmed_mean": without_extremes,
    "geometric_median": by_search,
    "centered_clipping": clipped,
}


def mixed(points, f):
    out = []
    for w in points:
        nearest = sorted(range(len(points)), key=lambda i: np.linalg.norm(points[i] - w))
        out.append(points[nearest[: len(points) - f]].mean(0))
    return np.array(out)


def of_usual_length(points, f):
    lengths = np.log(np.linalg.norm(points, axis=1))
    away = np.abs(lengths - np.median(lengths))
    limit = max(np.log(2), 2 * np.median(away) / 0.6745)
    furthest = sorted(range(len(points)), key=lambda i: -away[i])[:f]
    bad = [i for i in furthest if away[i] > limit]
    return np.delete(points, bad, axis=0), f - len(bad)


def by_hand(points, rule, mixing, f):
    """The aggregate (D,) of updates (K, D)."""
    f = min(f, (len(points) - 1) // 2)
    if mixing in ("lengths", "lengths+nnm"):
        points, f = of_usual_length(points, f)
    if mixing in ("nnm", "lengths+nnm"):
        points = mixed(points, f)
    return WRITTEN[rule](points, f)


def in_one_go(points, rule, mixing, f, n_rows=None):
    """The same by the package, of one run that starts at 0."""
    n_rows = np.ones(len(points), dtype=np.int64) if n_rows is None else n_rows
    aggregate = aggregation_of(schedule(rule, mixing, f), np.zeros(points.shape[1], points.dtype), n_rows)
    aggregate.add(n_rows, points)
    return aggregate.result()


def schedule(rule, mixing, f, n_rounds=1, **options):
    return Schedule((1.0,) * n_rounds, 2, 4, 1.0, 2, aggregation=rule, preaggregation=mixing, n_byzantine=f, **options)


@pytest.mark.sampled()
@pytest.mark.parametrize(("rule", "mixing"), PAIRS)
@pytest.mark.parametrize("n", [9, 1, 2, 3, 6])
def test_each_rule_is_what_numpy_says(rule, mixing, n):
    points = np.random.default_rng(n).standard_normal((n, 4)) * 3 + 1
    for f in (0, 1, 3):
        close = {"rtol": 1e-5, "atol": 1e-5} if rule == "geometric_median" else {"rtol": 1e-12, "atol": 1e-12}
        assert_allclose(in_one_go(points, rule, mixing, f), by_hand(points, rule, mixing, f), **close)


@given(st.integers(0, 999), st.integers(1, 9), st.integers(0, 4), st.sampled_from(PAIRS))
def test_order_changes_nothing_units_change_units_and_a_shift_shifts_what_goes_by_differences(seed, n, f, pair):
    mine = np.random.default_rng(seed)
    points = mine.standard_normal((n, 5))
    expected = in_one_go(points, *pair, f)
    assert_allclose(in_one_go(points[mine.permutation(n)], *pair, f), expected, rtol=1e-9, atol=1e-9)
    assert_allclose(in_one_go(points * 1e3, *pair, f), expected * 1e3, rtol=1e-9, atol=1e-6)
    if "lengths" not in (pair[1] or ""):
        assert_allclose(in_one_go(points + 3.0, *pair, f), expected + 3.0, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("rule", "mixing"), PAIRS)
def test_equal_updates_are_returned_unchanged(rule, mixing):
    update = np.random.default_rng(1).standard_normal(6)
    assert_allclose(in_one_go(np.tile(update, (5, 1)), rule, mixing, 2), update, rtol=1e-14)


@pytest.mark.parametrize(("rule", "mixing"), [pair for pair in PAIRS if pair[0] != "mean"])
@pytest.mark.parametrize("wild", [1e3, 1e9, -1e30])
def test_wild_updates_of_fewer_than_half_leave_the_aggregate_near_the_honest(rule, mixing, wild):
    honest = np.random.default_rng(2).standard_normal((6, 8))
    points = np.concatenate([np.full((4, 8), wild), honest])
    found = in_one_go(points, rule, mixing, 4)
    assert np.linalg.norm(found - honest.mean(0)) < 6 * np.linalg.norm(honest, axis=1).max()


@pytest.mark.parametrize(("rule", "mixing"), PAIRS)
def test_a_million_rows_are_one_vote(rule, mixing):
    points = np.random.default_rng(3).standard_normal((5, 3))
    claims = np.array([10**6, 1, 1, 1, 1])
    assert_allclose(in_one_go(points, rule, mixing, 1, claims), in_one_go(points, rule, mixing, 1), rtol=0)


@pytest.mark.parametrize("f", [0, 1, 2, 3])
def test_of_odd_lengths_only_the_furthest_go_and_no_more_than_may_be_dishonest(f):
    usual = np.random.default_rng(6).standard_normal((6, 3))
    usual /= np.linalg.norm(usual, axis=1)[:, None]
    points = np.concatenate([[[9.0, 0, 0], [0, 0.01, 0]], usual])
    expected = [points, np.delete(points, 1, axis=0), usual, usual][f].mean(0)  # short by more than the other is long
    assert_allclose(in_one_go(points, "mean", "lengths", f), expected, rtol=1e-12)


def test_of_few_votes_as_many_count_as_dishonest_as_leave_a_majority():
    points = np.array([[0.0], [1.0], [5.0]])
    assert in_one_go(points, "trimmed_mean", None, 4) == [1.0]
    assert in_one_go(points[:2], "trimmed_mean", None, 4) == [0.5]


# ------------------------------------------------------------------------------------------- in training


def trained(engine, network, runs, *options, change=None, **more):
    """Where training stands after each round; `change` may alter what passes."""
    put_before = None if change is None else lambda training: Changed(training, change)
    return list(train_together(network, runs, schedule(*options, **more), engine, change=put_before))


class Changed:
    """Local training whose updates go through a function of round and update; None is silence."""

    def __init__(self, training, change):
        self._training, self._change = training, change
        self.cohort, self.sum = training.cohort, training.sum

    def average_rounds(self, *_, **__):
        """Let every round pass here."""

    def train(self, participants, broadcast):
        for update in self._training.train(participants, broadcast):
            update = self._change(broadcast.round_index, update)
            if update is not None:
                yield update


def replaced(update, replicas, weights=None, loss=None):
    """The update with numbers in the place of what some replicas send."""
    mine = np.isin(update.replicas, replicas)
    out = Update(update.replicas, update.weights.copy(), update.losses.copy())
    if weights is not None:
        out.weights[mine] = weights
    if loss is not None:
        out.losses[mine] = loss
    return out


def with_holes(run, sizes):
    """The run, its second modality at clients 1, 2, 3 and 4 alone."""
    of_client = np.empty(sum(sizes), dtype=np.int64)
    for client, rows in enumerate(run.partition.rows):
        of_client[rows] = client
    second = (of_client > 0) & (of_client < 5)
    x = run.x.clone()
    x[torch.as_tensor(~second), 3:] = 0.0
    return replace(run, x=x, present=np.column_stack([np.ones_like(second), second]))


@pytest.mark.sampled(2)
@pytest.mark.parametrize(("rule", "mixing"), [("median", None), ("mean", "lengths+nnm")])
@pytest.mark.parametrize("holes", [False, True], ids=["whole", "holes"])
def test_the_torch_engine_equals_the_loop(rule, mixing, holes):
    """A rule sees updates alone: who made them is of no account, and two rules stand for all."""
    network, sizes = make_network((3, 2)), (7, 3, 8, 5, 6, 4)
    runs = [make_run(network, sizes, seed=1), make_run(network, (5, 6, 2), seed=2)]
    if holes:
        runs[0] = with_holes(runs[0], sizes)
    last = [trained(engine, network, runs, rule, mixing, 1, n_rounds=2)[-1] for engine in ENGINES]
    for run in (0, 1):
        torch.testing.assert_close(last[0].models_of(run), last[1].models_of(run), rtol=1e-8, atol=1e-8)
    assert_allclose(last[0].losses, last[1].losses, rtol=1e-6)


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("engine", "rule", "mixing"),
    [
        *(("torch", *pair) for pair in PAIRS),
        ("loop", "median", None),
    ],
)
def test_the_model_after_a_round_is_the_rule_over_those_who_have_a_vote(engine, rule, mixing):
    """Clients without a modality have none on its encoder, nor has who does not answer."""
    network, sizes = make_network((3, 2)), (7, 3, 12, 5, 9, 4)
    run = with_holes(make_run(network, sizes), sizes)
    weights, _ = run_round(engine, network, [run], n_epochs=2)
    group_of, before = network.encoder_of(), run.start.weights.numpy()
    has = np.array([[1, 1, k in (1, 2, 3, 4)] for k in range(6)], dtype=bool)

    def silent(_, update):
        keep = update.replicas != 2
        return update.of(keep) if keep.any() else None

    (found,) = trained(engine, network, [run], rule, mixing, 1, change=silent)
    expected = before.copy()
    for group in range(3):
        votes = [k for k in range(6) if has[k, group] and k != 2]
        mine = group_of == group
        moved = weights.numpy()[votes][:, mine] - before[mine]
        if rule == "geometric_median":  # which another search finds to a few digits: it is held to numpy above
            expected[mine] += in_one_go(moved, rule, mixing, 1)
        else:
            expected[mine] += by_hand(moved, rule, mixing, 1)
    assert_allclose(found.state.weights[0].numpy(), expected, rtol=1e-9, atol=1e-11)


@pytest.mark.sampled(6)
@pytest.mark.parametrize(("rule", "mixing"), SOME)
def test_a_modality_that_nobody_votes_on_and_a_round_that_nobody_answers_stay(rule, mixing):
    network, sizes = make_network((3, 2)), (7, 3, 12)
    run = make_run(network, sizes)
    run = replace(run, present=np.column_stack([np.ones(22, dtype=bool), np.zeros(22, dtype=bool)]))
    first, second = trained("torch", network, [run], rule, mixing, 1, n_rounds=2, change=lambda t, u: None if t else u)
    of = network.encoder_of() == 2
    assert torch.equal(first.state.weights[0][of], run.start.weights[of])
    assert not torch.equal(first.state.weights[0][~of], run.start.weights[~of])
    assert torch.equal(second.state.weights, first.state.weights)
    assert not second.diverged.any()


@pytest.mark.sampled(12)
@pytest.mark.parametrize(("rule", "mixing"), SOME)
def test_a_run_ends_alike_in_any_company(rule, mixing):
    network = make_network((3,))
    runs = [make_run(network, (7, 3, 12, 5), seed=1), make_run(network, (5, 8, 3), seed=2)]
    together = trained("torch", network, runs, rule, mixing, 1, n_rounds=3)[-1]
    for i, run in enumerate(runs):
        alone = trained("torch", network, [run], rule, mixing, 1, n_rounds=3)[-1]
        torch.testing.assert_close(together.models_of(i), alone.models_of(0), rtol=1e-10, atol=1e-12)


# --------------------------------------------------------------------------- updates that are not finite


@pytest.mark.sampled(5)
@pytest.mark.parametrize(
    ("engine", "rule", "mixing"),
    [
        *((engine, "mean", None) for engine in ENGINES),
        *(("torch", *pair) for pair in (("median", None), ("trimmed_mean", "nnm"), ("mean", "lengths"))),
    ],
)
@pytest.mark.parametrize(
    "bad",
    [{"weights": -torch.inf}, {"loss": torch.nan}],
    ids=str,
)
def test_an_update_that_is_not_finite_is_as_good_as_none(engine, rule, mixing, bad):
    network, run = make_network((3,)), make_run(make_network((3,)), (7, 3, 12, 5))
    silent = trained(
        engine, network, [run], rule, mixing, 1, n_rounds=3, change=lambda t, u: drop(u, [1]) if t == 1 else u
    )
    found = trained(
        engine,
        network,
        [run],
        rule,
        mixing,
        1,
        n_rounds=3,
        change=lambda t, u: replaced(u, [1], **bad) if t == 1 else u,
    )
    assert torch.equal(found[-1].state.weights, silent[-1].state.weights)
    assert_allclose(found[-1].losses, silent[-1].losses, rtol=0)
    assert found[-1].dropped.tolist() == [[False] * 4, [False, True, False, False], [False] * 4]
    assert not found[-1].diverged.any()


def drop(update, replicas):
    keep = ~np.isin(update.replicas, replicas)
    return update.of(keep) if keep.any() else None


X = rng.standard_normal((60, 4))
Y = X[:, 0] + 0.1 * rng.standard_normal(60)
IDS = np.array(["a", "b", "c", "d", "e", "f"])[np.arange(60) % 6]


def fitted_under(monkeypatch, change, n_rounds=4, **parameters):
    """A fit whose updates are changed on their way."""
    prepare = Simulation.prepare
    monkeypatch.setattr(Simulation, "prepare", lambda self, plan: Changed(prepare(self, plan), change))
    return FDRMFLTransformer(n_rounds=n_rounds, local_epochs=1, random_state=0, tuning=None, **parameters).fit(
        X, Y, IDS
    )


@pytest.mark.parametrize("rule", ["mean", "median"])
def test_a_client_whose_updates_are_dropped_is_named_once(monkeypatch, rule):
    def change(t, update):
        return replaced(replaced(update, [2], torch.nan), [4] if t == 1 else [], loss=torch.inf)

    with pytest.warns(UserWarning, match=r"'c' in 4 rounds \(from 1 to 4\); 'e' in round 2\.") as caught:
        model = fitted_under(monkeypatch, change, aggregation=rule)
    assert [w.filename for w in caught] == [__file__]  # the line of the user
    expected = [
        {"client": "c", "reason": "update not finite", "rounds": [1, 2, 3, 4]},
        {"client": "e", "reason": "update not finite", "rounds": [2]},
    ]
    assert model.dropped_clients_ == expected
    assert np.isnan(model.history_["mse_per_client"][:, 2]).all()
    assert np.isfinite(model.history_["mse"]).all()
    found = next(f for f in model.diagnose() if f["name"] == "client left out")
    assert found["evidence"] == {
        "client 'c'": "update not finite, 4 rounds",
        "client 'e'": "update not finite, 1 rounds",
    }


@pytest.mark.parametrize("rule", ["mean", "trimmed_mean"])
def test_a_round_in_which_all_are_dropped_is_named_in_an_error(monkeypatch, rule):
    def change(t, update):
        return replaced(update, range(6), torch.nan) if t == 2 else update

    with pytest.raises(ValueError, match=r"diverged in round 3\b"):
        fitted_under(monkeypatch, change, aggregation=rule)


def test_what_was_dropped_is_kept_by_partial_fit_and_counts_on(monkeypatch):
    def change(t, update):
        return replaced(update, [2] if t in (1, 4) else [], torch.nan)

    with pytest.warns(UserWarning, match="'c' in round 2"):
        model = fitted_under(monkeypatch, change)
    with pytest.warns(UserWarning, match="'c' in round 5") as caught:
        model.partial_fit(X, Y, IDS)
    assert len(caught) == 1
    assert model.dropped_clients_ == [{"client": "c", "reason": "update not finite", "rounds": [2, 5]}]
    assert FDRMFLTransformer(n_rounds=1, tuning=None).fit(X, Y, IDS).dropped_clients_ == []


# ------------------------------------------------------------------------------------------- parameters


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_byzantine": 3}, r"n_byzantine is 3, but 6 clients take part in a round.*set it to 2 at most"),
        (
            {"n_byzantine": 1, "participation": 0.4},
            r"n_byzantine is 1, but 2 clients \(0.4 of 6\).*set it to 0 at most",
        ),
    ],
)
def test_half_of_the_clients_cannot_be_dishonest(parameters, message):
    with pytest.raises(ValueError, match=message):
        FDRMFLTransformer(aggregation="trimmed_mean", tuning=None, **parameters).fit(X, Y, IDS)


def test_collected_takes_the_place_of_the_mean_only_where_a_rule_or_mixing_asks_for_it():
    arguments = (np.zeros(3), np.ones(2, dtype=np.int64))
    assert not isinstance(aggregation_of(schedule("mean", None, 2), *arguments), Collected)
    assert all(isinstance(aggregation_of(schedule(*pair, 0), *arguments), Collected) for pair in PAIRS)


def test_updates_may_come_in_parts_and_outlive_their_buffer():
    points, ones = normal(5, 4, 3).numpy(), np.ones(2, dtype=np.int64)
    aggregate = aggregation_of(schedule("median", None, 0), np.zeros(3), np.tile(ones, 2))
    buffer = np.empty((2, 3))
    for part in (points[:2], points[2:]):
        buffer[:] = part
        aggregate.add(ones, buffer)
    assert_allclose(aggregate.result(), np.median(points, axis=0), rtol=1e-14)
