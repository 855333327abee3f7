"""Rows that belong together: no split inside a client parts them, so that what is measured on rows held out is true."""

from fractions import Fraction
from math import ceil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import config_context
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from skfdrmfl import FDRMFLTransformer, IgnoreClients
from skfdrmfl.common.randomness import FOLDS, VALIDATION
from skfdrmfl.data.held_out import EVERYTHING, N_FOLDS, Split, inner_folds
from skfdrmfl.data.partition import Partition, blocks_of, within

# ------------------------------------------------------------------------------------------------ the leak

N_SAMPLES, N_COLUMNS = 60, 40


def samples(n, seed):
    """Samples of much noise and a weak signal."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, N_COLUMNS))
    return X, 0.4 * X[:, :3].sum(1) + rng.standard_normal(n)


def tuned(X, y, ids, groups=None):
    """A tuned fit of a few rounds, and the error that its tuning reports, in the units of y."""
    options = {"hidden_layer_sizes": (4,), "n_rounds": 4, "local_epochs": 2, "random_state": 0}
    model = FDRMFLTransformer(**options).fit(X, y, ids, groups=groups)
    return model, model.members_[0]["error"]


@pytest.mark.slow
def test_the_error_that_tuning_reports_of_repeated_rows_is_the_error_on_fresh_rows_once_groups_are_named():
    X, y = samples(N_SAMPLES, 0)
    ids, of_sample = np.repeat(["a", "b", "c"], N_SAMPLES // 3), np.repeat(np.arange(N_SAMPLES), 3)
    repeated = X[of_sample] + 0.01 * np.random.default_rng(1).standard_normal((3 * N_SAMPLES, N_COLUMNS))
    fresh_x, fresh_y = samples(2000, 2)

    def reached(model):
        return np.sqrt(np.mean((model.predict(fresh_x) - fresh_y) ** 2))

    model, reported = tuned(repeated, y[of_sample], ids[of_sample], of_sample)
    assert 1 / 1.2 < reported / reached(model) < 1.2
    _, of_unique_rows = tuned(X, y, ids)
    assert_allclose(reported, of_unique_rows, rtol=0.02)
    leaking, too_small = tuned(repeated, y[of_sample], ids[of_sample])
    assert too_small < 0.5 * reached(leaking)  # what groups are for


def test_rows_repeated_exactly_need_no_groups():
    X, y = samples(30, 0)
    ids, twice = np.repeat(["a", "b"], 15), np.repeat(np.arange(30), 2)
    models = [tuned(X[twice], y[twice], ids[twice], groups)[0] for groups in (None, twice)]
    assert models[0].members_ == models[1].members_
    assert_array_equal(models[0].transform(X), models[1].transform(X))


# ----------------------------------------------------------------------------------------- what stays together


def belonging(table, codes, groups):
    """Sets of rows that belong together, found by walking from row to row."""
    left, blocks = set(range(len(table))), []
    while left:
        found, frontier = set(), {left.pop()}
        while frontier:
            row = frontier.pop()
            found.add(row)
            near = {
                other
                for other in left
                if codes[other] == codes[row] and (groups[other] == groups[row] or (table[other] == table[row]).all())
            }
            left -= near
            frontier |= near
        blocks.append(found)
    return blocks


def sides(table, codes, groups, fraction=0.3, seed=0):
    """For each split inside clients, the row numbers of one of its sides."""
    partition = Partition.of_codes(codes)
    blocks = blocks_of(table, partition, groups)
    kept = Split(fraction, seed, False)
    subsets = [Split(fraction, seed, True), kept]
    subsets += [side for of in (EVERYTHING, kept) for pair in inner_folds(of, seed) for side in pair]
    found = []
    for subset in subsets:
        rows = within(partition, subset, blocks).rows
        found.append(set(np.concatenate(rows).tolist()) if len(rows) else set())
    return found


@given(seed=st.integers(0, 10**6), n=st.integers(1, 40), fraction=st.sampled_from([0.07, 0.3, 0.9]))
def test_no_split_parts_rows_of_a_client_that_belong_together(seed, n, fraction):
    rng = np.random.default_rng(seed)
    table = rng.integers(0, 4, (n, 2)).astype(float) * rng.choice([-1.0, 1.0], (n, 2))  # 0 and minus 0 are equal
    codes, groups = rng.integers(0, 3, n), rng.integers(0, n, n)
    blocks = belonging(table, codes, groups)
    held_out, kept, *folds = sides(table, codes, groups, fraction, seed)
    for side in (held_out, kept, *folds):
        assert all(block <= side or not block & side for block in blocks)
    assert held_out | kept == set(range(n))
    assert not held_out & kept
    for code in range(3):
        mine = [block for block in blocks if codes[min(block)] == code]
        n_rows, n_out = sum(map(len, mine)), sum(len(block) for block in mine if block <= held_out)
        if not mine:
            continue
        asked = ceil(Fraction(str(fraction)) * n_rows)
        assert n_out < n_rows  # never all
        assert n_out >= asked or len([block for block in mine if block <= kept]) == 1
        largest = max(len(block) for block in mine)
        assert n_out < asked + largest  # rounded up to whole blocks, and no further


def test_a_row_equal_to_one_and_of_a_group_with_another_ties_both():
    table = np.array([[1.0], [1.0], [2.0], [3.0]])
    for groups in ([0, 1, 1, 2], list("abbc")):
        labels = blocks_of(table, Partition.of_codes(np.zeros(4, dtype=np.int64)), np.array(groups))
        assert labels[0] == labels[1] == labels[2] != labels[3]


def test_a_group_at_several_clients_ties_rows_of_each_client_only():
    table, codes = np.arange(6.0)[:, None], np.array([0, 0, 0, 1, 1, 1])
    labels = blocks_of(table, Partition.of_codes(codes), np.array([7, 7, 8, 7, 9, 9]))
    assert labels[0] == labels[1]
    assert labels[4] == labels[5]
    assert len(np.unique(labels)) == 4
    equal = blocks_of(np.zeros((2, 1)), Partition.of_codes(np.array([0, 1])))
    assert equal is None  # equal rows, but nobody holds two of them


@given(n=st.integers(1, 60), seed=st.integers(0, 2**32), position=st.integers(0, 5))
def test_rows_that_differ_are_split_by_the_permutation_of_their_client_as_ever(n, seed, position):
    table = np.random.default_rng(0).standard_normal((n, 2))
    partition = Partition(np.array([position]), [np.arange(n)])
    assert blocks_of(table, partition) is None
    assert blocks_of(table, partition, np.arange(n)) is None  # groups of one row are no groups
    place = np.random.default_rng([seed, VALIDATION, position]).permutation(n)
    expected = np.flatnonzero((place < 0.25 * n) & (place < n - 1))
    rows = within(partition, Split(0.25, seed, True)).rows
    assert_array_equal(np.concatenate([*rows, []]), expected)
    place = np.random.default_rng([seed, FOLDS, position]).permutation(n)
    for number, (_, fold) in enumerate(inner_folds(EVERYTHING, seed)):
        rows = within(partition, fold).rows
        assert_array_equal(np.concatenate([*rows, []]), np.flatnonzero((place + position) % N_FOLDS == number))


@pytest.mark.sampled(3)
@pytest.mark.parametrize("options", [{"early_stopping": True}, {"tuning": "mixture"}, {}])
def test_groups_of_one_row_change_no_bit_and_larger_ones_do_where_rows_are_held_out(options):
    X, y = samples(30, 0)
    ids = np.repeat(["a", "b"], 15)
    settings = {"n_rounds": 2, "local_epochs": 1, "hidden_layer_sizes": (2,), "random_state": 0, "tuning": None}
    model = FDRMFLTransformer(**(settings | options))
    none, one, five = (
        (model.fit(X, y, ids, groups=groups).transform(X).tolist(), repr(model.members_))
        for groups in (None, np.arange(30), np.arange(30) // 5)
    )
    assert none == one
    assert (none == five) == (not options)


# ------------------------------------------------------------------------------------------------- the way there

X, Y = samples(36, 3)
IDS, GROUPS = np.repeat(["a", "b"], 18), np.arange(36) // 3
SMALL = {"n_rounds": 2, "local_epochs": 1, "hidden_layer_sizes": (2,), "random_state": 0, "early_stopping": True}


class Noting(TransformerMixin, BaseEstimator):
    """A transformer that would note groups, if any reached it."""

    def fit(self, X, y=None, **params):
        self.seen_ = sorted(params)
        return self

    def transform(self, X):
        return X


@pytest.fixture(scope="module")
def expected():
    """Z with groups, which differs from Z without."""
    with_groups, without = (
        FDRMFLTransformer(tuning=None, **SMALL).fit(X, Y, IDS, g).transform(X) for g in (GROUPS, None)
    )
    assert not np.array_equal(with_groups, without)
    return with_groups


@pytest.mark.parametrize("routing", [False, True])
def test_a_pipeline_takes_groups_by_name_of_the_step_or_routed_without_a_request(routing, expected):
    pipeline = Pipeline([("reduce", FDRMFLTransformer(tuning=None, **SMALL)), ("ridge", Ridge())])
    prefix = "" if routing else "reduce__"
    with config_context(enable_metadata_routing=routing):
        pipeline.fit(X, Y, **{f"{prefix}client_ids": IDS, f"{prefix}groups": GROUPS})
    assert_array_equal(pipeline[:-1].transform(X), expected)


@pytest.mark.parametrize("routing", [False, True])
def test_who_ignores_clients_ignores_groups(routing):
    pipeline = Pipeline([("reduce", IgnoreClients(Noting())), ("ridge", Ridge())])
    prefix = "" if routing else "reduce__"
    with config_context(enable_metadata_routing=routing):
        pipeline.fit(X, Y, **{f"{prefix}client_ids": IDS, f"{prefix}groups": GROUPS})
    assert pipeline["reduce"].estimator_.seen_ == []
    pca = IgnoreClients(PCA(2)).fit_transform(X, Y, client_ids=IDS, groups=GROUPS)
    assert_array_equal(pca, PCA(2).fit_transform(X))


@pytest.mark.slow
def test_searches_hand_groups_to_the_folds_and_to_every_fit():
    learner = FDRMFLTransformer(tuning=None, **SMALL)
    pipeline = Pipeline([("scale", StandardScaler()), ("reduce", learner), ("ridge", Ridge())])
    grid = {"reduce": [learner, IgnoreClients(PCA(2))]}
    cv = GroupKFold(3)
    with config_context(enable_metadata_routing=True):
        search = GridSearchCV(pipeline, grid, cv=cv, error_score="raise").fit(X, Y, client_ids=IDS, groups=GROUPS)
    scores = []
    for train, test in cv.split(X, Y, GROUPS):
        x = StandardScaler().fit(X[train]).transform
        model = FDRMFLTransformer(tuning=None, **SMALL).fit(x(X[train]), Y[train], IDS[train], GROUPS[train])
        z = model.transform
        scores.append(Ridge().fit(z(x(X[train])), Y[train]).score(z(x(X[test])), Y[test]))
    assert_allclose([search.cv_results_[f"split{i}_test_score"][0] for i in range(3)], scores, rtol=1e-6)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


# ---------------------------------------------------------------------------------------------- bad groups


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        (np.arange(35), "^groups has 35 entries but X has 36 rows; pass one"),
        (np.where(np.arange(36) == 4, np.nan, 1.0), "^groups is missing for 1 of 36 rows .first: row 4.*y and groups"),
        ([None, *"abc" * 11, "d", "e"], "^groups is missing for 1 of 36 rows"),
        (np.zeros((36, 2)), r"^groups has shape \(36, 2\)"),
        ([1, "a"] * 18, "^groups mixes labels of type"),
        ("a", "^groups is the single value 'a'"),
    ],
)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_bad_groups_are_named(groups, words, method):
    model = FDRMFLTransformer(n_rounds=1, tuning=None)
    with pytest.raises(ValueError, match=words):
        getattr(model, method)(X, Y, IDS, groups=groups)
    assert not hasattr(model, "n_features_in_")
