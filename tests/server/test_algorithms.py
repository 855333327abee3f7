"""An algorithm is one file: two are written here, and all that keeps and carries their memory is held to its word."""

import io
import pickle
from dataclasses import dataclass, fields, replace

import numpy as np
import pytest
import torch
from helpers import (
    ENGINES,
    FLOAT,
    federate,
    make_network,
    make_run,
    make_settings,
    normal,
    random_weights,
    run_round,
    sent_by,
    split_off,
    train_together,
)
from numpy.testing import assert_array_equal
from oracles import loop
from sklearn.utils._param_validation import StrOptions

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.engines import chunk
from skfdrmfl.engines import torch as torch_engine
from skfdrmfl.engines.rows import stack
from skfdrmfl.engines.torch import TorchEngine
from skfdrmfl.protocol.algorithm_state import AlgorithmState
from skfdrmfl.protocol.messages import Broadcast
from skfdrmfl.protocol.plan import Schedule, Settings
from skfdrmfl.server.algorithms import ALGORITHMS, Algorithm

BETA = 0.7


class ServerMomentum(Algorithm):
    """m <- BETA m + (average - w), w <- w + m."""

    def start(self, state, model, n_clients):
        return state if state.server else AlgorithmState({"momentum": np.zeros_like(model)}, state.clients)

    def step(self, state, model, average, round_):
        momentum = BETA * state.server["momentum"] + (average - model)
        return model + momentum, AlgorithmState({"momentum": momentum}, state.clients)


class Leaning(Algorithm):
    """Every client leans to where it has gone before: its shift is `factor` times the sum of its updates so far."""

    def __init__(self, factor):
        self.factor = factor

    def start(self, state, model, n_clients):
        if state.clients:
            return state
        zeros = np.zeros((n_clients, len(model)), model.dtype)
        return AlgorithmState(state.server, {"gone": zeros, "answers": zeros})

    def shift(self, state, members):
        return self.factor * state.clients["gone"]

    def read(self, state, update, model, members):
        gone, answers = state.clients["gone"].copy(), state.clients["answers"].copy()
        gone[update.replicas] += update.weights - model
        answers[update.replicas] += 1.0
        return update.weights, AlgorithmState(state.server, {"gone": gone, "answers": answers})


class Both(Leaning):
    """`Leaning` and `ServerMomentum` at once."""

    def start(self, state, model, n_clients):
        return ServerMomentum().start(super().start(state, model, n_clients), model, n_clients)

    def step(self, state, model, average, round_):
        return ServerMomentum().step(state, model, average, round_)


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    mine = {"momentum": ServerMomentum(), "lean": Leaning(0.3), "still": Leaning(0.0), "both": Both(0.3)}
    for name, algorithm in mine.items():
        monkeypatch.setitem(ALGORITHMS, name, algorithm)
    allowed = [StrOptions(set(ALGORITHMS))]
    monkeypatch.setitem(FDRMFLTransformer._parameter_constraints, "algorithm", allowed)


def as_exact(value, expected, rtol=1e-9, atol=1e-11):
    torch.testing.assert_close(value, expected, rtol=rtol, atol=atol)


# -------------------------------------------------------------------------------------- a shift of the gradients


@pytest.mark.sampled()
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("settings", [{}, {"mi_weight": 0.0, "kl_weight": 0.0, "contrastive_weight": 0.0}])
def test_a_shift_is_a_linear_term_in_the_objective(engine, settings, monkeypatch):
    network = make_network((3, 2))
    run = make_run(network, [9, 4, 6], n_history=1, **settings)
    shift = random_weights(network, 3, seed=9, scale=0.05)
    rows, start = stack([run]), run.start
    history = (start.history[0][None],)
    options = {"batch_size": 4, "n_epochs": 1}
    shifted = torch.empty(3, network.layout.size, dtype=FLOAT)
    for update in sent_by(
        ENGINES[engine](network, rows, **options), np.arange(3), Broadcast(start.weights[None], history, 0, 1.0, shift)
    ):
        shifted[update.replicas] = update.weights

    objective = loop.local_objective
    for k in range(3):
        mine = network.layout.views(shift[k : k + 1])

        def with_linear_term(network, views, batch, lambdas, mine=mine):
            terms = objective(network, views, batch, lambdas)
            linear = sum((views[name] * mine[name]).sum() for name in mine)
            return {**terms, "loss": terms["loss"] + linear}

        with monkeypatch.context() as patch:
            patch.setattr(loop, "local_objective", with_linear_term)
            (update,) = sent_by(
                ENGINES["loop"](network, rows, **options),
                np.array([k]),
                Broadcast(start.weights[None], history, 0, 1.0),
            )
        as_exact(shifted[k], update.weights[0])
    plain, _ = run_round("loop", network, [run])
    assert (plain - shifted).abs().max() > 1e-3  # or the test shows nothing


@pytest.mark.sampled(2)
@pytest.mark.parametrize("engine", ENGINES)
def test_a_shift_of_zero_changes_no_bit(engine):
    network = make_network((3, 2))
    runs = [make_run(network, [9, 4], seed=1), make_run(network, [5, 6, 1], seed=2, mi_weight=0.0)]
    plain, still = (federate(engine, network, runs, (1.0, 0.5, 0.2), algorithm=a) for a in ("fedavg", "still"))
    for a, b in zip(plain, still, strict=True):
        assert torch.equal(a.state.weights, b.state.weights)
        assert_array_equal(a.losses, b.losses)


@pytest.mark.slow
def test_both_engines_shift_and_remember_alike():
    network = make_network((3, 2))
    runs = [make_run(network, [9, 4], seed=1), make_run(network, [5, 6, 1], seed=2)]
    options = {"algorithm": "both", "participation": 0.6}
    stacked, looped, plain = (
        federate(engine, network, runs, (1.0,) * 4, **{**options, **changes})[-1].state
        for engine, changes in (("torch", {}), ("loop", {}), ("loop", {"algorithm": "momentum"}))
    )
    as_exact(stacked.weights, looped.weights)
    as_exact(stacked.memory.clients["gone"], looped.memory.clients["gone"])
    assert (plain.weights - looped.weights).abs().max() > 1e-4


# ------------------------------------------------------------------------------------------ memory by hand


@pytest.mark.sampled(2)
@pytest.mark.parametrize("engine", ENGINES)
def test_the_servers_momentum_is_the_one_by_hand(engine):
    network, factors = make_network((3,)), (1.0, 0.7, 0.3, 0.1)
    run = make_run(network, [7, 3, 5])
    start, momentum = run.start, torch.zeros_like(run.start.weights)
    sizes = torch.as_tensor([7, 3, 5]).to(FLOAT)[:, None]
    for t, record in enumerate(federate(engine, network, [run], factors, algorithm="momentum")):
        weights, _ = run_round(engine, network, [replace(run, start=start)], round_index=t, rate_factor=factors[t])
        momentum = BETA * momentum + (sizes * weights).sum(0) / 15 - start.weights
        as_exact(record.state.memory.server["momentum"][0], momentum)
        as_exact(record.state.weights[0], start.weights + momentum)
        start = replace(start, weights=record.state.weights[0], history=tuple(h[0] for h in record.state.history))


def test_only_who_answers_remembers():
    network = make_network((3,))
    run = make_run(network, [7, 3, 5, 4])
    records = federate("torch", network, [run], (1.0,) * 6, algorithm="lean", participation=0.5)
    took_part = sum((~np.isnan(record.losses[:, 0])).astype(float) for record in records)
    assert_array_equal(records[-1].state.memory.clients["answers"][:, 0], took_part)
    assert 0 < took_part.min() < took_part.max()


def test_who_joins_later_starts_from_zeros_and_who_is_absent_keeps_what_it_has():
    network = make_network((3,))
    known = {name: normal(i, 3, network.layout.size) for i, name in enumerate(("gone", "answers"))}
    before = AlgorithmState({}, {name: array.numpy() for name, array in known.items()})
    run = make_run(network, [4, 6, 3], positions=[0, 2, 5])
    run = replace(run, start=replace(run.start, memory=before))
    schedule = Schedule((1.0,), 1, 4, 1.0, 2, algorithm="lean")
    (trained,) = list(train_together(network, [run], schedule, "torch"))[-1].stands
    after = trained.memory.of_all(run.partition.positions, before).clients["answers"]
    answers = before.clients["answers"]
    assert_array_equal(after[[0, 2]], answers[[0, 2]] + 1.0)
    assert_array_equal(after[1], answers[1])  # absent
    assert not after[3:5].any()  # not met yet
    assert (after[5] == 1.0).all()
    assert len(after) == 6


def one_that_grows(network):
    """Two runs, of which the first has a decay that makes weights grow, until they overflow in the third round."""
    runs = [make_run(network, [6, 5], seed=1), make_run(network, [5, 3, 4], seed=2)]
    grows = make_settings(weight_decay=1e10, mi_weight=0.0, contrastive_weight=0.0)
    return [replace(runs[0], settings=grows), runs[1]]


def test_the_memory_of_a_run_that_diverges_is_that_before_the_round():
    network = make_network((3,))
    runs = one_that_grows(network)
    records = federate("torch", network, runs, (1.0,) * 3, algorithm="both")
    assert [record.diverged.tolist() for record in records] == [[False, False], [False, False], [True, False]]
    before, after = records[1].state.memory, records[2].state.memory
    assert (before.clients["answers"][:2] == 2.0).all()
    assert torch.equal(after.server["momentum"][0], before.server["momentum"][0])
    for name, array in after.clients.items():
        assert torch.equal(array[:2], before.clients[name][:2])
    # The other run goes on as it would alone.
    alone = federate("torch", network, runs[1:], (1.0,) * 3, algorithm="both")[-1].state.memory
    as_exact(after.clients["gone"][2:], alone.clients["gone"])
    as_exact(after.server["momentum"][1], alone.server["momentum"][0])
    assert (after.clients["answers"][2:] == 3.0).all()


def test_a_run_that_has_ended_stays_where_it_is_while_others_go_on():
    network = make_network((3,))
    records = federate("torch", network, one_that_grows(network), (1.0,) * 6, algorithm="both")
    assert records[2].diverged[0]
    for record in records[3:]:
        assert torch.equal(record.state.weights[0], records[2].state.weights[0])
        momentum = record.state.memory.server["momentum"]
        assert torch.equal(momentum[0], records[2].state.memory.server["momentum"][0])


@pytest.mark.slow
def test_runs_that_stop_early_in_company_end_as_each_would_alone():
    network, runs = make_network((4,)), []
    for seed, rate in enumerate((0.1, 0.02, 0.3, 0.05)):
        run = make_run(network, [18, 9], seed=seed, learning_rate=rate)
        kept, held_out = split_off(run.partition, 0.3, seed)
        runs.append(replace(run, partition=kept, held_out=held_out))
    schedule = Schedule((1.0,) * 12, 2, 8, 1.0, 2, patience=2, algorithm="momentum")
    together = list(train_together(network, runs, schedule, "torch"))[-1]
    lengths = set()
    for i, run in enumerate(runs):
        alone = list(train_together(network, [run], schedule, "torch"))[-1]
        lengths.add(alone.n_rounds)
        assert together.record_of(i).best_round == alone.record_of(0).best_round
        as_exact(together.models_of(i), alone.models_of(0))
        as_exact(together.memory_of(i).server["momentum"], alone.memory_of(0).server["momentum"])
    assert len(lengths) > 1  # or the test shows nothing


def test_after_early_stopping_the_memory_is_that_of_the_best_round():
    network, runs = make_network((4,)), []
    for seed, sizes in enumerate(([18, 9], [20], [30, 7, 5])):
        run = make_run(network, sizes, seed=seed, learning_rate=0.1)
        kept, held_out = split_off(run.partition, 0.3, seed)
        runs.append(replace(run, partition=kept, held_out=held_out))
    schedule = Schedule((1.0,) * 12, 2, 8, 1.0, 2, patience=3, algorithm="both")
    passed = []
    for trained in train_together(network, runs, schedule, "torch"):
        passed.append(trained.state.memory)
    rounds, end = set(), 0
    for i, run in enumerate(runs):
        best = trained.record_of(i).best_round
        rounds.add(best)
        first, end = end, end + len(run.partition.rows)
        memory = trained.memory_of(i)
        assert (memory.clients["answers"] == best).all()
        if best:
            assert torch.equal(memory.server["momentum"], passed[best - 1].server["momentum"][i])
            assert torch.equal(memory.clients["gone"], passed[best - 1].clients["gone"][first:end])
    assert len(rounds) > 1  # or the test shows little
    assert min(rounds) < trained.n_rounds


# ------------------------------------------------------------------------------------ memory of an estimator

X = normal(3, 40, 6).numpy() * 0.5 ** np.arange(6)
Y = X[:, 0] + X[:, 1] ** 2
IDS = np.repeat(["a", "b", "c"], [18, 12, 10])
OPTIONS = {"algorithm": "both", "local_epochs": 1, "hidden_layer_sizes": (4,), "random_state": 0}


def same_fit(a, b):
    assert_array_equal(a._fitted.models, b._fitted.models)
    for mine, theirs in zip(a._fitted.memory, b._fitted.memory, strict=True):
        assert mine.keys() == theirs.keys()
        for name in mine:
            assert_array_equal(mine[name], theirs[name])


def pickled(model, tmp_path):
    return pickle.load(io.BytesIO(pickle.dumps(model)))


def saved(model, tmp_path):
    model.save(tmp_path / "model.npz")
    return FDRMFLTransformer.load(tmp_path / "model.npz")


@pytest.mark.parametrize("carry", [lambda model, tmp_path: model, pickled, saved], ids=["kept", "pickled", "saved"])
def test_rounds_one_by_one_remember_what_rounds_in_one_go_do(carry, tmp_path, monkeypatch):
    monkeypatch.setattr("skfdrmfl.fit.parameters.cosine_decay", lambda t, n_rounds: 1.0)
    whole = FDRMFLTransformer(n_rounds=5, tuning=None, **OPTIONS).fit(X, Y, IDS)
    model = FDRMFLTransformer(tuning=None, **OPTIONS)
    for _ in range(5):
        model = carry(model.partial_fit(X, Y, IDS), tmp_path)
    same_fit(model, whole)
    server, clients = model._fitted.memory
    assert all(isinstance(array, np.ndarray) for array in (*server.values(), *clients.values()))
    assert (clients["answers"] == 5).all()
    assert np.abs(server["momentum"]).max() > 1e-3


def test_clients_of_partial_fits_remember_the_rounds_they_were_there():
    model = FDRMFLTransformer(tuning=None, **OPTIONS)
    seen = []
    for there in ("ac", "bc", "a", "d"):
        ids = np.where(IDS == "b", "b", IDS)
        if there == "d":
            ids = np.full(40, "d")
        mine = np.isin(ids, list(there))
        model.partial_fit(X[mine], Y[mine], ids[mine])
        seen.append(dict(zip(model.clients_.tolist(), model._fitted.memory[1]["answers"][:, 0].tolist(), strict=True)))
    assert seen == [
        {"a": 1, "c": 1},
        {"a": 1, "c": 2, "b": 1},
        {"a": 2, "c": 2, "b": 1},
        {"a": 2, "c": 2, "b": 1, "d": 1},
    ]


def test_a_fit_anew_forgets():
    model = FDRMFLTransformer(n_rounds=2, tuning=None, **OPTIONS).fit(X, Y, IDS)
    memory = model._fitted.memory
    again = model.fit(X, Y, IDS)._fitted.memory
    assert_array_equal(again[0]["momentum"], memory[0]["momentum"])
    model.set_params(warm_start=True).fit(X, Y, IDS)
    assert (model._fitted.memory[1]["answers"] == 4).all()


# ---------------------------------------------------------------------------------------------------- chunks

EACH = chunk.OF_EACH_CLIENT | chunk.OF_SERVER
SHARED = [field.name for field in fields(Settings) if field.name not in EACH]


def chunks_of(runs, network):
    """The runs that share each chunk of the torch engine."""
    engine = TorchEngine(network, stack(runs), batch_size=4, n_epochs=1)
    chunks = torch_engine.chunks_of(network, engine.cohort, np.arange(2 * len(runs)), 4, engine.rows.x.itemsize)
    return [set(engine.cohort.runs[members].tolist()) for members in chunks]


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", make_settings().by_name())
def test_runs_share_a_chunk_only_if_they_agree_on_all_that_a_chunk_has_once(name):
    network = make_network((3,))
    runs = [make_run(network, [6, 5], seed=1), make_run(network, [6, 5], seed=2)]
    assert chunks_of(runs, network) == [{0, 1}]
    runs[1] = replace(runs[1], settings=make_settings(**{name: 0.123}))
    expected = [{0}, {1}] if name in SHARED else [{0, 1}]
    assert chunks_of(runs, network) == expected
    # And whichever it is, each run trains by its own value.
    for run, weights in zip(runs, federate("torch", network, runs, (1.0,) * 2)[-1].state.weights, strict=True):
        as_exact(weights, federate("loop", network, [run], (1.0,) * 2)[-1].state.weights[0])


def test_a_setting_added_later_is_shared_unless_it_is_named(monkeypatch):
    @dataclass(frozen=True)
    class Later(Settings):
        proximal: float = 0.0

    network = make_network((3,))
    runs = [make_run(network, [6, 5], seed=seed) for seed in (1, 2)]
    later = [Later(**vars(run.settings), proximal=float(i)) for i, run in enumerate(runs)]
    runs = [replace(run, settings=settings) for run, settings in zip(runs, later, strict=True)]
    monkeypatch.setattr(chunk, "Settings", Later)
    assert chunk.shared_settings(later[0]) != chunk.shared_settings(later[1])
    assert chunks_of(runs, network) == [{0}, {1}]
    monkeypatch.setattr(chunk, "OF_EACH_CLIENT", chunk.OF_EACH_CLIENT | {"proximal"})
    assert chunks_of(runs, network) == [{0, 1}]


def test_training_that_has_no_shift_at_first_may_have_one_later(monkeypatch):
    class Later(Leaning):
        def shift(self, state, members):
            return super().shift(state, members) if state.clients["answers"].any() else None

    network = make_network((3,))
    run = make_run(network, [6, 5])
    expected = federate("torch", network, [run], (1.0,) * 3, algorithm="lean")[-1].state.weights
    monkeypatch.setitem(ALGORITHMS, "later", Later(0.3))
    for engine in ENGINES:
        as_exact(federate(engine, network, [run], (1.0,) * 3, algorithm="later")[-1].state.weights, expected)
