"""The engines against each other, against torch.optim, and against what a federation may and may not do."""

from functools import cache

import numpy as np
import pytest
import torch
from helpers import (
    ENGINES,
    FLOAT,
    AdamW,
    federate,
    in_float32,
    make_network,
    make_run,
    make_settings,
    normal,
    random_weights,
    run_round,
    sent_by,
    written_out_objective,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.adam import plain_adam_step_
from oracles.order import permutation
from torch.nn.functional import normalize

from skfdrmfl.data.partition import Partition
from skfdrmfl.engines import torch as torch_engine
from skfdrmfl.engines.rows import Run, stack
from skfdrmfl.method.equations import optimizers as optimizer
from skfdrmfl.protocol.plan import Start

# Those that the oracle, equal to them, need not be held to again.
PACKAGED = [name for name in ENGINES if name != "loop"]


def exact(value, expected, rtol=1e-9, atol=1e-11):
    torch.testing.assert_close(value, expected, rtol=rtol, atol=atol, equal_nan=True)


def trained(network, runs, engine, *, rate_factors=(1.0, 0.7, 0.2), **options):
    """The records of a few rounds."""
    return federate(engine, network, runs, rate_factors, **options)


def written_out_training(network, x, y, run, *, orders, batch_size, models, rate, fusion="concat"):
    """Local training of one client by torch.optim.AdamW: `orders` of its rows, an epoch each.

    `models` are the broadcast model and earlier global ones, flat; returns the flat parameters.
    """
    s = run.settings
    w = models[0].clone().requires_grad_()
    opt = AdamW(w, rate, s.weight_decay)
    references = None
    if len(models) > 1:
        with torch.no_grad():
            z = [network.forward(network.layout.views(m[None]), x[None]).z[0] for m in models]
        references = torch.stack([normalize(each, dim=-1, eps=0.0) for each in z], 1)
    for order in orders:
        order = torch.as_tensor(order)
        for batch in order.split(batch_size):
            loss = written_out_objective(
                network,
                network.layout.views(w),
                x[batch],
                y[batch],
                None if references is None else references[batch],
                s,
                fusion,
            )
            loss.backward()
            opt.step()
            with torch.no_grad():
                for name in network.encoders:
                    first = network.layout.views(w)[f"{name}.weight0"]
                    first.copy_(torch.sign(first) * torch.relu(first.abs() - rate * s.input_l1))
    return w.detach()


# ------------------------------------------------------------------------------------------ the optimiser


def fresh_moments(w):
    return torch.zeros_like(w), torch.zeros_like(w), torch.zeros(())


@pytest.mark.parametrize("step", [optimizer.adam_step_, plain_adam_step_])
@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_the_optimiser_is_torchs_adamw(step, decay):
    w = normal(0, 3, 40)
    theirs = w.clone().requires_grad_()
    opt = AdamW(theirs, 0.03, decay)
    state = fresh_moments(w)
    for t in range(6):
        gradient = 10.0 ** (2 - t) * normal([1, t], 3, 40)
        theirs.grad = gradient.clone()
        opt.step()
        step(w, gradient, *state, 0.03, decay)
        exact(w, theirs.detach(), rtol=1e-12, atol=1e-13)


def test_the_optimisers_bias_correction_holds_for_many_steps():
    # The count of steps is a float32: it must not round, nor its power lose the correction.
    one, other = torch.ones(4, dtype=FLOAT), torch.ones(4, dtype=FLOAT)
    states = [fresh_moments(w) for w in (one, other)]
    gradient = torch.tensor([1.0, -1.0, 1e-3, 0.0], dtype=FLOAT)
    for _ in range(3000):
        plain_adam_step_(one, gradient, *states[0], 1e-3, 0.1)
        optimizer.adam_step_(other, gradient, *states[1], 1e-3, 0.1)
    exact(other, one, rtol=1e-9)


# --------------------------------------------------------------------------------- one client, centralised


@cache
def centralised(n_history, fusion):
    """A network, one client, and where torch.optim's AdamW leads it."""
    network = make_network((3, 2, 2), q=2, head_hidden=(3,), fusion=fusion)
    run = make_run(network, [12], n_history=n_history, input_l1=0.05)
    rows = run.partition.rows[0]
    expected = written_out_training(
        network,
        run.x[rows],
        run.y[rows],
        run,
        orders=[permutation(run.seed, 6, 0, epoch, 12) for epoch in range(3)],
        batch_size=4,
        models=[run.start.weights, *run.start.history],
        rate=0.5 * run.settings.learning_rate,
        fusion=fusion,
    )
    return network, run, expected


@pytest.mark.sampled()
@pytest.mark.parametrize("n_history", [0, 2])
@pytest.mark.parametrize(
    ("fusion", "engine"), [*(("concat", engine) for engine in ENGINES), ("mean", "torch"), ("mean", "loop")]
)
def test_one_client_is_centralised_training_with_adamw(engine, n_history, fusion):
    network, run, expected = centralised(n_history, fusion)
    weights, _ = run_round(engine, network, [run], batch_size=4, n_epochs=3, round_index=6, rate_factor=0.5)
    exact(weights[0], expected)


@cache
def averaged():
    """A network, clients, and where each round leads them: AdamW for each by itself, then the mean by rows."""
    network = make_network((3, 2))
    sizes = (8, 4, 12)
    run = make_run(network, sizes)
    w, history, models = run.start.weights, [], []
    for t, factor in enumerate((1.0, 0.6)):
        total = torch.zeros_like(w)
        for k, rows in enumerate(run.partition.rows):
            local = written_out_training(
                network,
                run.x[rows],
                run.y[rows],
                run,
                orders=[permutation(run.seed, t, k, epoch, len(rows)) for epoch in range(2)],
                batch_size=4,
                models=[w, *history],
                rate=factor * run.settings.learning_rate,
            )
            total += local * len(rows) / sum(sizes)
        history, w = [w], total
        models.append(w)
    return network, run, models


@pytest.mark.parametrize("engine", ENGINES)
def test_federated_averaging_is_centralised_training_of_each_client_then_the_mean_by_rows(engine):
    network, run, models = averaged()
    records = trained(network, [run], engine, rate_factors=(1.0, 0.6), history_size=1, n_epochs=2)
    for record, expected in zip(records, models, strict=True):
        exact(record.state.weights[0], expected)


@pytest.mark.sampled()
@pytest.mark.parametrize("engine", PACKAGED)
@pytest.mark.parametrize("k", [2, 5])
def test_identical_clients_on_full_batches_are_one_client(engine, k):
    network = make_network((3, 2))
    one = make_run(network, [6], mi_weight=0.0)  # the cyclic shift of the information term is the order's
    n = len(one.x)
    copies = Partition(np.arange(k), [n * i + one.partition.rows[0] for i in range(k)])
    many = Run(one.x.repeat(k, 1), one.y.repeat(k, 1), copies, one.settings, one.seed, Start(one.start.weights))
    options = {"batch_size": 6, "n_epochs": 3, "rate_factors": (1.0, 1.0, 0.5, 0.5)}
    alone, together = (trained(network, [run], engine, **options)[-1].state for run in (one, many))
    exact(together.weights, alone.weights)
    assert (alone.weights - one.start.weights).abs().max() > 0.01


@pytest.mark.parametrize("engine", ENGINES)
def test_reported_terms_are_means_over_the_clients_steps(engine):
    network = make_network((3,))
    run = make_run(network, [4, 1], contrastive_weight=0.0)
    # Steps so small that the weights stand still: every step then sees the same model.
    still = Run(run.x, run.y, run.partition, make_settings(learning_rate=1e-12), run.seed, Start(run.start.weights))
    _, losses = run_round(engine, network, [still], batch_size=2, n_epochs=3)
    for k, rows in enumerate(run.partition.rows):
        y_hat = network.forward(network.layout.views(run.start.weights[None]), run.x[rows][None]).y_hat[0]
        torch.testing.assert_close(losses["mse"][k], (y_hat - run.y[rows]).square().mean(), rtol=1e-6, atol=0.0)


# --------------------------------------------------------------------------------- torch engine = plain loop

run_settings = st.fixed_dictionaries(
    {
        "learning_rate": st.sampled_from([0.003, 0.01]),
        "weight_decay": st.sampled_from([0.0, 0.3]),
        "input_l1": st.sampled_from([0.0, 0.1]),
        "mi_weight": st.sampled_from([0.0, 0.2]),
        "kl_weight": st.sampled_from([0.0, 0.1]),
        "contrastive_weight": st.sampled_from([0.0, 0.3]),
        "temperature": st.sampled_from([0.2, 0.5]),
    }
)
ragged = st.lists(st.one_of(st.integers(1, 3), st.integers(1, 13)), min_size=1, max_size=4)
federations = st.lists(st.tuples(ragged, run_settings), min_size=1, max_size=2)
networks = st.sampled_from(
    [
        ((3,), {}),
        ((3, 2), {"head_hidden": (3,), "q": 2}),
        ((2, 1, 2), {"fusion": "mean", "hidden": (4, 3), "c": 1}),
        ((3, 2), {"hidden": (), "c": 3}),
    ]
)


@settings(max_examples=settings().max_examples // 3)
@given(
    federations=federations,
    network=networks,
    batch_size=st.integers(1, 6),
    n_epochs=st.integers(1, 2),
    participation=st.sampled_from([0.5, 1.0]),
    history_size=st.integers(0, 2),
)
def test_the_torch_engine_is_the_loop(federations, network, batch_size, n_epochs, participation, history_size):
    network = make_network(network[0], **network[1])
    runs = [
        make_run(network, sizes, seed=i, n_history=min(1, history_size), **changes)
        for i, (sizes, changes) in enumerate(federations)
    ]
    options = {
        "batch_size": batch_size,
        "n_epochs": n_epochs,
        "participation": participation,
        "history_size": history_size,
    }
    ours, loop = (trained(network, runs, engine, rate_factors=(1.0, 0.7), **options) for engine in ("torch", "loop"))
    assert len(ours) == len(loop) == 2
    for mine, theirs in zip(ours, loop, strict=True):
        exact(mine.state.weights, theirs.state.weights, rtol=1e-8, atol=1e-8)
        np.testing.assert_allclose(mine.losses, theirs.losses, rtol=1e-7, atol=1e-8, equal_nan=True)
        assert not mine.diverged.any()
        assert not theirs.diverged.any()
    assert (ours[-1].state.weights - torch.stack([run.start.weights for run in runs])).abs().max() > 1e-3


@pytest.mark.sampled(2)
@pytest.mark.parametrize("engine", PACKAGED)
def test_a_run_in_company_is_the_run_alone(engine):
    network = make_network((3, 2))
    runs = [
        make_run(network, [7, 2, 1], seed=0, n_history=1),
        make_run(network, [4, 9], seed=1, n_history=1, learning_rate=0.02, mi_weight=0.0),
        make_run(network, [5], seed=2, n_history=1, kl_weight=0.0, temperature=0.2, weight_decay=0.0),
        make_run(network, [3, 3, 3], seed=3, n_history=1, contrastive_weight=0.0, input_l1=0.2),
    ]
    together = trained(network, runs, engine)
    first = 0
    for i, run in enumerate(runs):
        alone = trained(network, [run], engine)
        stop = first + len(run.partition.rows)
        for mine, theirs in zip(together, alone, strict=True):
            exact(mine.state.weights[i], theirs.state.weights[0])
            np.testing.assert_allclose(mine.losses[first:stop], theirs.losses, rtol=1e-9, atol=1e-11)
        first = stop


@pytest.mark.sampled(2)
@pytest.mark.parametrize("sizes", [[4, 9], [33, 17, 5, 1]])
def test_a_run_in_company_ends_in_the_same_bits_as_alone(sizes):
    # Chaos would otherwise make a search's scores depend on which candidates are searched together.
    network = make_network((10,), d=8, hidden=(32,))  # the default widths

    run = in_float32(make_run(network, sizes, n_history=1))
    alone = trained(network, [run], "torch")[-1].state.weights[0]
    for others, place in (([[3]], 0), ([[40, 1, 1], [5, 5]], -1), ([[16] * 9], 0)):
        company = [in_float32(make_run(network, other, seed=1 + i, n_history=1)) for i, other in enumerate(others)]
        runs = [*company, run] if place else [run, *company]
        assert torch.equal(trained(network, runs, "torch")[-1].state.weights[place], alone)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("term", ["mi_weight", "kl_weight", "contrastive_weight"])
def test_a_term_that_one_run_uses_leaves_no_trace_in_a_run_that_does_not(term):
    # Unequal rates train them one after another, equal ones side by side.
    network = make_network((3, 2))
    for rate in (0.01, 0.02):
        runs = [
            make_run(network, [5, 3], seed=0, n_history=1, **{term: 0.0}),
            make_run(network, [5, 3], seed=1, n_history=1, learning_rate=rate),
        ]
        alone = trained(network, runs[:1], "loop", rate_factors=(1.0, 0.7))
        for i, order in enumerate((runs, runs[::-1])):
            together = trained(network, order, "torch", rate_factors=(1.0, 0.7))
            for mine, theirs in zip(together, alone, strict=True):
                exact(mine.state.weights[i], theirs.state.weights[0])
                np.testing.assert_allclose(mine.losses[2 * i : 2 * i + 2], theirs.losses, rtol=1e-9)


@pytest.mark.slow
def test_float32_training_stays_close_to_float64():
    network = make_network((3, 2))
    run = make_run(network, [7, 3, 1])
    single = in_float32(run)
    for engine in ENGINES:
        mine, theirs = (trained(network, [r], engine)[-1].state.weights for r in (single, run))
        assert mine.dtype == torch.float32
        torch.testing.assert_close(mine.double(), theirs, rtol=1e-3, atol=1e-4)


# ------------------------------------------------------------------------- what must not change anything


@settings(max_examples=settings().max_examples // 5)
@given(sizes=ragged.filter(lambda s: len(s) > 1), data=st.data())
def test_the_order_in_which_clients_are_stacked_changes_nothing(sizes, data):
    network = make_network((3, 2))
    run = make_run(network, sizes, n_history=1)
    order = np.array(data.draw(st.permutations(range(len(sizes)))))
    shuffled = Run(
        run.x,
        run.y,
        Partition(run.partition.positions[order], [run.partition.rows[k] for k in order]),
        run.settings,
        run.seed,
        run.start,
    )
    for engine in PACKAGED:
        weights, losses = run_round(engine, network, [run])
        other_weights, other_losses = run_round(engine, network, [shuffled])
        exact(other_weights, weights[order])
        exact(other_losses, {term: value[order] for term, value in losses.items()})


@pytest.mark.sampled(4)
@pytest.mark.parametrize(("chunk_bytes", "window_bytes"), [(1, 10**9), (10**9, 1), (30_000, 400)])
def test_the_sizes_of_chunks_and_windows_change_nothing(monkeypatch, chunk_bytes, window_bytes):
    network = make_network((3, 2))
    runs = [make_run(network, [9, 4, 4, 1, 13], seed=i, n_history=1, input_l1=0.1) for i in range(2)]
    monkeypatch.setattr(torch_engine, "CHUNK_BYTES", 10**9)
    monkeypatch.setattr(torch_engine, "WINDOW_BYTES", 10**9)
    weights, losses = run_round("torch", network, runs)
    monkeypatch.setattr(torch_engine, "CHUNK_BYTES", chunk_bytes)
    monkeypatch.setattr(torch_engine, "WINDOW_BYTES", window_bytes)
    backend = torch_engine.TorchEngine(network, stack(runs), batch_size=4, n_epochs=2)
    broadcast = torch_engine.Broadcast(torch.stack([run.start.weights for run in runs]), (), 0, 1.0)
    n_chunks = len(list(backend.run_round(np.arange(10), broadcast)))
    assert n_chunks == 1 if chunk_bytes == 10**9 else n_chunks > 1
    other_weights, other_losses = run_round("torch", network, runs)
    exact(other_weights, weights)
    exact(other_losses, losses)


def test_padding_to_a_long_client_changes_nothing_for_the_others():
    network = make_network((3, 2))
    run = make_run(network, [5, 1, 3, 40], n_history=2)
    weights, losses = run_round("torch", network, [run], batch_size=40)  # all in one step, padded to 40
    for k in range(4):
        alone, alone_losses = run_round("torch", network, [run], participants=[k], batch_size=40)
        exact(alone[k], weights[k])
        exact({t: v[k] for t, v in alone_losses.items()}, {t: v[k] for t, v in losses.items()})


@pytest.mark.sampled(2)
@pytest.mark.parametrize("engine", PACKAGED)
def test_a_client_draws_the_same_whoever_else_participates_and_wherever_it_stands(engine):
    network = make_network((3, 2))
    run = make_run(network, [9, 2, 6, 1], positions=[4, 0, 7, 2], n_history=1)
    weights, losses = run_round(engine, network, [run], round_index=3)
    for participants in ([2], [0, 2], [1, 2, 3]):
        some, some_losses = run_round(engine, network, [run], participants=participants, round_index=3)
        exact(some[participants], weights[participants])
        for term, value in losses.items():
            exact(some_losses[term][participants], value[participants])
        absent = np.setdiff1d(np.arange(4), participants)
        assert some[absent].isnan().all()
    # The same rows at another position, or in another round, are shuffled otherwise.
    moved = Run(
        run.x,
        run.y,
        Partition(np.array([4, 0, 8, 2]), run.partition.rows),
        run.settings,
        run.seed,
        run.start,
    )
    assert not torch.allclose(run_round(engine, network, [moved], round_index=3)[0][2], weights[2], atol=1e-6)
    assert not torch.allclose(run_round(engine, network, [run], round_index=4)[0][2], weights[2], atol=1e-6)


@pytest.mark.parametrize("engine", PACKAGED)
def test_training_moves_neither_the_broadcast_nor_the_rows(engine):
    network = make_network((3, 2))
    run = make_run(network, [5, 3], n_history=2, input_l1=0.1)
    kept = [t.clone() for t in (run.x, run.y, run.start.weights, *run.start.history)]
    trained(network, [run], engine)
    for before, after in zip(kept, (run.x, run.y, run.start.weights, *run.start.history), strict=True):
        assert torch.equal(before, after)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("engine", PACKAGED)
def test_an_engine_keeps_nothing_from_round_to_round(engine):
    network = make_network((3, 2))
    run = make_run(network, [9, 4, 1], n_history=1)
    cohort = stack([run])
    backend = ENGINES[engine](network, cohort, batch_size=4, n_epochs=2)
    broadcast = torch_engine.Broadcast(run.start.weights[None], (run.start.history[0][None],), 5, 1.0)
    later = torch_engine.Broadcast(run.start.history[0][None], (), 6, 0.5)

    def updates(participants, sent):
        return {
            int(k): (w, terms)
            for update in sent_by(backend, np.array(participants), sent)
            for k, w, terms in zip(update.replicas, update.weights, update.losses, strict=True)
        }

    first = updates([0, 1, 2], broadcast)
    updates([0, 2], later)
    again = updates([0, 1, 2], broadcast)
    # The same participants some rounds later, when none of the earlier models is one they have seen.
    models = random_weights(network, 3, seed=9)
    jump = torch_engine.Broadcast(models[:1], (models[1:2], models[2:]), 9, 1.0)
    jumped = updates([0, 1, 2], jump)
    for seen, participants, sent in (
        (jumped, [0, 1, 2], jump),
        (first, [0, 1, 2], broadcast),
        (again, [0, 1, 2], broadcast),
    ):
        backend = ENGINES[engine](network, cohort, batch_size=4, n_epochs=2)
        for k, (weights, terms) in updates(participants, sent).items():
            assert torch.equal(seen[k][0], weights)
            assert torch.equal(seen[k][1], terms)


# ---------------------------------------------------------------- a client's code sees only its own rows


@pytest.mark.sampled()
@pytest.mark.parametrize("engine", PACKAGED)
@pytest.mark.parametrize(("victim", "poison"), [(0, float("nan")), (3, 1e6), (5, float("inf"))])
def test_the_rows_of_a_client_reach_no_other_clients_update(engine, victim, poison):
    network = make_network((3, 2), q=2)
    run = make_run(network, [9, 4, 4, 1, 13, 2], n_history=2, input_l1=0.1)
    x, y = run.x.clone(), run.y.clone()
    rows = run.partition.rows[victim]
    x[rows] *= poison
    y[rows] *= poison
    poisoned = Run(x, y, run.partition, run.settings, run.seed, run.start)
    weights, losses = run_round(engine, network, [run])
    other_weights, other_losses = run_round(engine, network, [poisoned])
    others = np.setdiff1d(np.arange(6), [victim])
    assert torch.equal(other_weights[others], weights[others])
    for term, value in losses.items():
        assert torch.equal(other_losses[term][others], value[others])
    assert weights[others].isfinite().all()
    assert not torch.equal(other_weights[victim], weights[victim])


@pytest.mark.parametrize("engine", PACKAGED)
def test_the_settings_and_models_of_a_run_reach_no_other_run(engine):
    network = make_network((3, 2))
    runs = [make_run(network, [6, 3, 1], seed=i, n_history=1) for i in range(3)]
    weights, losses = run_round(engine, network, runs)
    middle = runs[1]
    nan = torch.full_like(middle.start.weights, torch.nan)
    runs[1] = Run(
        middle.x,
        middle.y,
        middle.partition,
        make_settings(mi_weight=0.9, kl_weight=0.9, contrastive_weight=0.9, temperature=0.1, input_l1=0.5),
        middle.seed,
        Start(nan, (nan,)),
    )
    other_weights, other_losses = run_round(engine, network, runs)
    others = [0, 1, 2, 6, 7, 8]
    exact(other_weights[others], weights[others])
    for term, value in losses.items():
        exact(other_losses[term][others], value[others])
    assert other_weights[[3, 4, 5]].isnan().any(1).all()


# -------------------------------------------------------------------------------- thinning, alone and in part


@pytest.mark.parametrize("engine", PACKAGED)
def test_input_l1_reaches_exact_zeros_in_the_encoders_first_layers_and_nowhere_else(engine):
    network = make_network((3, 2))
    runs = [make_run(network, [8, 5], seed=0, input_l1=l1) for l1 in (0.0, 5.0, 200.0)]
    weights, _ = run_round(engine, network, runs, batch_size=2)
    zeros = {name: (view == 0).flatten(1).double().mean(1) for name, view in network.layout.views(weights).items()}
    for name, share in zeros.items():
        if name in ("a.weight0", "b.weight0"):
            assert torch.equal(share[:2], torch.zeros(2, dtype=FLOAT))
            assert torch.all((share[2:4] > 0) & (share[2:4] < 1))
            assert torch.equal(share[4:], torch.ones(2, dtype=FLOAT))
        else:
            assert share.max() == 0


@pytest.mark.parametrize("engine", PACKAGED)
def test_terms_of_weight_zero_are_not_computed_and_others_are(engine):
    network = make_network((3, 2))
    _, losses = run_round(engine, network, [make_run(network, [8, 5], n_history=1)])
    assert all(torch.all(value != 0) for value in losses.values())
    off = make_run(network, [8, 5], n_history=1, mi_weight=0.0, kl_weight=0.0, contrastive_weight=0.0)
    _, losses = run_round(engine, network, [off])
    assert torch.equal(losses["loss"], losses["mse"])
    for term in ("mi", "kl", "contrastive", "mi_nwj"):
        assert torch.equal(losses[term], torch.zeros(2, dtype=FLOAT))


@pytest.mark.parametrize("engine", PACKAGED)
def test_without_earlier_models_the_contrastive_term_is_zero_and_pulls_nowhere(engine):
    network = make_network((3, 2))
    with_term, without = (make_run(network, [8, 5], contrastive_weight=v) for v in (0.5, 0.0))
    weights, losses = run_round(engine, network, [with_term])
    assert torch.equal(losses["contrastive"], torch.zeros(2, dtype=FLOAT))
    exact(weights, run_round(engine, network, [without])[0])


def test_padding_entries_of_the_flat_vector_stay_zero():
    network = make_network((3, 2))
    is_padding = torch.ones(network.layout.size, dtype=torch.bool)
    for view in network.layout.views(is_padding).values():
        view.fill_(False)
    assert is_padding.any()
    run = make_run(network, [8, 5])
    for engine in ENGINES:
        weights, _ = run_round(engine, network, [run])
        assert weights[:, is_padding].abs().max() == 0
    assert random_weights(network, 1)[:, is_padding].abs().max() == 0
