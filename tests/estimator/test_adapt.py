"""`adapt`: what it changes by plain loops over rows left out, what it leaves, its domain and intervals, refusals."""

import pickle
import warnings
from math import ceil

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import Ridge
from sklearn.preprocessing import normalize

from skfdrmfl import FDRMFLTransformer, OutsideDomainWarning, stack_modalities
from skfdrmfl.method.corrections import corrections
from skfdrmfl.method.reading import reached_by, shifted

rng = np.random.default_rng(7)
N, P, NEW = 90, 60, 12
CENTRES = np.array([12.0, 30.0, 44.0])


def spectra(amounts, shift=0.0, gain=1.0, offset=0.0, seed=0):
    """Three bands of unlike widths on a slope, as an instrument reads them, with a little noise."""
    at = np.arange(P) + shift
    bands = np.exp(-0.5 * ((at - CENTRES[:, None]) / np.array([[4.0], [7.0], [5.0]])) ** 2)
    noise = 1e-3 * np.random.default_rng(seed).standard_normal((len(amounts), P))
    return gain * (amounts @ bands + 0.01 * at + noise) + offset


AMOUNTS = 1.0 + rng.random((N + 2 * NEW, 3))
OLD, FEW, LATER = np.split(np.arange(len(AMOUNTS)), [N, N + NEW])
X, Y = spectra(AMOUNTS), AMOUNTS[:, 0] - 0.5 * AMOUNTS[:, 1]
SHIFT, GAIN, OFFSET = 2.37, 1.1, 0.2
MOVED = spectra(AMOUNTS, SHIFT, GAIN, OFFSET, seed=1)
IDS = np.repeat(["a", "b"], [50, 40])
SMALL = {"n_rounds": 15, "hidden_layer_sizes": (4,), "modality_dim": 3, "random_state": 0, "tuning": None}


def fit(x=X[OLD], y=Y[OLD], **parameters):
    return FDRMFLTransformer(**(SMALL | parameters)).fit(x, y, client_ids=IDS)


@pytest.fixture(scope="module")
def model():
    return fit()


@pytest.fixture(scope="module")
def mixture():
    return fit(tuning="mixture", n_rounds=2)


def left_out(fitted, x, y, how):
    """Errors of rows, each by a model that was adapted to the others."""
    others = [np.delete(np.arange(len(y)), i) for i in range(len(y))]
    return np.array([fitted.adapt(x[o], y[o], how).predict(x[i : i + 1])[0] - y[i] for i, o in enumerate(others)])


@pytest.mark.parametrize("how", ["bias", "slope", "input"])
def test_errors_are_those_of_a_loop_over_rows_left_out(model, how):
    x, y = MOVED[FEW[:7]], Y[FEW[:7]]
    (tried,) = model.adapt(x, y, how).adapted_
    assert tried["error"] == pytest.approx(np.sqrt((left_out(model, x, y, how) ** 2).mean()), rel=1e-6)


def test_bias_and_slope_are_least_squares_and_leave_z_of_a_network(model):
    raw = model.predict(X[FEW])
    bias, slope = (model.adapt(X[FEW], 2.0 * raw - 1.0, how) for how in ("bias", "slope"))
    assert_allclose(slope.predict(X[LATER]), 2.0 * model.predict(X[LATER]) - 1.0, rtol=1e-6)
    assert_allclose((slope.adapted_.slope, slope.adapted_.bias), (2.0, -1.0), rtol=1e-6)
    assert_allclose(bias.predict(X[LATER]), model.predict(X[LATER]) + raw.mean() - 1.0, rtol=1e-6)
    assert_array_equal(slope.transform(X[LATER]), model.transform(X[LATER]))


def test_a_head_is_a_ridge_on_whitened_scores_which_is_chosen_by_rows_left_out(model):
    tilted = Y[FEW] + 0.5 * (AMOUNTS[FEW, 2] - 1.5)
    adapted = model.adapt(X[FEW], tilted, "head")
    wanted = Y[LATER] + 0.5 * (AMOUNTS[LATER, 2] - 1.5)
    error, before = (np.abs(m.predict(X[LATER]) - wanted).mean() for m in (adapted, model))
    assert error < 0.5 * before
    assert adapted.adapted_.how == "head"


def test_the_axis_gain_and_offset_of_an_instrument_are_found_without_y(model):
    adapted = model.adapt(MOVED[FEW], Y[FEW], "input")
    (read,) = adapted.adapted_.axis.values()
    assert read["shift"] == pytest.approx(SHIFT, abs=0.05)
    assert read["gain"] == pytest.approx(1 / GAIN, rel=0.1)
    with warnings.catch_warnings(action="ignore", category=OutsideDomainWarning):
        error, before, same = (
            np.sqrt(((m.predict(x[LATER]) - Y[LATER]) ** 2).mean())
            for m, x in ((adapted, MOVED), (model, MOVED), (model, X))
        )
    assert error < 2 * same < 0.5 * before


@pytest.mark.parametrize("shift", [-3.0, -0.25, 0.0, 0.5, 2.0])
def test_a_cubic_is_shifted_exactly_where_its_channels_are(shift):
    at = np.arange(12.0)
    coefficients = rng.standard_normal((2, 4))
    rows = np.stack([np.polyval(c, at) for c in coefficients])
    reached = reached_by(shift, 12)
    wanted = np.stack([np.polyval(c, at - shift) for c in coefficients])
    assert_allclose(shifted(rows, shift)[:, reached], wanted[:, reached], rtol=1e-9, atol=1e-9)
    inside = (at - shift >= 0) & (at - shift <= 11)
    assert (reached <= inside).all() and reached.sum() >= inside.sum() - 3


def test_auto_changes_nothing_for_an_instrument_of_the_fit_and_no_more_than_it_takes(model):
    same = model.adapt(X[FEW], model.predict(X[FEW]) + 1e-3 * rng.standard_normal(NEW))
    assert same.adapted_.how == "none"
    assert_array_equal(same.predict(X[LATER]), model.predict(X[LATER]))
    assert model.adapt(X[FEW], Y[FEW] + 3.0).adapted_.how == "bias"
    moved = model.adapt(MOVED[FEW], Y[FEW]).adapted_
    assert moved.how.startswith("input and ")
    (chosen,) = (row for row in moved if row["chosen"])
    assert chosen["how"] == moved.how
    text = repr(moved)
    assert "channels" in text and f"{NEW} rows" in text


def test_the_model_that_is_adapted_stays_as_it_is(model):
    before, domain = model.predict(X), model.domain(X)
    adapted = model.adapt(MOVED[FEW], Y[FEW])
    assert_array_equal(model.predict(X), before)
    assert_array_equal(model.domain(X)["T2"], domain["T2"])
    assert adapted is not model and not hasattr(model, "adapted_")
    assert adapted.get_params() == model.get_params()


def test_heads_are_ridges_of_penalties_that_fall_tenfold_and_err_by_each_row_as_if_it_had_been_left_out():
    rng = np.random.default_rng(0)
    scores, off = rng.standard_normal((9, 3)), rng.standard_normal((9, 2))
    found = corrections(off, np.zeros_like(off), scores, ["head"])
    for penalty, head in zip((100, 10, 1, 0.1, 0.01), found, strict=True):
        assert_allclose(head.weights, Ridge(penalty * 9).fit(scores, off).coef_.T, rtol=1e-9)
        for i, kept in enumerate(~np.eye(9, dtype=bool)):
            without = Ridge(penalty * 9).fit(scores[kept], off[kept])
            assert_allclose(head.errors[i], off[i] - without.predict(scores[i : i + 1])[0], rtol=1e-9)


@pytest.mark.parametrize("kind, how", [("model", "auto"), ("model", "head"), ("mixture", "input")])
def test_it_comes_back_from_a_file_with_the_same_bits(kind, how, request, tmp_path):
    adapted = request.getfixturevalue(kind).adapt(MOVED[FEW], Y[FEW], how)
    adapted.save(tmp_path / "new.npz")
    for back in (FDRMFLTransformer.load(tmp_path / "new.npz"), pickle.loads(pickle.dumps(adapted))):
        for ask in ("predict", "transform", "predict_interval"):
            assert_array_equal(getattr(back, ask)(MOVED[LATER]), getattr(adapted, ask)(MOVED[LATER]))
        assert_array_equal(back.domain(MOVED)["Q"], adapted.domain(MOVED)["Q"])
        assert repr(back.adapted_) == repr(adapted.adapted_)


def test_rows_are_predicted_alone_as_among_others(mixture):
    adapted = mixture.adapt(MOVED[FEW], Y[FEW], "input")
    alone = [adapted.predict(MOVED[i : i + 1])[0] for i in LATER]
    assert_array_equal(alone, adapted.predict(MOVED[LATER]))


def test_z_of_a_mixture_follows_its_prediction(mixture):
    adapted = mixture.adapt(X[FEW], 3.0 * Y[FEW] + 1.0, "slope")
    by_prediction = np.corrcoef(adapted.transform(X)[:, 0], adapted.predict(X))[0, 1]
    assert by_prediction == pytest.approx(1.0, abs=1e-9)
    assert adapted.transform(X)[:, 0].std() > 2.0 * mixture.transform(X)[:, 0].std()


@pytest.mark.parametrize("how", ["slope", "input", "head"])
def test_jacobians_are_finite_differences_of_predictions(mixture, how):
    adapted = mixture.adapt(MOVED[FEW], Y[FEW], how)._fitted
    row, step = MOVED[LATER[:1]], 1e-5
    (found,) = adapted.jacobians(row, None)
    ends = (row + sign * step * np.eye(P) for sign in (1, -1))
    after, before = (adapted.evaluate(end, None)[1] for end in ends)
    assert_allclose(found[0, 0], (after - before) / (2 * step), rtol=1e-4, atol=1e-6)


def test_the_domain_lies_around_the_new_rows_and_still_finds_a_corrupt_one(model):
    far = MOVED + np.linspace(0.0, 1.0, P)
    with pytest.warns(OutsideDomainWarning):
        model.predict(far[LATER])
    adapted = model.adapt(far[FEW], Y[FEW], "bias")
    with warnings.catch_warnings():
        warnings.simplefilter("error", OutsideDomainWarning)
        adapted.predict(far[LATER])
    assert adapted.domain(far[FEW])["inside"].mean() > 0.9
    assert adapted.domain(far[LATER])["inside"].mean() > 0.9
    corrupt = far[LATER].copy()
    corrupt[:, 20:32] *= 1.5
    assert not adapted.domain(corrupt)["inside"].any()


def test_intervals_reach_as_far_as_rows_left_out_erred(model):
    adapted = model.adapt(X[FEW], Y[FEW], "bias")
    errors = np.sort(np.abs(left_out(model, X[FEW], Y[FEW], "bias")))
    ends = adapted.predict_interval(X[FEW[:1]], 0.8)
    assert np.diff(ends)[0, 0] / 2 == pytest.approx(errors[ceil(0.8 * (NEW + 1)) - 1], rel=0.026)
    with pytest.raises(ValueError, match="take 19"):
        adapted.predict_interval(X, 0.95)
    with pytest.raises(ValueError, match=f"adapted to {NEW} rows"):
        adapted.predict_interval(X, 0.95)
    assert_array_equal(
        adapted.predict_interval(X[:2], 0.8, client_ids=["a", "b"]), adapted.predict_interval(X[:2], 0.8)
    )


def test_a_warning_of_rows_that_say_less_than_their_mean_y_names_the_other_steps_of_a_pipeline():
    behind = fit(normalize(X[OLD] - 1.0))  # which loses the size of rows
    for few in (FEW, FEW[:10], FEW[:4]):
        with pytest.warns(UserWarning, match=rf"adapted to {len(few)} rows .* pipeline\[:-1\]"):
            behind.adapt(X[few], Y[few][::-1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        behind.adapt(normalize(X[FEW] - 1.0), Y[FEW])


def test_each_output_is_adapted_by_itself():
    both = np.stack((Y, AMOUNTS[:, 2]), 1)
    model = fit(y=both[OLD])
    raw = model.predict(X[FEW])
    adapted = model.adapt(X[FEW], np.stack((raw[:, 0], raw[:, 1] + 2.0 + 0.01 * rng.standard_normal(NEW)), 1))
    assert adapted.adapted_.how == ["none", "bias"]
    assert_allclose(adapted.predict(X[LATER])[:, 0], model.predict(X[LATER])[:, 0], rtol=1e-12)
    assert_allclose(adapted.adapted_.bias, [0.0, 2.0], atol=0.02)


def test_rows_may_lack_a_modality_and_the_other_one_is_moved_by_itself():
    table, modalities = stack_modalities({"nir": X, "lab": AMOUNTS[:, 2:] + 0.1 * rng.standard_normal((len(X), 1))})
    table[:20, P:] = np.nan
    model = fit(table[OLD], modalities=modalities)
    few = np.column_stack((MOVED[FEW], table[FEW, P:]))
    few[0, P:] = np.nan
    adapted = model.adapt(few, Y[FEW], "input")
    assert list(adapted.adapted_.axis) == ["nir"]
    assert adapted.adapted_.axis["nir"]["shift"] == pytest.approx(SHIFT, abs=0.1)
    few[:, :P] = np.nan
    few[0, P:] = 1.0
    assert np.isfinite(adapted.predict(few)).all()
    with pytest.raises(ValueError, match="no modality is a spectrum"):
        model.adapt(few, Y[FEW], "input")


def test_a_private_model_takes_a_slope_and_spends_nothing():
    public = {"X": (0.0, 5.0), "y": (-2.0, 3.0)}
    private = {"dp_noise_multiplier": 1.0, "dp_clip_norm": 1.0, "dp_bounds": public, "preprocessing": "standardize"}
    model = FDRMFLTransformer(**(SMALL | private)).fit(X[OLD], Y[OLD], client_ids=np.arange(N) % 20)
    adapted = model.adapt(X[FEW], model.predict(X[FEW]) + 5.0)
    assert adapted.adapted_.how == "bias"
    assert adapted._fitted.account is model._fitted.account
    assert adapted.predict_interval(X[LATER]).shape == (NEW, 2)
    with pytest.raises(ValueError, match="privacy"):
        model.adapt(X[FEW], Y[FEW], "head")


@pytest.mark.parametrize("how, least", [("auto", 2), ("bias", 2), ("slope", 4), ("input", 5), ("head", 6)])
def test_too_few_rows_are_refused_with_the_number_it_takes(model, how, least):
    with pytest.raises(ValueError, match=f"takes {least} .*'head' 6"):
        model.adapt(X[FEW[: least - 1]], Y[FEW[: least - 1]], how)
    assert np.isfinite(model.adapt(X[FEW[:least]], Y[FEW[:least]], how).predict(X)).all()


def test_what_is_written_for_no_value_is_named_and_values_of_that_size_are_not(model):
    x, y = X[FEW].copy(), Y[FEW].copy()
    y[3], x[5, 7] = -999.0, 9999.0
    with pytest.warns(UserWarning, match="y is -999 in row 3"), pytest.warns(UserWarning, match="X is 9999 in row 5"):
        model.adapt(x, y, "bias")
    large = fit(y=100.0 * Y[OLD] + 900.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        large.adapt(X[FEW], np.where(np.arange(NEW) == 3, 999.0, 100.0 * Y[FEW] + 900.0), "bias")


@pytest.mark.parametrize(
    "change, says",
    [
        ({"y": np.where(np.arange(NEW) == 1, np.nan, Y[FEW])}, "y contains NaN"),
        ({"X": np.where(np.arange(P) == 1, np.nan, X[FEW])}, "NaN"),
        ({"X": X[FEW, 1:]}, "features"),
        ({"y": Y[FEW[1:]]}, r"pass \(12,\)"),
        ({"y": np.stack((Y[FEW], Y[FEW]), 1)}, r"pass \(12,\)"),
        ({"y": Y[FEW].astype(str) + " %"}, r"y cannot be read as numbers \(.*%.*\); pass"),
        ({"how": "pds"}, "'pds'"),
        ({"X": X[FEW] * 1e200}, "beyond 1e.50, whose squares overflow"),
        ({"y": Y[FEW] * 1e300}, "beyond 1e.50, whose squares overflow"),
        ({"y": np.ones(NEW), "how": "slope"}, 'y is the same in all rows.*"bias"'),
    ],
)
def test_what_cannot_be_is_refused(model, change, says):
    with pytest.raises(ValueError, match=says):
        model.adapt(**({"X": X[FEW], "y": Y[FEW]} | change))


@pytest.mark.parametrize("bias", [0.1, 1.0])
def test_what_a_bias_mends_exactly_takes_no_more_than_a_bias(model, bias):
    assert model.adapt(X[FEW], model.predict(X[FEW]) + bias).adapted_.how == "bias"


def test_float32_is_adapted_to_without_a_warning(model):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.adapt(X[FEW].astype(np.float32), np.full(NEW, Y.mean()))


def test_rows_of_one_y_say_nothing_of_a_slope(model):
    tried = {row["how"].split()[-1] for row in model.adapt(X[FEW], np.ones(NEW)).adapted_}
    assert tried == {"none", "bias"}


def test_an_adapted_model_is_neither_adapted_again_nor_trained_on(model):
    adapted = model.adapt(X[FEW], Y[FEW], "bias")
    with pytest.raises(ValueError, match="adapted already"):
        adapted.adapt(X[FEW], Y[FEW])
    with pytest.raises(ValueError, match="go on from the model"):
        adapted.partial_fit(X[FEW], Y[FEW], client_ids=np.repeat("a", NEW))
    assert adapted.fit(X[OLD], Y[OLD]) is adapted and not hasattr(adapted, "adapted_")


def test_many_rows_are_left_out_in_parts_and_end_near_few(model):
    adapted = model.adapt(MOVED[OLD], Y[OLD], "input")
    (many,), (few,) = adapted.adapted_.axis.values(), model.adapt(MOVED[FEW], Y[FEW], "input").adapted_.axis.values()
    assert many["shift"] == pytest.approx(few["shift"], abs=0.05)
    error = np.sqrt(((adapted.predict(MOVED[OLD]) - Y[OLD]) ** 2).mean())
    assert adapted.adapted_[0]["error"] == pytest.approx(error, rel=0.1)
