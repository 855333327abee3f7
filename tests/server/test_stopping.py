"""Early stopping: who holds out what, which round is kept, and that company changes nothing."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import evaluate, make_network, make_run, recorded, split_off, train_together
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.clients.simulation import LocalTraining
from skfdrmfl.data.partition import Partition
from skfdrmfl.engines.batches import LANES
from skfdrmfl.method.network import Network
from skfdrmfl.protocol.messages import HeldOutErrors, HeldOutSums
from skfdrmfl.protocol.plan import Schedule
from skfdrmfl.server.trained import means

rng = np.random.default_rng(0)
X = rng.standard_normal((90, 6))
NOISE = rng.standard_normal(90)
Y = X[:, 0] + np.sin(2 * X[:, 1]) + 0.3 * NOISE
IDS = np.repeat(["a", "b", "c"], [50, 30, 10])
OPTIONS = {"n_rounds": 12, "local_epochs": 2, "learning_rate": 0.03, "random_state": 0}


@given(sizes=st.lists(st.integers(1, 40), min_size=1, max_size=6), fraction=st.floats(0.01, 0.99))
def test_every_client_holds_out_its_share_but_never_its_last_row(sizes, fraction):
    partition = Partition.of_codes(np.repeat(np.arange(len(sizes)), sizes))
    if max(sizes) == 1:
        with pytest.raises(ValueError, match="early_stopping=True needs clients with two rows"):
            split_off(partition, fraction, 0)
        return
    kept, held_out = split_off(partition, fraction, 0)
    n_out = np.minimum(np.ceil(fraction * np.array(sizes)).astype(int), np.array(sizes) - 1)
    assert_array_equal(kept.sizes, sizes - n_out)
    assert_array_equal(held_out.sizes, n_out[n_out > 0])
    assert_array_equal(np.sort(np.concatenate([*kept.rows, *held_out.rows])), np.arange(sum(sizes)))


def test_the_model_kept_is_that_of_the_round_with_the_least_error():
    target = X[:, 0] + NOISE  # enough to learn something, and soon too much
    stopped = FDRMFLTransformer(early_stopping=True, n_iter_no_change=3, tuning=None, **OPTIONS).fit(X, target, IDS)
    errors = stopped.history_["validation_mse"]
    assert 1 < stopped.best_round_ == errors.argmin() + 1 < OPTIONS["n_rounds"]
    assert len(errors) == stopped.n_rounds_ == len(stopped.history_["mse"])
    assert stopped.n_rounds_ == min(OPTIONS["n_rounds"], stopped.best_round_ + 3)
    # The same rounds without patience pass through that very model.
    patient = FDRMFLTransformer(early_stopping=True, n_iter_no_change=100, tuning=None, **OPTIONS).fit(X, target, IDS)
    assert_array_equal(patient.history_["validation_mse"][: stopped.n_rounds_], errors)
    assert patient.n_rounds_ == OPTIONS["n_rounds"]
    if patient.best_round_ == stopped.best_round_:
        assert_array_equal(patient.transform(X), stopped.transform(X))


def test_the_error_is_that_of_the_rows_held_out():
    model = FDRMFLTransformer(early_stopping=True, validation_fraction=0.3, tuning=None, **OPTIONS).fit(X, Y, IDS)
    _, codes = np.unique(IDS, return_inverse=True)
    kept, held_out = split_off(Partition.of_codes(codes), 0.3, 0)
    rows, scale = np.concatenate(held_out.rows), Y[np.concatenate(kept.rows)].std()
    error = np.mean((model.predict(X[rows]) - Y[rows]) ** 2) / scale**2
    assert_allclose(error, model.history_["validation_mse"].min(), rtol=1e-4)
    assert_array_equal(model.n_samples_per_client_, [50, 30, 10])


def test_rows_held_out_teach_nothing():
    _, codes = np.unique(IDS, return_inverse=True)
    _, held_out = split_off(Partition.of_codes(codes), 0.2, 0)
    rows = np.concatenate(held_out.rows)
    other = Y.copy()
    other[rows] += 1e-9 * np.arange(len(rows))  # so little that no other round becomes the best
    options = {"early_stopping": True, "validation_fraction": 0.2, **OPTIONS}
    models = [FDRMFLTransformer(tuning=None, **options).fit(X, y, IDS) for y in (Y, other)]
    assert_array_equal(models[0].transform(X), models[1].transform(X))


def test_both_engines_stop_in_the_same_round():
    models = [
        FDRMFLTransformer(early_stopping=True, engine=engine, tuning=None, **OPTIONS).fit(X, Y, IDS)
        for engine in ("torch", "auto")
    ]
    assert models[0].best_round_ == models[1].best_round_
    assert_allclose(models[0].history_["validation_mse"], models[1].history_["validation_mse"], rtol=1e-4)


@pytest.mark.slow
def test_runs_that_stop_at_different_times_end_as_each_would_alone():
    network = make_network((4,))
    runs = []
    for seed, sizes in enumerate(([18, 9], [20], [30, 7, 5])):
        run = make_run(network, sizes, seed=seed, learning_rate=0.1)
        kept, held_out = split_off(run.partition, 0.3, seed)
        runs.append(run.__class__(**{**vars(run), "partition": kept, "held_out": held_out}))
    schedule = Schedule((1.0,) * 15, 2, 8, 1.0, 2, patience=2)
    together = list(train_together(network, runs, schedule, "torch"))[-1]
    lengths = set()
    for i, run in enumerate(runs):
        alone = list(train_together(network, [run], schedule, "torch"))[-1]
        lengths.add(alone.n_rounds)
        torch.testing.assert_close(together.models_of(i)[0], alone.models_of(0)[0], rtol=1e-10, atol=1e-12)
        mine, theirs = together.record_of(i), alone.record_of(0)
        assert mine.best_round == theirs.best_round
        assert_allclose(recorded(mine, "losses"), recorded(theirs, "losses"), rtol=1e-8)
        assert_allclose(mine.validation, theirs.validation, rtol=1e-8)
    assert len(lengths) > 1  # or the test shows nothing


def test_partial_fit_goes_on_from_the_best_round_and_holds_nothing_out():
    model = FDRMFLTransformer(early_stopping=True, n_iter_no_change=2, tuning=None, **OPTIONS).fit(X, Y, IDS)
    n_rounds = model.n_rounds_
    model.partial_fit(X, Y, IDS)
    assert model.n_rounds_ == n_rounds + 1 == len(model.history_["validation_mse"])
    assert np.isnan(model.history_["validation_mse"][-1])


def test_where_no_round_helps_the_first_weights_are_kept():
    model = FDRMFLTransformer(early_stopping=True, n_iter_no_change=3, tuning=None, **{**OPTIONS, "learning_rate": 3.0})
    model.fit(X, NOISE, IDS)
    assert model.best_round_ == 0
    assert model.n_rounds_ == 3
    assert model.history_["validation_mse"].min() > 1.2
    untrained = FDRMFLTransformer(
        tuning=None, **{**OPTIONS, "learning_rate": 1e-12, "weight_decay": 0.0, "n_rounds": 1}
    )
    _, codes = np.unique(IDS, return_inverse=True)
    kept, _ = split_off(Partition.of_codes(codes), 0.1, 0)
    rows = np.sort(np.concatenate(kept.rows))
    untrained.fit(X[rows], NOISE[rows], IDS[rows])
    assert_allclose(model.predict(X), untrained.predict(X), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("at_a_time", [1, 150, 400, 10**6])
def test_errors_are_the_same_however_few_numbers_go_through_the_network_at_a_time(monkeypatch, at_a_time):
    network = make_network((4,))
    runs, expected = [], []
    for seed, sizes in enumerate(([40], [45, 3], [38], [9])):  # three hold out as many rows but for padding
        run = make_run(network, sizes, seed=seed)
        kept, held_out = split_off(run.partition, 0.99, seed)
        runs.append(replace(run, partition=kept, held_out=held_out))
        rows = np.concatenate(held_out.rows)
        _, predicted = evaluate(network, network.arrays(run.start.weights), run.x[rows])
        expected.append(np.mean((predicted - run.y[rows].numpy()) ** 2))
    gathered = []
    forward = Network.forward

    def watched(self, views, x, *arguments, **options):
        gathered.append(x.numel())
        return forward(self, views, x, *arguments, **options)

    monkeypatch.setattr("skfdrmfl.engines.held_out.SLAB", at_a_time)
    monkeypatch.setattr(Network, "forward", watched)
    weights = np.stack([run.start.weights.numpy() for run in runs])
    training = LocalTraining(network, runs, Schedule((), 1, 8, 1.0, 0), "torch")
    (sums,) = training.sum(HeldOutErrors(weights, np.ones(len(runs), dtype=bool)))
    found = [means(HeldOutSums(*(part[i] for part in sums)))[0] for i in range(len(runs))]
    assert_allclose(found, expected, rtol=1e-10)
    assert max(gathered) <= max(at_a_time, LANES * 4)  # of one run, and of its rows, never fewer
