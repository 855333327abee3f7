"""The wrapper by itself; a search over wrapped rivals and the real one is in test_comparison_search."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn import config_context
from sklearn.base import BaseEstimator, TransformerMixin, clone, is_regressor
from sklearn.cross_decomposition import CCA, PLSCanonical, PLSRegression
from sklearn.decomposition import NMF, PCA, IncrementalPCA, TruncatedSVD
from sklearn.exceptions import NotFittedError, UnsetMetadataPassedError
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.model_selection import cross_validate
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from skfdrmfl import IgnoreClients

RNG = np.random.default_rng(0)
X = RNG.standard_normal((40, 6))
y = X @ np.arange(6.0) + 0.1 * RNG.standard_normal(40)
IDS = np.array(["a", "b"])[RNG.integers(2, size=40)]

ROUTING = pytest.mark.parametrize("routing", [False, True])


class Spy(TransformerMixin, BaseEstimator):
    """Keeps what its fit was given; it would take clients."""

    __metadata_request__fit = {"client_ids": True}

    def fit(self, X, y=None, client_ids=None, sample_weight=None):
        self.got_ = {"y": y, "client_ids": client_ids, "sample_weight": sample_weight}
        return self

    def transform(self, X):
        return np.asarray(X)[:, :1]


# One component: check_fit2d_1feature sets `n_components` to 1 where an estimator has it. IgnoreClients has
# `estimator__n_components` instead, and PLSRegression refuses two components of one column in other words
# than that check expects.
@parametrize_with_checks(
    [
        IgnoreClients(PCA()),
        IgnoreClients(PLSRegression(n_components=1)),
    ]
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("inner", [PLSRegression(2), PLSCanonical(1), CCA(1), PCA(2)], ids=repr)
def test_only_x_scores_come_out(inner):
    wrapper = IgnoreClients(inner)
    expected = clone(inner).fit(X, y).transform(X)
    at_once = wrapper.fit_transform(X, y, client_ids=IDS)
    assert isinstance(at_once, np.ndarray)
    assert_allclose(at_once, expected, atol=1e-12)
    assert_allclose(wrapper.transform(X), expected, atol=1e-12)
    assert_array_equal(wrapper.transform(X), wrapper.fit(X, y).transform(X))


def test_a_transform_that_gives_a_tuple_gives_scores():
    class Both(Spy):
        def transform(self, X):
            return super().transform(X), "y scores"

    assert IgnoreClients(Both()).fit(X, y).transform(X).shape == (40, 1)


@ROUTING
@pytest.mark.parametrize("method", ["fit", "fit_transform"])
def test_clients_go_no_further(routing, method):
    with config_context(enable_metadata_routing=routing):
        wrapper = IgnoreClients(Spy())
        getattr(wrapper, method)(X, y, client_ids=IDS)
    assert wrapper.estimator_.got_["client_ids"] is None
    assert wrapper.estimator_.got_["y"] is y


@ROUTING
def test_pipelines_take_clients_without_a_request(routing):
    pipeline = Pipeline([("reduce", IgnoreClients(PLSRegression())), ("ridge", Ridge())])
    params = {"client_ids" if routing else "reduce__client_ids": IDS}
    with config_context(enable_metadata_routing=routing):
        with_clients = cross_validate(pipeline, X, y, params=params, error_score="raise")["test_score"]
        without = cross_validate(pipeline, X, y)["test_score"]
    assert_array_equal(with_clients, without)
    assert with_clients.min() > 0.5


def test_clients_may_be_routed_under_another_name_or_not_at_all():
    with config_context(enable_metadata_routing=True):
        for request, params in (("site", {"site": IDS}), (False, {})):
            wrapper = IgnoreClients(PCA(1)).set_fit_request(client_ids=request)
            make_pipeline(wrapper, Ridge()).fit(X, y, **params)
            assert wrapper.transform(X).shape == (40, 1)


@pytest.mark.parametrize("method", ["fit", "fit_transform"])
def test_other_fit_parameters_reach_the_estimator(method):
    weight = np.arange(40.0)
    spy = IgnoreClients(Spy())
    getattr(spy, method)(X, y, client_ids=IDS, sample_weight=weight)
    assert spy.estimator_.got_["sample_weight"] is weight
    with config_context(enable_metadata_routing=True):
        requested = IgnoreClients(Spy().set_fit_request(sample_weight=True))
        getattr(requested, method)(X, y, client_ids=IDS, sample_weight=weight)
        assert requested.estimator_.got_["sample_weight"] is weight
        assert requested.estimator_.got_["client_ids"] is None
        with pytest.raises(UnsetMetadataPassedError):
            getattr(spy, method)(X, y, sample_weight=weight)


def test_parameters_are_nested_and_the_estimator_stays_unfitted():
    pca = PCA(n_components=3)
    wrapper = clone(IgnoreClients(pca)).set_params(estimator__n_components=2)
    assert wrapper.get_params()["estimator__n_components"] == 2
    assert pca.n_components == 3
    assert wrapper.fit(X).estimator_.n_components_ == 2
    assert not hasattr(wrapper.estimator, "components_")


def test_names_in_and_out_are_the_estimators():
    frame = pd.DataFrame(X, columns=list("abcdef"))
    wrapper = IgnoreClients(PCA(2)).set_output(transform="pandas").fit(frame)
    assert wrapper.feature_names_in_.tolist() == list("abcdef")
    assert wrapper.n_features_in_ == 6
    scores = wrapper.transform(frame)
    assert scores.columns.tolist() == wrapper.get_feature_names_out().tolist() == ["pca0", "pca1"]
    with config_context(transform_output="pandas"):
        assert IgnoreClients(PLSRegression(2)).fit_transform(frame, y).shape == (40, 2)


def test_what_the_estimator_lacks_the_wrapper_lacks():
    wrapper = IgnoreClients(Spy())
    for name in ("partial_fit", "inverse_transform", "get_feature_names_out", "set_output", "n_features_in_"):
        assert not hasattr(wrapper.fit(X), name), name
    assert hasattr(IgnoreClients(IncrementalPCA()), "partial_fit")
    assert not hasattr(IgnoreClients(PCA()), "n_features_in_")
    with pytest.raises(NotFittedError):
        IgnoreClients(PCA()).transform(X)


def test_partial_fit_goes_on_where_it_stopped():
    wrapper, bare = IgnoreClients(IncrementalPCA(2)), IncrementalPCA(2)
    for rows in (slice(0, 20), slice(20, 40)):
        wrapper.partial_fit(X[rows], client_ids=IDS[rows])
        bare.partial_fit(X[rows])
    assert wrapper.estimator_.n_samples_seen_ == 40
    assert_array_equal(wrapper.transform(X), bare.transform(X))


def test_inverse_transform_is_the_estimators():
    wrapper = IgnoreClients(PCA()).fit(X)
    assert_allclose(wrapper.inverse_transform(wrapper.transform(X)), X)


def test_fit_transform_is_the_estimators_own():
    """It may differ from fit and transform on purpose: TargetEncoder cross-fits there."""

    class OutOfFold(Spy):
        def fit_transform(self, X, y=None):
            return -self.fit(X, y).transform(X)

    wrapper = IgnoreClients(OutOfFold())
    assert_array_equal(wrapper.fit_transform(X, y, client_ids=IDS), -wrapper.transform(X))


def test_tags_are_the_estimators_but_for_its_kind():
    wrapped_pls = IgnoreClients(PLSRegression())
    assert not is_regressor(wrapped_pls)
    assert wrapped_pls.__sklearn_tags__().target_tags.multi_output
    assert IgnoreClients(NMF()).__sklearn_tags__().input_tags.positive_only
    assert not IgnoreClients(PCA()).__sklearn_tags__().input_tags.positive_only
    assert IgnoreClients(TruncatedSVD(2)).fit_transform(sparse.csr_array(X)).shape == (40, 2)


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (PCA, "is a class, not an instance; pass a transformer, as in IgnoreClients(PCA())."),
        (LinearRegression(), "estimator=LinearRegression() has no transform; pass"),
        ("passthrough", "estimator='passthrough' has no fit and no transform; pass"),
    ],
)
def test_what_cannot_be_wrapped_is_named(estimator, message):
    with pytest.raises(TypeError) as error:
        IgnoreClients(estimator).fit(X, y)
    assert message in str(error.value)


def test_the_estimators_errors_pass_through_and_leave_the_former_fit():
    wrapper = IgnoreClients(PCA(2)).fit(X)
    before = wrapper.transform(X)
    wrapper.set_params(estimator__n_components=7)
    for attempt in (wrapper.fit, wrapper.fit_transform):
        with pytest.raises(ValueError, match="n_components=7 must be between 0 and"):
            attempt(X)
    assert_array_equal(wrapper.transform(X), before)
