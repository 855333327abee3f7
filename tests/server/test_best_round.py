"""What early stopping leaves: which rows are held out, the best round's models, and the critic's value on them."""

import numpy as np
import pytest
import torch
from helpers import dense, make_network, make_run, run_of, split_off, tensor, train_together, written_out_forward
from numpy.testing import assert_allclose, assert_array_equal

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.protocol.plan import Schedule

rng = np.random.default_rng(0)
X = rng.standard_normal((100, 6))
NOISE = rng.standard_normal(100)
Y = X[:, 0] + NOISE  # enough to learn something, and soon too much
IDS = np.repeat(["a", "b", "c"], [55, 30, 15])
OPTIONS = {"early_stopping": True, "n_rounds": 12, "local_epochs": 2, "learning_rate": 0.03, "random_state": 0}


# -------------------------------------------------------------------------------------------- rows held out


def held_out_by(groups=None, ids=None, **options):
    """How many rows each client would hold out."""
    return run_of(
        FDRMFLTransformer(early_stopping=True, random_state=0, tuning=None, **options)._prepare_fit(X, Y, ids, groups)
    ).held_out


@pytest.mark.parametrize("percent", [7, 14, 28, 29, 55, 56, 57, 58])  # in floats some of these times 100 are too much
def test_a_fraction_of_a_hundred_rows_is_that_many_rows(percent):
    assert held_out_by(validation_fraction=percent / 100).sizes.tolist() == [percent]


def test_the_fraction_is_rounded_up_to_whole_groups_but_never_to_all():
    fives = np.arange(100) // 5
    held_out = held_out_by(fives, validation_fraction=0.07)
    assert held_out.sizes.tolist() == [10]
    assert len(np.unique(fives[held_out.rows[0]])) == 2
    halves = np.arange(100) // 50
    assert held_out_by(halves, validation_fraction=0.9).sizes.tolist() == [50]
    # Of a client whose rows are one group nothing is held out, and of all such clients nothing at all.
    held_out = held_out_by(np.where(IDS == "b", 0, np.arange(100)), IDS, validation_fraction=0.2)
    assert held_out.positions.tolist() == [0, 2]
    with pytest.raises(ValueError, match="rows that belong together; set early_stopping=False"):
        held_out_by(np.zeros(100), IDS)


# ------------------------------------------------------------------------------------------- the models kept


def models_by_round(model, X, y, ids):
    """The global model before the first round and after each, as the server passes through them."""
    fitting = model._prepare_fit(X, y, ids)
    return [run_of(fitting).start.weights, *(trained.state.weights for trained in fitting.train())]


@pytest.mark.sampled()
@pytest.mark.parametrize("history_size", [0, pytest.param(1, marks=pytest.mark.slow), 3])
@pytest.mark.parametrize(("target", "rate"), [(Y, 0.03), (Y, 0.3), (NOISE, 3.0)], ids=["some", "one", "none"])
def test_the_models_kept_are_that_of_the_best_round_and_those_before_it(history_size, target, rate):
    options = {**OPTIONS, "learning_rate": rate, "history_size": history_size, "n_iter_no_change": 4}
    model = FDRMFLTransformer(tuning=None, **options)
    passed = models_by_round(model, X, target, IDS)
    model.fit(X, target, IDS)
    best = model.best_round_
    assert best < model.n_rounds_  # or the last model would do
    expected = np.stack(passed[: best + 1][::-1][: 1 + history_size])
    assert_array_equal(model._fitted.models, expected)


def test_training_goes_on_from_the_best_round_with_the_models_that_were_earlier_then(monkeypatch):
    monkeypatch.setattr("skfdrmfl.fit.parameters.cosine_decay", lambda t, n_rounds: 1.0)
    stopped = FDRMFLTransformer(n_iter_no_change=4, contrastive_weight=0.5, tuning=None, **OPTIONS).fit(X, Y, IDS)
    best = stopped.best_round_
    assert 1 < best < stopped.n_rounds_
    ended_there = FDRMFLTransformer(contrastive_weight=0.5, tuning=None, **{**OPTIONS, "n_rounds": best}).fit(X, Y, IDS)
    assert ended_there.best_round_ == ended_there.n_rounds_ == best
    assert_array_equal(stopped._fitted.models, ended_there._fitted.models)
    assert_array_equal(stopped.transform(X), ended_there.transform(X))


@pytest.mark.slow
def test_each_of_several_runs_keeps_the_models_of_its_own_best_round():
    network, runs = make_network((4,)), []
    for seed, sizes in enumerate(([18, 9], [20], [30, 7, 5])):
        run = make_run(network, sizes, seed=seed, learning_rate=0.1)
        kept, held_out = split_off(run.partition, 0.3, seed)
        runs.append(run.__class__(**{**vars(run), "partition": kept, "held_out": held_out}))
    passed = [torch.stack([run.start.weights for run in runs])]
    for trained in train_together(network, runs, Schedule((1.0,) * 12, 2, 8, 1.0, 2, patience=3), "torch"):
        passed.append(trained.state.weights.clone())
    rounds = set()
    for i in range(3):
        best = trained.record_of(i).best_round
        rounds.add(best)
        expected = [models[i] for models in passed[: best + 1][::-1]][:3]
        assert torch.equal(trained.models_of(i), torch.stack(expected))
    assert len(rounds) == 3  # or the test shows little


# ------------------------------------------------------------------- what the critic is worth on rows held out


@pytest.mark.sampled(2)
@pytest.mark.parametrize("sizes", [[100], [70, 26, 4], [90, 10]], ids=["one", "a client without pairs", "two"])
def test_the_value_recorded_is_that_of_the_critic_on_the_rows_held_out(sizes):
    ids = np.repeat(np.arange(len(sizes)), sizes)
    model = FDRMFLTransformer(mi_weight=0.5, validation_fraction=0.2, n_iter_no_change=100, tuning=None, **OPTIONS)
    fitting = model._prepare_fit(X, Y, ids)
    run, network = run_of(fitting), fitting.plan.network
    assert run.held_out.sizes.tolist() == [-(-n // 5) for n in sizes]
    by_hand = []
    for weights in models_by_round(model, X, Y, ids)[1:]:
        views = {
            name.removeprefix("encoder."): view for name, view in network.layout.views(tensor(weights).double()).items()
        }
        values = []
        for rows in run.held_out.rows:
            if len(rows) < 2:  # nobody to be paired with
                continue
            y = tensor(run.y[rows]).double()
            _, z, _ = written_out_forward(network, views, tensor(run.x[rows]).double())
            t_joint = dense(views, "critic", 1, torch.cat((z, y), 1))
            t_marginal = dense(views, "critic", 1, torch.cat((z, y.roll(-1, 0)), 1))
            values.append(t_joint - t_marginal.exp() + 1.0)
        by_hand.append(float(torch.cat(values).mean()))
    model.fit(X, Y, ids)
    assert_allclose(model.history_["validation_mi_nwj"], by_hand, rtol=1e-4, atol=1e-5)
    assert np.ptp(by_hand) > 0.1  # or the test shows little


def test_the_value_is_recorded_with_early_stopping_only_and_is_none_without_a_critic():
    options = {**OPTIONS, "n_rounds": 2}
    assert (
        "validation_mi_nwj"
        not in FDRMFLTransformer(tuning=None, **{**options, "early_stopping": False}).fit(X, Y).history_
    )
    history = FDRMFLTransformer(mi_weight=0.0, tuning=None, **options).fit(X, Y).history_
    assert np.isnan(history["validation_mi_nwj"]).all()
    assert len(history["validation_mi_nwj"]) == len(history["validation_mse"]) == 2
    model = FDRMFLTransformer(mi_weight=0.5, tuning=None, **options).fit(X, Y).partial_fit(X, Y)
    assert np.isnan(model.history_["validation_mi_nwj"]).tolist() == [False, False, True]
    model = FDRMFLTransformer(mi_weight=0.5, warm_start=True, tuning=None, **options).partial_fit(X, Y).fit(X, Y)
    assert np.isnan(model.history_["validation_mi_nwj"]).tolist() == [True, False, False]


def test_information_that_is_not_there_is_learned_by_heart_and_found_out_on_rows_held_out():
    draw = np.random.default_rng(2)
    X, y = draw.standard_normal((90, 40)), draw.standard_normal(90)  # I(Z; y) is 0
    options = {"mi_weight": 1.0, "n_rounds": 40, "validation_fraction": 0.3, "n_iter_no_change": 40, "random_state": 0}
    model = FDRMFLTransformer(early_stopping=True, tuning=None, **options).fit(X, y, np.arange(90) % 3)
    last = slice(-10, None)
    assert model.history_["mi_nwj"][last].mean() > 0.5
    assert model.history_["validation_mi_nwj"][last].max() < 0.05
    assert model.diagnose().names == ["mi memorised"]
