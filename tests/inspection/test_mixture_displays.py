"""Displays of a mixture: what is drawn are the numbers of its predictions, its Z and `members_`, by other ways."""

import numpy as np
import pandas as pd
import pytest
from matplotlib import colors, pyplot
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skfdrmfl import FDRMFLTransformer, inspection
from skfdrmfl.inspection._base import Display

N, SMOOTH = 60, 20
rng = np.random.default_rng(3)
LATENT = rng.standard_normal((N, 3))
SPECTRA = LATENT @ np.sin(np.arange(SMOOTH) / np.array([[3.0], [4.0], [5.0]])) + rng.uniform(1, 3, (N, 1))
X = pd.DataFrame(
    np.hstack([SPECTRA + 0.02 * rng.standard_normal((N, SMOOTH)), LATENT[:, :1] + rng.standard_normal((N, 2))]),
    columns=[f"nir__{1100 + 2 * j}" for j in range(SMOOTH)] + ["lab__4000", "lab__4010"],
)
Y = np.column_stack([LATENT[:, 0] + 0.3 * X["lab__4010"], LATENT[:, 0] + np.exp(LATENT[:, 1])]) * [1.0, 50.0]
Y += rng.standard_normal((N, 2)) * [0.1, 5.0]
IDS = np.repeat(["a", "b", "c"], [30, 20, 10])
SMALL = {"modalities": "prefix", "n_rounds": 15, "local_epochs": 2, "random_state": 0}
PRIVATE = {
    "preprocessing": None,
    "dp_noise_multiplier": 1.0,
    "dp_clip_norm": 1.0,
    "dp_bounds": {"y": (-10.0, 10.0)},
    "n_rounds": 2,
}
HOW = {
    "ClientErrorsDisplay": (X, Y, IDS),
    "CoverageDisplay": (X, Y),
    "HistoryDisplay": (),
    "ImportanceDisplay": (),
    "MembersDisplay": (),
    "ModalityContributionsDisplay": (X,),
    "OutlierDisplay": (X,),
    "PredictedMeasuredDisplay": (X, Y),
    "ScoresDisplay": (X, Y),
    "SensitivityDisplay": (X,),
}
OF_CLIENTS = ("ClientErrorsDisplay", "CoverageDisplay", "OutlierDisplay", "PredictedMeasuredDisplay", "ScoresDisplay")


@pytest.fixture(autouse=True)
def close_figures():
    yield
    pyplot.close("all")


@pytest.fixture(scope="module")
def one():
    return FDRMFLTransformer(**SMALL).fit(X, Y[:, 0], client_ids=IDS)


@pytest.fixture(scope="module")
def two():
    return FDRMFLTransformer(3, **SMALL).fit(X, Y, client_ids=IDS)


@pytest.fixture(scope="module")
def alone():
    return FDRMFLTransformer(tuning=None, **SMALL).fit(X, Y, client_ids=IDS)


def points_of(display):
    return {c.get_label(): np.asarray(c.get_offsets()) for c in display.ax_.collections if len(c.get_offsets())}


def verticals(display):
    return {line.get_label(): line.get_xdata()[0] for line in display.ax_.lines}


@pytest.fixture(scope="module")
def slopes(two):
    """Derivatives (n, q, p) of predictions by the columns, by central differences."""
    h = 1e-5
    found = []
    for name in X.columns:
        up, down = two.predict(X.assign(**{name: X[name] + h})), two.predict(X.assign(**{name: X[name] - h}))
        found.append((up - down).reshape(N, -1) / (2 * h))
    return np.stack(found, 2)


def test_every_display_of_a_model_is_drawn_here():
    displays = {display.__name__ for display in Display.__subclasses__()}
    assert set(HOW) == displays - {"VariationDisplay"}  # which is of comparisons


@pytest.mark.parametrize("name", HOW)
def test_every_display_draws_a_mixture(two, name):
    display = getattr(inspection, name).from_estimator(two, *HOW[name])
    assert display.ax_.get_xlabel() and display.ax_.get_ylabel()


@pytest.mark.parametrize("name", ["SensitivityDisplay", "ModalityContributionsDisplay", "MembersDisplay"])
def test_an_output_that_the_model_lacks_is_refused(two, name):
    with pytest.raises(ValueError, match="output is 2, but the model has 2 outputs; use 0 to 1"):
        getattr(inspection, name).from_estimator(two, *HOW[name], output=2)


@pytest.mark.parametrize("name", ["ScoresDisplay", "PredictedMeasuredDisplay", "ClientErrorsDisplay"])
def test_an_output_that_y_lacks_is_refused(two, name):
    with pytest.raises(ValueError, match="output is 2, but y has 2 outputs; use 0 to 1"):
        getattr(inspection, name).from_estimator(two, *HOW[name], output=2)


# -------------------------------------------------------------------------------------------------- members


def test_members_stand_at_their_errors_with_their_weights_the_mixture_on_top(one):
    display = inspection.MembersDisplay.from_estimator(make_pipeline(one))
    names, weights, errors = zip(*((m["name"], m["weight"], m["error"]) for m in one.members_), strict=True)
    assert names[0] == "mixture" and "mean" in names
    points = points_of(display)["members"]
    assert_array_equal(points, np.column_stack([errors, np.arange(len(names))]))
    texts = [text.get_text() for text in display.ax_.get_yticklabels()]
    assert texts == [f"{name}  {weight:.2f}" for name, weight in zip(names, weights, strict=True)]
    (drawn,) = [c for c in display.ax_.collections if len(c.get_offsets())]
    by_weight = np.argsort(weights, kind="stable")
    assert (np.diff(drawn.get_sizes()[by_weight]) >= 0).all() and drawn.get_sizes()[0] == drawn.get_sizes().max()
    filled = [colour[3] > 0 for colour in colors.to_rgba_array(drawn.get_facecolors())]
    assert filled == [weight > 0 for weight in weights]
    lines = verticals(display)
    assert lines["mixture"] == errors[0] and lines["mean predictor"] == errors[names.index("mean")]
    assert display.ax_.yaxis_inverted() and "units of y" in display.ax_.get_xlabel()


def test_errors_of_several_outputs_are_over_that_of_the_mean_and_of_one_in_its_units(two):
    errors, names = np.array([m["error"] for m in two.members_]), [m["name"] for m in two.members_]
    mean = errors[names.index("mean")]
    points = points_of(inspection.MembersDisplay.from_estimator(two))
    for q in range(2):
        assert_allclose(points[f"output {q}"][:, 0], errors[:, q] / mean[q])
        assert_array_equal(np.round(points[f"output {q}"][:, 1]), np.arange(len(names)))
        display = inspection.MembersDisplay.from_estimator(two, output=q)
        assert_array_equal(points_of(display)[f"output {q}"][:, 0], errors[:, q])
        lines = verticals(display)
        assert lines["mixture"] == errors[0, q] and lines["mean predictor"] == mean[q]


def test_a_network_alone_has_no_members_to_draw_and_says_why(alone):
    with pytest.raises(ValueError, match=r"members_ is one network, whose error .* is not known; fit with tuning="):
        inspection.MembersDisplay.from_estimator(alone)
    some = FDRMFLTransformer(n_rounds=2, random_state=0).partial_fit(X, Y[:, 0])
    with pytest.raises(ValueError, match=r"one network \(the network alone: training goes on from a network"):
        inspection.MembersDisplay.from_estimator(some)


# -------------------------------------------------------------------------------------------------- history


@pytest.mark.parametrize("which", ["one", "two"])
def test_the_record_is_named_after_the_network_of_most_weight(which, request):
    model = request.getfixturevalue(which)
    networks = [m for m in model.members_ if m["name"].startswith("network")]
    lead = max(networks, key=lambda m: np.sum(m["weight"]))
    weights = ", ".join(f"{weight:.2f}" for weight in np.atleast_1d(lead["weight"]))
    display = inspection.HistoryDisplay.from_estimator(model, terms=["mse"])
    assert display.ax_.get_title() == f"{lead['name']}, weight {weights}"
    (line,) = display.ax_.lines
    assert_array_equal(line.get_ydata(), model.history_["mse"])
    by_client = inspection.HistoryDisplay.from_estimator(model, terms=["mse"], by="client")
    assert by_client.ax_.get_title() == display.ax_.get_title()


def test_of_a_network_alone_there_is_nothing_to_name(alone):
    assert inspection.HistoryDisplay.from_estimator(alone).ax_.get_title() == ""


# --------------------------------------------------------------------------------------------------- scores


def test_scores_of_a_mixture_say_the_variance_of_each_column_and_no_share(one, two):
    for model, named in ((one, ["ŷ", ""]), (two, ["ŷ of output 0", "ŷ of output 1", ""])):
        variance = model.transform(X).var(0)
        for i, what in enumerate(named):
            display = inspection.ScoresDisplay.from_estimator(model, X, components=(i, 0))
            text = f"Z{i + 1}, standardised {what}" if what else f"Z{i + 1}"
            assert display.ax_.get_xlabel() == f"{text} (variance {variance[i]:.3g})"


def test_with_fewer_components_than_outputs_no_column_is_called_a_prediction():
    model = FDRMFLTransformer(1, **SMALL | {"n_rounds": 1}).fit(X, Y, client_ids=IDS)
    label = inspection.ScoresDisplay.from_estimator(model, X).ax_.get_xlabel()
    assert label == f"Z1 (variance {model.transform(X).var():.3g})"


def test_scores_are_coloured_by_the_output_that_is_asked_for(two):
    for y, output in ((Y, 0), (pd.DataFrame(Y), 1), (Y[:, 1].tolist(), 1)):
        display = inspection.ScoresDisplay.from_estimator(two, X, y, output=output, client_ids=IDS)
        drawn = [c for c in display.ax_.collections if len(c.get_offsets())]
        assert_array_equal(np.concatenate([c.get_array() for c in drawn]), Y[:, output])
    with pytest.raises(ValueError, match="y has 59 entries but X has 60 rows; pass one a row"):
        inspection.ScoresDisplay.from_estimator(two, X, Y[1:])


def test_with_privacy_scores_are_drawn_without_variances_and_outliers_are_refused():
    model = FDRMFLTransformer(**SMALL | PRIVATE).fit(X, Y[:, 0], client_ids=IDS)
    display = inspection.ScoresDisplay.from_estimator(model, X, Y[:, 0])
    assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == ("Z1", "Z2")
    with pytest.raises(ValueError, match="fitted with privacy"):
        inspection.OutlierDisplay.from_estimator(model, X)


# --------------------------------------------------------------------------------- sensitivity, importance


@pytest.mark.slow
def test_sensitivities_of_a_mixture_are_differences_of_its_predictions(two, slopes):
    display = inspection.SensitivityDisplay.from_estimator(two, X, output=1)
    size = np.abs(slopes).max((0, 2))
    for q in range(2):
        assert_allclose(display.sensitivities[q], slopes[:, q].mean(0), rtol=1e-4, atol=1e-5 * size[q])
        assert_allclose(display.deviations[q], slopes[:, q].std(0), rtol=1e-3, atol=1e-4 * size[q])
    nir = next(line for line in display.ax_.lines if line.get_label() == "nir")
    assert_array_equal(nir.get_xdata(), 1100 + 2 * np.arange(SMOOTH))
    assert_array_equal(nir.get_ydata(), display.sensitivities[1, :SMOOTH])
    assert not display.exact


def test_importances_of_a_mixture_are_root_mean_square_slopes_times_spreads(two, slopes):
    display = inspection.ImportanceDisplay.from_estimator(two)
    found = np.sqrt(np.square(slopes / Y.std(0)[:, None]).mean((0, 1))) * X.to_numpy().std(0)
    assert_allclose(display.vip, found / np.sqrt(np.mean(found**2)), rtol=1e-4)


@pytest.mark.slow
def test_contributions_of_a_mixture_are_changes_of_its_predictions(two):
    rows = X[::5]
    display = inspection.ModalityContributionsDisplay.from_estimator(two, rows, n_repeats=N)
    for name, columns in two.modalities_.items():
        squares = []
        for step in range(1, len(rows)):  # so many repeats take every shift
            drawn = rows.copy()
            drawn.iloc[:, columns] = np.roll(rows.iloc[:, columns], step, axis=0)
            squares.append(np.square(two.predict(drawn) - two.predict(rows)))
        assert_allclose(display.contributions[name], np.sqrt(0.5 * np.mean(squares, (0, 1))), rtol=1e-9)


# ------------------------------------------------------------------------------------------ rows and errors


def test_t_squared_and_q_of_a_mixture_are_of_the_columns_of_the_modality_in_which_a_row_is_farthest_out(two):
    display = inspection.OutlierDisplay.from_estimator(two, X, client_ids=IDS)
    where = two.domain(X, 0.95)["modality"]
    assert set(where) == {"nir", "lab"}
    for name, columns in two.modalities_.items():
        x, mine = X.to_numpy()[:, columns], where == name
        x = (x - x.mean(0)) / x.std(0).max()
        variances, axes = np.linalg.eigh(np.cov(x.T, bias=True))
        variances, axes = variances[variances > 1e-6 * variances[-1]], axes[:, variances > 1e-6 * variances[-1]]
        variances, axes = variances[::-1][: N // 3], axes[:, ::-1][:, : N // 3]
        assert_allclose(display.t2[mine], (np.square(x @ axes) / variances).sum(1)[mine], rtol=1e-6)
        assert_allclose(display.q[mine], np.square(x - x @ axes @ axes.T).sum(1)[mine], rtol=1e-6, atol=1e-12)


def test_a_spoiled_row_stands_out_from_those_a_mixture_was_fitted_to(one):
    spoiled = X.to_numpy().copy()
    spoiled[7, ::2] += 3.0
    spoiled = pd.DataFrame(spoiled, columns=X.columns)
    display = inspection.OutlierDisplay.from_estimator(one, spoiled, level=0.999)
    usual = inspection.OutlierDisplay.from_estimator(one, X, level=0.999)
    assert 7 in display.outliers and 7 not in usual.outliers
    assert_array_equal(np.delete(display.t2, 7), np.delete(usual.t2, 7))


@pytest.mark.parametrize("output", [0, 1])
def test_errors_are_of_what_a_mixture_predicts(two, output):
    y_hat, y = two.predict(X)[:, output], Y[:, output]
    boxes = inspection.ClientErrorsDisplay.from_estimator(two, X, Y, IDS, output=output)
    drawn = inspection.PredictedMeasuredDisplay.from_estimator(two, X, Y, client_ids=IDS, output=output)
    for label in "abc":
        mine = label == IDS
        assert_array_equal(boxes.errors[label], y_hat[mine] - y[mine])
        assert_array_equal(points_of(drawn)[label], np.column_stack([y[mine], y_hat[mine]]))
    assert_allclose(drawn.report[0]["rmse"], np.sqrt(np.mean(np.square(y_hat - y))))


def test_in_a_pipeline_a_display_is_of_the_transformer_in_it_and_of_rows_as_they_reach_it(one):
    pipeline = make_pipeline(FunctionTransformer(lambda frame: frame / 2.0), one)
    for name, how in HOW.items():
        of = getattr(inspection, name).from_estimator
        arguments = [Y[:, 0] if value is Y else value for value in how]
        alone, within = (
            of(one, *arguments),
            of(pipeline, *(2.0 * value if value is X else value for value in arguments)),
        )
        for drawn, expected in zip(within.ax_.get_children(), alone.ax_.get_children(), strict=True):
            if hasattr(drawn, "get_offsets"):
                assert_allclose(np.asarray(drawn.get_offsets()), np.asarray(expected.get_offsets()), rtol=1e-9)
            elif hasattr(drawn, "get_height"):
                assert_allclose(drawn.get_height(), expected.get_height(), rtol=1e-9)


@pytest.mark.parametrize("name", OF_CLIENTS)
def test_clients_of_rows_in_another_order_are_refused(one, name):
    names = [f"sample {i}" for i in range(N)]
    rows, clients = X.set_axis(names), pd.Series(IDS, index=names[::-1])
    with pytest.raises(ValueError, match="order"):
        getattr(inspection, name).from_estimator(one, rows, *[Y[:, 0]][: len(HOW[name]) - 1], client_ids=clients)
