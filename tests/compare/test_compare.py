"""The comparison: what every method is allowed to see, what its figures mean, and what is written down."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import replace
from html.parser import HTMLParser

import helpers
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.signal import savgol_filter
from sklearn import config_context, get_config
from sklearn.base import BaseEstimator, RegressorMixin, TransformerMixin, clone
from sklearn.cross_decomposition import PLSRegression
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression, RidgeCV
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skfdrmfl import FDRMFLTransformer, SuspectRowsWarning
from skfdrmfl.compare import Comparison, ComparisonInterrupted, InvalidArgument, MethodResult, compare
from skfdrmfl.compare import _training as training
from skfdrmfl.compare._pls import PRETREATMENTS, ChosenPLS, is_smooth, pretreated
from skfdrmfl.compare._result import rmse_ratio
from skfdrmfl.compare._text import verdict
from skfdrmfl.datasets import load_tecator, make_client_ids
from skfdrmfl.metrics import r2_per_client, rmse, rpd

NAMES = [
    "mean predictor",
    "PCA",
    "TruncatedSVD",
    "GaussianRandomProjection",
    "PLS",
    "PLS, 16 components",
    "PLS, components chosen",
    "RidgeCV, all columns",
    "FDRMFL",
    "FDRMFL, y_hat only",
    "FDRMFL, central",
    "FDRMFL, each client alone",
]
ALL_COLUMNS = ["PLS, components chosen", "RidgeCV, all columns"]
SEEDLESS = ["mean predictor", "PCA", "TruncatedSVD", "PLS", "PLS, 16 components", *ALL_COLUMNS]
N = 60


class Witness(TransformerMixin, RegressorMixin, BaseEstimator):
    """In FDRMFL's place: quick, and it writes down what it was trained on. Its own head predicts 99."""

    __metadata_request__fit = {"client_ids": True, "groups": True}
    seen: list[dict] = []  # shared by clones

    def __init__(self, n_components=2, random_state=None):
        self.n_components = n_components
        self.random_state = random_state

    def fit(self, X, y, client_ids=None, groups=None):
        rows = np.asarray(X)[:, -1].astype(int)
        self.seen.append({"rows": rows, "y": y, "ids": client_ids, "groups": groups, "seed": self.random_state})
        self.columns_ = np.random.default_rng(self.random_state).permutation(3)[: self.n_components]
        return self

    def transform(self, X):
        return np.asarray(X)[:, self.columns_]

    def predict(self, X):
        return np.full(len(X), 99.0)


def table(n=N):
    """The last column is the number of the row, constant in nothing but scale."""
    rng = np.random.default_rng(0)
    X = np.c_[rng.standard_normal((n, 19)), np.arange(n)]
    y = X[:, 0] + 2 * X[:, 1] + 0.1 * rng.standard_normal(n)
    return X, y, make_client_ids(y, 3, random_state=0)


@pytest.fixture
def seen():
    Witness.seen.clear()
    return Witness.seen


@pytest.fixture
def few_rivals(monkeypatch):
    helpers.few_rivals(monkeypatch, "mean predictor", "PCA", "PLS", "PLS, 16 components", "RidgeCV, all columns")


@pytest.fixture
def one_rival(monkeypatch):
    helpers.few_rivals(monkeypatch, "mean predictor")


@pytest.fixture(scope="module")
def groups():
    return np.arange(N) // 2


@pytest.fixture(scope="module")
def comparison(groups):
    X, y, _ = table()
    clients = lambda seed: make_client_ids(y, 3, random_state=seed)  # noqa: E731
    return compare(X, y, clients, groups=groups, n_splits=3, n_seeds=2, transformer=Witness())


@pytest.fixture(scope="module")
def quick():
    """Two rounds of the network alone, in two folds."""
    X, y, ids = table()
    return compare(X, y, ids, n_splits=2, n_seeds=1, transformer=FDRMFLTransformer(n_rounds=2, tuning=None))


@pytest.fixture(scope="module")
def watched():
    """A comparison of the witness, what the witness has seen, and what progress was told."""
    Witness.seen.clear()
    X, y, ids = table()
    calls = []
    tell = lambda *call: calls.append(call)  # noqa: E731
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "MIDST_AFTER", math.inf)  # a busy machine is told of in the midst of a fit
        result = compare(X, y, ids, n_splits=2, n_seeds=1, transformer=Witness(), progress=tell)
    return result, list(Witness.seen), calls


def splits(groups, X):
    return GroupKFold(3, shuffle=True, random_state=0).split(X, groups=groups)


def test_methods_stand_in_order_the_mean_first(comparison):
    assert [method.name for method in comparison.methods] == NAMES


def test_groups_stay_in_one_fold(comparison, groups):
    assert_array_equal(comparison.fold[::2], comparison.fold[1::2])
    assert sorted(set(comparison.fold)) == [0, 1, 2]


def test_every_row_of_every_method_is_predicted_once(comparison):
    for method in comparison.methods:
        assert np.isfinite(method.predicted).all(), method.name
        assert method.predicted.shape[1] == N


def test_rivals_are_what_scikit_learn_makes_of_the_same_pipeline(comparison, groups):
    X, y, _ = table()
    cv = list(splits(groups, X))
    ridge = RidgeCV(alphas=np.logspace(-6, 3, 10))
    pca = cross_val_predict(make_pipeline(StandardScaler(), PCA(2), ridge), X, y, cv=cv)
    assert_allclose(comparison["PCA"].predicted[0], pca, atol=1e-8)
    scores = np.empty(N)
    for train, test in cv:
        pls = PLSRegression(2).fit(X[train], y[train])
        scores[test] = ridge.fit(pls.transform(X[train]), y[train]).predict(pls.transform(X[test]))
    assert_allclose(comparison["PLS"].predicted[0], scores, atol=1e-8)
    for fold, (train, test) in enumerate(cv):
        assert_array_equal(comparison.fold[test], fold)
        assert_allclose(comparison["mean predictor"].predicted[0, test], y[train].mean())


def test_nothing_is_learned_from_the_test_rows(quick):
    """Targets of one fold are blown up: its own predictions must not move."""
    X, y, ids = table()
    settings = {"n_splits": 2, "n_seeds": 1, "transformer": FDRMFLTransformer(n_rounds=2, tuning=None)}
    fold = quick.fold == 0
    after = compare(X, np.where(fold, 1000.0 * y, y), ids, **settings)
    for one, other in zip(quick.methods, after.methods, strict=True):
        assert_array_equal(one.predicted[:, fold], other.predicted[:, fold], err_msg=one.name)
        assert not np.allclose(one.predicted[:, ~fold], other.predicted[:, ~fold])


def test_who_is_trained_on_what(seen, one_rival):
    X, y, ids = table()
    compare(X, y, ids, n_splits=2, n_seeds=2, random_state=5, transformer=Witness())
    folds = [train for train, _ in KFold(2, shuffle=True, random_state=5).split(X)]
    per_seed = 2 + 2  # federated, central
    assert len(seen) == 2 * per_seed + 3 * 2  # and three clients alone, under the first seed
    federated, central, alone = seen[:2], seen[2:4], seen[4:10]
    for fit, train in zip(federated, folds, strict=True):
        assert_array_equal(fit["rows"], train)
        assert_array_equal(fit["ids"], ids[train])
    for fit, train in zip(central, folds, strict=True):
        assert_array_equal(fit["rows"], train)
        assert fit["ids"] is None
    for number, fit in enumerate(alone):
        client, train = number // 2, folds[number % 2]
        assert_array_equal(fit["rows"], train[ids[train] == client])
        assert_array_equal(fit["y"], y[fit["rows"]])
        assert fit["ids"] is None
    assert [fit["seed"] for fit in seen] == [5] * 10 + [6] * 4


def test_the_groups_of_the_training_rows_reach_the_fit_of_the_federated_transformer(seen, groups, one_rival):
    X, y, ids = table()
    names = np.array([f"sample {group}" for group in groups])
    compare(X, y, ids, groups=pd.Series(names), n_splits=2, n_seeds=1, transformer=Witness())
    federated, others = seen[:2], seen[2:]
    for fit in federated:
        assert_array_equal(fit["groups"], names[fit["rows"]])
    assert len(others) == 2 + 3 * 2
    assert all(fit["groups"] is None for fit in others)  # centrally and alone: IgnoreClients keeps them


def test_without_groups_no_fit_is_given_any(watched):
    _, seen, _ = watched
    assert seen and all(fit["groups"] is None for fit in seen)


def test_one_fit_serves_the_regressor_and_y_hat_only(comparison):
    assert (comparison["FDRMFL, y_hat only"].predicted == 99).all()
    assert comparison["FDRMFL"].fit_seconds == comparison["FDRMFL, y_hat only"].fit_seconds
    assert not (comparison["FDRMFL"].predicted == 99).any()


def test_figures_are_those_of_the_pooled_predictions(comparison):
    _, y, _ = table()
    for method in comparison.methods:
        for measure, values in ((rmse, method.rmse), (r2_score, method.r2), (rpd, method.rpd)):
            assert_allclose(values, [measure(y, run) for run in method.predicted])
        assert method.fit_seconds > 0


def test_seeds_move_what_is_random_and_nothing_else(comparison):
    _, y, _ = table()
    for seed in range(2):
        assert_array_equal(comparison.client_ids[seed], make_client_ids(y, 3, random_state=seed))
    n_runs = dict.fromkeys(NAMES, 2) | dict.fromkeys(SEEDLESS, 1) | {"FDRMFL, each client alone": 3}  # a run a client
    assert {method.name: len(method.predicted) for method in comparison.methods} == n_runs
    assert len(set(comparison["GaussianRandomProjection"].rmse)) == 2


def test_r2_of_a_client_is_on_its_own_rows_averaged_over_seeds(comparison):
    _, y, _ = table()
    for name in ("PCA", "FDRMFL"):
        method = comparison[name]
        for client, value in method.client_r2.items():
            per_seed = [
                r2_per_client(y, method.predicted[min(seed, len(method.predicted) - 1)], ids)[client]
                for seed, ids in enumerate(comparison.client_ids)
            ]
            assert value == pytest.approx(np.mean(per_seed))
    alone = comparison["FDRMFL, each client alone"]
    first = comparison.client_ids[0]
    for client, value in alone.client_r2.items():  # its own model on its own rows
        assert value == pytest.approx(r2_score(y[first == client], alone.predicted[client][first == client]))


@pytest.mark.slow
def test_frames_and_names_of_clients_are_taken_whatever_output_transformers_are_set_to(watched):
    X, y, ids = table()
    frame = pd.DataFrame(X, columns=[f"nir__{j}" for j in range(20)])
    names = pd.Series(np.array(["lab", "plant", "site"])[ids])
    with config_context(transform_output="pandas"):
        named = compare(frame, pd.Series(y), names, n_splits=2, n_seeds=1, transformer=Witness())
    for a, b in zip(named.methods, watched[0].methods, strict=True):
        assert_allclose(a.predicted, b.predicted, atol=1e-9)
        assert list(a.client_r2) == ["lab", "plant", "site"]
    assert "R² client plant" in named.to_table()
    json.loads(named.to_json())


@pytest.mark.slow
def test_the_regressor_is_the_same_behind_every_method():
    class Five(LinearRegression):
        def predict(self, X):
            return np.full(len(X), 5.0)

    X, y, ids = table()
    lists = X.tolist(), y.tolist(), ids.tolist()
    comparison = compare(*lists, n_splits=2, n_seeds=1, regressor=Five(), transformer=Witness())
    for method in comparison.methods:
        exempt = method.name in ("mean predictor", "FDRMFL, y_hat only", *ALL_COLUMNS)
        assert exempt != (method.predicted == 5.0).all(), method.name


@pytest.mark.slow
def test_a_client_too_small_to_train_alone_is_left_out_and_said_to_be(few_rivals):
    X, y, _ = table()
    ids = np.array(["one", *["rest"] * (N - 1)])
    comparison = compare(X, y, ids, n_splits=2, n_seeds=1, transformer=Witness())
    alone = comparison["FDRMFL, each client alone"]
    assert len(alone.predicted) == 1
    assert math.isnan(alone.client_r2["one"])
    assert math.isnan(comparison["PCA"].client_r2["one"])
    assert comparison.to_dict()["methods"][1]["client_r2"]["one"] is None
    two = np.array(["two", "two", *["rest"] * (N - 2)])
    folds = [train for train, _ in KFold(2, shuffle=True, random_state=0).split(X)]
    assert any({0, 1} <= set(train) for train in folds)
    partly = compare(X, y, two, n_splits=2, n_seeds=1, transformer=Witness())
    assert "fewer than two training rows are left out" in partly.to_table()
    assert "fewer than two" not in comparison.to_table()


def test_predictions_that_are_not_numbers_are_an_error_not_a_gap(few_rivals):
    class Broken(LinearRegression):
        def predict(self, X):
            return np.where(np.arange(len(X)) == 0, np.nan, super().predict(X))

    X, y, ids = table()
    with pytest.raises(ValueError, match="contains NaN"):
        compare(X, y, ids, n_splits=2, n_seeds=1, regressor=Broken(), transformer=Witness())


@pytest.mark.slow
def test_progress_goes_on_in_the_midst_of_a_fit_and_the_same_call_gives_the_same_comparison(monkeypatch, quick):
    monkeypatch.setattr(training, "MIDST_AFTER", 0.0)
    X, y, ids = table()
    calls = []
    settings = {"n_splits": 2, "n_seeds": 1, "transformer": FDRMFLTransformer(n_rounds=2, tuning=None)}
    result = compare(X, y, ids, **settings, progress=lambda *call: calls.append(call))
    done = [done for done, _, _ in calls]
    assert done == sorted(done) and len(done) > done[-1] + 1
    names = {name for _, _, name in calls}
    assert {"PLS, components chosen, inner fold 5 of 5", "FDRMFL, round 2 of 2", "FDRMFL"} <= names
    for a, b in zip(result.methods, quick.methods, strict=True):
        assert_array_equal(a.predicted, b.predicted)
    assert not get_config()["enable_metadata_routing"]


def test_progress_counts_every_fit(watched):
    *_, calls = watched
    n_fits = 2 * (8 + 2 + 3)  # rivals; federated and central; three clients alone
    assert [done for done, _, _ in calls] == list(range(n_fits + 1))
    assert {total for _, total, _ in calls} == {n_fits}
    assert {name for _, _, name in calls} <= set(NAMES)


@pytest.mark.slow
def test_strong_pls_is_shown_only_where_it_fits(few_rivals):
    X, y, ids = table()
    narrow = compare(X[:, :8], y, ids, n_splits=2, n_seeds=1, transformer=Witness())
    assert "PLS, 16 components" not in [method.name for method in narrow.methods]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_components": 0}, "n_components=0 is less than 1; pass 1 or more."),
        ({"n_components": 21}, "n_components=21 is more than the columns or the rows of a training fold (20)"),
        ({"n_splits": 1}, "n_splits=1 is less than 2; pass 2 or more."),
        ({"n_splits": 61}, "n_splits=61 is more than the 60 rows; pass at most 60."),
        ({"groups": np.arange(N) // 20, "n_splits": 5}, "n_splits=5 is more than the 3 groups; pass at most 3."),
        ({"groups": np.zeros(N)}, "groups='<1 of them>' cannot be parted into folds; pass two groups or more."),
        ({"n_seeds": 0}, "n_seeds=0 is less than 1; pass 1 or more."),
        ({"client_ids": [0, 1]}, "do not match the 60 rows of X; pass one id per row."),
        ({"client_ids": [None] + ["a"] * 59}, "client_ids is missing for 1 of 60 rows (first: row 0)"),
        ({"random_state": -1}, "random_state=-1 is no first seed to count from; pass an integer of 0 or more."),
        ({"random_state": None}, "random_state=None is no first seed to count from"),
        ({"random_state": 2**32 - 2}, "leaves no 3 seeds up to 4294967295, the last one there is; pass a smaller one."),
        ({"y": np.append(np.nan, np.zeros(59))}, "y='<1 rows>' has NaN or infinity"),
        ({"X": np.where(np.arange(60)[:, None] < 2, np.nan, 1.0)}, "X='<2 rows>' has NaN or infinity"),
        ({"X": np.arange(60.0)}, "has 1 dimensions; pass one 2-D table."),
    ],
)
def test_what_cannot_work_is_refused_before_any_training(seen, changes, message):
    X, y, ids = table()
    with pytest.raises(ValueError) as error:
        compare(**({"X": X, "y": y, "client_ids": ids, "transformer": Witness()} | changes))
    assert isinstance(error.value, InvalidArgument) or message.startswith("client_ids is missing")
    assert message in str(error.value)
    assert seen == []


def made_up(client_r2, predicted=(0.0, 0.0)):
    run = np.array([predicted])
    values = {"rmse": np.array([0.0123]), "r2": np.array([0.5]), "rpd": np.array([1.5])}
    method = MethodResult("PCA", run, **values, fit_seconds=0.25, client_r2=client_r2)
    settings = {"n_seeds": 1, "regressor": "RidgeCV"}
    ids = np.array([list(client_r2)[:2]])
    return Comparison((method,), np.array([0.0, 1.0]), ids, np.array([0, 1]), settings)


def test_the_table_reads_as_the_figures_are():
    lines = made_up({"a": 0.25, "b": math.nan}).to_table().splitlines()
    assert lines[0].split() == [
        "method",
        "RMSE",
        "±",
        "R²",
        "RPD",
        "fit",
        "(s)",
        "R²",
        "client",
        "a",
        "R²",
        "client",
        "b",
    ]
    assert lines[2].split() == ["PCA", "0.0123", "0.500", "1.50", "0.250", "0.250", "nan"]
    assert len({len(line) for line in lines[:3]}) == 1


def test_many_clients_are_summed_up_by_worst_middle_and_best():
    lines = made_up({k: k / 10 for k in range(9)}).to_table().splitlines()
    assert lines[0].endswith("R² worst client  middle   best")
    assert lines[2].split()[-3:] == ["0.000", "0.400", "0.800"]


def test_json_holds_everything_and_is_strict(comparison):
    def refuse(constant):
        raise AssertionError(constant)

    written = json.loads(comparison.to_json(), parse_constant=refuse)
    assert [method["name"] for method in written["methods"]] == NAMES
    assert_allclose(written["measured"], comparison.measured)
    assert np.shape(written["client_ids"]) == (2, N)
    federated = written["methods"][NAMES.index("FDRMFL")]
    assert_allclose(federated["predicted"], comparison["FDRMFL"].predicted)
    assert federated["rmse"]["mean"] == pytest.approx(np.mean(federated["rmse"]["runs"]))
    assert federated["rmse"]["sd"] == pytest.approx(np.std(federated["rmse"]["runs"], ddof=1))
    assert written["methods"][1]["rmse"]["sd"] is None
    assert written["settings"]["n_components"] == 2


def test_dates_of_clients_are_strings_in_json():
    method = MethodResult("PCA", np.zeros((1, 2)), *np.ones((3, 1)), fit_seconds=0.25, client_r2={})
    ids = np.array([["2024-01-01", "2024-01-02"]], dtype="M8[D]")
    written = json.loads(Comparison((method,), np.zeros(2), ids, np.zeros(2, dtype=np.intp)).to_json())
    assert written["client_ids"] == [["2024-01-01", "2024-01-02"]]


def test_an_unknown_method_is_named_beside_the_known():
    with pytest.raises(KeyError, match="no method 'LDA'; choose from 'PCA'"):
        made_up({0: 1.0, 1: 1.0})["LDA"]


DRAWN = ["PCA", "PLS", "PLS, components chosen", "RidgeCV, all columns", "FDRMFL"]


def drawn_points(axes):
    points = np.concatenate([cloud.get_offsets() for cloud in axes.collections])
    return points[np.lexsort(points.T[::-1])]


def test_the_figure_has_a_column_a_method_with_the_same_axes_every_row_and_its_residual(comparison):
    above, below = np.reshape(comparison.plot().axes, (2, 5))
    assert [axes.get_title().split("\n")[0] for axes in above] == DRAWN
    assert len({axes.get_xlim() for axes in (*above, *below)} | {axes.get_ylim() for axes in above}) == 1
    assert len({axes.get_ylim() for axes in below}) == 1
    y = comparison.measured
    for name, top, bottom in zip(DRAWN, above, below, strict=True):
        predicted = comparison[name].predicted[0]
        order = np.lexsort((predicted, y))
        assert_allclose(drawn_points(top), np.c_[y, predicted][order])
        assert_allclose(drawn_points(bottom), np.c_[y, predicted - y][order])
        assert np.abs(predicted - y).max() <= bottom.get_ylim()[1]
        (row,) = (line for line in comparison.to_table().splitlines() if line.startswith(f"{name}  "))
        assert top.get_title().split()[top.get_title().split().index("RMSE") + 1].rstrip(",") in row.split()
    labels = [text.get_text() for text in above[0].get_legend().get_texts()]
    assert labels == ["client 0", "client 1", "client 2"]
    hidden = comparison.plot(names=NAMES[:7]).axes  # two bands, three places of each row of the second empty
    assert [axes.get_visible() for axes in hidden] == [True] * 10 + ([True] * 2 + [False] * 3) * 2


def test_without_matplotlib_the_figure_says_how_to_get_it(comparison, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match='run: pip install "matplotlib'):
        comparison.plot()


@pytest.mark.slow
def test_on_spectra_two_supervised_features_beat_two_unsupervised_ones(few_rivals):
    """Tecator, one seed and two folds: the order that the README shows, at a fraction of its time."""
    data = load_tecator("fat")
    ids = make_client_ids(data.target, 3, random_state=0)
    quick = FDRMFLTransformer(n_rounds=15, tuning=None)
    result = compare(data.data, data.target, ids, groups=data.groups, n_splits=2, n_seeds=1, transformer=quick)
    error = {method.name: method.rmse[0] for method in result.methods}
    assert error["FDRMFL"] < 0.5 * error["PLS, 16 components"] < 0.5 * error["PLS"] < error["PCA"]
    assert error["FDRMFL"] < result["FDRMFL, each client alone"].rmse.mean()
    assert error["PCA"] < error["mean predictor"]


# ------------------------------------------------------------------------------- rivals, outputs, intervals, forms
@pytest.mark.slow
def test_the_strongest_rivals_are_what_scikit_learn_makes_of_the_same_folds(comparison, groups):
    X, y, _ = table()
    cv = list(splits(groups, X))
    ridge = make_pipeline(StandardScaler(), RidgeCV(alphas=np.logspace(-6, 3, 10)))
    assert_allclose(comparison["RidgeCV, all columns"].predicted[0], cross_val_predict(ridge, X, y, cv=cv), atol=1e-8)
    predicted = np.empty(N)
    for train, test in cv:
        inner = list(GroupKFold(5, shuffle=True, random_state=0).split(X[train], groups=groups[train]))
        search = GridSearchCV(
            PLSRegression(), {"n_components": list(range(1, 21))}, cv=inner, scoring="neg_mean_squared_error"
        )
        predicted[test] = search.fit(X[train], y[train]).predict(X[test])
    # GridSearchCV averages over folds, ChosenPLS over rows: the same number of rows in each, or the same choice here.
    assert_allclose(comparison["PLS, components chosen"].predicted[0], predicted, atol=1e-6)


def test_chosen_pls_has_for_each_number_the_error_of_a_fit_with_that_number():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((40, 12)) * np.logspace(0, -3, 12) + 5.0
    y = X @ rng.standard_normal(12) + 0.01 * rng.standard_normal(40)
    model = ChosenPLS(max_components=8, n_splits=4).fit(X, y)
    folds = list(KFold(4, shuffle=True, random_state=0).split(X))
    errors = [
        sum(((PLSRegression(n).fit(X[a], y[a]).predict(X[b]).ravel() - y[b]) ** 2).sum() for a, b in folds)
        for n in range(1, 9)
    ]
    assert model.n_components_.tolist() == [1 + int(np.argmin(errors))]
    best = PLSRegression(int(model.n_components_[0])).fit(X, y)
    assert_allclose(model.predict(X), best.predict(X).ravel())
    two = ChosenPLS(max_components=8, n_splits=4).fit(X, np.c_[y, X[:, 0]])
    assert two.n_components_[0] == model.n_components_[0]
    assert_allclose(two.predict(X)[:, 0], model.predict(X))


def test_chosen_pls_goes_without_a_choice_where_there_is_none():
    X, y, _ = table(6)
    assert ChosenPLS().fit(X[:3], y[:3]).n_components_.tolist() == [1]
    assert ChosenPLS().fit(X, y, groups=[0, 0, 0, 0, 0, 1]).predict(X).shape == (6,)  # one fold trains on one row
    assert np.isfinite(
        ChosenPLS().fit(np.ones((6, 3)) * np.arange(6)[:, None], np.arange(6.0)).predict(np.ones((1, 3)))
    )


def test_a_spectrum_is_told_from_a_table_by_its_neighbouring_columns():
    X = load_tecator("fat").data
    assert is_smooth(X)
    assert not is_smooth(X[:, :19])
    assert not is_smooth(table()[0])
    assert not is_smooth(np.ones((5, 30)))
    assert is_smooth(np.c_[X, np.ones((len(X), 30))])  # columns that are constant say nothing


def test_snv_takes_a_gain_and_an_offset_out_and_leaves_constant_rows_alone():
    rows = np.vstack([load_tecator("fat").data[:3], np.full((1, 100), 2.0)])
    treated = PRETREATMENTS["SNV"](3.0 * rows + 7.0)
    assert_allclose(treated, PRETREATMENTS["SNV"](rows), atol=1e-9)
    assert_allclose(treated[:3].mean(axis=1), 0, atol=1e-12)
    assert_allclose(treated[:3].std(axis=1), 1)
    assert_array_equal(treated[3], 0)


@pytest.mark.parametrize("p", [20, 100, 700])
def test_derivatives_of_a_polynomial_are_exact_to_the_ends(p):
    x = np.arange(p) / 10
    cubic, parabola = 1 + 2 * x - 3 * x**2 + 0.1 * x**3, 5 - x + 0.2 * x**2
    assert_allclose(PRETREATMENTS["SG1"](parabola[None])[0], (-1 + 0.4 * x) / 10, atol=1e-9 * p**2)
    assert_allclose(PRETREATMENTS["SG2"](cubic[None])[0], (-6 + 0.6 * x) / 100, atol=1e-9 * p**2)


def test_windows_of_derivatives_grow_with_the_number_of_columns():
    rows = np.random.default_rng(0).standard_normal((3, 700))  # noise tells every window from every other
    for p, window in ((100, 5), (400, 11), (700, 17)):
        first = savgol_filter(rows[:, :p], window, 2, deriv=1, axis=1)
        second = savgol_filter(rows[:, :p], 2 * window + 1, 3, deriv=2, axis=1)
        assert_allclose(PRETREATMENTS["SG1"](rows[:, :p]), first)
        assert_allclose(PRETREATMENTS["SG2"](rows[:, :p]), second)


def test_a_pretreatment_stays_inside_the_columns_of_its_spectrum():
    rows = load_tecator("fat").data[:4]
    two = np.c_[rows, 5.0 * np.ones((4, 1)), 2 * rows[:, :40]]
    blocks = [np.arange(100), np.arange(101, 141)]
    treated = pretreated(two, blocks, "SG1")
    assert_array_equal(treated[:, 100], 5.0)
    assert_array_equal(treated[:, blocks[0]], PRETREATMENTS["SG1"](rows))
    assert_array_equal(treated[:, blocks[1]], PRETREATMENTS["SG1"](2 * rows[:, :40]))
    assert_array_equal(two[:, :100], rows)
    counts = (1000 * two).astype(int)
    assert_array_equal(pretreated(counts, blocks, "SG1"), pretreated(counts.astype(float), blocks, "SG1"))


def test_inner_folds_choose_the_pretreatment_as_a_search_over_scikit_learns_pipelines_does():
    data = load_tecator("fat")
    X, y, groups = data.data[::2, ::4], data.target[::2], data.groups[::2]
    folds = list(GroupKFold(5, shuffle=True, random_state=0).split(X, groups=groups))
    errors = {}
    for name in ("raw", "SNV"):
        treated = (X - X.mean(1, keepdims=True)) / X.std(1, keepdims=True) if name == "SNV" else X
        for n in range(1, 11):
            out = cross_val_predict(PLSRegression(n), treated, y, cv=folds)
            errors[name, n] = np.sum((out - y) ** 2)
    best = min(errors, key=errors.get)
    blocks = [np.arange(X.shape[1])]
    model = ChosenPLS(10, pretreatments=("raw", "SNV"), blocks=blocks).fit(X, y, groups=groups)
    assert (model.pretreatments_[0], model.n_components_[0]) == best
    alone = ChosenPLS(10, pretreatments=(best[0],), blocks=blocks).fit(X, y, groups=groups)
    assert_array_equal(model.predict(X), alone.predict(X))


@pytest.mark.slow
def test_rivals_on_spectra_have_their_pretreatments_modality_by_modality():
    data = load_tecator("fat", as_frame=True)
    X, y = data.data.iloc[:24, :60].copy(), data.target.iloc[:24]
    X.insert(0, "day", pd.Categorical(["a", "b"] * 12))
    ids, spectrum = np.arange(24) % 2, X.to_numpy()[:, 1:].astype(float)
    mine = FDRMFLTransformer(n_rounds=1, tuning=None, modalities={"one": slice(0, 31), "two": slice(31, 61)})
    result = compare(X, y, ids, n_splits=2, n_seeds=1, transformer=mine)
    names = [method.name for method in result.methods]
    at = names.index("PLS, components chosen")
    assert names[at + 1 : at + 4] == ["SNV + PLS", "SG1 + PLS", "PLS, pre-treatment chosen"]

    def treated(block):
        return (block - block.mean(1, keepdims=True)) / block.std(1, keepdims=True)

    by_hand = np.c_[treated(spectrum[:, :30]), treated(spectrum[:, 30:]), (X["day"] == "a"), (X["day"] == "b")]
    splits = KFold(2, shuffle=True, random_state=0).split(X)
    predicted = np.empty(24)
    for train, test in splits:
        predicted[test] = ChosenPLS().fit(by_hand[train], y.to_numpy()[train]).predict(by_hand[test])
    assert_allclose(result["SNV + PLS"].predicted[0], predicted, atol=1e-6)


class Recorder(RegressorMixin, BaseEstimator):
    """A rival that would break on `client_ids`, and says which rows it was fitted to."""

    seen: list[int] = []

    def fit(self, X, y):
        self.seen.append(len(X))
        return self

    def predict(self, X):
        return np.full(len(X), 7.0)


def test_rivals_of_ones_own_stand_before_fdrmfl_whatever_they_are(one_rival):
    X, y, ids = table()
    rivals = {
        "seven": Recorder(),
        "PCA of five": make_pipeline(StandardScaler(), PCA(5)),  # no predict: a reduction
        "mine": FDRMFLTransformer(n_rounds=2, random_state=0, tuning=None),  # asks for client_ids
    }
    Recorder.seen.clear()
    result = compare(X, y, ids, n_splits=2, n_seeds=1, transformer=Witness(), rivals=rivals)
    names = [method.name for method in result.methods]
    first = names.index("FDRMFL")
    assert names[first - 3 : first] == list(rivals)
    assert Recorder.seen == [30, 30]
    assert (result["seven"].predicted == 7.0).all()
    cv = list(KFold(2, shuffle=True, random_state=0).split(X))
    five = make_pipeline(StandardScaler(), PCA(5), RidgeCV(alphas=np.logspace(-6, 3, 10)))
    assert_allclose(result["PCA of five"].predicted[0], cross_val_predict(five, X, y, cv=cv), atol=1e-8)
    own = np.empty(N)
    for train, test in cv:
        own[test] = clone(rivals["mine"]).fit(X[train], y[train], client_ids=ids[train]).predict(X[test])
    assert_array_equal(result["mine"].predicted[0], own)
    assert result.settings["rivals"]["seven"] == "Recorder()"


@pytest.mark.parametrize(
    ("rivals", "message"),
    [
        ({"PCA": LinearRegression()}, "rivals='PCA' is the name of a method that is compared anyway"),
        ({"mine": LinearRegression}, "is no estimator; pass an object such as Ridge()"),
        ({"mine": 3}, "is no estimator"),
        ([LinearRegression()], "has no names; pass a dict"),
        ({1: LinearRegression()}, "rivals=1 is no name of a rival"),
    ],
)
def test_rivals_that_cannot_be_fitted_are_refused_before_any_training(seen, rivals, message):
    X, y, ids = table()
    with pytest.raises(InvalidArgument, match=message.replace("(", r"\(").replace(")", r"\)")):
        compare(X, y, ids, rivals=rivals, transformer=Witness())
    assert seen == []


@pytest.mark.slow
def test_fits_of_fdrmfl_are_those_made_by_hand(groups, few_rivals):
    X, y, ids = table()
    model = FDRMFLTransformer(n_rounds=1, engine="torch", tuning=None)
    result = compare(X, y, ids, groups=groups, n_splits=2, n_seeds=2, transformer=model)
    ridge = RidgeCV(alphas=np.logspace(-6, 3, 10))
    cv = list(GroupKFold(2, shuffle=True, random_state=0).split(X, groups=groups))
    for seed in (0, 1):
        federated, head, central = np.empty((3, N))
        for train, test in cv:
            one = clone(model).set_params(random_state=seed)
            Z = one.fit(X[train], y[train], client_ids=ids[train], groups=groups[train]).transform(X[train])
            federated[test] = ridge.fit(Z, y[train]).predict(one.transform(X[test]))
            head[test] = one.predict(X[test])
            one = clone(model).set_params(random_state=seed).fit(X[train], y[train])
            central[test] = ridge.fit(one.transform(X[train]), y[train]).predict(one.transform(X[test]))
        assert_array_equal(result["FDRMFL"].predicted[seed], federated)
        assert_array_equal(result["FDRMFL, y_hat only"].predicted[seed], head)
        assert_array_equal(result["FDRMFL, central"].predicted[seed], central)
    train = cv[0][0][ids[cv[0][0]] == 0]
    alone = clone(model).set_params(random_state=0).fit(X[train], y[train])
    expected = ridge.fit(alone.transform(X[train]), y[train]).predict(alone.transform(X[cv[0][1]]))
    assert_array_equal(result["FDRMFL, each client alone"].predicted[0, cv[0][1]], expected)


@pytest.fixture(scope="module")
def of_two():
    X, y, ids = table()
    targets = pd.DataFrame({"fat": y, "water": 3 * X[:, 2] - y})
    return targets, compare(
        X, targets, ids, n_splits=2, n_seeds=1, transformer=FDRMFLTransformer(n_rounds=2, tuning=None)
    )


def test_several_outputs_are_predicted_together_and_measured_one_by_one(of_two, monkeypatch):
    targets, result = of_two
    assert result.outputs == ("fat", "water")
    X, _, ids = table()
    own = np.empty((N, 2))
    for train, test in KFold(2, shuffle=True, random_state=0).split(X):
        model = FDRMFLTransformer(n_rounds=2, random_state=0, tuning=None)
        own[test] = model.fit(X[train], targets.iloc[train], client_ids=ids[train]).predict(X[test])
    for j, output in enumerate(result.outputs):
        one = result.of(output)
        assert [method.name for method in one.methods] == NAMES
        assert_array_equal(one.measured, targets[output])
        assert_array_equal(one["FDRMFL, y_hat only"].predicted[0], own[:, j])
        assert_array_equal(result["FDRMFL", output].rmse, one["FDRMFL"].rmse)
        for method in one.methods:
            assert_allclose(method.rmse, [rmse(targets[output], run) for run in method.predicted])
    rivals = ("RidgeCV, all columns", "PLS, components chosen", "PCA", "mean predictor")
    helpers.few_rivals(monkeypatch, *rivals)
    single = compare(X, targets["water"], ids, n_splits=2, n_seeds=1, transformer=Witness())
    for name in rivals:
        assert_allclose(result[name, "water"].predicted, single[name].predicted, atol=1e-8, err_msg=name)
    assert single.outputs == ("water",)
    with pytest.raises(KeyError, match="There are 2 outputs; ask for"):
        result["FDRMFL"]
    with pytest.raises(KeyError, match="no output 'ash'; choose from 'fat', 'water'"):
        result.of("ash")
    text = result.to_table()
    assert text.index("fat:") < text.index("water:")
    assert (
        result.plot(output="water", names=["PCA"]).axes[0].get_title()
        == f"PCA\nRMSE {result['PCA', 'water'].rmse[0]:.3f}"
    )


def test_the_frame_has_a_row_for_each_method_and_output(of_two):
    targets, result = of_two
    frame = result.to_frame()
    assert list(zip(frame["output"], frame["method"], strict=True)) == [(o, m) for o in targets for m in NAMES]
    for row in frame.itertuples():
        method, true = result[row.method, row.output], targets[row.output]
        assert row.rmse == method.rmse.mean()
        assert row.bias == pytest.approx(np.mean(method.predicted[0] - true))
        assert row.rmse**2 == pytest.approx(row.bias**2 + row.sep**2 * (N - 1) / N) or row.n_runs > 1
        assert row.r2_client_0 == method.client_r2[0]
    own = frame[frame["method"] == "FDRMFL"]
    assert (own["rmse_ratio"] == 1).all() and own["rmse_ratio_low"].isna().all()


@pytest.mark.slow
def test_a_ratio_is_that_of_the_root_mean_squares_with_an_interval_that_covers():
    """The truth is known: errors of twice the size. Of 80 intervals about 76 hold it."""
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(80):
        common = rng.standard_normal(60)
        own, other = common + rng.standard_normal(60), 2 * (common + rng.standard_normal(60))
        ratio = rmse_ratio(other**2, own**2, np.arange(60))
        assert ratio.value == pytest.approx(np.sqrt((other**2).sum() / (own**2).sum()))
        held += ratio.low <= 2.0 <= ratio.high
    assert 69 <= held <= 79


def test_rows_of_a_group_are_drawn_together_and_rows_that_were_not_predicted_are_left_out():
    rng = np.random.default_rng(0)
    own, other = rng.random((2, 30))
    apart = rmse_ratio(other, own, np.arange(30))
    repeated = rmse_ratio(np.repeat(other, 5), np.repeat(own, 5), np.repeat(np.arange(30), 5))
    assert_allclose(apart, repeated)  # copies of a row say nothing more
    assert_allclose(rmse_ratio(np.r_[other, np.nan], np.r_[own, 1.0], np.arange(31)), apart)
    assert np.isnan(rmse_ratio(other, np.zeros(30), np.arange(30)).value)


def test_the_ratios_are_of_errors_averaged_over_runs(comparison):
    y = comparison.measured
    squared = {name: ((comparison[name].predicted - y) ** 2).mean(0) for name in ("PCA", "FDRMFL")}
    ratio = comparison.ratios["PCA", "y"]
    assert ratio.value == pytest.approx(np.sqrt(squared["PCA"].sum() / squared["FDRMFL"].sum()))
    assert ratio == rmse_ratio(squared["PCA"], squared["FDRMFL"], comparison.groups)
    assert f"{ratio.value:.3g} [{ratio.low:.3g}, {ratio.high:.3g}]" in comparison.to_table()


def test_json_gives_the_comparison_back(of_two, comparison):
    for result in (comparison, of_two[1]):
        back = Comparison.from_json(result.to_json())
        assert back.to_json() == result.to_json()
        assert back.to_table() == result.to_table()
        drawn = (one.plot(names=["PCA"]).axes[0].get_title() for one in (back, result))
        assert next(drawn) == next(drawn)
    for text in ("{}", "[1]", "no", '{"format": "other"}'):
        with pytest.raises(ValueError, match="this is no comparison in the form of this version"):
            Comparison.from_json(text)


class Reader(HTMLParser):
    """Checks that tags close, and gathers what a page would fetch and its text."""

    def __init__(self):
        super().__init__()
        self.open, self.fetched, self.text, self.rows = [], [], [], []

    def handle_starttag(self, tag, attributes):
        if tag == "tr":
            self.rows.append([])
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)
        self.fetched += [value for name, value in attributes if name in ("src", "href")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1].append(data)


def test_the_page_stands_by_itself_and_holds_every_number_and_message(of_two, monkeypatch):
    helpers.undrawn(monkeypatch)
    _, result = of_two
    settings = {
        "notes": ["a <b> & c"],
        "command": "skfdrmfl compare 'my data.csv'",
        "data": "a<b>.csv",
    } | result.settings
    result = replace(result, settings=settings)
    reader = Reader()
    reader.feed(result.to_html(title="Meat <1>", unit="%"))
    assert reader.open == []
    assert len(reader.fetched) == 2
    assert all(address.startswith("data:image/png;base64,") for address in reader.fetched)
    text = "".join(reader.text)
    for line in (
        "Meat <1>",
        "a <b> & c",
        "skfdrmfl compare 'my data.csv'",
        "FDRMFLTransformer(",
        "FDRMFL has an RMSE of",
    ):
        assert line in text
    for output in result.outputs:
        one = result.of(output)
        for method in one.methods:
            assert any(row[:1] == [method.name] and f"{method.r2.mean():.3f}" in row for row in reader.rows)
    assert [name for name, *_ in reader.rows if name in result.settings["versions"]] == list(
        result.settings["versions"]
    )
    kinds = {row["what"] for row in result.ledger["by_kind"]}
    assert kinds and kinds <= {row[0] for row in reader.rows if row}
    assert result.ledger["n_rows"] == 30


@pytest.mark.parametrize(
    ("own", "found"), [(0.5, "less than every rival"), (2.0, "more than the best rival"), (0.97, "about as much as")]
)
def test_the_verdict_says_who_errs_less_and_by_how_much(own, found):
    rng = np.random.default_rng(0)
    y, error = rng.standard_normal((2, 200))
    methods = []
    for name, size in (("mean predictor", 5.0), ("RidgeCV, all columns", 1.0), ("FDRMFL", own)):
        predicted = y + size * (error if size != own else rng.permutation(error))
        values = {"rmse": np.array([rmse(y, predicted)]), "r2": np.ones(1), "rpd": np.ones(1)}
        methods.append(MethodResult(name, predicted[None], **values, fit_seconds=0.1, client_r2={}))
    result = Comparison(tuple(methods), y, np.zeros((1, 200)), np.zeros(200), {"n_seeds": 1})
    text = verdict(result, "y", "g")
    assert found in text
    assert "RidgeCV, all columns" in text
    assert f"Predicting the mean has {methods[0].rmse[0]:.3g} g" in text


@pytest.mark.parametrize(
    ("error_alone", "own_rows", "said"),
    [
        (0.5, {"a": 0.9, "b": 0.9}, "Each client alone is better than together: it errs 0.5"),
        (2.0, {"a": 0.97, "b": 0.9}, "Better alone than together, on its own rows: a (R² 0.970 against 0.950)."),
        (2.0, {"a": 0.9502, "b": np.nan}, ""),
    ],
)
def test_the_verdict_says_so_where_a_client_alone_is_better(error_alone, own_rows, said):
    rng = np.random.default_rng(0)
    y, error = rng.standard_normal((2, 200))
    methods = []
    together = {"a": 0.95, "b": 0.95}
    for name, size, r2 in (
        ("mean predictor", 5.0, together),
        ("FDRMFL", 1.0, together),
        ("FDRMFL, each client alone", error_alone, own_rows),
    ):
        predicted = y + size * error
        values = {"rmse": np.array([rmse(y, predicted)]), "r2": np.ones(1), "rpd": np.ones(1)}
        methods.append(MethodResult(name, predicted[None], **values, fit_seconds=0.1, client_r2=r2))
    result = Comparison(tuple(methods), y, np.zeros((1, 200)), np.zeros(200), {"n_seeds": 1})
    text = result.verdict()
    assert said in text
    assert ("lone" in text) == bool(said)


@pytest.mark.slow
def test_what_is_finished_survives_an_interrupt():
    X, y, ids = table()
    calls = []

    def stop(done, total, name):
        calls.append(name)
        if name == "RidgeCV, all columns":
            raise KeyboardInterrupt

    with pytest.raises(ComparisonInterrupted) as interrupt:
        compare(X, y, ids, n_splits=2, n_seeds=1, transformer=Witness(), progress=stop)
    finished = interrupt.value.finished
    assert [method.name for method in finished.methods] == NAMES[:7]
    assert "Interrupted: methods and seeds that were not finished are missing." in finished.to_table()
    assert "least error" in finished.to_html()
    with pytest.raises(ComparisonInterrupted) as interrupt:
        compare(X, y, ids, transformer=Witness(), progress=lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    assert interrupt.value.finished is None


@pytest.mark.slow
def test_labels_in_a_frame_are_columns_to_rivals_and_categories_to_fdrmfl():
    X, y, ids = table()
    colours = np.array(["red", "green", "blue"])[np.arange(N) % 3]
    y = y + 3.0 * (colours == "red")
    frame = pd.DataFrame(X, columns=[f"x{j}" for j in range(20)]).assign(colour=colours)
    result = compare(frame, y, ids, n_splits=2, n_seeds=1, transformer=FDRMFLTransformer(n_rounds=1, tuning=None))
    one_hot = np.c_[np.eye(3)[np.searchsorted(["blue", "green", "red"], colours)], X]
    ridge = make_pipeline(StandardScaler(), RidgeCV(alphas=np.logspace(-6, 3, 10)))
    cv = KFold(2, shuffle=True, random_state=0)
    expected = cross_val_predict(ridge, one_hot, y, cv=cv)
    assert_allclose(result["RidgeCV, all columns"].predicted[0], expected, atol=1e-8)
    assert all(np.isfinite(method.predicted).all() for method in result.methods[:9])


def test_a_transformer_that_keeps_checkpoints_is_refused(tmp_path):
    X, y, ids = table()
    with pytest.raises(InvalidArgument, match="of which the many fits of a comparison would have one"):
        compare(X, y, ids, transformer=FDRMFLTransformer(checkpoint_path=tmp_path / "one", tuning=None))


def test_rows_that_look_corrupt_are_named_once_by_their_numbers_in_x_and_fits_of_folds_look_no_more(monkeypatch):
    class Enough(Exception):
        """All fits are known."""

    def stop(runs, *_):
        assert {run.model.get_params().get("suspects", "ignore") for run in runs} == {"ignore"}
        raise Enough

    monkeypatch.setattr("skfdrmfl.compare._compare.cross_validate", stop)
    X, y = load_tecator(return_X_y=True)
    X = X[:N].copy()
    X[41] *= 10.0
    with pytest.raises(Enough), pytest.warns(SuspectRowsWarning, match=r"1 other units; first: rows 41\)") as said:
        compare(X, y[:N], np.arange(N) % 3)
    assert len(said) == 1
