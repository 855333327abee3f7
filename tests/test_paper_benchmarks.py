"""Laws of the protocols in benchmarks/paper: what is fair about them, and that their statistics are right."""

from __future__ import annotations

import importlib
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.decomposition import PCA

from skfdrmfl import FDRMFLTransformer

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks" / "paper"


@pytest.fixture(scope="module")
def paper():
    """The scripts' modules; they import each other as scripts in one folder do."""
    before, known = list(sys.path), set(sys.modules)
    sys.path.insert(0, str(FOLDER))
    names = ("cases", "treatments", "settings", "methods", "protocols", "_study", "report")
    scripts = ("lambda_grid", "term_search", "pretreatments")
    yield {name: importlib.import_module(name) for name in (*names, *scripts)}
    sys.path[:] = before
    for name in set(sys.modules) - known:
        if str(FOLDER) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def small_case(paper, n=60, **changes):
    """A linear table of 12 columns in two modalities; every row but the last ten occurs twice."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, 12))
    half = (n - 10) // 2
    X[half : 2 * half] = X[:half]
    groups = np.arange(n)
    groups[half : 2 * half] = groups[:half]
    table = paper["cases"].Table(X, X @ np.arange(12.0), {"nir": slice(0, 10), "wet": slice(10, 12)}, groups)
    table = replace(table, **changes)
    return paper["cases"].Case("small", "RMSE", lambda repeat: table, paper["cases"].grouped_folds), table


class Spy(TransformerMixin, BaseEstimator):
    """Keeps the first column of all rows it was fitted on."""

    seen: list = []

    def fit(self, X, y):
        Spy.seen.append(X[:, 0])
        return self

    def transform(self, X):
        return X[:, :2]


def test_no_test_row_reaches_a_reducer(paper):
    case, table = small_case(paper)
    Spy.seen = []
    paper["protocols"].fair(case, {"spy": paper["methods"].Method(lambda rows, seed: Spy())}, 0)
    splits = case.splits(table, 0)
    assert len(Spy.seen) == len(splits) == 5
    for seen, split in zip(Spy.seen, splits, strict=True):
        assert_array_equal(seen, table.X[split.train, 0])
        assert not np.isin(table.X[split.test, 0], seen).any()


def test_changed_test_labels_change_no_fitted_method(paper):
    """Each method's predictions for a fold are the same whatever the labels of its test rows are."""
    case, table = small_case(paper)
    (split, *_) = case.splits(table, 0)
    y = table.y.copy()
    y[split.test] = 1e3
    ids = np.arange(len(y)) % 3
    methods, protocols = paper["methods"], paper["protocols"]
    for name in (methods.RIDGE, "PCA, 2", "PLS, 16", "Ridge, all columns, each client alone"):
        found = [
            next(methods.ALL[name].fitted(protocols.training_rows("small", t, split, ids), 0))[0]
            for t in (table, replace(table, y=y))
        ]
        use = "predict" if hasattr(found[0], "predict") else "transform"
        assert_array_equal(*(getattr(f, use)(table.X[split.test]) for f in found))


def test_folds_keep_repeats_together(paper):
    case, table = small_case(paper)
    for repeat in range(5):
        splits = case.splits(table, repeat)
        assert_array_equal(np.sort(np.concatenate([s.test for s in splits])), np.arange(len(table.y)))
        for split in splits:
            assert not set(table.groups[split.train]) & set(table.groups[split.test])


def test_a_repeat_fixes_the_folds_and_another_draws_others(paper):
    case, table = small_case(paper)
    first, again, other = (case.splits(table, repeat)[0].test for repeat in (0, 0, 1))
    assert_array_equal(first, again)
    assert set(first) != set(other)


def test_inner_folds_keep_repeats_together(paper):
    case, table = small_case(paper)
    rows = paper["protocols"].training_rows("small", table, case.splits(table, 0)[0], np.zeros(60, dtype=int))
    for train, test in rows.inner_folds(3):
        assert not set(rows.groups[train]) & set(rows.groups[test])


def test_each_client_alone_sees_its_own_rows_only(paper):
    _, table = small_case(paper)
    ids = np.arange(len(table.y)) % 3
    split = paper["cases"].Split(np.arange(50), np.arange(50, 60))
    rows = paper["protocols"].training_rows("small", table, split, ids)
    Spy.seen = []
    list(paper["methods"].Method(lambda rows, seed: Spy(), alone=True).fitted(rows, 0))
    for client, seen in enumerate(Spy.seen):
        assert_array_equal(seen, table.X[np.flatnonzero(ids[:50] == client), 0])


def test_an_instrument_left_out_is_tested_on_samples_that_nobody_trained_on(paper):
    samples, instruments = np.tile(np.arange(20), 3), np.repeat(np.arange(3), 20)
    _, table = small_case(paper, groups=samples, clients=instruments)
    splits = paper["cases"].left_out_clients(table, 0)
    assert sorted(np.concatenate([s.test for s in splits])) == list(range(60))
    for split in splits:
        (left_out,) = set(instruments[split.test])
        assert left_out not in instruments[split.train]
        assert not set(samples[split.train]) & set(samples[split.test])


def test_the_published_split_of_tecator_trains_on_172_rows_and_tests_on_43(paper):
    (case,) = paper["cases"].select(["tecator-fat"], Path("nowhere"))
    (split,) = paper["cases"].original_split(case.table(0), 0)
    assert (len(split.train), len(split.test)) == (172, 43)


def test_paired_interval_is_that_of_scipy(paper):
    d = np.random.default_rng(1).normal(0.3, 2.0, 17)
    found = paper["protocols"].paired_interval(d)
    expected = stats.ttest_1samp(d, 0.0).confidence_interval(0.95)
    assert_allclose(found, (d.mean(), *expected), rtol=1e-12)


def test_paired_interval_for_new_rows_by_hand(paper):
    """Differences -1, 0, 1: s = 1, so half the width is t_{0.975}(2) sqrt(1/3 + 1/4)."""
    found = paper["protocols"].paired_interval([-1.0, 0.0, 1.0], test_to_train=0.25)
    half = 4.302652729911275 * np.sqrt(7.0 / 12.0)
    assert_allclose(found, (0.0, -half, half), rtol=1e-9, atol=1e-12)


def test_one_difference_says_nothing_about_its_spread(paper):
    assert paper["protocols"].paired_interval([0.7]) == (0.7, -np.inf, np.inf)


def test_snv_undoes_gain_and_offset_and_pretreatments_work_row_by_row(paper):
    X = np.random.default_rng(0).standard_normal((6, 30))
    snv = paper["treatments"].snv
    assert_allclose(snv(3.0 * X - 2.0), snv(X), atol=1e-12)
    for treat in paper["treatments"].PRETREATMENTS.values():
        assert_allclose(treat(X)[2:3], treat(X[2:3]), atol=1e-12)


def test_the_columns_put_back_hold_what_snv_takes_away(paper):
    X = np.random.default_rng(0).standard_normal((6, 30))
    treated = paper["treatments"].PRETREATMENTS["snv + mean + std"](X)
    assert treated.shape == (6, 32)
    assert_allclose(treated[:, :30] * treated[:, 31:] + treated[:, 30:31], X)
    assert_array_equal(paper["treatments"].PRETREATMENTS["snv + std"](X), np.delete(treated, 30, axis=1))


def rows_with_gains_of_their_own(paper, n=45):
    """y is the height of a band in a spectrum that each row multiplies by a gain; a second block is noise."""
    rng = np.random.default_rng(0)
    y, gain, place = rng.standard_normal(n), np.exp(0.5 * rng.standard_normal(n)), np.linspace(0.0, 1.0, 30)
    spectra = np.sin(2.0 * np.pi * place) + 0.1 * y[:, None] * np.exp(-50.0 * (place - 0.6) ** 2)
    nir = gain[:, None] * spectra + 1e-3 * rng.standard_normal((n, 30))
    X = np.column_stack([nir, rng.standard_normal((n, 2))])
    modalities = {"nir": slice(0, 30), "wet": slice(30, 32)}
    return paper["methods"].TrainingRows("corn-m5-oil", X, y, modalities, np.arange(n), np.arange(n) % 3)


def test_a_treatment_changes_the_spectrum_only(paper):
    rows = rows_with_gains_of_their_own(paper)
    for name in paper["treatments"].CHOICES:
        treated = paper["treatments"].on_columns(rows.X, name, rows.modalities["nir"])
        assert_array_equal(treated[:, 30:], rows.X[:, 30:])
        assert_array_equal(treated[:, :30], paper["treatments"].PRETREATMENTS[name](rows.X[:, :30]))


@pytest.mark.slow
def test_what_undoes_gains_is_chosen_for_rows_with_gains_and_all_rounds_follow(paper):
    rows, methods = rows_with_gains_of_their_own(paper), paper["methods"]
    ((chosen, _),) = methods.TREATMENT_CHOSEN[methods.TREATED].fitted(rows, 0)
    fdrmfl = chosen.named_steps["fdrmfl"]
    assert chosen.named_steps["treatment"].kw_args["name"] in ("snv", "snv + derivative")
    assert len(fdrmfl.history_["loss"]) in (0, FDRMFLTransformer().n_rounds)  # none where the ridge stays
    assert fdrmfl.n_rounds == FDRMFLTransformer().n_rounds
    assert_array_equal(fdrmfl.clients_, [0, 1, 2])


def test_a_treatment_that_is_not_clearly_better_is_not_chosen(paper):
    """y is noise: some treatment errs least on inner folds, none clearly."""
    rows, methods = rows_with_gains_of_their_own(paper), paper["methods"]
    noise = replace(rows, y=np.random.default_rng(1).standard_normal(len(rows.y)))
    for name in (methods.TREATED_RIDGE, methods.TREATED_PLS):
        clear, unclear = (methods.TREATMENT_CHOSEN[name].build(r, 0).named_steps["treatment"] for r in (rows, noise))
        assert clear.kw_args["name"] != "raw"
        assert unclear.kw_args["name"] == "raw"


def test_scatter_corrected_spectra_have_settings_of_their_own_and_variants_the_defaults(paper):
    settings, methods = paper["settings"], paper["methods"]
    assert settings.parameters("tecator-fat/snv + std")["shrinkage"] == 2e-2
    assert settings.parameters("tecator-water/T/snv + std")["shrinkage"] == 2e-2
    assert settings.parameters("tecator-fat-two/snv + mean + std")["shrinkage"] == 1e-2
    assert settings.parameters("tecator-fat/snv") == settings.parameters("tecator-fat") == {}
    _, table = small_case(paper)
    split = paper["cases"].Split(np.arange(50), np.arange(50, 60))
    rows = paper["protocols"].training_rows("corn-m5-oil", table, split, np.zeros(60, dtype=int))
    changed = methods.ALL[methods.AUTO].build(rows, 7).get_params(deep=False)
    default = FDRMFLTransformer(2, modalities=rows.modalities, random_state=7).get_params(deep=False)
    assert {k for k in default if changed[k] != default[k]} == {"tuning"}


def test_shares_of_an_additive_grid_have_no_interaction(paper):
    a, b, c = np.array([0.0, 1.0, 5.0]), np.array([0.0, 2.0]), np.zeros(2)
    found = paper["lambda_grid"].shares(a[:, None, None] + b[:, None] + c)
    variances = np.array([a.var(), b.var(), 0.0])
    assert_allclose(list(found.values())[:3], variances / variances.sum())
    assert_allclose(list(found.values())[3:], 0.0, atol=1e-15)


def test_shares_of_a_product_are_all_interaction_and_sum_to_one(paper):
    sign = np.array([-1.0, 1.0])
    found = paper["lambda_grid"].shares(sign[:, None, None] * sign[:, None] * np.ones(2))
    assert_allclose(list(found.values()), [0, 0, 0, 1, 0, 0, 0], atol=1e-15)
    random = np.random.default_rng(0).standard_normal((3, 4, 2))
    assert_allclose(sum(paper["lambda_grid"].shares(random).values()), 1.0)


def test_noise_on_labels_reaches_training_rows_only(paper):
    case, table = small_case(paper)
    splits = case.splits(table, 0)
    noisy, moved = paper["term_search"].noisy_labels(table, splits, 0)
    for before, after in zip(splits, moved, strict=True):
        assert_array_equal(noisy.y[after.test], table.y[before.test])
        assert_array_equal(noisy.X[after.test], table.X[before.test])
        assert np.all(noisy.y[after.train] != table.y[before.train])


@pytest.mark.parametrize("how", ["filled_in", "missing"])
def test_a_modality_missing_at_test_holds_training_means_or_nothing(paper, how):
    case, table = small_case(paper)
    splits = case.splits(table, 0)
    changed, moved = getattr(paper["term_search"], how)(table, splits, 0)
    for before, after in zip(splits, moved, strict=True):
        value = table.X[before.train, 10:].mean(axis=0) if how == "filled_in" else np.full(2, np.nan)
        assert_array_equal(changed.X[after.test, 10:], np.tile(value, (len(before.test), 1)))
        assert_array_equal(changed.X[after.test, :10], table.X[before.test, :10])
        assert_array_equal(changed.X[after.train], table.X[before.train])


def test_the_even_case_is_the_third_simulation_of_fewer_columns(paper):
    from skfdrmfl.datasets import make_simulation

    (case,) = paper["cases"].select(["even"], Path("nowhere"))
    table = case.table(0)
    *_, y3 = make_simulation(3, 2500, random_state=0)
    assert table.X.shape == (2500, 30)
    assert abs(np.corrcoef(table.X @ np.tile([1.0, 0.0, 0.0], 10), table.y)[0, 1]) < 0.1
    for moment in (np.mean, np.std, np.max):
        assert_allclose(moment(table.y), moment(y3), rtol=0.1)


def test_as_many_components_as_hold_the_variance(paper):
    X = np.random.default_rng(0).standard_normal((40, 15)) * np.arange(1, 16)
    expected = PCA(0.9, svd_solver="full").fit(X).n_components_
    for table in (X, X[:12]):
        expected = PCA(0.9, svd_solver="full").fit(table).n_components_
        assert paper["methods"].LikePCA(PCA()).fit(table).transform(table).shape[1] == expected


@pytest.mark.slow
def test_the_vae_repeats_itself_and_leaves_the_global_generator_alone(paper):
    import torch

    X = np.random.default_rng(0).standard_normal((40, 6))
    state = torch.get_rng_state()
    a, b = (paper["methods"].VAE(2, n_epochs=3, random_state=1).fit(X).transform(X) for _ in range(2))
    assert_array_equal(a, b)
    assert_array_equal(state, torch.get_rng_state())


@pytest.mark.slow
@pytest.mark.parametrize("how", ["as_it_is", "missing"])
def test_variants_in_one_pass_score_as_fits_one_by_one(paper, how):
    case, table = small_case(paper)
    table, splits = getattr(paper["term_search"], how)(table, case.splits(table, 0)[:2], 0)
    ids = np.arange(len(table.y)) % 3
    changes = {"a": {"n_rounds": 3, "mi_weight": 0.0}, "b": {"n_rounds": 3, "mi_weight": 0.5}}
    protocols, methods = paper["protocols"], paper["methods"]
    found = protocols.variants("small", table, splits, changes, 0, client_ids=ids)["scores"]
    for name, change in changes.items():
        method = methods.Method(methods.fdrmfl(**change), ids="client_ids")
        for fold, split in enumerate(splits):
            rows = protocols.training_rows("small", table, split, ids)
            behind = protocols.regressors(0)
            one = protocols.errors(method, rows, table.X[split.test], table.y[split.test], 0, behind)
            assert_allclose(found[name]["Ridge"][fold], one["Ridge"], rtol=1e-4)


def test_a_new_run_replaces_its_methods_and_keeps_the_others(paper, tmp_path, monkeypatch):
    case, _ = small_case(paper)
    study = paper["_study"]
    args = study.options(None, cases=[], repeats=1).parse_args(["--out", str(tmp_path)])
    for scores in ({"a": {"Ridge": [1.0]}, "b": {"Ridge": [2.0]}}, {"b": {"Ridge": [3.0]}}):
        study.each("trial", args, lambda case, r, s=scores: {"scores": s, "n_test": [1], "n_train": [4]}, [case])
    (record,) = study.stored("trial", tmp_path)["small"]
    assert record["scores"] == {"a": {"Ridge": [1.0]}, "b": {"Ridge": [3.0]}}


def test_the_report_pools_the_rows_of_a_repeat_and_pairs_within_it(paper):
    report = paper["report"]
    scores = {"a": {"Ridge": [1.0, 4.0]}, "b": {"Ridge": [4.0, 16.0]}}
    records = [{"error": "RMSE", "scores": scores, "n_test": [1, 3], "n_train": [4, 4]}] * 2
    assert_allclose(report.per_repeat(records, ("a", "Ridge")), np.sqrt(13.0 / 4.0))
    here, new = report.against(records, ("a", "Ridge"), ("b", "Ridge"))
    assert_allclose(here, -50.0)
    assert new.low < new.mean < new.high


def test_what_was_asked_is_compared_in_the_same_repeats(paper, tmp_path):
    """Ours is 0.3 against 0.2 in the only repeat with both; that the rival has 0.6 in another plays no part."""
    report, methods, study = paper["report"], paper["methods"], paper["_study"]
    case = replace(small_case(paper)[0], name="corn-m5-oil")
    rival, ours = {methods.RIDGE: {"itself": [0.04]}}, {methods.AUTO: {"Ridge": [0.09]}}
    for repeat, scores in enumerate((rival | ours, {methods.RIDGE: {"itself": [0.36]}})):
        args = study.options(None, cases=[], repeats=1).parse_args(["--out", str(tmp_path), "--first", str(repeat)])
        study.each("fair", args, lambda case, r, s=scores: {"scores": s, "n_test": [1], "n_train": [4]}, [case])
    header, rows = report.targets_table(tmp_path)["targets"]
    (row,) = rows
    found = dict(zip(header, row, strict=True))
    assert (found["case"], found["with"], found["asked"]) == ("corn-m5-oil", methods.AUTO, methods.RIDGE)
    assert_allclose([found["at_most"], found["ridge"]], [0.2, 0.3])
    assert (found["forest"], found["itself"], found["reached"]) == (None, None, "no")
    assert (found["repeats_below"], found["repeats"]) == (0, 1)


def test_a_table_without_records_leaves_its_file_and_one_with_records_replaces_it(paper, tmp_path):
    report = paper["report"]
    report.write({"t": (["a", "b"], [["x, y", 0.123456], [None, 7]])}, tmp_path)
    text = 'a,b\n"x, y",0.1235\n,7\n'
    assert (tmp_path / "t.csv").read_text() == text
    assert report.write({"t": (["a", "b"], [])}, tmp_path) == []
    assert (tmp_path / "t.csv").read_text() == text
    assert report.write({"t": (["a"], [[1]])}, tmp_path) == ["t"]
    assert (tmp_path / "t.csv").read_text() == "a\n1\n"


def test_the_files_of_the_paper_have_the_columns_that_the_report_writes(paper, tmp_path):
    report = paper["report"]
    made = {name: header for maker in report.MAKERS for name, (header, _) in maker(tmp_path).items()}
    files = {path.stem: path.read_text(encoding="utf-8").splitlines() for path in report.DATA.glob("*.csv")}
    assert {name: lines[0].split(",") for name, lines in files.items()} == made
    assert all(len(lines) > 1 for lines in files.values())
