"""Whatever the rows are like, a mixture is finite and no worse than the mean, or the fit says what is wrong."""

import numpy as np
import pandas as pd
import pytest
from mixture_data import COLUMNS, make, rows
from numpy.testing import assert_allclose, assert_array_equal

X, Y = rows(q=1)
SPECTRA, TABLE, Y = X[:, :24], X[:, 24:], Y[:, 0]
THREE, SIX = np.arange(60) % 3, np.arange(60) % 6
MODALITIES = {name: slice(int(mine[0]), int(mine[-1]) + 1) for name, mine in COLUMNS.items()}
rng = np.random.default_rng(0)


def sound(x, y, codes=None, groups=None, reach=1.02, **changes):
    """Fit; assert that everything is finite, and that the training rows are predicted as well as by their mean."""
    y = np.asarray(y, dtype=float)
    model = make(**changes).fit(x, y, codes, groups=groups)
    predicted, z = model.predict(x), model.transform(x)
    for found in (predicted, z, model.feature_importances_, model.component_variance_):
        assert np.isfinite(found).all()
    size = np.abs(y).max(0) or 1.0 if y.ndim == 1 else np.abs(y).max(0)
    error, spread = (np.sqrt(np.mean(np.square(e / size), 0)) for e in (predicted - y, y - y.mean(0)))
    assert (error <= reach * spread + 1e-9).all()
    assert repr(model.members_) and model.diagnose() is not None
    return model


def some(names):
    """Every third by default, and the rest among the slow tests."""
    return [pytest.param(name, marks=[pytest.mark.slow] * (i % 3 > 0)) for i, name in enumerate(names)]


def changed(x, rows, columns, value):
    x = np.array(x)
    x[rows, columns] = value
    return x


@pytest.mark.sampled()
@pytest.mark.parametrize("n", [1, 2, 5, 6, 7])
@pytest.mark.parametrize("x", [TABLE, SPECTRA], ids=["table", "spectra"])
def test_few_rows(n, x):
    """Fewer than six are too few to hold any out: the network alone, which is said."""
    model = sound(x[:n], Y[:n], reach=1.1)
    assert ("fewer than 6 rows" in model.members_.note) == (n < 6)


TABLES = {
    "one column": TABLE[:, :1],
    "some columns constant": np.hstack([TABLE, np.full((60, 3), 7.0)]),
    "a constant that rounding moves": np.hstack([TABLE, np.full((60, 1), 0.1) + 1e-17 * rng.standard_normal((60, 1))]),
    "all columns constant": np.full((60, 3), 7.0),
    "all zeros": np.zeros((60, 25)),
    "two different rows": np.tile(TABLE[:2], (30, 1)),
    "columns twice": np.repeat(TABLE, 3, axis=1),
    "of 1e-12 and 1e12": TABLE * [1e-12, 1e12, 1.0, 1e12],
    "of 1e150": TABLE * 1e150,
    "of 1e-150": TABLE * 1e-150,
    "an outlier": changed(TABLE, 5, 0, 1e8),
    "more columns than rows": np.random.default_rng(1).standard_normal((60, 300)),
    "too wide for moments": np.random.default_rng(1).standard_normal((60, 2100)),
    "spectra of 1e150": SPECTRA * 1e150,
    "spectra far from zero": SPECTRA + 1e9,
    "flat spectra": np.repeat(TABLE[:, :1], 40, axis=1),
    "spectra with flat rows": changed(SPECTRA, slice(0, 60, 7), slice(None), 3.0),
    "spectra of one shape": np.outer(TABLE[:, 0], np.sin(np.arange(40) / 9)),
    "yes and no": TABLE > 0,
    "whole numbers": np.round(10 * SPECTRA).astype(int),
}


@pytest.mark.parametrize("name", some(TABLES))
def test_tables(name):
    sound(TABLES[name], Y, THREE)


OUTPUTS = {
    "constant": np.full(60, 3.0),
    "constant .1": np.full(60, 0.1),
    "zero": np.zeros(60),
    "with an outlier": changed(Y, 5, ..., 1e8),
    "of 1e150": Y * 1e150,
    "of 1e-150": Y * 1e-150,
    "far from zero": Y + 1e9,
    "whole numbers": (Y > 0).astype(int),
    "a column": TABLE[:, 1],
    "noise": np.random.default_rng(9).standard_normal(60),
    "two, one constant": np.stack([Y, np.full(60, 2.0)], 1),
    "two, the first constant": np.stack([np.full(60, 2.0), Y], 1),
    "two of unlike units": np.stack([1e8 * Y, 1e-8 * TABLE[:, 2]], 1),
    "twice the same": np.stack([Y, Y], 1),
}


@pytest.mark.parametrize("name", some(OUTPUTS))
def test_outputs(name):
    sound(TABLE, OUTPUTS[name], THREE, n_components=3)


@pytest.mark.parametrize("x", some([TABLE, SPECTRA]), ids=["table", "spectra"])
def test_units_of_columns_and_outputs_change_nothing_but_units(x):
    one = make().fit(x, Y, THREE).predict(x)
    for factor, shift in ((1024.0, 0.0), (0.3, 3.0)):
        other = make().fit(x, factor * Y + shift, THREE).predict(x)
        assert_allclose(other, factor * one + shift, rtol=1e-4, atol=1e-4 * abs(factor) * Y.std())
    assert_allclose(make().fit(4.0 * TABLE, Y, THREE).predict(4.0 * TABLE), make().fit(TABLE, Y, THREE).predict(TABLE))


# ------------------------------------------------------------------------------------------------- modalities

LACKING = {
    "a client": slice(0, 20),
    "all rows but one": slice(1, None),
    "all but three": slice(3, None),
    "every other row": slice(0, None, 2),
}


@pytest.mark.sampled(2)
@pytest.mark.parametrize(("name", "modality"), [*zip(LACKING, ["nir", "lab"] * 2, strict=True), ("a client", "lab")])
def test_rows_that_lack_a_modality(name, modality):
    """Folds whose kept rows all lack it, and clients that have none, among them."""
    sound(changed(X, LACKING[name], MODALITIES[modality], np.nan), Y, np.repeat([0, 1, 2], 20), modalities=MODALITIES)


@pytest.mark.slow
def test_a_modality_that_is_constant():
    for name in MODALITIES:
        sound(changed(X, slice(None), MODALITIES[name], 4.0), Y, THREE, modalities=MODALITIES)


def test_a_modality_that_nobody_has_is_said():
    x = changed(X, slice(None), MODALITIES["lab"], np.nan)
    with pytest.raises(ValueError, match="lab"):
        make(modalities=MODALITIES).fit(x, Y, THREE)


@pytest.mark.slow
def test_categories_alone_and_beside_numbers():
    kinds = pd.Categorical(np.array(list("xyz"))[np.arange(60) % 3])
    rare = pd.Categorical(["only"] + ["others"] * 59)
    sound(pd.DataFrame({"a": kinds, "b": rare}), Y, SIX, reach=1.1)
    sound(pd.DataFrame({"a": kinds, "b": rare, "n": TABLE[:, 0]}), Y, SIX)


# ------------------------------------------------------------------------------------------------- federations

CLIENTS = {
    "of one row": np.arange(60),
    "of two rows": np.arange(60) // 2,
    "of six rows": np.arange(60) // 6,
    "a large one and ten of one row": np.concatenate([np.zeros(50), np.arange(1, 11)]),
    "sorted by y": np.argsort(np.argsort(Y)) // 12,
}


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", CLIENTS)
def test_clients(name):
    model = sound(TABLE, Y, CLIENTS[name], reach=1.1)
    assert (len(model.members_) == 1) == (name in ("of one row", "of two rows"))


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", ["a client is one", "a row is one", "two"])
def test_groups(name):
    groups = {"a client is one": THREE, "a row is one": np.arange(60), "two": np.arange(60) % 2}[name]
    sound(TABLE, Y, THREE, groups=groups)


def test_rows_that_all_belong_together_leave_nothing_to_compare_by():
    """One client, one group: each fold keeps all rows or none, so that the network alone is trained, and says so."""
    model = sound(TABLE, Y, groups=np.zeros(60))
    assert model.members_ == [{"name": "network", "view": "", "weight": 1.0, "error": None}]
    assert "none can be held out" in model.members_.note


@pytest.mark.parametrize(
    "changes",
    some(
        [
            {"participation": 0.5, "preprocessing": None},
            {"aggregation": "median", "history_size": 0},
            {"early_stopping": True, "n_iter_no_change": 2, "algorithm": "fedprox"},
            {"algorithm": "fedsgd", "preprocessing": "standardize"},
            {"algorithm": "scaffold", "head_hidden_layer_sizes": (4,)},
            {"shrinkage": 0.0, "weight_decay": 0.0, "aggregation": "geometric_median"},
            {"hidden_layer_sizes": (), "input_l1": 0.1, "engine": "torch"},
        ]
    ),
    ids=str,
)
def test_parameters(changes):
    sound(X, Y, SIX, modalities=MODALITIES, **changes)


def test_a_client_in_other_units_is_left_out_of_sums_weights_and_importances():
    x = np.where((SIX == 3)[:, None], 1e6, 1.0) * TABLE
    others = SIX != 3
    with pytest.warns(UserWarning, match="left out"):
        model = make(aggregation="median").fit(x, Y, SIX)
    without = make(aggregation="median").fit(x[others], Y[others], SIX[others])
    assert np.std(model.predict(x[others]) - Y[others]) < 1.1 * np.std(without.predict(x[others]) - Y[others])
    assert_allclose(model.component_variance_, model.transform(x[others]).var(0), rtol=1e-6, atol=1e-12)


@pytest.mark.filterwarnings("ignore:updates that are not finite were dropped")
def test_networks_that_diverge_leave_the_linear_members():
    model = sound(X, Y, THREE, modalities=MODALITIES, learning_rate=1e8, n_rounds=30)
    assert all(m["name"] == "mixture" or "network" not in m["name"] or m["weight"] == 0 for m in model.members_)


def test_seeds_repeat():
    first, again, other = (make(random_state=seed).fit(TABLE, Y, THREE).predict(TABLE) for seed in (1, 1, 2))
    assert_array_equal(first, again)
    assert (first != other).any()


def test_parameters_that_are_set_on_a_fitted_one_are_those_of_the_next_fit():
    model = make().fit(TABLE, Y, THREE)
    model.set_params(n_components=3, tuning=None).fit(TABLE, Y, THREE)
    assert model.transform(TABLE).shape == (60, 3) and model._fitted.mixture is None
    model.set_params(tuning="mixture").fit(TABLE, Y, THREE)
    assert_array_equal(model.predict(TABLE), make(n_components=3).fit(TABLE, Y, THREE).predict(TABLE))
