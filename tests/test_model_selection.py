"""The vectorised searches are scikit-learn's, faster: same results, same habits."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn import config_context
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold, RandomizedSearchCV, ShuffleSplit
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from skfdrmfl import FDRMFLTransformer, IgnoreClients
from skfdrmfl.model_selection import VectorizedGridSearchCV, VectorizedRandomizedSearchCV

rng = np.random.default_rng(0)
X = rng.standard_normal((60, 6)) @ rng.standard_normal((6, 12))
Y = np.sin(X[:, 0]) + X[:, 1] + 0.1 * rng.standard_normal(60)
IDS = np.repeat(["a", "b", "c"], [31, 20, 9])
GROUPS = np.arange(60) // 2

PIPELINE = Pipeline([("reduce", FDRMFLTransformer(n_rounds=3, local_epochs=2, random_state=0)), ("ridge", Ridge())])
GRID = {"reduce__mi_weight": [0.0, 0.1], "reduce__learning_rate": [1e-2, 3e-2], "ridge__alpha": [1e-3, 1.0]}


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
        {"reduce__shrinkage": [1e-1, 1e-5], "reduce__random_state": [0, 1]},  # unequal ranks, unequal seeds
        {"reduce__n_components": [1, 3], "reduce__hidden_layer_sizes": [(8,), (4, 4)]},  # no two alike
        {"reduce__n_rounds": [1, 4], "reduce__engine": ["loop", "stacked"], "reduce__history_size": [0, 2]},
        [{"reduce__kl_weight": [0.0, 1.0]}, {"reduce": [IgnoreClients(PCA(2)), IgnoreClients(PCA(4))]}],
    ],
    ids=["one group", "ranks and seeds", "shapes", "schedules", "other estimators"],
)
def test_scores_are_gridsearchs_to_the_last_bit(grid):
    options = {"cv": KFold(3, shuffle=True, random_state=1), "return_train_score": True}
    ours = VectorizedGridSearchCV(PIPELINE, grid, **options).fit(X, Y, reduce__client_ids=IDS)
    theirs = GridSearchCV(PIPELINE, grid, **options).fit(X, Y, reduce__client_ids=IDS)
    same_results(ours, theirs)


@pytest.mark.parametrize("chunk_size", [1, 2, 5])
def test_the_size_of_a_pass_changes_nothing(chunk_size):
    whole = VectorizedGridSearchCV(PIPELINE, GRID, cv=3).fit(X, Y, reduce__client_ids=IDS)
    parts = VectorizedGridSearchCV(PIPELINE, GRID, cv=3, chunk_size=chunk_size)
    same_results(parts.fit(X, Y, reduce__client_ids=IDS), whole)


def test_processes_among_which_the_pass_is_divided_change_nothing():
    grid = {**GRID, "reduce__shrinkage": [1e-1, 1e-5]}
    here = VectorizedGridSearchCV(PIPELINE, grid, cv=3).fit(X, Y, reduce__client_ids=IDS)
    divided = VectorizedGridSearchCV(PIPELINE, grid, cv=3, n_jobs=2)
    same_results(divided.fit(X, Y, reduce__client_ids=IDS), here)


def test_client_ids_and_groups_are_routed():
    with config_context(enable_metadata_routing=True):
        options = {"cv": GroupKFold(3), "scoring": "neg_mean_squared_error"}
        ours = VectorizedGridSearchCV(PIPELINE, GRID, **options).fit(X, Y, client_ids=IDS, groups=GROUPS)
        theirs = GridSearchCV(PIPELINE, GRID, **options).fit(X, Y, client_ids=IDS, groups=GROUPS)
        same_results(ours, theirs)
    central = VectorizedGridSearchCV(PIPELINE, GRID, cv=GroupKFold(3)).fit(X, Y, groups=GROUPS)
    assert not np.array_equal(central.cv_results_["mean_test_score"], ours.cv_results_["mean_test_score"])


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


def trainings(monkeypatch):
    """The number of runs in each pass from now on."""
    from skfdrmfl.federation import training
    from skfdrmfl.model_selection import _pool as pooled

    seen = []

    def spy(network, runs, schedule, engine):
        seen.append(len(runs))
        return training.train(network, runs, schedule, engine)

    monkeypatch.setattr(pooled, "train", spy)
    return seen


def test_candidates_and_folds_train_in_one_pass(monkeypatch):
    seen = trainings(monkeypatch)
    VectorizedGridSearchCV(PIPELINE, GRID, cv=3).fit(X, Y, reduce__client_ids=IDS)
    # Candidates that differ only in Ridge's alpha share a fit.
    assert seen == [4 * 3]


def test_folds_of_an_unseeded_splitter_are_drawn_once(monkeypatch):
    from skfdrmfl.estimator import _transformer

    seen = trainings(monkeypatch)
    alone = []
    train = _transformer.train
    monkeypatch.setattr(_transformer, "train", lambda *args: alone.append(1) or train(*args))
    VectorizedGridSearchCV(PIPELINE, GRID, cv=ShuffleSplit(2), refit=False).fit(X, Y, reduce__client_ids=IDS)
    splits = iter(list(KFold(2).split(X)))  # an iterator can be read only once
    VectorizedGridSearchCV(PIPELINE, GRID, cv=splits, refit=False).fit(X, Y, reduce__client_ids=IDS)
    assert seen == [8, 8]
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
    seen = trainings(monkeypatch)
    estimator = clone(PIPELINE).set_params(reduce__modalities={"all": lambda table: slice(None)})
    ours = VectorizedGridSearchCV(estimator, GRID, cv=3).fit(X, Y, reduce__client_ids=IDS)
    same_results(ours, GridSearchCV(estimator, GRID, cv=3).fit(X, Y, reduce__client_ids=IDS))
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
    assert fitted.n_rounds_ == 3
    assert fitted.partial_fit(X, Y, client_ids=IDS).n_rounds_ == 4


def test_progress_goes_to_standard_error(capsys):
    VectorizedGridSearchCV(PIPELINE, GRID, cv=3, verbose=1).fit(X, Y, reduce__client_ids=IDS)
    assert "100%" in capsys.readouterr().err
    VectorizedGridSearchCV(PIPELINE, GRID, cv=3).fit(X, Y, reduce__client_ids=IDS)
    assert capsys.readouterr().err == ""


def test_tables_of_unequal_rank_train_together_to_rounding():
    # The narrower is padded with zeros; for the narrowest the product then takes another kernel.
    steps = [("log", FunctionTransformer(np.tanh)), *PIPELINE.steps]
    ours = VectorizedGridSearchCV(Pipeline(steps), {"log": ["passthrough", FunctionTransformer(np.sinh)]}, cv=3)
    theirs = GridSearchCV(Pipeline(steps), {"log": ["passthrough", FunctionTransformer(np.sinh)]}, cv=3)
    same_results(ours.fit(X, Y, reduce__client_ids=IDS), theirs.fit(X, Y, reduce__client_ids=IDS), 1e-5)
