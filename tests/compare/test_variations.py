"""How much is enough: fewer rows, fewer clients, some modalities, y permuted; and what is kept of a long comparison."""

from __future__ import annotations

import json

import helpers
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, RegressorMixin, TransformerMixin
from sklearn.linear_model import LinearRegression, RidgeCV
from sklearn.model_selection import GroupKFold, KFold, cross_val_predict, learning_curve, permutation_test_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.compare import Comparison, ComparisonInterrupted, InvalidArgument, compare
from skfdrmfl.compare._permutation import exchangeable
from skfdrmfl.compare._subsets import entries
from skfdrmfl.inspection import VariationDisplay
from skfdrmfl.metrics import rmse

N = 48
CLIENTS = np.array(["a", "b", "c"])[np.arange(N) * 3 // N]


class Columns(TransformerMixin, RegressorMixin, BaseEstimator):
    """In FDRMFL's place: hands its columns on, the last of which is the number of the row; notes what it trains on."""

    __metadata_request__fit = {"client_ids": True, "groups": True}
    seen: list[dict] = []  # shared by clones

    def __init__(self, n_components=2, random_state=None, modalities=None):
        self.n_components, self.random_state, self.modalities = n_components, random_state, modalities

    def fit(self, X, y, client_ids=None, groups=None):
        self.seen.append({"rows": np.asarray(X)[:, -1].astype(int), "X": X, "y": y, "ids": client_ids})
        self.model_ = LinearRegression().fit(X, y)
        return self

    def transform(self, X):
        return np.asarray(X)

    def predict(self, X):
        return self.model_.predict(X)


@pytest.fixture(autouse=True, scope="module")
def few_rivals():
    with pytest.MonkeyPatch.context() as patch:
        helpers.few_rivals(patch, "mean predictor", "PLS", "RidgeCV, all columns")
        yield


@pytest.fixture
def seen():
    Columns.seen.clear()
    return Columns.seen


def table():
    rng = np.random.default_rng(0)
    X = np.c_[rng.standard_normal((N, 4)), np.arange(N)]
    return X, X[:, 0] + 0.5 * X[:, 2] + 0.3 * rng.standard_normal(N)


def federated(seen):
    """What was fitted to rows of several clients, told apart by their ids."""
    return [fit for fit in seen if fit["ids"] is not None]


QUICK = {"n_splits": 2, "n_seeds": 1, "regressor": LinearRegression(), "transformer": Columns()}


@pytest.fixture(scope="module")
def curve():
    X, y = table()
    groups = np.arange(N) // 2
    Columns.seen.clear()
    found = compare(X, y, CLIENTS, groups=groups, **QUICK | {"n_seeds": 2}, learning_curve=(0.3, 0.6))
    return found, list(Columns.seen)


def test_a_share_of_rows_keeps_clients_and_groups_and_lies_in_the_larger_share(curve):
    _, seen = curve
    fits = federated(seen)[4:]  # after those of the comparison itself: two seeds, two folds
    by_row = [fits[i : i + 2] for i in (0, 2, 8, 10)]  # 0.3, 0.6, then one and two clients, of each draw
    for few, more in (by_row[:2], by_row[2:]):
        for one, other, whole in zip(few, more, federated(seen), strict=False):
            assert set(one["rows"]) < set(other["rows"]) < set(whole["rows"])
            for fit, share in ((one, 0.3), (other, 0.6)):
                rows, all_rows = set(fit["rows"]), set(whole["rows"])
                assert {r ^ 1 for r in rows} & all_rows <= rows  # both of a group, or the other client's half is none
                for client in "abc":
                    n = sum(CLIENTS[r] == client for r in all_rows)
                    kept = sum(CLIENTS[r] == client for r in rows)
                    assert share * n <= kept < share * n + 2
    assert not np.array_equal(by_row[0][0]["rows"], by_row[2][0]["rows"])  # a seed is a draw


def test_fewer_clients_train_with_all_their_rows(curve):
    found, seen = curve
    fits = federated(seen)[4:]
    for one, two, whole in zip(fits[4:6], fits[6:8], federated(seen), strict=False):
        assert len(set(CLIENTS[one["rows"]])) == 1 and len(set(CLIENTS[two["rows"]])) == 2
        for fit in (one, two):
            assert_array_equal(fit["rows"], whole["rows"][np.isin(CLIENTS[whole["rows"]], fit["ids"])])
        assert set(one["ids"]) < set(two["ids"])
    by_client = found.variations[1]
    assert [e.n_clients for e in by_client.at("FDRMFL", "y").values()] == [1, 2, 3]
    assert "From 2 to 3 clients" in found.verdict()  # what is nearest to a doubling


def test_errors_of_a_curve_are_those_of_fits_by_hand_to_the_same_rows(curve):
    found, seen = curve
    X, y = table()
    folds = [test for _, test in GroupKFold(2, shuffle=True, random_state=0).split(X, groups=np.arange(N) // 2)]
    fits = federated(seen)[4:]
    ridge = make_pipeline(StandardScaler(), RidgeCV(alphas=np.logspace(-6, 3, 10)))
    expected = {"FDRMFL": [], "RidgeCV, all columns": []}
    for start in (0, 8):  # the first share of each draw
        for name, model in (("FDRMFL", LinearRegression()), ("RidgeCV, all columns", ridge)):
            predicted = np.empty(N)
            for fit, test in zip(fits[start : start + 2], folds, strict=True):
                rows = np.sort(fit["rows"])
                predicted[test] = model.fit(X[rows], y[rows]).predict(X[test])
            expected[name].append(rmse(y, predicted))
    rows = found.variations[0]
    for name, errors in expected.items():
        assert_allclose(rows.at(name, "y")["3/10"].rmse, errors)
        assert_allclose(rows.at(name, "y")["all"].rmse, found[name].rmse)


@pytest.mark.slow
def test_with_one_client_a_curve_is_that_of_scikit_learn_of_the_same_rows(seen):
    X, y = table()
    found = compare(X, y, np.zeros(N), **QUICK, learning_curve=[0.5])
    (variation,) = found.variations  # no curve by clients
    fits = federated(seen)[2:4]
    folds = [
        (np.r_[fit["rows"], np.setdiff1d(train, fit["rows"])], test)  # the drawn half first
        for fit, (train, test) in zip(fits, KFold(2, shuffle=True, random_state=0).split(X), strict=True)
    ]
    *_, scores = learning_curve(
        LinearRegression(), X, y, cv=folds, train_sizes=[len(fits[0]["rows"])], scoring="neg_mean_squared_error"
    )
    assert_allclose(variation.at("FDRMFL", "y")["1/2"].rmse, np.sqrt(-scores.mean()))


def test_every_client_has_a_row_in_every_share_however_few_it_has():
    clients = np.array(["one", *["rest"] * 20])
    (entry,) = entries(clients, None, [(np.arange(21), np.arange(0))], np.random.default_rng(0))
    assert entry[0] == 0
    assert_array_equal(np.sort(entry[1:]), np.arange(20) / 20)


@pytest.mark.slow
def test_what_a_doubling_brought_is_said_and_that_it_may_bring_nothing():
    X, _ = table()
    noise = np.random.default_rng(1).standard_normal(N)
    wide = np.random.default_rng(2).standard_normal((N, 14))
    nothing, gain = (X[:, :1], X[:, 0] + noise, "of this kind may bring nothing."), (wide, noise, "for gains dwindle.")
    for columns, target, said in (nothing, gain):
        found = compare(columns, target, np.zeros(N), **QUICK | {"n_splits": 3}, n_components=1, learning_curve=True)
        assert said in found.verdict().splitlines()[1], found.verdict()
        ratio = found.variations[0].at("FDRMFL", "y")["1/2"].ratio
        assert f"[{1 / ratio.high:.3g}, {1 / ratio.low:.3g}]" in found.verdict()
        assert "From 16 to 32 training rows" in found.verdict()


@pytest.mark.slow
def test_each_modality_alone_and_left_out_is_the_comparison_of_those_columns():
    X, y = table()
    modalities = {"one": [0, 3], "two": [1], "three": [4, 2]}
    model = FDRMFLTransformer(n_rounds=1, tuning=None, modalities=modalities)
    found = compare(X, y, CLIENTS, n_components=1, n_splits=2, n_seeds=1, transformer=model, by_modality=True)
    (variation,) = found.variations
    points = ["one alone", "two alone", "three alone", "without one", "without two", "without three", "all"]
    assert list(variation.at("FDRMFL", "y")) == points
    without = FDRMFLTransformer(n_rounds=1, tuning=None, modalities={"one": [0, 2], "three": [3, 1]})
    by_hand = compare(X[:, [0, 2, 3, 4]], y, CLIENTS, n_components=1, n_splits=2, n_seeds=1, transformer=without)
    for name in ("FDRMFL", "FDRMFL, y_hat only", "RidgeCV, all columns", "PLS"):
        assert_allclose(variation.at(name, "y")["without two"].rmse, by_hand[name].rmse)
    ratio = variation.at("FDRMFL", "y")["two alone"].ratio
    error = variation.at("FDRMFL", "y")["two alone"].rmse[0]
    assert ratio.value == pytest.approx(error / found["FDRMFL"].rmse[0])
    assert f"two alone {ratio.value:.3g} [" in found.verdict()


def test_of_two_modalities_each_is_alone_and_one_modality_is_refused_before_any_training(seen, monkeypatch):
    helpers.few_rivals(monkeypatch, "mean predictor")
    X, y = table()
    two = Columns(modalities={"one": [0, 1, 2], "two": [3, 4]})
    found = compare(X, y, CLIENTS, **QUICK | {"transformer": two}, by_modality=True)
    assert list(found.variations[0].at("FDRMFL", "y")) == ["one alone", "two alone", "all"]
    seen.clear()
    with pytest.raises(InvalidArgument, match="by_modality=True needs two modalities or more, and there is one; pass"):
        compare(X, y, CLIENTS, **QUICK, by_modality=True)
    with pytest.raises(InvalidArgument, match="are no shares of the training rows; pass numbers between 0 and 1"):
        compare(X, y, CLIENTS, **QUICK, learning_curve=[0.5, 1.0])
    with pytest.raises(InvalidArgument, match="n_permutations=-1 is less than 0"):
        compare(X, y, CLIENTS, **QUICK, n_permutations=-1)
    with pytest.raises(InvalidArgument, match="finds no two rows, or groups of as many rows, of one client"):
        compare(X, y, np.arange(N), **QUICK, n_permutations=9)
    assert seen == []


@pytest.mark.slow
@pytest.mark.parametrize("signal", [0.0, pytest.param(0.15, marks=pytest.mark.slow)])
def test_p_is_that_of_scikit_learns_permutation_test_of_the_same_procedure(signal):
    X, y = table()
    y = signal * X[:, 0] + np.random.default_rng(3).standard_normal(N)
    found = compare(X, y, CLIENTS, **QUICK, n_permutations=19)
    *_, p = permutation_test_score(
        LinearRegression(),
        X,
        y,
        groups=CLIENTS,  # inside which scikit-learn permutes
        cv=list(KFold(2, shuffle=True, random_state=0).split(X)),
        n_permutations=19,
        random_state=0,
        scoring="neg_mean_squared_error",
    )
    test = found.permutations[0]
    assert test.method == "FDRMFL" and len(test.permuted) == 19 and test.n_fixed == 0
    assert test.p == pytest.approx(p)
    assert 1 / 20 < p < 1  # neither end, which less careful permutations reach too
    assert f"p = {p:.2g}" in found.verdict()


def test_groups_exchange_their_y_whole_with_others_of_as_many_rows_and_the_same_clients(seen, monkeypatch):
    helpers.few_rivals(monkeypatch, "mean predictor")
    clients = np.array([*"aaaaaa", *"bbbbbbb", "a", "b"])
    groups = np.array([0, 0, 1, 1, 2, 3, *[4, 4, 5, 5, 6, 6, 7], 8, 8])
    blocks = exchangeable(clients, groups)
    assert [block.tolist() for block in blocks] == [[[4], [5]], [[0, 1], [2, 3]], [[6, 7], [8, 9], [10, 11]]]
    X = np.c_[np.zeros(15), np.arange(15)]
    y = np.arange(15.0)
    found = compare(X, y, clients, groups=groups, **QUICK, n_components=1, n_permutations=2)
    assert found.permutations[0].n_fixed == 3
    assert "3 rows kept their y" in found.verdict()
    moved = {
        int(row): int(value) for fit in federated(seen)[2:4] for row, value in zip(fit["rows"], fit["y"], strict=True)
    }
    assert {moved[12], moved[13], moved[14]} == {12, 13, 14}
    for row, taken in moved.items():
        assert clients[row] == clients[taken]
        assert np.sum(groups == groups[row]) == np.sum(groups == groups[taken])
    assert all(moved[first + 1] == moved[first] + 1 for first in (0, 2, 6, 8, 10))


@pytest.mark.slow
def test_ctrl_c_keeps_the_permutations_and_the_sizes_that_are_done():
    X, y = table()
    calls = []

    def stop(done, total, name):
        calls.append((done, total))
        if done == total - 3:
            raise KeyboardInterrupt

    with pytest.raises(ComparisonInterrupted) as interrupt:
        compare(X, y, CLIENTS, **QUICK, learning_curve=[0.5], n_permutations=4, progress=stop)
    finished = interrupt.value.finished
    assert not finished.complete
    assert len(finished.permutations[0].permuted) == 2
    assert finished.permutations[0].p in (1 / 3, 2 / 3, 1)
    assert "1/2" in finished.variations[0].at("FDRMFL", "y")
    done, totals = zip(*calls, strict=True)
    assert list(done) == sorted(done) and len(set(totals)) == 1


@pytest.mark.slow
def test_what_is_finished_is_handed_over_as_methods_finish_and_says_that_it_is_not_all():
    X, y = table()
    kept = []
    found = compare(X, y, CLIENTS, **QUICK, n_permutations=2, save=kept.append)
    assert found.complete and not any(c.complete for c in kept)
    assert kept[0].methods[0].name == "mean predictor" and len(kept[0].methods) == 1
    assert "Interrupted" in kept[0].to_table() and "Interrupted" not in found.to_table()
    assert json.loads(kept[0].to_json())["complete"] is False and json.loads(found.to_json())["complete"] is True
    numbers = [len(c.methods) for c in kept]
    assert numbers == sorted(numbers)


@pytest.mark.slow
def test_a_method_that_cannot_be_fitted_to_so_few_rows_is_missing_there():
    X, y = table()
    rivals = {"picky": Picky()}
    found = compare(X, y, CLIENTS, **QUICK, rivals=rivals, learning_curve=[0.5])
    variation = found.variations[0]
    assert list(variation.at("picky", "y")) == []
    assert "-: picky, 1/2 (ValueError: too few)" in found.to_table()


@pytest.mark.slow
def test_a_rival_that_cannot_be_fitted_to_all_rows_is_left_out_of_curves_too():
    X, y = table()
    with pytest.warns(UserWarning, match="the rival 'picky' cannot be fitted and is left out"):
        found = compare(X, y, CLIENTS, **QUICK, rivals={"picky": Picky(least=0, most=20)}, learning_curve=[0.5])
    assert "picky" not in {e.method for e in found.variations[0].errors}


class Picky(LinearRegression):
    """Takes half of the rows for too few, or all for too many."""

    def __init__(self, least=20, most=N):
        super().__init__()
        self.least, self.most = least, most

    def fit(self, X, y):
        if not self.least <= len(X) <= self.most:
            raise ValueError("too\nfew")
        return super().fit(X, y)


def test_what_varies_comes_back_from_json_and_stands_in_table_page_and_picture(monkeypatch):
    helpers.undrawn(monkeypatch)
    helpers.few_rivals(monkeypatch, "mean predictor")
    X, y = table()
    two = Columns(modalities={"one": [0, 1, 2], "two": [3, 4]})
    Y = np.c_[y, -2 * y]
    options = {"learning_curve": [0.5], "by_modality": True, "n_permutations": 1}
    found = compare(X, Y, CLIENTS, **QUICK | {"transformer": two}, **options)
    back = Comparison.from_json(found.to_json())
    assert back.to_json() == found.to_json()
    assert back.to_table() == found.to_table() and back.verdict() == found.verdict()
    former = json.loads(found.to_json())
    for name in ("variations", "permutations", "complete", "failed"):
        del former[name]
    assert Comparison.from_json(json.dumps(former)).variations == ()  # as an earlier version wrote it
    of_y0, of_y1 = (found.variations[0].at("FDRMFL", output)["1/2"].rmse[0] for output in found.outputs)
    assert of_y1 == pytest.approx(2 * of_y0)
    page = found.of(found.outputs[1]).to_html()
    for text in ("RMSE by modalities that are used", "two alone", "With y permuted", f"{of_y1:.3f}"):
        assert text in page and text in found.to_table() + found.verdict()
    figure = found.plot_variations(output=found.outputs[1], unit="g")
    rows, clients, bars = figure.axes
    assert rows.get_xlabel() == "training rows" and rows.get_ylabel() == "RMSE (g)"
    assert clients.get_xlabel() == "clients that train"
    assert [text.get_text() for text in bars.get_xticklabels()] == ["one\nalone", "two\nalone", "all"]


def test_the_display_keeps_what_it_draws_and_refuses_what_is_not_there(curve):
    found, _ = curve
    display = VariationDisplay.from_comparison(found, along="clients", names=["FDRMFL", "PLS"])
    assert_array_equal(display.sizes, [1, 2, 3])
    assert list(display.errors) == ["PLS", "FDRMFL"]
    of_one = found.variations[1].at("FDRMFL", "y")["1"].rmse
    assert_allclose(display.errors["FDRMFL"][0], np.mean(of_one))
    assert_allclose(display.deviations["FDRMFL"][0], np.std(of_one))
    with pytest.raises(ValueError, match=r"no errors along 'modalities' \(it has rows, clients\)"):
        VariationDisplay.from_comparison(found, along="modalities")


def test_out_of_fold_predictions_are_untouched_by_what_is_asked_beside_them(curve):
    found, _ = curve
    X, y = table()
    ridge = make_pipeline(StandardScaler(), RidgeCV(alphas=np.logspace(-6, 3, 10)))
    cv = list(GroupKFold(2, shuffle=True, random_state=0).split(X, groups=np.arange(N) // 2))
    assert_allclose(found["RidgeCV, all columns"].predicted[0], cross_val_predict(ridge, X, y, cv=cv), atol=1e-8)
