"""The algorithms for clients unlike each other: each held to its formula, written out, under both engines."""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
import torch
from helpers import ENGINES, FLOAT, AdamW, federate, make_network, make_run, random_weights, sent_by, tensor
from numpy.testing import assert_allclose, assert_array_equal

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.clients.simulation import LocalTraining
from skfdrmfl.datasets import load_tecator, make_client_ids
from skfdrmfl.engines.chunk import TRAIN
from skfdrmfl.engines.rows import stack
from skfdrmfl.method.objective import Batch, lambdas_of, local_objective, reference_codes
from skfdrmfl.protocol.algorithm_state import AlgorithmState
from skfdrmfl.protocol.messages import Broadcast
from skfdrmfl.protocol.plan import ClientTask, Schedule
from skfdrmfl.server.algorithms import ALGORITHMS

FACTORS = (1.0, 0.7, 0.4)
SIZES = [9, 4, 6]
SERVER = {"server_learning_rate": 0.3, "server_momentum": 0.6, "proximal_weight": 0.7}


def as_exact(value, expected, rtol=1e-8, atol=1e-10):
    torch.testing.assert_close(value, expected, rtol=rtol, atol=atol)


def make_runs(network, **settings):
    return [
        make_run(network, SIZES, seed=1, **{**SERVER, **settings}),
        make_run(network, [5, 6, 1], seed=2, **{**SERVER, "server_learning_rate": 0.2, **settings}),
    ]


def update_of(network, run, weights, history, t, factor, *, client_task=TRAIN, shift=None, sizes=SIZES):
    """What each client of a run sends, client by client from the loop engine."""
    engine = ENGINES["loop"](network, stack([run]), batch_size=4, n_epochs=1, client_task=client_task)
    broadcast = Broadcast(weights[None], tuple(h[None] for h in history), t, factor, shift)
    return list(sent_by(engine, np.arange(len(sizes)), broadcast))


# ---------------------------------------------------------------------------------------------- all engines

FAST = sorted(engine for engine in ENGINES if engine != "loop")


@lru_cache
def trained(engine, algorithm):
    """Where some rounds of a part of the clients lead."""
    network = make_network((3, 2))
    runs = make_runs(network, proximal_weight=0.7 if algorithm == "fedprox" else 0.0)
    return federate(engine, network, runs, FACTORS, algorithm=algorithm, participation=0.6)[-1]


@pytest.mark.sampled()
@pytest.mark.parametrize("engine", FAST)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_engines_agree(algorithm, engine):
    ours, looped = (trained(name, algorithm) for name in (engine, "loop"))
    as_exact(ours.state.weights, looped.state.weights)
    assert_allclose(ours.losses, looped.losses, rtol=1e-8, atol=1e-10)
    for part in ("server", "clients"):
        mine, theirs = getattr(ours.state.memory, part), getattr(looped.state.memory, part)
        assert mine.keys() == theirs.keys()
        for name in mine:
            as_exact(mine[name], theirs[name])
    if algorithm != "fedavg":
        plain = trained("loop", "fedavg")
        assert (plain.state.weights - looped.state.weights).abs().max() > 1e-4


@pytest.mark.sampled(3)
@pytest.mark.parametrize("algorithm", [name for name in ALGORITHMS if name in ("scaffold", "fednova", "fedadam")])
def test_runs_together_are_the_runs_alone(algorithm):
    network = make_network((3, 2))
    runs = make_runs(network)
    together = federate("torch", network, runs, FACTORS, algorithm=algorithm)[-1].state.weights
    for run, weights in zip(runs, together, strict=True):
        alone = federate("torch", network, [run], FACTORS, algorithm=algorithm)[-1].state.weights[0]
        as_exact(weights, alone, rtol=1e-12, atol=1e-13)


# ------------------------------------------------------------------------------------------------ local steps


@pytest.mark.parametrize("engine", ENGINES)
def test_fedprox_steps_are_those_of_torch_with_the_pull_in_the_objective(engine):
    network = make_network((3,))
    run = make_run(network, [7], mi_weight=0.0, kl_weight=0.0, contrastive_weight=0.0, proximal_weight=0.7)
    rows = stack([run])
    (update,) = sent_by(
        ENGINES[engine](network, rows, batch_size=7, n_epochs=3),
        np.arange(1),
        Broadcast(run.start.weights[None], (), 0, 0.5),
    )
    start = run.start.weights[None].clone()
    w = start.clone().requires_grad_()
    rate = 0.5 * run.settings.learning_rate
    optimizer = AdamW(w, rate, run.settings.weight_decay)
    share = run.x.new_full((1, 7), 1 / 7)
    everything = Batch(run.x[None], torch.cat((run.y, run.y))[None], None, share, share)
    lambdas = weights_of_terms(rows)
    for _ in range(3):
        loss = local_objective(network, network.layout.views(w), everything, lambdas)["loss"].sum()
        (loss + 0.35 * (w - start).square().sum()).backward()
        optimizer.step()
    as_exact(update.weights, w.detach(), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("engine", ENGINES)
def test_fedsgd_sends_the_gradient_over_all_rows(engine):
    network = make_network((3, 2))
    run = make_run(network, [9, 70], n_history=1, mi_weight=0.0)
    start, rows = run.start, stack([run])
    # Batches of 8 x 4 rows: the second client's rows take three of unequal sizes.
    updates = sent_by(
        ENGINES[engine](network, rows, batch_size=4, n_epochs=2, client_task=ClientTask(sends_parameters=False)),
        np.arange(2),
        Broadcast(start.weights[None], (start.history[0][None],), 0, 1.0),
    )
    gradients = torch.empty(2, network.layout.size, dtype=FLOAT)
    losses = torch.empty(2, dtype=FLOAT)
    for update in updates:
        gradients[update.replicas], losses[update.replicas] = update.weights, update.losses[:, -1]
    lambdas = weights_of_terms(rows)
    for k in range(2):
        x, y = (table[rows.rows_of(k)] for table in (run.x, run.y))
        share = x.new_full((1, len(x)), 1 / len(x))
        models = [start.weights[None], start.history[0][None]]
        references = torch.stack([reference_codes(network, network.layout.views(m), x[None], None) for m in models], -2)
        w = start.weights[None].clone().requires_grad_()
        batch = Batch(x[None], torch.cat((y, y))[None], references, share, share)
        loss = local_objective(network, network.layout.views(w), batch, lambdas)["loss"].sum()
        loss.backward()
        as_exact(gradients[k], w.grad[0])
        as_exact(losses[k], loss.detach())


@pytest.mark.parametrize("engine", ["torch", "loop"])
def test_batches_of_a_pass_that_takes_no_step_are_all_rows_where_alignment_joins_them(engine):
    network = make_network((3, 2), alignment="moments")
    run = make_run(network, [70], mi_weight=0.0, contrastive_weight=0.0, kl_weight=2.0)
    (update,) = sent_by(
        ENGINES[engine](
            network, stack([run]), batch_size=4, n_epochs=2, client_task=ClientTask(sends_parameters=False)
        ),
        np.arange(1),
        Broadcast(run.start.weights[None], (), 0, 1.0),
    )
    w = run.start.weights[None].clone().requires_grad_()
    share = run.x.new_full((1, 70), 1 / 70)
    batch = Batch(run.x[None], torch.cat((run.y, run.y))[None], None, share, share)
    local_objective(network, network.layout.views(w), batch, weights_of_terms(stack([run])))["loss"].sum().backward()
    as_exact(update.weights[0], w.grad[0])


def weights_of_terms(rows):
    return lambdas_of([rows.cohort.settings[0].terms], tensor(rows.x))


# ------------------------------------------------------------------------------------------- the server's steps


def by_rows(updates, what="weights"):
    sizes = torch.tensor(SIZES, dtype=FLOAT)[:, None]
    return (sizes * torch.cat([getattr(update, what) for update in updates])).sum(0) / sum(SIZES)


def test_server_momentum_by_hand():
    network = make_network((3,))
    run = make_run(network, SIZES, **SERVER | {"proximal_weight": 0.0})
    w, momentum, history = run.start.weights, torch.zeros_like(run.start.weights), ()
    for t, factor in enumerate(FACTORS):
        average = by_rows(update_of(network, run, w, history, t, factor))
        momentum = 0.6 * momentum + (average - w)
        w, history = w + 0.3 * momentum, (w, *history)[:2]
    as_exact(federate("torch", network, [run], FACTORS, algorithm="fedavgm")[-1].state.weights[0], w)


@pytest.mark.sampled()
@pytest.mark.parametrize("engine", FAST)
@pytest.mark.parametrize(("algorithm", "trains"), [("fedadam", True), ("fedsgd", False)])
def test_server_adam_is_that_of_torch(algorithm, trains, engine):
    network = make_network((3,))
    run = make_run(network, SIZES, **SERVER | {"proximal_weight": 0.0})
    w, history = run.start.weights.clone(), ()
    decay = 0.0 if trains else run.settings.weight_decay
    optimizer = AdamW(w, 0.3, decay)
    for t, factor in enumerate(FACTORS):
        sent = by_rows(
            update_of(network, run, w.clone(), history, t, factor, client_task=ClientTask(sends_parameters=trains))
        )
        history = (w.clone(), *history)[:2]
        optimizer.lr = 0.3 * factor
        w.grad = w - sent if trains else sent
        optimizer.step()
    as_exact(federate(engine, network, [run], FACTORS, algorithm=algorithm)[-1].state.weights[0], w)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("engine", FAST)
def test_scaffold_by_hand(engine):
    network = make_network((3,))
    run = make_run(network, SIZES, **SERVER | {"proximal_weight": 0.0})
    w, history, control = run.start.weights, (), torch.zeros(3, network.layout.size, dtype=FLOAT)
    sizes = torch.tensor(SIZES, dtype=FLOAT)[:, None]
    for t, factor in enumerate(FACTORS):
        shift = (sizes * control).sum(0) / sum(SIZES) - control
        updates = update_of(
            network, run, w, history, t, factor, client_task=ClientTask(also_sends_mean_gradient=True), shift=shift
        )
        w, history = by_rows(updates), (w, *history)[:2]
        control = torch.cat([update.gradients for update in updates])
    state = federate(engine, network, [run], FACTORS, algorithm="scaffold")[-1].state
    as_exact(state.weights[0], w)
    as_exact(state.memory.clients["control"], control)


def test_the_mean_gradient_is_that_before_any_shift():
    network = make_network((3,))
    run = make_run(network, [4], proximal_weight=0.0)  # one step an epoch
    shift = random_weights(network, 1, seed=3, scale=0.1)
    engine = ENGINES["torch"](
        network, stack([run]), batch_size=4, n_epochs=1, client_task=ClientTask(also_sends_mean_gradient=True)
    )
    sent = [
        next(iter(sent_by(engine, np.arange(1), Broadcast(run.start.weights[None], (), 0, 1.0, s))))
        for s in (None, shift)
    ]
    as_exact(sent[0].gradients, sent[1].gradients)
    assert (sent[0].weights - sent[1].weights).abs().max() > 1e-4


def test_scaffold_takes_modalities_by_their_own_rows():
    """The mean of control variates of an encoder is over clients that have its modality."""
    network = make_network((2, 2))
    run = make_run(network, [6, 5])
    present = np.ones((11, 2), dtype=bool)
    present[run.partition.rows[0], 1] = False
    run = replace(run, present=present)

    schedule = Schedule((1.0,), 1, 4, 1.0, 2, algorithm="scaffold")
    members = LocalTraining(network, [run], schedule, "torch").cohort.members_of(0)
    control = random_weights(network, 2, seed=5)
    shift = tensor(ALGORITHMS["scaffold"].shift(AlgorithmState({}, {"control": control.numpy()}), members))
    of_second = network.encoder_of() == 2
    assert_allclose(shift[1][of_second], np.zeros(int(of_second.sum())), atol=1e-12)
    mean = (6 * control[0] + 5 * control[1]) / 11
    as_exact(shift[0][~of_second], (mean - control[0])[~of_second])


# ---------------------------------------------------------------------------------------------- the estimator


def test_full_gradients_do_not_depend_on_who_holds_which_row():
    X, y = load_tecator(return_X_y=True)
    fits = []
    for ids in (None, make_client_ids(y[:160], 4, "quantile")):
        model = FDRMFLTransformer(
            algorithm="fedsgd", n_rounds=15, mi_weight=0, contrastive_weight=0, random_state=0, tuning=None
        )
        fits.append(model.fit(X[:160], y[:160], client_ids=ids).predict(X[160:]))
    assert_allclose(*fits, rtol=0, atol=2e-2 * np.std(y))


def test_settings_that_an_algorithm_does_not_read_change_nothing():
    X, y = load_tecator(return_X_y=True)
    plain = FDRMFLTransformer(n_rounds=3, random_state=0, tuning=None).fit(X, y).weights_
    other = FDRMFLTransformer(
        n_rounds=3, random_state=0, proximal_weight=3.0, server_learning_rate=0.2, server_momentum=0.1, tuning=None
    ).fit(X, y)
    for name, array in plain.items():
        assert_array_equal(array, other.weights_[name])
    default, explicit = (
        FDRMFLTransformer(n_rounds=3, random_state=0, algorithm="fedadam", server_learning_rate=rate, tuning=None).fit(
            X, y
        )
        for rate in (None, 0.1)
    )
    assert_array_equal(default.transform(X), explicit.transform(X))


def test_diagnosis_of_full_gradients_asks_for_rounds_and_not_for_less_drift():
    X, y = load_tecator(return_X_y=True)
    ids = make_client_ids(y, 4, "quantile")
    few = (
        FDRMFLTransformer(algorithm="fedsgd", n_rounds=20, random_state=0, tuning=None)
        .fit(X, y, client_ids=ids)
        .diagnose()
    )
    assert "too few rounds" in few.names
    assert "client drift" not in few.names
    noisy = np.random.default_rng(0).normal(scale=np.std(y), size=len(y)) + y
    ids = make_client_ids(noisy, 4, "quantile")
    drifting = FDRMFLTransformer(n_rounds=20, random_state=0, tuning=None).fit(X, noisy, client_ids=ids).diagnose()
    assert "too few rounds" not in drifting.names
    (drift,) = (found for found in drifting if found["name"] == "client drift")
    assert "scaffold" in drift["remedy"]
