"""`domain` and the warning of `predict`: whoever holds which row, with missing modalities, saved, gone on."""

import copy
import pickle
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.covariance import EmpiricalCovariance
from sklearn.decomposition import PCA

from skfdrmfl import FDRMFLTransformer, OutsideDomainWarning
from skfdrmfl.method.domain import EDGES, counted

rng = np.random.default_rng(3)
N, P = 60, 12
X = 5 + rng.standard_normal((N, 3)) @ rng.standard_normal((3, P)) + 0.01 * rng.standard_normal((N, P))
Y = X[:, 0] - X[:, 5] + 0.1 * rng.standard_normal(N)
IDS = rng.permutation(np.repeat(["a", "b", "c"], [30, 20, 10]))
SMALL = {"n_rounds": 2, "local_epochs": 1, "hidden_layer_sizes": (3,), "modality_dim": 3, "random_state": 0}
ALONE = SMALL | {"tuning": None}
FAR = X.copy()
FAR[7, 2] += 30
OLD = Path(__file__).parents[1] / "data" / "model_0_2_0.npz"


def fit(x=X, y=Y, ids=IDS, **parameters):
    return FDRMFLTransformer(**(ALONE | parameters)).fit(x, y, client_ids=ids)


@pytest.fixture(scope="module")
def model():
    return fit()


@pytest.fixture(scope="module")
def mixture():
    return fit(tuning="mixture")


def by_pca(x, new, n_axes):
    """T2 and Q of new rows, by scikit-learn, of columns in units of the largest standard deviation."""
    scale = x.std(0).max()
    pca = PCA(n_axes).fit(x / scale)
    scores = pca.transform(new / scale)
    t2 = EmpiricalCovariance().fit(pca.transform(x / scale)).mahalanobis(scores)
    return t2, ((new / scale - pca.inverse_transform(scores)) ** 2).sum(1)


@pytest.mark.parametrize("kind", ["alone", "mixture"])
def test_t2_and_q_are_those_of_the_pca_of_pooled_rows(kind, request):
    fitted = request.getfixturevalue("model" if kind == "alone" else "mixture")
    table = fitted.domain(FAR)
    n_axes = len(fitted._fitted.domain.blocks["x"].variances) if "x" in fitted._fitted.domain.blocks else None
    n_axes = n_axes or len(next(iter(fitted._fitted.domain.blocks.values())).variances)
    t2, q = by_pca(X, FAR, n_axes)
    assert_allclose(table["T2"], t2, rtol=1e-8)
    assert_allclose(table["Q"], q, rtol=1e-8, atol=1e-14)


@pytest.mark.parametrize("tuning", [None, "mixture"])
def test_whoever_holds_which_row_the_domain_is_that_of_all_rows(tuning):
    tables = [fit(ids=ids, tuning=tuning).domain(FAR) for ids in (None, IDS, np.arange(N) % 7)]
    for table in tables[1:]:
        for name in ("T2", "T2_limit", "Q", "Q_limit"):
            assert_allclose(table[name], tables[0][name], rtol=1e-8, atol=1e-14)
        for name in ("inside", "moved_by"):
            assert_array_equal(table[name], tables[0][name])


def test_a_row_outside_is_named_with_its_column_and_the_table_is_one_of_pandas(mixture):
    table = mixture.domain(FAR)
    frame = pd.DataFrame(table)
    assert len(frame) == N and not frame["inside"][7]
    assert frame["moved_by"][7].split(", ")[0] == "2"
    assert (frame["moved_by"] == "").to_numpy()[frame["inside"]].all()
    assert "     7 " in repr(table) and repr(pickle.loads(pickle.dumps(table))) == repr(table)


def test_predict_warns_once_of_rows_far_outside_and_never_of_training_rows(model):
    with pytest.warns(OutsideDomainWarning, match="1 of 60 rows .*row 7") as caught:
        model.predict(FAR)
    assert len(caught) == 1 and caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.predict(X)
        model.transform(FAR)
        warnings.simplefilter("ignore", OutsideDomainWarning)
        model.predict(FAR)


def test_the_range_of_y_is_that_of_the_training_rows_rounded_outwards(model):
    ((low, high),) = model.domain(X).y_range
    assert Y.min() - 0.1 * Y.std() <= low <= Y.min() and Y.max() <= high <= Y.max() + 0.1 * Y.std()
    beyond = X + 40 * (X[Y.argmax()] - X.mean(0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OutsideDomainWarning)
        y_hat = model.predict(beyond)
    assert_array_equal(model.domain(beyond)["y_inside"], (low <= y_hat) & (y_hat <= high))


@pytest.mark.parametrize("ids", [None, IDS])
def test_rows_of_which_axes_leave_nothing_are_counted_as_their_columns_lie(ids):
    rows = np.random.default_rng(4).standard_normal((N, 7)) * np.arange(1, 8)
    rows[:9, 4:] = np.nan
    frame = pd.DataFrame(rows).rename(columns=str)
    frame["kind"] = pd.Categorical(np.where(np.arange(N) % 3, "dark", "light"))
    modalities = {"left": ["0", "1", "2", "3"], "right": ["kind", "4", "5", "6"]}
    frame.loc[:8, "kind"] = None
    domain = fit(frame, ids=ids, modalities=modalities)._fitted.domain
    for m, mine in enumerate((rows[:, :4], rows[9:, 4:])):
        t2 = EmpiricalCovariance().fit(mine).mahalanobis(mine)
        leverage = (1 + t2) / len(mine)
        expected = counted((t2 / (1 - leverage) / mine.shape[1])[:, None], EDGES)[0]
        assert_array_equal(domain.counts[m, 0], expected)
        assert domain.counts[m, 1, 0] == len(mine)


@pytest.mark.parametrize("tuning", [None, "mixture"])
def test_a_row_that_lacks_a_modality_is_judged_by_the_others(tuning):
    holes = X.copy()
    holes[:20, 8:] = np.nan
    parts = {"modalities": {"nir": list(range(8)), "lab": list(range(8, 12))}, "tuning": tuning}
    table = fit(holes, **parts).domain(np.where(np.isnan(holes), np.nan, FAR))
    only = fit(X[:, :8]).domain(FAR[:, :8])
    assert set(table["modality"][:20]) == {"nir"}
    assert_allclose(table["T2"][:20], only["T2"][:20], rtol=1e-8)
    assert not table["inside"][7] and table["moved_by"][7].startswith("2")


@pytest.mark.parametrize(
    "parameters",
    [
        {"preprocessing": "standardize"},
        {"preprocessing": None},
        {"pretreatment": "snv"},
        {"preprocessing": None, "pretreatment": "snv"},
        {"early_stopping": True},
        {"tuning": "mixture", "early_stopping": True},
        {"aggregation": "median"},
    ],
    ids=str,
)
def test_every_kind_of_fit_knows_its_domain(parameters):
    fitted = fit(**parameters)
    table = fitted.domain(FAR)
    assert not table["inside"][7] and table["inside"].sum() >= N - 4
    assert fitted.domain(X)["inside"].sum() >= N - 3


@pytest.mark.parametrize("tuning", [None, "mixture"])
def test_columns_without_preprocessing_are_standardised_by_pooled_moments(tuning):
    fitted = fit(X + 1e3, preprocessing=None, tuning=tuning)
    table = fitted.domain(FAR + 1e3)
    if tuning is None:
        assert_allclose(table["Q"], (((FAR - X.mean(0)) / X.std(0)) ** 2).sum(1), rtol=1e-6)
        assert not table["T2"].any() and not table["T2_limit"].any()
    else:
        n_axes = len(next(iter(fitted._fitted.domain.blocks.values())).variances)
        assert_allclose(table["T2"], by_pca(X, FAR, n_axes)[0], rtol=1e-7)


@pytest.mark.parametrize("tuning", [None, "mixture"])
def test_a_label_that_no_row_had_is_outside(tuning):
    frame = pd.DataFrame(X[:, :4], columns=list("rstu")).assign(kind=np.where(Y.mean() < Y, "high", "low"))
    fitted = fit(frame, tuning=tuning)
    with pytest.warns(UserWarning, match="1 of 60 labels of 'kind' are unknown"):
        table = fitted.domain(frame.assign(kind=["other", *frame["kind"][1:]]))
    assert not table["inside"][0] and table["moved_by"][0] == "kind"
    assert table["inside"][1:].sum() >= N - 4
    labels = fit(frame[["kind"]]).domain(frame[["kind"]])
    assert labels["inside"].all() and not labels["T2"].any()


def test_what_is_saved_is_loaded_and_an_older_file_says_what_it_lacks(mixture, tmp_path):
    mixture.save(tmp_path / "model.npz")
    table, loaded = mixture.domain(FAR), FDRMFLTransformer.load(tmp_path / "model.npz").domain(FAR)
    assert {name: list(values) for name, values in loaded.items()} == {k: list(v) for k, v in table.items()}
    older = copy.copy(mixture)
    older._keep(replace(mixture._fitted, domain=FDRMFLTransformer.load(OLD)._fitted.domain))
    older.predict(FAR)
    with pytest.raises(ValueError, match="earlier version"):
        older.domain(X)


def test_partial_fit_keeps_the_axes_and_counts_more_rows():
    fitted = FDRMFLTransformer(**ALONE).partial_fit(X[:40], Y[:40], client_ids=IDS[:40])
    before = fitted._fitted.domain
    fitted.partial_fit(X[40:], Y[40:], client_ids=IDS[40:])
    after = fitted._fitted.domain
    assert after.blocks is before.blocks
    assert (before.counts.sum((0, 2)) == 40).all() and (after.counts.sum((0, 2)) == N).all()


def test_with_privacy_there_is_no_domain_and_predict_says_nothing():
    private = {"preprocessing": "standardize", "dp_clip_norm": 1.0, "dp_bounds": {"X": (-9, 9), "y": (-9, 9)}}
    fitted = fit(**private)
    with pytest.raises(ValueError, match="with privacy"):
        fitted.domain(X)
    fitted.predict(FAR)


@pytest.mark.parametrize("level", [0, 1, 1.5, "0.9", None])
def test_a_level_that_is_no_share_is_refused(model, level):
    with pytest.raises(ValueError, match="level is"):
        model.domain(X, level)


def test_a_column_that_was_constant_says_nothing_and_values_too_large_are_outside():
    constant = X.copy()
    constant[:, 3] = 2.0
    fitted = fit(constant)
    changed = constant.copy()
    changed[0, 3], changed[1, 0] = 9.0, 1e200
    table = fitted.domain(changed)
    assert table["inside"][0] and not table["inside"][1]
