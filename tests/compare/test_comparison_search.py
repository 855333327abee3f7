"""The central use: one search over the slot before a regressor, federated and central reducers alike."""

from __future__ import annotations

import numpy as np
import pytest
from joblib import parallel_config
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import config_context
from sklearn.cross_decomposition import PLSRegression
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold, cross_validate
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.random_projection import GaussianRandomProjection

from skfdrmfl import FDRMFLTransformer, IgnoreClients


def reducers():
    return [
        IgnoreClients(PCA(n_components=2)),
        IgnoreClients(TruncatedSVD(n_components=2, random_state=0)),
        IgnoreClients(GaussianRandomProjection(n_components=2, random_state=0)),
        IgnoreClients(PLSRegression(n_components=2)),
        FDRMFLTransformer(n_components=2, n_rounds=30, random_state=0, tuning=None),
    ]


@pytest.fixture(scope="module")
def data():
    """The target is the weakest but one of eight directions, and not linear in it."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((90, 8)) * np.array([4, 4, 4, 3, 3, 3, 1, 1])
    y = X[:, 6] + 0.5 * X[:, 6] ** 2 + 0.05 * rng.standard_normal(90)
    return X, y, np.array(["lab", "plant", "site"])[rng.integers(3, size=90)]


def pipeline():
    # With routing on, the placeholder has to request client_ids: "passthrough" here would refuse them.
    return Pipeline([("reduce", FDRMFLTransformer(tuning=None)), ("ridge", RidgeCV(alphas=np.logspace(-6, 3, 10)))])


def run(search, data, *, routing, **more):
    X, y, client_ids = data
    name = "client_ids" if routing else "reduce__client_ids"
    with config_context(enable_metadata_routing=routing):
        return search.fit(X, y, **{name: client_ids}, **more)


@pytest.mark.parametrize("routing", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_one_search_compares_all_reducers_and_none_scores_nan(data, routing):
    search = GridSearchCV(pipeline(), {"reduce": reducers()}, cv=3, error_score="raise")
    run(search, data, routing=routing)
    scores = search.cv_results_["mean_test_score"]
    assert scores.shape == (5,)
    assert np.isfinite(scores).all()
    assert isinstance(search.best_params_["reduce"], FDRMFLTransformer)
    assert search.best_estimator_["reduce"].clients_.tolist() == ["lab", "plant", "site"]
    assert search.predict(data[0]).shape == (90,)


@pytest.mark.slow
def test_routing_does_not_change_a_score(data):
    grid = {"reduce": [*reducers()[:2], FDRMFLTransformer(n_rounds=3, random_state=0, tuning=None)]}
    scores = [
        run(GridSearchCV(pipeline(), grid, cv=3), data, routing=routing).cv_results_["mean_test_score"]
        for routing in (False, True)
    ]
    assert_array_equal(*scores)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["multiprocessing", "loky"])
def test_two_processes_score_as_one(data, backend):
    """In forked processes and in fresh ones."""
    grid = {"reduce": [IgnoreClients(PLSRegression()), FDRMFLTransformer(n_rounds=3, random_state=0, tuning=None)]}
    one = run(GridSearchCV(pipeline(), grid, cv=2), data, routing=False)
    with parallel_config(backend, n_jobs=2):
        two = run(GridSearchCV(pipeline(), grid, cv=2), data, routing=False)
    assert_array_equal(one.cv_results_["mean_test_score"], two.cv_results_["mean_test_score"])


@pytest.mark.slow
def test_one_grid_searches_both_kinds_of_parameters(data):
    grid = [
        {
            "reduce": [IgnoreClients(PCA()), IgnoreClients(PLSRegression())],
            "reduce__estimator__n_components": [1, 3],
        },
        {"reduce": [FDRMFLTransformer(n_rounds=2, random_state=0, tuning=None)], "reduce__n_components": [1, 3]},
    ]
    search = run(GridSearchCV(pipeline(), grid, cv=2, error_score="raise"), data, routing=True)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert len(search.cv_results_["params"]) == 6


@pytest.mark.sampled(2)
@pytest.mark.parametrize("routing", [False, True])
def test_more_than_one_output(data, routing):
    X, y, client_ids = data
    steps = [("scale", StandardScaler()), ("reduce", FDRMFLTransformer(tuning=None)), ("ridge", Ridge())]
    grid = {"reduce": [*reducers()[:4], FDRMFLTransformer(n_rounds=3, random_state=0, tuning=None)]}
    search = GridSearchCV(Pipeline(steps), grid, cv=2, error_score="raise")
    run(search, (X, np.c_[y, X[:, 0]], client_ids), routing=routing)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_groups_and_clients_are_two_things(data):
    """Folds that keep repeats together, clients routed beside them."""
    groups = np.arange(90) // 2
    search = GridSearchCV(
        pipeline(),
        {"reduce": [IgnoreClients(PCA(2)), FDRMFLTransformer(n_rounds=2, random_state=0, tuning=None)]},
        cv=GroupKFold(3),
        error_score="raise",
    )
    for routing in (False, True):
        run(search, data, routing=routing, groups=groups)
        assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_without_the_wrapper_client_ids_reach_the_rivals(data):
    """Why `IgnoreClients` exists; if this stops failing, it can go."""
    search = GridSearchCV(pipeline(), {"reduce": [PCA(2)]}, cv=2, error_score="raise", refit=False)
    with pytest.raises(TypeError, match="client_ids"):
        run(search, data, routing=False)


def test_the_wrapped_transformer_is_centralised_training(data):
    X, y, client_ids = data
    params = {"n_rounds": 3, "random_state": 0}
    wrapped = IgnoreClients(FDRMFLTransformer(tuning=None, **params)).fit(X, y, client_ids=client_ids)
    assert_array_equal(wrapped.transform(X), FDRMFLTransformer(tuning=None, **params).fit(X, y).transform(X))


def test_a_linear_head_and_ridge_on_one_component_see_the_same(data):
    """With a linear head and one component, y_hat is affine in Z, so a regressor on Z can only match it."""
    X, y, client_ids = data
    estimator = FDRMFLTransformer(n_components=1, random_state=0, tuning=None).fit(X, y, client_ids=client_ids)
    Z = estimator.transform(X)
    affine = np.polynomial.polynomial.polyfit(Z[:, 0], estimator.predict(X), 1)
    assert_allclose(affine[0] + affine[1] * Z[:, 0], estimator.predict(X), atol=1e-6)


def test_the_comparison_is_fair_in_one_cross_validation(data):
    """cross_validate, the same folds for all: the federated features win where variance misleads."""
    X, y, client_ids = data
    cv = KFold(3, shuffle=True, random_state=0)
    scores = {}
    for reducer in reducers():
        steps = pipeline().set_params(reduce=reducer)
        result = cross_validate(steps, X, y, params={"reduce__client_ids": client_ids}, cv=cv)
        name = type(getattr(reducer, "estimator", reducer)).__name__
        scores[name] = result["test_score"].mean()
    best_rival = max(score for name, score in scores.items() if name != "FDRMFLTransformer")
    assert scores["FDRMFLTransformer"] > best_rival
    assert scores["FDRMFLTransformer"] > 0
