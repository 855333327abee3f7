"""The parameter `pretreatment`: fits of pre-treated rows, and what they go with."""

import pickle

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.signal import savgol_filter
from wire import fit_over, wire_of

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.datasets import load_tecator
from skfdrmfl.encoders import CategoricalEncoder, Conv1DEncoder, Conv2DEncoder, RecurrentEncoder
from skfdrmfl.fit.fit_preprocessing import MEMO
from skfdrmfl.protocol.queries import whitening
from skfdrmfl.views import VIEWS
from skfdrmfl.views.snv import SNV

X, Y = load_tecator(return_X_y=True)
X, Y = X[:90, ::4].copy(), Y[:90]  # 25 columns
IDS = np.arange(90) % 3
SMALL = {"n_rounds": 3, "local_epochs": 2, "random_state": 0}
TWO = {"modalities": {"a": slice(0, 12), "b": slice(12, None)}}
HOLES = np.where((np.arange(90) % 4 == 0)[:, None] & (np.arange(25) >= 12), np.nan, X)
KIND = np.where(Y > 20, "up", "down")
FRAME = pd.DataFrame(X, columns=[f"c{j}" for j in range(25)]).assign(kind=KIND)
ONE = {"modalities": {"all": slice(None)}}


def fitted(pretreatment, table=X, y=Y, ids=IDS, **parameters):
    model = FDRMFLTransformer(**({"tuning": None} | SMALL | parameters), pretreatment=pretreatment)
    return model.fit(table, y, client_ids=ids)


def snv(x, spread=None):
    """Rows pre-treated by hand; the appended columns have the root mean square spread of the others."""
    z = (x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True)
    appended = np.column_stack([x.mean(1), np.log(x.std(1))])
    spread = np.sqrt(z.var(0).mean()) / appended.std(0) if spread is None else spread
    return np.column_stack([z, appended * spread]), spread


def sg1(x):
    return savgol_filter(x, 5, 2, deriv=1)


# ---------------------------------------------------------------------------- the rows that users would pass


@pytest.mark.parametrize("parameters", [{}, {"preprocessing": "standardize"}, {"engine": "torch"}])
def test_snv_is_the_fit_of_rows_that_were_corrected_before(parameters):
    corrected, spread = snv(X[:60])
    by_hand = fitted(None, corrected, Y[:60], IDS[:60], **parameters)
    found = fitted("snv", X[:60], Y[:60], IDS[:60], **parameters)
    assert_allclose(found.predict(X), by_hand.predict(snv(X, spread)[0]), rtol=1e-6)
    assert_allclose(found.transform(X), by_hand.transform(snv(X, spread)[0]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("preprocessing", ["whiten", "standardize", None])
def test_a_derivative_is_the_fit_of_rows_that_were_derived_before(preprocessing):
    by_hand = fitted(None, sg1(X), preprocessing=preprocessing)
    found = fitted("sg1", preprocessing=preprocessing)
    assert_allclose(found.predict(X), by_hand.predict(sg1(X)), rtol=1e-6)
    assert_allclose(found.history_["loss"], by_hand.history_["loss"], rtol=1e-5)


def test_appended_columns_have_the_spread_of_the_others_whether_these_share_a_scale_or_not():
    block = fitted("snv")._fitted.table.blocks["x"]
    after = ((VIEWS["snv"].apply(X) - block.mean) / block.scale).std(0)
    assert_allclose(after[25:], np.sqrt(np.mean(after[:25] ** 2)), rtol=1e-6)
    nothing, one, unlike = np.zeros(3), np.array([3.0, 4.0, 0.0]), np.array([1.0, 500.0, 0.0])
    for others, spread in ((nothing, 1.0), (one, np.sqrt(12.5) / 4), (unlike, 1.0)):
        scale = whitening.whitening_scale(np.concatenate([others, [7.0, 0.0]]), SNV())
        assert_allclose(scale[:3], whitening.whitening_scale(others))
        assert_allclose(scale[3:], [7.0 / spread, np.inf])


def test_a_block_too_wide_for_its_moments_has_the_axes_of_one_that_is_not(monkeypatch):
    exact = fitted("snv").predict(X)
    monkeypatch.setattr(whitening, "MAX_EXACT_COLUMNS", 20)
    monkeypatch.setattr(whitening, "RANGE_DIMENSIONS", 27)
    MEMO.clear()
    assert_allclose(fitted("snv").predict(X), exact, rtol=1e-6)


@pytest.mark.parametrize("pretreatment", VIEWS)
def test_preprocessing_is_that_of_pooled_rows_whoever_holds_which(pretreatment):
    blocks = [
        fitted(pretreatment, ids=ids)._fitted.table.blocks["x"] for ids in (None, IDS, np.repeat([0, 1, 2], [1, 9, 80]))
    ]
    for block in blocks[1:]:
        assert_allclose(block.mean, blocks[0].mean, rtol=1e-10, atol=1e-12)
        assert_allclose(block.scale, blocks[0].scale, rtol=1e-10)
        assert_allclose(block.apply(X), blocks[0].apply(X), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("parameters", [{}, TWO, {"early_stopping": True}, {"n_rounds": 1}])
def test_auto_and_none_are_the_columns_as_they_are(parameters):
    table = HOLES if "modalities" in parameters else X
    plain, auto = (
        FDRMFLTransformer(**({"tuning": None} | SMALL | parameters), **p) for p in ({"pretreatment": None}, {})
    )
    for model in (plain, auto):
        model.fit(table, Y, client_ids=IDS)
    assert auto._fitted.models.tobytes() == plain._fitted.models.tobytes()
    assert all(block.view is None for block in auto._fitted.table.blocks.values())


# ----------------------------------------------------------------------------------------------- row by row


@pytest.mark.parametrize("pretreatment", VIEWS)
def test_a_prediction_depends_on_no_other_row(pretreatment):
    model = fitted(pretreatment)
    table, whole = model._fitted.table, model.predict(X)
    inputs = table.apply(X, np.dtype(float))
    for rows in (slice(0, 1), slice(3, 5), slice(0, 49)):
        assert_array_equal(table.apply(X[rows], np.dtype(float)), inputs[rows])
        assert_allclose(model.predict(X[rows]), whole[rows], rtol=1e-12)


@pytest.mark.sampled()
@pytest.mark.filterwarnings("ignore::skfdrmfl.OutsideDomainWarning")  # a row of zeros is unlike all others
@pytest.mark.parametrize("pretreatment", VIEWS)
@pytest.mark.parametrize("preprocessing", ["whiten", "standardize", None])
def test_fewer_rows_than_columns_and_constant_rows_leave_everything_finite(pretreatment, preprocessing):
    table = X[:7].copy()
    table[2] = 3.0
    model = fitted(pretreatment, table, Y[:7], IDS[:7], preprocessing=preprocessing, learning_rate=1e-3)
    for values in (model.predict(table), model.transform(table), model.feature_importances_):
        assert np.isfinite(values).all()
    assert np.isfinite(model.predict(np.zeros((1, 25)))).all()
    one = fitted(pretreatment, X[:1], Y[:1], None, preprocessing=preprocessing, learning_rate=1e-3)
    assert np.isfinite(one.predict(X)).all() and np.isfinite(one.feature_importances_).all()


# ----------------------------------------------------------------------------------- modalities, categories


@pytest.mark.parametrize("pretreatment", VIEWS)
def test_no_view_meets_the_nan_of_rows_that_lack_its_modality(pretreatment, monkeypatch):
    seen = []
    for name in ("apply", "slopes"):
        for cls in {type(VIEWS["snv"]), type(VIEWS["sg1"]), type(VIEWS["snv+sg1"])}:
            before = getattr(cls, name)

            def looked_at(self, rows, *gradients, before=before):
                seen.append(bool(np.isfinite(rows).all()))
                return before(self, rows, *gradients)

            monkeypatch.setattr(cls, name, looked_at)
    model = fitted(pretreatment, HOLES, fusion="mean", **TWO)
    table, present = model._read(HOLES)
    (slopes,) = model._fitted.jacobians(table, present)
    assert seen and all(seen)
    lacking = np.arange(90) % 4 == 0
    assert np.isfinite(model.predict(HOLES)).all() and np.isfinite(slopes).all()
    assert not slopes[lacking][..., 12:].any() and slopes[~lacking][..., 12:].any()
    inputs = model._fitted.table.apply(table, np.dtype(float), present=present)
    assert not inputs[lacking, model._fitted.network.columns["b"]].any()


def test_each_modality_has_a_view_of_its_own_columns():
    model = fitted("snv", **TWO)
    for name, columns in model.modalities_.items():
        block = model._fitted.table.blocks[name]
        expected = VIEWS["snv"].apply(X[:, columns])
        assert_allclose(block.mean, expected.mean(0), rtol=1e-10, atol=1e-12)
        assert block.n_inputs == len(columns) and block.n_outputs <= len(columns) + 2


@pytest.mark.sampled()
@pytest.mark.parametrize("pretreatment", VIEWS)
@pytest.mark.parametrize("parameters", [{}, ONE])
def test_codes_of_categories_stay_as_they_are(pretreatment, parameters):
    model = fitted(pretreatment, FRAME, **parameters)
    name = "all" if parameters else "categorical"
    inputs = model._fitted.table.apply(model._read(FRAME)[0], np.dtype(float))
    assert_array_equal(inputs[:, model._fitted.network.columns[name]][:, 0], KIND == "up")
    numeric = fitted(pretreatment)._fitted.table.apply(X, np.dtype(float))
    columns = [j for j in range(inputs.shape[1]) if not np.array_equal(inputs[:, j], KIND == "up")]
    assert_allclose(inputs[:, columns], numeric, atol=1e-9)
    assert np.isfinite(model.feature_importances_).all() and model.feature_importances_[25] > 0


def test_integer_codes_of_a_categorical_encoder_stay_as_they_are():
    codes = np.random.default_rng(0).integers(0, 3, (90, 4))
    table = np.column_stack([X, codes])
    modalities = {"nir": slice(0, 25), "codes": slice(25, None)}
    model = fitted("snv", table, modalities=modalities, encoders={"codes": CategoricalEncoder(3)})
    assert model._fitted.table.blocks["codes"].view is None
    assert model._fitted.table.blocks["nir"].view == SNV()


# --------------------------------------------------------------------------------------- derivatives, columns


def differences(model, table, step=1e-5):
    p = table.shape[1]
    there, back = (model.predict((table + h * np.eye(p)[:, None]).reshape(-1, p)) for h in (step, -step))
    return ((there - back) / (2 * step)).reshape(p, -1).T


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("pretreatment", "case"),
    [
        *((view, "one") for view in VIEWS),
        *(("snv+sg1", case) for case in ("two", "holes", "standardize", "slabs", "offset")),
        ("snv", "holes"),
        ("sg2", "offset"),
    ],
)
def test_importances_are_spreads_times_derivatives_by_the_columns_as_given(pretreatment, case, monkeypatch):
    if case == "slabs":
        monkeypatch.setattr("skfdrmfl.clients.client_data.SLAB_ROWS", 7)
    table = HOLES if case == "holes" else X + 1e6 * (case == "offset")
    parameters = TWO if case in ("two", "holes") else {"preprocessing": "standardize"} if case == "standardize" else {}
    model = fitted(pretreatment, table, **parameters)
    slopes = np.where(np.isnan(table), 0.0, differences(model, table, 1e-5 if case != "offset" else 1e-3))
    expected = np.nanstd(table, axis=0) * np.sqrt(np.mean(slopes**2, axis=0))
    assert_allclose(model.feature_importances_, expected / expected.sum(), rtol=1e-3 if case == "offset" else 1e-5)


@pytest.mark.parametrize("unit", [2.0**600, 2.0**-600])
def test_importances_do_not_depend_on_units(unit):
    assert_allclose(fitted("sg1", X * unit).feature_importances_, fitted("sg1").feature_importances_, rtol=1e-4)


def test_importances_of_several_outputs_are_means_over_them():
    y = np.column_stack([Y, Y**2])
    model = fitted("snv", y=y)
    slopes = np.stack([differences(_Output(model, k), X) / y[:, k].std() for k in range(2)])
    expected = X.std(0) * np.sqrt(np.mean(slopes**2, axis=(0, 1)))
    assert_allclose(model.feature_importances_, expected / expected.sum(), rtol=1e-4)


class _Output:
    def __init__(self, model, k):
        self.predict = lambda x: model.predict(x)[:, k]


def test_a_constant_column_has_no_importance_and_a_linear_view_of_it_may_still_be_read():
    table = X.copy()
    table[:, 4] = 3.0
    for pretreatment in VIEWS:
        model = fitted(pretreatment, table)
        assert model.feature_importances_[4] == 0.0
        assert model.selected_features_.tolist() == list(range(25))


def test_columns_that_nothing_reads_are_not_selected():
    model = fitted("sg1", ids=None, preprocessing="standardize", input_l1=1.0, n_rounds=20, local_epochs=5)
    selected = model.selected_features_
    slopes = differences(model, X)
    assert 0 < len(selected) < 25
    assert_array_equal(selected, np.flatnonzero(np.abs(slopes).max(0) > 1e-9))


@pytest.mark.parametrize("pretreatment", VIEWS)
def test_a_linear_network_behind_a_linear_view_is_linear(pretreatment):
    model = fitted(pretreatment, hidden_layer_sizes=())
    assert model._fitted.is_linear == VIEWS[pretreatment].is_linear


# ------------------------------------------------------------------------------------- keeping it, going on


@pytest.mark.sampled(2)
@pytest.mark.parametrize("pretreatment", VIEWS)
def test_saved_and_pickled_models_predict_the_same_bits(pretreatment, tmp_path):
    model = fitted(pretreatment, HOLES, **TWO)
    model.save(tmp_path / "model.npz")
    for other in (FDRMFLTransformer.load(tmp_path / "model.npz"), pickle.loads(pickle.dumps(model))):
        assert_array_equal(other.predict(HOLES), model.predict(HOLES))
        assert_array_equal(other.feature_importances_, model.feature_importances_)
        assert other.pretreatment == pretreatment


def test_a_killed_fit_goes_on_and_one_with_another_view_is_refused(tmp_path):
    path = tmp_path / "fit.ckpt"
    whole = fitted("snv", n_rounds=4)
    model = FDRMFLTransformer(
        **({"tuning": None} | SMALL | {"n_rounds": 4}), pretreatment="snv", checkpoint_path=path, checkpoint_every=1
    )
    fit = model._prepare_fit(X, Y, IDS)
    training = fit.train()
    for _ in range(2):
        fit.checkpoint.follow(next(training))
    again = model.fit(X, Y, client_ids=IDS)
    assert_array_equal(again.predict(X), whole.predict(X))
    with pytest.raises(ValueError, match="which holds another fit: pretreatment is 'sg1' but was 'snv'"):
        model.set_params(pretreatment="sg1").fit(X, Y, client_ids=IDS)


def test_training_goes_on_with_the_same_view_and_no_other():
    model = fitted("snv", warm_start=True)
    before = model._fitted.table
    model.fit(X, Y, client_ids=IDS)
    assert model.n_rounds_ == 6 and model._fitted.table is before
    model.partial_fit(X, Y, client_ids=IDS)
    assert model.n_rounds_ == 7
    for other in ("sg1", None):
        with pytest.raises(ValueError, match=rf"^pretreatment is {other!r} now, but the model to go on from was built"):
            model.set_params(pretreatment=other).partial_fit(X, Y, client_ids=IDS)
    first = FDRMFLTransformer(tuning=None, **SMALL, pretreatment="snv").partial_fit(X, Y, client_ids=IDS)
    assert_array_equal(first._fitted.table.apply(X, np.dtype(float)), before.apply(X, np.dtype(float)))


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("pretreatment", "parameters"),
    [("snv+sg1", TWO), ("snv+sg1", {"aggregation": "median"}), ("sg2", {"early_stopping": True})],
)
def test_rows_elsewhere_give_the_bits_of_rows_here(pretreatment, parameters):
    table = HOLES if "modalities" in parameters else X
    here = fitted(pretreatment, table, **parameters)
    model = FDRMFLTransformer(**({"tuning": None} | SMALL | parameters), pretreatment=pretreatment)
    there = fit_over(wire_of(model, table, Y, IDS), FDRMFLTransformer(**model.get_params()))
    assert_array_equal(there.predict(table), here.predict(table))
    assert_array_equal(there.feature_importances_, here.feature_importances_)


def test_a_site_with_another_pretreatment_refuses():
    wire = wire_of(FDRMFLTransformer(tuning=None, **SMALL, pretreatment="snv"), X, Y, IDS)
    with pytest.raises(Exception, match=r"pretreatment is 'snv' here but 'sg1' at the server; give both the same"):
        fit_over(wire, FDRMFLTransformer(tuning=None, **SMALL, pretreatment="sg1"))


@pytest.mark.parametrize("pretreatment", ["sg1", ["snv", "sg2"], None])
def test_a_mixture_has_members_of_the_views_that_were_asked_for(pretreatment):
    model = FDRMFLTransformer(**SMALL | {"n_rounds": 2}, pretreatment=pretreatment).fit(X, Y, client_ids=IDS)
    views = {member["view"] for member in model.members_} - {"", "raw"}
    assert views == set([pretreatment] if isinstance(pretreatment, str) else pretreatment or ())


# ----------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("pretreatment", "error"),
    [
        ("msc", "must be"),
        (3, "must be"),
        ([], r"^pretreatment is \[\], which is empty; name some of 'snv', "),
        (["snv", "msc"], r"^pretreatment names 'msc', which is none; the pre-treatments are 'snv', 'sg1', "),
        ([None], r"^pretreatment names None, which is none; "),
        (["snv", "snv"], r"^pretreatment names 'snv' twice; name each once"),
        (
            ["snv", "sg1"],
            r"is a list to choose from, but tuning=None chooses none of it; set tuning=\"mixture\"",
        ),
    ],
)
def test_bad_names_and_lists_that_nothing_chooses_from_are_refused(pretreatment, error):
    with pytest.raises(ValueError, match=error):
        fitted(pretreatment)


@pytest.mark.parametrize(("pretreatment", "n", "least"), [("snv", 2, 3), ("sg1", 4, 5), ("sg2", 10, 11)])
def test_a_modality_of_too_few_columns_is_refused(pretreatment, n, least):
    modalities = {"nir": slice(0, 25 - n), "wet": slice(25 - n, None)}
    error = rf"^pretreatment='{pretreatment}' needs modalities of {least} columns or more, but 'wet' has {n}; set pre"
    with pytest.raises(ValueError, match=error):
        fitted(pretreatment, modalities=modalities)


@pytest.mark.sampled()
@pytest.mark.parametrize("pretreatment", VIEWS)
@pytest.mark.parametrize(
    "encoder",
    [Conv1DEncoder((5, 5), kernel_size=2), Conv2DEncoder((1, 5, 5), kernel_size=2), RecurrentEncoder((5, 5))],
)
def test_encoders_of_several_series_take_none(pretreatment, encoder):
    error = rf"does not go with the {type(encoder).__name__} of modality 'x': it takes the columns for one series"
    with pytest.raises(ValueError, match=error):
        fitted(pretreatment, encoders=encoder)
    fitted(None, encoders=encoder)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("encoder", [Conv1DEncoder(), Conv1DEncoder((1, 25)), RecurrentEncoder()])
def test_encoders_of_one_series_read_derivatives_but_no_appended_columns(encoder):
    parameters = {"encoders": encoder, "engine": "torch"}
    assert_allclose(
        fitted("sg1", **parameters).predict(X), fitted(None, sg1(X), **parameters).predict(sg1(X)), rtol=1e-4
    )
    for pretreatment in ("snv", "snv+sg1"):
        with pytest.raises(ValueError, match=r"it appends 2 columns, which have no place in a series; give the modal"):
            fitted(pretreatment, **parameters)


def test_noisy_moments_are_taken_of_no_view():
    private = {"dp_noise_multiplier": 1.0, "dp_clip_norm": 1.0, "dp_bounds": {"X": (0, 6), "y": (0, 60)}}
    with pytest.raises(ValueError, match=r"^pretreatment='snv' standardises columns that dp_bounds, which are of X"):
        fitted("snv", preprocessing="standardize", **private)
    model = fitted("snv", preprocessing=None, **private)
    assert_array_equal(model._fitted.table.apply(X, np.dtype(float)), VIEWS["snv"].apply(X))
