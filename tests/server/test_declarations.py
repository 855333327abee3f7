"""What an algorithm declares is what it is held to: FedNova in closed form, and one that reads single updates."""

import numpy as np
import pytest
import torch
from helpers import ENGINES, federate, make_network, make_run, recorded, start_of, train_together
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.utils._param_validation import StrOptions
from wire import fit_over, wire_of

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.clients.simulation import LocalTraining
from skfdrmfl.protocol.algorithm_state import AlgorithmState
from skfdrmfl.protocol.ledger import Ledger
from skfdrmfl.protocol.messages import Broadcast
from skfdrmfl.protocol.plan import Schedule, ServerStep
from skfdrmfl.server.algorithms import ALGORITHMS, Algorithm
from skfdrmfl.server.algorithms.base import INPUT_L1, PRIVACY, ROBUST_RULES
from skfdrmfl.server.algorithms.fedavg import FedAvg
from skfdrmfl.server.training import train

SIZES = [9, 4, 6, 1]  # in batches of 4: 3, 1, 2 and 1 steps an epoch
STEPS = np.array([6.0, 2.0, 4.0, 2.0])  # of two epochs


# ---------------------------------------------------------------------------------------------------- FedNova


@pytest.mark.parametrize("engine", ENGINES)
def test_one_round_of_fednova_is_its_formula(engine):
    network = make_network((3,))
    run = make_run(network, SIZES)
    before = run.start.weights.numpy()
    schedule = Schedule((1.0,), 2, 4, 1.0, 2, algorithm="fednova")
    sent = {}

    class Watched:
        def __init__(self, training):
            self.cohort, self.sum, self._training = training.cohort, training.sum, training

        def train(self, participants, broadcast):
            for update in self._training.train(participants, broadcast):
                sent.update(zip(update.replicas.tolist(), zip(update.weights, update.steps, strict=True), strict=True))
                yield update

    (found,) = list(train_together(network, [run], schedule, engine, change=Watched))
    p = np.array(SIZES) / sum(SIZES)
    assert_array_equal([sent[k][1] for k in range(4)], STEPS)
    direction = sum(p[k] * (sent[k][0] - before) / STEPS[k] for k in range(4))
    assert_allclose(found.state.weights[0], before + (p @ STEPS) * direction, rtol=1e-12, atol=1e-13)
    plain = federate(engine, network, [run], (1.0,))[-1].state.weights[0]
    assert (found.state.weights[0] - plain).abs().max() > 1e-4


@pytest.mark.parametrize("participation", [1.0, 0.5])
def test_clients_of_equal_sizes_make_fednova_fedavg(participation):
    network = make_network((3, 2))
    runs = [make_run(network, [5, 5, 5, 5], seed=1), make_run(network, [7, 7], seed=2)]
    plain, nova = (
        federate("torch", network, runs, (1.0, 0.5, 0.2), algorithm=algorithm, participation=participation)[-1]
        for algorithm in ("fedavg", "fednova")
    )
    assert_allclose(nova.state.weights, plain.state.weights, rtol=1e-11, atol=1e-12)
    assert_allclose(nova.losses, plain.losses, rtol=1e-5, atol=1e-9)  # drift is measured in the same ratio


def test_fednova_weighs_modalities_by_their_own_rows():
    network = make_network((2, 2))
    run = make_run(network, [8, 3])
    present = np.ones((11, 2), dtype=bool)
    present[run.partition.rows[0], 1] = False
    x = run.x.clone()
    x[torch.as_tensor(run.partition.rows[0]), 2:] = 0.0
    run = run.__class__(**{**vars(run), "present": present, "x": x})
    plain, nova = (federate("torch", network, [run], (1.0,), algorithm=name)[-1] for name in ("fedavg", "fednova"))
    of_second = network.encoder_of() == 2  # which the second client trains alone
    assert_allclose(nova.state.weights[0][of_second], plain.state.weights[0][of_second], rtol=1e-11, atol=1e-12)
    assert (nova.state.weights[0] - plain.state.weights[0])[~of_second].abs().max() > 1e-4


def test_steps_of_clients_are_those_that_the_engine_takes():
    network, run = make_network((3,)), make_run(make_network((3,)), SIZES, learning_rate=1e-3, weight_decay=0.0)
    schedule = Schedule((1.0,), 3, 4, 1.0, 2, algorithm="fednova")
    training = LocalTraining(network, [run], schedule, "loop")
    batches = [len(training._engine._batches(k, 0)) for k in range(4)]
    sent = training.train(np.arange(4), Broadcast(run.start.weights.numpy()[None], (), 0, 1.0))
    assert [int(n) for update in sent for n in update.steps] == batches


RNG = np.random.default_rng(3)
X = RNG.standard_normal((90, 5))
Y = X[:, 0] - 0.5 * X[:, 1] ** 2 + 0.1 * RNG.standard_normal(90)
IDS = np.repeat(["a", "b", "c"], [60, 25, 5])


def test_fednova_over_a_wire_is_fednova_in_one_memory():
    parameters = {"algorithm": "fednova", "n_rounds": 3, "local_epochs": 2, "batch_size": 8, "random_state": 0}
    here = FDRMFLTransformer(tuning=None, **parameters).fit(X, Y, IDS)
    there = fit_over(
        wire_of(FDRMFLTransformer(tuning=None, **parameters), X, Y, IDS), FDRMFLTransformer(tuning=None, **parameters)
    )
    assert_array_equal(there._fitted.models, here._fitted.models)
    kinds = {(m.what, m.shape, m.seen) for m in here.federation_log_ if m.direction == "up"}
    assert ("local steps", (), "each") in kinds


# ------------------------------------------------------------------------- an algorithm that reads single updates


class FedExP(Algorithm):
    """The server's step is longer where clients disagree (Jhunjhunwala et al. 2023): it needs each update's length."""

    def start(self, state, model, n_clients):
        return AlgorithmState({"squares": np.zeros(()), "n": np.zeros(())})

    def read(self, state, update, model, members):
        squares = np.square(update.weights - model).sum(dtype=np.float64)
        server = {"squares": state.server["squares"] + squares, "n": state.server["n"] + len(update.weights)}
        return update.weights, AlgorithmState(server)

    def step(self, state, model, average, round_):
        length = float(np.square(average - model).sum())
        rate = max(1.0, float(state.server["squares"]) / (2 * float(state.server["n"]) * (length + 1e-12)))
        return model + rate * (average - model), self.start(state, model, 0)


@pytest.fixture
def fedexp(monkeypatch):
    monkeypatch.setitem(ALGORITHMS, "fedexp", FedExP())
    monkeypatch.setitem(FDRMFLTransformer._parameter_constraints, "algorithm", [StrOptions(set(ALGORITHMS))])


@pytest.mark.parametrize("rule", [{"aggregation": "median"}, {"preaggregation": "nnm"}])
def test_what_reads_single_updates_is_refused_under_robust_rules_with_the_reason(fedexp, rule):
    model = FDRMFLTransformer(algorithm="fedexp", n_rounds=2, random_state=0, tuning=None)
    assert np.isfinite(model.fit(X, Y, IDS).predict(X)).all()
    with pytest.raises(ValueError, match="'fedexp' takes more from each client's update .* no rule protects; use"):
        model.set_params(**rule).fit(X, Y, IDS)


def test_what_reads_single_updates_is_refused_with_privacy(fedexp):
    private = {"dp_clip_norm": 1.0, "preprocessing": None, "dp_bounds": {"y": (-3.0, 3.0)}}
    with pytest.raises(ValueError, match="'fedexp' needs more of each client than its clipped update; use one of"):
        FDRMFLTransformer(algorithm="fedexp", tuning=None, **private).fit(X, Y, IDS)


def test_why_reading_is_safe_has_to_be_said_anew_by_each_class_that_reads():
    class Safe(FedExP):
        safe_reading = "nothing of it moves the model"

        def read(self, state, update, model, members):
            return update.weights, state

    class Child(Safe):
        def read(self, state, update, model, members):
            return update.weights * 100, state

    class Heir(Safe):
        pass

    refused = [ROBUST_RULES in algorithm().refuses for algorithm in (FedExP, Safe, Child, Heir)]
    assert refused == [True, False, True, False]


def test_what_the_server_does_between_rounds_is_not_inherited():
    class Doubling(FedAvg):
        def step(self, state, model, average, round_):
            return model + 2 * (average - model), state

    assert FedAvg().server_step == ALGORITHMS["fedprox"].server_step == ServerStep()
    assert Doubling().server_step is None
    averaging = {name for name, algorithm in ALGORITHMS.items() if algorithm.server_step == ServerStep()}
    moves = {name for name, a in ALGORITHMS.items() if type(a).step is not Algorithm.step or a.reads_updates}
    assert averaging == set(ALGORITHMS) - moves


def test_what_the_algorithms_refuse():
    refused = {name: set(algorithm.refuses) for name, algorithm in ALGORITHMS.items() if algorithm.refuses}
    assert refused == {
        "scaffold": {ROBUST_RULES, PRIVACY},
        "fednova": {ROBUST_RULES, PRIVACY},
        "fedsgd": {PRIVACY, INPUT_L1},
    }


# ------------------------------------------------------------------------------------------ runs of many rounds


@pytest.mark.sampled()
@pytest.mark.skipif("native" not in ENGINES, reason="no C compiler here")
@pytest.mark.parametrize("algorithm", [name for name, a in ALGORITHMS.items() if a.server_step is not None])
@pytest.mark.parametrize("participation", [1.0, 0.6])
def test_rounds_in_one_go_are_rounds_one_by_one_in_every_number(participation, algorithm, monkeypatch):
    network = make_network((3, 2))
    runs = [make_run(network, [9, 4, 6], seed=1), make_run(network, [5, 6], seed=2)]
    schedule = Schedule((1.0, 0.7, 0.4, 0.2), 2, 4, participation, 2, algorithm=algorithm)
    ends, ledgers = [], []
    for each_round, by_server in ((False, False), (True, False), (True, True)):
        if by_server:
            monkeypatch.setattr(LocalTraining, "average_rounds", lambda *_, **__: None)
        ledgers.append(Ledger())
        training = LocalTraining(network, runs, schedule, "native", ledgers[-1])
        starts = [start_of(run) for run in runs]
        stands = list(train(training, network, starts, schedule, each_round=each_round))
        assert len(stands) == 4 if each_round else len(stands) < 4
        ends.append(stands[-1])
    (in_one_go, *others), (ledger, *other_ledgers) = ends, ledgers
    for one_by_one, counted in zip(others, other_ledgers, strict=True):
        for one, other in zip(in_one_go, one_by_one, strict=True):
            assert_array_equal(one.models, other.models)
            assert_array_equal(recorded(one.record, "losses"), recorded(other.record, "losses"))
            for mine, theirs in zip(vars(one.memory).values(), vars(other.memory).values(), strict=True):
                assert mine.keys() == theirs.keys()
                for name in mine:
                    assert_array_equal(mine[name], theirs[name], strict=True)
            assert one.state.round_index == other.state.round_index == 4
        assert ledger.to_dict()["messages"] == counted.to_dict()["messages"]
        for direction in ("up", "down"):
            assert_array_equal(ledger.to_dict()["by_client"][direction], counted.to_dict()["by_client"][direction])
        assert ledger.round == counted.round == 4


def test_patience_ends_a_run_in_the_round_it_names():
    model = FDRMFLTransformer(
        early_stopping=True, n_rounds=15, n_iter_no_change=2, learning_rate=0.2, random_state=0, tuning=None
    )
    model.fit(X, RNG.standard_normal(90), IDS)
    errors = model.history_["validation_mse"]
    assert model.n_rounds_ < 15
    assert len(errors) == model.n_rounds_ == model.best_round_ + 2
