"""Fusions: values written out row by row, gradients against autograd, and what a mask must and must not do."""

from itertools import count

import numpy as np
import pytest
import torch
from helpers import federate, gradients, make_network, make_run, normal, random_weights, tensor
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.method.fusion import FUSIONS, N_QUERIES
from skfdrmfl.method.layout import ParameterLayout
from skfdrmfl.method.parts import GAIN

KINDS = sorted(FUSIONS)
TRAINED = ["attention", "gated"]
C, B, M, D = 2, 3, 4, 2


def exact(value, expected, rtol=1e-10, atol=1e-12):
    torch.testing.assert_close(value, expected, rtol=rtol, atol=atol)


def problem(kind, n_modalities=M, d=D):
    """A fusion, its random arrays for C clients, and codes."""
    fusion = FUSIONS[kind]()
    layout = ParameterLayout(fusion.shapes(n_modalities, d))
    return fusion, layout, normal(0, C, layout.size), normal(1, C, B, n_modalities, d)


def some_missing(n_modalities=M):
    """A mask that has rows with all, with some and with none of the modalities."""
    mask = torch.as_tensor(np.random.default_rng(3).random((C, B, n_modalities)) < 0.6)
    mask[0, 0], mask[1, 2] = False, True
    return mask


def softmax(scores):
    top = max(scores)
    shares = [np.exp(s - top) for s in scores]
    return [s / sum(shares) for s in shares]


def written_out(kind, arrays, mu):
    """The pooled code of one row of one client, from the codes (m -> vector) of the modalities it has."""
    d = len(next(iter(mu.values()))) if mu else D
    if kind == "concat":
        return np.concatenate([mu.get(m, np.zeros(d)) for m in range(M)])
    if not mu:
        return np.zeros(d if kind != "attention" else N_QUERIES * d)
    if kind == "mean":
        return sum(mu.values()) / len(mu)
    if kind == "gated":
        weight, bias = arrays["fusion.gate_weight"], arrays["fusion.gate_bias"][:, 0]
        gates = {m: weight[m * d : (m + 1) * d] @ code + bias[m * d : (m + 1) * d] for m, code in mu.items()}
        return np.array(
            [
                sum(s * mu[m][i] for s, m in zip(softmax([g[i] for g in gates.values()]), mu, strict=True))
                for i in range(d)
            ]
        )
    seen = []
    for query, preference in zip(arrays["fusion.query"], arrays["fusion.preference"], strict=True):
        shares = softmax([query @ code / np.sqrt(d) + preference[m] for m, code in mu.items()])
        seen.append(sum(s * code for s, code in zip(shares, mu.values(), strict=True)))
    return np.concatenate(seen)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("masked", [False, True])
def test_a_fusion_is_what_its_formula_says_row_by_row(kind, masked):
    fusion, layout, flat, codes = problem(kind)
    mask = some_missing() if masked else None
    pooled = fusion.pool(layout.views(flat), codes, mask)
    assert pooled.shape == (C, B, fusion.n_pooled(M, D))
    for c in range(C):
        arrays = {name: view[c].numpy() for name, view in layout.views(flat).items()}
        for b in range(B):
            mu = {m: codes[c, b, m].numpy() for m in range(M) if mask is None or mask[c, b, m]}
            np.testing.assert_allclose(pooled[c, b].numpy(), written_out(kind, arrays, mu), rtol=1e-10, atol=1e-13)


@pytest.mark.sampled()
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("n_modalities", "d"), [(M, D), (1, 3), (2, 1)])
def test_the_gradient_of_a_fusion_is_its_central_differences(kind, masked, n_modalities, d):
    fusion, layout, flat, codes = problem(kind, n_modalities, d)
    mask = some_missing(n_modalities) if masked else None
    assert gradcheck(lambda mu: fusion.pool(layout.views(flat), mu, mask), codes.clone().requires_grad_())
    if fusion.shapes(n_modalities, d):
        assert gradcheck(lambda w: fusion.pool(layout.views(w), codes, mask), flat.requires_grad_())


@pytest.mark.parametrize("kind", KINDS)
def test_a_mask_of_all_is_no_mask(kind):
    fusion, layout, flat, codes = problem(kind)
    views = layout.views(flat)
    exact(fusion.pool(views, codes, torch.ones(C, B, M, dtype=torch.bool)), fusion.pool(views, codes))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("poison", [float("nan"), float("inf"), 1e6])
def test_what_a_row_lacks_influences_neither_values_nor_gradients(kind, poison):
    fusion, layout, flat, codes = problem(kind)
    mask, views = some_missing(), layout.views(flat)
    poisoned = torch.where(mask.unsqueeze(-1), codes, poison)
    results = []
    for mu in (codes, poisoned):
        d_flat, d_codes = gradients(lambda w, mu: fusion.pool(layout.views(w), mu, mask), flat, mu)
        results.append((fusion.pool(views, mu, mask), d_codes, d_flat))
        assert d_codes[~mask].abs().max() == 0
    for clean, other in zip(*results, strict=True):
        assert torch.equal(clean, other)
        assert clean.isfinite().all()


@pytest.mark.parametrize("kind", ["mean", *TRAINED])
@pytest.mark.parametrize("scale", [1.0, 1e6])
def test_a_mean_of_codes_that_agree_is_that_code(kind, scale):
    # Shares sum to one, also where all scores of a row are far below zero.
    fusion, layout, flat, codes = problem(kind)
    same = codes[:, :, :1].expand(-1, -1, M, -1)
    pooled = fusion.pool(layout.views(scale * flat), same)
    exact(pooled, same[:, :, 0].repeat(1, 1, pooled.shape[-1] // D))


@pytest.mark.parametrize("kind", TRAINED)
def test_without_gates_and_queries_the_share_of_each_modality_is_the_same(kind):
    fusion, layout, flat, codes = problem(kind)
    pooled = fusion.pool(layout.views(torch.zeros_like(flat)), codes)
    exact(pooled, codes.mean(-2).repeat(1, 1, pooled.shape[-1] // D))


@pytest.mark.parametrize("kind", TRAINED)
def test_scores_of_any_size_give_shares(kind):
    fusion, layout, flat, codes = problem(kind)
    pooled = fusion.pool(layout.views(1e6 * flat), codes)
    assert pooled.isfinite().all()
    assert pooled.abs().max() <= codes.abs().max()


@pytest.mark.parametrize("kind", TRAINED)
@given(seed=st.integers(0, 99))
def test_rotated_is_the_same_function(kind, seed):
    network = make_network((3, 2), c=3, fusion=kind)
    flat, x = random_weights(network, 1, seed), normal(seed + 1, 1, 6, 5)
    rng = np.random.default_rng(seed)
    center, rotation = rng.standard_normal(3), np.linalg.qr(rng.standard_normal((3, 3))).Q
    before = network.forward(network.layout.views(flat), x)
    turned = tensor(network.layout.pack(network.rotated(network.arrays(flat[0]), center, rotation), dtype=float))
    after = network.forward(network.layout.views(turned[None]), x)
    exact(after.y_hat, before.y_hat)
    exact(after.z, (before.z - torch.as_tensor(center)) @ torch.as_tensor(rotation))


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("kind", "columns"), [("attention", (3,)), ("attention", (2, 1, 2)), ("gated", (3, 2)), ("gated", (2, 1, 2))]
)
def test_the_torch_engine_is_the_loop(kind, columns):
    network = make_network(columns, fusion=kind)
    runs = [
        make_run(network, [7, 2, 1], seed=0, n_history=1, input_l1=0.1),
        make_run(network, [4, 9], seed=1, n_history=1, kl_weight=0.0),
    ]
    stacked, loop = (federate(engine, network, runs, (1.0, 0.7, 0.2)) for engine in ("torch", "loop"))
    for mine, theirs in zip(stacked, loop, strict=True):
        exact(mine.state.weights, theirs.state.weights, rtol=1e-8, atol=1e-8)
    assert (stacked[-1].state.weights - torch.stack([run.start.weights for run in runs])).abs().max() > 1e-3


def test_new_arrays_move_no_other_first_weight():
    powers = {"a": 3.0, "b": 2.0}
    mean, gated = (make_network((3, 2), fusion=kind).initial(5, powers) for kind in ("mean", "gated"))
    for name, array in mean.items():
        np.testing.assert_array_equal(gated[name], array)
    assert set(gated) - set(mean) == {"fusion.gate_weight", "fusion.gate_bias"}


@pytest.mark.parametrize("d", [1, 4, 64])
def test_first_scores_of_codes_of_unit_variance_have_the_promised_standard_deviation_whatever_their_width(d):
    # Many modalities, so that there are many draws: at least 20,000 gates of each width, and 2,500 networks of queries.
    n_modalities, n_networks = 20_000 // d, 2_500
    rngs = (np.random.default_rng([d, i]) for i in count())
    gates = FUSIONS["gated"]().initial(rngs, n_modalities, d)
    codes = np.random.default_rng([0, d]).standard_normal((n_modalities, d))
    scores = np.einsum("mij,mj->mi", gates["fusion.gate_weight"].reshape(n_modalities, d, d), codes)
    assert scores.std() == pytest.approx(GAIN, rel=0.05)
    assert abs(scores.mean()) < 0.05 * GAIN
    assert not gates["fusion.gate_bias"].any()
    drawn = [FUSIONS["attention"]().initial(rngs, 3, d) for _ in range(n_networks)]
    queries = np.stack([arrays["fusion.query"] for arrays in drawn])
    seen = np.einsum(
        "njk,nk->nj", queries, np.random.default_rng([1, 0, d]).standard_normal((n_networks, d))
    ) / np.sqrt(d)
    assert seen.std() == pytest.approx(1.0, rel=0.05)
    assert not any(arrays["fusion.preference"].any() for arrays in drawn)


@pytest.mark.slow
@pytest.mark.parametrize("kind", TRAINED)
def test_gates_find_the_modality_that_holds_the_signal_of_a_row(kind):
    # In each row one of two modalities is noise around zero, the other large and informative: which of them is
    # visible from the codes alone, and the plain mean cannot tell them apart.
    rng = np.random.default_rng(0)
    n = 300
    y = rng.standard_normal(n)
    first = rng.random(n) < 0.5
    signal, noise = np.column_stack([y, np.full(n, 2.0)]), np.column_stack([3 * rng.standard_normal(n), np.zeros(n)])
    X = np.hstack([np.where(first[:, None], signal, noise), np.where(first[:, None], noise, signal)])
    options = {
        "modalities": {"a": [0, 1], "b": [2, 3]},
        "encoders": None,
        "hidden_layer_sizes": (),
        "n_rounds": 20,
        "kl_weight": 0.0,
        "preprocessing": "standardize",
        "weight_decay": 0.0,
        "learning_rate": 0.03,
        "random_state": 0,
    }
    train, test = slice(0, 200), slice(200, None)
    scores = {
        fusion: FDRMFLTransformer(fusion=fusion, tuning=None, **options).fit(X[train], y[train]).score(X[test], y[test])
        for fusion in ("mean", kind)
    }
    assert scores["mean"] < 0.5
    assert scores[kind] > scores["mean"] + 0.2
