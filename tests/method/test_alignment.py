"""The kinds of R_kl: values against integrals, distributions and numpy, what must not matter, and whole fits."""

import pickle
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers import (
    FLOAT,
    federate,
    gradients,
    in_float32,
    make_network,
    make_run,
    normal,
    random_weights,
    trained_by_the_loop,
)
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.integrate import quad
from scipy.stats import norm
from sklearn.base import clone
from three_modalities import IDS, WIDTHS, N, X, Y, make
from torch.autograd import gradcheck
from torch.distributions import Normal, kl_divergence

from skfdrmfl import losses
from skfdrmfl.encoders import CategoricalEncoder, Conv1DEncoder, LinearEncoder, RecurrentEncoder, TorchEncoder
from skfdrmfl.method.fusion import FUSIONS
from skfdrmfl.method.objective import ALIGNMENTS, Batch, local_objective, term_settings

ENGINES = ("torch", "loop")
KINDS = sorted(ALIGNMENTS)
OTHERS = ["diagonal", "moments"]


def exact(value, expected, rtol=1e-10, atol=1e-12):
    torch.testing.assert_close(value, expected, rtol=rtol, atol=atol)


def some(shape, seed=0, share=0.6):
    """A mask that has rows with all, with some and with none of the modalities."""
    mask = torch.as_tensor(np.random.default_rng([seed, 5]).random(shape) < share)
    mask[0, 0], mask[-1, -1] = False, True
    return mask


def shares(*shape, padding=0, seed=0):
    """Weights of the rows of batches that sum to one, the last rows padding."""
    weights = normal([seed, 9], *shape).square() + 0.1
    weights[..., shape[-1] - padding :] = 0.0
    return weights / weights.sum(-1, keepdim=True)


# -------------------------------------------------------------------------------------- learned variances


@given(scale=st.floats(0, 50), d=st.integers(1, 9), seed=st.integers(0, 99))
def test_the_variances_of_a_code_have_the_geometric_mean_one_and_stay_within_a_factor_of_ten(scale, d, seed):
    log_s = losses.log_variances(scale * normal(seed, 4, 5, d))
    exact(log_s.mean(-1), torch.zeros(4, 5, dtype=FLOAT))
    assert log_s.abs().max() <= np.log(losses.MOST_VARIANCE)


def test_all_of_that_range_is_reached_and_zero_gives_one():
    # One entry against many others: the mean is then that of the others.
    raw = torch.tensor([[100.0, *[-100.0] * 999]], dtype=FLOAT)
    assert losses.log_variances(raw).max() == pytest.approx(np.log(10), rel=2e-3)
    assert losses.log_variances(torch.zeros(3, 4)).abs().max() == 0


def test_variances_grow_with_their_raw_value_and_small_raw_values_are_log_variances():
    raw = normal(0, 50, 6)
    larger = raw.clone()
    larger[:, 2] += 0.1
    assert torch.all(losses.log_variances(larger)[:, 2] > losses.log_variances(raw)[:, 2])
    small = 1e-4 * (raw - raw.mean(-1, keepdim=True))
    exact(losses.log_variances(small), small, rtol=1e-4, atol=1e-10)


@pytest.mark.parametrize(("a", "b", "s", "t"), [(0.0, 1.5, 1.0, 2.0), (-0.7, 0.4, 0.3, 0.3), (2.0, 1.0, 4.0, 0.25)])
def test_the_diagonal_divergence_is_the_integral_over_both_densities(a, b, s, t):
    p, q = norm(a, np.sqrt(s)), norm(b, np.sqrt(t))

    def integrand(x):
        return (p.pdf(x) - q.pdf(x)) * (p.logpdf(x) - q.logpdf(x))

    integral, _ = quad(integrand, -25, 25, limit=200)
    codes = torch.tensor([[[a], [b]]], dtype=FLOAT)
    log_variance = torch.tensor([[[s], [t]]], dtype=FLOAT).log()
    assert losses.diagonal_alignment(codes, log_variance).item() == pytest.approx(integral, rel=1e-8)


def by_distributions(codes, log_variance, mask=None):
    """Mean over pairs of both divergences, row by row, by torch.distributions."""
    out = torch.zeros(codes.shape[:-2], dtype=codes.dtype)
    for index in np.ndindex(*out.shape):
        here = range(codes.shape[-2]) if mask is None else torch.nonzero(mask[index])[:, 0].tolist()
        law = [Normal(codes[index][m], (0.5 * log_variance[index][m]).exp()) for m in here]
        pairs = [(kl_divergence(p, q) + kl_divergence(q, p)).sum() for i, p in enumerate(law) for q in law[:i]]
        out[index] = sum(pairs) / len(pairs) if pairs else 0.0
    return out


@pytest.mark.parametrize("n", [2, 3, 5])
@pytest.mark.parametrize("masked", [False, True])
def test_diagonal_alignment_is_the_mean_of_both_divergences_over_the_pairs_a_row_has(n, masked):
    codes, log_s = normal(0, 2, 6, n, 4) + 3.0, normal(1, 2, 6, n, 4)
    mask = some((2, 6, n)) if masked else None
    expected = by_distributions(codes, log_s, mask)
    exact(losses.diagonal_alignment(codes, log_s, mask), expected)
    assert expected.max() > 1


@given(n=st.integers(1, 4), shift=st.floats(-1, 1), masked=st.booleans(), seed=st.integers(0, 99))
def test_with_variances_of_one_it_is_the_homoscedastic_term_and_with_equal_ones_that_term_scaled(
    n, shift, masked, seed
):
    codes = normal(seed, 2, 5, n, 3)
    mask = some((2, 5, n), seed) if masked else None
    log_s = torch.full_like(codes, shift)
    value = losses.diagonal_alignment(codes, log_s, mask)
    exact(value, losses.modality_alignment(codes, mask) * np.exp(-shift), rtol=1e-9)
    (d_codes,) = gradients(lambda mu: losses.diagonal_alignment(mu, log_s, mask), codes)
    (of_homoscedastic,) = gradients(lambda mu: losses.modality_alignment(mu, mask), codes)
    exact(d_codes, of_homoscedastic * np.exp(-shift), rtol=1e-9)


def test_unequal_variances_cost_something_where_the_means_agree():
    codes = normal(0, 2, 5, 1, 3).expand(-1, -1, 3, -1)
    assert losses.diagonal_alignment(codes, 0.1 * normal(1, 2, 5, 3, 3)).min() > 1e-4
    same = normal(1, 2, 5, 1, 3).expand(-1, -1, 3, -1)
    exact(losses.diagonal_alignment(codes, same), torch.zeros(2, 5, dtype=FLOAT), atol=1e-12)


def test_a_variance_learned_where_the_codes_differ_lowers_the_term():
    # The first entry differs, the others agree: the derivative asks for a larger variance there, in both.
    codes = torch.zeros(1, 1, 2, 4, dtype=FLOAT)
    codes[..., 1, 0] = 2.0
    raw = torch.zeros_like(codes)
    (d_raw,) = gradients(lambda v: losses.diagonal_alignment(codes, losses.log_variances(v)), raw)
    assert torch.all(d_raw[..., 0] < 0) and torch.all(d_raw[..., 1:] > 0)
    before = losses.diagonal_alignment(codes, losses.log_variances(raw))
    assert losses.diagonal_alignment(codes, losses.log_variances(raw - 0.1 * d_raw)) < before - 0.1


# ------------------------------------------------------------------------------------------------ moments


def by_numpy(codes, weights, mask=None):
    """Of one batch (B, M, d), by numpy's weighted average and covariance."""
    moments = []
    for m in range(codes.shape[1]):
        rows = (weights > 0) if mask is None else (weights > 0) & mask[:, m]
        if rows.sum() > 1:
            mine, w = codes[rows, m], weights[rows]
            covariance = np.cov(mine, rowvar=False, aweights=w, ddof=0).reshape(codes.shape[2], -1)
            moments.append((np.average(mine, axis=0, weights=w), covariance))
    pairs = [
        np.sum((mean - other) ** 2) + np.linalg.norm(covariance - another, "fro") ** 2
        for i, (mean, covariance) in enumerate(moments)
        for other, another in moments[:i]
    ]
    return np.mean(pairs) if pairs else 0.0


@pytest.mark.parametrize("n", [2, 3, 5])
@pytest.mark.parametrize("d", [1, 4])
@pytest.mark.parametrize("masked", [False, True])
def test_moments_alignment_is_the_distance_of_numpys_means_and_covariances(n, d, masked):
    codes, weights = normal(0, 3, 9, n, d) + 2.0, shares(3, 9, padding=2)
    mask = some((3, 9, n), share=0.8) if masked else None
    expected = [
        by_numpy(codes[c].numpy(), weights[c].numpy(), None if mask is None else mask[c].numpy()) for c in range(3)
    ]
    found = losses.moments_alignment(codes, weights, mask)
    assert_allclose(found.numpy(), expected, rtol=1e-10)
    assert found.min() > 1e-2


def test_moments_of_one_number_a_code_are_aligned_without_any_leading_dimension():
    codes, weights = normal(0, 9, 2, 1), shares(1, 9)[0]
    alone = losses.moments_alignment(codes, weights)
    assert alone > 1e-2
    exact(alone[None], losses.moments_alignment(codes[None], weights[None]))


def test_which_row_has_which_code_is_of_no_consequence_to_moments_and_all_to_the_divergences():
    codes, weights = normal(0, 1, 8, 1, 3), torch.full((1, 8), 1 / 8, dtype=FLOAT)
    shuffled = torch.cat((codes, codes[:, torch.randperm(8, generator=torch.Generator().manual_seed(0))]), 2)
    exact(losses.moments_alignment(shuffled, weights), torch.zeros(1, dtype=FLOAT))
    assert gradients(lambda mu: losses.moments_alignment(mu, weights), shuffled)[0].abs().max() < 1e-12
    assert losses.modality_alignment(shuffled).mean() > 1
    assert losses.diagonal_alignment(shuffled, torch.zeros_like(shuffled)).mean() > 1


@pytest.mark.parametrize("what", ["mean", "covariance"])
def test_moments_see_a_shift_and_a_stretch(what):
    codes, weights = normal(0, 1, 8, 1, 3), torch.full((1, 8), 1 / 8, dtype=FLOAT)
    codes -= codes.mean(1, keepdim=True)
    other = codes + 0.5 if what == "mean" else 1.5 * codes
    value = losses.moments_alignment(torch.cat((codes, other), 2), weights).item()
    covariance = np.cov(codes[0, :, 0].numpy(), rowvar=False, ddof=0)
    expected = 3 * 0.25 if what == "mean" else np.sum((1.25 * covariance) ** 2)
    assert value == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("rows_of_second", [0, 1])
def test_a_modality_of_fewer_than_two_rows_takes_part_in_no_pair(rows_of_second):
    codes, weights = normal(0, 1, 6, 3, 2), shares(1, 6)
    mask = torch.ones(1, 6, 3, dtype=torch.bool)
    mask[:, rows_of_second:, 1] = False
    without = losses.moments_alignment(codes[:, :, [0, 2]], weights)
    exact(losses.moments_alignment(codes, weights, mask), without)
    (gradient,) = gradients(lambda mu: losses.moments_alignment(mu, weights, mask), codes)
    exact(gradient[:, :, [0, 2]], gradients(lambda mu: losses.moments_alignment(mu, weights), codes[:, :, [0, 2]])[0])
    assert gradient[:, :, 1].abs().max() == 0
    one = torch.tensor([[1.0, 0.0, 0.0, 0.0, 0.0, 0.0]], dtype=FLOAT)  # a batch of one row, and padding
    assert losses.moments_alignment(codes, one).item() == 0
    assert gradients(lambda mu: losses.moments_alignment(mu, one), codes)[0].abs().max() == 0


# ----------------------------------------------------------------------------- what neither may depend on


def value_of(kind, codes, raw, weights, mask=None):
    """R_kl of each batch, given what a pass leaves; where it is of rows, their weighted sum."""
    batch = SimpleNamespace(weights=weights, mask=mask)
    value = ALIGNMENTS[kind].value(SimpleNamespace(codes=codes, log_variances=losses.log_variances(raw), batch=batch))
    return value if ALIGNMENTS[kind].of == "batch" else (weights * value).sum(-1)


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_the_order_of_rows_and_of_modalities_is_of_no_consequence(kind, data):
    codes, raw, weights, mask = normal(0, 2, 6, 3, 2), normal(1, 2, 6, 3, 2), shares(2, 6, padding=1), some((2, 6, 3))
    rows, modalities = (data.draw(st.permutations(range(n))) for n in (6, 3))
    other = (codes[:, rows][:, :, modalities], raw[:, rows][:, :, modalities], weights[:, rows])
    exact(value_of(kind, *other, mask[:, rows][:, :, modalities]), value_of(kind, codes, raw, weights, mask))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("poison", [float("nan"), float("inf"), 1e6])
def test_what_a_row_lacks_influences_neither_value_nor_gradients(kind, poison):
    codes, raw, weights, mask = normal(0, 2, 6, 3, 2), normal(1, 2, 6, 3, 2), shares(2, 6), some((2, 6, 3))
    other = [torch.where(mask.unsqueeze(-1), t, poison) for t in (codes, raw)]
    assert torch.equal(value_of(kind, *other, weights, mask), value_of(kind, codes, raw, weights, mask))
    clean, poisoned = (
        gradients(lambda mu, v: value_of(kind, mu, v, weights, mask), *inputs) for inputs in ((codes, raw), other)
    )
    for mine, theirs in zip(poisoned, clean, strict=True):
        if poison == 1e6:
            assert torch.equal(mine[~mask], torch.zeros_like(mine[~mask]))
        assert torch.equal(mine[mask], theirs[mask])
    assert torch.equal(poisoned[0], clean[0])


@pytest.mark.parametrize("kind", KINDS)
def test_padding_is_of_no_consequence(kind):
    codes, raw, weights = normal(0, 2, 7, 3, 2), normal(1, 2, 7, 3, 2), shares(2, 7, padding=3)
    exact(value_of(kind, codes, raw, weights), value_of(kind, codes[:, :4], raw[:, :4], weights[:, :4].contiguous()))
    for gradient in gradients(lambda mu, v: value_of(kind, mu, v, weights), codes, raw):
        assert gradient[:, 4:].abs().max() == 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [1, 2])
def test_a_mask_of_all_is_no_mask_and_one_modality_has_nothing_to_align(kind, n):
    codes, raw, weights = normal(0, 2, 5, n, 3), normal(1, 2, 5, n, 3), shares(2, 5)
    everything = torch.ones(2, 5, n, dtype=torch.bool)
    value = value_of(kind, codes, raw, weights)
    exact(value_of(kind, codes, raw, weights, everything), value)
    assert (value.abs().max() == 0) == (n == 1)


def test_every_value_passes_a_finite_difference_check():
    codes, raw, weights = normal(0, 1, 4, 3, 2), normal(1, 1, 4, 3, 2), shares(1, 4)
    for kind in KINDS:
        inputs = [t.clone().requires_grad_() for t in (codes, raw)]
        assert gradcheck(lambda c, r, kind=kind: value_of(kind, c, r, weights) + 0.0 * r.sum(), inputs)


# -------------------------------------------------------------------------------------- network and engines


@pytest.mark.sampled()
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fusion", ["concat", "attention"])
@pytest.mark.parametrize("masked", [False, True])
def test_the_gradient_is_the_central_differences_of_the_objective(kind, fusion, masked):
    network = make_network((3, 2, 2), fusion=fusion, alignment=kind)
    y, weights = normal(1, 2, 6, 1), shares(2, 6, padding=1)
    references = losses.unit(normal(2, 2, 6, 3, 2))
    mask = some((2, 6, 3)) if masked else None
    batch = Batch(normal(0, 2, 6, 7), torch.cat((y, y.roll(-1, 1)), 1), references, weights, weights, mask)
    lambdas = dict.fromkeys(term_settings(), torch.tensor([0.3, 0.7], dtype=FLOAT))
    flat = random_weights(network, 2)

    def loss(w):
        return local_objective(network, network.layout.views(w), batch, lambdas)["loss"]

    assert gradcheck(loss, flat.requires_grad_(), fast_mode=True)
    for name, view in network.layout.views(gradients(loss, flat)[0]).items():
        assert view.abs().max() > 0, name


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    ("kind", "fusion", "masked"),
    [
        (KINDS[i], fusion, masked)
        for i in range(len(KINDS))
        for j, fusion in enumerate(sorted(FUSIONS))
        for masked in (False, True)
        if (i + j + 2 * masked) % 4 == 0
    ],
)
def test_the_torch_engine_is_the_loop(kind, fusion, masked):
    network = make_network((3, 2, 2), fusion=fusion, alignment=kind)
    runs = [
        make_run(network, [7, 2, 1], seed=0, n_history=1, input_l1=0.1),
        make_run(network, [4, 9], seed=1, n_history=1, kl_weight=0.0),
        make_run(network, [6, 5], seed=2, n_history=1, modality_dropout=0.3 if masked else 0.0),
    ]
    if masked:
        for i, run in enumerate(runs):
            present = some((len(run.x), 3), seed=i).numpy()
            present[~present.any(1), 1] = True
            runs[i] = replace(run, present=present)
    ours, loop = (federate(engine, network, runs, (1.0, 0.7), n_epochs=2) for engine in ENGINES)
    for mine, theirs in zip(ours, loop, strict=True):
        exact(mine.state.weights, theirs.state.weights, rtol=1e-8, atol=1e-8)
        assert_allclose(mine.losses, theirs.losses, rtol=1e-7, atol=1e-8)
    kl = np.nan_to_num(ours[-1].losses[:, 2])
    assert (kl[[0, 5]] > 1e-3).all() and (kl[3:5] == 0).all()


@pytest.mark.slow
@pytest.mark.parametrize("kind", OTHERS)
def test_a_run_in_company_ends_in_the_same_bits_as_alone(kind):
    network = make_network((10, 6), d=8, hidden=(32,), alignment=kind)  # the default widths

    run = in_float32(make_run(network, [33, 17, 5, 1], n_history=1))
    alone = federate("torch", network, [run], (1.0, 0.5))[-1].state.weights[0]
    for others, place in (([[40, 1, 1], [5, 5]], -1), ([[16] * 9], 0)):
        company = [in_float32(make_run(network, other, seed=1 + i, n_history=1)) for i, other in enumerate(others)]
        runs = [*company, run] if place else [run, *company]
        assert torch.equal(federate("torch", network, runs, (1.0, 0.5))[-1].state.weights[place], alone)


def test_only_learned_variances_add_parameters_and_they_move_no_other_first_weight():
    plain, learned, moments = (make_network((3, 2), alignment=kind) for kind in ("homoscedastic", *OTHERS))
    assert moments.layout.shapes == plain.layout.shapes
    new = set(learned.layout.shapes) - set(plain.layout.shapes)
    assert new and all(name.startswith(("spread.", "gain.")) for name in new)
    powers = {"a": 3.0, "b": 2.0}
    first, others = learned.initial(5, powers), plain.initial(5, powers)
    for name, array in others.items():
        assert_array_equal(first[name], array)
    assert not first["gain.a"].any()
    assert not np.array_equal(first["spread.a.weight0"], first["a.weight0"])


def test_with_one_modality_all_networks_are_the_same():
    plain, *rest = (make_network((3,), alignment=kind) for kind in ("homoscedastic", *OTHERS))
    for network in rest:
        assert network.layout.shapes == plain.layout.shapes
        assert network.signature == plain.signature


def test_a_client_without_a_modality_has_no_influence_on_its_variances():
    network = make_network((3, 2, 2), alignment="diagonal")
    run = make_run(network, [6, 5])
    present = np.ones((11, 3), dtype=bool)
    present[run.partition.rows[1], 0] = False
    run = replace(run, present=present)
    changed = replace(run, x=run.x.clone())
    changed.x[torch.as_tensor(run.partition.rows[1]), 3:] = normal(8, 5, 4)
    before, after = (
        network.layout.views(federate("torch", network, [r], (1.0,))[0].state.weights[0]) for r in (run, changed)
    )
    for name in network.layout.shapes:
        of_a = name.removeprefix("spread.").removeprefix("gain.").split(".")[0] == "a"
        assert torch.equal(after[name], before[name]) == of_a, name


# ----------------------------------------------------------------------------------------------- estimator

HOLES = X.copy()
HOLES[5:15, WIDTHS["nir"]] = np.nan
HOLES[30:50, WIDTHS["mir"]] = np.nan


def test_the_default_is_the_papers():
    named = make(alignment="homoscedastic").fit(X, Y, client_ids=IDS)
    assert_array_equal(make().fit(X, Y, client_ids=IDS).transform(X), named.transform(X))
    assert not any(name.startswith(("spread", "gain")) for name in named.weights_)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [OTHERS[0], *(pytest.param(kind, marks=pytest.mark.slow) for kind in OTHERS[1:])])
def test_each_is_something_else_lowers_its_term_and_is_nothing_without_a_weight(kind):
    kinds, options = ("homoscedastic", kind), {"n_rounds": 15, "local_epochs": 4}
    plain, other = (make(alignment=a, kl_weight=0.03, **options).fit(X, Y, client_ids=IDS) for a in kinds)
    assert np.abs(other.transform(X) - plain.transform(X)).max() > 1e-2
    unaligned = make(alignment=kind, kl_weight=1e-6, **options).fit(X, Y, client_ids=IDS)
    assert other.history_["kl"][-1] < 0.7 * unaligned.history_["kl"][-1]
    off = [make(alignment=a, kl_weight=0.0, engine="torch").fit(X, Y, client_ids=IDS) for a in kinds]
    assert_array_equal(off[0].transform(X), off[1].transform(X))


def test_the_first_steps_of_learned_variances_are_those_of_the_paper():
    options = {"n_rounds": 1, "local_epochs": 1, "batch_size": 100, "kl_weight": 1.0, "mi_weight": 0.0}
    plain, learned = (make(alignment=a, **options).fit(X, Y) for a in ("homoscedastic", "diagonal"))
    assert learned.history_["kl"][0] == pytest.approx(plain.history_["kl"][0], rel=1e-6)
    assert_allclose(learned.transform(X), plain.transform(X), atol=1e-6)


@pytest.mark.parametrize("kind", OTHERS)
def test_with_one_modality_the_choice_has_no_effect(kind):
    plain, other = (make(modalities=None, alignment=a).fit(X, Y, client_ids=IDS) for a in ("homoscedastic", kind))
    assert_array_equal(other.transform(X), plain.transform(X))
    assert other.weights_.keys() == plain.weights_.keys()


@pytest.mark.sampled(2)
@pytest.mark.parametrize("kind", OTHERS)
def test_engines_agree_and_parameters_and_models_can_be_copied(kind):
    model = make(alignment=kind, kl_weight=0.1)
    assert clone(model).get_params()["alignment"] == kind
    stacked = clone(model).fit(HOLES, Y, client_ids=IDS)
    with trained_by_the_loop():
        loop = clone(model).fit(HOLES, Y, client_ids=IDS)
    assert_allclose(loop.predict(HOLES), stacked.predict(HOLES), atol=2e-4)
    assert_array_equal(pickle.loads(pickle.dumps(stacked)).predict(HOLES), stacked.predict(HOLES))
    again = pickle.loads(pickle.dumps(stacked)).partial_fit(X, Y, client_ids=IDS)
    assert_array_equal(again.transform(X), stacked.partial_fit(X, Y, client_ids=IDS).transform(X))
    assert stacked.n_rounds_ == 5


@pytest.mark.parametrize("kind", OTHERS)
def test_predictions_do_not_depend_on_how_reliable_a_code_is(kind):
    model = make(alignment=kind, kl_weight=0.1).fit(X, Y, client_ids=IDS)
    before = model.predict(X), model.transform(X)
    for name in model.weights_:
        if name.startswith(("spread", "gain")):
            model.weights_[name] = np.full_like(model.weights_[name], 7.0)
    assert_array_equal(model.predict(X), before[0])
    assert_array_equal(model.transform(X), before[1])


@pytest.mark.slow
@pytest.mark.parametrize("kind", [OTHERS[0], *(pytest.param(kind, marks=pytest.mark.slow) for kind in OTHERS[1:])])
def test_mixture_early_stopping_and_diagnosis_work_with_it(kind):
    options = {"alignment": kind, "kl_weight": 0.1, "n_rounds": 4}
    tuned = make(tuning="mixture", **options).fit(X, Y, client_ids=IDS)
    assert {"network raw", "network of residuals"} <= {member["name"] for member in tuned.members_}
    assert tuned.score(X, Y) > 0.9
    early = make(early_stopping=True, input_l1=0.01, **options).fit(HOLES, Y, client_ids=IDS)
    assert 1 <= early.best_round_ <= 4
    assert np.isfinite(early.history_["kl"]).all()
    long = make(**options | {"n_rounds": 30}).fit(X, Y, client_ids=IDS)
    assert long.diagnose().names == []


def two_layers(n_columns, modality_dim):
    return torch.nn.Sequential(torch.nn.Linear(n_columns, 5), torch.nn.Tanh(), torch.nn.Linear(5, modality_dim))


@pytest.mark.sampled(2)
@pytest.mark.parametrize("kind", OTHERS)
def test_every_encoder_can_be_aligned(kind):
    table = np.column_stack((X, np.arange(N) % 3.0))
    encoders = {
        "series": Conv1DEncoder(n_channels=(3,), kernel_size=2),
        "steps": RecurrentEncoder(shape=(1, 3)),
        "own": TorchEncoder(two_layers),
        "code": CategoricalEncoder(3),
        "line": LinearEncoder(),
    }
    modalities = {"series": [0, 1, 2, 3], "steps": [4, 5, 6], "own": [7], "line": [8], "code": [9]}
    options = {"modalities": modalities, "encoders": encoders, "alignment": kind, "kl_weight": 0.1, "n_rounds": 2}
    stacked = make(**options).fit(table, Y, client_ids=IDS)
    with trained_by_the_loop():
        loop = make(**options).fit(table, Y, client_ids=IDS)
    assert_allclose(loop.predict(table), stacked.predict(table), atol=1e-3)
    assert stacked.history_["kl"][-1] == pytest.approx(loop.history_["kl"][-1], rel=1e-3)


@pytest.mark.parametrize("value", ["kl", None, 1, ["moments"]])
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_a_bad_value_is_refused_before_training(value, method):
    model = make(alignment=value)
    with pytest.raises(ValueError, match="The 'alignment' parameter of FDRMFLTransformer must be a str among"):
        getattr(model, method)(X, Y, IDS)
    assert not hasattr(model, "weights_")


def test_a_fitted_model_cannot_go_on_with_another_alignment():
    model = make().fit(X, Y, client_ids=IDS).set_params(alignment="diagonal")
    with pytest.raises(ValueError, match="alignment is 'diagonal' now, but the model to go on from was built"):
        model.partial_fit(X, Y, client_ids=IDS)
