"""tuning="auto" and shrinkage="auto": what is compared, what is chosen, and that the choice is what is fitted."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.model_selection import GridSearchCV

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.data.held_out import EVERYTHING, N_FOLDS, inner_folds
from skfdrmfl.data.partition import Partition, within
from skfdrmfl.encoders import Conv1DEncoder
from skfdrmfl.fit.tuning import SHRINKAGES, Choice, Errors, Tuner
from skfdrmfl.protocol.queries.errors import CandidateErrors

rng = np.random.default_rng(0)
N = 60
AXES = rng.standard_normal((4, 12))
X = rng.standard_normal((N, 4)) @ AXES + 0.01 * rng.standard_normal((N, 12))
X_TEST = rng.standard_normal((500, 4)) @ AXES + 0.01 * rng.standard_normal((500, 12))
LINEAR = X[:, 0] - X[:, 3] + 0.01 * rng.standard_normal(N)
CURVED = np.abs(X[:, 0]) + np.cos(2 * X[:, 1])
NOISE = rng.standard_normal(N)
IDS = np.arange(N) % 3
OPTIONS = {"n_rounds": 8, "local_epochs": 3, "random_state": 0}


def errors_of(a, b):
    """What a client sends of the errors of a network and a ridge."""
    sent = CandidateErrors.of([(a, b)])
    return Errors(sent.sums[0], sent.products[0])


def folds_of(partition, seed):
    """Rows kept and rows held out in each fold in which there are both."""
    folds = [tuple(within(partition, side) for side in sides) for sides in inner_folds(EVERYTHING, seed)]
    return [(kept, held_out) for kept, held_out in folds if kept.rows and held_out.rows]


def tuned(y, **options):
    return FDRMFLTransformer(tuning="auto", **{**OPTIONS, **options}).fit(X, y, IDS)


@pytest.mark.parametrize("target", [CURVED, LINEAR])
def test_the_choice_is_listed_first_and_fitted_and_the_others_follow_by_their_errors(target):
    model = tuned(target)
    errors = [entry["validation_mse"] for entry in model.tuning_]
    assert errors[1:] == sorted(errors[1:])
    assert model.tuning_[0]["start"] == "ridge" or errors[0] <= errors[1]
    assert {entry["start"] for entry in model.tuning_} == {"random", "ridge", "residual"}
    assert len({entry["weight_decay"] for entry in model.tuning_}) == 2
    assert model.shrinkage_ == model.tuning_[0]["shrinkage"]


def test_a_linear_target_is_predicted_as_well_as_by_pooled_ridge():
    y_test = X_TEST[:, 0] - X_TEST[:, 3]
    pooled = RidgeCV(np.logspace(-6, 3, 10)).fit(X, LINEAR)
    ours, theirs, plain = (
        np.std(model.predict(X_TEST) - y_test)
        for model in (tuned(LINEAR), pooled, FDRMFLTransformer(**OPTIONS).fit(X, LINEAR, IDS))
    )
    assert ours < 1.1 * theirs < 0.5 * plain


def test_a_target_without_signal_costs_next_to_nothing():
    model = tuned(NOISE)
    plain = FDRMFLTransformer(**OPTIONS).fit(X, NOISE, IDS)
    excess = [np.mean((m.predict(X_TEST) - NOISE.mean()) ** 2) for m in (model, plain)]
    assert excess[0] < min(0.05, 0.5 * excess[1])  # of a variance of 1


def test_the_ridge_alone_takes_no_rounds_and_can_be_trained_on(monkeypatch, capsys):
    monkeypatch.setattr(Errors, "best_share", 1.0)  # no mixtures
    model = tuned(LINEAR, n_rounds=1, local_epochs=1, verbose=2)
    assert capsys.readouterr().out.count("tuning, fold") == N_FOLDS
    assert model.tuning_[0]["start"] == "ridge"
    assert model.n_rounds_ == len(model.history_["mse"]) == 0
    assert model.score(X, LINEAR) > 0.999
    assert model.diagnose() == [] and "no rounds" in str(model.diagnose())
    model.partial_fit(X, LINEAR, IDS)
    assert model.n_rounds_ == 1
    assert model.score(X, LINEAR) > 0.99
    assert "nothing found" in str(model.diagnose())


def test_a_ridge_with_early_stopping_keeps_the_weights_before_the_first_round():
    model = tuned(LINEAR, early_stopping=True)
    assert model.tuning_[0]["start"] == "ridge"
    assert model.best_round_ == model.n_rounds_ == len(model.history_["validation_mse"]) == 0
    assert model.score(X, LINEAR) > 0.999


@pytest.mark.parametrize(
    "options",
    [{"head_hidden_layer_sizes": (4,)}, {"encoders": Conv1DEncoder(kernel_size=3, skip=False)}, {"fusion": "gated"}],
    ids=["hidden head", "convolution", "gated"],
)
def test_networks_that_cannot_carry_a_ridge_are_tuned_without(options):
    assert {entry["start"] for entry in tuned(CURVED, n_rounds=2, **options).tuning_} == {"random"}


def test_wide_tables_are_compared_with_the_mean():
    wide = np.random.default_rng(2).standard_normal((30, 2100))
    model = FDRMFLTransformer(tuning="auto", preprocessing="standardize", n_rounds=1, local_epochs=1, random_state=0)
    model.fit(wide, NOISE[:30], IDS[:30])
    (alone,) = [entry for entry in model.tuning_ if entry["start"] == "ridge"]
    assert alone["penalty"] == np.inf
    # A network mixed with the mean is the same Z, smaller.
    assert all(entry["share"] == 1.0 for entry in model.tuning_ if entry["start"] == "random")
    assert_allclose(alone["validation_mse"], 1.05, atol=0.15)  # of standardised y, by the mean of other rows


def test_clients_who_cannot_hold_out_get_what_is_set():
    for given, used in (("auto", 2e-4), (0.05, 0.05)):
        model = FDRMFLTransformer(tuning="auto", shrinkage=given, **OPTIONS).fit(X[:1], NOISE[:1])
        assert [entry["start"] for entry in model.tuning_] == ["random"]
        assert model.shrinkage_ == used


@pytest.mark.parametrize("n_varying", [0, 1])
def test_a_modality_that_is_constant_in_all_rows_or_in_a_fold_changes_little(n_varying):
    block = np.zeros((N, 3))
    block[:n_varying] = 1.0
    options = {"tuning": "auto", "modalities": {"a": slice(0, 12), "b": slice(12, 15)}, **OPTIONS}
    model = FDRMFLTransformer(**options).fit(np.column_stack([X, block]), LINEAR, IDS)
    assert model.tuning_[0]["start"] == "ridge"
    assert model.score(np.column_stack([X, block]), LINEAR) > 0.999


def test_a_mean_of_codes_carries_no_ridge_as_rows_may_lack_a_modality_later():
    blocks = {"modalities": {"a": slice(0, 6), "b": slice(6, 12)}}
    assert {entry["start"] for entry in tuned(LINEAR, fusion="mean", n_rounds=2, **blocks).tuning_} == {"random"}
    assert tuned(LINEAR, fusion="mean", n_rounds=2).tuning_[0]["start"] == "ridge"


def test_a_decay_that_was_chosen_stays_and_one_that_was_set_can_be_set_anew():
    for tuning, alike in (("auto", True), (None, False)):
        fits = []
        for decay in (0.0, 50.0):
            model = FDRMFLTransformer(tuning=tuning, warm_start=True, **OPTIONS).fit(X, CURVED, IDS)
            fits.append(model.set_params(weight_decay=decay).fit(X, CURVED, IDS).predict(X))
        assert np.array_equal(*fits) == alike


def test_shrinkage_auto_compares_shrinkages_alone():
    model = FDRMFLTransformer(shrinkage="auto", **OPTIONS).fit(X, CURVED, IDS)
    assert sorted(entry["shrinkage"] for entry in model.tuning_) == sorted(SHRINKAGES)
    fixed = clone(model).set_params(shrinkage=model.shrinkage_).fit(X, CURVED, IDS)
    assert_array_equal(model.transform(X), fixed.transform(X))


def test_the_best_share_is_the_least_squares_one():
    a, b = np.random.default_rng(3).standard_normal((2, 50, 3))
    errors = errors_of(a[:20], b[:20]).plus(errors_of(a[20:], b[20:]))
    grid = np.linspace(0, 1, 1001)
    squares = [np.sum((s * a + (1 - s) * b) ** 2) for s in grid]
    assert_allclose(errors.best_share, grid[int(np.argmin(squares))], atol=1e-3)
    assert_allclose([errors.at(s) for s in grid], squares)


@pytest.mark.parametrize("share", [0.3, 1.0])
@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_better_is_clear_from_some_standard_errors_of_the_difference_on(share, factor):
    rng = np.random.default_rng(4)
    b = rng.standard_normal((80, 2))
    network = 0.95 * b + 0.3 * rng.standard_normal((80, 2))
    for scale in np.linspace(0.5, 1.0, 6):
        a = scale * network
        difference = (b**2).sum(1) - ((share * a + (1 - share) * b) ** 2).sum(1)
        ratio = difference.mean() / (difference.std() / np.sqrt(80))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("skfdrmfl.fit.tuning.CLEAR", factor * ratio)
            assert errors_of(a, b).clearly_better(share, 80) == (ratio > factor * ratio)


def test_a_network_that_is_better_by_chance_does_not_replace_the_ridge():
    straight = tuned(LINEAR)
    assert straight.tuning_[0]["start"] == "ridge"
    assert straight.tuning_[1]["validation_mse"] < 1.2 * straight.tuning_[0]["validation_mse"]
    assert tuned(CURVED, n_rounds=60).tuning_[0]["start"] == "random"


def test_a_mixture_predicts_what_its_network_and_the_ridge_do_in_their_shares(monkeypatch):
    def predicted(start, share):
        choice = Choice(start, 2e-4, 0.3, share, 1e-3)
        monkeypatch.setattr(Tuner, "everything", lambda *_, **__: [(choice, 1.0)])
        return tuned(CURVED).predict(X_TEST)

    ridge, network = predicted("ridge", 0.0), predicted("random", 1.0)
    assert np.abs(network - ridge).max() > 0.1
    assert_allclose(predicted("random", 0.25), 0.25 * network + 0.75 * ridge, atol=1e-4)


def test_a_search_whose_fits_end_in_a_ridge_works(monkeypatch):
    monkeypatch.setattr(Errors, "best_share", 1.0)
    model = FDRMFLTransformer(tuning="auto", n_rounds=1, local_epochs=1, random_state=0)
    search = GridSearchCV(model, {"mi_weight": [0.0, 0.01]}, cv=2).fit(X, LINEAR, client_ids=IDS)
    assert search.best_estimator_.n_rounds_ == 0
    assert search.best_score_ > 0.99


def test_candidates_that_diverge_are_last_and_the_ridge_stays():
    # Decay 1e9 at this rate multiplies weights by minus ten million a step.
    model = tuned(LINEAR, weight_decay=1e9, n_rounds=3)
    assert model.tuning_[0]["start"] == "ridge"
    assert {entry["validation_mse"] for entry in model.tuning_[1:]} == {np.inf}
    assert model.score(X, LINEAR) > 0.999


def test_searches_and_several_outputs_work():
    Y = np.stack([LINEAR, CURVED], 1)
    model = FDRMFLTransformer(tuning="auto", n_rounds=2, local_epochs=1, random_state=0)
    search = GridSearchCV(model, {"mi_weight": [0.0, 0.01]}, cv=2).fit(X, Y, client_ids=IDS)
    fold = slice(30, 60)
    alone = clone(model).set_params(mi_weight=0.0).fit(X[fold], Y[fold], IDS[fold])
    assert alone.score(X[:30], Y[:30]) == search.cv_results_["split0_test_score"][0]
    assert alone.predict(X).shape == (N, 2)


# ------------------------------------------------------------------------------- selected features


def test_the_l1_penalty_selects_columns_and_only_those_matter():
    Z = np.random.default_rng(1).standard_normal((200, 10))
    y = Z[:, 2] - Z[:, 7]
    model = FDRMFLTransformer(preprocessing="standardize", input_l1=1.0, n_rounds=20, random_state=0)
    model.fit(Z, y, np.arange(200) % 3)
    selected = model.selected_features_
    assert {2, 7} <= set(selected.tolist()) < set(range(10))
    others = np.setdiff1d(np.arange(10), selected)
    changed = Z.copy()
    changed[:, others] = 99.0
    assert_array_equal(model.transform(changed), model.transform(Z))


def test_whitening_selects_all_columns_that_vary():
    constant = np.column_stack([X, np.ones(N)])
    model = FDRMFLTransformer(n_rounds=1, random_state=0).fit(constant, CURVED)
    assert_array_equal(model.selected_features_, np.arange(12))


# ---------------------------------------------------------------------------- a network that beats the ridge


def test_a_network_clearly_better_than_the_ridge_is_listed_first_and_fitted_in_its_share():
    def curved(X):
        return X[:, 1] + 2 * np.abs(X[:, 0])  # half of it a ridge can say

    rng = np.random.default_rng(8)
    X, new = rng.standard_normal((150, 3)), rng.standard_normal((500, 3))
    y, ids = curved(X) + 0.1 * rng.standard_normal(150), np.arange(150) % 3
    options = {"n_rounds": 8, "local_epochs": 3, "learning_rate": 0.05, "batch_size": 16, "random_state": 0}
    model = FDRMFLTransformer(tuning="auto", **options).fit(X, y, ids)
    first, *others = model.tuning_
    assert first["start"] == "random"
    assert 0 < first["share"] < 1  # or the mixture below shows little
    errors = [entry["validation_mse"] for entry in model.tuning_]
    assert errors == sorted(errors)  # the ridge among the others, where its error puts it
    (alone,) = [entry for entry in others if entry["start"] == "ridge"]
    assert first["validation_mse"] < 0.2 * alone["validation_mse"]
    # Fitted is the network of these settings, and scikit-learn's ridge, in these shares.
    chosen = {name: first[name] for name in ("shrinkage", "weight_decay")}
    network = FDRMFLTransformer(**chosen, **options).fit(X, y, ids)
    top = np.linalg.eigvalsh(np.cov(X.T, bias=True))[-1]
    ridge = Ridge(alpha=first["penalty"] * len(X) * top).fit(X, y)
    mixed = first["share"] * network.predict(new) + (1 - first["share"]) * ridge.predict(new)
    assert_allclose(model.predict(new), mixed, atol=1e-5)
    assert np.mean((model.predict(new) - curved(new)) ** 2) < 0.1 * np.mean((ridge.predict(new) - curved(new)) ** 2)


# -------------------------------------------------------------------------------------- folds inside clients


@hypothesis.given(sizes=st.lists(st.integers(1, 12), min_size=1, max_size=6), seed=st.integers(0, 99))
def test_every_client_deals_its_rows_evenly_to_the_folds_and_each_row_is_held_out_at_most_once(sizes, seed):
    codes = np.repeat(np.arange(len(sizes)), sizes)
    partition = Partition.of_codes(codes)
    folds = folds_of(partition, seed)
    held_out_once: list[int] = []
    for kept, held_out in folds:
        assert kept.rows and held_out.rows
        assert min(len(rows) for rows in (*kept.rows, *held_out.rows)) > 0
        out = np.concatenate(held_out.rows)
        assert_array_equal(np.sort(np.concatenate([*kept.rows, out])), np.arange(len(codes)))
        for position, rows in zip(held_out.positions, held_out.rows, strict=True):
            assert set(codes[rows]) == {position}
        counts = np.bincount(codes[out], minlength=len(sizes))
        assert np.isin(counts - np.array(sizes) // N_FOLDS, [0, 1]).all()
        held_out_once += out.tolist()
    assert len(set(held_out_once)) == len(held_out_once)
    if max(sizes) >= N_FOLDS:  # each fold has rows, then
        assert len(folds) == N_FOLDS
        assert sorted(held_out_once) == list(range(len(codes)))


def test_clients_of_one_row_are_spread_over_the_folds():
    held_out = [fold.positions.tolist() for _, fold in folds_of(Partition.of_codes(np.arange(6)), 0)]
    assert sorted(map(len, held_out)) == [2, 2, 2]
    assert folds_of(Partition.of_codes(np.zeros(1, dtype=int)), 0) == []


def test_the_order_of_dealing_is_the_clients_own_and_the_seeds():
    def dealt(codes, seed):
        return [np.concatenate(fold.rows).tolist() for _, fold in folds_of(Partition.of_codes(codes), seed)]

    codes = np.repeat([0, 1], 9)
    assert dealt(codes, 3) == dealt(codes, 3) != dealt(codes, 4)
    first = [np.intersect1d(fold, np.arange(9)).tolist() for fold in dealt(codes, 3)]
    second = [np.setdiff1d(fold, np.arange(9)).tolist() for fold in dealt(codes, 3)]
    assert first == dealt(codes[:9], 3)  # whoever else is there
    assert sorted(first) != sorted([row - 9 for row in fold] for fold in second)
