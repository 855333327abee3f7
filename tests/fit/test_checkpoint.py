"""Checkpoints: a fit that was killed and is started again ends in the same bits, and no other file is touched."""

from __future__ import annotations

import itertools
import os
import pickle
import shutil
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers import before_rounds, make_network, make_run, recorded, split_off, train_together
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from torch import nn

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.clients.simulation import Simulation
from skfdrmfl.common import randomness
from skfdrmfl.common.archive import write
from skfdrmfl.encoders import DenseEncoder, TorchEncoder
from skfdrmfl.fit import checkpoint as _checkpoint
from skfdrmfl.fit import fingerprint as _fingerprint
from skfdrmfl.fit.fingerprint import described
from skfdrmfl.fit.prepared_fit import Fitting
from skfdrmfl.protocol.algorithm_state import AlgorithmState
from skfdrmfl.protocol.plan import Schedule
from skfdrmfl.server.algorithms import ALGORITHMS, Algorithm
from skfdrmfl.server.history import Record
from skfdrmfl.server.trained import Best, ServerState, Trained

RNG = np.random.default_rng(20)
X = RNG.standard_normal((60, 9))
Y = X[:, 0] + 0.5 * RNG.standard_normal(60)
IDS = np.array(["north", "south", "east", "west"])[np.arange(60) % 4]
HOLES = X.copy()
HOLES[::4, 5:] = np.nan
FRAME = pd.DataFrame(X, columns=[f"c{j}" for j in range(9)]).assign(
    kind=np.where(X[:, 2] > 0, "up", None), flag=X[:, 3] > 0
)
TWO = {"modalities": {"a": slice(0, 5), "b": [5, 6, 7, 8]}}
OPTIONS = {"n_rounds": 5, "local_epochs": 1, "random_state": 0}

THERE = np.array([[1, 1, 1, 0], [0, 0, 1, 0], [1, 0, 1, 1], [1, 1, 1, 1], [0, 1, 0, 1]], dtype=bool)


def net(n_columns, n_outputs):
    return nn.Sequential(nn.Linear(n_columns, 5), nn.Tanh(), nn.Linear(5, n_outputs))


CASES = {
    "plain": (X, {}),
    "torch": (X, {"engine": "torch"}),
    "participation": (X, {"participation": 0.5, "history_size": 1, "contrastive_weight": 0.3}),
    "availability": (X, {"availability": THERE, "min_clients": 2, "participation": 0.7, "algorithm": "scaffold"}),
    "no history": (X, {"history_size": 0}),
    "float32": (X.astype(np.float32), {}),
    "early stopping": (X, {"early_stopping": True, "n_rounds": 9, "n_iter_no_change": 2, "learning_rate": 0.1}),
    "stopped at once": (X, {"early_stopping": True, "n_iter_no_change": 1, "learning_rate": 1.0}),
    "missing modalities": (HOLES, {**TWO, "fusion": "mean", "modality_dropout": 0.2}),
    "categories": (FRAME, {}),
    "mixture": (X, {"tuning": "mixture", "n_rounds": 3}),
    "a module": (X, {"encoders": TorchEncoder(net), "n_rounds": 3}),
    **{name: (X, {"algorithm": name}) for name in ALGORITHMS},
}
# In these no more is kept than in the others.
SELDOM = ("torch", "participation", "no history", "float32", "stopped at once", "fedavg", "fedprox", "fedavgm")


def everything(model, table=X):
    """All that a fit leaves, as bytes and plain values."""
    fitted = model._fitted
    arrays = {"models": fitted.models, "variance": fitted.variance, **fitted.weights, **fitted.history}
    arrays |= {f"{i} {name}": array for i, part in enumerate(fitted.memory) for name, array in part.items()}
    values = {name: np.asarray(array).tobytes() for name, array in arrays.items()}
    return values | {
        "Z": model.transform(table).tobytes(),
        "y": model.predict(table).tobytes(),
        "messages": list(model.federation_log_),
        "bytes": model.federation_log_.by_client(),
        "others": (
            fitted.n_rounds,
            fitted.best_round,
            fitted.shrinkage,
            repr(list(fitted.members)),
            fitted.clients.tolist(),
        ),
        "counts": (fitted.seed, fitted.n_samples_per_client.tolist(), fitted.ledger.round),
    }


def fit_keeping_copies(model, folder, monkeypatch, table=X, **more):
    """Fit, and return a copy of the checkpoint after each time it was written."""
    copies = []

    def write_and_copy(path, content, *, kind):
        write(path, content, kind=kind)
        copies.append(shutil.copy(path, folder / f"copy{len(copies)}"))

    with monkeypatch.context() as patch:
        patch.setattr(_checkpoint, "write", write_and_copy)
        model.fit(table, Y, IDS, **more)
    return copies


class Killed(BaseException):
    """What no fit expects."""


def killed_in_round(t, monkeypatch, fit, *, error=Killed):
    """Run a fit that dies in the middle of round `t`, when clients have been sent the model."""

    def die(round_index):
        if round_index + 1 == t:
            raise error

    with monkeypatch.context() as patch:
        before_rounds(patch, die)
        with pytest.raises(error):
            fit()


def before_each_round(act, monkeypatch):
    """Let something happen before each round; return the list of rounds, which grows."""
    rounds = []

    def acted(round_index):
        act()
        rounds.append(round_index)

    before_rounds(monkeypatch, acted)
    return rounds


def nothing():
    pass


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.npz"


# ------------------------------------------------------------------------------------------- the same bits


@pytest.mark.sampled(2)
@pytest.mark.parametrize("case", [pytest.param(case, marks=[pytest.mark.slow] * (case in SELDOM)) for case in CASES])
def test_a_fit_goes_on_from_any_round_and_ends_in_the_same_bits(case, path, tmp_path, monkeypatch):
    table, parameters = CASES[case]
    plain = FDRMFLTransformer(**{"tuning": None, **OPTIONS, **parameters}).fit(table, Y, IDS)
    expected = everything(plain, table)
    model = FDRMFLTransformer(**{"tuning": None, **OPTIONS, **parameters}, checkpoint_path=path, checkpoint_every=1)
    copies = fit_keeping_copies(model, tmp_path, monkeypatch, table)
    assert everything(model, table) == expected
    n_passed = plain._fitted.ledger.round  # rounds, of a mixture those of all passes
    assert len(copies) == 1 + max(1, n_passed)
    if case != "plain":  # of the others the first, one in the middle and the last
        copies = [copies[0], copies[len(copies) // 2], copies[-1]]
    for copy in copies:
        shutil.copy(copy, path)
        again = clone(model).fit(table, Y, IDS)
        assert everything(again, table) == expected
        assert path.read_bytes() == Path(copies[-1]).read_bytes()


@pytest.mark.sampled()
@pytest.mark.parametrize("every", [1, 2, pytest.param(3, marks=pytest.mark.slow), 100])
@pytest.mark.parametrize("t", [1, pytest.param(3, marks=pytest.mark.slow), 5])
def test_the_rounds_since_the_last_writing_are_trained_again(every, t, path, monkeypatch):
    parameters = {**OPTIONS, "early_stopping": True, "n_iter_no_change": 100}
    expected = everything(FDRMFLTransformer(tuning=None, **parameters).fit(X, Y, IDS))
    model = FDRMFLTransformer(tuning=None, **parameters, checkpoint_path=str(path), checkpoint_every=every)
    killed_in_round(t, monkeypatch, lambda: model.fit(X, Y, IDS))
    assert not hasattr(model, "n_rounds_")
    rounds = before_each_round(nothing, monkeypatch)
    assert everything(clone(model).fit(X, Y, IDS)) == expected
    assert rounds == list(range((t - 1) // every * every, 5))


class Momentum(Algorithm):
    """An algorithm that keeps something of the server and of each client."""

    def start(self, state, model, n_clients):
        if state.server:
            return state
        return AlgorithmState(
            {"velocity": np.zeros_like(model)}, {"last": np.zeros((n_clients, len(model)), model.dtype)}
        )

    def read(self, state, update, model, members):
        last = state.clients["last"].copy()
        last[update.replicas] += update.weights
        return update.weights, AlgorithmState(state.server, {"last": last})

    def step(self, state, model, average, round_):
        velocity = 0.5 * state.server["velocity"] + (average - model) + 1e-3 * state.clients["last"].mean(0)
        return model + velocity, AlgorithmState({"velocity": velocity}, state.clients)


@pytest.mark.parametrize("stops", [False, True])
def test_what_an_algorithm_remembers_is_kept(stops, path, tmp_path, monkeypatch):
    monkeypatch.setitem(ALGORITHMS, "fedavg", Momentum())
    parameters = {**OPTIONS, "participation": 0.5, "early_stopping": stops, "n_iter_no_change": 2, "learning_rate": 0.1}
    expected = everything(FDRMFLTransformer(tuning=None, **parameters).fit(X, Y, IDS))
    assert {"0 velocity", "1 last"} < expected.keys()
    model = FDRMFLTransformer(tuning=None, **parameters, checkpoint_path=path, checkpoint_every=1)
    for copy in fit_keeping_copies(model, tmp_path, monkeypatch):
        shutil.copy(copy, path)
        assert everything(clone(model).fit(X, Y, IDS)) == expected


@pytest.mark.slow
def test_runs_together_go_on_from_any_round_when_some_have_diverged_or_stopped():
    network, runs = make_network((4,)), []
    for seed, (sizes, rate) in enumerate((([18, 9], 0.1), ([20], 1e30), ([30, 7, 5], 0.3))):
        run = make_run(network, sizes, seed=seed, learning_rate=rate)
        kept, held_out = split_off(run.partition, 0.3, seed)
        runs.append(run.__class__(**{**vars(run), "partition": kept, "held_out": held_out}))
    schedule = Schedule(tuple(np.linspace(1, 0.1, 8)), 2, 8, 1.0, 2, patience=3)

    def stages(resume=None):
        return list(train_together(network, runs, schedule, "torch", resume=resume))

    whole = stages()
    assert whole[-1].diverged.tolist() == [False, True, False]
    for t, stage in [*enumerate(whole)][::2]:
        rest = stages(stage)
        assert len(rest) == len(whole) - t
        for mine, theirs in zip(rest[-1].stands, whole[-1].stands, strict=True):
            assert mine.models.tobytes() == theirs.models.tobytes()
            assert mine.state.weights.tobytes() == theirs.state.weights.tobytes()
            for name in ("losses", "validation", "validation_of_each"):
                assert recorded(mine.record, name).tobytes() == recorded(theirs.record, name).tobytes()
            assert (mine.diverged, mine.best.round) == (theirs.diverged, theirs.best.round)


def test_all_that_lives_from_round_to_round_is_in_the_file():
    """A field that is added to one of these has to be kept by `_checkpoint`."""
    assert {field.name for field in fields(Trained)} == {"state", "record", "best", "diverged"}
    assert {field.name for field in fields(ServerState)} == {"weights", "history", "round_index", "memory"}
    assert {field.name for field in fields(AlgorithmState)} == {"server", "clients"}
    assert {field.name for field in fields(Best)} == {"state", "round", "lowest", "patience"}
    # What is reported later is joined to the reports before a file is written.
    assert {field.name for field in fields(Record)} == {*_checkpoint.RECORDED, "positions", "sizes", "later"}


@pytest.mark.parametrize("state", [None, 7], ids=["None", "RandomState"])
def test_the_seed_is_the_one_that_was_drawn_before_the_kill(state, path, monkeypatch):
    drawn = itertools.count(100)
    monkeypatch.setattr(randomness.secrets, "randbits", lambda _: next(drawn))

    def random_state():
        return None if state is None else np.random.RandomState(state)

    def model():
        return FDRMFLTransformer(
            tuning=None, **{**OPTIONS, "random_state": random_state()}, checkpoint_path=path, checkpoint_every=2
        )

    killed_in_round(4, monkeypatch, lambda: model().fit(X, Y, IDS))
    again = model().fit(X, Y, IDS)
    seed = again._fitted.seed
    assert everything(again) == everything(
        FDRMFLTransformer(tuning=None, **{**OPTIONS, "random_state": seed}).fit(X, Y, IDS)
    )
    if state is not None:  # what is drawn next from it is what would have been drawn without the kill
        fresh = random_state()
        FDRMFLTransformer(tuning=None, **{**OPTIONS, "random_state": fresh}).fit(X, Y, IDS)
        assert again.random_state.randint(2**31) == fresh.randint(2**31)


SCRIPT = """
import sys
import numpy as np
from test_checkpoint import IDS, X, Y, everything
from skfdrmfl import FDRMFLTransformer

parameters = {"n_rounds": 400, "local_epochs": 2, "early_stopping": True, "n_iter_no_change": 400}
model = FDRMFLTransformer(**parameters, random_state=0, checkpoint_path=sys.argv[1], checkpoint_every=1)
print(hash(model.fit(X, Y, IDS).transform(X).tobytes()), flush=True)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no kill -9 here")
def test_a_process_killed_at_any_moment_and_started_again_ends_in_the_same_bits(path, tmp_path):
    environment = {
        **os.environ,
        "PYTHONHASHSEED": "0",
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[1]), *sys.path]),
    }

    def start(file):
        return subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(file)], env=environment, stdout=subprocess.PIPE, text=True
        )

    expected, process = start(tmp_path / "whole.npz").communicate(timeout=120)[0], start(path)
    stamps = set()
    while len(stamps) < 3 and process.poll() is None:
        stamps |= {path.stat().st_mtime_ns} if path.exists() else set()
    os.kill(process.pid, signal.SIGKILL)
    assert process.communicate()[0] == ""
    assert process.returncode == -signal.SIGKILL
    assert expected
    assert start(path).communicate(timeout=120)[0] == expected


# --------------------------------------------------------------------------------- what it leaves, and when


def test_without_a_path_nothing_is_written_or_hashed_and_no_bit_differs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("skfdrmfl.fit.fingerprint.fingerprint", None)
    monkeypatch.setattr("skfdrmfl.protocol.ledger.Ledger.copy", None)
    FDRMFLTransformer(tuning=None, **OPTIONS).fit(X, Y, IDS)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("every", "n_written"), [(1, 6), (2, 4), (3, 3), (5, 2), (10, 2)])
def test_the_file_is_written_after_preparation_every_few_rounds_and_at_the_end(every, n_written, path, monkeypatch):
    model = FDRMFLTransformer(tuning=None, **OPTIONS, checkpoint_path=path, checkpoint_every=every)
    assert len(fit_keeping_copies(model, path.parent, monkeypatch)) == n_written
    assert {p.name for p in path.parent.iterdir()} == {"run.npz", *(f"copy{i}" for i in range(n_written))}


def test_a_fit_that_is_done_is_returned_at_once_whatever_the_number_of_restarts(path, monkeypatch, capsys):
    model = FDRMFLTransformer(tuning=None, **{**OPTIONS, "random_state": None}, checkpoint_path=path).fit(X, Y, IDS)
    written = path.stat().st_mtime_ns, path.read_bytes()
    before_rounds(monkeypatch, None)
    for again in (clone(model), model):
        capsys.readouterr()
        assert everything(again.set_params(verbose=1, checkpoint_every=3).fit(X, Y, IDS)) == everything(model)
        assert f"goes on from {path}" in capsys.readouterr().out
    assert (path.stat().st_mtime_ns, path.read_bytes()) == written


def test_after_an_interrupt_the_finished_rounds_are_the_model_and_the_next_fit_goes_on(path, monkeypatch):
    expected = everything(FDRMFLTransformer(tuning=None, **OPTIONS).fit(X, Y, IDS))
    model = FDRMFLTransformer(tuning=None, **OPTIONS, checkpoint_path=path, checkpoint_every=100)
    killed_in_round(4, monkeypatch, lambda: model.fit(X, Y, IDS), error=KeyboardInterrupt)
    assert model.n_rounds_ == 3
    rounds = before_each_round(nothing, monkeypatch)
    assert everything(model.fit(X, Y, IDS)) == expected
    assert rounds == [3, 4]


def test_an_interrupt_while_the_file_is_written_costs_neither_the_model_nor_the_file(path, monkeypatch):
    model = FDRMFLTransformer(tuning=None, **OPTIONS, checkpoint_path=path, checkpoint_every=2)
    n_written = Counter()

    def interrupted(*args, **kwargs):
        n_written["files"] += 1
        write(*args, **kwargs)
        if n_written["files"] == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(_checkpoint, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            model.fit(X, Y, IDS)
    assert model.n_rounds_ == 2
    assert everything(model.fit(X, Y, IDS)) == everything(FDRMFLTransformer(tuning=None, **OPTIONS).fit(X, Y, IDS))


def test_a_disk_that_is_full_leaves_the_file_as_it_was_and_the_fit_goes_on_later(path, monkeypatch):
    model = FDRMFLTransformer(tuning=None, **OPTIONS, checkpoint_path=path, checkpoint_every=1)
    n_synced, fsync = Counter(), os.fsync

    def full(descriptor):
        n_synced["files"] += 1
        if n_synced["files"] > 4:  # two a writing: the file and its folder
            raise OSError(28, "No space left on device")
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match=r"No space left .*; make room.*run\.npz"):
            model.fit(X, Y, IDS)
    assert model.n_rounds_ == 2  # what has been trained is not lost
    assert [p.name for p in path.parent.iterdir()] == ["run.npz"]
    assert everything(model.fit(X, Y, IDS)) == everything(FDRMFLTransformer(tuning=None, **OPTIONS).fit(X, Y, IDS))


def test_a_disk_that_is_full_at_the_end_of_a_fit_leaves_the_model(path, monkeypatch):
    model = FDRMFLTransformer(tuning=None, **OPTIONS, checkpoint_path=path, checkpoint_every=10**6)
    write, n_written = _checkpoint.write, Counter()

    def full(*args, **kwargs):
        n_written["files"] += 1
        if n_written["files"] > 1:
            raise OSError(28, "No space left on device")
        write(*args, **kwargs)

    monkeypatch.setattr(_checkpoint, "write", full)
    with pytest.raises(OSError, match="No space left"):
        model.fit(X, Y, IDS)
    alone = FDRMFLTransformer(tuning=None, **OPTIONS).fit(X, Y, IDS)
    assert model.predict(X).tobytes() == alone.predict(X).tobytes()


def test_training_that_diverges_does_so_again(path):
    model = FDRMFLTransformer(
        tuning=None, **{**OPTIONS, "learning_rate": 1e30}, checkpoint_path=path, checkpoint_every=1
    )
    messages = []
    for _ in range(2):
        with pytest.raises(ValueError, match="training diverged in round") as error:
            model.fit(X, Y, IDS)
        messages.append(str(error.value))
        assert not _checkpoint.read(path, kind=_checkpoint.KIND)["training"]["passes"][0][0]["diverged"]
    assert messages[0] == messages[1]


def test_partial_fit_neither_reads_nor_writes_it(path):
    model = FDRMFLTransformer(tuning=None, **OPTIONS, checkpoint_path=path).fit(X, Y, IDS)
    path.write_bytes(b"something else")
    model.partial_fit(X[:40], Y[:40], IDS[:40])
    assert model.n_rounds_ == 6
    FDRMFLTransformer(tuning=None, **OPTIONS, checkpoint_path=path).partial_fit(X, Y, IDS)
    assert path.read_bytes() == b"something else"


def test_a_chain_of_warm_starts_goes_on_with_a_path_for_each_link(tmp_path, monkeypatch):
    def chain(**options):
        model = FDRMFLTransformer(tuning=None, **OPTIONS, warm_start=True, checkpoint_every=2, **options)
        for i, rows in enumerate((slice(None), slice(0, 50))):
            if options:
                model.set_params(checkpoint_path=tmp_path / f"link{i}.npz")
            model.fit(X[rows], Y[rows], IDS[rows])
        return model

    expected = everything(chain())
    killed_in_round(9, monkeypatch, lambda: chain(checkpoint_path="set later"))
    assert everything(chain(checkpoint_path="set later")) == expected
    model = FDRMFLTransformer(tuning=None, **OPTIONS, warm_start=True, checkpoint_path=tmp_path / "one.npz").fit(
        X, Y, IDS
    )
    with pytest.raises(ValueError, match=r"holds another fit: the model to go on from is one of 5 rounds \(.*was none"):
        model.fit(X, Y, IDS)


def test_a_warm_start_from_another_model_is_refused(path):
    for i, target in enumerate((Y, -Y)):
        model = (
            FDRMFLTransformer(tuning=None, **OPTIONS, warm_start=True)
            .fit(X, target, IDS)
            .set_params(checkpoint_path=path)
        )
        if i == 0:
            assert everything(model.fit(X, Y, IDS))["others"][0] == 10
        else:
            refused(path, "fit: the model to go on from is one of 5 rounds", lambda m=model: m.fit(X, Y, IDS))


def test_a_relative_path_is_that_of_the_folder_where_the_fit_began(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    rounds = before_each_round(lambda: os.chdir(tmp_path / "elsewhere"), monkeypatch)
    for _ in range(2):
        monkeypatch.chdir(tmp_path)
        FDRMFLTransformer(tuning=None, **OPTIONS, checkpoint_path="run.npz").fit(X, Y, IDS)
        assert rounds == list(range(5))  # the second time nothing is left to do
    assert [p.name for p in (tmp_path / "elsewhere").iterdir()] == []


def test_the_parameter_travels_with_the_estimator(path, tmp_path):
    model = FDRMFLTransformer(tuning=None, **OPTIONS, checkpoint_path=path).fit(X, Y, IDS)
    model.save(tmp_path / "model.npz")
    loaded = FDRMFLTransformer.load(tmp_path / "model.npz")
    for other in (loaded, clone(model), pickle.loads(pickle.dumps(model))):
        assert other.checkpoint_path == path
    assert everything(loaded.fit(X, Y, IDS)) == everything(model)


# -------------------------------------------------------------------------------------------------- refusals


def refused(path, match, fit):
    """Assert that a fit raises, in words, and leaves the file and the folder as they are."""
    before = path.read_bytes(), path.stat().st_mtime_ns, sorted(path.parent.iterdir())
    with pytest.raises(ValueError, match=match) as error:
        fit()
    assert (path.read_bytes(), path.stat().st_mtime_ns, sorted(path.parent.iterdir())) == before
    assert str(path) in str(error.value)
    assert "name another checkpoint_path, or remove the file to train anew" in str(error.value)


@pytest.fixture
def kept(path):
    """A path where the checkpoint of a fit is."""
    FDRMFLTransformer(tuning=None, **OPTIONS, checkpoint_path=path).fit(X, Y, IDS)
    return path


CHANGED_X, CHANGED_Y, CHANGED_IDS = X.copy(), Y.copy(), IDS.copy()
CHANGED_X[17, 3] += 1e-12
CHANGED_Y[59] = np.nextafter(Y[59], 9)
CHANGED_IDS[3] = "north"


@pytest.mark.parametrize(
    ("rows", "what"),
    [
        ((CHANGED_X, Y, IDS), r"X is 60 x 9 float64 \(\w+\) but was 60 x 9 float64 \(\w+\)\. "),
        (
            (X[:50], Y[:50], IDS[:50]),
            r"X is 50 x 9 float64 .* but was 60 x 9 float64 .*; y is 50 x 1 .*; client_ids is",
        ),
        ((X.astype(np.float32), Y, IDS), "X is 60 x 9 float32"),
        ((pd.DataFrame(X, columns=list("abcdefghi")), Y, IDS), "X is 60 x 9 float64"),
        ((X, CHANGED_Y, IDS), r"fit: y is 60 x 1 float64 \(\w+\) but was 60 x 1 float64 \(\w+\)\. "),
        ((X, Y[:, None], IDS), "fit: y is 60 x 1 float64"),
        ((X, Y, CHANGED_IDS), r"fit: client_ids is 4 clients \(\w+\) but was 4 clients \(\w+\)\. "),
        ((X, Y, np.where(IDS == "west", "wild", IDS)), "fit: client_ids is 4 clients"),
        ((X, Y, IDS[::-1]), "fit: client_ids is 4 clients"),
        ((X, Y, None), "fit: client_ids is 1 clients"),
        ((X, Y, IDS, np.arange(60)), r"fit: groups is 60 int64 \(\w+\) but was None\. "),
    ],
)
def test_other_rows_are_refused(rows, what, kept):
    refused(kept, what, lambda: FDRMFLTransformer(tuning=None, **OPTIONS, checkpoint_path=kept).fit(*rows))


def test_all_rows_of_a_large_table_are_hashed_whatever_its_layout(monkeypatch):
    whole = _fingerprint._digest([X])
    monkeypatch.setattr(_fingerprint, "slabs", lambda n: [slice(i, i + 3) for i in range(0, n, 3)])
    assert _fingerprint._digest([X]) == _fingerprint._digest([np.asfortranarray(X)]) == whole
    for i in (0, 17, 59):
        changed = X.copy()
        changed[i, 8] += 1.0
        assert _fingerprint._digest([changed]) != whole


def test_other_categories_of_equal_codes_are_refused(path):
    model = FDRMFLTransformer(tuning=None, **OPTIONS, checkpoint_path=path).fit(FRAME, Y, IDS)
    others = FRAME.assign(kind=np.where(X[:, 2] > 0, "over", None))
    refused(path, "fit: X is 60 x 11 float64", lambda: clone(model).fit(others, Y, IDS))


def test_other_groups_are_refused(path):
    model = FDRMFLTransformer(tuning=None, **OPTIONS, checkpoint_path=path)
    for groups in (np.arange(60) // 2, np.array([f"s{i // 2}" for i in range(60)]), np.array([*"ab"] * 30, object)):
        model.fit(X, Y, IDS, groups)
        assert everything(clone(model).fit(X, Y, IDS, groups.copy())) == everything(model)
        others = groups[::-1].copy()
        refused(path, "fit: groups is 60 ", lambda others=others: model.fit(X, Y, IDS, others))
        path.unlink()


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"learning_rate": 0.02}, r"fit: learning_rate is 0\.02 but was 0\.01\. Go on with what it was"),
        ({"n_rounds": 6, "mi_weight": 0}, r"fit: mi_weight is 0 but was 0\.001; n_rounds is 6 but was 5\."),
        ({"random_state": 1}, "random_state is 1 but was 0"),
        ({"random_state": None}, "random_state is None but was 0"),
        ({"encoders": DenseEncoder((5,))}, r"encoders is DenseEncoder\(.*hidden_layer_sizes=\(5\).* but was None"),
        ({"modalities": {"m": slice(None)}}, r"fit: modalities is m \(\w+\) but was"),
        ({"engine": "torch"}, r"engine is 'torch' but was 'native'"),
        ({"early_stopping": True}, "early_stopping is True but was False"),
        ({"hidden_layer_sizes": (31,)}, r"hidden_layer_sizes is \(31\) but was 'auto'"),
    ],
)
def test_other_settings_are_refused(changes, what, kept):
    refused(
        kept,
        what,
        lambda: FDRMFLTransformer(tuning=None, **{**OPTIONS, **changes}, checkpoint_path=kept).fit(X, Y, IDS),
    )


def test_who_is_there_counts_round_by_round_and_not_by_the_name_of_a_function(path):
    def fit(table):
        model = FDRMFLTransformer(tuning=None, **OPTIONS, checkpoint_path=path)
        labels = sorted(set(IDS))
        return model.set_params(availability=lambda t, client: table[t - 1, labels.index(client)]).fit(X, Y, IDS)

    assert everything(fit(THERE)) == everything(fit(THERE))
    refused(path, r"fit: availability is 5 x 4 bool \(\w+\) but was 5 x 4 bool", lambda: fit(THERE[::-1]))


def test_every_parameter_counts_but_those_that_move_no_bit(kept):
    model = FDRMFLTransformer(tuning=None, **OPTIONS, checkpoint_path=kept)
    free = {"verbose", "checkpoint_path", "checkpoint_every", "modalities", "warm_start"}
    free |= {"client_column", "groups_column", "n_jobs"}
    written = _checkpoint.read(kept, kind=_checkpoint.KIND)["fingerprint"]
    assert model.get_params(deep=False).keys() - written.keys() == free - {"modalities"}
    # Equal values in other guise are the same settings.
    same = {"batch_size": np.int64(32), "learning_rate": np.float64(0.01), "n_rounds": np.int32(5)}
    assert everything(clone(model).set_params(**same, warm_start=True).fit(X, Y, IDS)) == everything(
        model.fit(X, Y, IDS)
    )


def test_values_of_parameters_are_told_apart_and_do_not_depend_on_the_process():
    values = [
        None,
        "None",
        True,
        1,
        1.5,
        (1,),
        (1, 1),
        {"a": 1},
        {"a": 2},
        np.arange(3),
        np.arange(4),
        net,
        DenseEncoder,
    ]
    values += [DenseEncoder(), DenseEncoder((4,)), TorchEncoder(net), np.random.RandomState(0)]
    texts = [described(value) for value in values]
    assert len(set(texts)) == len(texts)
    assert not any(" at 0x" in text for text in texts)


def test_another_version_is_refused(path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("skfdrmfl.fit.fingerprint.__version__", "0.0.1")
        FDRMFLTransformer(tuning=None, **OPTIONS, checkpoint_path=path).fit(X, Y, IDS)
    model = FDRMFLTransformer(tuning=None, **{**OPTIONS, "n_rounds": 9}, checkpoint_path=path)
    refused(path, r"the version of skfdrmfl is \S+ but was 0\.0\.1\. Go on", lambda: model.fit(X, Y, IDS))


@pytest.mark.parametrize("n_bytes", [0, 1, 1000, -1000, -1])
def test_a_file_cut_short_is_refused(n_bytes, kept):
    kept.write_bytes(kept.read_bytes()[: n_bytes or 0])
    refused(
        kept,
        "no whole checkpoint",
        lambda: FDRMFLTransformer(tuning=None, **OPTIONS, checkpoint_path=kept).fit(X, Y, IDS),
    )


def test_a_damaged_file_is_refused(kept):
    content = bytearray(kept.read_bytes())
    content[len(content) // 2] ^= 1
    kept.write_bytes(content)
    refused(
        kept,
        "no whole checkpoint",
        lambda: FDRMFLTransformer(tuning=None, **OPTIONS, checkpoint_path=kept).fit(X, Y, IDS),
    )


@pytest.mark.parametrize("what", ["text", "npz", "a model"])
def test_a_file_of_something_else_is_refused(what, path):
    if what == "text":
        path.write_text("x,y\n1,2\n")
    elif what == "npz":
        np.savez(path, x=X)
    else:
        FDRMFLTransformer(tuning=None, **OPTIONS).fit(X, Y, IDS).save(path)
    refused(
        path,
        "no whole checkpoint",
        lambda: FDRMFLTransformer(tuning=None, **OPTIONS, checkpoint_path=path).fit(X, Y, IDS),
    )


@pytest.mark.parametrize("name", ["", ".", "there", "not there/run.npz", "file/run.npz"])
def test_a_path_where_no_file_can_be_is_refused_before_anything_is_computed(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    (tmp_path / "file").touch()
    monkeypatch.setattr("skfdrmfl.fit.prepare.fit_preprocessing", None)
    with pytest.raises(ValueError, match=f"checkpoint_path is '{name}', which .*; name a file in a folder that exists"):
        FDRMFLTransformer(tuning=None, **OPTIONS, checkpoint_path=name).fit(X, Y, IDS)


@pytest.mark.parametrize(("name", "value"), [("checkpoint_path", 3), ("checkpoint_every", 0)])
def test_values_that_are_no_path_or_no_number_of_rounds_are_refused(name, value):
    with pytest.raises(ValueError, match=f"'{name}' parameter"):
        FDRMFLTransformer(tuning=None, **OPTIONS, **{name: value}).fit(X, Y, IDS)


def test_two_fits_on_one_path_at_once_are_found_out(path, monkeypatch):
    other = FDRMFLTransformer(tuning=None, **{**OPTIONS, "n_rounds": 2}, checkpoint_path=path)
    begin = _checkpoint.Checkpoint.begin

    def meanwhile(self, *args):
        monkeypatch.setattr(_checkpoint.Checkpoint, "begin", begin)
        other.fit(X, Y, IDS)
        return begin(self, *args)

    monkeypatch.setattr(_checkpoint.Checkpoint, "begin", meanwhile)
    with pytest.raises(ValueError, match="which something else has written while this fit went on; give each fit"):
        FDRMFLTransformer(tuning=None, **OPTIONS, checkpoint_path=path).fit(X, Y, IDS)
    before_rounds(monkeypatch, None)
    assert everything(clone(other).fit(X, Y, IDS)) == everything(other)  # the file is the other's still


def test_a_twin_that_is_ahead_is_found_out_but_a_file_may_be_touched_or_copied_back(path, tmp_path, monkeypatch):
    model = FDRMFLTransformer(tuning=None, **OPTIONS, checkpoint_path=path, checkpoint_every=1)
    expected = everything(FDRMFLTransformer(tuning=None, **OPTIONS).fit(X, Y, IDS))

    def touch():
        shutil.copy(path, tmp_path / "copy")
        os.replace(tmp_path / "copy", path)
        os.utime(path)

    with monkeypatch.context() as patch:
        before_each_round(touch, patch)
        assert everything(model.fit(X, Y, IDS)) == expected
    finished = path.read_bytes()
    path.unlink()
    before_each_round(lambda: path.write_bytes(finished), monkeypatch)
    with pytest.raises(ValueError, match="which something else has written while this fit went on"):
        clone(model).fit(X, Y, IDS)
    assert path.read_bytes() == finished


def test_a_file_that_is_removed_meanwhile_is_written_again(path, monkeypatch):
    before_each_round(lambda: path.unlink(missing_ok=True), monkeypatch)
    model = FDRMFLTransformer(tuning=None, **OPTIONS, checkpoint_path=path).fit(X, Y, IDS)
    monkeypatch.undo()
    assert everything(clone(model).fit(X, Y, IDS)) == everything(model)


def test_a_search_fit_by_fit_is_told_that_one_path_is_too_few(path):
    search = GridSearchCV(
        FDRMFLTransformer(tuning=None, **OPTIONS, checkpoint_path=path), {"n_rounds": [2]}, cv=2, refit=False
    )
    search.set_params(error_score="raise")
    with pytest.raises(ValueError, match="fits that search or cross-validate need checkpoint_path=None"):
        search.fit(X, Y)


@pytest.mark.parametrize("error", [ConnectionResetError, TimeoutError])
def test_after_an_error_of_a_wire_nobody_is_asked_again(error, monkeypatch):
    model, asked = FDRMFLTransformer(tuning=None, **OPTIONS), []
    rounds, answer = Fitting.train, Simulation.sum

    def lost(fitting, **kwargs):
        yield next(rounds(fitting, **kwargs))
        monkeypatch.setattr(Simulation, "sum", lambda self, *queries: asked.append(queries) or answer(self, *queries))
        raise error

    monkeypatch.setattr(Fitting, "train", lost)
    with pytest.raises(error):
        model.fit(X, Y, IDS)
    assert not asked and not hasattr(model, "n_rounds_")
