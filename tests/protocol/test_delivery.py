"""What users get: Z on its principal axes from client sums, and the same predictions as before."""

import numpy as np
import pytest
import torch
from helpers import evaluate, identity, make_network, normal, random_weights, tensor
from hypothesis import given
from hypothesis import strategies as st

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.clients.client_data import Client, ClientData
from skfdrmfl.clients.simulation import Simulation
from skfdrmfl.data.partition import Partition
from skfdrmfl.encoders import Conv1DEncoder, RecurrentEncoder
from skfdrmfl.method.fusion import FUSIONS
from skfdrmfl.method.network import Network
from skfdrmfl.method.sensitivity import jacobians
from skfdrmfl.protocol.plan import Model
from skfdrmfl.protocol.queries import axes


def deliver(network, arrays, x, partition):
    """The model on principal axes of the rows x, which are the encoder inputs as they are."""
    simulation = Simulation(ClientData(x.numpy(), np.zeros((len(x), 1))), partition)
    model = Model(network, arrays, identity(x.shape[1]))
    (sums,) = simulation.sum(axes.CodeSums(model))
    (products,) = simulation.sum(axes.CodeProducts(model, sums.center))
    return axes.delivered(model, sums, products)


def problem(seed, codes, c=3, q=1, head_hidden=()):
    network = make_network((3, 2), c=c, q=q, head_hidden=head_hidden)
    arrays = network.arrays(random_weights(network, 1, seed)[0])
    return network, arrays, normal([seed, 5], len(codes), 5), Partition.of_codes(np.asarray(codes))


codes = st.lists(st.integers(0, 5), min_size=2, max_size=40)
shapes = st.tuples(st.integers(1, 4), st.integers(1, 2), st.sampled_from([(), (4,)]))


@given(codes, shapes, st.integers(0, 99))
def test_z_is_centred_uncorrelated_and_ordered_by_the_reported_variance(codes, shape, seed):
    network, arrays, x, partition = problem(seed, codes, *shape)
    turned, variance = deliver(network, arrays, x, partition)
    z, _ = evaluate(network, turned, x)
    np.testing.assert_allclose(z.mean(0), 0, atol=1e-10)
    np.testing.assert_allclose(np.cov(z.T, bias=True).reshape(shape[0], -1), np.diag(variance), atol=1e-10)
    assert np.all(variance >= 0)
    assert np.all(np.diff(variance) <= 1e-12)


@given(codes, shapes, st.integers(0, 99))
def test_the_variance_is_that_of_the_pooled_codes_whoever_holds_which_row(codes, shape, seed):
    network, arrays, x, partition = problem(seed, codes, *shape)
    z, _ = evaluate(network, arrays, x)
    ev = np.linalg.svd(z - z.mean(0), compute_uv=False) ** 2 / len(z)
    expected = np.pad(ev, (0, shape[0] - len(ev)))
    np.testing.assert_allclose(deliver(network, arrays, x, partition)[1], expected, rtol=1e-8, atol=1e-10)


@given(codes, shapes, st.integers(0, 99))
def test_predictions_and_what_is_not_fusion_or_head_stay_as_they_were(codes, shape, seed):
    network, arrays, x, partition = problem(seed, codes, *shape)
    turned, _ = deliver(network, arrays, x, partition)
    new = normal([seed, 6], 9, 5)
    np.testing.assert_allclose(
        evaluate(network, turned, new)[1], evaluate(network, arrays, new)[1], rtol=1e-9, atol=1e-9
    )
    moved = {name for name in arrays if not np.array_equal(arrays[name], turned[name])}
    assert moved <= {"fusion.weight0", "fusion.bias0", "head.weight0", "head.bias0"}


@given(codes.filter(lambda k: len(k) > 5), shapes, st.integers(0, 99))
def test_each_column_of_z_correlates_positively_with_the_prediction_it_explains_most(codes, shape, seed):
    network, arrays, x, partition = problem(seed, codes, *shape)
    z, y_hat = evaluate(network, deliver(network, arrays, x, partition)[0], x)
    covariance = z.T @ (y_hat - y_hat.mean(0)) / len(z)
    strongest = covariance[np.arange(len(covariance)), np.abs(covariance).argmax(1)]
    assert np.all(strongest >= -1e-10)
    if shape[1] == 1 and shape[0] == 1:
        assert strongest[0] > 0


def test_delivering_twice_changes_nothing():
    network, arrays, x, partition = problem(0, [0, 0, 1, 2, 2, 2, 1, 0], q=2)
    once, variance = deliver(network, arrays, x, partition)
    twice, again = deliver(network, once, x, partition)
    np.testing.assert_allclose(again, variance, rtol=1e-9)
    for name in once:
        np.testing.assert_allclose(twice[name], once[name], rtol=1e-7, atol=1e-9, err_msg=name)


def test_the_rotation_is_made_of_client_sums_only(monkeypatch):
    network, arrays, x, partition = problem(1, [0, 0, 1, 2, 2, 2, 1, 0])
    turned, variance = deliver(network, arrays, x, partition)
    sent, shown = [], torch.full_like(x, torch.nan)  # nobody's rows can be read but by the client whose turn it is
    for query in (axes.CodeSums, axes.CodeProducts):

        def alone(self, client, honest=query.__call__):
            shown[client.rows] = x[client.rows]
            tables = ClientData(shown.numpy(), np.zeros((len(x), 1)))  # a new one: the former keeps what it computed
            part = honest(self, Client(tables, client.rows, client.position))
            shown[client.rows] = torch.nan
            sent.append([np.shape(value) for value in part])
            return part

        monkeypatch.setattr(query, "__call__", alone)
    again, same = deliver(network, arrays, shown, partition)
    assert len(sent) == 2 * 3
    assert {shape for shapes in sent for shape in shapes} == {(), (3,), (3, 3), (3, 1)}
    np.testing.assert_array_equal(same, variance)
    for name in turned:
        np.testing.assert_array_equal(again[name], turned[name], err_msg=name)


def test_evaluating_in_slabs_changes_nothing(monkeypatch):
    network, arrays, x, _ = problem(2, [0] * 11)
    whole = evaluate(network, arrays, x)
    monkeypatch.setattr("skfdrmfl.method.evaluate.SLAB_ROWS", 4)
    for mine, theirs in zip(evaluate(network, arrays, x), whole, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-12)


def by_forward(network, arrays, x, present=None):
    """Z and predictions by the definition, in one piece."""
    views = network.layout.views(tensor(network.layout.pack(arrays, dtype=float))[None])
    act = network.forward(views, x[None], None if present is None else torch.as_tensor(present)[None])
    return act.z[0].numpy(), act.y_hat[0].numpy()


@given(
    columns=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    hidden=st.sampled_from([(), (4,), (5, 3)]),
    head_hidden=st.sampled_from([(), (3,)]),
    sizes=st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 2)),
    fusion=st.sampled_from(list(FUSIONS)),
    skip=st.booleans(),
    n=st.integers(1, 7),
    masked=st.booleans(),
    scale=st.sampled_from([0.5, 30.0]),
    seed=st.integers(0, 99),
)
def test_evaluation_is_the_networks_forward(columns, hidden, head_hidden, sizes, fusion, skip, n, masked, scale, seed):
    c, d, q = sizes
    network = make_network(columns, c=c, d=d, q=q, hidden=hidden, head_hidden=head_hidden, fusion=fusion, skip=skip)
    arrays = network.arrays(random_weights(network, 1, seed, scale)[0])
    x = normal([seed, 7], n, sum(columns))
    present = np.random.default_rng(seed).random((n, len(columns))) < 0.6 if masked else None
    with pytest.MonkeyPatch.context() as patch:  # without torch
        patch.setattr(Network, "forward", None)
        found = evaluate(network, arrays, x, present)
    for mine, theirs in zip(found, by_forward(network, arrays, x, present), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-12, atol=1e-12 * max(1.0, np.abs(theirs).max()))


@given(
    columns=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    hidden=st.sampled_from([(), (4,), (5, 3)]),
    head_hidden=st.sampled_from([(), (3,)]),
    sizes=st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 2)),
    fusion=st.sampled_from(["concat", "mean"]),
    skip=st.booleans(),
    n=st.integers(1, 7),
    masked=st.booleans(),
    scale=st.sampled_from([0.5, 30.0]),
    seed=st.integers(0, 99),
)
def test_slopes_of_dense_networks_are_autograds(
    columns, hidden, head_hidden, sizes, fusion, skip, n, masked, scale, seed
):
    c, d, q = sizes
    network = make_network(columns, c=c, d=d, q=q, hidden=hidden, head_hidden=head_hidden, fusion=fusion, skip=skip)
    arrays = network.arrays(random_weights(network, 1, seed, scale)[0])
    x = normal([seed, 7], n, sum(columns))
    present = np.random.default_rng(seed).random((n, len(columns))) < 0.6 if masked else None
    with pytest.MonkeyPatch.context() as patch:  # without torch
        patch.setattr(Network, "forward", None)
        (found,) = jacobians(network, arrays, x.numpy(), present)
    views = network.layout.views(tensor(network.layout.pack(arrays, dtype=float))[None])
    rows, mask = x[None].clone().requires_grad_(), None if present is None else torch.as_tensor(present)[None]
    outputs = network.forward(views, rows, mask).y_hat[0].sum(0).unbind()
    options = {"retain_graph": True, "materialize_grads": True}
    expected = torch.stack([torch.autograd.grad(output, rows, **options)[0][0] for output in outputs], 1).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-11 * max(1.0, np.abs(expected).max()))


def test_a_gate_that_is_shut_stays_finite_and_silent():
    network = make_network((2,), hidden=(3,))
    arrays = network.arrays(random_weights(network, 1)[0])
    x = 1e6 * normal(0, 4, 2)
    for mine, theirs in zip(evaluate(network, arrays, x), by_forward(network, arrays, x), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-12)


@pytest.mark.parametrize("encoder", [Conv1DEncoder(n_channels=(2,), kernel_size=2), RecurrentEncoder((3, 2))])
def test_other_networks_are_evaluated_by_their_own_forward(encoder):
    part = encoder.build("a", 6, 3, (4,))
    network = Network({"a": part}, FUSIONS["concat"](), modality_dim=3, n_components=2, n_outputs=1)
    arrays = network.arrays(random_weights(network, 1)[0])
    x = normal(1, 5, 6)
    for mine, theirs in zip(evaluate(network, arrays, x), by_forward(network, arrays, x), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-12)


def test_rows_all_alike_give_a_z_of_zeros():
    network, arrays, x, partition = problem(4, [0, 1, 1])
    turned, variance = deliver(network, arrays, x[:1].repeat(3, 1), partition)
    np.testing.assert_allclose(variance, 0, atol=1e-12)
    np.testing.assert_allclose(evaluate(network, turned, x[:1])[0], 0, atol=1e-8)


# ------------------------------------------------------------------------------------------ as users see it


@pytest.mark.parametrize("head_hidden", [(), (6,)])
def test_a_fitted_transformer_delivers_principal_axes_of_its_training_rows(head_hidden):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 8))
    y = np.tanh(X[:, 0]) + X[:, 1] ** 2
    model = FDRMFLTransformer(
        n_components=3, n_rounds=4, head_hidden_layer_sizes=head_hidden, random_state=0, tuning=None
    ).fit(X, y, client_ids=rng.integers(0, 4, 60))
    Z = model.transform(X)
    np.testing.assert_allclose(Z.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(np.cov(Z.T, bias=True), np.diag(model.component_variance_), atol=1e-5)
    assert np.all(np.diff(model.component_variance_) <= 0)
    assert np.corrcoef(Z[:, 0], model.predict(X))[0, 1] > 0


def test_the_linear_head_predicts_from_the_delivered_z():
    rng = np.random.default_rng(1)
    X = rng.standard_normal((40, 6))
    y = 5 + 3 * X[:, 0]
    model = FDRMFLTransformer(n_rounds=4, random_state=0, tuning=None).fit(X, y)
    # Ordinary least squares of the prediction on Z leaves nothing, whatever the scaling of y.
    design = np.column_stack([np.ones(40), model.transform(X)])
    coefficients = np.linalg.lstsq(design, model.predict(X), rcond=None)[0]
    np.testing.assert_allclose(design @ coefficients, model.predict(X), atol=1e-8)


def test_deliver_writes_to_neither_weights_nor_rows():
    network, arrays, x, partition = problem(5, [0, 1, 1, 0])
    kept, rows = {name: array.copy() for name, array in arrays.items()}, x.clone()
    deliver(network, arrays, x, partition)
    assert torch.equal(x, rows)
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, kept[name])
