"""Each equation against a closed form, a quadrature or a library; each gradient against central differences."""

import re
from math import log
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import gradients, normal
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck
from torch.distributions import Normal, kl_divergence

import skfdrmfl
from skfdrmfl import losses
from skfdrmfl.method import equations
from skfdrmfl.method.equations.contrast import SHORTEST_TURNED


def exact(value, expected, rtol=1e-12, atol=1e-12):
    torch.testing.assert_close(value, expected, rtol=rtol, atol=atol)


@pytest.mark.parametrize("number", range(5, 13))
def test_the_number_of_each_equation_of_the_paper_leads_to_one_function(number):
    files = sorted(Path(equations.__path__[0]).glob("*.py"))
    text = "".join(file.read_text(encoding="utf-8") for file in files)
    assert len(re.findall(rf"\beq\. {number}\b", text)) == 1
    docs = [
        function.__doc__ for name, function in vars(losses).items() if name in losses.__all__ and callable(function)
    ]
    assert sum(f"eq. {number}" in doc for doc in docs) == 1


def test_every_pointer_to_the_page_of_bits_leads_to_a_rule_there():
    root = Path(skfdrmfl.__path__[0])
    rules = set(
        re.findall(r'^\| "(.+?)"', (root.parent / "docs" / "maintainers.md").read_text(encoding="utf-8"), re.MULTILINE)
    )
    pointers = [
        rule
        for file in root.rglob("*.py")
        for line in file.read_text(encoding="utf-8").splitlines()
        if "docs/maintainers.md" in line
        for rule in re.findall(r'"([^"]+)"', line.partition("docs/maintainers.md")[2])
    ]
    assert len(rules) > 10 and pointers
    assert set(pointers) <= rules


# ------------------------------------------------------------------------------------------ prediction


def test_squared_error_is_the_mean_over_outputs():
    y_hat, y = normal(0, 2, 5, 3), normal(1, 2, 5, 3)
    by_hand = np.array(
        [
            [np.mean((a - b) ** 2) for a, b in zip(p, q, strict=True)]
            for p, q in zip(y_hat.numpy(), y.numpy(), strict=True)
        ]
    )
    exact(losses.squared_error(y_hat, y), torch.as_tensor(by_hand))


def test_squared_error_is_zero_iff_equal():
    y = normal(0, 4, 2)
    assert losses.squared_error(y, y).abs().max() == 0
    assert losses.squared_error(y + 1e-6, y).min() > 0


# ------------------------------------------------------------------------------------------- alignment


@pytest.mark.parametrize("sigma", [0.3, 1.0, 2.5])
def test_symmetric_kl_is_the_sum_of_both_gaussian_divergences_and_sigma_a_standard_deviation(sigma):
    a, b = normal(0, 6, 4), normal(1, 6, 4)
    p, q = Normal(a, sigma), Normal(b, sigma)
    exact(losses.symmetric_kl(a, b, sigma), (kl_divergence(p, q) + kl_divergence(q, p)).sum(-1))


def test_symmetric_kl_is_zero_iff_the_means_agree_and_symmetric():
    a, b = normal(0, 6, 4), normal(1, 6, 4)
    assert losses.symmetric_kl(a, a, 0.7).abs().max() == 0
    nudged = a.clone()
    nudged[:, 2] += 1e-7
    assert losses.symmetric_kl(a, nudged, 0.7).min() > 0
    exact(losses.symmetric_kl(a, b, 0.7), losses.symmetric_kl(b, a, 0.7))


@pytest.mark.parametrize("n_modalities", [2, 3, 5])
def test_modality_alignment_is_the_mean_of_symmetric_kl_over_pairs(n_modalities):
    codes = normal(0, 2, 7, n_modalities, 4)
    pairs = [losses.symmetric_kl(codes[..., i, :], codes[..., j, :]) for i in range(n_modalities) for j in range(i)]
    exact(losses.modality_alignment(codes), torch.stack(pairs).mean(0))


def test_modality_alignment_of_one_modality_is_zero_and_has_no_gradient():
    codes = normal(0, 2, 7, 1, 4)
    value, (gradient,) = losses.modality_alignment(codes), gradients(losses.modality_alignment, codes)
    assert value.shape == (2, 7)
    assert gradient.shape == codes.shape
    assert value.abs().max() == gradient.abs().max() == 0


# ---------------------------------------------------------------------------------- mutual information


def correlated_gaussians(rho):
    """Joint and product densities times the cell's area, and their log ratio, on a grid of (z, y)."""
    axis = torch.linspace(-9.0, 9.0, 801, dtype=torch.float64)
    z, y = torch.meshgrid(axis, axis, indexing="ij")
    cell = (axis[1] - axis[0]) ** 2
    marginal = torch.exp(-(z**2 + y**2) / 2) / (2 * np.pi) * cell
    quadratic = (z**2 - 2 * rho * z * y + y**2) / (1 - rho**2)
    joint = torch.exp(-quadratic / 2) / (2 * np.pi * np.sqrt(1 - rho**2)) * cell
    log_ratio = -0.5 * log(1 - rho**2) - quadratic / 2 + (z**2 + y**2) / 2
    return joint, marginal, log_ratio, (z, y)


def expected_jensen_shannon(joint, marginal, critic):
    # The objective adds one value of each kind; a critic of -inf or +inf switches the other off.
    none = torch.full_like(critic, -torch.inf)
    return (joint * losses.jensen_shannon(critic, none)).sum() + (marginal * losses.jensen_shannon(-none, critic)).sum()


def expected_nwj(joint, marginal, critic):
    none = torch.full_like(critic, -torch.inf)
    on_joint = (joint * (losses.nwj(critic, none) - 1)).sum()
    return on_joint + (marginal * losses.nwj(torch.zeros_like(critic), critic)).sum()


@pytest.mark.parametrize("rho", [0.0, 0.5, -0.9])
def test_jensen_shannon_at_the_log_density_ratio_is_twice_jsd_minus_2_ln_2(rho):
    joint, marginal, log_ratio, _ = correlated_gaussians(rho)
    middle = (joint + marginal) / 2
    jsd = (torch.xlogy(joint, joint / middle) + torch.xlogy(marginal, marginal / middle)).nansum() / 2
    exact(expected_jensen_shannon(joint, marginal, log_ratio), 2 * jsd - 2 * log(2), atol=1e-9)


@pytest.mark.parametrize("rho", [0.0, 0.5, -0.9])
def test_nwj_at_the_log_density_ratio_is_the_gaussian_mutual_information(rho):
    joint, marginal, log_ratio, _ = correlated_gaussians(rho)
    information = torch.tensor(-0.5 * log(1 - rho**2), dtype=torch.float64)
    exact(expected_nwj(joint, marginal, log_ratio), information, atol=1e-9)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("rho", [0.0, 0.5, -0.9])
def test_no_other_critic_beats_the_log_density_ratio(rho):
    joint, marginal, log_ratio, (z, y) = correlated_gaussians(rho)
    best = [f(joint, marginal, log_ratio) for f in (expected_jensen_shannon, expected_nwj)]
    others = [
        log_ratio + 0.1,
        log_ratio - 0.1,
        log_ratio + 0.05 * torch.sin(z + y),
        0.3 * torch.tanh(z * y),
        torch.ones_like(z),
    ]
    for critic in others:
        assert expected_jensen_shannon(joint, marginal, critic) < best[0] - 1e-6
        assert expected_nwj(joint, marginal, critic) < best[1] - 1e-6
    assert best[1] <= -0.5 * log(1 - rho**2) + 1e-9


def test_jensen_shannon_of_an_indifferent_critic_is_minus_2_ln_2_and_never_positive():
    zero = torch.zeros(3, dtype=torch.float64)
    exact(losses.jensen_shannon(zero, zero), torch.full_like(zero, -2 * log(2)))
    assert losses.jensen_shannon(5 * normal(0, 50), 5 * normal(1, 50)).max() < 0


def test_jensen_shannon_and_its_gradient_stay_finite_for_extreme_critics():
    t = torch.tensor([-800.0, 800.0], dtype=torch.float64)
    d_joint, d_marginal = gradients(losses.jensen_shannon, t, -t)
    exact(losses.jensen_shannon(t, -t), torch.tensor([-1600.0, 0.0], dtype=torch.float64))
    exact(d_joint, torch.tensor([1.0, 0.0], dtype=torch.float64))
    exact(d_marginal, torch.tensor([-1.0, 0.0], dtype=torch.float64))


# --------------------------------------------------------------------------------- federated contrast


@pytest.mark.parametrize("n", [0, 1, 2, 7])
def test_info_nce_with_n_equal_negatives_is_log_1_plus_n(n):
    z = normal(0, 2, 5, 3)
    references = losses.unit(normal(1, 2, 5, 1, 3)).expand(2, 5, 1 + n, 3)
    exact(losses.info_nce(z, references, 0.5), torch.full((2, 5), log(1 + n), dtype=torch.float64))


@pytest.mark.parametrize("temperature", [0.1, 0.5, 2.0])
def test_info_nce_of_an_aligned_positive_and_opposite_negatives_has_its_closed_form(temperature):
    z = normal(0, 1, 4, 3)
    positive = losses.unit(z)
    references = torch.stack((positive, -positive, -positive), -2)
    expected = log(1 + 2 * np.exp(-2 / temperature))
    exact(losses.info_nce(z, references, temperature), torch.full((1, 4), expected, dtype=torch.float64))


@given(
    length=st.floats(-3, 3).map(lambda exponent: 10**exponent),  # Z is about one long
    n_components=st.integers(1, 4),
    n_negatives=st.integers(0, 3),
    seed=st.integers(0, 99),
)
def test_info_nce_does_not_depend_on_the_length_of_z(length, n_components, n_negatives, seed):
    z = losses.unit(normal([seed, 0], 2, 3, n_components))
    references = losses.unit(normal([seed, 1], 2, 3, 1 + n_negatives, n_components))
    gradient, scaled_gradient = (
        gradients(lambda a: losses.info_nce(a, references, 0.5), scale * z)[0] for scale in (1.0, length)
    )
    exact(losses.info_nce(length * z, references, 0.5), losses.info_nce(z, references, 0.5), atol=1e-10)
    exact(scaled_gradient * length, gradient, rtol=1e-8, atol=1e-10)
    # So its gradient never points along z.
    exact((gradient * z).sum(-1), torch.zeros(2, 3, dtype=torch.float64), atol=1e-10)


def test_info_nce_of_one_component_has_zero_gradient():
    z = normal(0, 2, 5, 1)
    references = losses.unit(normal(1, 2, 5, 3, 1))
    (gradient,) = gradients(lambda a: losses.info_nce(a, references, 0.1), z)
    exact(gradient, torch.zeros_like(z), atol=1e-12)


def test_info_nce_falls_when_z_turns_towards_the_positive():
    z, references = normal(0, 1, 6, 3), losses.unit(normal(1, 1, 6, 3, 3))
    (gradient,) = gradients(lambda a: losses.info_nce(a, references, 0.5), z)
    assert torch.all(losses.info_nce(z - 1e-4 * gradient, references, 0.5) < losses.info_nce(z, references, 0.5))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_unit_vectors_have_length_one_and_zero_stays_zero(dtype):
    z = torch.tensor([[3.0, -4.0], [0.0, 0.0], [1e-8, 0.0]], dtype=dtype)
    exact(losses.unit(z).norm(dim=-1), torch.tensor([1.0, 0.0, 1.0], dtype=dtype), atol=1e-3)
    exact(losses.unit(z)[0], torch.tensor([0.6, -0.8], dtype=dtype), atol=1e-6)
    assert losses.unit(z)[1].abs().max() == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "length", [0.0, 1e-30, 1e-12, 1e-8, 1e-5, 0.999 * SHORTEST_TURNED, 1.001 * SHORTEST_TURNED, 1.0]
)
def test_the_gradient_of_info_nce_is_bounded_however_short_z_is(length, dtype):
    # Turning z by an angle moves every cosine by as much at most, and the loss by 2 / tau times that.
    z = (length * losses.unit(normal(0, 2, 50, 3))).to(dtype)
    references = losses.unit(normal(1, 2, 50, 3, 3)).to(dtype)
    (gradient,) = gradients(lambda a: losses.info_nce(a, references, 0.1), z)
    assert gradient.norm(dim=-1).max() <= 2 / 0.1 / SHORTEST_TURNED
    # Shorter, z has no direction to speak of, and is not turned.
    assert (gradient.abs().max() > 0) == (length > SHORTEST_TURNED)


@pytest.mark.parametrize("length", [1e-6, 0.5 * SHORTEST_TURNED])
def test_the_value_of_info_nce_of_a_short_z_is_that_of_its_direction(length):
    direction, references = losses.unit(normal(0, 2, 5, 3)), losses.unit(normal(1, 2, 5, 3, 3))
    exact(losses.info_nce(length * direction, references, 0.5), losses.info_nce(direction, references, 0.5))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n_components", [1, 3])
def test_info_nce_of_a_zero_vector_is_that_of_equal_cosines(dtype, n_components):
    z = torch.zeros(2, 4, n_components, dtype=dtype)
    references = losses.unit(normal(0, 2, 4, 3, n_components).to(dtype))
    exact(losses.info_nce(z, references, 0.1), torch.full((2, 4), log(3), dtype=dtype), rtol=1e-6)


def test_every_value_passes_a_finite_difference_check():
    codes, z, references = normal(0, 1, 2, 3, 2), normal(1, 1, 2, 3), losses.unit(normal(2, 1, 2, 3, 3))
    a, b = normal(3, 1, 4), normal(4, 1, 4)
    for function, inputs in [
        (losses.squared_error, (z, normal(5, 1, 2, 3))),
        (losses.jensen_shannon, (a, b)),
        (losses.nwj, (a, b)),
        (losses.modality_alignment, (codes,)),
        (lambda v: losses.info_nce(v, references, 0.5), (z,)),
    ]:
        assert gradcheck(function, [i.clone().requires_grad_() for i in inputs])
