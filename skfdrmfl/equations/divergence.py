"""The alignment term R_kl (eq. 7, eq. 8, eq. 9, eq. 10, eq. 11): divergences of modalities, and their gradients."""

from __future__ import annotations

from math import log

import torch
from torch import Tensor

# Variances of a code stay within this factor of one, up and down.
MOST_VARIANCE = 10.0
_BOUND = 0.5 * log(MOST_VARIANCE)  # twice that is what centring leaves of it


def symmetric_kl(mu_a: Tensor, mu_b: Tensor, sigma: float = 1.0) -> Tensor:
    """Symmetric KL divergence between two modalities' Gaussian codes (eq. 7-11).

    KL(N_a || N_b) + KL(N_b || N_a) of N(mu_a, sigma^2 I) and N(mu_b, sigma^2 I).

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
    """Mean of `symmetric_kl` over the pairs of modalities that a row has, with sigma = 1 (eq. 7-11).

    The squared distances of all pairs of n codes sum to n times the squared distances to their mean.

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
        apart, per_pair = _apart(codes, mask)
        return apart.square().sum((-2, -1)) * (2.0 * per_pair)
    spread = (codes - codes.mean(-2, keepdim=True)).square().sum((-2, -1))
    return spread * (2.0 / (n_modalities - 1))  # M / (M (M - 1) / 2) pairs


def modality_alignment_gradient(codes: Tensor, mask: Tensor | None = None) -> Tensor:
    """Derivative of `modality_alignment` with respect to `codes`."""
    n_modalities = codes.shape[-2]
    if n_modalities == 1:
        return torch.zeros_like(codes)
    if mask is not None:
        apart, per_pair = _apart(codes, mask)
        return apart * (4.0 * per_pair)[..., None, None]
    return (codes - codes.mean(-2, keepdim=True)) * (4.0 / (n_modalities - 1))


def _apart(codes: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """What lies between each code a row has and their mean, zero for others; and 1 / (n - 1), 0 for n < 2 of them."""
    there = mask.unsqueeze(-1)
    n = mask.sum(-1).to(codes.dtype)
    mean = torch.where(there, codes, 0.0).sum(-2) / n.clamp_min(1).unsqueeze(-1)
    apart = torch.where(there, codes - mean.unsqueeze(-2), 0.0)
    return apart, torch.where(n > 1, 1.0 / (n - 1).clamp_min(1), 0.0)


def log_variances(raw: Tensor) -> Tensor:
    """Log variances of a code's entries: L tanh(raw / L) less its mean over the entries, L = ln(10) / 2.

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
    """Derivative with respect to `raw` of a value whose derivative with respect to `log_variances` is `d_log`."""
    slope = 1.0 - torch.tanh(raw / _BOUND).square()
    return slope * (d_log - d_log.mean(-1, keepdim=True))


def diagonal_alignment(codes: Tensor, log_variance: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean over the pairs of modalities a row has of the symmetric KL of N(mu_m, diag s_m) and N(mu_n, diag s_n).

    Of one pair it is 1/2 sum_j [(s_m + delta^2) / s_n + (s_n + delta^2) / s_m - 2], delta = mu_m - mu_n; with s = 1
    it is `modality_alignment`. The sum over pairs is taken from sums over modalities: with S and P the sums of s and
    1 / s, a_m the code less the mean of all n, and Q the sum of a^2, it is

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
    apart, s, p, n, per_pair = _diagonal_parts(codes, log_variance, mask)
    unlike = s.sum(-2) * p.sum(-2) - n.square()
    squares = apart.square()
    distant = (p * (n.unsqueeze(-2) * squares + squares.sum(-2, keepdim=True))).sum(-2)
    return (unlike + distant).sum(-1) * per_pair


def diagonal_alignment_gradient(
    codes: Tensor, log_variance: Tensor, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Derivatives of `diagonal_alignment` with respect to `codes` and `log_variance`."""
    if codes.shape[-2] == 1:
        return torch.zeros_like(codes), torch.zeros_like(codes)
    apart, s, p, n, per_pair = _diagonal_parts(codes, log_variance, mask)
    n, per_pair = n.unsqueeze(-2), per_pair[..., None, None]
    all_s, all_p = s.sum(-2, keepdim=True), p.sum(-2, keepdim=True)
    pull = (p * apart).sum(-2, keepdim=True)
    d_codes = 2.0 * (n * p * apart + apart * all_p - pull)
    squares = apart.square()
    d_log = s * all_p - p * (all_s + n * squares + squares.sum(-2, keepdim=True))
    if mask is not None:
        d_codes = torch.where(mask.unsqueeze(-1), d_codes, 0.0)
    return d_codes * per_pair, d_log * per_pair


def _diagonal_parts(
    codes: Tensor, log_variance: Tensor, mask: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Codes less their mean, s and 1 / s, zero where a row lacks the modality; n (..., B, 1), and 1 / (n (n - 1))."""
    if mask is None:
        mask = torch.ones(codes.shape[:-1], dtype=torch.bool, device=codes.device)
    there = mask.unsqueeze(-1)
    log_variance = torch.where(there, log_variance, 0.0)
    s, p = (torch.where(there, e.exp(), 0.0) for e in (log_variance, -log_variance))
    apart, per_pair = _apart(codes, mask)
    n = mask.sum(-1).to(codes.dtype)
    return apart, s, p, n.unsqueeze(-1), per_pair / n.clamp_min(1)


def moments_alignment(codes: Tensor, weights: Tensor, mask: Tensor | None = None) -> Tensor:
    """Distance of the modalities' distributions of codes over a batch: of their means and of their covariances.

    |mean_m - mean_n|^2 + |cov_m - cov_n|_F^2 (Sun and Saenko 2016, with the means), mean over the pairs of modalities.
    The moments of a modality are those of the rows that have it, by their weights; the covariance is divided by the
    weights' sum. A modality of fewer than two rows has no covariance, and takes part in no pair.

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
    """
    if codes.shape[-2] == 1:
        return codes.new_zeros(codes.shape[:-3])
    _, _, moments, known = _moments(codes, weights, mask)
    return modality_alignment(moments, known)


def moments_alignment_gradient(codes: Tensor, weights: Tensor, mask: Tensor | None = None) -> Tensor:
    """Derivative of `moments_alignment` with respect to `codes`."""
    if codes.shape[-2] == 1:
        return torch.zeros_like(codes)
    share, apart, moments, known = _moments(codes, weights, mask)
    d = codes.shape[-1]
    d_mean, d_covariance = modality_alignment_gradient(moments, known).split((d, d * d), -1)
    # The covariance moves with what a row adds to it: the mean in it is where its derivative is zero. It is symmetric.
    through = (2.0 * apart.transpose(-2, -3)) @ d_covariance.unflatten(-1, (d, d))  # (..., M, B, d)
    return share.unsqueeze(-1) * (d_mean.unsqueeze(-3) + through.transpose(-2, -3))


def _moments(codes: Tensor, weights: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Each modality's moments over a batch, and what they come from.

    Returns
    -------
    share : Tensor of shape (..., B, M)
        What a row counts for in the moments of each modality.
    apart : Tensor of shape (..., B, M, d)
        Codes less their mean, zero for rows without the modality.
    moments : Tensor of shape (..., M, d + d^2)
        The mean and, row after row, the covariance.
    known : Tensor of bool of shape (..., M)
        Whether there are two rows or more.
    """
    counts = (weights > 0).unsqueeze(-1).expand(codes.shape[:-1])
    if mask is not None:
        counts = counts & mask
    share = torch.where(counts, weights.unsqueeze(-1), 0.0)
    share = share / share.sum(-2, keepdim=True).clamp_min(torch.finfo(codes.dtype).tiny)
    codes = torch.where(counts.unsqueeze(-1), codes, 0.0)
    mean = (share.unsqueeze(-1) * codes).sum(-3)
    apart = torch.where(counts.unsqueeze(-1), codes - mean.unsqueeze(-3), 0.0)
    weighted = (share.unsqueeze(-1) * apart).transpose(-2, -3)  # (..., M, B, d)
    covariance = weighted.mT @ apart.transpose(-2, -3)
    return share, apart, torch.cat((mean, covariance.flatten(-2)), -1), counts.sum(-2) > 1
