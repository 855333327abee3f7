"""The vectorised searches are scikit-learn's, faster: same results, same habits."""

import os
import threading
import time
from inspect import signature
from types import SimpleNamespace

import numpy as np
import pytest
from joblib import effective_n_jobs, parallel_config
from joblib.parallel import ThreadingBackend
from numpy.testing import assert_allclose
from sklearn import config_context
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold, RandomizedSearchCV, ShuffleSplit
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from skfdrmfl import FDRMFLTransformer, IgnoreClients
from skfdrmfl.common.progress import Bar
from skfdrmfl.estimator import _fitting
from skfdrmfl.estimator._callbacks import Task
from skfdrmfl.estimator._postponed import Postponed, active_pool
from skfdrmfl.federation import simulation
from skfdrmfl.federation.engines import native
from skfdrmfl.model_selection import VectorizedGridSearchCV, VectorizedRandomizedSearchCV, _pool, _workers

rng = np.random.default_rng(0)
X = rng.standard_normal((60, 6)) @ rng.standard_normal((6, 12))
Y = np.sin(X[:, 0]) + X[:, 1] + 0.1 * rng.standard_normal(60)
IDS = np.repeat(["a", "b", "c"], [31, 20, 9])
GROUPS = np.arange(60) // 2

HAS_NATIVE = native.library() is not None


def defaults(search):
    return {name: repr(p.default) for name, p in signature(search).parameters.items()}


PIPELINE = Pipeline([("reduce", FDRMFLTransformer(n_rounds=2, local_epochs=1, random_state=0)), ("ridge", Ridge())])
# Torch trains in workers; the native engine in threads of its own, in one pass.
IN_TORCH = clone(PIPELINE).set_params(reduce__engine="torch")
GRID = {"reduce__mi_weight": [0.0, 0.1], "reduce__learning_rate": [1e-2, 3e-2], "ridge__alpha": [1e-3, 1.0]}
FEW = {"reduce__mi_weight": [0.0, 0.1], "ridge__alpha": [1e-3, 1.0]}


def same_results(ours, theirs, rtol=0.0):
    """All of `cv_results_` but the times."""
    assert ours.cv_results_.keys() == theirs.cv_results_.keys()
    for key, values in theirs.cv_results_.items():
        if key == "params" or key.startswith("param_"):
            assert repr(ours.cv_results_[key]) == repr(values)
        elif not key.endswith("_time"):
            assert_allclose(ours.cv_results_[key], values, rtol=rtol, err_msg=key)
    assert repr(ours.best_params_) == repr(theirs.best_params_)
    assert_allclose(ours.predict(X), theirs.predict(X), rtol=rtol)


@pytest.mark.parametrize(
    "grid",
    [
        GRID,
        pytest.param(
            {"reduce__shrinkage": [1e-1, 1e-5], "reduce__random_state": [0, 1]},  # unequal ranks, unequal seeds
            marks=pytest.mark.slow,
        ),
        {"reduce__n_components": [1, 3], "reduce__hidden_layer_sizes": [(8,), (4, 4)]},  # no two alike
        {"reduce__n_rounds": [1, 4], "reduce__engine": ["auto", "torch"], "reduce__history_size": [0, 2]},
        [{"reduce__kl_weight": [0.0, 1.0]}, {"reduce": [IgnoreClients(PCA(2)), IgnoreClients(PCA(4))]}],
    ],
    ids=["one group", "ranks and seeds", "shapes", "schedules", "other estimators"],
)
def test_scores_are_gridsearchs_to_the_last_bit(grid):
    options = {"cv": KFold(2, shuffle=True, random_state=1), "return_train_score": True}
    ours = VectorizedGridSearchCV(PIPELINE, grid, **options).fit(X, Y, reduce__client_ids=IDS)
    theirs = GridSearchCV(PIPELINE, grid, **options).fit(X, Y, reduce__client_ids=IDS)
    same_results(ours, theirs)


@pytest.mark.parametrize("chunk_size", [1, *(pytest.param(size, marks=pytest.mark.slow) for size in (2, 5))])
def test_the_size_of_a_pass_changes_nothing(chunk_size):
    whole = VectorizedGridSearchCV(PIPELINE, GRID, cv=3).fit(X, Y, reduce__client_ids=IDS)
    parts = VectorizedGridSearchCV(PIPELINE, GRID, cv=3, chunk_size=chunk_size)
    same_results(parts.fit(X, Y, reduce__client_ids=IDS), whole)


def test_client_ids_and_groups_are_routed():
    with config_context(enable_metadata_routing=True):
        options = {"cv": GroupKFold(3), "scoring": "neg_mean_squared_error"}
        ours = VectorizedGridSearchCV(PIPELINE, FEW, **options).fit(X, Y, client_ids=IDS, groups=GROUPS)
        theirs = GridSearchCV(PIPELINE, FEW, **options).fit(X, Y, client_ids=IDS, groups=GROUPS)
        same_results(ours, theirs)
    central = VectorizedGridSearchCV(PIPELINE, FEW, cv=GroupKFold(3)).fit(X, Y, groups=GROUPS)
    assert not np.array_equal(central.cv_results_["mean_test_score"], ours.cv_results_["mean_test_score"])


class Grouped(FDRMFLTransformer):
    """An estimator whose `fit` is told the groups too, and shows them as it is prepared."""

    __metadata_request__fit = {"client_ids": True, "groups": True}
    seen: list = []

    def fit(self, X, y, client_ids=None, groups=None):
        pool = active_pool()
        return self if pool and pool.fit(self, X, y, client_ids, groups) else super().fit(X, y, client_ids)

    def _prepare_fit(self, X, y, client_ids, groups=None, task=None):
        if active_pool():
            self.seen.append(groups)
        return super()._prepare_fit(X, y, client_ids)


@pytest.mark.parametrize("cv", [KFold(3), GroupKFold(3)])
def test_groups_reach_the_fit_where_it_asks_for_them(cv):
    Grouped.seen.clear()
    model = Grouped(n_rounds=1, random_state=0)
    with config_context(enable_metadata_routing=True):
        search = VectorizedGridSearchCV(model, {"mi_weight": [0.0, 0.1]}, cv=cv)
        search.fit(X, Y, client_ids=IDS, groups=GROUPS)
    folds = cv.split(X, Y, GROUPS) if isinstance(cv, GroupKFold) else cv.split(X)
    expected = [GROUPS[train] for train, _ in folds] * 2
    assert len(Grouped.seen) == len(expected)
    assert all(np.array_equal(a, b) for a, b in zip(Grouped.seen, expected, strict=True))


def test_fits_to_other_groups_are_other_fits():
    Grouped.seen.clear()
    pool = _pool.FitPool(_workers.Workers(), Bar("", 1, "fit", shown=False), Task(None))
    asked = [None, GROUPS, GROUPS.copy(), GROUPS + 1]
    with pool.collecting():
        for groups in asked:
            with pytest.raises(Postponed):
                Grouped(n_rounds=1, random_state=0).fit(X, Y, IDS, groups)
    assert [None if groups is None else groups[0] for groups in Grouped.seen] == [None, 0, 1]
    with pool.replaying():
        assert all(hasattr(Grouped(n_rounds=1, random_state=0).fit(X, Y, IDS, groups), "weights_") for groups in asked)
    assert len(Grouped.seen) == 3


def test_the_bare_estimator_several_scores_and_a_refit_of_choice():
    grid = {"weight_decay": [0.0, 0.3]}
    options = {"cv": 3, "scoring": ["r2", "neg_mean_absolute_error"], "refit": "r2"}
    estimator = FDRMFLTransformer(n_rounds=3, random_state=0)
    ours = VectorizedGridSearchCV(estimator, grid, **options).fit(X, Y, client_ids=IDS)
    same_results(ours, GridSearchCV(estimator, grid, **options).fit(X, Y, client_ids=IDS))
    without = VectorizedGridSearchCV(estimator, grid, cv=3, refit=False).fit(X, Y, client_ids=IDS)
    assert not hasattr(without, "best_estimator_")


def test_randomized_search_draws_the_same_candidates():
    space = {"reduce__mi_weight": np.linspace(0, 0.1, 7), "reduce__temperature": [0.2, 0.5, 1.0]}
    options = {"n_iter": 4, "random_state": 3, "cv": 3}
    ours = VectorizedRandomizedSearchCV(PIPELINE, space, **options).fit(X, Y, reduce__client_ids=IDS)
    same_results(ours, RandomizedSearchCV(PIPELINE, space, **options).fit(X, Y, reduce__client_ids=IDS))


def passes(monkeypatch):
    """The runs of each pass that is trained in this process from now on."""
    seen = []

    def spy(network, runs, *rest):
        seen.append(runs)
        return simulation.train_together(network, runs, *rest)

    monkeypatch.setattr(_workers, "train_together", spy)
    return seen


def trained_alone(monkeypatch):
    """The runs that an estimator trains by itself from now on."""
    seen = []

    def spy(self, honest=_fitting.Fitting.train):
        seen.append(self.run)
        return honest(self)

    monkeypatch.setattr(_fitting.Fitting, "train", spy)
    return seen


def sizes(seen):
    return [len(runs) for runs in seen]


def test_candidates_and_folds_train_in_one_pass(monkeypatch):
    seen = passes(monkeypatch)
    VectorizedGridSearchCV(PIPELINE, GRID, cv=3).fit(X, Y, reduce__client_ids=IDS)
    # Candidates that differ only in Ridge's alpha share a fit.
    assert sizes(seen) == [4 * 3]


@pytest.mark.parametrize(
    ("chunk_size", "expected"),
    [
        (1, [1] * 12),
        (5, [5, 5, 2]),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in ((6, [6, 6]), (12, [12]))),
        (100, [12]),
    ],
)
def test_each_fit_is_trained_once_in_passes_of_the_size_asked_for(chunk_size, expected, monkeypatch):
    seen = passes(monkeypatch)
    search = VectorizedGridSearchCV(PIPELINE, GRID, cv=3, chunk_size=chunk_size, refit=False)
    search.fit(X, Y, reduce__client_ids=IDS)
    assert sizes(seen) == expected
    assert len({(run.settings, run.x.numpy().tobytes()) for runs in seen for run in runs}) == 12


def test_rows_that_wait_are_bounded_and_counted_once_a_fold(monkeypatch):
    bytes_of_a_fold = 40 * 6 * 4  # training rows, whitened columns (X has rank 6), float32
    seen = passes(monkeypatch)
    search = VectorizedGridSearchCV(PIPELINE, GRID, cv=3, refit=False)
    # The rows of three folds are too many, and they come with the first candidate.
    monkeypatch.setattr(_pool, "MAX_WAITING_BYTES", 2.5 * bytes_of_a_fold)
    search.fit(X, Y, reduce__client_ids=IDS)
    assert sizes(seen) == [3, 3, 3, 3]
    # They are not too many, and the other candidates bring no further ones.
    seen.clear()
    monkeypatch.setattr(_pool, "MAX_WAITING_BYTES", 3.5 * bytes_of_a_fold)
    search.fit(X, Y, reduce__client_ids=IDS)
    assert sizes(seen) == [12]
    assert len({id(run.x) for run in seen[0]}) == 3


@pytest.mark.parametrize(
    ("grid", "expected"),
    [
        ({"reduce__n_components": [1, 3], "reduce__hidden_layer_sizes": [(8,), (4, 4)]}, [3, 3, 3, 3]),
        ({"reduce__n_rounds": [1, 4], "reduce__mi_weight": [0.0, 0.1]}, [6, 6]),
        ({"reduce__engine": ["torch", "auto"]}, [3, 3] if HAS_NATIVE else [6]),
        ({"reduce__shrinkage": [1e-1, 1e-5]}, [6]),  # unequal ranks are padded
    ],
    ids=["shapes", "schedules", "engines", "ranks"],
)
def test_fits_of_unlike_shapes_or_schedules_train_in_passes_of_their_own(grid, expected, monkeypatch):
    seen = passes(monkeypatch)
    VectorizedGridSearchCV(PIPELINE, grid, cv=3, refit=False).fit(X, Y, reduce__client_ids=IDS)
    assert sizes(seen) == expected


@pytest.mark.parametrize("chunk_size", [None, 1])
def test_what_stops_training_stops_the_search_at_once(chunk_size, monkeypatch):
    calls = []

    def fails(*args):
        calls.append(1)
        raise MemoryError("no room")

    monkeypatch.setattr(_workers, "train_together", fails)
    with pytest.raises(MemoryError, match="no room"):
        VectorizedGridSearchCV(PIPELINE, GRID, cv=3, chunk_size=chunk_size).fit(X, Y, reduce__client_ids=IDS)
    assert len(calls) == 1


def workers_meet(monkeypatch, folder):
    """From now on a training leaves the number of its process and thread in `folder`, and waits for a second one."""
    train_share = _workers._train_share

    def waits(*args):
        (folder / f"{os.getpid()} {threading.get_ident()}").touch()
        patience = time.monotonic() + 60
        while len(list(folder.iterdir())) < 2:
            if time.monotonic() > patience:
                raise TimeoutError("no other training runs at the same time")
            time.sleep(0.01)
        return train_share(*args)

    monkeypatch.setattr(_workers, "_train_share", waits)


def met(folder):
    """Processes, and threads of all processes, in which trainings have met."""
    ids = [path.name.split() for path in folder.iterdir()]
    return {int(process) for process, _ in ids}, {int(thread) for _, thread in ids}


class WithoutGenerators(ThreadingBackend):
    supports_return_generator = False


DIVIDED_GRID = {**FEW, "reduce__shrinkage": [1e-1, 1e-5]}


@pytest.fixture(scope="module")
def alone():
    """A search in one process."""
    return VectorizedGridSearchCV(IN_TORCH, DIVIDED_GRID, cv=3, n_jobs=1).fit(X, Y, reduce__client_ids=IDS)


@pytest.mark.parametrize(
    "backend",
    [
        pytest.param("loky", marks=pytest.mark.slow),
        "threading",
        pytest.param(WithoutGenerators(), id="lists"),
    ],
)
def test_two_workers_train_at_once_and_change_nothing(backend, alone, monkeypatch, tmp_path):
    workers_meet(monkeypatch, tmp_path)
    divided = VectorizedGridSearchCV(IN_TORCH, DIVIDED_GRID, cv=3, n_jobs=2)
    if backend == "loky":  # nobody has to ask for it
        divided.fit(X, Y, reduce__client_ids=IDS)
    else:
        with parallel_config(backend):
            divided.fit(X, Y, reduce__client_ids=IDS)
    same_results(divided, alone)
    processes, threads = met(tmp_path)
    if backend == "loky":
        assert len(processes) == 2
        assert os.getpid() not in processes
    else:
        assert processes == {os.getpid()}
        assert len(threads) == 2
        assert threading.get_ident() not in threads


@pytest.mark.parametrize(
    ("ambient", "n_jobs", "expected"),
    [
        *(pytest.param(*case, marks=pytest.mark.slow) for case in ((None, None, [12]), (None, 3, [4, 4, 4]))),
        (2, None, [6, 6]),
        (2, 1, [12]),
        (2, 3, [4, 4, 4]),
        (None, 5, None),
    ],
)
def test_n_jobs_is_read_as_scikit_learn_reads_it(ambient, n_jobs, expected, monkeypatch):
    seen = passes(monkeypatch)
    search = VectorizedGridSearchCV(IN_TORCH, GRID, cv=3, refit=False, n_jobs=n_jobs)
    with parallel_config("threading", n_jobs=ambient):
        workers = effective_n_jobs(n_jobs)
        search.fit(X, Y, reduce__client_ids=IDS)
    assert len(seen) == workers
    assert sorted(sizes(seen)) == (expected or [2, 2, 2, 3, 3])


def test_workers_get_runs_of_equal_rates_and_no_worker_gets_none(monkeypatch):
    # Only equal rates share a chunk of the stacked engine. Here every other candidate has the same one.
    seen = passes(monkeypatch)
    grid = {"reduce__kl_weight": [0.0, 0.1], "reduce__learning_rate": [1e-2, 3e-2]}
    search = VectorizedGridSearchCV(IN_TORCH, grid, cv=3, refit=False, n_jobs=2)
    with parallel_config("threading"):
        search.fit(X, Y, reduce__client_ids=IDS)
        assert sorted([run.settings.learning_rate for run in runs] for runs in seen) == [[1e-2] * 6, [3e-2] * 6]
        seen.clear()
        search.set_params(n_jobs=50).fit(X, Y, reduce__client_ids=IDS)
    assert sizes(seen) == [1] * 12


def test_threads_need_not_know_the_pool(monkeypatch):
    # A thread inherits no context variable, so a fit in one would train by itself.
    alone = trained_alone(monkeypatch)
    seen = passes(monkeypatch)
    union = FeatureUnion([("reduce", IN_TORCH["reduce"]), ("all", "passthrough")], n_jobs=2)
    search = VectorizedGridSearchCV(union, {"reduce__mi_weight": [0.0, 0.1]}, cv=2, refit=False, n_jobs=2)
    search.set_params(scoring=lambda fitted, X, y: float(fitted.transform(X)[:, 0].mean()))
    with parallel_config("threading"):
        search.fit(X, Y)
    assert sorted(sizes(seen)) == [2, 2]
    assert alone == []


def test_folds_of_an_unseeded_splitter_are_drawn_once(monkeypatch):
    seen = passes(monkeypatch)
    alone = trained_alone(monkeypatch)
    VectorizedGridSearchCV(PIPELINE, GRID, cv=ShuffleSplit(2), refit=False).fit(X, Y, reduce__client_ids=IDS)
    splits = iter(list(KFold(2).split(X)))  # an iterator can be read only once
    VectorizedGridSearchCV(PIPELINE, GRID, cv=splits, refit=False).fit(X, Y, reduce__client_ids=IDS)
    assert sizes(seen) == [8, 8]
    assert alone == []


def test_fits_without_a_seed_draw_their_own():
    pipeline = clone(PIPELINE).set_params(reduce__random_state=None)
    search = VectorizedGridSearchCV(pipeline, {"ridge__alpha": [1.0]}, cv=3)
    first = search.fit(X, Y, reduce__client_ids=IDS).cv_results_["mean_test_score"]
    assert first != search.fit(X, Y, reduce__client_ids=IDS).cv_results_["mean_test_score"]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.FitFailedWarning", "ignore:One or more of the test scores")
def test_a_candidate_that_fails_is_scored_as_gridsearch_scores_it():
    grid = {"reduce__learning_rate": [1e-2, 1e30, -1.0]}
    for error_score in (np.nan, -7.0):
        options = {"cv": 3, "error_score": error_score}
        ours = VectorizedGridSearchCV(PIPELINE, grid, **options).fit(X, Y, reduce__client_ids=IDS)
        theirs = GridSearchCV(PIPELINE, grid, **options).fit(X, Y, reduce__client_ids=IDS)
        same_results(ours, theirs)
    search = VectorizedGridSearchCV(PIPELINE, grid, cv=3, error_score="raise")
    with pytest.raises(ValueError, match="diverged"):
        search.fit(X, Y, reduce__client_ids=IDS)
    assert search.cv == 3


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.FitFailedWarning", "ignore:One or more of the test scores")
def test_a_fit_that_diverges_is_not_tried_again(monkeypatch):
    seen, alone = passes(monkeypatch), trained_alone(monkeypatch)
    grid = {"reduce__learning_rate": [1e-2, 1e30], "ridge__alpha": [1e-3, 1.0]}
    search = VectorizedGridSearchCV(PIPELINE, grid, cv=3, refit=False).fit(X, Y, reduce__client_ids=IDS)
    assert np.isnan(search.cv_results_["mean_test_score"]).sum() == 2
    assert sizes(seen) == [6]
    assert alone == []


def test_steps_before_are_fitted_on_training_rows_only():
    class Spy(TransformerMixin, BaseEstimator):
        seen: list = []

        def fit(self, X, y=None):
            self.seen.append(X[:, 0].tolist())
            return self

        def transform(self, X):
            return X

    steps = [("spy", Spy()), ("scale", StandardScaler()), *PIPELINE.steps]
    splits = list(KFold(3).split(X))
    VectorizedGridSearchCV(Pipeline(steps), GRID, cv=splits, refit=False).fit(X, Y, reduce__client_ids=IDS)
    training_rows = [X[train, 0].tolist() for train, _ in splits]
    assert Spy.seen
    assert all(rows in training_rows for rows in Spy.seen)


def test_parameters_that_cannot_be_pickled_are_fitted_one_by_one(monkeypatch):
    seen = passes(monkeypatch)
    estimator = clone(PIPELINE).set_params(reduce__modalities={"all": lambda table: slice(None)})
    ours = VectorizedGridSearchCV(estimator, FEW, cv=3).fit(X, Y, reduce__client_ids=IDS)
    same_results(ours, GridSearchCV(estimator, FEW, cv=3).fit(X, Y, reduce__client_ids=IDS))
    assert seen == []


def test_the_searched_estimator_and_the_parameters_are_left_alone():
    search = VectorizedGridSearchCV(PIPELINE, GRID, cv=3)
    before = search.get_params()
    search.fit(X, Y, reduce__client_ids=IDS)
    after = search.get_params()
    assert before.keys() == after.keys()
    assert all(before[name] is after[name] for name in before)
    assert not hasattr(PIPELINE["reduce"], "weights_")
    assert clone(search).get_params()["chunk_size"] is None


def test_a_search_can_continue_training():
    best = VectorizedGridSearchCV(PIPELINE["reduce"], {"mi_weight": [0.0, 0.1]}, cv=3).fit(X, Y, client_ids=IDS)
    fitted = best.best_estimator_
    assert fitted.n_rounds_ == 2
    assert fitted.partial_fit(X, Y, client_ids=IDS).n_rounds_ == 3


def test_progress_goes_to_standard_error(capsys):
    VectorizedGridSearchCV(PIPELINE, FEW, cv=3, verbose=1).fit(X, Y, reduce__client_ids=IDS)
    assert "100%" in capsys.readouterr().err
    VectorizedGridSearchCV(PIPELINE, FEW, cv=3).fit(X, Y, reduce__client_ids=IDS)
    assert capsys.readouterr().err == ""


def test_tables_of_unequal_rank_train_together_to_rounding():
    # The narrower is padded with zeros; for the narrowest the product then takes another kernel.
    steps = [("log", FunctionTransformer(np.tanh)), *PIPELINE.steps]
    ours = VectorizedGridSearchCV(Pipeline(steps), {"log": ["passthrough", FunctionTransformer(np.sinh)]}, cv=3)
    theirs = GridSearchCV(Pipeline(steps), {"log": ["passthrough", FunctionTransformer(np.sinh)]}, cv=3)
    same_results(ours.fit(X, Y, reduce__client_ids=IDS), theirs.fit(X, Y, reduce__client_ids=IDS), 1e-5)


# --------------------------------------------------------------------------------- groups and times of passes


def test_fits_that_drop_modalities_and_fits_that_do_not_train_apart_with_the_usual_scores(monkeypatch):
    seen = passes(monkeypatch)
    model = FDRMFLTransformer(modalities={"a": slice(0, 3), "b": slice(3, None)}, n_rounds=3, random_state=0)
    grid = {"modality_dropout": [0.0, 0.3]}
    ours = VectorizedGridSearchCV(model, grid, cv=3).fit(X, Y, client_ids=IDS)
    assert sizes(seen) == [3, 3]
    same_results(ours, GridSearchCV(model, grid, cv=3).fit(X, Y, client_ids=IDS))


def test_the_time_of_a_pass_is_shared_equally_among_its_fits(monkeypatch):
    times = iter([100.0, 160.0])  # before and after the only pass, of 4 candidates and 3 folds
    monkeypatch.setattr(_pool, "time", SimpleNamespace(perf_counter=lambda: next(times)))
    search = VectorizedGridSearchCV(PIPELINE, {"reduce__mi_weight": [0.0, 0.1, 0.2, 0.3]}, cv=3, refit=False)
    search.fit(X, Y, reduce__client_ids=IDS)
    assert_allclose(search.cv_results_["mean_fit_time"], 5.0, atol=1.0)


@pytest.mark.parametrize(
    ("ours", "theirs"), [(VectorizedGridSearchCV, GridSearchCV), (VectorizedRandomizedSearchCV, RandomizedSearchCV)]
)
def test_parameters_that_scikit_learns_searches_have_too_have_the_same_defaults(ours, theirs):
    known = defaults(theirs)
    assert {name: value for name, value in defaults(ours).items() if name in known and value != known[name]} == {}


def test_whole_numbers_to_predict_are_no_classes_to_split_by():
    y = np.repeat(np.arange(3), 20)  # in order: classes would be spread over the folds
    options = {"param_grid": {"reduce__learning_rate": [1e-2]}, "cv": 3, "error_score": "raise"}
    ours, theirs = (search(PIPELINE, **options).fit(X, y) for search in (VectorizedGridSearchCV, GridSearchCV))
    same_results(ours, theirs)


def test_times_of_fits_add_up_to_no_more_than_the_search_took():
    search = VectorizedGridSearchCV(PIPELINE, {"reduce__mi_weight": [0.0, 0.1]}, cv=2, refit=False)
    start = time.perf_counter()
    search.fit(X, Y, reduce__client_ids=IDS)
    took = time.perf_counter() - start
    times = search.cv_results_["mean_fit_time"] + search.cv_results_["mean_score_time"]
    assert 0 < 2 * times.sum() < took
