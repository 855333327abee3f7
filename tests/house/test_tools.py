"""What clients reach through tools that are not scikit-learn's; run by `make test-tools`, which installs them.

docs/recipes.md says what they allow.
"""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.compose import make_column_transformer
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skfdrmfl import FDRMFLTransformer, IgnoreClients

pytestmark = [pytest.mark.tools, pytest.mark.filterwarnings("default")]

N, P = 90, 8
rng = np.random.default_rng(0)
X = rng.standard_normal((N, P))
Y = X[:, 0] - X[:, 1] + 0.1 * rng.standard_normal(N)
CODES = np.arange(N) % 3
SITES = np.array(["north", "south", "west"])[CODES]
COLUMN = np.insert(X, 0, CODES, axis=1)
FRAME = pd.DataFrame(X, columns=[f"v{j}" for j in range(P)])
FRAME.insert(0, "site", SITES)
PARTS = slice(0, 60), slice(60, None)
SMALL = {"n_rounds": 3, "local_epochs": 1, "hidden_layer_sizes": (4,), "modality_dim": 3, "random_state": 0}
ROUTING = pytest.mark.parametrize("routing", [False, True], ids=["routing off", "routing on"])


@pytest.fixture
def fits(monkeypatch):
    """The clients of every fit that happens."""
    seen, fit = [], FDRMFLTransformer.fit

    def witnessed(self, X, y, client_ids=None, groups=None):
        fit(self, X, y, client_ids, groups)
        seen.append([] if self._fitted.central else self.clients_.tolist())
        return self

    monkeypatch.setattr(FDRMFLTransformer, "fit", witnessed)
    return seen


def fdrmfl(column=None):
    return FDRMFLTransformer(client_column=column, tuning=None, **SMALL)


def all_had(fits, clients=(0, 1, 2)):
    return len(fits) > 0 and all(seen == list(clients) for seen in fits)


@ROUTING
@pytest.mark.parametrize("column", ["site", 0, None])
def test_mapie_cross_conformal_trains_on_clients_of_a_column(fits, routing, column):
    from mapie.regression import CrossConformalRegressor

    table = COLUMN if column is None else FRAME
    with sklearn.config_context(enable_metadata_routing=routing):
        model = CrossConformalRegressor(fdrmfl(0 if column is None else column), confidence_level=0.9, cv=3)
        _, intervals = model.fit_conformalize(table, Y).predict_interval(table)
    assert len(fits) == 4 and all_had(fits, (0, 1, 2) if column is None else np.unique(SITES))
    assert np.mean((intervals[:, 0, 0] <= Y) & (intervals[:, 1, 0] >= Y)) > 0.8


def test_mapie_cross_conformal_hands_whole_keywords_to_each_fold_and_is_refused():
    from mapie.regression import CrossConformalRegressor

    model = CrossConformalRegressor(fdrmfl(), confidence_level=0.9, cv=3)
    with pytest.raises(ValueError, match="client_ids has 90 entries but X has 60 rows"):
        model.fit_conformalize(X, Y, fit_params={"client_ids": CODES})


@ROUTING
def test_mapie_split_conformal_takes_both(fits, routing):
    from mapie.regression import SplitConformalRegressor

    fit, rest = PARTS
    with sklearn.config_context(enable_metadata_routing=routing):
        for column, table, params in ((None, X, {"fit_params": {"client_ids": CODES[fit]}}), (0, COLUMN, {})):
            model = SplitConformalRegressor(fdrmfl(column), confidence_level=0.9, prefit=False)
            model.fit(table[fit], Y[fit], **params).conformalize(table[rest], Y[rest])
            assert model.predict_interval(table)[1].shape == (N, 2, 1)
    assert len(fits) == 2 and all_had(fits)


@ROUTING
def test_crepes_takes_both(fits, routing):
    from crepes import WrapRegressor

    fit, rest = PARTS
    with sklearn.config_context(enable_metadata_routing=routing):
        for column, table, params in ((None, X, {"client_ids": CODES[fit]}), (0, COLUMN, {})):
            model = WrapRegressor(fdrmfl(column))
            model.fit(table[fit], Y[fit], **params)
            model.calibrate(table[rest], Y[rest])
            assert model.predict_int(table).shape == (N, 2)
    assert len(fits) == 2 and all_had(fits)


def test_shap_explains_predictions_and_finds_nothing_in_the_column():
    import shap

    model, labelled = fdrmfl().fit(X, Y, CODES), fdrmfl(0).fit(COLUMN, Y)
    values = shap.Explainer(model.predict, X[:20])(X[:4]).values
    of_columns = shap.Explainer(labelled.predict, COLUMN[:20])(COLUMN[:4]).values
    assert values.shape == (4, P) and of_columns.shape == (4, P + 1)
    assert np.abs(of_columns[:, 0]).max() < 1e-12 < np.abs(of_columns[:, 1:]).max()
    named = fdrmfl("site").fit(FRAME, Y)
    by_kernel = shap.KernelExplainer(named.predict, FRAME[:10]).shap_values(FRAME[:2], silent=True)
    assert np.abs(by_kernel[:, 0]).max() < 1e-12
    with pytest.raises(TypeError, match="not callable"):
        shap.Explainer(model, X[:20])


@ROUTING
def test_optuna_searches_with_clients(fits, routing):
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)

    def objective(trial, model, table, params):
        model.set_params(mi_weight=trial.suggest_float("mi_weight", 1e-4, 1e-2, log=True))
        return cross_val_score(model, table, Y, cv=2, params=params, error_score="raise").mean()

    with sklearn.config_context(enable_metadata_routing=routing):
        best = []
        for model, table, params in ((fdrmfl(), X, {"client_ids": CODES}), (fdrmfl(0), COLUMN, {})):
            study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
            study.optimize(lambda trial, args=(model, table, params): objective(trial, *args), n_trials=2)
            best.append(study.best_value)
    assert len(fits) == 8 and all_had(fits)
    assert best[0] == best[1]


@ROUTING
def test_chemotools_pretreats_what_is_not_a_label(fits, routing):
    from chemotools.scatter import StandardNormalVariate

    with sklearn.config_context(enable_metadata_routing=routing):
        params = {"client_ids": CODES} if routing else {"fdrmfltransformer__client_ids": CODES}
        expected = make_pipeline(StandardNormalVariate(), fdrmfl()).fit(X, Y, **params).predict(X)
        for table in (COLUMN, FRAME):
            pretreat = make_column_transformer(("passthrough", [0]), (StandardNormalVariate(), slice(1, None)))
            model = make_pipeline(pretreat, fdrmfl(0)).fit(table, Y)
            assert_allclose(model.predict(table), expected, rtol=1e-6)
    assert [len(seen) for seen in fits] == [3, 3, 3]


def test_skops_gives_the_model_back():
    import skops.io

    model = fdrmfl("site").fit(FRAME, Y)
    stored = skops.io.dumps(model)
    again = skops.io.loads(stored, trusted=skops.io.get_untrusted_types(data=stored))
    assert_array_equal(again.predict(FRAME.drop(columns="site")), model.predict(FRAME))


# ------------------------------------------------------------------------------------------------ nirs4all


def run(steps):
    import nirs4all

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nirs4all.run([KFold(2), *steps], (COLUMN, Y), verbose=0, save_artifacts=False, save_charts=False)


def test_nirs4all_takes_for_a_transformer_what_has_no_predict(fits, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run([IgnoreClients(fdrmfl(0)), {"model": Ridge()}])
    assert len(fits) >= 3 and all_had(fits)
    assert result.best["model_name"] == "Ridge"


def test_nirs4all_takes_a_pipeline_for_the_model(fits, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run([{"model": make_pipeline(fdrmfl(0), Ridge())}])
    assert len(fits) >= 3 and all_had(fits)


def test_nirs4all_cannot_write_an_infinite_parameter_of_a_bare_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Exception, match="failed to parse pipeline DSL JSON"):
        run([{"model": fdrmfl(0)}])


# ------------------------------------------------------------------------------------------------ rich


def test_scikit_learns_bars_show_fits_tuning_and_searches(capfd, monkeypatch):
    from sklearn.callback import ProgressBar

    monkeypatch.setenv("COLUMNS", "250")

    bars = ProgressBar(max_propagation_depth=None)
    pipeline = make_pipeline(StandardScaler(), FDRMFLTransformer(**({"tuning": None} | SMALL | {"shrinkage": "auto"})))
    pipeline.set_callbacks(bars).fit(X, Y, fdrmfltransformer__client_ids=CODES)
    shown = capfd.readouterr().out
    for task in ("FDRMFLTransformer - fit", "tuning", "fold #2", "training"):
        assert task in shown
    search = GridSearchCV(fdrmfl(), {"mi_weight": [0.0, 0.01]}, cv=2).set_callbacks(bars)
    search.fit(X, Y, client_ids=CODES)
    shown = capfd.readouterr().out
    assert "GridSearchCV - fit" in shown and "FDRMFLTransformer - fit" in shown and "100%" in shown
