"""Importances of columns: from client sums, against finite differences and closed forms; and who reads them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from packaging.version import Version
from sklearn.feature_selection import RFE, SelectFromModel
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.clients.client_data import Client
from skfdrmfl.data.held_out import Split
from skfdrmfl.data.transforms import BlockTransform
from skfdrmfl.encoders import CategoricalEncoder, Conv1DEncoder, DenseEncoder, LinearEncoder, RecurrentEncoder
from skfdrmfl.fit import prepared_fit as _fitting
from skfdrmfl.protocol.plan import Inputs
from skfdrmfl.protocol.queries import importance

SMALL = {"n_rounds": 3, "local_epochs": 2, "hidden_layer_sizes": (6,), "modality_dim": 4, "random_state": 0}


def problem(n=60, p=6, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p)) * np.array([1.0, 5.0, 0.2, 1.0, 2.0, 1.0])[:p] + 3
    y = X[:, 0] - 0.3 * X[:, 1] + np.tanh(4 * X[:, 2]) + 0.1 * rng.standard_normal(n)
    return X, y, np.repeat(["a", "b", "c"], [30, 20, n - 50])


def by_differences(model, X, rows=slice(None), h=1e-5):
    """Spread times root mean square slope, over outputs in units of their standardisation, adding up to 1."""
    target = model._fitted.target
    missing = np.isnan(X[rows])
    squares = []
    for j in range(X.shape[1]):
        step = h * np.nanstd(X[:, j])
        up, down = X.copy(), X.copy()
        up[:, j] += step
        down[:, j] -= step
        slopes = (np.asarray(model.predict(up)) - np.asarray(model.predict(down))).reshape(len(X), -1) / (2 * step)
        squares.append(np.mean((slopes[rows] / target.scale) ** 2) * np.nanvar(X[rows][:, j]))
    assert missing.any() == np.isnan(X).any()
    found = np.sqrt(squares)
    return found / found.sum()


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"preprocessing": "standardize"},
        {"preprocessing": None, "learning_rate": 1e-3},
        {"hidden_layer_sizes": (), "n_components": 1},
        {"head_hidden_layer_sizes": (5,)},
        {"modalities": {"u": [4, 1, 0], "v": [2, 3, 5]}, "fusion": "gated"},
        {"modalities": {"u": [4, 1, 0], "v": [2, 3, 5]}, "fusion": "attention", "encoders": {"v": LinearEncoder()}},
        {"encoders": Conv1DEncoder(n_channels=(3,), kernel_size=3)},
        {"encoders": RecurrentEncoder((3, 2))},
        {"encoders": DenseEncoder((5, 4), skip=False)},
    ],
    ids=lambda p: ",".join(p) or "default",
)
def test_importances_are_spreads_times_slopes(parameters):
    X, y, ids = problem()
    model = FDRMFLTransformer(**({"tuning": None} | SMALL | parameters)).fit(X, y, client_ids=ids)
    assert model.feature_importances_.sum() == pytest.approx(1.0)
    assert_allclose(model.feature_importances_, by_differences(model, X), rtol=1e-4, atol=1e-7)


def test_several_outputs_count_alike_in_their_own_units():
    X, y, ids = problem()
    Y = np.column_stack([y, 1000 * X[:, 3] ** 2])
    model = FDRMFLTransformer(tuning=None, **SMALL).fit(X, Y, client_ids=ids)
    assert_allclose(model.feature_importances_, by_differences(model, X), rtol=1e-4, atol=1e-7)


def test_rows_that_lack_a_modality_do_not_respond_to_it():
    X, y, ids = problem()
    X[::3, 3:] = np.nan
    model = FDRMFLTransformer(modalities={"u": [0, 1, 2], "v": [3, 4, 5]}, tuning=None, **SMALL).fit(
        X, y, client_ids=ids
    )
    filled = by_differences(model, np.where(np.isnan(X), np.nan, X))
    assert_allclose(model.feature_importances_, filled, rtol=1e-4, atol=1e-7)


def test_with_early_stopping_they_are_of_the_rows_that_were_kept():
    X, y, ids = problem()
    model = FDRMFLTransformer(early_stopping=True, validation_fraction=0.4, tuning=None, **SMALL).fit(
        X, y, client_ids=ids
    )
    kept = np.zeros(len(X), dtype=bool)
    for position, label in enumerate(model.clients_):
        mine = np.flatnonzero(ids == label)
        kept[mine[Split(0.4, model._fitted.seed, False).mask(np.arange(len(mine)), position)]] = True
    assert 0 < kept.sum() < len(X)
    assert_allclose(model.feature_importances_, by_differences(model, X, kept), rtol=1e-4, atol=1e-7)
    assert not np.allclose(model.feature_importances_, by_differences(model, X), rtol=1e-3)


def test_a_category_counts_by_what_independent_draws_of_it_change():
    rng = np.random.default_rng(3)
    kind = rng.choice(["red", "green", "blue"], 60, p=[0.6, 0.3, 0.1])
    frame = pd.DataFrame({"x": rng.standard_normal(60), "kind": kind, "z": rng.standard_normal(60)})
    y = np.column_stack([frame["x"] + np.where(kind == "red", 2.0, -1.0), 5 * frame["z"]])
    model = FDRMFLTransformer(tuning=None, **SMALL).fit(frame, y, client_ids=np.arange(60) % 3)
    scale = model._fitted.target.scale
    squares = np.zeros(3)
    for place, name in enumerate(frame.columns):
        if name == "kind":  # all pairs of rows: the column of the one in the place of the other's
            labels, counts = np.unique(kind, return_counts=True)
            drawn = [model.predict(frame.assign(kind=label)) - model.predict(frame) for label in labels]
            squares[place] = 0.5 * counts / 60 @ np.mean((np.array(drawn) / scale) ** 2, axis=(1, 2))
        else:
            h = 1e-5
            up, down = frame.assign(**{name: frame[name] + h}), frame.assign(**{name: frame[name] - h})
            slope = (model.predict(up) - model.predict(down)) / (2 * h) / scale
            squares[place] = np.mean(slope**2) * np.var(frame[name])
    expected = np.sqrt(squares) / np.sqrt(squares).sum()
    assert_allclose(model.feature_importances_, expected, rtol=1e-4)
    assert expected[1] > 0.05


def test_columns_of_integer_codes_count_by_independent_draws_too():
    rng = np.random.default_rng(4)
    X = np.column_stack([rng.integers(0, 3, 50), rng.standard_normal(50)])
    model = FDRMFLTransformer(
        modalities={"code": [0], "x": [1]}, encoders={"code": CategoricalEncoder(3)}, tuning=None, **SMALL
    ).fit(X, X[:, 0] + X[:, 1])
    drawn = [model.predict(np.column_stack([np.full(50, v), X[:, 1]])) - model.predict(X) for v in X[:, 0]]
    up, down = X + np.array([0, 1e-5]), X - np.array([0, 1e-5])
    slope = (model.predict(up) - model.predict(down)) / 2e-5
    found = np.sqrt([0.5 * np.mean(np.array(drawn) ** 2), np.mean(slope**2) * np.var(X[:, 1])])
    assert_allclose(model.feature_importances_, found / found.sum(), rtol=1e-4)


def test_whoever_holds_which_row_the_importances_are_those_of_all_rows(monkeypatch):
    X, y, _ = problem()
    model = FDRMFLTransformer(tuning=None, **SMALL).fit(X, y)
    fitted = model._fitted
    network, slabs = fitted.network, Client.slabs
    monkeypatch.setattr(Client, "slabs", lambda *_: pytest.fail("preparation knows how whitened columns vary"))
    for ids in (np.zeros(60, dtype=int), np.arange(60) % 7, np.r_[0, np.ones(59, dtype=int)]):
        with monkeypatch.context() as unwatched:
            unwatched.setattr(Client, "slabs", slabs)
            fitting = model._prepare_fit(X, y, ids)
        run = fitting.plan.runs[0]
        of_model = _fitting.Model(network, fitted.weights, run.inputs)
        (sums,) = fitting.federation.sum(importance.Responses(of_model))
        found = importance.importances(of_model, sums, 6)
        assert_allclose(found, model.feature_importances_, rtol=1e-5)


def test_parts_of_an_answer_grow_with_the_rows_as_the_query_says():
    X, y, ids = problem()
    model = FDRMFLTransformer(**SMALL | {"hidden_layer_sizes": ()}, tuning=None, preprocessing=None).fit(X, y, ids)
    query = importance.Responses(
        _fitting.Model(model._fitted.network, model._fitted.weights, Inputs(model._fitted.table))
    )
    one, three = (model._prepare_fit(X * unit, y, ids).federation.sum(query)[0] for unit in (1.0, 3.0))
    for power, before, after in zip(query.powers, one, three, strict=True):
        assert_allclose(after, np.multiply(before, 3.0**power))


@pytest.mark.parametrize("kind", ["numbers", "missing modalities", "categories"])
def test_rows_taken_in_slabs_have_the_importances_of_all_at_once(kind, monkeypatch):
    X, y, ids = problem()
    parameters = {} if kind == "numbers" else {"modalities": {"u": [0, 1, 2], "v": [3, 4, 5]}}
    if kind == "missing modalities":
        X[::3, 3:] = np.nan
    elif kind == "categories":
        X[:, 4] = np.arange(60) % 3
        parameters["encoders"] = {"v": CategoricalEncoder(3)}
        parameters["modalities"] = {"u": [0, 1, 2, 3, 5], "v": [4]}
    y = np.column_stack([y, y**2])
    whole = FDRMFLTransformer(tuning=None, **SMALL, **parameters).fit(X, y, client_ids=ids).feature_importances_
    monkeypatch.setattr("skfdrmfl.clients.client_data.SLAB_ROWS", 7)
    found = FDRMFLTransformer(tuning=None, **SMALL, **parameters).fit(X, y, client_ids=ids).feature_importances_
    assert_allclose(found, whole, rtol=1e-6)


@pytest.mark.parametrize("n", [2, 4, 50])
@pytest.mark.parametrize("projected", [False, True])
@pytest.mark.parametrize("layered", [False, True])
def test_squared_slopes_are_those_of_each_row_added(n, projected, layered):
    rng = np.random.default_rng(n)
    projection = rng.standard_normal((6, 4)) if projected else None
    block = BlockTransform(np.zeros(6), np.r_[1.0, 2.0, 0.5, 3.0, np.inf, 1.0], projection, 1.0)
    first = rng.standard_normal((3, block.n_outputs)) if layered else None
    slopes = rng.standard_normal((n, 1, 3 if layered else block.n_outputs))
    gradients = (slopes if first is None else slopes @ first)[:, 0]
    expected = sum((block.slopes(row, row) * block.units) ** 2 for row in gradients)
    assert_allclose(block.squared_slopes(slopes[:0, 0], slopes, first, block.units), expected, rtol=1e-12)
    assert expected[4] == 0


@pytest.mark.parametrize("preprocessing", ["whiten", "standardize"])
@pytest.mark.parametrize("unit", [2.0**600, 2.0**-600])
def test_units_of_columns_do_not_matter(preprocessing, unit):
    X, y, ids = problem()
    model = FDRMFLTransformer(preprocessing=preprocessing, tuning=None, **SMALL)
    expected = model.fit(X, y, client_ids=ids).feature_importances_
    found = model.fit(X * unit, y, client_ids=ids).feature_importances_
    assert_allclose(found, expected, rtol=1e-4)


def test_a_constant_column_and_a_model_of_nothing_count_nothing():
    X, y, _ = problem()
    X[:, 4] = 7.0
    assert FDRMFLTransformer(tuning=None, **SMALL).fit(X, y).feature_importances_[4] == 0.0
    nothing = FDRMFLTransformer(tuning=None, **SMALL).fit(X, np.ones(60))
    assert np.isfinite(nothing.feature_importances_).all()


def test_a_thinned_column_counts_nothing():
    X, y, _ = problem()
    model = FDRMFLTransformer(
        preprocessing="standardize", input_l1=1.0, **({"tuning": None} | SMALL | {"n_rounds": 8})
    ).fit(X, y)
    assert 0 < len(model.selected_features_) < 6
    assert_array_equal(np.flatnonzero(model.feature_importances_), model.selected_features_)


def test_weights_have_the_bits_of_a_fit_without_importances(monkeypatch):
    X, y, ids = problem()
    with_them = FDRMFLTransformer(tuning=None, **SMALL).fit(X, y, client_ids=ids)
    monkeypatch.setattr(_fitting, "importances", lambda *_: None)
    without = FDRMFLTransformer(tuning=None, **SMALL).fit(X, y, client_ids=ids)
    assert not hasattr(without, "feature_importances_")
    assert_array_equal(with_them._fitted.models, without._fitted.models)
    assert all(np.array_equal(with_them.weights_[name], without.weights_[name]) for name in without.weights_)


def test_they_are_saved(tmp_path):
    X, y, ids = problem()
    model = FDRMFLTransformer(tuning=None, **SMALL).fit(X, y, client_ids=ids)
    model.save(tmp_path / "model.npz")
    assert_array_equal(FDRMFLTransformer.load(tmp_path / "model.npz").feature_importances_, model.feature_importances_)


def test_select_from_model_and_rfe_choose_columns_by_them():
    X, y, ids = problem(n=120)
    model = FDRMFLTransformer(**({"tuning": None} | SMALL | {"n_rounds": 20}))
    chosen = SelectFromModel(model, max_features=2, threshold=-np.inf).fit(X, y, client_ids=ids)
    best = np.sort(np.argsort(chosen.estimator_.feature_importances_)[-2:])
    assert_array_equal(np.flatnonzero(chosen.get_support()), best)
    assert chosen.estimator_.clients_.tolist() == ["a", "b", "c"]
    rfe = RFE(model, n_features_to_select=2).fit(X, y, client_ids=ids)
    assert set(np.flatnonzero(rfe.support_)) == {0, 1}
    assert rfe.estimator_.clients_.tolist() == ["a", "b", "c"]


@pytest.mark.parametrize("routing", [False, True])
@pytest.mark.parametrize("selector", [SelectFromModel, RFE])
def test_selectors_in_pipelines_have_clients_with_and_without_routing(selector, routing):
    if routing and Version(sklearn.__version__) < Version("1.9.1"):
        pytest.skip("selectors in a Pipeline route nothing before scikit-learn 1.9.1")
    X, y, ids = problem()
    pipeline = Pipeline([("select", selector(FDRMFLTransformer(tuning=None, **SMALL))), ("ridge", Ridge())])
    with sklearn.config_context(enable_metadata_routing=routing):
        pipeline.fit(X, y, **{"client_ids" if routing else "select__client_ids": ids})
        assert pipeline["select"].estimator_.clients_.tolist() == ["a", "b", "c"]
