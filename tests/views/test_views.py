"""Views of rows: what they return, how that moves with the columns, and that each row is read by itself."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.signal import savgol_filter
from scipy.stats import zscore

from skfdrmfl.common.archive import from_bytes, to_bytes
from skfdrmfl.datasets import load_tecator
from skfdrmfl.views import VIEWS
from skfdrmfl.views.savitzky_golay import SavitzkyGolay
from skfdrmfl.views.snv import SNV
from skfdrmfl.views.within import Chain, Within

MADE = {
    **VIEWS,
    "snv+sg2": Chain(SNV(), SavitzkyGolay(2)),
    "sg1+snv": Chain(SavitzkyGolay(1), SNV()),
    "sg1+sg2": Chain(SavitzkyGolay(1), SavitzkyGolay(2)),
    "behind two codes": Within(SNV(), before=2),
    "derivative behind two codes": Within(SavitzkyGolay(1), before=2),
}
LINEAR = [name for name, view in MADE.items() if view.is_linear]
SPECTRA = load_tecator(return_X_y=True)[0][:60]


def spectra(p=24, n=12, seed=0):
    """Rows as unlike as spectra with scatter are."""
    rng = np.random.default_rng(seed)
    return rng.uniform(0.5, 2, (n, 1)) * np.cumsum(rng.standard_normal((n, p)), axis=1) + rng.uniform(1, 3, (n, 1))


def snv(x):
    return np.column_stack([zscore(x, axis=1), x.mean(1), np.log(x.std(1))])


# ------------------------------------------------------------------------------------------ what they return


def test_snv_is_the_row_standardised_with_its_mean_and_the_logarithm_of_its_deviation_behind():
    assert_allclose(VIEWS["snv"].apply(SPECTRA), snv(SPECTRA), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize(("p", "window"), [(11, 5), (100, 5), (199, 5), (240, 7), (630, 15), (700, 17), (2000, 51)])
def test_derivatives_are_scipys_with_windows_that_grow_with_the_columns(p, window):
    assert window == max(5, min(range(1, p, 2), key=lambda odd: (abs(odd - p / 40), -odd)))
    x = spectra(p, 3)
    first, second = (VIEWS[name].apply(x) for name in ("sg1", "sg2"))
    assert_allclose(first, savgol_filter(x, window, 2, deriv=1), atol=1e-10)
    assert_allclose(second, savgol_filter(x, 2 * window + 1, 3, deriv=2), atol=1e-10)


@pytest.mark.parametrize(("name", "derivative", "window"), [("snv+sg1", 1, 5), ("snv+sg2", 2, 11)])
def test_a_chain_derives_the_corrected_columns_and_leaves_the_appended_ones(name, derivative, window):
    corrected = snv(SPECTRA)
    derived = savgol_filter(corrected[:, :100], window, derivative + 1, deriv=derivative)
    assert_allclose(MADE[name].apply(SPECTRA), np.column_stack([derived, corrected[:, 100:]]), atol=1e-11)


def test_columns_before_and_after_a_view_of_others_stay():
    x, view = spectra(9), Within(VIEWS["sg1"], before=2, after=1)
    assert view.least_columns == VIEWS["sg1"].least_columns + 3
    assert_allclose(
        view.apply(x), np.column_stack([x[:, :2], savgol_filter(x[:, 2:8], 5, 2, deriv=1), x[:, 8:]]), atol=1e-12
    )


@pytest.mark.parametrize("name", MADE)
def test_as_many_columns_come_back_as_went_in_and_those_that_are_appended(name):
    view, x = MADE[name], spectra()
    assert view.apply(x).shape == (12, view.n_outputs(24)) == (12, 24 + view.n_appended)
    assert view.name == name or "codes" in name


@pytest.mark.parametrize("name", LINEAR)
def test_a_linear_view_is_its_matrix_and_its_sums_follow_from_those_of_the_columns(name):
    view, x = MADE[name], spectra(24, 30)
    after, matrix = view.apply(x), view.matrix(24)
    assert_allclose(after, x @ matrix.T, atol=1e-11)
    assert_allclose(after.mean(0), matrix @ x.mean(0), atol=1e-11)
    assert_allclose(np.cov(after.T), matrix @ np.cov(x.T) @ matrix.T, atol=1e-9)


# ------------------------------------------------------------------------------------------------- slopes


@pytest.mark.parametrize("name", MADE)
@pytest.mark.parametrize("n_outputs", [None, 3])
def test_slopes_are_differences_of_what_is_returned(name, n_outputs):
    view, x = MADE[name], spectra()
    rng = np.random.default_rng(1)
    shape = (12, view.n_outputs(24)) if n_outputs is None else (12, n_outputs, view.n_outputs(24))
    gradients, step = rng.standard_normal(shape), 1e-5
    found = view.slopes(x, gradients)
    assert found.shape == (*shape[:-1], 24)
    for j in range(24):
        there, back = x.copy(), x.copy()
        there[:, j] += step
        back[:, j] -= step
        change = (view.apply(there) - view.apply(back)) / (2 * step)
        if n_outputs is not None:
            change = change[:, None]
        assert_allclose(found[..., j], (gradients * change).sum(-1), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", MADE)
def test_the_columns_behind_outputs_are_those_with_a_slope(name):
    view, x = MADE[name], spectra()
    n = view.n_outputs(24)
    for output in (0, 1, 2, 9, n - 1):
        one = np.arange(n) == output
        slopes = view.slopes(x, np.broadcast_to(one.astype(float), (12, n)))
        assert_array_equal(view.columns_behind(one), np.any(slopes != 0, axis=0))
    assert not view.columns_behind(np.zeros(n, dtype=bool)).any()


# --------------------------------------------------------------------------------------------- row by row


@pytest.mark.parametrize("name", MADE)
@pytest.mark.parametrize("p", [24, 100])
def test_a_row_has_the_same_bits_alone_and_among_any_others(name, p):
    view, x = MADE[name], spectra(p, 215)
    whole = view.apply(x)
    rng = np.random.default_rng(p)
    for n in (1, 2, 3, 7, 48, 49, 130):
        mine = rng.choice(215, n, replace=False)
        assert_array_equal(view.apply(x[mine]), whole[mine])
    assert_array_equal(view.apply(np.asfortranarray(x)), whole)
    assert view.apply(x[:0]).shape == (0, view.n_outputs(p))


@pytest.mark.parametrize("name", MADE)
@pytest.mark.parametrize("value", [0.0, 0.1, 1e300, -3e-308])
def test_a_constant_row_is_finite_and_so_is_its_derivative(name, value):
    view, x = MADE[name], spectra()
    x[3] = value
    n = view.n_outputs(24)
    after, slopes = view.apply(x), view.slopes(x, np.ones((12, 2, n)))
    assert np.isfinite(after).all() and np.isfinite(slopes).all()
    others = np.arange(12) != 3
    assert_array_equal(after[others], view.apply(x[others]))


@pytest.mark.parametrize("value", [0.0, 0.1, 1e300])
def test_a_constant_row_has_a_deviation_of_one(value):
    x = np.full((1, 24), value)
    assert_array_equal(SNV().apply(x), [[*np.zeros(24), x.mean(), 0.0]])
    by_mean = np.arange(26) == 24
    assert_array_equal(SNV().slopes(x, np.ones((1, 26)) * ~by_mean), np.zeros((1, 24)))
    assert_allclose(SNV().slopes(x, np.ones((1, 26)) * by_mean), np.full((1, 24), 1 / 24))


@pytest.mark.parametrize("size", [1.0, -(2.0**600)])
def test_a_row_that_deviates_by_64_units_in_the_last_place_is_constant_and_one_of_65_is_not(size):
    eps = np.finfo(float).eps
    rows = size * np.array([[1.0, 1.0 - 2 * 64 * eps], [1.0, 1.0 - 2 * 65 * eps]])
    assert_array_equal(SNV().apply(rows)[:, :2], [[0.0, 0.0], np.sign(size) * np.array([1.0, -1.0])])


@pytest.mark.parametrize("unit", [2.0**900, 2.0**-900])
def test_snv_in_other_units_moves_the_appended_columns_alone(unit):
    plain, found = SNV().apply(SPECTRA), SNV().apply(SPECTRA * unit)
    assert_allclose(found[:, :100], plain[:, :100], rtol=1e-10, atol=1e-12)
    assert_allclose(found[:, 100], plain[:, 100] * unit)
    assert_allclose(found[:, 101], plain[:, 101] + np.log(unit))
    slopes = SNV().slopes(SPECTRA * unit, np.ones((60, 102)) * (np.arange(102) != 100)) * unit
    assert_allclose(slopes, SNV().slopes(SPECTRA, np.ones((60, 102)) * (np.arange(102) != 100)), rtol=1e-9, atol=1e-9)


# ----------------------------------------------------------------------------------------------- the rest


@pytest.mark.parametrize(("name", "least"), [("sg1", 5), ("sg2", 11)])
def test_a_derivative_of_fewer_columns_than_its_window_is_refused(name, least):
    view = VIEWS[name]
    assert view.least_columns == least
    view.apply(spectra(least))
    with pytest.raises(ValueError, match=rf"^{name} takes windows of {least} columns, but there are {least - 1};"):
        view.apply(spectra(least - 1))


@pytest.mark.parametrize("name", MADE)
def test_views_are_written_and_read_as_equals(name):
    view = MADE[name]
    assert from_bytes(to_bytes({"view": view}, kind="a test"), kind="a test")["view"] == view
    assert [view == other for other in MADE.values()].count(True) == 1
