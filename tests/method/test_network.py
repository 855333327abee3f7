"""The networks: values against torch.nn.functional, gradients against central differences."""

from itertools import product

import numpy as np
import pytest
import torch
from helpers import (
    FLOAT,
    dense,
    make_network,
    make_settings,
    normal,
    random_weights,
    tensor,
    written_out_forward,
    written_out_objective,
)
from hypothesis import given
from hypothesis import strategies as st

from skfdrmfl import FDRMFLTransformer, losses
from skfdrmfl.method.equations.optimizers import soft_threshold_
from skfdrmfl.method.layout import ParameterLayout
from skfdrmfl.method.mlp import MLP
from skfdrmfl.method.objective import Batch, local_objective, term_names, term_shares, term_values
from skfdrmfl.method.parts import DATA_GAIN, GAIN

SHAPES = [  # modality columns, options of make_network
    ((3,), {}),
    ((3, 2), {}),
    ((3, 2, 4), {"fusion": "mean", "q": 2, "c": 3}),
    ((3, 2), {"hidden": (5, 4, 3), "head_hidden": (6,)}),
    ((3, 1), {"hidden": (5, 4), "skip": False, "head_hidden": (3, 4), "fusion": "mean", "c": 1}),
    ((2, 3), {"hidden": ()}),
]


def exact(value, expected, rtol=1e-10, atol=1e-12):
    torch.testing.assert_close(value, expected, rtol=rtol, atol=atol)


def narrowed(views, client):
    return {name: view[client] for name, view in views.items()}


# -------------------------------------------------------------------------------------------- the layers

MLPS = [((), False), ((), True), ((4,), False), ((4,), True), ((5, 3, 4), False), ((5, 3, 4), True)]


def mlp_problem(hidden, skip, n_clients=3):
    mlp = MLP("h", 3, hidden, 2, skip=skip)
    layout = ParameterLayout(mlp.shapes)
    flat = 0.7 * normal(0, n_clients, layout.size)
    return mlp, layout, flat, normal(1, n_clients, 6, 3)


@pytest.mark.parametrize(("hidden", "skip"), MLPS)
def test_an_mlp_is_its_layers_in_turn_plus_the_skip(hidden, skip):
    mlp, layout, flat, x = mlp_problem(hidden, skip)
    out = mlp.forward(layout.views(flat), x)
    for client in range(3):
        views = layout.views(flat[client])
        exact(out[client], dense(views, "h", len(hidden), x[client], 2 if skip and hidden else 0))


def test_the_skip_is_a_linear_map_of_x():
    mlp, layout, flat, x = mlp_problem((4,), True)
    views = layout.views(flat)
    views["h.weight1"].zero_()  # leaves the skip and biases alone
    out = mlp.forward(views, x)
    bias = mlp.forward(views, torch.zeros_like(x))
    doubled = mlp.forward(views, 2 * x)
    exact(doubled - bias, 2 * (out - bias))
    assert (out - bias).abs().max() > 0.1


# ------------------------------------------------------------------------------------------- the network


@pytest.mark.parametrize(("columns", "options"), SHAPES)
def test_the_network_is_encoders_then_fusion_then_head(columns, options):
    network = make_network(columns, **options)
    flat, x = random_weights(network, 3), normal(1, 3, 5, sum(columns))
    act = network.forward(network.layout.views(flat), x)
    for client in range(3):
        views = network.layout.views(flat[client])
        codes, z, y_hat = written_out_forward(network, views, x[client], options.get("fusion", "concat"))
        exact(act.codes[client], torch.stack(codes, -2))
        exact(act.z[client], z)
        exact(act.y_hat[client], y_hat)


def test_replicas_are_independent():
    network = make_network((3, 2), hidden=(4, 3), head_hidden=(3,))
    flat, x, y = random_weights(network, 3), normal(1, 3, 5, 5), normal(2, 3, 5, 1)
    poisoned_flat, poisoned_x = flat.clone(), x.clone()
    poisoned_flat[1], poisoned_x[1] = torch.nan, torch.nan
    results = []
    for weights, rows in ((flat, x), (poisoned_flat, poisoned_x)):
        views = network.layout.views(weights.requires_grad_())
        act = network.forward(views, rows)
        t_joint, t_marginal = network.criticise(views, act.z, torch.cat((y, y.roll(-1, 1)), 1))
        squares = (t_joint.square() + t_marginal.square()).sum() + (act.y_hat - y).square().sum()
        (gradient,) = torch.autograd.grad(squares, weights)
        results.append([value.detach() for value in (act.codes, act.z, act.y_hat, t_joint, t_marginal, gradient)])
    for clean, poisoned in zip(*results, strict=True):
        assert torch.equal(clean[[0, 2]], poisoned[[0, 2]])
        assert poisoned[1].isnan().any()
        # And a replica alone is the replica in company.
    for client in range(3):
        alone = network.forward(network.layout.views(flat[client : client + 1]), x[client : client + 1])
        exact(alone.y_hat[0], results[0][2][client])


@given(seed=st.integers(0, 99), head_hidden=st.sampled_from([(), (3,)]), c=st.integers(1, 4))
def test_rotated_is_the_same_function_with_z_centred_and_turned(seed, head_hidden, c):
    network = make_network((3, 2), c=c, head_hidden=head_hidden, q=2)
    flat, x = random_weights(network, 1, seed), normal(seed + 1, 1, 6, 5)
    rng = np.random.default_rng(seed)
    center, rotation = rng.standard_normal(c), np.linalg.qr(rng.standard_normal((c, c))).Q
    before = network.forward(network.layout.views(flat), x)
    arrays = network.arrays(flat[0])
    kept = {name: array.copy() for name, array in arrays.items()}
    turned = tensor(network.layout.pack(network.rotated(arrays, center, rotation), dtype=float))
    after = network.forward(network.layout.views(turned[None]), x)
    exact(after.y_hat, before.y_hat)
    exact(after.z, (before.z - torch.as_tensor(center)) @ torch.as_tensor(rotation))
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, kept[name])


@pytest.mark.sampled()
@pytest.mark.parametrize("fusion", ["concat", "mean", "gated", "attention"])
@pytest.mark.parametrize("alignment", ["homoscedastic", "diagonal"])
def test_encoder_of_marks_the_parameters_without_which_a_modality_has_no_code_and_no_others(fusion, alignment):
    # Oracle: what is poisoned with NaN spoils the code, or the variances of it, of that modality alone.
    network = make_network((3, 2, 4), fusion=fusion, alignment=alignment, skip=False)
    marks, x = tensor(network.encoder_of()), normal(1, 1, 5, 9)
    covered = torch.zeros_like(marks)
    for name, view in network.layout.views(covered).items():
        view.fill_(1)
        flat = random_weights(network, 1)
        views = network.layout.views(flat)
        views[name].fill_(torch.nan)
        codes = network.forward(views, x).codes
        raw = network.spread(views, x) if network.spreads else 0.0
        spoiled = (codes + raw).isnan()[0, 0, :, 0].nonzero()[:, 0].tolist()
        assert network.layout.views(marks)[name].unique().tolist() == ([1 + spoiled[0]] if spoiled else [0]), name
        assert len(spoiled) <= 1
    assert torch.all(marks[covered == 0] == 0)
    assert set(marks.tolist()) == {0, 1, 2, 3}


# ------------------------------------------------------------------------------------------ first weights


def test_one_more_modality_moves_no_other_initial_weight():
    # The mean of codes is as wide however many there are, so that every other array keeps its shape.
    few, many = make_network((3, 2), fusion="mean"), make_network((3, 2, 4), fusion="mean")
    powers = {"a": 3.0, "b": 2.0, "c": 4.0}
    before, after = few.initial(5, powers), many.initial(5, powers)
    moved = [name for name in before if not np.array_equal(before[name], after[name])]
    assert moved == []


def test_padding_the_inputs_moves_no_initial_weight():
    narrow, wide = make_network((3, 2)), make_network((3, 6))
    before, after = narrow.initial(5, {"a": 3.0, "b": 2.0}), wide.initial(5, {"a": 3.0, "b": 2.0})
    np.testing.assert_array_equal(after["b.weight0"][:, :2], before["b.weight0"])
    for name in before:
        if name != "b.weight0":
            np.testing.assert_array_equal(after[name], before[name])


def test_initial_weights_differ_by_seed_and_part_and_repeat_for_the_same_seed():
    network = make_network((3, 3))
    powers = {"a": 3.0, "b": 3.0}
    one, same, other = network.initial(1, powers), network.initial(1, powers), network.initial(2, powers)
    assert not np.array_equal(one["a.weight0"], one["b.weight0"])
    assert not np.array_equal(one["a.weight0"], other["a.weight0"])
    for name, array in one.items():
        np.testing.assert_array_equal(array, same[name])
        if "bias" in name:
            assert not array.any()


def test_first_outputs_have_the_promised_standard_deviation_whatever_the_scale_of_the_data():
    network = make_network((400,), hidden=(500,))
    for scale in (0.1, 3.0):
        x = scale * normal(0, 300, 400).numpy()
        weight = network.initial(3, {"a": float((x**2).sum(1).mean())})["a.weight0"]
        np.testing.assert_allclose((x @ weight.T).std(), DATA_GAIN, rtol=0.05)
    weight = network.initial(3, {"a": 400.0})["a.weight1"]
    np.testing.assert_allclose((normal(1, 3000, 500).numpy() @ weight.T).std(), GAIN, rtol=0.1)


@pytest.mark.parametrize("name", ["fusion", "head", "critic"])
def test_a_modality_named_like_a_part_of_the_network_is_like_any_other_or_refused_by_name(name):
    rng = np.random.default_rng(0)
    X, options = rng.standard_normal((20, 5)), {"n_rounds": 2, "random_state": 0}
    model = FDRMFLTransformer(modalities={name: [0, 1, 2], "b": [3, 4]}, tuning=None, **options)
    try:
        Z = model.fit_transform(X, X[:, 0])
    except ValueError as error:
        assert name in str(error)
    else:
        other = FDRMFLTransformer(modalities={"a": [0, 1, 2], "b": [3, 4]}, tuning=None, **options).fit(X, X[:, 0])
        assert Z.shape == (20, 2)
        assert sum(w.size for w in model.weights_.values()) == sum(w.size for w in other.weights_.values())


# ----------------------------------------------------------------------------------------- flat parameters

shapes = st.dictionaries(
    st.text("abc.", min_size=1, max_size=4),
    st.lists(st.integers(1, 6), min_size=1, max_size=3).map(tuple),
    min_size=1,
    max_size=6,
)


@given(shapes=shapes, replicas=st.integers(1, 3))
def test_pack_and_views_are_inverse_and_arrays_start_aligned_without_overlap(shapes, replicas):
    layout = ParameterLayout(shapes)
    arrays = {name: np.random.default_rng(i).standard_normal(shape) for i, (name, shape) in enumerate(shapes.items())}
    flat = layout.pack(arrays, dtype=float)
    assert flat.shape == (layout.size,)
    assert layout.size % 16 == 0
    for name, view in layout.views(flat).items():
        np.testing.assert_array_equal(view, arrays[name])
        assert layout.offsets[name] % 16 == 0
    # Every array owns its entries, and only padding is left over: client by client, or array by array.
    n_entries = sum(int(np.prod(shape)) for shape in shapes.values())
    assert layout.size - n_entries < 16 * len(shapes)
    one, other = torch.zeros(replicas, layout.size), torch.zeros(replicas * layout.size)
    for whole, views in ((one, layout.views(one)), (other, layout.stacked(other, replicas))):
        for name, view in views.items():
            assert view.shape == (replicas, *shapes[name])
            view += 1
        assert whole.max() == 1
        assert whole.sum() == replicas * n_entries
    assert all(view.is_contiguous() for view in layout.stacked(other, replicas).values())


# ----------------------------------------------------------------------------------- the local objective


def ragged_batch(network, sizes, n_negatives, seed=0):
    """Clients of `sizes` rows padded to the longest with rows of their own, as the engine pads."""
    width, c, q = max(sizes), network.n_components, network.n_outputs
    x, y = normal([seed, 0], len(sizes), width, network.n_columns), normal([seed, 1], len(sizes), width, q)
    references = losses.unit(normal([seed, 2], len(sizes), width, 1 + n_negatives, c))
    weights, marginal = torch.zeros(len(sizes), width, dtype=FLOAT), y.clone()
    for client, n in enumerate(sizes):
        weights[client, :n] = 1 / n
        marginal[client, :n] = y[client, :n].roll(-1, 0)
        for padded in (x, y, marginal, references):
            padded[client, n:] = padded[client, 0].clone()
    pairs = torch.where(weights < 1, weights, 0.0)
    return Batch(x, torch.cat((y, marginal), 1), references if n_negatives else None, weights, pairs)


def lambdas_of_clients(n, mi, kl, contrastive):
    """Different for each client, so that a mix-up shows."""
    ramp = torch.linspace(0.5, 1.5, n, dtype=FLOAT)
    weights = {"mi_weight": mi, "kl_weight": kl, "contrastive_weight": contrastive}
    return {name: ramp * weight for name, weight in weights.items() if weight} | {"temperature": 0.5 * ramp}


def gradient_of(network, flat, batch, lambdas):
    """The gradient of L_k of each client, as the engine takes it."""
    flat = flat.clone().requires_grad_()
    values = term_values(network, network.layout.views(flat), batch, lambdas)
    shares = term_shares(network, batch, lambdas)
    roots = [name for name in shares if values[name].requires_grad]
    return torch.autograd.grad([values[name] for name in roots], flat, [shares[name] for name in roots])[0]


COMBINATIONS = list(product((0.0, 0.4), repeat=3))


@pytest.mark.sampled()
@pytest.mark.parametrize("lambdas", COMBINATIONS)
@pytest.mark.parametrize("n_negatives", [0, 2])
@pytest.mark.parametrize("shape", [SHAPES[0], SHAPES[2], SHAPES[4]], ids=["one", "three", "deep"])
def test_the_gradient_is_the_central_differences_of_the_objective(lambdas, n_negatives, shape):
    network = make_network(shape[0], **shape[1])
    batch, weights = ragged_batch(network, (5, 4, 1), n_negatives), lambdas_of_clients(3, *lambdas)
    flat = random_weights(network, 3)
    gradient = gradient_of(network, flat, batch, weights)
    assert gradient.abs().max() > 1e-3
    step = 1e-5
    for i in range(5):
        direction = random_weights(network, 3, seed=10 + i)
        after, before = (
            local_objective(network, network.layout.views(flat + sign * step * direction), batch, weights)["loss"]
            for sign in (1, -1)
        )
        exact((gradient * direction).sum(1), (after - before) / (2 * step), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("length", [0.0, 1e-9, 1e-5])
def test_where_z_is_too_short_to_turn_the_other_terms_alone_train(length):
    # A mixer of zeros sends all rows to Z = 0, where a cosine has no slope.
    network = make_network((3, 2), c=2)
    batch = ragged_batch(network, (5, 4, 1), 2)
    flat = random_weights(network, 3)
    for name in ("fusion.weight0", "fusion.bias0"):
        network.layout.views(flat)[name].mul_(length)
    gradient, others = (
        gradient_of(network, flat, batch, lambdas_of_clients(3, 0.4, 0.3, weight)) for weight in (0.2, 0.0)
    )
    exact(gradient, others)
    assert 0.1 < gradient.abs().max() < 100


@pytest.mark.parametrize("lambdas", COMBINATIONS)
@pytest.mark.parametrize("fusion", ["concat", "mean"])
def test_the_local_objective_is_the_one_written_out_client_by_client_without_padding(lambdas, fusion):
    network = make_network((3, 2, 2), c=3, q=2, head_hidden=(3,), fusion=fusion)
    sizes = (5, 3, 1)
    batch, weights = ragged_batch(network, sizes, 2), lambdas_of_clients(3, *lambdas)
    flat = random_weights(network, 3)
    values = local_objective(network, network.layout.views(flat), batch, weights)
    for client, n in enumerate(sizes):
        mine = dict.fromkeys(("mi_weight", "kl_weight", "contrastive_weight"), 0.0)
        mine |= {name: float(values_of[client]) for name, values_of in weights.items()}
        expected = written_out_objective(
            network,
            narrowed(network.layout.views(flat), client),
            batch.x[client, :n],
            batch.y[client, :n],
            batch.references[client, :n],
            make_settings(**mine),
            fusion,
        )
        exact(values["loss"][client], expected)


def test_the_loss_is_the_weighted_sum_of_the_reported_terms():
    network = make_network((3, 2))
    batch, weights = ragged_batch(network, (5, 4, 1), 2), lambdas_of_clients(3, 0.4, 0.3, 0.2)
    term = local_objective(network, network.layout.views(random_weights(network, 3)), batch, weights)
    assert set(term) == set(term_names())
    expected = (
        term["mse"]
        + weights["mi_weight"] * term["mi"]
        + weights["kl_weight"] * term["kl"]
        + weights["contrastive_weight"] * term["contrastive"]
    )
    exact(term["loss"], expected)
    assert all(torch.all(value[:2] != 0) for value in term.values())
    assert term["mi"][2] == term["mi_nwj"][2] == 0  # a batch of one row has no marginal pair


def test_the_reported_nwj_is_that_of_the_trained_critic():
    network = make_network((3,))
    batch = ragged_batch(network, (4,), 0)
    views = network.layout.views(random_weights(network, 1))
    values = local_objective(network, views, batch, lambdas_of_clients(1, 0.4, 0.0, 0.0))
    one = narrowed(views, 0)
    _, z, _ = written_out_forward(network, one, batch.x[0])
    t_joint = dense(one, "critic", 1, torch.cat((z, batch.y[0]), 1))
    t_marginal = dense(one, "critic", 1, torch.cat((z, batch.y[0].roll(-1, 0)), 1))
    exact(values["mi_nwj"][0], t_joint.mean() - t_marginal.exp().mean() + 1)


# --------------------------------------------------------------------------------------------- soft threshold


@given(w=st.floats(-2, 2), amount=st.floats(0, 1))
def test_soft_threshold_minimises_half_the_squared_distance_plus_the_l1_penalty(w, amount):
    weights = torch.tensor([w], dtype=FLOAT)
    soft_threshold_(weights, amount)
    u = float(weights)
    penalised = lambda v: 0.5 * (v - w) ** 2 + amount * abs(v)  # noqa: E731
    assert penalised(u) <= min(map(penalised, np.linspace(-2, 2, 801))) + 1e-12


def test_soft_threshold_stops_at_exactly_zero():
    weights = torch.tensor([0.3, -0.3, 0.2, -0.1, 0.0], dtype=FLOAT)
    soft_threshold_(weights, 0.2)
    exact(weights, torch.tensor([0.1, -0.1, 0.0, 0.0, 0.0], dtype=FLOAT))
    assert torch.equal(weights[2:], torch.zeros(3, dtype=FLOAT))
