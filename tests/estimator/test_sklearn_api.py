"""Laws of the estimator as a citizen of scikit-learn: checks, routing, containers, refits, partial_fit."""

from __future__ import annotations

import pickle
import re
from inspect import getdoc

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn import config_context
from sklearn.base import clone, is_regressor
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_validate
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils import get_tags
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.estimator_checks import parametrize_with_checks

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.method.network import Network
from skfdrmfl.protocol.ledger import Message

TERMS = ("loss", "mse", "mi", "kl", "contrastive", "mi_nwj")
# Checks that fit so often, or on so many rows, that the default number of rounds takes most of a second.
SLOW_CHECKS = {
    "check_dict_unchanged",
    "check_dont_overwrite_parameters",
    "check_dtype_object",
    "check_estimators_dtypes",
    "check_estimators_fit_returns_self",
    "check_estimators_nan_inf",
    "check_estimators_overwrite_params",
    "check_estimators_pickle",
    "check_f_contiguous_array_estimator",
    "check_fit2d_1feature",
    "check_fit2d_1sample",
    "check_fit2d_predict1d",
    "check_fit_check_is_fitted",
    "check_fit_idempotent",
    "check_fit_score_takes_y",
    "check_methods_sample_order_invariance",
    "check_methods_subset_invariance",
    "check_n_features_in",
    "check_n_features_in_after_fitting",
    "check_pipeline_consistency",
    "check_positive_only_tag_during_fit",
    "check_regressor_data_not_an_array",
    "check_readonly_memmap_input",
    "check_regressor_multioutput",
    "check_regressors_int",
    "check_regressors_no_decision_function",
    "check_regressors_train",
    "check_supervised_y_2d",
    "check_transformer_data_not_an_array",
    "check_transformer_general",
    "check_transformer_preserve_dtypes",
}


@parametrize_with_checks([FDRMFLTransformer(tuning=None)])
def test_scikit_learn_checks(estimator, check):
    if check.func.__name__ in SLOW_CHECKS:
        estimator = clone(estimator).set_params(n_rounds=8)
    check(estimator)


@pytest.mark.slow
@parametrize_with_checks(
    [
        FDRMFLTransformer(),
        FDRMFLTransformer(engine="torch", n_rounds=2, tuning=None),
    ]
)
def test_scikit_learn_checks_of_the_mixture_and_of_torch(estimator, check):
    check(estimator)


def test_the_docstring_names_every_string_that_a_parameter_takes():
    listed, taken = {}, {}
    for name, allowed in FDRMFLTransformer._parameter_constraints.items():
        options = [one.options for one in allowed if isinstance(one, StrOptions)] if isinstance(allowed, list) else []
        if options:
            (kinds,) = re.findall(rf"^{name} : (.*), default=", getdoc(FDRMFLTransformer), re.MULTILINE)
            listed[name], taken[name] = set(re.findall(r'"([^"]+)"', kinds)), set().union(*options)
    assert listed == taken and "algorithm" in taken


def small(**params):
    return FDRMFLTransformer(**{"tuning": None, "n_rounds": 4, "local_epochs": 1, "random_state": 0, **params})


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((48, 6))
    y = X[:, 0] - X[:, 1] + 0.5 * X[:, 2] ** 2 + 0.1 * rng.standard_normal(48)
    return X, y, np.arange(48) % 3


def assert_same_model(a, b, X):
    """Equal to the last bit, history included."""
    assert_array_equal(a.transform(X), b.transform(X))
    assert_array_equal(a.predict(X), b.predict(X))
    assert a.weights_.keys() == b.weights_.keys()
    for name, array in a.weights_.items():
        assert_array_equal(array, b.weights_[name])
    assert a.history_.keys() == b.history_.keys()
    for name, values in a.history_.items():
        assert_array_equal(values, b.history_[name])
    assert_array_equal(a.component_variance_, b.component_variance_)
    assert a.n_rounds_ == b.n_rounds_


# ------------------------------------------------------------------------------------------ the contract


def test_parameters_round_trip_through_get_set_and_clone():
    estimator = FDRMFLTransformer(3, modalities={"a": [0]}, hidden_layer_sizes=(4, 5), random_state=7, tuning=None)
    params = estimator.get_params()
    assert FDRMFLTransformer(**params).get_params() == params
    copy = clone(estimator)
    assert copy is not estimator
    assert copy.get_params() == params
    assert copy.set_params(n_components=5, learning_rate=0.5).get_params()["n_components"] == 5
    assert estimator.n_components == 3
    with pytest.raises(ValueError, match="Invalid parameter 'n_component'"):
        copy.set_params(n_component=1)


def test_only_n_components_is_positional():
    with pytest.raises(TypeError, match="positional"):
        FDRMFLTransformer(2, "prefix", tuning=None)


def test_clone_of_a_fitted_estimator_is_unfitted(data):
    X, y, client_ids = data
    fitted = small().fit(X, y, client_ids=client_ids)
    assert [name for name in vars(clone(fitted)) if name.endswith("_")] == []


def test_fit_leaves_parameters_as_given(data):
    X, y, client_ids = data
    state = np.random.RandomState(3)
    estimator = small(random_state=state, hidden_layer_sizes=[5], modalities={"a": [0, 1, 2], "b": [3, 4, 5]})
    before = estimator.get_params()
    estimator.fit(X, y, client_ids=client_ids)
    after = estimator.get_params()
    assert all(after[name] is before[name] for name in before)


def test_tags_say_what_it_is(data):
    X, y, client_ids = data
    estimator = small()
    tags = get_tags(estimator)
    assert is_regressor(estimator)
    assert tags.transformer_tags is not None
    assert tags.target_tags.required
    assert tags.target_tags.multi_output
    assert not tags.input_tags.sparse
    assert not tags.input_tags.allow_nan
    with pytest.raises(TypeError, match="Sparse data"):
        estimator.fit(sparse.csr_array(X), y, client_ids=client_ids)


def test_transform_is_z_alone_and_fit_transform_is_fit_then_transform(data):
    X, y, client_ids = data
    for targets in (y, np.c_[y, X[:, 3]]):
        Z = small().fit_transform(X, targets, client_ids=client_ids)
        assert isinstance(Z, np.ndarray)
        assert Z.shape == (48, 2)
        assert_array_equal(Z, small().fit(X, targets, client_ids=client_ids).transform(X))
    with pytest.raises(TypeError):
        small().fit(X, y).transform(X, y)


@pytest.mark.parametrize("n_components", [1, 2, 9])
def test_n_components_is_the_width_of_z_and_of_its_names(data, n_components):
    X, y, client_ids = data
    estimator = small(n_components=n_components).fit(X, y, client_ids=client_ids)
    assert estimator.transform(X).shape == (48, n_components)
    names = [f"fdrmfltransformer{i}" for i in range(n_components)]
    assert estimator.get_feature_names_out().tolist() == names
    assert estimator.component_variance_.shape == (n_components,)


def test_delivered_z_is_centred_uncorrelated_and_ordered_by_variance(data):
    X, y, client_ids = data
    estimator = small(n_components=3, n_rounds=15).fit(X, y, client_ids=client_ids)
    Z = estimator.transform(X)
    scale = np.sqrt(estimator.component_variance_[0])
    assert_allclose(Z.mean(0), 0, atol=1e-5 * scale)
    assert_allclose(np.cov(Z.T, bias=True), np.diag(estimator.component_variance_), atol=1e-5 * scale**2)
    assert np.all(np.diff(estimator.component_variance_) <= 0)
    assert np.corrcoef(Z[:, 0], estimator.predict(X))[0, 1] > 0


def test_score_is_r2_of_the_head(data):
    X, y, client_ids = data
    for targets in (y, np.c_[y, X[:, 3]]):
        estimator = small(n_rounds=10).fit(X, targets, client_ids=client_ids)
        assert_allclose(estimator.score(X, targets), r2_score(targets, estimator.predict(X)), rtol=1e-12)
        weight = np.linspace(0.1, 1, 48)
        expected = r2_score(targets, estimator.predict(X), sample_weight=weight)
        assert_allclose(estimator.score(X, targets, sample_weight=weight), expected, rtol=1e-12)


def test_it_learns(data):
    X, y, client_ids = data
    assert small(n_rounds=60, local_epochs=5).fit(X, y, client_ids=client_ids).score(X, y) > 0.95


# ------------------------------------------------------------------------------------------- containers


def as_memmap(X, tmp_path):
    np.save(tmp_path / "X.npy", X)
    return np.load(tmp_path / "X.npy", mmap_mode="r")


def read_only(X):
    X = X.copy()
    X.flags.writeable = False
    return X


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    "pack",
    [
        np.asfortranarray,
        read_only,
        lambda X: X.tolist(),
        lambda X: np.repeat(X, 2, axis=1)[:, ::2],
        lambda X: X[::-1][::-1],
        lambda X: X.astype(object),
        lambda X: X.astype(">f8"),
        lambda X: pd.DataFrame(X),
        lambda X: pd.DataFrame(X, columns=list("abcdef"), index=np.arange(len(X))[::-1]),
        lambda X: pl.DataFrame(X, schema=list("abcdef")),
    ],
    ids=[
        "fortran",
        "read-only",
        "lists",
        "strided",
        "reversed",
        "object",
        "endian",
        "frame",
        "named",
        "polars",
    ],
)
def test_the_container_of_x_changes_nothing(data, pack):
    X, y, client_ids = data
    expected = small().fit(X, y, client_ids=client_ids)
    packed = pack(X.copy())
    estimator = small().fit(packed, y, client_ids=client_ids)
    assert_array_equal(estimator.transform(packed), expected.transform(X))
    assert_array_equal(estimator.predict(packed), expected.predict(X))


def test_a_read_only_memory_map_can_be_trained_on(data, tmp_path):
    X, y, client_ids = data
    X = np.round(X, 3)
    mapped = as_memmap(X, tmp_path)
    for dtype in (np.float64, np.float32):
        mapped = as_memmap(X.astype(dtype), tmp_path)
        estimator = small().fit(mapped, y, client_ids=client_ids)
        assert_array_equal(
            estimator.transform(mapped),
            small().fit(X.astype(dtype), y, client_ids=client_ids).transform(X.astype(dtype)),
        )


@pytest.mark.parametrize("dtype", [np.int64, np.int8, np.uint16, bool])
def test_integers_are_numbers(data, dtype):
    X, y, client_ids = data
    X = (X * 10).astype(dtype) if dtype is not bool else X > 0
    if dtype is np.uint16:
        X = X % 7
    expected = small().fit(X.astype(float), y, client_ids=client_ids).transform(X.astype(float))
    Z = small().fit(X, y, client_ids=client_ids).transform(X)
    assert_array_equal(Z, expected)
    assert Z.dtype == np.float64


def test_float32_in_float32_out(data):
    X, y, client_ids = data
    for dtype in (np.float32, np.float64):
        estimator = small().fit(X.astype(dtype), y.astype(dtype), client_ids=client_ids)
        assert estimator.transform(X.astype(dtype)).dtype == dtype
        assert estimator.fit_transform(X.astype(dtype), y, client_ids=client_ids).dtype == dtype
    assert estimator.transform(X.astype(np.float32)).dtype == np.float32
    assert_allclose(estimator.transform(X.astype(np.float32)), estimator.transform(X), atol=1e-5)


@pytest.mark.parametrize(
    "pack",
    [
        lambda y: y.tolist(),
        read_only,
        lambda y: pd.Series(y, index=np.arange(len(y))[::-1], name="fat"),
        lambda y: pl.Series("fat", y),
        lambda y: np.repeat(y, 2)[::2],
    ],
    ids=["list", "read-only", "pandas", "polars", "strided"],
)
def test_the_container_of_y_changes_nothing(data, pack):
    X, y, client_ids = data
    expected = small().fit(X, y, client_ids=client_ids)
    assert_same_model(small().fit(X, pack(y), client_ids=client_ids), expected, X)


def test_predictions_have_the_shape_of_y(data):
    X, y, client_ids = data
    flat = small().fit(X, y, client_ids=client_ids)
    column = small().fit(X, y[:, None], client_ids=client_ids)
    assert flat.predict(X).shape == (48,)
    assert column.predict(X).shape == (48, 1)
    assert_array_equal(column.predict(X)[:, 0], flat.predict(X))
    both = small().fit(X, pd.DataFrame({"a": y, "b": -y}), client_ids=client_ids)
    assert both.predict(X).shape == (48, 2)


def test_integer_y_is_a_regression_target(data):
    X, y, client_ids = data
    y = np.round(10 * y).astype(int)
    assert_same_model(
        small().fit(X, y, client_ids=client_ids), small().fit(X, y.astype(float), client_ids=client_ids), X
    )


def test_input_arrays_are_not_written_to(data):
    X, y, client_ids = data
    copies = X.copy(), y.copy(), client_ids.copy()
    estimator = small(preprocessing=None).fit(X, y, client_ids=client_ids)
    estimator.partial_fit(X, y, client_ids=client_ids)
    estimator.predict(X)
    for array, copy in zip((X, y, client_ids), copies, strict=True):
        assert_array_equal(array, copy)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_set_output(data, library):
    X, y, client_ids = data
    Z = small().set_output(transform=library).fit_transform(X, y, client_ids=client_ids)
    assert type(Z).__module__.startswith(library)
    assert list(Z.columns) == ["fdrmfltransformer0", "fdrmfltransformer1"]
    assert_array_equal(Z.to_numpy(), small().fit_transform(X, y, client_ids=client_ids))
    if library == "pandas":
        frame = pd.DataFrame(X, index=np.arange(48) + 100)
        assert small().set_output(transform="pandas").fit_transform(frame, y).index.tolist() == [*frame.index]


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame], ids=["pandas", "polars"])
def test_feature_names_are_remembered_and_checked(data, frame):
    X, y, client_ids = data
    named = frame(dict(zip("abcdef", X.T, strict=True)))
    estimator = small().fit(named, y, client_ids=client_ids)
    assert estimator.feature_names_in_.tolist() == list("abcdef")
    assert estimator.n_features_in_ == 6
    for method in (estimator.transform, estimator.predict):
        with pytest.raises(ValueError, match="same order"):
            method(named[list("fedcba")])
        with pytest.raises(ValueError, match="feature names"):
            method(frame(dict(zip("abcdeg", X.T, strict=True))))
        with pytest.warns(UserWarning, match="does not have valid feature names"):
            method(X)
    with pytest.raises(ValueError, match="same order"):
        estimator.partial_fit(named[list("fedcba")], y, client_ids=client_ids)


# ------------------------------------------------------------------------------------------- client_ids


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    "pack",
    [
        lambda codes: codes.tolist(),
        lambda codes: tuple(codes.tolist()),
        lambda codes: codes.astype(np.uint8),
        lambda codes: codes.astype(float),
        lambda codes: codes - 7,
        lambda codes: pd.Series(codes, index=np.arange(len(codes))[::-1]),
        lambda codes: pd.Series(codes, dtype="Int64"),
        lambda codes: pl.Series(codes),
        lambda codes: np.array(["a", "b", "c"])[codes],
        lambda codes: np.array(["a", "b", "c"], dtype=object)[codes],
        lambda codes: [["a", "b", "c"][code] for code in codes],
        lambda codes: pd.Series(np.array(["a", "b", "c"])[codes], dtype="string"),
        lambda codes: pd.Series(np.array(["a", "b", "c"])[codes]),
        lambda codes: pd.Categorical(np.array(["a", "b", "c"])[codes]),
        lambda codes: pd.Series(pd.Categorical(np.array(["a", "b", "c"])[codes], categories=["c", "b", "a"])),
        lambda codes: pd.Index(np.array(["a", "b", "c"])[codes]),
        lambda codes: pl.Series(np.array(["a", "b", "c"])[codes]),
        lambda codes: np.array(["Köln", "Łódź", "北京"])[codes],
        lambda codes: np.array(["2020-01-01", "2020-01-02", "2021-01-01"], dtype="M8[D]")[codes],
    ],
)
def test_label_names_do_not_matter(data, pack):
    """Only which rows share a label, and the labels' sort order, which orders `clients_`."""
    X, y, codes = data
    expected = small().fit(X, y, client_ids=codes)
    labels = pack(codes)
    estimator = small().fit(X, y, client_ids=labels)
    assert_same_model(estimator, expected, X)
    assert_array_equal(estimator.clients_, np.unique(np.asarray(labels)))
    assert_array_equal(estimator.n_samples_per_client_, [16, 16, 16])


def test_unused_categories_are_no_clients(data):
    X, y, codes = data
    labels = pd.Categorical.from_codes(codes, ["a", "b", "c", "nobody"])
    assert small().fit(X, y, client_ids=labels).clients_.tolist() == ["a", "b", "c"]


def test_no_client_ids_is_one_client(data):
    X, y, _ = data
    central = small().fit(X, y)
    assert_same_model(central, small().fit(X, y, client_ids=None), X)
    for label in (0, 17, "plant", True):
        assert_same_model(central, small().fit(X, y, client_ids=[label] * 48), X)
    assert_array_equal(central.n_samples_per_client_, [48])
    assert len(central.clients_) == 1


def test_client_ids_matter(data):
    X, y, client_ids = data
    assert not np.array_equal(small().fit(X, y, client_ids=client_ids).transform(X), small().fit(X, y).transform(X))


# ------------------------------------------------------------------------------- pipelines and searches


@pytest.mark.parametrize("routing", [False, True])
def test_clients_reach_the_reducer_of_a_pipeline(data, routing):
    X, y, client_ids = data
    pipeline = Pipeline([("scale", StandardScaler()), ("reduce", small()), ("ridge", Ridge())])
    with config_context(enable_metadata_routing=routing):
        params = {"client_ids": client_ids} if routing else {"reduce__client_ids": client_ids}
        pipeline.fit(X, y, **params)
        assert_array_equal(pipeline["reduce"].clients_, [0, 1, 2])
        assert pipeline.predict(X).shape == (48,)
        assert pipeline[:-1].get_feature_names_out().tolist() == ["fdrmfltransformer0", "fdrmfltransformer1"]
        assert_array_equal(
            pipeline[:-1].transform(X),
            small().fit_transform(StandardScaler().fit_transform(X), y, client_ids=client_ids),
        )


@pytest.mark.parametrize("routing", [False, True])
def test_it_can_be_the_last_step(data, routing):
    X, y, client_ids = data
    pipeline = make_pipeline(FunctionTransformer(), small(n_rounds=20))
    with config_context(enable_metadata_routing=routing):
        name = "client_ids" if routing else "fdrmfltransformer__client_ids"
        pipeline.fit(X, y, **{name: client_ids})
        assert pipeline.score(X, y) > 0.5
        assert pipeline.transform(X).shape == (48, 2)
        assert_array_equal(pipeline[-1].n_samples_per_client_, [16, 16, 16])


def test_client_ids_and_groups_are_requested_by_the_class_for_training_alone():
    with config_context(enable_metadata_routing=True):
        requests = small().get_metadata_routing()
    assert requests.fit.requests == {"client_ids": True, "groups": True}
    assert requests.partial_fit.requests == {"client_ids": True, "groups": True}
    for method in ("transform", "predict"):
        assert getattr(requests, method).requests == {}
    assert not {"client_ids", "groups"} & requests.score.requests.keys()


@pytest.mark.sampled(2)
@pytest.mark.parametrize("routing", [False, True])
def test_cross_validation_splits_client_ids_with_the_rows(data, routing):
    X, y, client_ids = data
    with config_context(enable_metadata_routing=routing):
        result = cross_validate(
            small(), X, y, params={"client_ids": client_ids}, cv=3, return_estimator=True, error_score="raise"
        )
        predicted = cross_val_predict(small(), X, y, params={"client_ids": pd.Series(client_ids)}, cv=3)
    assert np.isfinite(result["test_score"]).all()
    assert predicted.shape == (48,)
    for i, estimator in enumerate(result["estimator"]):
        kept = np.delete(np.arange(48), np.arange(16 * i, 16 * (i + 1)))
        assert_array_equal(estimator.n_samples_per_client_, np.bincount(client_ids[kept]))
        assert_same_model(estimator, small().fit(X[kept], y[kept], client_ids=client_ids[kept]), X)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("routing", [False, True])
def test_grid_search_over_its_own_parameters(data, routing):
    X, y, client_ids = data
    grid = {"n_components": [1, 2], "hidden_layer_sizes": [(), (4, 4)]}
    with config_context(enable_metadata_routing=routing):
        search = GridSearchCV(small(), grid, cv=2, error_score="raise").fit(X, y, client_ids=client_ids)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert_array_equal(search.best_estimator_.clients_, [0, 1, 2])
    assert search.transform(X).shape == (48, search.best_params_["n_components"])


# -------------------------------------------------------------------------------------- fit after fit


def test_a_refit_is_a_fresh_fit(data):
    X, y, client_ids = data
    frame = pd.DataFrame(np.c_[X, X], columns=[f"{'ab'[j % 2]}__{j}" for j in range(12)])
    estimator = small(modalities="prefix").fit(frame, np.c_[y, y], client_ids=client_ids.astype(str))
    estimator.partial_fit(frame, np.c_[y, y], client_ids=["z"] * 48)
    estimator.set_params(modalities=None).fit(X, y, client_ids=client_ids)
    fresh = small().fit(X, y, client_ids=client_ids)
    assert_same_model(estimator, fresh, X)
    assert vars(estimator).keys() == vars(fresh).keys()
    assert not hasattr(estimator, "feature_names_in_")
    assert estimator.n_features_in_ == 6
    assert list(estimator.modalities_) == list(fresh.modalities_)
    assert_array_equal(estimator.n_samples_per_client_, fresh.n_samples_per_client_)
    assert_array_equal(estimator.clients_, fresh.clients_)


def test_fit_returns_self_and_using_it_changes_nothing(data):
    X, y, client_ids = data
    estimator = small()
    assert estimator.fit(X, y, client_ids=client_ids) is estimator
    assert estimator.partial_fit(X, y, client_ids=client_ids) is estimator
    before = pickle.dumps(estimator)
    estimator.transform(X), estimator.predict(X), estimator.score(X, y), repr(estimator)
    assert pickle.dumps(estimator) == before


def test_partial_fit_appends_newcomers_and_leaves_gaps_for_absentees(data):
    X, y, _ = data
    estimator = small()
    visits = [["b", "d"], ["a", "d"], ["d"]]  # sorted within a visit, appended across visits
    counts = []
    for labels in visits:
        client_ids = np.array([labels[i % len(labels)] for i in range(48)])
        estimator.partial_fit(X, y, client_ids=client_ids)
        counts.append(dict(zip(*np.unique(client_ids, return_counts=True), strict=True)))
    assert estimator.clients_.tolist() == ["b", "d", "a"]
    assert estimator.n_samples_per_client_.tolist() == [
        sum(count.get(label, 0) for count in counts) for label in estimator.clients_
    ]
    assert estimator.n_rounds_ == 3
    there = np.array([[label in labels for label in estimator.clients_] for labels in visits])
    for term in TERMS:
        assert estimator.history_[term].shape == (3,)
        assert estimator.history_[f"{term}_per_client"].shape == (3, 3)
        assert_array_equal(np.isfinite(estimator.history_[f"{term}_per_client"]), there)
    # Averaged by the rows a client has in this round, not by what has accumulated.
    for row, count in enumerate(counts):
        sizes = [count.get(label, 0) for label in estimator.clients_]
        per_client = np.nan_to_num(estimator.history_["mse_per_client"][row])
        assert_allclose(estimator.history_["mse"][row], np.average(per_client, weights=sizes), rtol=1e-6)


def test_history_of_fit_has_one_entry_a_round(data):
    X, y, client_ids = data
    estimator = small(n_rounds=5, participation=0.5).fit(X, y, client_ids=client_ids)
    assert estimator.n_rounds_ == 5
    recorded = (*TERMS, "drift")
    assert estimator.history_.keys() == {*recorded, *(f"{term}_per_client" for term in recorded)}
    for term in TERMS:
        assert estimator.history_[term].shape == (5,)
        per_client = estimator.history_[f"{term}_per_client"]
        assert per_client.shape == (5, 3)
        assert_array_equal(np.isnan(per_client).sum(1), 1)  # round(0.5 * 3) = 2 of 3 take part
        assert_allclose(np.nanmean(per_client, 1), estimator.history_[term], rtol=1e-5, atol=1e-12)


def test_the_loss_is_the_weighted_sum_of_its_terms(data):
    X, y, client_ids = data
    params = {"mi_weight": 0.03, "kl_weight": 0.02, "contrastive_weight": 0.01}
    estimator = small(modalities={"a": [0, 1, 2], "b": [3, 4, 5]}, **params).fit(X, y, client_ids=client_ids)
    h = estimator.history_
    total = h["mse"] + sum(w * h[name.removesuffix("_weight")] for name, w in params.items())
    assert_allclose(h["loss"], total, rtol=1e-4)


def test_partial_fit_freezes_preprocessing_at_the_first_call(data):
    """A second batch with another offset moves the predictions, not the meaning of the inputs."""
    X, y, client_ids = data
    still = small(learning_rate=1e-30, weight_decay=0.0).partial_fit(X, y, client_ids=client_ids)
    before = still.predict(X)
    still.partial_fit(X + 100, 3 * y + 50, client_ids=client_ids)
    assert_allclose(still.predict(X), before, rtol=1e-5, atol=1e-5)


def test_partial_fit_goes_on_from_fit(data):
    X, y, client_ids = data
    estimator = small().fit(X, y, client_ids=client_ids)
    first = {name: values.copy() for name, values in estimator.history_.items()}
    estimator.partial_fit(X, y, client_ids=client_ids)
    assert estimator.n_rounds_ == 5
    for name, values in estimator.history_.items():
        assert_array_equal(values[:4], first[name])
    assert_array_equal(estimator.n_samples_per_client_, [32, 32, 32])


def test_partial_fit_learns_and_knows_no_classes(data):
    X, y, client_ids = data
    estimator = small()
    for _ in range(20):
        estimator.partial_fit(X, y, client_ids=client_ids)
    assert estimator.score(X, y) > 0.8
    assert estimator.n_rounds_ == 20


def test_one_round_of_fit_is_one_partial_fit(data):
    """The cosine starts at one, so their first rounds are the same."""
    X, y, client_ids = data
    assert_same_model(
        small(n_rounds=1).fit(X, y, client_ids=client_ids),
        small().partial_fit(X, y, client_ids=client_ids),
        X,
    )


def test_warm_start_goes_on_and_a_cold_start_does_not(data):
    X, y, client_ids = data
    warm = small(warm_start=True).fit(X, y, client_ids=client_ids)
    assert_same_model(warm, small().fit(X, y, client_ids=client_ids), X)
    first = warm.history_["mse"].copy()
    warm.fit(X, y, client_ids=client_ids)
    assert warm.n_rounds_ == 8
    assert_array_equal(warm.history_["mse"][:4], first)
    assert warm.history_["mse"][4] < first[0]
    assert_array_equal(warm.n_samples_per_client_, [32, 32, 32])
    cold = small().fit(X, y, client_ids=client_ids).fit(X, y, client_ids=client_ids)
    assert cold.n_rounds_ == 4


@pytest.mark.parametrize(
    "change",
    [
        {"n_components": 3},
        {"modality_dim": 3},
        {"hidden_layer_sizes": (7,)},
        {"head_hidden_layer_sizes": (7,)},
        {"fusion": "mean"},
        {"modalities": {"a": [0, 1, 2], "b": [3, 4, 5]}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_the_network_was_built_with_cannot_change_in_silence(data, change):
    X, y, client_ids = data
    estimator = small(warm_start=True).fit(X, y, client_ids=client_ids).set_params(**change)
    for method in (estimator.fit, estimator.partial_fit):
        with pytest.raises(ValueError, match=next(iter(change))):
            method(X, y, client_ids=client_ids)


def test_what_only_steers_training_can_change_between_fits(data):
    X, y, client_ids = data
    estimator = small(warm_start=True).fit(X, y, client_ids=client_ids)
    estimator.set_params(learning_rate=1e-3, batch_size=8, local_epochs=1, mi_weight=0, history_size=0)
    assert estimator.fit(X, y, client_ids=client_ids).n_rounds_ == 8
    estimator.set_params(history_size=5, contrastive_weight=0.1, engine="native")
    assert estimator.partial_fit(X, y, client_ids=client_ids).n_rounds_ == 9


# ---------------------------------------------------------------------------------- what is kept, printed


def arrays_in(thing, path="", seen=None):
    """Every array reachable from `thing`, with where it was found."""
    seen = set() if seen is None else seen
    if id(thing) in seen or isinstance(thing, (str, bytes, int, float, type(None))):
        return
    seen.add(id(thing))
    if hasattr(thing, "shape") and not isinstance(thing, (Message, Network)):  # whose shapes are of something else
        yield path, thing
    elif isinstance(thing, dict):
        for key, value in thing.items():
            yield from arrays_in(value, f"{path}[{key!r}]", seen)
    elif isinstance(thing, (list, tuple, set)):
        for i, value in enumerate(thing):
            yield from arrays_in(value, f"{path}[{i}]", seen)
    else:
        for name, value in getattr(thing, "__dict__", {}).items():
            yield from arrays_in(value, f"{path}.{name}", seen)


@pytest.mark.parametrize("shrinkage", [2e-4, "auto"])
def test_no_training_rows_stay_on_the_fitted_object(shrinkage):
    n = 2003  # a prime that is no width of any layer
    X = np.random.default_rng(0).standard_normal((n, 5))
    estimator = small(n_rounds=1, local_epochs=1, batch_size=n, shrinkage=shrinkage)
    estimator.fit(X, X[:, 0], client_ids=np.arange(n) % 2)
    estimator.transform(X)
    found = list(arrays_in(estimator))
    assert any(".weights" in path for path, _ in found)
    assert [(path, tuple(array.shape)) for path, array in found if n in array.shape] == []
    assert sum(array.nbytes if isinstance(array, np.ndarray) else 0 for _, array in found) < X.nbytes / 2
    assert len(pickle.dumps(estimator)) < X.nbytes / 2


def test_fitted_arrays_are_numpy(data):
    X, y, client_ids = data
    estimator = small().fit(X, y, client_ids=client_ids)
    for path, array in arrays_in(estimator):
        assert isinstance(array, (np.ndarray, np.generic)), path


def test_verbose_prints_and_silence_is_the_default(data, capsys):
    X, y, client_ids = data
    small(n_rounds=25).fit(X, y, client_ids=client_ids)
    assert capsys.readouterr() == ("", "")
    small(n_rounds=25, verbose=1).fit(X, y, client_ids=client_ids)
    out, bar = capsys.readouterr()
    assert out == "" and "25/25" in bar
    small(n_rounds=25, verbose=2).fit(X, y, client_ids=client_ids)
    assert len(capsys.readouterr().out.splitlines()) == 25
