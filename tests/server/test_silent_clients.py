"""Clients who are invited but do not answer: the aggregate is that of those who do, and nothing else happens."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import make_network, make_run, normal, run_round, split_off, tensor, train_together
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.clients.simulation import Simulation
from skfdrmfl.method.objective import record_names, term_names
from skfdrmfl.protocol.messages import Update
from skfdrmfl.protocol.plan import Schedule
from skfdrmfl.server.aggregation import Average
from skfdrmfl.server.history import extend_history

SIZES = (7, 3, 12, 5)


class Patchy:
    """Local training in which some replicas' updates are lost on the way: `lost` says whose, round by round."""

    def __init__(self, training, lost):
        self._training, self._lost = training, lost
        self.cohort, self.sum = training.cohort, training.sum

    def average_rounds(self, *_, **__):
        """Let every round pass here."""

    def train(self, participants, broadcast):
        lost = self._lost[broadcast.round_index]
        for update in self._training.train(participants, broadcast):
            answers = ~np.isin(update.replicas, lost)
            if answers.any():
                yield Update(update.replicas[answers], update.weights[answers], update.losses[answers])


def run_through(engine, network, runs, lost, **options):
    """Where training stands after each round in which `lost` replicas are silent."""
    schedule = Schedule((1.0,) * len(lost), 2, 4, 1.0, 2, **options)
    return list(train_together(network, runs, schedule, engine, change=lambda training: Patchy(training, lost)))


def by_hand(engine, network, run, stands, t, answered):
    """The model after round t, a mean over `answered`, given where training stood before."""
    if t:
        state = stands[t - 1].state
        run = replace(
            run, start=replace(run.start, weights=state.weights[0], history=tuple(h[0] for h in state.history))
        )
    weights, losses = run_round(engine, network, [run], round_index=t, n_epochs=2)
    sizes = torch.as_tensor(run.partition.sizes[answered]).to(weights)
    mean = (sizes[:, None] * weights[answered]).sum(0) / sizes.sum()
    return mean, weights, losses, run.start.weights


def as_exact(value, expected):
    torch.testing.assert_close(value, expected, rtol=1e-10, atol=1e-12)


def test_the_model_is_the_mean_over_those_who_answered():
    network, lost = make_network((3, 2)), [[], [1], [0, 2, 3], [2]]
    run = make_run(network, SIZES)
    stands = run_through("torch", network, [run], lost)
    for t, silent in enumerate(lost):
        answered = np.setdiff1d(np.arange(4), silent)
        mean, _, losses, _ = by_hand("torch", network, run, stands, t, answered)
        as_exact(stands[t].state.weights[0], mean)
        recorded = stands[t].losses[t]
        assert np.isnan(recorded[silent]).all()
        assert np.isfinite(recorded[answered]).all()
        assert_allclose(recorded[answered, term_names().index("loss")], losses["loss"][answered], rtol=1e-9)
    assert len(stands) == len(lost)
    assert not stands[-1].diverged.any()


@pytest.mark.parametrize("patience", [None, 3])
def test_a_round_that_nobody_answers_keeps_the_model_and_records_no_means(patience):
    network, everyone = make_network((3,)), [0, 1, 2, 3]
    run = make_run(network, SIZES)
    if patience:
        kept, held_out = split_off(run.partition, 0.3, 0)
        run = replace(run, partition=kept, held_out=held_out)
    stands = run_through("torch", network, [run], [[], everyone, [], everyone], patience=patience)
    assert len(stands) == 4
    for t in (1, 3):
        assert torch.equal(stands[t].state.weights, stands[t - 1].state.weights)
    assert not torch.equal(stands[2].state.weights, stands[1].state.weights)
    assert not stands[-1].diverged.any()
    history = extend_history({}, stands[-1].record_of(0), 4)
    for name in record_names():
        assert np.isnan(history[name]).tolist() == [False, True, False, True]
        assert np.isnan(history[f"{name}_per_client"]).all(1).tolist() == [False, True, False, True]
    if patience:
        validation = history["validation_mse"]
        assert validation[1] == validation[0]
        assert validation[3] == validation[2]


def test_means_of_the_history_are_over_those_who_answered():
    network, run = make_network((3,)), make_run(make_network((3,)), SIZES)
    stands = run_through("torch", network, [run], [[1, 3]])
    history = extend_history({}, stands[-1].record_of(0), 4)
    for name in record_names():
        answered = history[f"{name}_per_client"][0, [0, 2]]
        assert_allclose(history[name][0], (7 * answered[0] + 12 * answered[1]) / 19, rtol=1e-12)


def test_silence_in_one_run_is_of_no_consequence_to_another():
    network = make_network((3,))
    runs = [make_run(network, (6, 4), seed=1), make_run(network, (5, 8, 3), seed=2)]
    together = run_through("torch", network, runs, [[0, 1], [0], []])[-1]
    whole = run_through("torch", network, runs[1:], [[], [], []])[-1]
    patchy = run_through("torch", network, runs[:1], [[0, 1], [0], []])[-1]
    as_exact(together.models_of(1), whole.models_of(0))
    as_exact(together.models_of(0), patchy.models_of(0))
    assert not together.diverged.any()


def test_where_rows_lack_modalities_each_group_of_parameters_is_the_mean_over_its_own():
    network = make_network((3, 2))
    run = make_run(network, SIZES)
    of_client = np.empty(sum(SIZES), dtype=np.int64)
    for client, rows in enumerate(run.partition.rows):
        of_client[rows] = client
    # The second modality is at clients 1 and 2 alone, and with half of the rows of 2.
    second = (of_client == 1) | ((of_client == 2) & (np.arange(sum(SIZES)) % 2 == 0))
    present = np.column_stack([np.ones_like(second), second])
    x = run.x.clone()
    x[torch.as_tensor(~second), 3:] = 0.0
    run = replace(run, x=x, present=present)
    counts = np.array([[n, n, int(second[of_client == k].sum())] for k, n in enumerate(SIZES)])
    group_of = tensor(network.encoder_of())
    for lost in ([], [1], [0], [1, 2], [0, 3], [0, 1, 2, 3]):
        stands = run_through("torch", network, [run], [lost])
        answered = np.setdiff1d(np.arange(4), lost)
        _, weights, _, before = by_hand("torch", network, run, stands, 0, answered)
        expected = before.clone()
        for group in range(3):
            n_rows = torch.as_tensor(counts[answered, group]).to(weights)
            if n_rows.sum() > 0:
                mean = (n_rows[:, None] * weights[answered]).sum(0) / n_rows.sum()
                expected = torch.where(group_of == group, mean, expected)
        as_exact(stands[0].state.weights[0], expected)
        assert not stands[0].diverged.any()


@given(st.lists(st.integers(1, 50), min_size=1, max_size=9), st.integers(0, 99), st.integers(1, 3))
def test_when_all_answer_the_bits_are_those_of_the_plain_weighted_sum(sizes, seed, n_groups):
    n_rows = np.array(sizes)[:, None] * np.ones((1, n_groups), dtype=np.int64)
    n_rows[:, 1:] = np.random.default_rng(seed).integers(0, 5, n_rows[:, 1:].shape)
    origin, returned = normal([seed, 0], 6).float(), normal([seed, 1], len(sizes), 6).float()
    group_of = np.arange(6) % n_groups
    average = Average(origin.numpy(), n_rows, group_of)
    average.add(n_rows, returned.numpy())
    expected, total = torch.zeros_like(origin), n_rows.sum(0)
    for mine, rows in zip(returned, n_rows, strict=True):
        expected += mine * torch.as_tensor(rows / np.maximum(total, 1), dtype=torch.float32)[group_of]
    expected = torch.where(torch.as_tensor(total == 0)[group_of], origin, expected)
    assert torch.equal(torch.as_tensor(average.result()), expected)


@given(st.integers(0, 999), st.integers(1, 8), st.integers(1, 3))
def test_the_mean_over_those_who_answered_is_the_one_of_inviting_them_alone(seed, n_clients, n_groups):
    rng = np.random.default_rng(seed)
    n_rows = rng.integers(0, 9, (n_clients, n_groups))
    origin, returned = normal([seed, 0], 6).numpy(), normal([seed, 1], n_clients, 6).numpy()
    group_of = np.arange(6) % n_groups
    answered = np.flatnonzero(rng.random(n_clients) < 0.5)
    some, alone = Average(origin, n_rows, group_of), Average(origin, n_rows[answered], group_of)
    if not len(answered):
        assert_array_equal(some.result(), origin)
        return
    for average in (some, alone):
        average.add(n_rows[answered], returned[answered])
    assert_allclose(some.result(), alone.result(), rtol=1e-10, atol=1e-12)


def test_a_fit_goes_on_when_clients_fall_silent(monkeypatch):
    rng = np.random.default_rng(0)
    X, ids = rng.standard_normal((40, 3)), np.repeat(["a", "b", "c"], [20, 12, 8])
    lost = [[1], [], [0, 1, 2], [2]]
    prepare = Simulation.prepare
    monkeypatch.setattr(Simulation, "prepare", lambda self, plan: Patchy(prepare(self, plan), lost))
    model = FDRMFLTransformer(n_rounds=4, local_epochs=1, random_state=0, tuning=None).fit(X, X[:, 0], ids)
    answered = ~np.isnan(model.history_["mse_per_client"])
    assert_array_equal(answered, [[k not in silent for k in range(3)] for silent in lost])
    assert np.isnan(model.history_["mse"]).tolist() == [False, False, True, False]
    assert model.n_rounds_ == 4
    assert np.isfinite(model.transform(X)).all()
    model.diagnose()  # without a warning
