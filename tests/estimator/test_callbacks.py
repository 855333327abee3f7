"""Callbacks: what they are told, that they move no bit, and that they can end a fit."""

import csv
import pickle
import re
import sys
import warnings
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from helpers import before_rounds
from numpy.testing import assert_array_equal
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from skfdrmfl import CSVLogger, FDRMFLTransformer

callbacks = pytest.importorskip("sklearn.callback", reason="scikit-learn has callbacks from 1.9 on")

rng = np.random.default_rng(0)
N = 60
X = rng.standard_normal((N, 5))
Y = X[:, 0] + 0.1 * rng.standard_normal(N)
IDS = np.arange(N) % 3
SMALL = {"n_rounds": 4, "local_epochs": 1, "hidden_layer_sizes": (4,), "modality_dim": 3, "random_state": 0}


def fdrmfl(**parameters):
    return FDRMFLTransformer(**({"tuning": None} | SMALL | parameters))


class OfOneEstimator:
    """Remembers all that a callback hears."""

    def __init__(self, stop_after=None, error=None):
        self.heard, self.fitted, self.numbers, self.stop_after, self.error = [], [], [], stop_after, error

    def setup(self, estimator, context):
        self.heard.append(("setup", type(estimator).__name__))

    def teardown(self, estimator, context):
        self.heard.append(("teardown", type(estimator).__name__))

    def on_fit_task_begin(self, estimator, context, *, X=None, y=None):
        assert (X is None) == (y is None)
        self.heard.append(("begin", context.task_name))

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        self.heard.append(("end", context.task_name))
        numbers = getattr(context, "numbers", None)
        if context.task_name == "round" and numbers is not None:
            self.numbers.append(numbers)
            self.fitted.append(fitted_estimator)
            if self.error is not None and len(self.numbers) == 2:
                raise self.error
            return len(self.numbers) == self.stop_after


class Recorder(OfOneEstimator):
    """Is handed down to estimators inside, as scikit-learn takes it from this attribute."""

    max_propagation_depth = None


def names(recorder, what):
    return [name for kind, name in recorder.heard if kind == what]


def same_fit(one, other):
    """Whether two fits left the same bits, in all that can be seen of them."""
    for name, array in one.weights_.items():
        assert_array_equal(array, other.weights_[name])
    assert one.history_.keys() == other.history_.keys()
    for name, array in one.history_.items():
        assert_array_equal(array, other.history_[name])
    assert list(one.federation_log_) == list(other.federation_log_)
    assert one.dropped_clients_ == other.dropped_clients_
    return True


OPTIONS = [
    {},
    {"early_stopping": True, "validation_fraction": 0.3, "n_iter_no_change": 1, "learning_rate": 0.3, "n_rounds": 20},
    {"shrinkage": "auto", "n_rounds": 2},
    {"aggregation": "median", "algorithm": "fedadam"},
    {"availability": np.arange(12).reshape(4, 3) % 5 > 0},
]


@pytest.mark.sampled(2)
@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: ",".join(options) or "plain")
def test_listening_and_verbose_change_no_bit(options, capsys):
    silent = fdrmfl(**options).fit(X, Y, IDS)
    recorder = Recorder()
    heard = fdrmfl(**options).set_callbacks(recorder).fit(X, Y, IDS)
    shown = [fdrmfl(**options, verbose=verbose).fit(X, Y, IDS) for verbose in (1, 2)]
    for other in (heard, *shown):
        assert same_fit(silent, other)
    assert len(recorder.fitted) == silent.n_rounds_ > 0
    assert sorted(names(recorder, "begin")) == sorted(names(recorder, "end"))


def test_each_round_is_a_task_with_the_numbers_of_the_history_and_a_model_fitted_so_far():
    recorder = Recorder()
    model = fdrmfl().set_callbacks(recorder).fit(X, Y, IDS)
    tasks = [(what, name) for what, name in recorder.heard if what in ("begin", "end")]
    assert tasks == [("begin", "fit"), *4 * [("begin", "round"), ("end", "round")], ("end", "fit")]
    assert recorder.heard[0] == ("setup", "FDRMFLTransformer") and recorder.heard[-1][0] == "teardown"
    for t, numbers in enumerate(recorder.numbers):
        assert numbers["round"] == t + 1
        for name in ("loss", "mse", "mi", "drift"):
            assert numbers[name] == model.history_[name][t]
    # One more round at a time is the same training, to the rate's cosine: each stands where a fit ended there stood.
    stopped = [fdrmfl().set_callbacks(Recorder(stop_after=t)).fit(X, Y, IDS) for t in range(1, 5)]
    for so_far, expected in zip(recorder.fitted, stopped, strict=True):
        assert_array_equal(so_far.predict(X), expected.predict(X))
        assert so_far.n_rounds_ == expected.n_rounds_
    assert_array_equal(recorder.fitted[-1].predict(X), model.predict(X))


def test_a_callback_ends_a_fit_with_the_rounds_so_far():
    model = fdrmfl().set_callbacks(Recorder(stop_after=2)).fit(X, Y, IDS)
    assert model.n_rounds_ == len(model.history_["mse"]) == 2
    assert_array_equal(model.history_["mse"], fdrmfl().fit(X, Y, IDS).history_["mse"][:2])


def test_an_error_in_a_callback_leaves_the_estimator_as_it_was_and_an_interrupt_keeps_the_rounds():
    model = fdrmfl().fit(X, Y, IDS)
    before = model.predict(X)
    recorder = Recorder(error=RuntimeError("in the callback"))
    with pytest.raises(RuntimeError, match="in the callback"):
        model.set_callbacks(recorder).fit(X, -Y, IDS)
    assert_array_equal(model.predict(X), before)
    assert recorder.heard[-1][0] == "teardown"
    recorder = Recorder(error=KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        model.set_callbacks(recorder).fit(X, Y, IDS)
    assert model.n_rounds_ == 2 and recorder.heard[-1][0] == "teardown"


@pytest.mark.parametrize("verbose", [1, 2])
def test_an_interrupt_in_a_round_keeps_the_rounds_before_whatever_is_shown(verbose, monkeypatch):
    rounds = []

    def interrupted(_):
        rounds.append(1)
        if len(rounds) == 3:
            raise KeyboardInterrupt

    before_rounds(monkeypatch, interrupted)
    recorder = Recorder()
    model = fdrmfl(verbose=verbose).set_callbacks(recorder)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y, IDS)
    assert model.n_rounds_ == 2 and recorder.heard[-1][0] == "teardown"
    assert np.isfinite(model.predict(X)).all()


def test_a_mixture_has_a_task_for_each_round_of_each_pass():
    recorder = Recorder()
    model = fdrmfl(tuning="mixture", n_rounds=2, algorithm="fedavg").set_callbacks(recorder).fit(X, Y, IDS)
    assert [numbers["round"] for numbers in recorder.numbers] == [1, 2, 3, 4]
    assert sorted(names(recorder, "begin")) == sorted(names(recorder, "end")) == ["fit", *["round"] * 4]
    assert_array_equal(recorder.fitted[-1].predict(X), model.predict(X))
    assert recorder.fitted[0].members_[0]["name"] == "mixture"


def test_a_mixture_that_is_interrupted_is_one_of_the_rounds_that_were_finished():
    recorder = Recorder(error=KeyboardInterrupt())
    model = fdrmfl(tuning="mixture").set_callbacks(recorder)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y, IDS)
    assert_array_equal(model.predict(X), recorder.fitted[-1].predict(X))


def test_a_fit_that_goes_on_from_a_checkpoint_has_tasks_for_the_rounds_left(tmp_path):
    path = tmp_path / "checkpoint"
    fdrmfl(checkpoint_path=path, checkpoint_every=1).set_callbacks(Recorder(stop_after=1)).fit(X, Y, IDS)
    recorder = Recorder()
    model = fdrmfl(checkpoint_path=path).set_callbacks(recorder).fit(X, Y, IDS)
    assert [numbers["round"] for numbers in recorder.numbers] == [2, 3, 4]
    assert same_fit(model, fdrmfl().fit(X, Y, IDS))
    recorder = Recorder()
    fdrmfl(checkpoint_path=path).set_callbacks(recorder).fit(X, Y, IDS)
    assert names(recorder, "begin") == ["fit"]


def test_a_private_round_reports_its_clip_alone():
    recorder = Recorder()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fdrmfl(dp_clip_norm=0.5, preprocessing=None, dp_bounds={"y": (-3.0, 3.0)}).set_callbacks(recorder).fit(
            X, Y, IDS
        )
    assert [set(numbers) for numbers in recorder.numbers] == 4 * [{"round", "clip_norm"}]


def test_partial_fit_is_heard_and_clones_and_files_keep_the_model_alone(tmp_path):
    recorder = Recorder()
    model = fdrmfl().set_callbacks(recorder).partial_fit(X, Y, IDS).partial_fit(X, Y, IDS)
    assert names(recorder, "begin") == 2 * ["partial_fit", "round"]
    model.save(tmp_path / "model.npz")
    assert_array_equal(FDRMFLTransformer.load(tmp_path / "model.npz").predict(X), model.predict(X))
    assert_array_equal(pickle.loads(pickle.dumps(model.set_callbacks())).predict(X), model.predict(X))


# ------------------------------------------------------------------------------------------ in company


def test_a_pipeline_hands_its_callbacks_down_without_a_warning():
    recorder = Recorder()
    pipeline = Pipeline([("scale", StandardScaler()), ("reduce", fdrmfl())]).set_callbacks(recorder)
    pipeline.fit(X, Y, reduce__client_ids=IDS)
    assert names(recorder, "setup") == ["Pipeline"] and names(recorder, "begin").count("round") == 4
    assert names(recorder, "begin")[0] == "fit"


def test_scikit_learns_monitor_follows_the_score_from_round_to_round():
    monitor = callbacks.ScoringMonitor(scoring="r2")
    model = fdrmfl().set_callbacks(monitor).fit(X, Y, IDS)
    scores = [row["r2"] for row in monitor.get_logs().data if row["task_name"] == "round"]
    assert scores[-1] == model.score(X, Y)
    assert scores == [fdrmfl().set_callbacks(Recorder(stop_after=t)).fit(X, Y, IDS).score(X, Y) for t in range(1, 5)]


@pytest.mark.slow
def test_a_callback_of_the_transformer_hears_each_fit_of_a_search_once():
    recorder = OfOneEstimator()
    search = GridSearchCV(fdrmfl().set_callbacks(recorder), {"mi_weight": [0.0, 0.01]}, cv=2, refit=False)
    search.fit(X, Y, client_ids=IDS)
    assert len(names(recorder, "setup")) == len(names(recorder, "teardown")) == 4
    assert names(recorder, "begin").count("fit") == names(recorder, "end").count("fit") == 4
    recorder = OfOneEstimator()
    pipeline = Pipeline([("reduce", fdrmfl())]).set_callbacks(recorder)
    search = GridSearchCV(pipeline, {"reduce__mi_weight": [0.0, 0.01]}, cv=2, refit=False)
    search.fit(X, Y, reduce__client_ids=IDS)
    assert len(names(recorder, "setup")) == 4


# ------------------------------------------------------------------------------------------ a CSV file


def rows_of(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_csv_file_has_a_line_for_each_round_with_the_numbers_of_the_history(tmp_path):
    logger = CSVLogger(tmp_path / "rounds.csv")
    assert isinstance(logger, callbacks.FitCallback) and isinstance(logger, callbacks.AutoPropagatedCallback)
    model = fdrmfl(early_stopping=True, n_iter_no_change=20).set_callbacks(logger).fit(X, Y, IDS)
    rows = rows_of(logger.path)
    assert [int(row["round"]) for row in rows] == [1, 2, 3, 4]
    for name in ("loss", "mse", "mi_nwj", "drift", "validation_mse"):
        assert_array_equal([float(row[name]) for row in rows], model.history_[name])
    assert {row["task"] for row in rows} == {"fit 0"} and {row["clip_norm"] for row in rows} == {""}
    assert np.all(np.diff([float(row["seconds"]) for row in rows]) >= 0)
    model.fit(X, Y, IDS)
    assert len(rows_of(logger.path)) == 8


@pytest.mark.slow
def test_the_csv_file_tells_the_fits_of_a_search_apart_in_other_processes_too(tmp_path):
    logger = CSVLogger(tmp_path / "rounds.csv")
    pipeline = Pipeline([("reduce", fdrmfl(n_rounds=2)), ("ridge", Ridge())])
    search = GridSearchCV(pipeline, {"reduce__mi_weight": [0.0, 0.01]}, cv=2, n_jobs=2).set_callbacks(logger)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Ridge has no callbacks, says scikit-learn
        search.fit(X, Y, reduce__client_ids=IDS)
    rows = rows_of(logger.path)
    assert len(rows) == 2 * (4 + 1) and len({row["task"] for row in rows}) == 5
    assert sum("search" in row["task"] for row in rows) == 8


# ------------------------------------------------------------------------------------------ recipes


def test_the_recipe_of_the_page_logs_each_round(monkeypatch):
    logged = []
    mlflow = SimpleNamespace(
        log_params=lambda params: None,
        log_metrics=lambda numbers, step: logged.append((step, numbers["mse"])),
        start_run=nullcontext,
    )
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)
    page = (Path(__file__).parents[2] / "docs" / "long_runs.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (callback,) = [text for text in blocks if "class AfterEachRound" in text]
    (block,) = [text for text in blocks if "import mlflow\n" in text]
    monkeypatch.setitem(FDRMFLTransformer.__init__.__kwdefaults__, "n_rounds", 2)
    monkeypatch.setitem(FDRMFLTransformer.__init__.__kwdefaults__, "tuning", None)
    names = {"X": X, "y": Y, "client_ids": IDS}
    exec(compile(callback + block, "long_runs.md", "exec"), names)
    mse = names["model"].history_["mse"]
    assert logged == [(1, mse[0]), (2, mse[1])]
