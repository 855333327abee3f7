"""Displays: what is drawn are the numbers that independent ways give."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import chi2
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.inspection import (
    ClientErrorsDisplay,
    HistoryDisplay,
    ImportanceDisplay,
    ModalityContributionsDisplay,
    OutlierDisplay,
    PredictedMeasuredDisplay,
    ScoresDisplay,
    SensitivityDisplay,
)
from skfdrmfl.method import sensitivity
from skfdrmfl.views import VIEWS

N = 60
rng = np.random.default_rng(21)
X = rng.standard_normal((N, 5)) * np.array([1.0, 3.0, 0.5, 1.0, 1.0]) + 2
Y = X[:, 0] - 0.4 * X[:, 1] + np.tanh(3 * X[:, 2]) + 0.1 * rng.standard_normal(N)
IDS = rng.permutation(np.repeat(["a", "b", "c"], [30, 20, 10]))
FRAME = pd.DataFrame(X, columns=["nir__1100", "nir__1102", "nir__1098.5", "mir__4000", "mir__4010"])
SMALL = {"n_rounds": 4, "local_epochs": 2, "hidden_layer_sizes": (5,), "modality_dim": 4, "random_state": 0}


@pytest.fixture(autouse=True)
def close_figures():
    yield
    pyplot.close("all")


@pytest.fixture(scope="module")
def model():
    return FDRMFLTransformer(tuning=None, **SMALL, modalities="prefix", early_stopping=True).fit(
        FRAME, Y, client_ids=IDS
    )


def slopes(model, frame, output=0, h=1e-5):
    """Derivatives (n, p) by central differences; NaN where a column holds no numbers. All is predicted in one call."""
    names = [name for name in frame.columns if frame[name].dtype == float]
    moved = [frame.assign(**{name: frame[name] + step}) for step in (h, -h) for name in names]
    predicted = np.asarray(model.predict(pd.concat(moved, ignore_index=True)))
    up, down = predicted.reshape(2, len(names), len(frame), -1)[..., output]
    return pd.DataFrame(((up - down) / (2 * h)).T, columns=names).reindex(columns=frame.columns).to_numpy()


def lines_of(display):
    return {line.get_label(): line.get_xydata() for line in display.ax_.lines}


def points_of(display):
    return {c.get_label(): np.asarray(c.get_offsets()) for c in display.ax_.collections if len(c.get_offsets())}


# -------------------------------------------------------------------------------------------------- history


def test_a_line_for_each_term_that_is_not_zero(model):
    display = HistoryDisplay.from_estimator(model, terms=("loss", "mse", "validation_mse"))
    lines = lines_of(display)
    for term in ("loss", "mse", "validation_mse"):
        assert_array_equal(lines[term], np.column_stack([np.arange(1, 5), model.history_[term]]))
    assert lines[f"best round {model.best_round_}"][0, 0] == model.best_round_
    plain = FDRMFLTransformer(tuning=None, **SMALL).fit(X, Y)
    assert set(lines_of(HistoryDisplay.from_estimator(plain))) == {"loss", "mse", "mi", "contrastive"}


def test_a_line_for_each_client(model):
    lines = lines_of(HistoryDisplay.from_estimator(model, by="client", terms=["validation_mse"]))
    for k, label in enumerate("abc"):
        assert_array_equal(lines[f"client {label}"][:, 1], model.history_["validation_mse_per_client"][:, k])
    with pytest.raises(ValueError, match="history_ has no 'nonsense_per_client'; it has mse_per_client"):
        HistoryDisplay.from_estimator(model, by="client", terms=["nonsense"])
    with pytest.raises(ValueError, match='by is \'row\'; use "term" or "client"'):
        HistoryDisplay.from_estimator(model, by="row")


# --------------------------------------------------------------------------------------------------- scores


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("labels", "named"),
    [
        (np.where(IDS == "a", "as measured", "slipped"), ["as measured", "slipped"]),
        (np.where(IDS == "a", 3, 7), ["client 3", "client 7"]),
    ],
    ids=["text", "numbers"],
)
def test_groups_of_rows_are_called_what_they_are_and_numbers_are_clients(model, labels, named):
    for display in (
        ScoresDisplay.from_estimator(model, FRAME, client_ids=labels),
        PredictedMeasuredDisplay.from_estimator(model, FRAME, Y, client_ids=labels),
        OutlierDisplay.from_estimator(model, FRAME, client_ids=labels),
    ):
        texts = [text.get_text() for text in display.ax_.get_legend().get_texts()]
        assert [text for text in texts if text in named] == named


def test_predictions_say_where_a_bias_or_a_slope_is_what_is_wrong():
    noise = 0.1 * rng.standard_normal(N)
    for wrong, said, advised in ((Y + 1.0, "bias", True), (2 * Y, "slope", True), (Y, "bias", False)):
        display = PredictedMeasuredDisplay.from_predictions(Y, wrong + noise)
        (text,) = (text.get_text() for text in display.ax_.texts)
        assert ("adapt the model" in text) is advised
        assert f"\n{said} " in text


def test_scores_of_each_client_are_drawn_with_an_ellipse(model):
    display = ScoresDisplay.from_estimator(model, FRAME, client_ids=IDS, level=0.8)
    Z = model.transform(FRAME)
    for label, points in points_of(display).items():
        assert_allclose(points, Z[label[-1] == IDS])
    assert [line.get_xydata().shape for line in display.ax_.lines] == [(100, 2)] * 3
    for label, outline in zip("abc", display.ax_.lines, strict=True):
        mine = Z[label == IDS]
        away = outline.get_xydata() - mine.mean(0)
        assert_allclose(
            np.einsum("ij,jk,ik->i", away, np.linalg.inv(np.cov(mine.T)), away), chi2.ppf(0.8, 2), rtol=1e-6
        )
    share = 100 * model.component_variance_ / model.component_variance_.sum()
    assert display.ax_.get_xlabel() == f"Z1 ({share[0]:.3g} % of variance)"
    assert display.ax_.get_ylabel() == f"Z2 ({share[1]:.3g} % of variance)"


def test_scores_are_coloured_by_y_on_one_scale(model):
    display = ScoresDisplay.from_estimator(model, FRAME, Y, client_ids=IDS, components=(1, 0))
    drawn = [c for c in display.ax_.collections if len(c.get_offsets())]
    for label, c in zip("abc", drawn, strict=True):
        assert_array_equal(c.get_array(), Y[label == IDS])
        assert c.get_clim() == (Y.min(), Y.max())
        assert_allclose(c.get_offsets(), model.transform(FRAME)[label == IDS][:, ::-1])


def test_one_component_lies_on_a_line_and_wrong_ones_are_refused(model):
    one = FDRMFLTransformer(1, tuning=None, **SMALL).fit(X, Y)
    display = ScoresDisplay.from_estimator(one, X)
    (points,) = points_of(display).values()
    assert_allclose(points, np.column_stack([one.transform(X)[:, 0], np.zeros(N)]))
    with pytest.raises(ValueError, match=r"components is \(0, 5\), but Z has 2; use 0 to 1"):
        ScoresDisplay.from_estimator(model, FRAME, components=(0, 5))


# ---------------------------------------------------------------------------------------------- sensitivity


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("names", "label"),
    [
        ([1100, 1102, 1104, 1106, 1108], "wavelength (from the names of columns)"),
        ([1100.5, 1102.5, 1104.5, 1106.5, 1108.5], "wavelength (from the names of columns)"),
        (["1100,5", "1102,5", "1104,5", "1106,5", "1108,5"], "wavelength (from the names of columns)"),
        ([f"{v} nm" for v in (1100, 1102, 1104, 1106, 1108)], "wavelength, nm"),
        ([f"{v} cm-1" for v in (1100, 1102, 1104, 1106, 1108)], "wavenumber, cm-1"),
        ([f"X{v}" for v in (1100, 1102, 1104, 1106, 1108)], "wavelength (from the names of columns)"),
        ([f"reflectance_{v}" for v in (1100, 1102, 1104, 1106, 1108)], "wavelength (from the names of columns)"),
    ],
)
def test_pictures_stand_on_the_axis_that_names_give(names, label):
    frame = pd.DataFrame(X, columns=names)
    model = FDRMFLTransformer(tuning=None, **SMALL).fit(frame, Y)
    for display in (SensitivityDisplay.from_estimator(model, frame), ImportanceDisplay.from_estimator(model)):
        assert display.ax_.get_xlabel() == label and display.named
        assert_array_equal(display.positions, model.axis_)
        assert_array_equal(np.floor(display.positions), [1100, 1102, 1104, 1106, 1108])
    assert ImportanceDisplay.from_estimator(model, xlabel="shift").ax_.get_xlabel() == "shift"


@pytest.mark.parametrize(("y", "name"), [(pd.Series(Y, name="fat"), "fat"), (pd.Series(Y), "y"), (Y, "y")])
def test_the_scale_of_colours_is_called_what_y_is(model, y, name):
    display = ScoresDisplay.from_estimator(model, FRAME, y)
    assert [ax.get_ylabel() for ax in display.figure_.axes if ax is not display.ax_] == [name]


def test_sensitivities_are_mean_slopes_in_the_units_of_y_against_wavelength(model):
    display = SensitivityDisplay.from_estimator(model, FRAME)
    expected = slopes(model, FRAME)
    assert_allclose(display.sensitivities[0], expected.mean(0), rtol=1e-4, atol=1e-7)
    assert_allclose(display.deviations[0], expected.std(0), rtol=1e-3, atol=1e-6)
    assert not display.exact and display.intercept is None
    lines = lines_of(display)
    assert_allclose(
        lines["nir"],
        [[1098.5, expected[:, 2].mean()], [1100, expected[:, 0].mean()], [1102, expected[:, 1].mean()]],
        rtol=1e-4,
    )
    assert_allclose(lines["mir"][:, 0], [4000, 4010])
    assert len(display.ax_.collections) == 2  # bands
    assert display.ax_.get_xlabel().startswith("wavelength")


@pytest.mark.parametrize("preprocessing", ["whiten", "standardize", None])
def test_of_a_linear_model_they_are_the_regression_vector(preprocessing):
    linear = FDRMFLTransformer(
        **({"tuning": None} | SMALL | {"hidden_layer_sizes": ()}), preprocessing=preprocessing, learning_rate=1e-3
    ).fit(X, np.column_stack([Y, 100 * X[:, 4]]), client_ids=IDS)
    display = SensitivityDisplay.from_estimator(linear, X[:7], output=1)
    assert display.exact
    assert_allclose(X @ display.sensitivities.T + display.intercept, linear.predict(X), rtol=1e-9, atol=1e-9)
    vector = LinearRegression().fit(X, linear.predict(X)).coef_
    assert_allclose(display.sensitivities, vector, rtol=1e-7, atol=1e-9)
    drawn = display.ax_.lines[1].get_xydata()
    assert_allclose(drawn, np.column_stack([np.arange(5), vector[1]]), rtol=1e-7, atol=1e-9)
    assert display.ax_.get_xlabel() == "column"
    with pytest.raises(ValueError, match="output is 2, but the model has 2 outputs; use 0 to 1"):
        SensitivityDisplay.from_estimator(linear, X, output=2)


TABLE = pd.DataFrame(X, columns=list("abcde"))
TWO = {"modalities": {"one": ["d", "e"], "two": ["a", "b", "c"]}}
SETTINGS = {
    "whitened": (TABLE, {}),
    "fewer directions than columns": (TABLE.assign(e=TABLE["a"]), {"shrinkage": 1e-3}),
    "standardised": (TABLE, {"preprocessing": "standardize"}),
    "as they are": (TABLE / 10, {"preprocessing": None, "learning_rate": 1e-3}),
    "modalities": (TABLE, TWO | {"fusion": "attention"}),
    "one modality missing": (TABLE.mask(np.outer(np.arange(N) % 3 == 0, np.arange(5) > 2)), TWO),
    "beside categories": (TABLE.assign(kind=np.where(Y > 0, "up", "down"))[["a", "kind", "b", "c", "d", "e"]], {}),
    "a constant column": (TABLE.assign(b=3.0), {}),
}


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", SETTINGS)
def test_sensitivities_are_differences_of_predictions_column_by_column(name):
    table, parameters = SETTINGS[name]
    fitted = FDRMFLTransformer(**({"tuning": None} | SMALL | parameters)).fit(table, 100 * Y, client_ids=IDS)
    display = SensitivityDisplay.from_estimator(fitted, table)
    expected = slopes(fitted, table)
    assert_allclose(display.sensitivities[0], expected.mean(0), rtol=1e-5, atol=1e-6)
    assert_allclose(display.deviations[0], expected.std(0), rtol=1e-4, atol=1e-5)


@pytest.mark.sampled()
@pytest.mark.parametrize(("preprocessing", "hidden"), [("whiten", ()), ("standardize", (3,))])
@pytest.mark.parametrize("pretreatment", VIEWS)
def test_the_derivative_is_by_the_columns_before_their_pretreatment(pretreatment, preprocessing, hidden, monkeypatch):
    monkeypatch.setattr(sensitivity, "SLAB_ROWS", 7)  # rows and derivatives are read some at a time
    table = pd.DataFrame(np.cumsum(np.tile(X, 5), axis=1)).rename(columns=str)
    holes = table.mask(np.outer(np.arange(N) % 3 == 0, np.arange(25) > 12))
    parameters = {"modalities": {"a": slice(0, 13), "b": slice(13, None)}, "hidden_layer_sizes": hidden}
    fitted = FDRMFLTransformer(
        **({"tuning": None} | SMALL | parameters), preprocessing=preprocessing, pretreatment=pretreatment
    )
    fitted.fit(holes, Y, client_ids=IDS)
    for rows in (table, holes):
        display = SensitivityDisplay.from_estimator(fitted, rows)
        expected = slopes(fitted, rows)
        assert_allclose(display.sensitivities[0], expected.mean(0), rtol=1e-5, atol=1e-8)
        assert_allclose(display.deviations[0], expected.std(0), rtol=1e-3, atol=1e-6)
        assert display.exact == (hidden == () and VIEWS[pretreatment].is_linear and rows is table)


def test_a_pipeline_is_looked_into_and_categories_have_no_slope():
    pipeline = make_pipeline(StandardScaler(), FDRMFLTransformer(tuning=None, **SMALL), Ridge()).fit(X, Y)
    inside = SensitivityDisplay.from_estimator(pipeline, X)
    alone = SensitivityDisplay.from_estimator(pipeline[1], pipeline[0].transform(X))
    assert_array_equal(inside.sensitivities, alone.sensitivities)
    with pytest.raises(TypeError, match="Ridge is no FDRMFLTransformer, nor a Pipeline with one among its steps"):
        SensitivityDisplay.from_estimator(Ridge().fit(X, Y), X)
    frame = pd.DataFrame({"x": X[:, 0], "kind": np.where(X[:, 1] > 2, "up", "down")})
    mixed = SensitivityDisplay.from_estimator(FDRMFLTransformer(tuning=None, **SMALL).fit(frame, Y), frame)
    assert np.isnan(mixed.sensitivities[0, 1]) and np.isfinite(mixed.sensitivities[0, 0])


# --------------------------------------------------------------------------------------- importance, modalities


def test_importances_are_drawn_with_mean_square_one(model):
    display = ImportanceDisplay.from_estimator(model)
    heights = {round(bar.get_x() + bar.get_width() / 2, 6): bar.get_height() for bar in display.ax_.patches}
    importances = model.feature_importances_
    expected = importances / np.sqrt(np.mean(importances**2))
    assert_allclose([heights[w] for w in (1100, 1102, 1098.5, 4000, 4010)], expected)
    assert np.mean(expected**2) == pytest.approx(1.0)
    assert lines_of(display)[display.ax_.lines[0].get_label()][:, 1].tolist() == [1.0, 1.0]


def test_of_a_linear_model_a_modality_contributes_the_spread_of_its_part():
    frame = FRAME.copy()
    frame["mir__4000"] = -frame["nir__1100"] + X[:, 3]  # contributions are of each alone, whatever goes together
    linear = FDRMFLTransformer(**({"tuning": None} | SMALL | {"hidden_layer_sizes": ()}), modalities="prefix").fit(
        frame, Y
    )
    display = ModalityContributionsDisplay.from_estimator(linear, frame, n_repeats=N)
    vector = SensitivityDisplay.from_estimator(linear, frame).sensitivities[0]
    # All cyclic shifts are all pairs of different rows: n / (n - 1) times the variance.
    for name, columns in linear.modalities_.items():
        part = frame.to_numpy()[:, columns] @ vector[columns]
        assert_allclose(display.contributions[name], part.std(ddof=1), rtol=1e-9)
    heights = [bar.get_height() for bar in display.ax_.patches]
    assert_allclose(heights, [values[0] for values in display.contributions.values()])
    assert display.ax_.lines[0].get_ydata()[0] == pytest.approx(linear.predict(frame).std())


def test_rows_that_lack_a_modality_do_not_count_for_it():
    frame = FRAME.copy()
    frame.loc[:39, ["mir__4000", "mir__4010"]] = np.nan
    model = FDRMFLTransformer(**({"tuning": None} | SMALL | {"hidden_layer_sizes": ()}), modalities="prefix").fit(
        frame, Y
    )
    some = ModalityContributionsDisplay.from_estimator(model, frame, n_repeats=N).contributions["mir"]
    whole = ModalityContributionsDisplay.from_estimator(model, frame[40:], n_repeats=N).contributions["mir"]
    assert_allclose(some, whole, rtol=1e-9)
    assert some > 0


# ------------------------------------------------------------------------------------ predictions and errors


def test_predictions_are_drawn_against_what_was_measured(model):
    display = PredictedMeasuredDisplay.from_estimator(model, FRAME, Y, client_ids=IDS)
    y_hat = model.predict(FRAME)
    for label, points in points_of(display).items():
        mine = label[-1] == IDS
        assert_array_equal(points, np.column_stack([Y[mine], y_hat[mine]]))
    (line,) = display.ax_.lines
    assert_array_equal(line.get_xdata(), line.get_ydata())
    assert [row["n"] for row in display.report] == [60, 30, 20, 10]
    assert f"RMSE {np.sqrt(np.mean((y_hat - Y) ** 2)):.3g}" in display.ax_.texts[0].get_text()
    again = PredictedMeasuredDisplay.from_predictions(np.column_stack([Y, Y]), np.column_stack([Y, y_hat]), output=1)
    assert_array_equal(next(iter(points_of(again).values())), np.column_stack([Y, y_hat]))


def test_a_box_for_each_clients_errors(model):
    display = ClientErrorsDisplay.from_estimator(model, FRAME, Y, IDS)
    error = model.predict(FRAME) - Y
    medians = [line.get_ydata()[0] for line in display.ax_.lines if len(set(line.get_ydata())) == 1]
    for k, label in enumerate("abc"):
        mine = error[label == IDS]
        assert np.isclose(medians, np.median(mine)).any()
        text = display.ax_.get_xticklabels()[k].get_text()
        assert text == f"{label}\nn {len(mine)}\nRMSE {np.sqrt(np.mean(mine**2)):.3g}"


# ------------------------------------------------------------------------------------------------- outliers


def test_the_outlier_display_draws_what_domain_says():
    plain = FDRMFLTransformer(tuning=None, **SMALL).fit(X, Y, client_ids=IDS)
    display = OutlierDisplay.from_estimator(plain, X, client_ids=IDS)
    table = plain.domain(X, 0.95)
    assert_array_equal(display.t2, table["T2"])
    assert_array_equal(display.q, table["Q"])
    assert (display.t2_limit == table["T2_limit"]).all() and (display.q_limit == table["Q_limit"]).all()
    for label, points in points_of(display).items():
        mine = label[-1] == IDS
        assert_allclose(points, np.column_stack([display.t2[mine], display.q[mine]]))
    vertical, horizontal = display.ax_.lines
    assert vertical.get_xdata()[0] == display.t2_limit and horizontal.get_ydata()[0] == display.q_limit


def test_of_several_modalities_what_is_drawn_is_over_its_limit(model):
    spoiled = FRAME.copy()
    spoiled.iloc[7, :3] += [20, -30, 30]
    display = OutlierDisplay.from_estimator(model, spoiled)
    assert 7 in display.outliers and 7 not in OutlierDisplay.from_estimator(model, FRAME).outliers
    over = points_of(display)["_child0"] if "_child0" in points_of(display) else next(iter(points_of(display).values()))
    beyond = np.flatnonzero((over > 1).any(1))
    assert_array_equal(beyond, display.outliers)


# ------------------------------------------------------------------------------------------------ the form


def test_a_display_draws_on_the_axes_it_is_given_and_again_elsewhere(model):
    figure, axes = pyplot.subplots(1, 2)
    display = HistoryDisplay.from_estimator(model, ax=axes[0], color="red")
    assert display.ax_ is axes[0] and display.figure_ is figure
    assert {line.get_color() for line in axes[0].lines[:2]} == {"red"}
    assert display.plot(ax=axes[1]) is display and display.ax_ is axes[1]
