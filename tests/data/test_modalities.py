"""Laws of `modalities`: which columns are which x^m, however that is said."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.model_selection import GridSearchCV

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.data.modalities import resolve_modalities
from skfdrmfl.encoders import DenseEncoder, LinearEncoder

N = 30
RNG = np.random.default_rng(0)
X = RNG.standard_normal((N, 6))
Y = X[:, 0] * X[:, 4] + X[:, 1]
IDS = np.arange(N) % 2
NAMES = ["nir__1", "nir__2", "nir__3", "raman__1", "raman__2", "raman__3"]
FRAME = pd.DataFrame(X, columns=NAMES)


def small(**params):
    return FDRMFLTransformer(tuning=None, **{"n_rounds": 2, "local_epochs": 1, "random_state": 0, **params})


def columns(resolved):
    return {name: array.tolist() for name, array in resolved.items()}


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ([0, 1, 2], [3, 4, 5]),
        ((0, 1, 2), np.array([3, 4, 5])),
        (slice(0, 3), slice(3, 6)),
        (slice(None, 3), slice(3, None)),
        (slice(0, 3), slice(3, 100)),
        ([-6, -5, -4], [-3, -2, -1]),
        (range(3), range(3, 6)),
        (pd.Index([0, 1, 2]), pd.Series([3, 4, 5])),
        ([True] * 3 + [False] * 3, np.arange(6) > 2),
        (pd.Series([True] * 3 + [False] * 3), (False, False, False, True, True, True)),
        (np.arange(3, dtype=np.uint8), slice(-3, None)),
        (["nir__1", "nir__2", "nir__3"], ["raman__1", "raman__2", "raman__3"]),
        (np.array(NAMES[:3]), pd.Index(NAMES[3:])),
        (slice("nir__1", "nir__3"), slice("raman__1", None)),
        (slice(None, "nir__3"), slice("raman__1", "raman__3")),
        (lambda X: [0, 1, 2], lambda X: np.array([3, 4, 5])),
        (make_column_selector("^nir"), make_column_selector("^raman")),
        (lambda X: X.columns.str.startswith("nir"), lambda X: slice(3, None)),
    ],
)
def test_every_way_to_say_the_same_columns_resolves_to_them(a, b):
    resolved = small(modalities={"a": a, "b": b}).fit(FRAME, Y, client_ids=IDS).modalities_
    assert columns(resolved) == {"a": [0, 1, 2], "b": [3, 4, 5]}


@pytest.mark.parametrize(
    "selector",
    [0, -1, "nir__2", [4, 1], slice(1, 4), slice(-2, None), slice("nir__2", "raman__1"), np.arange(6) == 3],
    ids=str,
)
def test_selectors_mean_what_they_mean_in_column_transformer(selector):
    one = isinstance(selector, (int, str))  # which to them means a one-dimensional column
    kept = ColumnTransformer([("a", "passthrough", [selector] if one else selector)]).fit_transform(FRAME)
    rest = [j for j in range(6) if not any(np.array_equal(X[:, j], column) for column in kept.T)]
    ours = resolve_modalities({"a": selector, "b": rest}, FRAME, np.array(NAMES, dtype=object), 6)
    assert_array_equal(X[:, ours["a"]], kept)


def test_none_is_one_modality_of_all_columns():
    assert columns(small().fit(X, Y).modalities_) == {"x": [0, 1, 2, 3, 4, 5]}


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame], ids=["pandas", "polars"])
def test_prefix_groups_names_in_order_of_appearance(frame):
    names = ["z__a", "y__a", "z__b__c", "y__", "x__1", "z__2"]
    names[3] = "y__d"
    table = frame(dict(zip(names, X.T, strict=True)))
    resolved = small(modalities="prefix").fit(table, Y, client_ids=IDS).modalities_
    assert columns(resolved) == {"z": [0, 2, 5], "y": [1, 3], "x": [4]}


def test_prefix_is_the_dict_it_stands_for():
    groups = {"nir": [0, 1, 2], "raman": [3, 4, 5]}
    assert_array_equal(
        small(modalities="prefix").fit(FRAME, Y, client_ids=IDS).transform(FRAME),
        small(modalities=groups).fit(X, Y, client_ids=IDS).transform(X),
    )


@given(
    owner=st.lists(st.integers(0, 3), min_size=1, max_size=12),
    use_masks=st.booleans(),
)
def test_any_partition_of_the_columns_is_returned_as_given(owner, use_masks):
    owner = np.array(owner)
    groups = {f"m{g}": np.flatnonzero(owner == g) for g in np.unique(owner)}
    given_as = {name: owner == int(name[1:]) for name in groups} if use_masks else groups
    resolved = resolve_modalities(given_as, None, None, len(owner))
    assert columns(resolved) == columns(groups)


@given(sets=st.lists(st.lists(st.integers(-9, 9), max_size=6), min_size=1, max_size=4))
def test_anything_but_a_partition_is_refused(sets):
    n = 6
    modalities = {f"m{i}": columns for i, columns in enumerate(sets)}
    valid = all(-n <= j < n for columns in sets for j in columns)
    flat = [j % n for columns in sets for j in columns]
    if valid and all(sets) and sorted(flat) == list(range(n)):
        assert len(resolve_modalities(modalities, None, None, n)) == len(sets)
    else:
        with pytest.raises(ValueError, match="modalit"):
            resolve_modalities(modalities, None, None, n)


def test_where_columns_stand_in_the_table_does_not_matter():
    """A modality is its columns in the order given; moving both changes nothing."""
    order = np.array([5, 2, 0, 3, 1, 4])
    place = np.argsort(order)
    expected = small(modalities={"a": [0, 1, 2], "b": [3, 4, 5]}).fit(X, Y, client_ids=IDS)
    moved = small(modalities={"a": place[:3], "b": place[3:]}).fit(X[:, order], Y, client_ids=IDS)
    assert_array_equal(moved.transform(X[:, order]), expected.transform(X))


def test_modality_names_do_not_matter():
    expected = small(modalities={"a": [0, 1, 2], "b": [3, 4, 5]}).fit(X, Y, client_ids=IDS)
    for names in (("b", "a"), ("head", "critic"), ("fusion", "x.weight0"), ("a.b", "a b"), ("北", "é")):
        modalities = {names[0]: [0, 1, 2], names[1]: [3, 4, 5]}
        renamed = small(modalities=modalities).fit(X, Y, client_ids=IDS)
        assert_array_equal(renamed.transform(X), expected.transform(X), err_msg=str(names))
        assert len(renamed.weights_) == len(expected.weights_)


def test_callables_get_the_table_as_passed():
    seen = []

    def everything(table):
        seen.append(table)
        return slice(None)

    small(modalities={"a": everything}).fit(FRAME, Y)
    assert seen[0] is FRAME


def test_the_users_dict_is_not_changed():
    modalities = {"a": np.array([-6, 1, 2]), "b": slice(3, None)}
    small(modalities=modalities).fit(X, Y)
    assert list(modalities) == ["a", "b"]
    assert modalities["a"].tolist() == [-6, 1, 2]


def n_weights(estimator, modality):
    return sum(array.size for name, array in estimator.weights_.items() if f"{modality}." in name)


def test_each_modality_can_have_an_encoder_of_its_own():
    modalities = {"a": [0, 1, 2], "b": [3, 4, 5]}
    default = small(modalities=modalities).fit(X, Y, client_ids=IDS)
    for encoders in (None, DenseEncoder(), {"a": DenseEncoder()}, {"a": None, "b": DenseEncoder()}, {}):
        same = small(modalities=modalities, encoders=encoders).fit(X, Y, client_ids=IDS)
        assert_array_equal(same.transform(X), default.transform(X))
    mixed = small(modalities=modalities, encoders={"b": LinearEncoder()}).fit(X, Y, client_ids=IDS)
    assert n_weights(mixed, "b") == 3 * 8 + 8
    assert n_weights(mixed, "a") == n_weights(default, "a") == n_weights(default, "b") > 3 * 8 + 8
    deep = small(modalities=modalities, encoders=DenseEncoder((5, 4), skip=False)).fit(X, Y, client_ids=IDS)
    assert n_weights(deep, "a") == (3 + 1) * 5 + (5 + 1) * 4 + (4 + 1) * 8


def test_one_integer_is_one_hidden_layer():
    assert_array_equal(
        small(hidden_layer_sizes=5).fit(X, Y).transform(X),
        small(hidden_layer_sizes=(5,)).fit(X, Y).transform(X),
    )


@pytest.mark.parametrize("encoders", [DenseEncoder((4,)), {"x": DenseEncoder((4,))}], ids=["one", "dict"])
def test_encoders_are_specs_and_are_not_trained_themselves(encoders):
    estimator = small(encoders=encoders)
    clone(estimator).fit(X, Y)
    estimator.fit(X, Y)
    spec = encoders["x"] if isinstance(encoders, dict) else encoders
    assert vars(spec) == {"hidden_layer_sizes": (4,), "skip": True, "embedding_dim": 8}


def test_an_encoders_parameters_can_be_searched():
    search = GridSearchCV(
        small(encoders=DenseEncoder()),
        {"encoders__hidden_layer_sizes": [(), (3,)], "encoders__skip": [True, False]},
        cv=2,
        error_score="raise",
    )
    search.fit(X, Y, client_ids=IDS)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


@pytest.mark.parametrize("fusion", ["concat", "mean"])
@pytest.mark.parametrize("engine", ["torch", "auto"])
def test_the_alignment_term_is_zero_for_one_modality_and_not_for_two(fusion, engine):
    one = small(fusion=fusion, engine=engine).fit(X, Y, client_ids=IDS)
    two = small(fusion=fusion, engine=engine, modalities={"a": [0, 1], "b": [2, 3, 4, 5]})
    two.fit(X, Y, client_ids=IDS)
    assert_array_equal(one.history_["kl"], 0)
    assert np.all(two.history_["kl"] > 0)


def test_many_modalities_of_one_column_each_train():
    modalities = {f"m{j}": [j] for j in range(6)}
    estimator = small(modalities=modalities, n_rounds=20).fit(X, Y, client_ids=IDS)
    assert np.isfinite(estimator.transform(X)).all()
    assert_allclose(estimator.transform(X[:5]), estimator.transform(X)[:5], rtol=1e-9, atol=1e-12)
