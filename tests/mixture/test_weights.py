"""Weights of members minimise the squared error of the mixture on the simplex, as a general solver finds them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import minimize

from skfdrmfl.mixture.weights import SHRINK, WITHIN, mixture_weights


def products(seed, n_members, spread=0.05):
    """Mean products (M, M) of errors that have most in common, as those of members that see the same rows."""
    rng = np.random.default_rng(seed)
    errors = rng.standard_normal((200, 1)) + rng.uniform(0.2, 0.6, n_members) * rng.standard_normal((200, n_members))
    errors = errors * rng.uniform(1 - spread, 1 + spread, n_members)
    return errors.T @ errors / 200


def on_the_simplex(c, shrink=SHRINK):
    """The minimiser of w'Cw + shrink tr C / M |w - 1/M|^2 by sequential quadratic programming."""
    m = len(c)
    c = c / np.trace(c)
    found = minimize(
        lambda w: w @ c @ w + shrink * np.trace(c) / m * np.square(w - 1 / m).sum(),
        np.full(m, 1 / m),
        jac=lambda w: 2 * c @ w + 2 * shrink * np.trace(c) / m * (w - 1 / m),
        bounds=[(0, 1)] * m,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": np.ones_like},
        method="SLSQP",
        options={"ftol": 1e-15, "maxiter": 500},
    )
    assert found.success
    return found.x


@given(seed=st.integers(0, 10_000), n_members=st.integers(2, 12), spread=st.sampled_from([0.0, 0.05, 0.3]))
def test_weights_are_the_optimum_of_those_within_reach(seed, n_members, spread):
    c = products(seed, n_members, spread)
    near = np.sqrt(np.diagonal(c)) <= WITHIN * np.sqrt(np.diagonal(c).min())
    found = mixture_weights(c)
    assert (found[~near] == 0).all()
    assert_allclose(found[near], on_the_simplex(c[np.ix_(near, near)]), atol=2e-5)
    assert found.min() >= 0 and abs(found.sum() - 1) < 1e-12


def test_some_weights_are_exactly_zero_without_a_member_being_out_of_reach():
    c = np.array(
        [[1.0, 0.9, 1.045], [0.9, 1.0, 1.045], [1.045, 1.045, 1.1495]]
    )  # the third: 1.1 times the others' mean
    assert_allclose(mixture_weights(c), [0.5, 0.5, 0.0], atol=1e-12)
    assert mixture_weights(c)[2] == 0


@given(seed=st.integers(0, 10_000), exponent=st.integers(-150, 150))
def test_a_unit_of_y_changes_nothing(seed, exponent):
    c = products(seed, 6)
    assert_allclose(mixture_weights(c * 10.0**exponent), mixture_weights(c), rtol=1e-9, atol=1e-12)


@given(seed=st.integers(0, 10_000), order=st.permutations(range(7)))
def test_weights_go_with_their_members(seed, order):
    c = products(seed, 7)
    assert_allclose(mixture_weights(c[np.ix_(order, order)]), mixture_weights(c)[list(order)], rtol=1e-7, atol=1e-10)


def test_a_member_just_within_reach_gets_a_weight_and_one_just_beyond_none():
    for factor, gets in ((0.999, True), (1.001, False)):
        c = np.diag([1.0, (factor * WITHIN) ** 2])
        assert (mixture_weights(c)[1] > 0) == gets


def test_weights_of_members_that_err_apart_are_inverse_to_their_errors():
    """Without the pull to equal weights, w_i ~ 1 / c_ii for diagonal C (Bates and Granger 1969)."""
    c = np.diag([1.0, 1.2, 1.5])
    expected = 1 / np.diagonal(c)
    assert_allclose(mixture_weights(c, shrink=0.0), expected / expected.sum(), rtol=1e-9)


def test_much_shrinkage_gives_equal_weights():
    assert_allclose(mixture_weights(products(0, 5), within=np.inf, shrink=1e8), 0.2, atol=1e-6)


def test_members_that_are_the_same_share_what_one_would_get():
    c = products(1, 3)
    twice = mixture_weights(c[np.ix_([0, 1, 2, 2], [0, 1, 2, 2])])
    assert_allclose(twice[2], twice[3], atol=1e-9)


def test_one_member_has_all():
    assert_array_equal(mixture_weights(np.array([[4.0]])), [1.0])


def test_a_member_without_errors_has_all():
    c = products(0, 3)
    c[1] = c[:, 1] = 0.0
    assert_array_equal(mixture_weights(c), [0.0, 1.0, 0.0])
    assert_array_equal(mixture_weights(np.zeros((3, 3))), [1.0, 0.0, 0.0])


@pytest.mark.parametrize("bad", [np.inf, np.nan])
@pytest.mark.parametrize("number", [0, 2, 4])
def test_a_member_that_failed_gets_nothing_and_the_others_what_they_had(bad, number):
    c = products(2, 5)
    others = [i for i in range(5) if i != number]
    c[number] = c[:, number] = bad
    found = mixture_weights(c)
    assert found[number] == 0
    assert_allclose(found[others], mixture_weights(c[np.ix_(others, others)]), rtol=1e-12)
