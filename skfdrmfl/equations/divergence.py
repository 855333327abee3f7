"""The alignment term R_kl: divergences of the modalities' codes, and their gradients."""

from __future__ import annotations

from math import log

import torch
from torch import Tensor

# A code's variances lie between one over this and this.
MOST_VARIANCE = 10.0
# Bound of the raw log variances; taking their mean away can double it.
_BOUND = 0.5 * log(MOST_VARIANCE)


def symmetric_kl(mu_a: Tensor, mu_b: Tensor, sigma: float = 1.0) -> Tensor:
    """Return the symmetric KL divergence between two modalities' Gaussian codes, row by row.

    The codes are N(mu_a, sigma^2 I) and N(mu_b, sigma^2 I) (eq. 10), and KL(N_a || N_b) + KL(N_b || N_a) has the closed
    form |mu_a - mu_b|^2 / sigma^2 (eq. 11).

    Parameters
    ----------
    mu_a, mu_b : Tensor of shape (..., B, d)
        Means; row i of both is the same sample.
    sigma : float, default=1.0
        Common standard deviation (not variance).

    Returns
    -------
    Tensor of shape (..., B), in nats; zero iff the means agree.
    """
    return (mu_a - mu_b).square().sum(-1) / sigma**2


def modality_alignment(codes: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return the mean of `symmetric_kl` over the pairs of modalities that a row has, with sigma = 1.

    Both directions of the divergence are summed, and averaged over pairs (eq. 7, eq. 8, eq. 9). No pair is visited: the
    squared distances of all pairs of n codes sum to n times the squared distances to their mean.

    Parameters
    ----------
    codes : Tensor of shape (..., B, M, d)
    mask : Tensor of bool of shape (..., B, M), default=None
        Which modalities a row has; codes of others may be anything. None: all.

    Returns
    -------
    Tensor of shape (..., B), in nats; zero for fewer than two modalities.
    """
    n_modalities = codes.shape[-2]
    if n_modalities == 1:
        return codes.new_zeros(codes.shape[:-2])
    if mask is not None:
        deviations, pair_factor = _deviations(codes, mask)
        return deviations.square().sum((-2, -1)) * (2.0 * pair_factor)
    squares = (codes - codes.mean(-2, keepdim=True)).square().sum((-2, -1))
    return squares * (2.0 / (n_modalities - 1))  # M / (M (M - 1) / 2) pairs


def modality_alignment_gradient(codes: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return the derivative of `modality_alignment` with respect to `codes`."""
    n_modalities = codes.shape[-2]
    if n_modalities == 1:
        return torch.zeros_like(codes)
    if mask is not None:
        deviations, pair_factor = _deviations(codes, mask)
        return deviations * (4.0 * pair_factor)[..., None, None]
    return (codes - codes.mean(-2, keepdim=True)) * (4.0 / (n_modalities - 1))


def _deviations(codes: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return the codes a row has less their mean, zero for others, and 1 / (n - 1) for the n it has, zero for n < 2."""
    present = mask.unsqueeze(-1)
    n = mask.sum(-1).to(codes.dtype)
    mean = torch.where(present, codes, 0.0).sum(-2) / n.clamp_min(1).unsqueeze(-1)
    deviations = torch.where(present, codes - mean.unsqueeze(-2), 0.0)
    return deviations, torch.where(n > 1, 1.0 / (n - 1).clamp_min(1), 0.0)


def log_variances(raw: Tensor) -> Tensor:
    """Return the log variances of a code's entries: L tanh(raw / L) less its mean over the entries, L = ln(10) / 2.

    The variances of a code have the geometric mean one and lie between 1/10 and 10: what can be learned is which of
    its entries are reliable, never that none is, which would make every divergence vanish.

    Parameters
    ----------
    raw : Tensor of shape (..., d)
        Any numbers; zeros, or d = 1, give variances of one.

    Returns
    -------
    Tensor of shape (..., d)
    """
    bounded = torch.tanh(raw / _BOUND) * _BOUND
    return bounded - bounded.mean(-1, keepdim=True)


def log_variances_gradient(raw: Tensor, d_log: Tensor) -> Tensor:
    """Return the derivative with respect to `raw` of a value whose derivative by `log_variances(raw)` is `d_log`."""
    slope = 1.0 - torch.tanh(raw / _BOUND).square()
    return slope * (d_log - d_log.mean(-1, keepdim=True))


def diagonal_alignment(codes: Tensor, log_variance: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return the mean over a row's pairs of modalities of the symmetric KL of N(mu_m, diag s_m) and N(mu_n, diag s_n).

    The divergence of one pair is 1/2 sum_j [(s_m + delta^2) / s_n + (s_n + delta^2) / s_m - 2], delta = mu_m - mu_n;
    with s = 1 the mean is `modality_alignment`. The sum over pairs is taken from sums over modalities: with S and P the
    sums of s and 1 / s, a_m the code less the mean of all n, and Q the sum of a^2, it is

        1/2 sum_j [S P - n^2 + sum_m (n a_m^2 + Q) / s_m]

    Parameters
    ----------
    codes : Tensor of shape (..., B, M, d)
        Means.
    log_variance : Tensor of shape (..., B, M, d)
        log s.
    mask : Tensor of bool of shape (..., B, M), default=None
        Which modalities a row has; codes and variances of others may be anything. None: all.

    Returns
    -------
    Tensor of shape (..., B), in nats; zero for fewer than two modalities.
    """
    if codes.shape[-2] == 1:
        return codes.new_zeros(codes.shape[:-2])
    deviations, variances, precisions, n, pair_factor = _diagonal_parts(codes, log_variance, mask)
    of_variances = variances.sum(-2) * precisions.sum(-2) - n.square()
    squares = deviations.square()
    of_means = (precisions * (n.unsqueeze(-2) * squares + squares.sum(-2, keepdim=True))).sum(-2)
    return (of_variances + of_means).sum(-1) * pair_factor


def diagonal_alignment_gradient(
    codes: Tensor, log_variance: Tensor, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return the derivatives of `diagonal_alignment` with respect to `codes` and `log_variance`."""
    if codes.shape[-2] == 1:
        return torch.zeros_like(codes), torch.zeros_like(codes)
    deviations, variances, precisions, n, pair_factor = _diagonal_parts(codes, log_variance, mask)
    n, pair_factor = n.unsqueeze(-2), pair_factor[..., None, None]
    all_variances, all_precisions = variances.sum(-2, keepdim=True), precisions.sum(-2, keepdim=True)
    weighted_sum = (precisions * deviations).sum(-2, keepdim=True)
    d_codes = 2.0 * (n * precisions * deviations + deviations * all_precisions - weighted_sum)
    squares = deviations.square()
    d_log = variances * all_precisions - precisions * (all_variances + n * squares + squares.sum(-2, keepdim=True))
    if mask is not None:
        d_codes = torch.where(mask.unsqueeze(-1), d_codes, 0.0)
    return d_codes * pair_factor, d_log * pair_factor


def _diagonal_parts(
    codes: Tensor, log_variance: Tensor, mask: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return what `diagonal_alignment` and its gradient are made of.

    Returns
    -------
    deviations, variances, precisions : Tensor of shape (..., B, M, d)
        Codes less their mean, s and 1 / s; zero where a row lacks the modality.
    n : Tensor of shape (..., B, 1)
        Number of modalities a row has.
    pair_factor : Tensor of shape (..., B)
        1 / (n (n - 1)), zero for n < 2.
    """
    if mask is None:
        mask = torch.ones(codes.shape[:-1], dtype=torch.bool, device=codes.device)
    present = mask.unsqueeze(-1)
    log_variance = torch.where(present, log_variance, 0.0)
    variances, precisions = (torch.where(present, e.exp(), 0.0) for e in (log_variance, -log_variance))
    deviations, pair_factor = _deviations(codes, mask)
    n = mask.sum(-1).to(codes.dtype)
    return deviations, variances, precisions, n.unsqueeze(-1), pair_factor / n.clamp_min(1)


def moments_alignment(codes: Tensor, weights: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return the distance of the modalities' distributions of codes over a batch: of their means and covariances.

    It is |mean_m - mean_n|^2 + |cov_m - cov_n|_F^2, mean over the pairs of modalities. The moments of a modality are
    those of the rows that have it, by their weights; the covariance is divided by the weights' sum. A modality of fewer
    than two rows has no covariance, and takes part in no pair.

    Parameters
    ----------
    codes : Tensor of shape (..., B, M, d)
    weights : Tensor of shape (..., B)
        Each row's share of the batch; zero for padding.
    mask : Tensor of bool of shape (..., B, M), default=None
        Which modalities a row has; codes of others may be anything. None: all.

    Returns
    -------
    Tensor of shape (...); zero without a pair.

    References
    ----------
    B. Sun and K. Saenko, "Deep CORAL", 2016, there without the means.
    """
    if codes.shape[-2] == 1:
        return codes.new_zeros(codes.shape[:-3])
    _, _, moments, has_moments = _moments(codes, weights, mask)
    return modality_alignment(moments, has_moments)


def moments_alignment_gradient(codes: Tensor, weights: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return the derivative of `moments_alignment` with respect to `codes`."""
    if codes.shape[-2] == 1:
        return torch.zeros_like(codes)
    shares, deviations, moments, has_moments = _moments(codes, weights, mask)
    d = codes.shape[-1]
    d_mean, d_covariance = modality_alignment_gradient(moments, has_moments).split((d, d * d), -1)
    # The covariance is symmetric, and its slope in the mean is zero: the mean needs no term of its own here.
    through_covariance = (2.0 * deviations.transpose(-2, -3)) @ d_covariance.unflatten(-1, (d, d))  # (..., M, B, d)
    return shares.unsqueeze(-1) * (d_mean.unsqueeze(-3) + through_covariance.transpose(-2, -3))


def _moments(codes: Tensor, weights: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return each modality's moments over a batch, and what they come from.

    Returns
    -------
    shares : Tensor of shape (..., B, M)
        What a row counts for in the moments of each modality.
    deviations : Tensor of shape (..., B, M, d)
        Codes less their mean, zero for rows without the modality.
    moments : Tensor of shape (..., M, d + d^2)
        The mean and, row after row, the covariance.
    has_moments : Tensor of bool of shape (..., M)
        Whether two rows or more have the modality.
    """
    counted = (weights > 0).unsqueeze(-1).expand(codes.shape[:-1])
    if mask is not None:
        counted = counted & mask
    shares = torch.where(counted, weights.unsqueeze(-1), 0.0)
    shares = shares / shares.sum(-2, keepdim=True).clamp_min(torch.finfo(codes.dtype).tiny)
    codes = torch.where(counted.unsqueeze(-1), codes, 0.0)
    mean = (shares.unsqueeze(-1) * codes).sum(-3)
    deviations = torch.where(counted.unsqueeze(-1), codes - mean.unsqueeze(-3), 0.0)
    weighted = (shares.unsqueeze(-1) * deviations).transpose(-2, -3)  # (..., M, B, d)
    covariance = weighted.mT @ deviations.transpose(-2, -3)
    return shares, deviations, torch.cat((mean, covariance.flatten(-2)), -1), counted.sum(-2) > 1
