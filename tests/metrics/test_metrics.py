"""RPD and R² per client, against their definitions and their limits."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import r2_score

from skfdrmfl.metrics import r2_per_client, rmse, rpd


def pair(seed, n):
    rng = np.random.default_rng(seed)
    measured = 10 + 3 * rng.standard_normal(n)
    return measured, measured + rng.standard_normal(n)


@given(seed=st.integers(0, 10**6), n=st.integers(2, 50))
def test_rpd_says_what_r2_says(seed, n):
    measured, predicted = pair(seed, n)
    expected = math.sqrt(n / (n - 1)) / math.sqrt(1 - r2_score(measured, predicted))
    assert rpd(measured, predicted) == pytest.approx(expected, rel=1e-9)


@given(seed=st.integers(0, 10**6), scale=st.floats(1e-3, 1e3), shift=st.floats(-100, 100))
def test_rpd_has_no_unit_and_rmse_has_that_of_y(seed, scale, shift):
    measured, predicted = pair(seed, 20)
    moved = scale * measured + shift, scale * predicted + shift
    assert rpd(*moved) == pytest.approx(rpd(measured, predicted), rel=1e-6)
    assert rmse(*moved) == pytest.approx(scale * rmse(measured, predicted), rel=1e-6)


def test_rpd_halves_when_the_error_doubles_and_a_bias_counts():
    measured = np.array([1.0, 2.0, 3.0, 4.0])
    error = np.array([0.5, -0.5, 0.5, -0.5])
    assert rpd(measured, measured + error) == pytest.approx(2 * rpd(measured, measured + 2 * error))
    assert rpd(measured, measured + 0.5) == pytest.approx(np.std(measured, ddof=1) / 0.5)


def test_rpd_at_its_limits():
    assert rpd([1.0, 2.0], [1.0, 2.0]) == math.inf
    assert math.isnan(rpd([1.0, 1.0], [1.0, 1.0]))
    with pytest.raises(ValueError, match="rpd needs at least 2 rows for a standard deviation, got 1"):
        rpd([1.0], [1.0])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        rpd([1.0, 2.0], [1.0])


def test_predicting_every_clients_mean_is_worth_nothing_to_a_client():
    """However good it looks when clients are pooled."""
    clients = np.repeat(["near", "far"], 20)
    measured, _ = pair(0, 40)
    measured += np.where(clients == "far", 100.0, 0.0)
    means = {client: measured[clients == client].mean() for client in ("near", "far")}
    predicted = np.array([means[client] for client in clients])
    assert r2_score(measured, predicted) > 0.99
    assert r2_per_client(measured, predicted, clients) == pytest.approx({"far": 0.0, "near": 0.0}, abs=1e-12)


@pytest.mark.parametrize("as_", [np.array, list, pd.Series, pd.Categorical])
def test_one_value_a_client_in_sorted_order_whatever_holds_the_ids(as_):
    measured, predicted = pair(1, 30)
    clients = np.array(["b", "a", "c"] * 10)
    values = r2_per_client(measured, predicted, as_(clients))
    assert list(values) == ["a", "b", "c"]
    for client, value in values.items():
        assert value == r2_score(measured[clients == client], predicted[clients == client])


def test_ids_come_back_as_plain_values():
    keys = list(r2_per_client([1.0, 2.0, 3.0, 5.0], [1.0, 2.0, 3.0, 4.0], np.array([7, 7, 3, 3])))
    assert keys == [3, 7]
    assert {type(key) for key in keys} == {int}


def test_r2_is_nan_without_a_warning_where_it_is_not_defined():
    values = r2_per_client([1.0, 2.0, 5.0, 5.0, 9.0], [1.0, 2.0, 5.0, 6.0, 9.0], [0, 0, 1, 1, 2])
    assert values[0] == 1.0
    assert math.isnan(values[1])  # constant
    assert math.isnan(values[2])  # one row


@pytest.mark.parametrize("ids", [[None, "a", "a"], [float("nan"), 0.0, 0.0]])
def test_missing_ids_are_refused(ids):
    with pytest.raises(ValueError, match="client_ids is missing for 1 of 3 rows"):
        r2_per_client([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], ids)


def test_ids_of_another_length_are_refused():
    message = "client_ids has 2 entries but y_true has 3 rows; pass one id per row."
    with pytest.raises(ValueError, match=message):
        r2_per_client([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], [0, 1])
