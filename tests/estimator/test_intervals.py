"""`predict_interval`: whose errors, how wide, refused where too few rows were held out, the same from a file."""

import numpy as np
import pytest
from matplotlib import pyplot
from numpy.testing import assert_allclose, assert_array_equal

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.inspection import CoverageDisplay

rng = np.random.default_rng(5)
N, P = 120, 5
IDS = rng.permutation(np.repeat(["exact", "rough", "small"], [60, 50, 10]))
NOISE = np.where(IDS == "rough", 1.0, 0.05)
X = rng.standard_normal((N, P))
Y = X[:, 0] + X[:, 1] + NOISE * rng.standard_normal(N)
SMALL = {"n_rounds": 2, "local_epochs": 1, "hidden_layer_sizes": (3,), "modality_dim": 3, "random_state": 0}


def fit(x=X, y=Y, **parameters):
    return FDRMFLTransformer(**(SMALL | parameters)).fit(x, y, client_ids=IDS)


@pytest.fixture(scope="module")
def mixture():
    return fit()


def width(ends):
    return ends[..., 1] - ends[..., 0]


def test_the_error_of_the_mixture_on_rows_held_out_is_what_is_counted(mixture):
    counts = mixture._fitted.held_out
    (unit,) = mixture._fitted.target.unit
    middle = 1e-5 * 1.025 ** (counts.entries[:, 2] - 0.5)
    squares = (counts.entries[:, 3] * middle**2).sum() / counts.entries[:, 3].sum()
    assert np.sqrt(squares) * unit == pytest.approx(mixture.members_[0]["error"], rel=0.01)
    held_out = counts.n_rows()
    assert set(held_out) == {0, 1, 2} and sum(held_out.values()) >= N // 5


def test_each_client_has_intervals_of_its_own_errors(mixture):
    mine = mixture.predict_interval(X, client_ids=np.where(IDS == "small", "exact", IDS))
    pooled = mixture.predict_interval(X)
    inside = mixture.domain(X)["inside"]
    exact, rough = (np.median(width(mine)[label == IDS]) for label in ("exact", "rough"))
    assert exact < np.median(width(pooled)) < rough and rough > 3 * exact
    assert_allclose(width(pooled)[inside], width(pooled)[inside][0])
    assert_allclose(mine.mean(1), mixture.predict(X))
    newly = np.random.default_rng(9)
    x = newly.standard_normal((400, P))
    own, together = {}, {}
    for label, noise in (("exact", 0.05), ("rough", 1.0)):
        y = x[:, 0] + x[:, 1] + noise * newly.standard_normal(400)
        for found, ids in ((own, [label] * 400), (together, None)):
            ends = mixture.predict_interval(x, client_ids=ids)
            found[label] = np.mean((ends[:, 0] <= y) & (y <= ends[:, 1]))
    assert abs(own["exact"] - own["rough"]) < abs(together["exact"] - together["rough"])
    assert own["rough"] > together["rough"] + 0.03


def test_a_client_who_was_not_there_counts_as_unknown(mixture):
    assert_array_equal(mixture.predict_interval(X[:3], client_ids=["new"] * 3), mixture.predict_interval(X[:3]))


def test_too_few_rows_are_refused_with_the_number_it_takes_and_what_there_are_enough_for(mixture):
    n = mixture._fitted.held_out.n_rows()[2]
    with pytest.raises(ValueError, match=f"client small holds out {n} rows, .* of confidence 0.9 take 9; .* leave"):
        mixture.predict_interval(X[:1], client_ids=["small"])
    most = int(1000 * n / (n + 1)) / 1000
    assert mixture.predict_interval(X[:1], most, client_ids=["small"]).shape == (1, 2)
    with pytest.raises(ValueError, match="all clients together hold out .* take 999;"):
        mixture.predict_interval(X[:1], 0.999)


def test_beyond_the_domain_intervals_are_wider(mixture):
    far = X[:1] + 30.0
    table = mixture.domain(far)
    excess = max(table["T2"][0] / table["T2_limit"][0], (table["Q"] / np.maximum(table["Q_limit"], 1e-300))[0])
    usual = np.median(width(mixture.predict_interval(X)))
    assert width(mixture.predict_interval(far))[0] == pytest.approx(usual * np.sqrt(excess))


def test_several_outputs_have_intervals_each():
    two = fit(y=np.column_stack([Y, 10 * X[:, 2]]))
    ends = two.predict_interval(X)
    assert ends.shape == (N, 2, 2)
    assert_allclose(ends.mean(-1), two.predict(X))


def test_early_stopping_alone_holds_out_rows_too():
    alone = fit(tuning=None, early_stopping=True, validation_fraction=0.3)
    held_out = alone._fitted.held_out.n_rows()
    assert held_out == {0: 18, 1: 15, 2: 3}
    assert alone.predict_interval(X).shape == (N, 2)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"tuning": None}, "early_stopping=True"),
        ({"preprocessing": "standardize", "dp_clip_norm": 1.0, "dp_bounds": {"X": (-9, 9), "y": (-9, 9)}}, "privacy"),
    ],
)
def test_without_rows_held_out_the_remedy_is_named(parameters, message):
    with pytest.raises(ValueError, match=message):
        fit(**parameters).predict_interval(X)


def test_after_partial_fit_errors_of_the_model_before_say_nothing():
    alone = fit(tuning=None, early_stopping=True)
    alone.partial_fit(X, Y, client_ids=IDS)
    with pytest.raises(ValueError, match="knows no errors"):
        alone.predict_interval(X)


def test_a_saved_model_has_the_same_intervals(mixture, tmp_path):
    mixture.save(tmp_path / "model.npz")
    loaded = FDRMFLTransformer.load(tmp_path / "model.npz")
    assert_array_equal(loaded.predict_interval(X), mixture.predict_interval(X))


def test_the_display_draws_the_share_within_the_intervals_by_client(mixture):
    ids = np.where(IDS == "small", "exact", IDS)
    display = CoverageDisplay.from_estimator(mixture, X, Y, client_ids=ids, confidence=0.8)
    ends = mixture.predict_interval(X, 0.8, client_ids=ids)
    inside = (ends[:, 0] <= Y) & (ends[:, 1] >= Y)
    assert display.coverage == {label: pytest.approx(inside[ids == label].mean()) for label in ("exact", "rough")}
    assert [bar.get_height() for bar in display.ax_.patches] == list(display.coverage.values())
    assert display.ax_.lines[0].get_ydata()[0] == 0.8
    pyplot.close("all")
