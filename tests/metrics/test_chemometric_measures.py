"""Chemometric measures against numpy's and scipy's formulas, their identities, and searches that score by them."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import linregress, ttest_rel
from sklearn.linear_model import Ridge
from sklearn.metrics import get_scorer_names, r2_score
from sklearn.model_selection import GridSearchCV, KFold

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.metrics import (
    SCORERS,
    bias,
    chemometric_report,
    rmsec,
    rmsecv,
    rmsep,
    rpd,
    rpiq,
    sep,
    slope,
    systematic_error,
)


def pair(seed, n):
    rng = np.random.default_rng(seed)
    measured = 10 + 3 * rng.standard_normal(n)
    return measured, measured + 0.4 + rng.standard_normal(n)


@given(seed=st.integers(0, 10**6), n=st.integers(3, 40))
def test_measures_are_their_formulas(seed, n):
    y, f = pair(seed, n)
    e = f - y
    assert rmsep(y, f) == pytest.approx(math.sqrt(sum(x * x for x in e) / n))
    assert bias(y, f) == pytest.approx(sum(e) / n)
    assert sep(y, f) == pytest.approx(math.sqrt(sum((x - sum(e) / n) ** 2 for x in e) / (n - 1)))
    assert slope(y, f) == pytest.approx(linregress(f, y).slope)
    assert rpd(y, f, error="sep") == pytest.approx(np.std(y, ddof=1) / sep(y, f))
    assert rpiq(y, f) == pytest.approx((np.quantile(y, 0.75) - np.quantile(y, 0.25)) / rmsep(y, f))
    assert rmsec(y, f) == pytest.approx(rmsep(y, f))
    assert rmsec(y, f, n_parameters=2) == pytest.approx(math.sqrt(sum(x * x for x in e) / (n - 2)))


@given(seed=st.integers(0, 10**6), n=st.integers(3, 40))
def test_the_error_of_prediction_is_bias_and_spread(seed, n):
    y, f = pair(seed, n)
    assert rmsep(y, f) ** 2 == pytest.approx(bias(y, f) ** 2 + sep(y, f) ** 2 * (n - 1) / n)


def test_a_shift_changes_the_bias_alone_and_its_sign_is_that_of_the_prediction():
    y, f = pair(1, 30)
    assert bias(y, f + 2) == pytest.approx(bias(y, f) + 2)
    for measure in (sep, slope):
        assert measure(y, f + 2) == pytest.approx(measure(y, f))
    assert rpd(y, f + 2, error="sep") == pytest.approx(rpd(y, f, error="sep"))
    assert slope(y, y.mean() + 2 * (y - y.mean())) == pytest.approx(0.5)


@given(seed=st.integers(0, 10**6), n=st.integers(4, 40))
def test_tests_of_bias_and_slope_are_those_of_paired_t_and_of_the_line(seed, n):
    y, f = pair(seed, n)
    found, line = systematic_error(y, f, level=0.9), linregress(f, y)
    ends = ttest_rel(f, y).confidence_interval(0.9)
    assert found.bias_limit == pytest.approx((ends.high - ends.low) / 2)
    assert found.slope_t == pytest.approx(abs(line.slope - 1) / line.stderr)
    wrong = {"bias": ends.low > 0 or ends.high < 0, "slope": found.slope_t > found.slope_t_limit}
    assert found.remedy is None or wrong[found.remedy]


def test_a_remedy_is_named_where_it_takes_away_a_tenth_of_the_error():
    y, _ = pair(2, 30)
    noise = np.random.default_rng(0).standard_normal(30)
    noise -= noise.mean()
    assert systematic_error(y, y + noise).remedy is None
    assert systematic_error(y, y + 2 + noise).remedy == "bias"
    assert systematic_error(y, 2 * y + 1 + noise).remedy == "slope"
    many, off = np.tile(y, 100), np.tile(noise, 100)
    tiny = systematic_error(many, many + 0.1 + off)
    assert tiny.bias > tiny.bias_limit and tiny.remedy is None
    exact = systematic_error(y, 2 * y)
    assert exact.remedy == "slope" and exact.slope_t > 1e6
    assert systematic_error(y, y).remedy is None and systematic_error(y, y * 0 + 5.0).remedy != "slope"
    assert systematic_error(y[:2], y[:2] + 3).remedy is None
    for said in ("bias", "slope"):
        assert str(systematic_error(y, y + 2 + noise if said == "bias" else 2 * y)).startswith(said)


def test_limits_and_refusals():
    assert math.isnan(sep([1.0], [2.0])) and math.isnan(slope([1.0, 2.0], [3.0, 3.0]))
    assert rpiq([1.0, 2.0], [1.0, 2.0]) == math.inf
    with pytest.raises(ValueError, match="2 rows leave no degree of freedom to n_parameters=2; lower it"):
        rmsec([1.0, 2.0], [1.0, 2.0], n_parameters=2)
    with pytest.raises(ValueError, match='error is \'mae\'; use "rmse" or "sep"'):
        rpd([1.0, 2.0], [1.0, 2.0], error="mae")


def test_rmsecv_pools_the_errors_of_all_folds():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((25, 3))
    y = X[:, 0] + rng.standard_normal(25)
    squares = []
    for train, test in KFold(4).split(X):
        squares += list((Ridge().fit(X[train], y[train]).predict(X[test]) - y[test]) ** 2)
    assert rmsecv(Ridge(), X, y, cv=KFold(4)) == pytest.approx(math.sqrt(np.mean(squares)))


def test_rmsecv_takes_clients_along():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((20, 2)), rng.standard_normal(20)

    class Recorder(FDRMFLTransformer):
        seen = []

        def fit(self, X, y, client_ids=None, groups=None):
            Recorder.seen.append(np.unique(client_ids).tolist())
            return super().fit(X, y, client_ids)

    rmsecv(Recorder(n_rounds=1, random_state=0, tuning=None), X, y, cv=2, params={"client_ids": np.arange(20) % 2})
    assert Recorder.seen == [[0, 1], [0, 1]]


def test_the_report_has_a_row_for_all_and_one_for_each_client():
    y, f = pair(3, 30)
    ids = np.array([2, 1, 2] * 10)
    ids[0] = 9
    report = chemometric_report(y, f, ids)
    frame = pd.DataFrame(report).set_index("client")
    assert frame.index.tolist() == ["all", 1, 2, 9]
    for client, rows in {"all": ids > 0, 1: ids == 1, 2: ids == 2}.items():
        row = frame.loc[client]
        mine = y[rows], f[rows]
        assert row["n"] == rows.sum()
        expected = [rmsep(*mine), bias(*mine), sep(*mine), slope(*mine), r2_score(*mine), rpd(*mine)]
        assert row[["rmse", "bias", "sep", "slope", "r2", "rpd"]].tolist() == pytest.approx(expected)
        assert row[["rpd_sep", "rpiq"]].tolist() == pytest.approx([rpd(*mine, error="sep"), rpiq(*mine)])
    alone = frame.loc[9]
    assert alone["rmse"] == abs(f[0] - y[0]) and alone[["sep", "rpd", "rpiq", "r2"]].isna().all()
    head, first, *_ = str(report).splitlines()
    assert head.split() == list(report[0]) and first.split()[:3] == ["all", "30", f"{rmsep(y, f):.4g}"]


def test_scorers_have_names_of_their_own_and_the_sign_of_their_measure():
    assert not set(SCORERS) & set(get_scorer_names())
    rng = np.random.default_rng(5)
    X = rng.standard_normal((30, 2))
    y = X[:, 0] + 0.2 * rng.standard_normal(30)
    model = Ridge(5.0).fit(X[:20], y[:20])
    test, f = y[20:], model.predict(X[20:])
    expected = {
        **{"neg_rmsep": -rmsep(test, f), "neg_absolute_bias": -abs(bias(test, f)), "neg_sep": -sep(test, f)},
        **{"neg_slope_error": -abs(1 - slope(test, f)), "rpd": rpd(test, f), "rpd_sep": rpd(test, f, error="sep")},
        "rpiq": rpiq(test, f),
    }
    assert {name: scorer(model, X[20:], test) for name, scorer in SCORERS.items()} == pytest.approx(expected)


def test_a_search_scores_by_all_of_them_and_they_pickle():
    rng = np.random.default_rng(6)
    X = rng.standard_normal((40, 3))
    y = X[:, 0] + 0.1 * rng.standard_normal(40)
    search = GridSearchCV(Ridge(), {"alpha": [1e-3, 1e3]}, scoring=pickle.loads(pickle.dumps(SCORERS)), refit="rpd_sep")
    search.fit(X, y)
    assert search.best_params_ == {"alpha": 1e-3}
    assert all(np.isfinite(search.cv_results_[f"mean_test_{name}"]).all() for name in SCORERS)
