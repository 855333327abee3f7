"""The native engine against the loop and the torch engine: values, bits, threads, interrupts, and what it refuses."""

import ctypes
import os
import re
import signal
import subprocess
import sys
import threading
import time
import warnings
from argparse import Namespace
from dataclasses import replace

import native_builds
import numpy as np
import pytest
import torch
from helpers import (
    federate,
    in_float32,
    make_network,
    make_run,
    make_settings,
    random_weights,
    sent_by,
    start_of,
    train_together,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from joblib import parallel_config
from numpy.testing import assert_allclose, assert_array_equal

from skfdrmfl import FDRMFLTransformer, engines
from skfdrmfl.clients.simulation import LocalTraining
from skfdrmfl.data.partition import Partition
from skfdrmfl.datasets import load_tecator, make_client_ids
from skfdrmfl.encoders import (
    CategoricalEncoder,
    Conv1DEncoder,
    Conv2DEncoder,
    DenseEncoder,
    LinearEncoder,
    RecurrentEncoder,
)
from skfdrmfl.engines import ENGINES, chunk, engine_for, native, native_structs
from skfdrmfl.engines.rows import stack
from skfdrmfl.method import objective
from skfdrmfl.method.equations.contrast import SHORTEST_TURNED
from skfdrmfl.method.fusion import FUSIONS, MeanFusion
from skfdrmfl.method.network import Network
from skfdrmfl.method.objective import term_names
from skfdrmfl.protocol.messages import Broadcast
from skfdrmfl.protocol.plan import ClientTask, Schedule
from skfdrmfl.server.training import train

pytestmark = pytest.mark.skipif(
    native.library() is None or native.library(np.dtype(np.float64)) is None,
    reason="nothing has been compiled of native.c",
)

TECATOR, FAT = (part[::2] for part in load_tecator(return_X_y=True))
IDS = make_client_ids(FAT, 3, random_state=0)
HALVES = {"a": slice(0, 50), "b": slice(50, 100)}
PLAIN = ClientTask()
OPTIONS = {"n_rounds": 4, "local_epochs": 2, "random_state": 0}


def exact(value, expected, rtol=1e-10, atol=1e-11):
    torch.testing.assert_close(value, expected, rtol=rtol, atol=atol, equal_nan=True)


def updates_of(engine, network, run, broadcast, client_task=PLAIN, **options):
    """What each replica of a run returns, in the order of the replicas."""
    rows = stack([run])
    with torch.no_grad():
        backend = ENGINES[engine](network, rows, client_task=client_task, **{"batch_size": 5, "n_epochs": 2} | options)
        found = {}
        for update in sent_by(backend, np.arange(len(rows.cohort.runs)), broadcast):
            for i, replica in enumerate(update.replicas.tolist()):
                gradients = None if update.gradients is None else update.gradients[i]
                found[replica] = update.weights[i], update.losses[i], gradients
    return [found[replica] for replica in sorted(found)]


# ------------------------------------------------------------------------------------------------ exact


@st.composite
def rounds(draw):
    """A network, a run, what is broadcast, and a client task."""
    fusion = draw(st.sampled_from(list(FUSIONS)))
    widths = draw(st.lists(st.integers(1, 20), min_size=1, max_size=3))
    network = make_network(
        tuple(widths),
        c=draw(st.integers(1, 5)),
        d=draw(st.integers(1, 5)),
        q=draw(st.integers(1, 3)),
        hidden=tuple(draw(st.lists(st.integers(1, 18), max_size=2))),
        head_hidden=tuple(draw(st.lists(st.integers(1, 6), max_size=2))),
        skip=draw(st.booleans()),
        fusion=fusion,
    )
    sizes = draw(st.lists(st.integers(1, 40), min_size=1, max_size=4))
    weight = st.sampled_from([0.0, 0.3])
    run = make_run(
        network,
        sizes,
        seed=draw(st.integers(0, 99)),
        n_history=draw(st.integers(0, 3)),
        mi_weight=draw(weight),
        kl_weight=draw(weight),
        contrastive_weight=draw(weight),
        temperature=draw(st.sampled_from([0.1, 1.0])),
        input_l1=draw(st.sampled_from([0.0, 0.02])),
        proximal_weight=draw(weight),
        modality_dropout=draw(weight) if len(widths) > 1 else 0.0,
    )
    if len(widths) > 1 and draw(st.booleans()):
        rng = np.random.default_rng(len(run.x))
        present = rng.random((len(run.x), len(widths))) < 0.7  # some rows have one modality, some none
        run = replace(run, present=present)
    trains = draw(st.booleans()) or run.settings.input_l1 > 0
    client_task = ClientTask(sends_parameters=trains, also_sends_mean_gradient=trains and draw(st.booleans()))
    shift = None
    if draw(st.booleans()):
        shift = 0.05 * random_weights(network, len(sizes), seed=5)
    models = [run.start.weights[None], *(model[None] for model in run.start.history)]
    sent = Broadcast(models[0], tuple(models[1:]), draw(st.integers(0, 9)), 0.7, shift)
    return network, run, sent, client_task, draw(st.sampled_from([1, 3, 16, 33]))


@settings(max_examples=settings().max_examples // 3)
@given(rounds())
def test_in_float64_it_is_the_loop(drawn):
    same_as_the_loop(*drawn)


@pytest.mark.parametrize("engine", ENGINES)
def test_the_contrastive_term_turns_no_z_that_is_too_short_to_have_a_direction(engine):
    """1 / length, by which the gradient of a cosine grows, is bounded: below `SHORTEST_TURNED` there is no gradient."""
    network = make_network((3,), c=2)
    for length, turned in ((0.9 * SHORTEST_TURNED, False), (1.1 * SHORTEST_TURNED, True)):
        found = []
        for weight in (0.5, 0.0):
            run = make_run(network, [6], n_history=1, mi_weight=0.0, contrastive_weight=weight)
            run = replace(run, x=run.x[:1].expand(6, 3).contiguous())  # all rows alike, so that all Z are of one length
            views = network.layout.views(run.start.weights[None])
            views["fusion.bias0"].zero_()
            z = network.forward(views, run.x[None], None).z[0, 0]
            views["fusion.weight0"].mul_(length / z.norm())
            sent = Broadcast(run.start.weights[None], tuple(h[None] for h in run.start.history), 0, 1.0)
            found.append(updates_of(engine, network, run, sent, ClientTask(sends_parameters=False))[0][0])
        assert torch.equal(*found) != turned


# Encoders that are more than dense layers of numbers, of codes of d entries and of a size n.
ENCODERS = {
    "series": lambda d, n: Conv1DEncoder(n_channels=(4, 9), kernel_size=3, skip=n % 2 > 0).build("a", 9 + n, d, ()),
    "channels": lambda d, n: Conv1DEncoder((2, 6), n_channels=(n,), kernel_size=2, stride=1).build("b", 12, d, ()),
    "image": lambda d, n: Conv2DEncoder((2, 5, 4), n_channels=(n, 5), kernel_size=2, stride=1).build("c", 40, d, ()),
    "codes": lambda d, n: CategoricalEncoder((3, 2, 1), embedding_dim=n).build("d", 3, d, ()),
    "both": lambda d, n: DenseEncoder((n + 2,), embedding_dim=n).build_embedded("e", (4, 2), 2 + n, d, ()),
    "codes alone": lambda d, n: LinearEncoder().build_embedded("f", (2,), 1, d, ()),
}


@st.composite
def rounds_of_encoders(draw):
    """A network of encoders of several kinds, a run whose rows they can read, and what is broadcast."""
    names = draw(st.lists(st.sampled_from(list(ENCODERS)), min_size=1, max_size=3, unique=True))
    d = draw(st.integers(1, 9))
    network = network_of({name: draw(st.integers(1, 9)) for name in names}, d, draw(st.sampled_from(list(FUSIONS))))
    sizes = draw(st.lists(st.integers(1, 40), min_size=1, max_size=3))
    options = {"input_l1": draw(st.sampled_from([0.0, 0.02])), "contrastive_weight": draw(st.sampled_from([0.0, 0.3]))}
    run = make_run(network, sizes, seed=draw(st.integers(0, 99)), n_history=draw(st.integers(0, 2)), **options)
    run = with_codes(network, run)
    if len(names) > 1 and draw(st.booleans()):
        run = replace(run, present=np.random.default_rng(len(run.x)).random((len(run.x), len(names))) < 0.7)
    models = [run.start.weights[None], *(model[None] for model in run.start.history)]
    sent = Broadcast(models[0], tuple(models[1:]), 3, 0.7)
    client_task = ClientTask(sends_parameters=draw(st.booleans()) or run.settings.input_l1 > 0)
    return network, run, sent, client_task, draw(st.sampled_from([3, 16, 33]))


def network_of(sizes, d, fusion="concat"):
    """A network of `ENCODERS` of these sizes."""
    encoders = {name: ENCODERS[name](d, n) for name, n in sizes.items()}
    return Network(encoders, FUSIONS[fusion](), modality_dim=d, n_components=2, n_outputs=1)


def with_codes(network, run):
    """The run with codes, known and unknown, where an encoder reads them."""
    rng, x = np.random.default_rng(len(run.x)), run.x.clone()
    for name, part in network.encoders.items():
        codes = x[:, network.columns[name]][:, : len(part.code_sizes)]
        codes.copy_(torch.as_tensor(rng.choice([-1.0, 0.0, 1.0, 2.0, 3.0, 4.0, 0.5, 1e9], codes.shape)))
    return replace(run, x=x)


@settings(max_examples=settings().max_examples // 2)
@given(rounds_of_encoders())
def test_convolutions_and_vectors_of_categories_in_float64_it_is_the_loop(drawn):
    same_as_the_loop(*drawn)


def same_as_the_loop(network, run, sent, client_task, batch_size):
    """Compare what each client returns."""
    ours, theirs = (updates_of(e, network, run, sent, client_task, batch_size=batch_size) for e in ("native", "loop"))
    for mine, other in zip(ours, theirs, strict=True):
        for value, expected in zip(mine, other, strict=True):
            assert (value is None) == (expected is None)
            if expected is not None:
                exact(value, expected)


@pytest.mark.parametrize("fusion", ["gated", "attention"])
@pytest.mark.parametrize(("widths", "d", "scale"), [((2,) * 17, 1, 0.5), ((5, 3), 3, 40.0)])
def test_codes_of_one_number_and_scores_of_any_size_in_float64_it_is_the_loop(fusion, widths, d, scale):
    network = make_network(widths, d=d, fusion=fusion, names="abcdefghijklmnopq")
    run = make_run(network, [7])
    sent = Broadcast(random_weights(network, 1, scale=scale), (), 0, 1.0)
    ours, theirs = (
        updates_of(engine, network, run, sent, ClientTask(sends_parameters=False)) for engine in ("native", "loop")
    )
    largest = theirs[0][0].abs().max()
    assert ours[0][0].isfinite().all()
    exact(ours[0][0] / largest, theirs[0][0] / largest)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_step_in_float32_differs_from_float64_by_rounding(fusion):
    rounds_to_float32(make_network((40, 9), c=3, d=8, q=2, hidden=(32,), fusion=fusion))


@pytest.mark.parametrize("kind", ENCODERS)
def test_a_step_of_an_encoder_in_float32_differs_from_float64_by_rounding(kind):
    rounds_to_float32(network_of({kind: 8}, 8), within=1e-6)  # of sums over the places of a convolution


def rounds_to_float32(network, within=3e-7):
    """Compare full gradients and terms of two clients."""
    run = with_codes(network, make_run(network, [60, 31], n_history=2))
    sent = Broadcast(run.start.weights[None], tuple(h[None] for h in run.start.history), 0, 1.0)
    narrow = Broadcast(sent.weights.float(), tuple(h.float() for h in sent.history), 0, 1.0)
    client_task = ClientTask(sends_parameters=False)
    for precise, mine in zip(
        updates_of("loop", network, run, sent, client_task),
        updates_of("native", network, in_float32(run), narrow, client_task),
        strict=True,
    ):
        scale = float(precise[0].abs().max())
        assert float((mine[0].double() - precise[0]).abs().max()) < within * scale
        for term, value, expected in zip(term_names(), mine[1].double(), precise[1], strict=True):
            # The rounding of T, which is some ten long here, is a relative error of e^T.
            exact(value, expected, rtol=1e-5 if term == "mi_nwj" else 1e-6, atol=0)


def call(library, *arrays):
    """Call `values` of a library with arrays, and their length."""
    pointers = [array.ctypes.data_as(ctypes.c_void_p) for array in arrays]
    ctypes.CDLL(str(library)).values(*pointers, ctypes.c_int64(len(arrays[0])))


@pytest.mark.slow
def test_the_fast_exponential_and_logarithm_are_right_to_two_units_in_the_last_place(tmp_path):
    source = tmp_path / "numbers.c"
    source.write_text(
        f'#include "{native_builds.SOURCE}"\n'
        "EXPORT void values(float *e, float *l, const float *x, const float *y, whole n) {"
        "EACH(i, n) e[i] = exponential(x[i]); EACH(i, n) l[i] = logarithm(y[i]); }\n"
    )
    library = native_builds.compile_source(source, tmp_path / "numbers.so")
    rng = np.random.default_rng(0)
    x = np.concatenate((rng.uniform(-87, 88.7, 200_000), rng.uniform(-1, 1, 100_000), [0.0, -0.0])).astype(np.float32)
    y = np.concatenate((np.exp(rng.uniform(-60, 60, 200_000)), rng.uniform(0.5, 2, 100_002))).astype(np.float32)
    e, log = np.empty_like(x), np.empty_like(y)
    ctypes.CDLL(str(library)).values(
        *(a.ctypes.data_as(ctypes.c_void_p) for a in (e, log, x, y)), ctypes.c_int64(len(x))
    )
    true = np.exp(x.astype(np.float64))
    assert np.max(np.abs(e - true) / np.spacing(true.astype(np.float32))) <= 2
    true = np.log(y.astype(np.float64))
    # Near 1 the logarithm passes zero: what counts there is the argument's own rounding.
    assert np.max(np.abs(log - true) / np.maximum(np.spacing(np.abs(true).astype(np.float32)), 2.0**-24)) <= 2
    edges = np.array([-np.inf, -200.0, 89.0, np.inf, np.nan], dtype=np.float32)
    found, unused = np.empty_like(edges), np.ones_like(edges)
    call(library, found, unused, edges, unused)
    assert_array_equal(found, [0.0, 0.0, np.inf, np.inf, np.nan])


# ------------------------------------------------------------------------------------------------- bits


def bits(records):
    """What rounds leave, as bytes."""
    return [
        (
            r.state.weights.numpy().tobytes(),
            {n: array.numpy().tobytes() for part in vars(r.state.memory).values() for n, array in part.items()},
            r.losses.tobytes(),
            r.diverged.tobytes(),
        )
        for r in records
    ]


def two_runs(dtype=in_float32):
    network = make_network((5, 3), d=4, hidden=(9,))
    runs = [make_run(network, [17, 1, 40, 8, 23]), make_run(network, [30, 6], seed=3, learning_rate=0.03)]
    return network, [dtype(run) for run in runs]


# Whose rounds are gone through in C: of each kind of server's step, and of each kind of client task.
IN_C = ["fedavg", "fedadam", "fedsgd", "scaffold"]


def asked_of_the_server(monkeypatch):
    """Count the rounds that pass the server."""
    rounds, train = [], LocalTraining.train

    def counted(self, participants, broadcast):
        rounds.append(broadcast.round_index)
        return train(self, participants, broadcast)

    monkeypatch.setattr(LocalTraining, "train", counted)
    return rounds


@pytest.mark.sampled(2)
@pytest.mark.parametrize("algorithm", IN_C)
@pytest.mark.parametrize("participation", [1.0, 0.5])
def test_rounds_in_one_call_are_those_by_the_server_to_the_last_bit(participation, algorithm, monkeypatch):
    network, runs = two_runs()
    options = {"rate_factors": (1.0, 0.9, 0.5, 0.4, 0.1), "participation": participation, "algorithm": algorithm}
    by_server = asked_of_the_server(monkeypatch)
    together = bits(federate("native", network, runs, **options))
    assert by_server == []
    monkeypatch.setattr(LocalTraining, "average_rounds", lambda *_, **__: None)
    assert bits(federate("native", network, runs, **options)) == together
    assert by_server == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("algorithm", IN_C)
def test_rounds_go_on_from_where_they_stood(algorithm):
    network, runs = two_runs()
    schedule = Schedule((1.0, 0.9, 0.5, 0.4), 2, 4, 0.5, 2, algorithm=algorithm)
    whole = list(train_together(network, runs, schedule, "native"))
    for half in whole[:-1]:
        *_, end = train_together(network, runs, schedule, "native", resume=half)
        assert bits([end]) == bits(whole[-1:])


def test_steps_of_the_server_that_a_file_counts_by_parameter_are_gone_on_from():
    network, runs = two_runs()
    schedule = Schedule((1.0, 0.9, 0.5), 2, 4, 1.0, 2, algorithm="fedadam")
    _, half, end = train_together(network, runs, schedule, "native")
    by_parameter = []
    for trained in half.stands:
        memory = trained.state.memory
        server = memory.server | {"steps": np.full(network.layout.size, memory.server["steps"])}
        state = replace(trained.state, memory=replace(memory, server=server))
        by_parameter.append(replace(trained, state=state))
    (*_, found) = train_together(network, runs, schedule, "native", resume=replace(half, stands=tuple(by_parameter)))
    assert bits([found]) == bits([end])


@pytest.mark.parametrize("algorithm", IN_C)
def test_calls_may_end_anywhere(algorithm, monkeypatch):
    network, runs = two_runs()
    whole = bits(federate("native", network, runs, (1.0, 0.9, 0.5, 0.4), algorithm=algorithm))
    monkeypatch.setattr(native, "SECONDS", 0.0)  # every call ends with its first block
    assert bits(federate("native", network, runs, (1.0, 0.9, 0.5, 0.4), algorithm=algorithm)) == whole
    for n_bytes in (1, 10_000, 40_000):  # a block is of two clients; and a call begins one round, or a few
        monkeypatch.setattr(native, "BLOCK_BYTES", n_bytes)
        assert bits(federate("native", network, runs, (1.0, 0.9, 0.5, 0.4), algorithm=algorithm)) == whole


def test_rounds_that_nobody_looks_at_are_handed_over_call_by_call(monkeypatch):
    network, runs = two_runs()
    schedule = Schedule((1.0, 0.9, 0.5, 0.4), 2, 4, 1.0, 2)
    for seconds, ends in ((60.0, [4]), (0.0, [1, 2, 3, 4])):  # a call ends with its last round, or with its first
        monkeypatch.setattr(native, "SECONDS", seconds)
        training = LocalTraining(network, runs, schedule, "native")
        stands = train(training, network, [start_of(run) for run in runs], schedule, each_round=False)
        assert [trained.n_rounds for trained, _ in stands] == ends


@pytest.mark.parametrize("algorithm", IN_C)
@pytest.mark.parametrize("n_threads", [3, 10**9])
def test_threads_move_no_bit(n_threads, algorithm, monkeypatch):
    network, runs = two_runs()
    alone = bits(federate("native", network, runs, (1.0, 0.9, 0.5), algorithm=algorithm))
    built = native.NativeEngine.__init__
    monkeypatch.setattr(native.NativeEngine, "__init__", lambda *a, **k: built(*a, **k | {"n_threads": n_threads}))
    assert bits(federate("native", network, runs, (1.0, 0.9, 0.5), algorithm=algorithm)) == alone


@pytest.mark.parametrize("algorithm", IN_C)
def test_many_parameters_are_averaged_on_all_threads_to_the_same_bits(algorithm, monkeypatch):
    network = make_network((260,), d=30, hidden=(60,))
    run = in_float32(make_run(network, [17, 1, 40, *[9] * 10]))
    assert network.layout.size * 13 > 200_000  # `add_up` of `native.c` then shares slices
    built = native.NativeEngine.__init__
    monkeypatch.setattr(native.NativeEngine, "__init__", lambda *a, **k: built(*a, **k | {"n_threads": 2}))
    found = bits(federate("native", network, [run], (1.0, 0.9), algorithm=algorithm))
    monkeypatch.setattr(LocalTraining, "average_rounds", lambda *_, **__: None)
    assert bits(federate("native", network, [run], (1.0, 0.9), algorithm=algorithm)) == found


@pytest.mark.parametrize("algorithm", IN_C)
def test_who_trains_beside_moves_no_bit(algorithm):
    network, runs = two_runs()
    (*_, alone) = federate("native", network, runs[:1], (1.0, 0.9, 0.8), algorithm=algorithm)
    (*_, beside) = federate("native", network, runs, (1.0, 0.9, 0.8), algorithm=algorithm)
    assert beside.state.weights[0].numpy().tobytes() == alone.state.weights[0].numpy().tobytes()
    assert beside.losses[:5].tobytes() == alone.losses.tobytes()


@pytest.mark.sampled(2)
@pytest.mark.parametrize("algorithm", IN_C)
@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_references_of_many_rounds_are_those_of_the_loop(algorithm, dropout):
    """Z under the newest model is that of a batch of full gradients, unless modalities drop out of this."""
    network = make_network((5, 3), d=4, hidden=(9,))
    run = make_run(network, [9, 1, 13], n_history=1, contrastive_weight=2.0, temperature=0.2, modality_dropout=dropout)
    ours, theirs = (
        federate(engine, network, [run], (1.0, 0.9, 0.8), algorithm=algorithm) for engine in ("native", "loop")
    )
    for mine, other in zip(ours, theirs, strict=True):
        exact(mine.state.weights, other.state.weights, rtol=1e-8, atol=1e-9)
        assert_allclose(mine.losses, other.losses, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_what_stands_in_a_missing_block_moves_no_bit(fusion):
    network = make_network((5, 3), d=4, hidden=(9,), fusion=fusion)
    run = in_float32(make_run(network, [17, 1, 40], n_history=1, modality_dropout=0.3))
    lacks = np.random.default_rng(0).integers(0, 3, len(run.x))  # the first, the second, none
    present = lacks[:, None] != np.arange(2)
    weights = []
    for filling in (0.0, 1e3):
        x = run.x.clone()
        x[lacks == 0, :5], x[lacks == 1, 5:] = filling, filling
        weights.append(bits(federate("native", network, [replace(run, x=x, present=present)], (1.0, 0.5))))
    assert weights[0] == weights[1]
    assert weights[0] != bits(federate("native", network, [run], (1.0, 0.5)))


@pytest.mark.sampled(2)
@pytest.mark.parametrize("algorithm", IN_C)
def test_a_client_that_is_not_finite_is_left_to_the_server(algorithm):
    network, runs = two_runs()
    runs = [replace(run, settings=make_settings(server_learning_rate=0.02)) for run in runs]
    x = runs[0].x.clone()
    x[runs[0].partition.rows[2]] = torch.nan
    sick = [replace(runs[0], x=x), runs[1]]
    ours, theirs = (
        federate(engine, network, sick, (1.0, 0.9, 0.5), algorithm=algorithm) for engine in ("native", "torch")
    )
    for mine, other in zip(ours, theirs, strict=True):
        assert_array_equal(mine.dropped, other.dropped)
        assert_array_equal(np.isnan(mine.losses), np.isnan(other.losses))
        torch.testing.assert_close(mine.state.weights, other.state.weights, rtol=1e-3, atol=1e-5)
    assert ours[0].dropped.sum() == 1


@pytest.mark.parametrize("algorithm", IN_C)
def test_a_run_that_diverges_leaves_the_others_alone(algorithm, monkeypatch):
    network, runs = two_runs()
    rates = {"learning_rate": 1e30, "server_learning_rate": 1e39}  # more than float32 can hold
    wild = [replace(runs[1], settings=make_settings(**rates)), runs[0]]
    by_server = asked_of_the_server(monkeypatch)
    records = federate("native", network, wild, (1.0, 0.9, 0.5), algorithm=algorithm)
    assert [r.diverged.tolist() for r in records] == [[True, False]] * 3
    assert by_server == [0]  # which says who has diverged; after it the other goes on in C
    alone = federate("native", network, [runs[0]], (1.0, 0.9, 0.5), algorithm=algorithm)
    assert records[-1].state.weights[1].numpy().tobytes() == alone[-1].state.weights[0].numpy().tobytes()


def test_a_step_of_the_server_that_ends_nowhere_is_found_in_its_round(monkeypatch):
    network, runs = two_runs()
    runs = [replace(runs[0], settings=make_settings(server_learning_rate=3e38)), runs[1]]
    factors = (1e-38, 1e-38, 1.0, 1e-38)  # the third step is longer than float32 can hold
    ours = federate("native", network, runs, factors, algorithm="fedsgd")
    assert [r.diverged.tolist() for r in ours] == [[False, False]] * 2 + [[True, False]] * 2
    monkeypatch.setattr(LocalTraining, "average_rounds", lambda *_, **__: None)
    assert bits(federate("native", network, runs, factors, algorithm="fedsgd")) == bits(ours)


# ------------------------------------------------------------------------------------------------ a fit


def fitted(**parameters):
    return FDRMFLTransformer(**{"tuning": None} | OPTIONS | parameters).fit(TECATOR, FAT, client_ids=IDS)


def test_auto_takes_it_and_says_so():
    assert fitted().engine_ == "native"
    assert {fitted(fusion=fusion).engine_ for fusion in FUSIONS} == {"native"}
    assert fitted(encoders=Conv2DEncoder((1, 10, 10)), n_rounds=1).engine_ == "native"
    assert fitted(engine="torch").engine_ == "torch"


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"participation": 0.6},
        {"early_stopping": True},
        {"algorithm": "scaffold"},
        {"algorithm": "fedsgd"},
        {"algorithm": "fedprox"},
        {"algorithm": "scaffold", "participation": 0.6, "local_epochs": 1},
        {"algorithm": "fedsgd", "early_stopping": True},
        {"aggregation": "median"},
        {"history_size": 0},
        {"n_rounds": 1},
        {"fusion": "mean", "modalities": HALVES},
        {"fusion": "gated", "modalities": HALVES, "modality_dropout": 0.3},
        {"fusion": "attention", "modalities": HALVES},
        {"encoders": Conv1DEncoder()},
    ],
    ids=str,
)
def test_a_fit_is_that_of_the_torch_engine_and_so_is_its_ledger(parameters):
    ours, theirs = (fitted(engine=engine, **parameters) for engine in ("native", "torch"))
    spread = np.ptp(theirs.predict(TECATOR))
    assert np.abs(ours.predict(TECATOR) - theirs.predict(TECATOR)).max() < 0.01 * spread
    assert list(ours.federation_log_) == list(theirs.federation_log_)
    assert ours.history_.keys() == theirs.history_.keys()
    for name in ("mse", "kl", "loss"):
        np.testing.assert_allclose(ours.history_[name], theirs.history_[name], rtol=0.02, atol=1e-4)


def test_threads_and_verbosity_move_no_bit_of_a_fit(capsys):
    plain = fitted().transform(TECATOR)
    for parameters in ({"n_jobs": 2}, {"n_jobs": -1}, {"verbose": 2}):
        assert_array_equal(fitted(**parameters).transform(TECATOR), plain)
    with parallel_config("threading", n_jobs=2):
        assert_array_equal(fitted().transform(TECATOR), plain)


def test_n_jobs_reaches_the_engine(monkeypatch):
    asked = []
    built = native.NativeEngine.__init__

    def watched(self, *arguments, **options):
        asked.append(options["n_threads"])
        built(self, *arguments, **options)

    monkeypatch.setattr(native.NativeEngine, "__init__", watched)
    fitted(n_jobs=3)
    with parallel_config("threading", n_jobs=2):
        fitted()
    fitted()
    assert asked == [3, 2, 1]


# ------------------------------------------------------------------------------------------- interrupts


def large_fit():
    """A fit of some seconds."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((6_000, 60))
    return FDRMFLTransformer(n_rounds=400, random_state=0, preprocessing=None, tuning=None), X, X[:, 0] + X[:, 1] ** 2


def test_an_interrupt_is_seen_within_a_second_and_keeps_the_rounds_that_are_done(monkeypatch):
    model, X, y = large_fit()
    pressed, counted = [], LocalTraining._counted

    def press():
        pressed.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(0.2, press)

    def watched(self, *arguments):
        for n, block in enumerate(counted(self, *arguments)):
            if n == 0:  # the first rounds are done, and the next ones are trained when the key is pressed
                timer.start()
            yield block

    monkeypatch.setattr(LocalTraining, "_counted", watched)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, y)
    waited = time.monotonic() - pressed[0]
    timer.join()
    assert 0 < model.n_rounds_ < 400
    assert waited < 5.0  # a second and what it takes to finish, on a machine that may be busy
    assert np.isfinite(model.predict(X)).all()


@pytest.mark.slow
def test_other_threads_go_on_meanwhile():
    model, X, y = large_fit()
    ticks, stop = [], threading.Event()

    def tick():
        while not stop.wait(0.01):
            ticks.append(time.monotonic())

    thread = threading.Thread(target=tick)
    thread.start()
    model.set_params(n_rounds=15).fit(X, y)
    stop.set()
    thread.join()
    assert len(ticks) > 5 and max(np.diff(ticks)) < 0.35


@pytest.mark.slow
def test_it_trains_in_a_process_that_was_forked():
    code = (
        "import os, sys, numpy as np; from skfdrmfl import FDRMFLTransformer\n"
        "X = np.random.default_rng(0).standard_normal((60, 5)); y = X[:, 0]\n"
        "model = FDRMFLTransformer(n_rounds=3, random_state=0, n_jobs=2, engine='native')\n"
        "def fit(): return model.fit(X, y, [0, 1] * 30)\n"
        "expected = fit().predict(X)\n"
        "pid = os.fork()\n"
        "if pid == 0: os._exit(0 if np.array_equal(fit().predict(X), expected) else 1)\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n"
    )
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", code], timeout=120).returncode == 0


# ------------------------------------------------------------------------------------ what is not covered


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"alignment": "moments", "modalities": HALVES}, "engine='native' covers alignment='homoscedastic' alone; set"),
        ({"encoders": RecurrentEncoder((2, 50), hidden_size=2)}, "that of modality 'x' is another"),
        ({"history_size": 64}, "covers history_size up to 63"),
    ],
)
def test_what_it_does_not_cover_is_refused_by_name_and_left_to_torch_by_auto(parameters, said):
    with pytest.raises(ValueError, match=said):
        fitted(engine="native", **parameters)
    assert fitted(engine="auto", **parameters).engine_ == "torch"


def test_linear_encoders_and_several_modalities_are_covered():
    assert fitted(modalities=HALVES, encoders={"b": LinearEncoder()}).engine_ == "native"


def test_a_fusion_of_another_kind_is_left_to_torch(monkeypatch):
    monkeypatch.setitem(FUSIONS, "own", type("OwnFusion", (MeanFusion,), {}))
    network, device, sizes = make_network((3, 2), fusion="own"), "cpu", np.array([5])
    assert engine_for("auto", network, device, 3, sizes, [make_settings()]) == "torch"
    with pytest.raises(ValueError, match="engine='native' does not cover the fusion OwnFusion; set"):
        engine_for("native", network, device, 3, sizes, [make_settings()])


def test_without_a_compiled_library_auto_is_the_torch_engine(monkeypatch):
    monkeypatch.setattr(native, "library", lambda dtype=None: None)
    assert fitted().engine_ == "torch"
    with pytest.raises(ValueError, match="engine='native' has not been compiled for this machine: install a wheel"):
        fitted(engine="native")


def test_what_it_costs_that_nothing_is_compiled_is_said_once_a_process_and_is_no_warning(monkeypatch, caplog):
    engines._say_once.cache_clear()
    monkeypatch.setattr(native, "library", lambda dtype=None: None)
    asked = make_network((3, 2)), "cpu", 3, np.array([5]), [make_settings()]
    assert engine_for("torch", *asked) == "torch"
    assert caplog.records == []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [engine_for("auto", *asked) for _ in range(3)] == ["torch"] * 3
    (record,) = caplog.records
    assert record.name == "skfdrmfl" and "up to 150 times as long; install a C compiler" in record.getMessage()
    engines._say_once.cache_clear()
    monkeypatch.setattr(engines, "current_process", lambda: Namespace(name="LokyProcess-1"))
    engine_for("auto", *asked)
    assert len(caplog.records) == 1


def test_a_library_for_another_processor_is_passed_over(monkeypatch, tmp_path):
    source = tmp_path / "foreign.c"
    source.write_text("int processor_can(void) { return 0; }\n")
    foreign, broken = native_builds.compile_source(source, tmp_path / "foreign.so"), tmp_path / "broken.so"
    broken.write_bytes(b"no library")
    good = native.LIBRARIES[np.dtype(np.float32)]
    monkeypatch.setattr(native, "LIBRARIES", {np.dtype(np.float32): [foreign, broken, *good]})
    found = native.library.__wrapped__(np.dtype(np.float32))
    assert found is not None and hasattr(found, "train_rounds")
    monkeypatch.setattr(native, "LIBRARIES", {np.dtype(np.float32): [foreign, broken]})
    assert native.library.__wrapped__(np.dtype(np.float32)) is None


def test_a_client_of_too_many_rows_is_left_to_torch():
    network = make_network((3,))
    device = "cpu"
    assert engine_for("auto", network, device, 3, np.array([5, native.MOST_ROWS - 1]), []) == "native"
    assert engine_for("auto", network, device, 3, np.array([5, native.MOST_ROWS]), []) == "torch"


def test_memory_that_does_not_suffice_for_training_is_an_error(monkeypatch):
    class Full:
        """The library, but that rounds find no memory."""

        def __getattr__(self, name):
            return getattr(library, name) if name in ("step_of_rows", "few_rows") else lambda *arguments: -1

    library = native.library()
    monkeypatch.setattr(native, "library", lambda *dtype: Full())
    with pytest.raises(MemoryError, match="no memory for training with engine='native'"):
        federate("native", make_network((3,)), [in_float32(make_run(make_network((3,)), [5, 3]))], (1.0,))


def test_there_is_no_room_beyond_a_ragged_clients_rows():
    # Every other row is NaN and nobody's: one that is read turns up in the weights.
    network = make_network((6, 4))
    run = in_float32(make_run(network, [5, 3, 9], n_history=1))
    x = torch.full((2 * len(run.x), run.x.shape[1]), torch.nan)
    y = torch.full((2 * len(run.y), run.y.shape[1]), torch.nan)
    x[::2], y[::2] = run.x, run.y
    spread = replace(run, x=x, y=y, partition=Partition(run.partition.positions, [2 * r for r in run.partition.rows]))
    ours, expected = (federate("native", network, [r], (1.0, 0.5)) for r in (spread, run))
    assert bits(ours) == bits(expected)


@pytest.mark.slow
@pytest.mark.parametrize("width", [(), ("-DNATIVE_WIDTH=128", "-Wno-psabi")], ids=["of two", "of sixteen numbers"])
def test_sanitizers_find_nothing_whatever_the_width_of_vectors(width):
    """Run rounds of many kinds in a process of their own, under the sanitizers of address and undefined behaviour."""
    flags = ("-DNATIVE_DOUBLE", "-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    library = native_builds.build(*flags, *width)
    runtime = subprocess.run([native_builds.COMPILER, "-print-file-name=libasan.so"], capture_output=True, text=True)
    environment = os.environ | {
        "LD_PRELOAD": runtime.stdout.strip(),
        "ASAN_OPTIONS": "detect_leaks=0",
        "SKFDRMFL_NATIVE_FLOAT64": str(library),
    }
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "0", __file__, "-k"]
    chosen = (
        ["in_float64_it_is_the_loop"] if width else ["in_float64_it_is_the_loop or no_room or many_rounds", "-m", ""]
    )
    done = subprocess.run([*command, *chosen], env=environment, capture_output=True, text=True, timeout=540)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]


def test_a_library_of_an_earlier_version_is_not_taken(monkeypatch):
    now = native.library()
    if now is None:
        pytest.skip("nothing is compiled here")
    names = ("n_terms", "n_settings", "processor_can")
    earlier = Namespace(**{name: getattr(now, name) for name in names})
    monkeypatch.setattr(native.ctypes, "CDLL", lambda path: earlier)
    assert native.library.__wrapped__() is None
    earlier.few_rows = now.few_rows
    assert native.library.__wrapped__() is earlier


def test_its_limits_are_those_of_the_source():
    text = native_builds.SOURCE.read_text() + native_builds.SOURCE.with_name("native_matrices.h").read_text()
    written = dict(re.findall(r"\b(LANES|MOST_LAYERS|MOST_MODALITIES|MOST_MODELS) = (\d+)", text))
    assert len(written) == 4
    assert {name: getattr(native_structs, name) for name in written} == {n: int(m) for n, m in written.items()}
    assert native_structs.MOST_ROWS == 2**24  # whole numbers of float32


def test_it_knows_every_setting_of_a_client_and_every_term():
    # A new one is to be written in `native.c` too; until then `why_not` refuses it.
    assert set(native.SETTINGS) | chunk.OF_SERVER == set(make_settings().by_name())
    assert term_names() == native.TERMS


@pytest.mark.parametrize("weight", [0.0, 0.3])
def test_a_new_term_is_trained_by_torch_and_recorded_right_by_whoever_trains(monkeypatch, weight):
    # The mean square of Z, under the weight of a parameter that some subclass may have.
    new = objective.Term("size", lambda p: p.z.square().mean(-1), "size_weight")
    monkeypatch.setattr(objective, "TERMS", (objective.TERMS[0], new, *objective.TERMS[1:]))
    monkeypatch.setattr(FDRMFLTransformer, "size_weight", weight, raising=False)
    model = fitted(tuning=None)
    assert model.engine_ == ("torch" if weight else "native")
    history = model.history_
    assert np.all((history["size"] > 0) == (weight > 0))
    weights = {"mi": 1e-3, "kl": 1e-3, "contrastive": 1e-3, "size": weight}
    assert_allclose(history["loss"], history["mse"] + sum(w * history[n] for n, w in weights.items()), rtol=1e-4)
    if weight:
        with pytest.raises(ValueError, match="engine='native' does not know 'size_weight'; set engine='torch'"):
            fitted(tuning=None, engine="native")
        size = lambda m: np.square(m.transform(TECATOR)).mean()  # noqa: E731
        monkeypatch.setattr(FDRMFLTransformer, "size_weight", 0.0)
        assert size(model) < size(fitted(tuning=None, engine="torch"))
    else:
        monkeypatch.undo()
        assert_array_equal(fitted(tuning=None).history_["mse"], history["mse"])


def test_a_term_without_a_weight_that_is_not_in_c_is_left_to_torch(monkeypatch):
    new = objective.Term("size", lambda p: p.z.square().mean(-1), trained=False)
    monkeypatch.setattr(objective, "TERMS", (*objective.TERMS, new))
    assert fitted(tuning=None).engine_ == "torch"


@pytest.mark.parametrize("name", ["TERMS", "SETTINGS"])
def test_a_library_that_was_compiled_with_other_terms_or_settings_is_none(monkeypatch, name):
    monkeypatch.setattr(native, name, (*getattr(native, name), "another"))
    assert native.library.__wrapped__(np.dtype(np.float32)) is None
