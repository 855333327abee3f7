"""The federated ridge is the pooled one, and a network can carry it without a trace."""

import numpy as np
import pytest
import torch
from helpers import evaluate, identity, make_network, normal, random_weights
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from sklearn.linear_model import Lasso, Ridge
from sklearn.model_selection import LeaveOneOut, cross_val_predict

from skfdrmfl.clients.client_data import ClientData
from skfdrmfl.clients.simulation import Simulation
from skfdrmfl.data.partition import Partition
from skfdrmfl.method.linear import Linear, takes_linear, with_linear
from skfdrmfl.protocol.plan import Targets
from skfdrmfl.protocol.queries import ridge

rng = np.random.default_rng(0)
X = rng.standard_normal((40, 5)) @ rng.standard_normal((5, 5))
Y = np.stack([X[:, 0] - X[:, 1], X[:, 2] ** 2], 1) + 3.0 + 0.1 * rng.standard_normal((40, 2))
GAINS = np.ones(5)


def asked(x, y, partition, gains):
    """A federation, encoder inputs x that are a table stretched by `gains`, and outputs y."""
    stretched = np.divide(x, gains, out=np.zeros_like(x), where=gains > 0)
    simulation = Simulation(ClientData(stretched, y), partition)
    return simulation, identity(x.shape[1], gains), Targets(())


def fit_ridge(x, y, partition, gains, penalty):
    return ridge.fit_ridge(*asked(x, y, partition, gains), penalty)


def ridge_of(x, y, partition, gains):
    return ridge.Ridge(*asked(x, y, partition, gains))


def top(x):
    return np.linalg.eigvalsh(np.cov(x.T, bias=True))[-1]


@given(codes=st.lists(st.integers(0, 6), min_size=40, max_size=40), penalty=st.floats(1e-6, 10.0))
def test_federated_ridge_is_ridge_on_the_pooled_rows_whoever_holds_which(codes, penalty):
    linear = fit_ridge(X, Y, Partition.of_codes(np.array(codes)), GAINS, penalty)
    pooled = Ridge(alpha=penalty * len(X) * top(X)).fit(X, Y)
    assert_allclose(linear.coefficients, pooled.coef_.T, rtol=1e-6, atol=1e-9)
    assert_allclose(linear.predict(X), pooled.predict(X), rtol=1e-6, atol=1e-9)


def test_an_input_without_gain_has_no_coefficient_and_changes_nothing():
    everyone = Partition.of_codes(np.zeros(40, dtype=np.int64))
    wider, gains = np.column_stack([X, np.zeros(40)]), np.append(GAINS, 0.0)
    with_it, without = fit_ridge(wider, Y, everyone, gains, 0.01), fit_ridge(X, Y, everyone, GAINS, 0.01)
    assert_allclose(with_it.coefficients[:5], without.coefficients, rtol=1e-9)
    assert (with_it.coefficients[5] == 0).all()
    assert ridge_of(wider, Y, everyone, gains).best_penalty() == ridge_of(X, Y, everyone, GAINS).best_penalty()


def test_the_penalty_is_that_of_the_columns_before_they_were_stretched():
    gains = np.array([1.0, 10.0, 0.1, 3.0, 5.0])
    everyone = Partition.of_codes(np.zeros(40, dtype=np.int64))
    stretched = fit_ridge(X * gains, Y, everyone, gains, 1e-2).predict(X * gains)
    assert_allclose(stretched, fit_ridge(X, Y, everyone, GAINS, 1e-2).predict(X), rtol=1e-8)


def test_an_infinite_penalty_and_constant_columns_give_the_mean():
    everyone = Partition.of_codes(np.zeros(40, dtype=np.int64))
    for x, penalty in ((X, np.inf), (np.ones_like(X), 1e-3)):
        predicted = fit_ridge(x, Y, everyone, GAINS, penalty).predict(x)
        assert_allclose(predicted, np.broadcast_to(Y.mean(0), Y.shape))


@pytest.mark.slow
@pytest.mark.parametrize("n_columns", [5, 60])  # fewer than rows, and more
def test_the_penalty_is_the_one_that_leaving_out_each_row_in_turn_would_choose(n_columns):
    rng = np.random.default_rng(n_columns)
    x = rng.standard_normal((40, n_columns)) * 0.7 ** np.arange(n_columns)
    y = np.stack([x[:, 0] - x[:, 1], x[:, 2]], 1) + 0.5 * rng.standard_normal((40, 2))
    by_hand = []
    for candidate in ridge.PENALTIES:
        model = Lasso(alpha=1e12) if np.isinf(candidate) else Ridge(alpha=candidate * 40 * top(x), solver="svd")
        by_hand.append(((cross_val_predict(model, x, y, cv=LeaveOneOut()) - y) ** 2).sum())
    for codes in (np.zeros(40, dtype=np.int64), np.arange(40) % 3):
        penalty = ridge_of(x, y, Partition.of_codes(codes), np.ones(n_columns)).best_penalty()
        assert penalty == ridge.PENALTIES[int(np.argmin(by_hand))]
    assert 0 < np.argmin(by_hand) < len(by_hand) - 1  # or the test shows little


def test_noise_is_left_to_the_mean():
    noise = np.random.default_rng(3).standard_normal((40, 1))
    fitted = ridge_of(X, noise, Partition.of_codes(np.arange(40) % 3), GAINS)
    assert fitted.best_penalty() >= 1.0
    assert np.abs(fitted.linear(np.inf).coefficients).max() == 0.0


# -------------------------------------------------------------------------------- inside a network


NETWORKS = [
    ((3,), {}),
    ((3, 2), {}),
    ((3, 2), {"fusion": "mean", "q": 2, "c": 3}),
    ((3, 2), {"hidden": (), "q": 2}),
    ((3, 4), {"hidden": (5, 4)}),
]


@pytest.mark.parametrize(("columns", "options"), NETWORKS)
@pytest.mark.parametrize("share", [1.0, 0.3, 0.0])
def test_the_network_predicts_its_share_plus_the_linear_part(columns, options, share):
    network = make_network(columns, **options)
    assert takes_linear(network)
    arrays = network.arrays(random_weights(network, 1)[0])
    x = normal(1, 20, network.n_columns)
    linear = Linear(rng.standard_normal((network.n_columns, network.n_outputs)), np.arange(1.0, network.n_outputs + 1))
    mixed = with_linear(network, arrays, linear, share)
    assert {name: a.shape for name, a in mixed.items()} == {name: a.shape for name, a in arrays.items()}
    expected = share * evaluate(network, arrays, x)[1] + linear.predict(x.numpy())
    z, y_hat = evaluate(network, mixed, x)
    assert_allclose(y_hat, expected, atol=1e-9)
    # Z says what y_hat says, in its units, and nothing else.
    centred = z - z.mean(0), y_hat - y_hat.mean(0)
    singular = [np.linalg.svd(a, compute_uv=False) for a in centred]
    assert_allclose(singular[0][: network.n_outputs], singular[1], rtol=1e-8)
    assert_allclose(singular[0][network.n_outputs :], 0.0, atol=1e-8)


def test_a_head_that_says_nothing_is_replaced():
    network = make_network((3, 2))
    arrays = network.arrays(random_weights(network, 1)[0])
    arrays["head.weight0"] = 1e-12 * arrays["head.weight0"]
    x = normal(1, 20, network.n_columns)
    linear = Linear(rng.standard_normal((5, 1)), np.zeros(1))
    _, y_hat = evaluate(network, with_linear(network, arrays, linear, 1.0), x)
    assert_allclose(y_hat, linear.predict(x.numpy()), atol=1e-9)


@pytest.mark.parametrize(
    "options",
    [{"head_hidden": (3,)}, {"skip": False}, {"fusion": "gated"}, {"q": 3, "c": 2}, {"c": 4}],
    ids=["hidden head", "no skip", "gated fusion", "fewer components than outputs", "codes too short"],
)
def test_networks_without_a_linear_path_say_so(options):
    assert not takes_linear(make_network((3, 2), **options))
    assert torch.is_tensor(random_weights(make_network((3, 2), **options), 1))


# ------------------------------------------------------------------------------------ penalties that do alike


def test_of_penalties_that_err_alike_the_largest_is_taken():
    nothing = ridge_of(X[:, :0], Y, Partition.of_codes(np.arange(40) % 3), GAINS[:0])  # all are the mean
    assert nothing.best_penalty() == np.inf


def test_penalties_are_half_a_decade_apart_and_the_last_is_the_mean():
    *finite, last = ridge.PENALTIES
    assert_allclose(np.diff(np.log10(finite)), 0.5, atol=1e-12)
    assert last == np.inf
