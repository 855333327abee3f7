"""Laws of refusal: bad input is named, nothing is trained, and the estimator is as it was before."""

from __future__ import annotations

import copy
import re
from datetime import date
from enum import Enum

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_array_equal
from scipy import sparse
from sklearn.exceptions import NotFittedError

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.encoders import DenseEncoder
from skfdrmfl.fit.parameters import device_of

N, P = 30, 6
RNG = np.random.default_rng(0)
X = RNG.standard_normal((N, P))
Y = X[:, 0] + 0.1 * RNG.standard_normal(N)
IDS = np.arange(N) % 3
FRAME = pd.DataFrame(X, columns=["nir__1", "nir__2", "nir__3", "raman__1", "raman__2", "raman__3"])


def small(**params):
    return FDRMFLTransformer(tuning=None, **{"n_rounds": 2, "local_epochs": 1, "random_state": 0, **params})


def assert_same(a, b, path="estimator"):
    """Deep equality of fitted state, arrays to the last bit."""
    assert type(a) is type(b), path
    if isinstance(a, np.ndarray):
        assert_array_equal(a, b, err_msg=path, strict=True)
    elif isinstance(a, dict):
        assert list(a) == list(b), path
        for key in a:
            assert_same(a[key], b[key], f"{path}[{key!r}]")
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), path
        for i, pair in enumerate(zip(a, b, strict=True)):
            assert_same(*pair, f"{path}[{i}]")
    elif hasattr(a, "__dict__") and not callable(a):
        assert_same(vars(a), vars(b), path)
    else:
        assert a is b or a == b or (a != a and b != b), path


@pytest.fixture
def no_training(monkeypatch):
    """Any round that starts is a failure."""

    def refuse(*args, **kwargs):
        raise AssertionError("training started on bad input")

    monkeypatch.setattr("skfdrmfl.server.training.federated_run", refuse)


def assert_refused(error, *words, x=X, y=Y, client_ids=IDS, good=X, **params):
    """`fit` and `partial_fit` raise, say all of `words`, and change neither a fresh nor a fitted model."""
    for state in ("unfitted", "fitted"):
        for method in ("fit", "partial_fit"):
            estimator = copy.deepcopy(_FITTED[id(good)]) if state == "fitted" else small()
            estimator.set_params(**params)
            before = dict(vars(estimator))
            deep = copy.deepcopy(before)
            with pytest.raises(error) as caught:
                getattr(estimator, method)(x, y, client_ids=client_ids)
            message = str(caught.value)
            for word in words:
                assert re.search(word, message), f"{word!r} is not in: {message}"
            assert vars(estimator).keys() == before.keys(), (state, method)
            assert_same(vars(estimator), deep, f"{state} estimator after {method}")
            if state == "fitted":
                assert_array_equal(estimator.predict(good), _FITTED[id(good)].predict(good))
            else:
                with pytest.raises(NotFittedError):
                    estimator.predict(good)


_FITTED = {
    id(X): small().fit(X, Y, client_ids=IDS),
    id(FRAME): small().fit(FRAME, Y, client_ids=IDS),
}


def at(array, index, value):
    changed = np.array(array, dtype=object if isinstance(value, str) else type(value))
    changed[index] = value
    return changed


# --------------------------------------------------------------------------------------------- X and y


@pytest.mark.parametrize(
    ("x", "error", "words"),
    [
        (at(X, (3, 2), np.nan), ValueError, ["X", "NaN", "imputer|drop"]),
        (at(X, (3, 2), np.inf), ValueError, ["X", "infinity"]),
        (at(X, (3, 2), -np.inf), ValueError, ["X", "infinity"]),
        (X + 0j, ValueError, ["Complex data not supported"]),
        (at(X, (3, 2), "spam"), ValueError, ["could not convert string to float", "spam"]),
        (sparse.csr_array(X), TypeError, ["Sparse", "X", "toarray"]),
        (sparse.csc_matrix(X), TypeError, ["Sparse", "X", "toarray"]),
        (X[:, 0], ValueError, ["2D", "1D", "reshape"]),
        (X[None], ValueError, ["dim 3"]),
        (X[:0], ValueError, ["0 sample"]),
        (X[:, :0], ValueError, ["0 feature"]),
        (X[:-1], ValueError, ["inconsistent numbers of samples", "29", "30"]),
        (FRAME.assign(nir__1=["a", 1.0] * 15), ValueError, ["'nir__1' mixes|could not convert string to float"]),
        (FRAME.assign(nir__1=[None] + [1.0] * 29), ValueError, ["X", "NaN"]),
        (pl.DataFrame(X).with_columns(pl.lit(None).alias("column_0")), ValueError, ["X", "NaN"]),
        (None, ValueError, ["2D|None"]),
        ({"nir": X[:, :3], "raman": X[:, 3:]}, (TypeError, ValueError), []),
    ],
    ids=[
        *["nan", "inf", "-inf", "complex", "string", "csr", "csc", "1-D", "3-D", "no rows", "no columns"],
        *["rows", "column of strings and numbers", "missing", "polars null", "None", "dict"],
    ],
)
def test_bad_x(no_training, x, error, words):
    if isinstance(x, pd.DataFrame):
        assert_refused(error, *words, x=x, good=FRAME)
    elif not isinstance(x, pl.DataFrame):
        assert_refused(error, *words, x=x)
    else:
        with pytest.raises(error, match=".*".join(words)):
            small().fit(x, Y)


@pytest.mark.parametrize(
    ("y", "words"),
    [
        (None, ["y"]),
        (at(Y, 4, np.nan), ["y", "NaN"]),
        (at(Y, 4, np.inf), ["y", "infinity"]),
        (at(np.c_[Y, Y], (4, 1), np.nan), ["y", "NaN"]),
        (Y + 0j, ["Complex"]),
        (at(Y, 4, "spam"), ["could not convert string to float", "spam"]),
        (Y[:-1], ["inconsistent numbers of samples", "29"]),
        (Y.reshape(N, 1, 1), ["dim 3"]),
        (np.empty((N, 0)), ["0 feature"]),
    ],
    ids=["None", "nan", "inf", "nan in one output", "complex", "string", "rows", "3-D", "no outputs"],
)
def test_bad_y(no_training, y, words):
    assert_refused(ValueError, *words, y=y)


# ----------------------------------------------------------------------------------------- client_ids


@pytest.mark.parametrize(
    ("client_ids", "words"),
    [
        (IDS[:-1], ["29 entries", "30 rows", "one id per row"]),
        (np.arange(31), ["31 entries", "30 rows", "one id per row"]),
        ([], ["0 entries", "30 rows", "one id per row"]),
        (IDS[:, None], [r"\(30, 1\)", "1-D", "one id per row"]),
        (np.c_[IDS, IDS], [r"\(30, 2\)", "1-D", "one id per row"]),
        ([("a", 1)] * N, [r"\(30, 2\)", "1-D", "one id per row"]),
        (pd.DataFrame({"site": IDS}), [r"\(30, 1\)", "1-D", "one id per row"]),
        (3, ["single value 3", "one id per row"]),
        ("site", ["single value 'site'", "one id per row"]),
        ([None] * N, ["missing for 30 of 30 rows", "row 0", "drop those rows"]),
        (["a"] * 29 + [None], ["missing for 1 of 30 rows", "row 29", "drop those rows"]),
        (np.where(IDS == 1, np.nan, IDS), ["missing for 10 of 30 rows", "row 1", "drop those rows"]),
        (["a"] * 28 + [float("nan")] * 2, ["missing for 2 of 30 rows", "row 28", "drop those rows"]),
        (pd.Series([None, *IDS[1:]], dtype="Int64"), ["missing for 1 of 30 rows", "row 0"]),
        (pd.Series(["a", None] * 15), ["missing for 15 of 30 rows", "row 1"]),
        (pd.Series(["a", pd.NA] * 15, dtype="string"), ["missing for 15 of 30 rows", "row 1"]),
        (pd.Categorical(["a", None] * 15), ["missing for 15 of 30 rows", "row 1"]),
        (pl.Series(["a", None] * 15), ["missing for 15 of 30 rows", "row 1"]),
        (np.array(["2020-01-01", "NaT"] * 15, dtype="M8[D]"), ["missing for 15 of 30 rows", "row 1"]),
        ([1] * 15 + ["a"] * 15, ["mixes", "number", "str", "convert|one type"]),
        (np.array([1] * 15 + ["a"] * 15, dtype=object), ["mixes", "number", "str", "one type"]),
        (IDS.astype("M8[ns]"), ["finer than a microsecond", "strings"]),
        ([2**63 + 1, 2**63 + 2] * 14 + [-1, -2], ["so large", "float64", "strings"]),
        ([2**53 + 1, 2**53] * 14 + [0.5, 0.25], ["so large", "float64", "strings"]),
        ([True] * 15 + [2] * 15, ["mixes", "bool", "number", "one type"]),
        (IDS + 1j, ["complex128", "integers or strings"]),
        ([object()] * N, ["client_ids", "integers or strings"]),
        ([[1], [1, 2]] * 15, ["client_ids", "one id per row"]),
        ({"a": 1}, ["client_ids", "one id per row"]),
        ({"a", "b"}, ["client_ids", "one id per row"]),
        ((i % 3 for i in range(N)), ["client_ids", "one id per row"]),
    ],
)
def test_bad_client_ids(no_training, client_ids, words):
    assert_refused(ValueError, "client_ids", *words, client_ids=client_ids)


def test_long_bad_client_ids_make_no_long_message(no_training):
    """Whatever is passed by mistake, the message fits on a screen."""
    ids = dict.fromkeys(range(10_000))
    with pytest.raises(ValueError, match="client_ids") as caught:
        small().fit(X, Y, client_ids=ids)
    assert len(str(caught.value)) < 400


# ----------------------------------------------------------------------------------------- modalities


@pytest.mark.parametrize(
    ("modalities", "words"),
    [
        ("prefixes", ["prefixes", "None", '"prefix"', "dict"]),
        (3, ["int", '"prefix"', "dict"]),
        ([[0, 1], [2, 3]], ["list", '"prefix"', "dict"]),
        ({}, ["empty", "None"]),
        ({1: slice(None)}, ["key 1", "strings"]),
        ({"": slice(None)}, ["key ''", "strings"]),
        ({"a": [0, 1, 2], "b": [2, 3, 4, 5]}, ["'a'", "'b'", "column 2", "one modality"]),
        ({"a": slice(0, 4), "b": slice(3, 6)}, ["'a'", "'b'", "column 3", "one modality"]),
        ({"a": [0, -1], "b": [1, 2, 3, 4, 5]}, ["'a'", "'b'", "column 5", "one modality"]),
        ({"a": [0, 1, 2, 3, 4, 5, 0]}, ["'a'", "twice", "once"]),
        ({"a": [0, -6, 1, 2, 3, 4, 5]}, ["'a'", "twice", "once"]),
        ({"a": [0, 1]}, ["4 of 6", "2, 3, 4, 5", "assign|drop"]),
        ({"a": [], "b": slice(None)}, ["'a'", "no columns", "remove"]),
        ({"a": slice(None), "b": slice(6, 9)}, ["'b'", "no columns", "remove"]),
        ({"a": [False] * 6, "b": slice(None)}, ["'a'", "no columns", "remove"]),
        ({"a": [True] * 5}, ["'a'", "mask", "5 entries", "6 columns", "one entry per column"]),
        ({"a": np.ones(7, dtype=bool)}, ["'a'", "mask", "7 entries", "6 columns"]),
        ({"a": [0, 6]}, ["'a'", "column 6", "6 columns", "0 to 5"]),
        ({"a": 6}, ["'a'", "column 6", "6 columns", "0 to 5"]),
        ({"a": [-7]}, ["'a'", "column -7", "6 columns"]),
        ({"a": "nir__1", "b": slice(1, 6)}, ["'a'", "'nir__1'", "no column names", "DataFrame|number"]),
        ({"a": slice("nir__1", "nir__3")}, ["'a'", "'nir__1'", "no column names"]),
        ({"a": [0.0, 1.0]}, ["'a'", r"\[0.0, 1.0\]", "integers"]),
        ({"a": [0, "b"]}, ["'a'", "integers"]),
        ({"a": [0, True]}, ["'a'", "integers"]),
        ({"a": None}, ["'a'", "None", "integers"]),
        ({"a": 1.5}, ["'a'", "1.5", "integers"]),
        ({"a": [[0, 1, 2], [3, 4, 5]]}, ["'a'", "integers"]),
        ({"a": lambda X: [0, 99]}, ["'a'", "column 99", "6 columns"]),
        ({"a": lambda X: None}, ["'a'", "None", "integers"]),
        ("prefix", ['"prefix"', "no|none", "DataFrame", "dict"]),
    ],
)
def test_bad_modalities(no_training, modalities, words):
    for method in ("fit", "partial_fit"):
        estimator = small(modalities=modalities)
        before = dict(vars(estimator))
        with pytest.raises(ValueError, match="modalit") as caught:
            getattr(estimator, method)(X, Y, client_ids=IDS)
        for word in words:
            assert re.search(word, str(caught.value)), f"{word!r} is not in: {caught.value}"
        assert vars(estimator) == before
    fitted = copy.deepcopy(_FITTED[id(X)]).set_params(modalities=modalities)
    before = dict(vars(fitted))
    with pytest.raises(ValueError, match="modalit"):
        fitted.fit(X, Y, client_ids=IDS)
    assert vars(fitted) == before
    assert_array_equal(fitted.predict(X), _FITTED[id(X)].predict(X))


@pytest.mark.parametrize(
    ("modalities", "words"),
    [
        ({"a": "nir__9"}, ["'a'", "'nir__9'", "'nir__1'"]),
        ({"a": ["nir__1", "raman__7"]}, ["'a'", "'raman__7'"]),
        ({"a": slice("nir__1", "nir__9")}, ["'a'", "'nir__9'"]),
        ({"a": ["nir__1", "nir__2"], "b": slice("nir__2", "raman__3")}, ["'a'", "'b'", "'nir__2'"]),
        ({"a": ["nir__1", "nir__2"]}, ["4 of 6", "'nir__3'", "'raman__1'"]),
        ({"a": slice("raman__1", "nir__1"), "b": slice(None)}, ["'a'", "no columns"]),
    ],
)
def test_bad_modalities_by_name(no_training, modalities, words):
    estimator = small(modalities=modalities)
    with pytest.raises(ValueError, match="modalit") as caught:
        estimator.fit(FRAME, Y, client_ids=IDS)
    for word in words:
        assert re.search(word, str(caught.value)), f"{word!r} is not in: {caught.value}"


@pytest.mark.parametrize("name", ["water", "__1", "nir__", "nir_1", "__"])
def test_bad_prefix(no_training, name):
    columns = ["nir__1", "nir__2", name, "raman__1", "raman__2", "raman__3"]
    with pytest.raises(ValueError, match=f'"prefix".*column 2.*{name!r}.*rename'):
        small(modalities="prefix").fit(FRAME.set_axis(columns, axis=1), Y)


# ----------------------------------------------------------------------------------- other parameters


@pytest.mark.parametrize(
    ("encoders", "words"),
    [
        ("dense", ["'x'", "'dense'", "DenseEncoder"]),
        (3, ["'x'", "3", "DenseEncoder"]),
        (DenseEncoder, ["'x'", "DenseEncoder", r"DenseEncoder\(\)"]),
        ({"x": "conv"}, ["'x'", "'conv'", "DenseEncoder"]),
        ({"nir": DenseEncoder()}, ["'nir'", "not exist", "'x'"]),
        ({"x": None, "nir": None}, ["'nir'", "not exist", "'x'"]),
        (DenseEncoder(hidden_layer_sizes=(0,)), ["hidden_layer_sizes", "'x'", r"\(0,\)", "positive"]),
        ({"x": DenseEncoder(hidden_layer_sizes="ab")}, ["hidden_layer_sizes", "'x'", "'ab'", "positive"]),
    ],
)
def test_bad_encoders(no_training, encoders, words):
    assert_fit_refuses(ValueError, words, encoders=encoders)


@pytest.mark.parametrize("name", ["hidden_layer_sizes", "head_hidden_layer_sizes"])
@pytest.mark.parametrize("sizes", [0, -1, (0,), (4, -3), (3.5,), (True,), "ab", None, (None,), 2.0, object()])
def test_bad_hidden_sizes(no_training, name, sizes):
    assert_fit_refuses(ValueError, [name, "positive integers", re.escape(repr(sizes))], **{name: sizes})


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("name", "values", "remedy"),
    [
        ("n_components", [0, -1, 1.5, None, "2"], r"int in the range \[1, inf\)"),
        ("modality_dim", [0, 2.0], r"int in the range \[1, inf\)"),
        ("n_rounds", [0, -5, 2.5, "auto"], r"int in the range \[1, inf\)"),
        ("local_epochs", [0, 0.5], r"int in the range \[1, inf\)"),
        ("batch_size", [0, -1, None, "auto"], r"int in the range \[1, inf\)"),
        ("history_size", [-1, 1.5], r"int in the range \[0, inf\)"),
        ("learning_rate", [0, -1e-3, NAN, INF, "constant"], r"float in the range \(0.0, inf\)"),
        ("temperature", [0, -1, NAN, INF], r"float in the range \(0.0, inf\)"),
        ("weight_decay", [-1e-9, NAN, INF], r"float in the range \[0.0, inf\)"),
        ("input_l1", [-1, NAN, INF], r"float in the range \[0.0, inf\)"),
        ("mi_weight", [-1, NAN, INF, None], r"float in the range \[0.0, inf\)"),
        ("kl_weight", [-1, NAN, INF, None], r"float in the range \[0.0, inf\)"),
        ("contrastive_weight", [-1, NAN, INF, None], r"float in the range \[0.0, inf\)"),
        ("shrinkage", [-1, NAN, INF, None, "best"], r"float in the range \[0.0, inf\).*auto"),
        ("participation", [0, -1, 1.01, NAN, 2], r"float in the range \(0.0, 1.0\]"),
        ("preprocessing", ["pca", 1, False], "'standardize'"),
        ("fusion", ["sum", None], "'concat'"),
        ("algorithm", ["fedsomething", None], "'fedavg'"),
        ("aggregation", ["krum", None], "'mean'"),
        ("preaggregation", ["mean", 1], "'lengths'"),
        ("n_byzantine", [-1, 1.5, None], r"int in the range \[0, inf\)"),
        ("engine", ["vmap", None], "'torch'"),
        ("device", [3, None], "'str'"),
        ("random_state", [-1, "seed", 1.5], "int"),
        ("verbose", [-1, "yes"], "int"),
        ("warm_start", [2, "yes", None], "bool"),
    ],
)
def test_bad_parameters(no_training, name, values, remedy):
    for value in values:
        assert_fit_refuses(ValueError, [f"'{name}' parameter", remedy, re.escape(repr(value))], **{name: value})


@pytest.mark.parametrize("device", ["gpu", "", "cuda:banana", "meta", "xla"])
def test_bad_device(no_training, device):
    assert_fit_refuses(ValueError, ["device", re.escape(repr(device)), '"cpu"', '"auto"'], device=device)


def assert_fit_refuses(error, words, **params):
    """As `assert_refused`, for parameters that only `fit` looks at once there is a model."""
    for estimator in (small(), copy.deepcopy(_FITTED[id(X)])):
        estimator.set_params(**params)
        before = dict(vars(estimator))
        with pytest.raises(error) as caught:
            estimator.fit(X, Y, client_ids=IDS)
        for word in words:
            assert re.search(word, str(caught.value), re.DOTALL), f"{word!r} is not in: {caught.value}"
        assert vars(estimator).keys() == before.keys()
        assert all(value is before[name] for name, value in vars(estimator).items())
    assert_array_equal(estimator.predict(X), _FITTED[id(X)].predict(X))


@pytest.mark.parametrize("table", [X, X.astype(np.float32), FRAME], ids=["float64", "float32", "frame"])
@pytest.mark.parametrize(("value", "what"), [(np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "infinity")])
def test_gaps_are_said_to_stand_in_a_row_and_a_column(table, value, what):
    odd = table.copy()
    places = odd if isinstance(odd, np.ndarray) else odd.iloc
    places[7, 3], places[12, 0] = value, np.nan
    where = re.escape(f"Input X contains {what} in 2 rows (first: row 7, column 3); drop those rows, or impute")
    with pytest.raises(ValueError, match=where):
        small().fit(odd, Y, client_ids=IDS)
    fitted = small().fit(table, Y, client_ids=IDS)
    for use in (fitted.predict, fitted.domain):
        with pytest.raises(ValueError, match=where):
            use(odd)
    for y in (at(Y, 7, value), pd.Series(at(Y, 7, value)), at(Y, 7, value).astype(object)):
        for use in (small().fit, fitted.adapt):
            with pytest.raises(ValueError, match=rf"y contains {what} in 1 row \(first: row 7\); drop those rows\.$"):
                use(table, y)


def test_infinity_is_named_among_rows_that_lack_a_modality():
    odd = at(at(X, (2, slice(0, 3)), np.nan), (9, 4), -np.inf)
    model = small(modalities={"nir": slice(0, 3), "raman": slice(3, 6)})
    with pytest.raises(ValueError, match=r"X contains infinity in 1 row \(first: row 9, column 4\)"):
        model.fit(odd, Y, client_ids=IDS)
    model.fit(at(odd, (9, 4), 0.0), Y, client_ids=IDS)


# ------------------------------------------------------------------------------- using it, going on


@pytest.mark.parametrize("method", ["transform", "predict"])
def test_bad_rows_are_refused_when_used(method):
    use = getattr(_FITTED[id(X)], method)
    with pytest.raises(ValueError, match="X has 5 features.*expecting 6"):
        use(X[:, :5])
    with pytest.raises(ValueError, match="X contains NaN"):
        use(at(X, (0, 0), np.nan))
    with pytest.raises(ValueError, match="infinity"):
        use(at(X, (0, 0), np.inf))
    with pytest.raises(ValueError, match="2D"):
        use(X[0])
    with pytest.raises(TypeError, match="Sparse"):
        use(sparse.csr_array(X))
    with pytest.raises(ValueError, match="0 sample"):
        use(X[:0])


def test_use_before_fit():
    for estimator in (small(), small(warm_start=True)):
        for use in (
            lambda e: e.transform(X),
            lambda e: e.predict(X),
            lambda e: e.score(X, Y),
            lambda e: e.get_feature_names_out(),
        ):
            with pytest.raises(NotFittedError, match="FDRMFLTransformer instance is not fitted.*'fit'"):
                use(estimator)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"y": np.c_[Y, Y]}, ["2 outputs", "1", "same outputs|new estimator"]),
        ({"client_ids": IDS.astype(str)}, ["client_ids", "strings", "numbers", "as before|new estimator"]),
        ({"client_ids": IDS.astype("M8[D]")}, ["client_ids", "dates", "numbers"]),
        ({"x": X[:, :5]}, ["5 features", "expecting 6"]),
    ],
    ids=["outputs", "strings", "dates", "width"],
)
def test_later_data_must_fit_the_model(no_training, change, words):
    given = {"x": X, "y": Y, "client_ids": IDS, **change}
    for start in ("partial_fit", "fit"):
        estimator = copy.deepcopy(_FITTED[id(X)]).set_params(warm_start=True)
        before = copy.deepcopy(vars(estimator))
        with pytest.raises(ValueError) as caught:
            getattr(estimator, start)(given["x"], given["y"], client_ids=given["client_ids"])
        for word in words:
            assert re.search(word, str(caught.value)), f"{word!r} is not in: {caught.value}"
        assert_same(vars(estimator), before)
        assert_array_equal(estimator.predict(X), _FITTED[id(X)].predict(X))


def test_bytes_and_strings_are_not_the_same_clients():
    estimator = small().fit(X, Y, client_ids=np.array(["a", "b", "c"])[IDS])
    with pytest.raises(ValueError, match="client_ids"):
        estimator.partial_fit(X, Y, client_ids=np.array([b"a", b"b", b"c"])[IDS])


def test_labels_that_are_numbers_of_any_dtype_are_the_same_clients():
    estimator = small().fit(X, Y, client_ids=IDS)
    for dtype in (np.uint8, np.float32, "Int64"):
        estimator.partial_fit(X, Y, client_ids=pd.Series(IDS).astype(dtype))
    assert estimator.clients_.tolist() == [0, 1, 2]


@pytest.mark.parametrize("name", ["client_ids", "groups"])
@pytest.mark.parametrize("value", [0.5, -1.25, np.inf, 2.0**53])
def test_measurements_are_no_labels(no_training, name, value):
    labels = np.where(np.arange(N) == 7, value, IDS.astype(float))
    for given in (labels, labels.tolist(), pd.Series(labels)):
        with pytest.raises(ValueError, match=re.escape(f"{name} holds {value}, which is no label: labels are whole")):
            small().fit(X, Y, **({"client_ids": IDS} | {name: given}))
    with pytest.raises(ValueError, match="client_ids holds .*Pass another array, or numpy.asarray"):
        small().fit(X, Y, client_ids=Y)


def test_whole_floats_are_the_integers_that_they_equal():
    for given in (IDS.astype(float), IDS.astype(float).tolist(), pd.Series(IDS).astype("Float64")):
        clients = small().fit(X, Y, client_ids=given, groups=given).clients_
        assert_array_equal(clients, [0, 1, 2])
        assert clients.dtype.kind == "i"


def test_dates_of_any_unit_are_the_same_clients():
    dates = np.array(["2024-01-01", "2024-01-02", "2024-01-05"], dtype="M8[D]")[IDS]
    estimator = small().fit(X, Y, client_ids=dates)
    for unit in ("ns", "us", "s"):
        estimator.partial_fit(X, Y, client_ids=dates.astype(f"M8[{unit}]"))
    assert estimator.n_samples_per_client_.tolist() == [40, 40, 40]


@pytest.mark.parametrize("kind", ["enum", "StringDType"])
def test_strings_of_other_types_are_their_values(kind):
    class Site(str, Enum):  # noqa: UP042 - its str() is not its value, that of a StrEnum is
        NORTH, SOUTH, WEST = "n1", "s1", "w1"

    plain = np.array(["n1", "s1", "w1"])[IDS]
    if kind == "enum":
        ids = [Site(label) for label in plain]
    elif not hasattr(np.dtypes, kind):
        pytest.skip("numpy has StringDType from 2.0 on")
    else:
        ids = plain.astype(np.dtypes.StringDType())
    assert small().fit(X, Y, client_ids=ids).clients_.tolist() == ["n1", "s1", "w1"]


@pytest.mark.parametrize("y", [list("ab") * 15, sparse.csr_matrix(Y[:, None])], ids=["strings", "sparse"])
def test_a_y_that_is_not_numbers_is_named(no_training, y):
    with pytest.raises(ValueError, match="y cannot be read as numbers.*columns of 0 and 1"):
        small().fit(X, y)


def test_dates_are_neither_numbers_nor_categories(no_training):
    frame = pl.DataFrame({"day": [date(2024, 1, 1)] * N, "x": X[:, 0]})
    with pytest.raises(ValueError, match="column 'day' holds values of type Date.*leave the column out"):
        small().fit(frame, Y)


def test_a_failed_partial_fit_appends_no_client():
    estimator = copy.deepcopy(_FITTED[id(X)])
    with pytest.raises(ValueError, match="outputs"):
        estimator.partial_fit(X, np.c_[Y, Y], client_ids=IDS + 10)
    assert estimator.clients_.tolist() == [0, 1, 2]
    assert estimator.n_samples_per_client_.tolist() == [10, 10, 10]
    assert estimator.partial_fit(X, Y, client_ids=IDS + 10).clients_.tolist() == [0, 1, 2, 10, 11, 12]


def test_without_cuda_any_name_of_the_processor_is_a_device_and_cuda_is_none(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert [device_of(name) for name in ("cpu", "cpu:0", "auto")] == ["cpu", "cpu:0", "cpu"]
    with pytest.raises(ValueError, match="torch finds no CUDA device"):
        device_of("cuda")
