"""Encoders: values against torch's own layers, gradients against autograd, the engines against each other."""

import copy
import functools
import pickle
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from helpers import FLOAT, federate, gradients, make_run, normal, random_weights, run_round, trained_by_the_loop
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, clone
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from torch import nn
from torch.autograd import gradcheck
from torch.nn import functional

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.encoders import (
    CategoricalEncoder,
    Conv1DEncoder,
    Conv2DEncoder,
    DenseEncoder,
    Encoder,
    LinearEncoder,
    RecurrentEncoder,
    TorchEncoder,
)
from skfdrmfl.encoders._conv import patches
from skfdrmfl.encoders._spec import preprocessing_of
from skfdrmfl.engines.rows import Run
from skfdrmfl.method import parts
from skfdrmfl.method.fusion import ConcatFusion
from skfdrmfl.method.layout import ParameterLayout
from skfdrmfl.method.network import Network
from skfdrmfl.method.parts import DATA_GAIN, GAIN, FeaturePart

# ------------------------------------------------------------------------------------------ other people's modules


def two_layers(n_columns, modality_dim):
    return nn.Sequential(nn.Linear(n_columns, 5), nn.Tanh(), nn.LayerNorm(5), nn.Linear(5, modality_dim, bias=False))


def convolution(n_columns, modality_dim):
    return nn.Sequential(nn.Unflatten(1, (1, n_columns)), nn.Conv1d(1, 3, 2), nn.Flatten(), nn.LazyLinear(modality_dim))


class Recurrent(nn.Module):
    """What `vmap` has no rule for."""

    def __init__(self, n_columns, modality_dim):
        super().__init__()
        self.unit = nn.GRU(n_columns, modality_dim, batch_first=True)

    def forward(self, x):
        return self.unit(torch.stack((x, x), 1))[0][:, -1]


class Frozen(nn.Module):
    """Random features that are not trained, one kind as a buffer, one as a frozen parameter."""

    def __init__(self, n_columns, modality_dim):
        super().__init__()
        self.register_buffer("frequencies", torch.randn(n_columns, 6))
        self.shift = nn.Parameter(torch.randn(6), requires_grad=False)
        self.scale = nn.Parameter(torch.tensor(1.5))
        self.out = nn.Linear(6, modality_dim)

    def forward(self, x):
        return self.scale * self.out(torch.cos(x @ self.frequencies + self.shift))


class Wide:
    """A factory with parameters of its own."""

    def __init__(self, width):
        self.width = width

    def __call__(self, n_columns, modality_dim):
        return nn.Sequential(nn.Linear(n_columns, self.width), nn.SiLU(), nn.Linear(self.width, modality_dim))


# ------------------------------------------------------------------------------------------------ small problems

SPECS = {  # spec, columns
    "conv1d": (Conv1DEncoder(n_channels=(2, 3), kernel_size=3, stride=2), 12),
    "conv1d, two channels": (Conv1DEncoder((2, 5), n_channels=2, kernel_size=2, stride=1, skip=False), 10),
    "conv2d": (Conv2DEncoder((2, 5, 6), n_channels=(2, 2), kernel_size=2, stride=2), 60),
    "conv2d, overlapping": (Conv2DEncoder((1, 4, 3), n_channels=(2,), kernel_size=3, stride=1, skip=False), 12),
    "recurrent": (RecurrentEncoder((3, 2), hidden_size=4), 6),
    "recurrent, bare": (RecurrentEncoder(hidden_size=2, skip=False), 4),
    "categorical": (CategoricalEncoder((3, 2), embedding_dim=3), 2),
    "torch": (TorchEncoder(two_layers), 4),
    "torch, convolution": (TorchEncoder(convolution), 4),
    "torch, not batched": (TorchEncoder(Recurrent), 3),
    "torch, frozen": (TorchEncoder(Frozen), 3),
}
every_spec = pytest.mark.parametrize("kind", SPECS)
D = 3


def part_of(kind, d=D):
    spec, n_columns = SPECS[kind]
    return spec.build("a", n_columns, d, (4,))


def make_network(kinds, d=D, **options):
    encoders = {}
    for i, kind in enumerate(kinds):
        spec, n_columns = SPECS[kind] if kind in SPECS else (DenseEncoder(), 3)
        encoders[f"m{i}"] = spec.build(f"m{i}", n_columns, d, (4,))
    options = {"n_components": 2, "n_outputs": 1} | options
    return Network(encoders, ConcatFusion(), modality_dim=d, **options)


def rows_for(part, *shape, seed=1):
    """Rows a part can read: codes of categories, some of them unknown, or Gaussian numbers."""
    if "Embedding" in type(part).__name__:
        return torch.as_tensor(np.random.default_rng(seed).integers(-1, 4, (*shape, part.n_inputs)), dtype=FLOAT)
    return normal(seed, *shape, part.n_inputs)


def federation(network, sizes, *, seed=0, **options):
    run = make_run(network, sizes, seed=seed, **options)
    x = torch.cat([rows_for(e, len(run.x), seed=[seed, m]) for m, e in enumerate(network.encoders.values())], -1)
    return Run(x, run.y, run.partition, run.settings, run.seed, run.start)


def exact(value, expected, rtol=1e-9, atol=1e-11):
    torch.testing.assert_close(value, expected, rtol=rtol, atol=atol)


def problem(kind, n_clients=3, n_rows=6):
    part = part_of(kind)
    layout = ParameterLayout(part.shapes)
    return part, layout, 0.5 * normal(0, n_clients, layout.size), rows_for(part, n_clients, n_rows)


# ------------------------------------------------------------------------------------- values, by torch's layers


def readout(arrays, features, x):
    out = features @ arrays["encoder.a.weight_out"].T + arrays["encoder.a.bias_out"][:, 0]
    return out + x @ arrays["encoder.a.weight_skip"].T if "encoder.a.weight_skip" in arrays else out


@pytest.mark.parametrize("kind", [kind for kind in SPECS if kind.startswith("conv")])
def test_convolutions_are_torchs(kind):
    part, layout, flat, x = problem(kind)
    out = part.forward(layout.views(flat), x)
    convolve = functional.conv1d if len(part.shape) == 2 else functional.conv2d
    for client in range(3):
        arrays = {name: view[client] for name, view in layout.views(flat).items()}
        a = x[client].view(-1, *part.shape)
        for i, n_channels in enumerate(part.channels):
            kernel = arrays[f"encoder.a.weight_{i}"].view(n_channels, a.shape[1], *[part.kernel] * (a.ndim - 2))
            a = functional.silu(convolve(a, kernel, arrays[f"encoder.a.bias_{i}"][:, 0], stride=part.stride))
        exact(out[client], readout(arrays, a.flatten(1), x[client]))


def test_patches_are_torchs_unfold():
    image = normal(0, 2, 3, 6, 5, 4)  # C, channels, height, width, B
    expected = functional.unfold(image[1].permute(3, 0, 1, 2), 2, stride=2).permute(1, 2, 0)
    exact(patches(image, 2, 2)[1].flatten(1, 2), expected)


@pytest.mark.parametrize("kind", ["recurrent", "recurrent, bare"])
def test_the_recurrent_unit_is_torchs_gru(kind):
    part, layout, flat, x = problem(kind)
    out = part.forward(layout.views(flat), x)
    for client in range(3):
        arrays = {name: view[client] for name, view in layout.views(flat).items()}
        unit = nn.GRU(part.shape[1], part.size, batch_first=True).double()
        theirs = {
            "weight_ih_l0": "weight_x",
            "weight_hh_l0": "weight_h",
            "bias_ih_l0": "bias_x",
            "bias_hh_l0": "bias_h",
        }
        state = {key: arrays[f"encoder.a.{mine}"] for key, mine in theirs.items()}
        unit.load_state_dict({key: a[:, 0] if "bias" in key else a for key, a in state.items()})
        with torch.no_grad():
            _, last = unit(x[client].view(-1, *part.shape))
        exact(out[client], readout(arrays, last[0], x[client]))


def test_embeddings_are_products_with_one_hot_codes_and_all_unknown_codes_are_one():
    part, layout, flat, _ = problem("categorical")
    x = torch.tensor([[0, 0], [2, 1], [1, -1], [3, 0], [-7, 9], [0.5, float("nan")]], dtype=FLOAT).expand(3, 6, 2)
    codes = torch.tensor([[0, 0], [2, 1], [1, 2], [3, 0], [3, 2], [3, 2]])  # 3 and 2 categories, then the unknown
    out = part.forward(layout.views(flat), x)
    for client in range(3):
        arrays = {name: view[client] for name, view in layout.views(flat).items()}
        table = arrays["encoder.a.embedding"].split([4, 3])
        vectors = [functional.one_hot(codes[:, j], len(t)).double() @ t for j, t in enumerate(table)]
        exact(out[client], readout(arrays, torch.cat(vectors, 1), None))
    first = part.initial(iter([np.random.default_rng(i) for i in range(3)]))["encoder.a.embedding"]
    assert np.all((first == 0).all(1) == [False] * 3 + [True] + [False] * 2 + [True])


@pytest.mark.parametrize("kind", [kind for kind in SPECS if kind.startswith("torch")])
def test_a_modules_codes_are_those_it_gives_itself(kind):
    part, layout, flat, x = problem(kind)
    assert part._batched == (kind != "torch, not batched")
    out = part.forward(layout.views(flat), x)
    for client in range(3):
        module = part._make(0).double()
        parameters = dict(module.named_parameters())
        for name, view in layout.views(flat).items():
            own = parameters[name.removeprefix("encoder.a.")]
            own.data.copy_(view[client].reshape(own.shape))
        with torch.no_grad():
            exact(out[client], module(x[client]))


def test_a_module_starts_from_the_weights_of_its_factory_and_the_seed_alone():
    part = part_of("torch")
    before = torch.get_rng_state()
    one, same, other = (part.initial(iter([np.random.default_rng(s)])) for s in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    for name in one:
        assert_array_equal(one[name], same[name])
    weight = "encoder.a.0.weight"
    assert one[weight].shape == (5, 4)
    assert np.abs(one[weight]).max() <= 0.5  # torch's own: uniform to 1 / sqrt(columns)
    assert not np.array_equal(one[weight], other[weight])
    assert_array_equal(one["encoder.a.2.weight"], np.ones((5, 1)))


# ------------------------------------------------------------------------------------------------- gradients


@every_spec
def test_the_gradient_of_a_part_is_its_central_differences(kind):
    part, layout, flat, x = problem(kind)
    assert gradcheck(lambda w: part.forward(layout.views(w), x), flat.requires_grad_(), fast_mode=True)
    (found,) = gradients(lambda w: part.forward(layout.views(w), x).square(), flat)
    assert all(view.abs().max() > 1e-3 for view in layout.views(found).values())


@every_spec
def test_replicas_are_independent(kind):
    part, layout, flat, x = problem(kind)
    results = []
    for poison in (0.3, torch.nan):
        weights, rows = flat.clone(), x.clone()
        weights[1], rows[1] = poison, poison
        out = part.forward(layout.views(weights), rows)
        (gradient,) = gradients(lambda w, rows=rows: part.forward(layout.views(w), rows).square(), weights)
        results.append((out[[0, 2]], gradient[[0, 2]]))
    for clean, poisoned in zip(*results, strict=True):
        assert torch.equal(clean, poisoned)


# ---------------------------------------------------------------------------------------------- the two engines

COMPANIES = [*[(kind,) for kind in SPECS], ("conv1d", "dense", "categorical"), ("recurrent", "torch", "conv2d")]


@pytest.mark.sampled(4)
@pytest.mark.parametrize(
    "kinds",
    [pytest.param(kinds, marks=[pytest.mark.slow] * (i % 2)) for i, kinds in enumerate(COMPANIES)],
    ids="+".join,
)
def test_the_torch_engine_is_the_loop(kinds):
    network = make_network(kinds)
    runs = [
        federation(network, [7, 2, 1], seed=0, n_history=1, input_l1=0.1),
        federation(network, [4, 9], seed=1, n_history=1, mi_weight=0.0),
    ]
    ours, loop = (federate(engine, network, runs, (1.0, 0.7)) for engine in ("torch", "loop"))
    for mine, theirs in zip(ours, loop, strict=True):
        exact(mine.state.weights, theirs.state.weights, rtol=1e-8, atol=1e-8)
        assert_allclose(mine.losses, theirs.losses, rtol=1e-7, atol=1e-8, equal_nan=True)
    moved = (ours[-1].state.weights - torch.stack([run.start.weights for run in runs])).abs()
    assert all(view.max() > 1e-3 for view in network.layout.views(moved).values())


@pytest.mark.sampled(3)
@every_spec
def test_a_client_in_company_is_the_client_alone(kind):
    network = make_network([kind])
    run = federation(network, [9, 4, 4, 1, 13], n_history=1)
    weights, _ = run_round("torch", network, [run])
    for k in range(5):
        alone, _ = run_round("torch", network, [run], participants=[k])
        exact(alone[k], weights[k], rtol=1e-10, atol=1e-12)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("kind", [kind for kind in SPECS if kind != "categorical"])
def test_the_rows_of_a_client_reach_no_other_clients_update(kind):
    network = make_network([kind])
    run = federation(network, [9, 4, 1, 13], n_history=1)
    x = run.x.clone()
    x[run.partition.rows[1]] = torch.nan
    poisoned = Run(x, run.y, run.partition, run.settings, run.seed, run.start)
    weights, other = (run_round("torch", network, [r])[0] for r in (run, poisoned))
    assert torch.equal(other[[0, 2, 3]], weights[[0, 2, 3]])
    assert other[1].isnan().any()


# -------------------------------------------------------------------------------------------- in the estimator

RNG = np.random.default_rng(0)
N = 60
SERIES, NUMBERS, CODES = RNG.standard_normal((N, 12)).cumsum(1), RNG.standard_normal((N, 4)), RNG.integers(0, 3, (N, 2))
X = np.hstack([SERIES, NUMBERS, CODES])
EFFECT = np.array([-1.0, 0.0, 1.0])
Y = SERIES[:, 6] - SERIES[:, 3] + NUMBERS[:, 0] + EFFECT[CODES[:, 0]]
IDS = np.arange(N) % 3
MODALITIES = {"nir": slice(0, 12), "lab": slice(12, 16), "site": slice(16, 18)}


def mixed(**params):
    encoders = {"nir": Conv1DEncoder(n_channels=(2,), kernel_size=3), "site": CategoricalEncoder(3, embedding_dim=2)}
    defaults = {"modalities": MODALITIES, "encoders": encoders, "n_rounds": 2, "local_epochs": 1, "random_state": 0}
    return FDRMFLTransformer(**({"tuning": None} | defaults | params))


def series(encoders, **params):
    return mixed(modalities={"nir": slice(0, 12), "rest": slice(12, 18)}, encoders=encoders, **params)


@pytest.mark.slow
def test_encoders_of_all_kinds_learn_together():
    model = mixed(n_rounds=30, local_epochs=5).fit(X[:45], Y[:45], client_ids=IDS[:45])
    assert model.score(X[45:], Y[45:]) > 0.9
    flat = mixed(n_rounds=30, local_epochs=5, encoders={"site": CategoricalEncoder(1)})  # all codes but 0 are unknown
    assert model.score(X[45:], Y[45:]) > flat.fit(X[:45], Y[:45], client_ids=IDS[:45]).score(X[45:], Y[45:])


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    "encoder",
    [Conv1DEncoder((3, 4), n_channels=2, kernel_size=2), Conv2DEncoder((1, 3, 4), kernel_size=2, n_channels=2),
     RecurrentEncoder((4, 3), hidden_size=3), TorchEncoder(two_layers), TorchEncoder(two_layers, keep_columns=False)],
    ids=lambda e: type(e).__name__,
)  # fmt: skip
def test_engines_agree_in_the_estimator(encoder):
    stacked = series({"nir": encoder}, engine="torch").fit_transform(X, Y, client_ids=IDS)
    with trained_by_the_loop():
        loop = series({"nir": encoder}, engine="torch").fit_transform(X, Y, client_ids=IDS)
    assert_allclose(stacked, loop, rtol=1e-3, atol=1e-4)  # both train in float32


def test_no_graph_is_recorded_when_a_model_is_used(monkeypatch):
    model = mixed(encoders={"nir": RecurrentEncoder(), "lab": TorchEncoder(two_layers)}).fit(X, Y)
    expected = model.transform(X)

    forward = FeaturePart.forward

    def refuse(*args):
        out = forward(*args)
        if out.requires_grad:
            raise AssertionError("a graph was recorded")
        return out

    monkeypatch.setattr(FeaturePart, "forward", refuse)
    assert_array_equal(model.transform(X), expected)
    with pytest.raises(AssertionError, match="a graph"):
        clone(model).fit(X, Y)


# ------------------------------------------------------------------------------------------------- preprocessing


@pytest.mark.parametrize(
    ("encoder", "kinds"),
    [
        (DenseEncoder(), ("whiten", "standardize", None)),
        (LinearEncoder(), ("whiten", "standardize", None)),
        (Conv1DEncoder(), ("standardize", "standardize", None)),
        (Conv2DEncoder((1, 2, 2)), ("standardize", "standardize", None)),
        (RecurrentEncoder(), ("standardize", "standardize", None)),
        (TorchEncoder(two_layers), ("standardize", "standardize", None)),
        (TorchEncoder(two_layers, keep_columns=False), ("whiten", "standardize", None)),
        (CategoricalEncoder(3), (None, None, None)),
    ],
    ids=lambda v: type(v).__name__ if isinstance(v, BaseEstimator) else "",
)
def test_preprocessing_is_as_strong_as_the_encoder_stands(encoder, kinds):
    assert isinstance(encoder, Encoder)
    assert tuple(preprocessing_of(encoder, asked) for asked in ("whiten", "standardize", None)) == kinds


@pytest.mark.parametrize("shrinkage", [1e-3, "auto"])
def test_each_modality_is_preprocessed_for_its_encoder(shrinkage):
    table = mixed(shrinkage=shrinkage).fit(X, Y, client_ids=IDS)._fitted.table.apply(X, np.float64)
    assert_allclose(table[:, :12], (SERIES - SERIES.mean(0)) / SERIES.std(0), rtol=1e-9, atol=1e-9)
    whitened = table[:, 12:16]
    assert_allclose(whitened.T @ whitened / N, np.eye(4), atol=0.1)
    assert abs(np.corrcoef(whitened[:, 0], NUMBERS[:, 0])[0, 1]) < 0.999  # directions, not columns
    assert_array_equal(table[:, 16:], CODES)


def test_a_constant_column_keeps_its_place():
    held = X.copy()
    held[:, 5] = 3.0
    Z = series({"nir": Conv1DEncoder(kernel_size=3, n_channels=2)}).fit(held, Y).transform(held)
    assert np.isfinite(Z).all()


# --------------------------------------------------------------------------------------------- nested parameters


def test_parameters_of_encoders_are_nested_one_by_one():
    one = FDRMFLTransformer(encoders=Conv1DEncoder(), tuning=None)
    assert one.get_params()["encoders__kernel_size"] == 5
    assert "encoders__kernel_size" not in one.get_params(deep=False)
    many = mixed(encoders={"nir": Conv1DEncoder(), "lab": None})
    params = many.get_params()
    assert params["encoders__nir__kernel_size"] == 5
    assert params["encoders__lab"] is None
    assert repr(clone(many).set_params(**params).get_params()) == repr(params)
    many.set_params(encoders__nir__kernel_size=3, encoders__lab=DenseEncoder(), encoders__nir__skip=False)
    many.set_params(encoders__lab__hidden_layer_sizes=(7,))
    assert (many.encoders["nir"].kernel_size, many.encoders["nir"].skip) == (3, False)
    assert many.encoders["lab"].hidden_layer_sizes == (7,)
    pipeline = Pipeline([("fdrmfl", many), ("ridge", Ridge())])
    pipeline.set_params(fdrmfl__encoders__nir__kernel_size=4)
    assert pipeline.get_params()["fdrmfl__encoders__nir__kernel_size"] == 4


def test_setting_all_encoders_and_one_parameter_of_theirs_goes_in_that_order():
    model = mixed().set_params(encoders__nir__kernel_size=2, encoders={"nir": Conv1DEncoder(skip=False)})
    assert (model.encoders["nir"].kernel_size, model.encoders["nir"].skip) == (2, False)
    model.set_params(encoders__nir__hidden_size=9, encoders__nir=RecurrentEncoder())
    assert model.encoders["nir"].hidden_size == 9


def test_names_with_double_underscores_are_found():
    model = mixed(encoders={"a": DenseEncoder(), "a__b": DenseEncoder(), "a__skip": DenseEncoder((3,))})
    model.set_params(encoders__a__b__hidden_layer_sizes=(2,), encoders__a__hidden_layer_sizes=(1,))
    assert [spec.hidden_layer_sizes for spec in model.encoders.values()] == [(1,), (2,), (3,)]


@pytest.mark.parametrize("encoders", [DenseEncoder((4,)), {"x": DenseEncoder((4,))}], ids=["one", "dict"])
def test_setting_a_parameter_leaves_estimators_that_share_the_encoder_alone(encoders):
    key = "encoders__hidden_layer_sizes" if isinstance(encoders, BaseEstimator) else "encoders__x__hidden_layer_sizes"
    first, second = FDRMFLTransformer(encoders=encoders, tuning=None), FDRMFLTransformer(encoders=encoders, tuning=None)
    copied = clone(first)
    first.set_params(**{key: (5,)})
    copied.set_params(**{key: (6,)})
    found = [model.get_params()[key] for model in (first, second, copied)]
    assert found == [(5,), (4,), (6,)]


@pytest.mark.parametrize(
    ("encoders", "key"),
    [
        (None, "encoders__skip"),
        ({"nir": DenseEncoder()}, "encoders__lab__skip"),
        ({"nir": DenseEncoder()}, "encoders__skip"),
        ({"nir": DenseEncoder()}, "encoders__nir__kernel_size"),
        ({"nir": None}, "encoders__nir__skip"),
        (DenseEncoder(), "encoders__nir__skip"),
    ],
)
def test_a_parameter_that_does_not_exist_is_named(encoders, key):
    with pytest.raises(ValueError, match="Invalid parameter") as caught:
        mixed(encoders=encoders).set_params(**{key: 1})
    assert key.split("__")[-1] in str(caught.value)


GRIDS = {
    "shapes of convolutions": {
        "fdrmfl__encoders__nir__kernel_size": [2, 3],
        "fdrmfl__encoders__nir__stride": [1, 2],
        "fdrmfl__learning_rate": [0.01, 0.03],
    },
    "kinds of encoders": {
        "fdrmfl__encoders__nir": [RecurrentEncoder(), DenseEncoder((3,)), TorchEncoder(Wide(3)), TorchEncoder(Wide(4))],
        "fdrmfl__encoders__lab__hidden_layer_sizes": [(2,), (3, 2)],
    },
    "dense ranks beside a convolution": {"fdrmfl__shrinkage": [0.5, 1e-6], "fdrmfl__fusion": ["gated", "concat"]},
}


@pytest.mark.slow
@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
def test_searches_set_parameters_of_encoders(grid):
    model = mixed(encoders=mixed().encoders | {"lab": DenseEncoder((4,))})
    pipeline = Pipeline([("fdrmfl", model), ("ridge", Ridge())])
    search = GridSearchCV(pipeline, grid, cv=2, error_score="raise").fit(X, Y, fdrmfl__client_ids=IDS)
    scores = search.cv_results_["mean_test_score"]
    assert len(np.unique(scores)) == len(scores)  # every candidate is another model


# ------------------------------------------------------------------------------------------------------- errors


def recurring(n_columns, modality_dim):
    return nn.Linear(n_columns, modality_dim + 1)


def normalising(n_columns, modality_dim):
    return nn.Sequential(nn.Linear(n_columns, modality_dim), nn.BatchNorm1d(modality_dim))


class Centring(nn.Linear):
    def forward(self, x):
        return super().forward(x - x.mean(0))


class Counting(nn.Linear):
    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        if self.training:
            self.calls += 1
        return super().forward(x)


class Random(nn.Linear):
    def forward(self, x):
        return functional.dropout(super().forward(x))


class Failing(nn.Linear):
    def forward(self, x):
        raise RuntimeError("no such luck")


ERRORS = [
    (Conv2DEncoder((3, 32, 32)), ["'nir'", "3 x 32 x 32 = 3072 columns", "has 12", "(channels, height, width)"]),
    (Conv2DEncoder((3, 4)), ["'nir'", "(channels, height, width)", "(3, 4)"]),
    (Conv1DEncoder((5, 2)), ["5 x 2 = 10 columns", "has 12", "(channels, length)"]),
    (Conv1DEncoder("ab"), ["(channels, length)", "'ab'"]),
    (Conv1DEncoder(kernel_size=13), ["kernel_size=13", "layer 1", "12 positions", "smaller"]),
    (Conv1DEncoder(n_channels=(2, 2, 2)), ["kernel_size=5", "layer 2", "fewer"]),
    (Conv1DEncoder(n_channels=()), ["n_channels", "empty"]),
    (Conv1DEncoder(n_channels=(2, 0)), ["n_channels", "'nir'", "positive"]),
    (Conv1DEncoder(stride=0), ["stride", "'nir'", "positive", "0"]),
    (RecurrentEncoder((10, 50)), ["10 x 50 = 500 columns", "has 12", "(steps, features)"]),
    (RecurrentEncoder(hidden_size=2.5), ["hidden_size", "positive", "2.5"]),
    (CategoricalEncoder((3, 3)), ["n_categories", "2 entries", "12 columns"]),
    (CategoricalEncoder(0), ["n_categories", "'nir'", "positive", "0"]),
    (CategoricalEncoder(3), ["column 0", "'nir'", "integer code", "from 0"]),
    (TorchEncoder(None), ["factory", "'nir'", "None", "function"]),
    (TorchEncoder(nn.Linear(12, 8)), ["factory", "Linear", "function of"]),
    (TorchEncoder(lambda n, d: "module"), ["factory", "returned str", "Module"]),
    (TorchEncoder(recurring), ["nir", "(3, 12)", "(3, 9)", "(3, 8)", "modality_dim=8"]),
    (TorchEncoder(normalising), ["nir", "BatchNorm1d", "LayerNorm"]),
    (TorchEncoder(Centring), ["nir", "other rows", "by itself"]),
    (TorchEncoder(Counting), ["nir", "'calls'", "buffer"]),
    (TorchEncoder(Random), ["nir", "second call", "random"]),
    (TorchEncoder(Failing), ["nir", "(3, 12)", "no such luck"]),
    (TorchEncoder(lambda n, d: nn.Flatten()), ["nir", "(3, 12)", "(3, 8)"]),
]


@pytest.mark.parametrize(("encoder", "words"), ERRORS, ids=lambda v: type(v).__name__)
@pytest.mark.parametrize("shrinkage", [1e-3, "auto"])
def test_an_encoder_that_does_not_fit_is_refused_before_training(monkeypatch, encoder, words, shrinkage):
    monkeypatch.setattr("skfdrmfl.server.training.federated_run", None)
    with pytest.raises(ValueError, match=".") as caught:
        series({"nir": encoder}, shrinkage=shrinkage).fit(X, Y, client_ids=IDS)
    for word in words:
        assert word in str(caught.value)


def test_codes_that_are_no_integers_are_refused_in_use_too():
    codes = np.random.default_rng(0).integers(0, 3, (30, 2)).astype(float)
    fitted = FDRMFLTransformer(encoders=CategoricalEncoder(3), n_rounds=1, random_state=0, tuning=None).fit(
        codes, codes[:, 0]
    )
    fitted.set_params(encoders={"gone": None})  # what was fitted counts
    assert np.isfinite(fitted.predict(codes - 1)).all()
    with pytest.raises(ValueError, match=r"column 0 of modality 'x' holds .*\.5 in row 0, which is no integer code"):
        fitted.predict(codes + 0.5)


@pytest.mark.parametrize(
    ("encoders", "words"),
    [
        ({"image": Conv1DEncoder()}, ["'image'", "not exist", "'nir'"]),
        ({0: Conv1DEncoder()}, ["0", "not exist", "'nir'"]),
        ({"nir": Conv1DEncoder}, ["'nir'", "pass an encoder"]),
        ({"nir": nn.Linear(12, 8)}, ["'nir'", "pass an encoder"]),
    ],
)
def test_what_is_no_encoder_of_a_modality_is_refused(encoders, words):
    with pytest.raises(ValueError, match=".") as caught:
        series(encoders).fit(X, Y)
    for word in words:
        assert word in str(caught.value)


# -------------------------------------------------------------------------------------- categories met later


def test_unseen_categories_get_the_vector_of_unknown_ones():
    model = mixed().fit(X, Y, client_ids=IDS)
    unseen = np.repeat(X[:1], 4, 0)
    unseen[:, 16] = [-1, 3, 99, 1e9]
    Z = model.transform(unseen)
    assert_array_equal(Z, np.repeat(Z[:1], 4, 0))
    assert not np.allclose(Z[0], model.transform(X[:1])[0])
    assert_array_equal(model.weights_["encoder.site.embedding"][[3, 7]], np.zeros((2, 2)))


# ------------------------------------------------------------------------------------------ saving and going on


def uses_of(model):
    return [
        pickle.loads(pickle.dumps(model)),
        copy.deepcopy(model),
    ]


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    "encoder",
    [TorchEncoder(convolution), TorchEncoder(Wide(4)), TorchEncoder(Frozen), RecurrentEncoder((4, 3))],
    ids=["function", "object", "class", "recurrent"],
)
def test_a_model_saved_is_the_same_and_goes_on(encoder):
    model = series({"nir": encoder}).fit(X, Y, client_ids=IDS)
    expected = model.transform(X)
    on = copy.deepcopy(model).partial_fit(X, Y, client_ids=IDS).transform(X)
    for saved in uses_of(model):
        assert_array_equal(saved.transform(X), expected)
        assert_array_equal(saved.partial_fit(X, Y, client_ids=IDS).transform(X), on)
    assert not np.allclose(on, expected)
    again = clone(model).fit(X, Y, client_ids=IDS)
    assert_array_equal(again.transform(X), expected)


@pytest.mark.slow
def test_a_lambda_trains_but_cannot_be_pickled():
    model = series({"nir": TorchEncoder(lambda n, d: nn.Linear(n, d))}).fit(X, Y)
    assert np.isfinite(model.transform(X)).all()
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(model)
    search = GridSearchCV(model, {"encoders__nir__factory": [two_layers, Wide(2)]}, cv=2, error_score="raise")
    assert np.isfinite(search.fit(X, Y).cv_results_["mean_test_score"]).all()


def test_a_factory_that_makes_other_shapes_than_the_model_was_trained_with_is_refused():
    factory = Wide(4)
    model = series({"nir": TorchEncoder(factory)}).fit(X, Y)
    factory.width = 5
    with pytest.raises(ValueError, match=r"factory of encoder\.nir.*restore the factory"):
        pickle.loads(pickle.dumps(model))


@pytest.mark.parametrize(
    "other", [Conv1DEncoder(kernel_size=4), DenseEncoder(), TorchEncoder(two_layers)], ids=lambda e: type(e).__name__
)
def test_going_on_with_another_encoder_is_refused(other):
    model = series({"nir": Conv1DEncoder(kernel_size=3)}).fit(X, Y)
    with pytest.raises(ValueError, match="encoders is .* now"):
        model.set_params(encoders={"nir": other}).partial_fit(X, Y)


def test_factories_that_differ_only_in_their_arguments_are_told_apart():
    parts_of = [
        TorchEncoder(functools.partial(_scaled, scale)).build("a", 3, 2, ()).signature for scale in (1.0, 1.0, 2.0)
    ]
    assert parts_of[0] == parts_of[1] != parts_of[2]
    assert hash(parts_of[0]) == hash(parts_of[1])


def _scaled(scale, n_columns, modality_dim):
    module = nn.Linear(n_columns, modality_dim)
    module.scale = scale
    return module


def test_dropout_is_inactive_in_training():
    def dropping(n_columns, modality_dim):
        return nn.Sequential(nn.Dropout(0.9), nn.Linear(n_columns, modality_dim))

    def plain(n_columns, modality_dim):
        return nn.Sequential(nn.Identity(), nn.Linear(n_columns, modality_dim))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = [series({"nir": TorchEncoder(f)}).fit(X, Y).transform(X) for f in (dropping, plain)]
    assert_array_equal(*found)


@every_spec
def test_all_arrays_are_matrices_and_first_weights_repeat(kind):
    part = part_of(kind)
    assert all(len(shape) == 2 for shape in part.shapes.values())
    assert part.first_weight in part.shapes
    draws = [part.initial((np.random.default_rng([s, i]) for i in range(99)), 5.0) for s in (0, 0, 1)]
    assert {name: array.shape for name, array in draws[0].items()} == part.shapes
    for name in part.shapes:
        assert_array_equal(draws[0][name], draws[1][name])
    assert not np.array_equal(draws[0][part.first_weight], draws[2][part.first_weight])
    assert random_weights(make_network([kind]), 1).isfinite().all()


@pytest.mark.parametrize("scale", [0.1, 3.0])
def test_first_outputs_of_each_layer_have_the_promised_standard_deviation_whatever_the_scale_of_the_data(scale):
    part = RecurrentEncoder((10, 40), hidden_size=200).build("a", 400, 50, ())
    x = scale * normal(0, 300, 400).numpy()
    arrays = part.initial((np.random.default_rng([3, i]) for i in range(99)), float((x**2).sum(1).mean()))
    weights = {name.removeprefix("encoder.a."): array for name, array in arrays.items()}
    assert (x @ weights["weight_skip"].T).std() == pytest.approx(DATA_GAIN, rel=0.05)
    assert (x[:, :40] @ weights["weight_x"].T).std() == pytest.approx(GAIN, rel=0.05)
    features = normal(1, 300, 200).numpy()
    for name in ("weight_h", "weight_out"):
        assert (features @ weights[name].T).std() == pytest.approx(GAIN, rel=0.05)


def test_data_that_are_almost_zero_get_no_huge_first_weights():
    part = part_of("conv1d")
    tiny, one = (part.initial((np.random.default_rng(i) for i in range(99)), power) for power in (1e-12, 1.0))
    for name, array in one.items():
        assert_array_equal(tiny[name], array)


@pytest.mark.parametrize("scale", [0.0, 2.0])
def test_first_outputs_of_embedded_categories_beside_numbers_have_the_promised_standard_deviation(scale):
    part = DenseEncoder((200,)).build_embedded("a", (50,) * 30, 50, 40, ())
    rng = np.random.default_rng(0)
    codes, numeric = rng.integers(0, 50, (300, 30)), scale * rng.standard_normal((300, 20))
    arrays = part.initial((np.random.default_rng([3, i]) for i in range(99)), float((numeric**2).sum(1).mean()))
    vectors = arrays["encoder.a.embedding"][codes + 51 * np.arange(30)]  # (rows, columns, entries of a vector)
    assert (vectors**2).sum(-1).mean() == pytest.approx(GAIN**2, rel=0.05)
    inputs = np.hstack([vectors.reshape(300, -1), numeric])
    assert (inputs @ arrays["encoder.a.weight0"].T).std() == pytest.approx(DATA_GAIN, rel=0.05)


def test_threads_can_use_one_model_at_the_same_time():
    model = series({"nir": TorchEncoder(two_layers)}).fit(X, Y)
    expected = model.transform(X)
    with ThreadPoolExecutor(4) as pool:
        for Z in pool.map(lambda _: model.transform(X), range(40)):
            assert_array_equal(Z, expected)


class Waves(Encoder):
    """An encoder of someone else's: amplitudes of a few trainable cosines."""

    def __init__(self, n_waves=3):
        self.n_waves = n_waves

    def build(self, name, n_columns, modality_dim, default_hidden):
        return WavesPart(f"encoder.{name}", n_columns, modality_dim, self.n_waves)


class WavesPart(parts.Part):
    def __init__(self, name, n_inputs, n_outputs, n_waves):
        super().__init__(name, n_inputs, n_outputs, n_waves)
        self.first_weight = f"{name}.frequency"
        self.shapes = {f"{name}.frequency": (n_waves, n_inputs), f"{name}.out": (n_outputs, n_waves)}

    def initial(self, rngs, input_power=None):
        return {name: next(rngs).standard_normal(shape) for name, shape in self.shapes.items()}

    def forward(self, views, x):
        frequency, out = (views[name] for name in self.shapes)
        return torch.cos(x @ frequency.mT) @ out.mT


def test_an_encoder_of_ones_own_is_like_any_other():
    grid = {"encoders__nir__n_waves": [2, 3]}
    scores = []
    for engine in (nullcontext, trained_by_the_loop):
        with engine():
            found = GridSearchCV(series({"nir": Waves()}), grid, cv=2).fit(X, Y, client_ids=IDS)
        scores.append(found.cv_results_["mean_test_score"])
    assert_allclose(*scores, rtol=1e-3)
