"""Ridge and PLS paths from moments are scikit-learn's on the rows, and so are their errors on rows left out."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.cross_decomposition import PLSRegression
from sklearn.linear_model import Ridge

from skfdrmfl.datasets import load_tecator
from skfdrmfl.mixture.linear_paths import best_of_path, in_range, pls_path, ridge_path
from skfdrmfl.mixture.moments import Moments

FOLDS = 5
PENALTIES = [10.0, 0.1, 1e-3, 1e-5]
SHAPES = {"n > p": (60, 12), "p > n": (25, 40)}


def made(kind, seed=0):
    """Rows x and two outputs, one of them of its own scale, about the pooled mean."""
    rng = np.random.default_rng(seed)
    n, p = SHAPES.get(kind, (60, 12))
    x = rng.standard_normal((n, p)) * rng.uniform(0.5, 2.0, p)
    if kind == "of rank 4":
        x = x[:, :4] @ rng.standard_normal((4, p))
    if kind == "constant columns":
        x[:, [0, 7]] = 3.0
    y = np.stack([x[:, 1] - x[:, 2] + rng.standard_normal(n), 10.0 * x[:, 3] ** 2], 1)
    return x - x.mean(0), y - y.mean(0)


KINDS = [*SHAPES, "of rank 4", "constant columns"]


def by_fold(x, y):
    """Moments of the rows that each fold holds out, and the masks of these."""
    out = np.arange(len(x)) % FOLDS == np.arange(FOLDS)[:, None]
    return stacked([Moments.of_rows(x[mask], y[mask]) for mask in out]), out


def stacked(several):
    return Moments(*(np.stack([getattr(m, name) for m in several]) for name in ("n", "x", "y", "xx", "xy", "yy")))


def sets_of(x, y):
    """Moments of kept rows of each fold and, last, of all; with the masks."""
    held_out, out = by_fold(x, y)
    return held_out.kept, [*~out, np.ones(len(x), dtype=bool)]


def rank_of(x):
    return np.linalg.matrix_rank(x - x.mean(0), tol=1e-9 * np.abs(x).max() * len(x))


def top(x):
    return np.linalg.eigvalsh(np.cov(x.T, bias=True))[-1]


def deviations(x):
    spread = x.std(0)
    return np.where(spread > 1e-12, spread, 0.0)


# ------------------------------------------------------------------------------------------------- paths


@pytest.mark.sampled()
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scaled", [False, True])
def test_a_ridge_path_is_scikit_learns_on_the_rows_of_each_fold_and_on_all(kind, scaled):
    x, y = made(kind)
    moments, masks = sets_of(x, y)
    units = deviations(x) if scaled else np.ones(x.shape[1])
    per_unit = 1.0 / np.where(units > 0, units, np.inf)
    coefficients, intercept = ridge_path(moments.through(np.diag(per_unit)), PENALTIES)
    z = x * per_unit
    assert coefficients.shape == (len(PENALTIES), FOLDS + 1, x.shape[1], 2)
    for i, penalty in enumerate(PENALTIES):
        for s, mask in enumerate(masks):
            alpha = penalty * mask.sum() * top(z[mask])
            pooled = Ridge(alpha=alpha, solver="svd").fit(z[mask], y[mask])
            assert_allclose(coefficients[i, s], pooled.coef_.T, rtol=1e-8, atol=1e-8)
            assert_allclose(z @ coefficients[i, s] + intercept[i, s], pooled.predict(z), rtol=1e-8, atol=1e-8)


@pytest.mark.sampled()
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("outputs", [[0], [1, 0]])
def test_a_pls_path_is_scikit_learns_for_each_output_by_itself(kind, outputs):
    x, y = made(kind)
    y = y[:, outputs]
    moments, masks = sets_of(x, y)
    coefficients, intercept = pls_path(moments, 8)
    for s, mask in enumerate(masks):
        for a in {0, 1, 4, 7} & set(range(rank_of(x[mask]))):
            for j in range(len(outputs)):
                pooled = PLSRegression(a + 1, scale=False).fit(x[mask], y[mask, j])
                predicted = x @ coefficients[a, s, :, j] + intercept[a, s, j]
                assert_allclose(predicted, pooled.predict(x).ravel(), rtol=1e-8, atol=1e-8)


def test_a_pls_path_of_scaled_columns_is_scikit_learns_with_scale():
    x, y = made("n > p")
    coefficients, intercept = pls_path(Moments.of_rows(x / deviations(x), y), 6)
    for a in range(6):
        for j in range(2):
            pooled = PLSRegression(a + 1, scale=True).fit(x, y[:, j]).predict(x).ravel()
            predicted = (x / deviations(x)) @ coefficients[a, :, j] + intercept[a, j]
            assert_allclose(predicted, pooled, rtol=1e-8, atol=1e-8)


def test_spectra_keep_the_digits_that_products_of_columns_leave():
    """Tecator's tenth eigenvalue is 4e-7 of the first: sums of products keep half the digits of the rows."""
    data, target = load_tecator(return_X_y=True)
    x, y = (data - data.mean(0)) / data.std(0), ((target - target.mean()) / target.std())[:, None]
    moments = Moments.of_rows(x, y)
    coefficients, intercept = pls_path(moments, 20)
    for a in (5, 10, 20):
        pooled = PLSRegression(a, scale=False).fit(x, y.ravel()).predict(x)
        predicted = x @ coefficients[a - 1] + intercept[a - 1]
        assert_allclose(predicted.ravel(), pooled.ravel(), atol=1e-8 if a <= 10 else 1e-6)
    coefficients, intercept = ridge_path(moments, [1e-3, 1e-6])
    for i, penalty in enumerate([1e-3, 1e-6]):
        pooled = Ridge(alpha=penalty * len(x) * top(x), solver="svd").fit(x, y).predict(x)
        assert_allclose((x @ coefficients[i] + intercept[i]).ravel(), pooled.ravel(), atol=1e-8)


# ------------------------------------------------------------------------------------------ ends of paths


def least_squares(x, y):
    return np.linalg.lstsq(x - x.mean(0), y - y.mean(0), rcond=1e-10)[0]


@pytest.mark.parametrize("kind", KINDS)
def test_with_all_components_or_without_penalty_a_path_ends_in_the_shortest_least_squares_solution(kind):
    x, y = made(kind)
    moments, masks = sets_of(x, y)
    components, _ = pls_path(moments, 50)
    penalties, _ = ridge_path(moments, [0.0])
    for s, mask in enumerate(masks):
        expected = least_squares(x[mask], y[mask])
        assert_allclose(components[-1, s], expected, rtol=1e-7, atol=1e-7)
        assert_allclose(penalties[0, s], expected, rtol=1e-7, atol=1e-7)
        after = min(rank_of(x[mask]), mask.sum() - 1)
        assert_array_equal(components[after:, s], np.broadcast_to(components[-1, s], components[after:, s].shape))


def test_rows_of_two_directions_need_two_components_even_if_there_are_three_rows():
    x, y = made("p > n")
    coefficients, _ = pls_path(Moments.of_rows(x[:3] - x[:3].mean(0), y[:3]), 6)
    assert_allclose(x[:3] @ coefficients[1] - (x[:3] @ coefficients[1]).mean(0), y[:3] - y[:3].mean(0), atol=1e-9)
    assert_array_equal(coefficients[2:], np.broadcast_to(coefficients[1], coefficients[2:].shape))


@pytest.mark.parametrize("shift", [0.0, 30.0])
def test_no_pls_model_is_longer_than_least_squares_whatever_the_rank(shift):
    """Components lengthen b up to the shortest least squares solution (de Jong 1995); rounding would go on."""
    rng = np.random.default_rng(5)
    for _ in range(20):
        p, n = rng.integers(1, 25), rng.integers(2, 40)
        rank = rng.integers(1, p + 1)
        x = rng.standard_normal((n, rank)) @ rng.standard_normal((rank, p)) + shift
        y = x @ rng.standard_normal((p, 1)) + rng.standard_normal((n, 1))
        lengths = np.linalg.norm(pls_path(Moments.of_rows(x, y), 30)[0], axis=(1, 2))
        assert lengths.max() <= (1 + 1e-6) * np.linalg.norm(least_squares(x, y))
        assert (np.diff(lengths) >= -1e-6 * lengths.max()).all()


@pytest.mark.parametrize("shift", [0.0, 1e3])
def test_constant_y_or_x_and_an_infinite_penalty_give_the_mean(shift):
    x, y = made("n > p")
    for rows, outputs in ((x + shift, np.full_like(y, 7.3)), (np.full_like(x, shift / 7.0), y + shift)):
        moments = Moments.of_rows(rows, outputs)
        for coefficients, intercept in (pls_path(moments, 4), ridge_path(moments, [1e-3, np.inf])):
            predicted = rows @ coefficients + intercept[:, None]
            assert_allclose(predicted, np.broadcast_to(outputs.mean(0), predicted.shape), rtol=1e-9, atol=1e-9)
            assert np.abs(coefficients).max() < 1e-9
    coefficients, intercept = ridge_path(Moments.of_rows(x, y + 1.0), [np.inf])
    assert_array_equal(coefficients, 0.0)
    assert_allclose(intercept[0], y.mean(0) + 1.0)


def test_sets_of_no_row_and_of_one_give_their_mean_without_a_warning():
    x, y = made("n > p")
    moments = stacked([Moments.of_rows(x[:n], y[:n]) for n in (0, 1)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        paths = [ridge_path(moments, [0.0, 1e-3]), pls_path(moments, 3)]
    for coefficients, intercept in paths:
        assert_allclose(coefficients, 0.0, atol=0)
        assert_array_equal(intercept[:, 0], 0.0)
        assert_allclose(intercept[:, 1], np.broadcast_to(y[0], intercept[:, 1].shape))


# ------------------------------------------------------------------------------------------------ errors


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("path_of", [lambda m: ridge_path(m, PENALTIES), lambda m: pls_path(m, 6)])
def test_the_best_of_a_path_errs_least_on_the_rows_held_out(kind, path_of):
    x, y = made(kind)
    held_out, out = by_fold(x, y)
    path = path_of(held_out.kept)
    best, errors = best_of_path(path, held_out)
    expected = 0.0
    for k, mask in enumerate(out):
        expected = expected + np.square(y[mask] - x[mask] @ path[0][:, k] - path[1][:, k, None]).sum(1)
    assert_allclose(errors, expected, rtol=1e-8)
    assert_array_equal(best, expected.argmin(0))


def test_errors_are_those_of_rows_for_one_model_a_set_and_for_models_of_many_axes():
    rng = np.random.default_rng(4)
    x, y = rng.standard_normal((2, 3, 9, 5)), rng.standard_normal((2, 3, 9, 2))
    moments = Moments.of_rows(x, y)
    for lead in ((), (1, 3), (2, 3), (4, 2, 3), (4, 2, 1), (6, 4, 2, 3)):
        b, b_0 = rng.standard_normal((*lead, 5, 2)), rng.standard_normal((*lead, 2))
        expected = np.square(y - x @ b - b_0[..., None, :]).sum(-2)
        assert_allclose(moments.squared_errors(b, b_0), expected, rtol=1e-10)


def test_an_error_below_its_rounding_is_its_rounding():
    x, _ = made("n > p")
    b = np.arange(12.0)[:, None]
    found = Moments.of_rows(x, x @ b).squared_errors(np.stack([b, 1e6 + b]), np.zeros((2, 1)))
    assert 0 < found[0, 0] < 1e-9
    many = np.random.default_rng(0).standard_normal((500, 12, 1))
    y = x @ many
    errors = stacked([Moments.of_rows(x, each) for each in y]).squared_errors(many, np.zeros((500, 1)))
    assert (errors > 0).all() and errors.max() < 1e-9


def test_of_models_that_err_alike_the_first_is_taken():
    x, y = made("of rank 4")
    held_out, _ = by_fold(x, np.zeros_like(y))
    best, errors = best_of_path(pls_path(held_out.kept, 6), held_out)
    assert_array_equal(best, 0)
    assert_array_equal(errors, 0.0)


# ----------------------------------------------------------------------------------------------- moments


def assert_same(a, b, **tolerance):
    for mine, theirs in zip(a._sums(), b._sums(), strict=True):
        assert_allclose(mine, theirs, **tolerance)


def test_moments_through_a_map_are_those_of_mapped_rows():
    x, y = made("n > p")
    rng = np.random.default_rng(1)
    for n_outputs in (3, 12, 20):
        L = rng.standard_normal((n_outputs, 12))
        held_out, out = by_fold(x, y)
        mapped = stacked([Moments.of_rows(x[mask] @ L.T, y[mask]) for mask in out])
        assert_same(held_out.through(L), mapped, rtol=1e-10, atol=1e-10)


def test_moments_add_up_and_come_apart_as_rows_do():
    x, y = made("n > p")
    held_out, out = by_fold(x, y)
    everything = Moments.of_rows(x, y)
    assert_same(held_out.sum(), everything, rtol=1e-12, atol=1e-10)
    kept = [Moments.of_rows(x[~mask], y[~mask]) for mask in out]
    assert_same(held_out.kept, stacked([*kept, everything]), rtol=1e-10, atol=1e-10)


def test_covariances_are_those_of_rows_about_any_centre():
    x, y = made("n > p")
    cxx, cxy, cyy = Moments.of_rows(x + 2.0, y - 1.0).covariances()
    expected = np.cov(x.T, y.T, bias=True)
    assert_allclose(cxx, expected[:12, :12], atol=1e-12)
    assert_allclose(cxy, expected[:12, 12:], atol=1e-11)
    assert_allclose(cyy, expected[12:, 12:], atol=1e-10)


# ------------------------------------------------------------------------------------------------- range


@pytest.mark.parametrize("kind", KINDS)
def test_paths_in_the_range_of_the_rows_are_those_of_all_columns(kind):
    x, y = made(kind)
    moments, _ = sets_of(x, y)
    inside, axes = in_range(moments)
    assert axes.shape == (x.shape[1], rank_of(x))
    assert_allclose(axes.T @ axes, np.eye(axes.shape[1]), atol=1e-12)
    for path_of in (lambda m: ridge_path(m, PENALTIES), lambda m: pls_path(m, 6)):
        (b, b_0), (c, c_0) = path_of(moments), path_of(inside)
        assert_allclose(axes @ c, b, rtol=1e-8, atol=1e-8)
        assert_allclose(c_0, b_0, rtol=1e-8, atol=1e-8)


def test_rows_that_are_all_at_the_centre_span_nothing():
    y = np.arange(6.0)[:, None]
    inside, axes = in_range(Moments.of_rows(np.zeros((6, 4)), y))
    assert axes.shape == (4, 0)
    for coefficients, intercept in (ridge_path(inside, [0.1]), pls_path(inside, 3)):
        assert_array_equal(axes @ coefficients, 0.0)
        assert_allclose(intercept, 2.5)
