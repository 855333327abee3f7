"""The alignment term R_kl: divergences of the modalities' codes."""

from __future__ import annotations

from math import log

from skfdrmfl.common.late_torch import Tensor, torch

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
    if mask is None:
        mask = torch.ones(codes.shape[:-1], dtype=torch.bool, device=codes.device)
    present = mask.unsqueeze(-1)
    log_variance = torch.where(present, log_variance, 0.0)
    variances, precisions = (torch.where(present, e.exp(), 0.0) for e in (log_variance, -log_variance))
    deviations, pair_factor = _deviations(codes, mask)
    n = mask.sum(-1, keepdim=True).to(codes.dtype)
    of_variances = variances.sum(-2) * precisions.sum(-2) - n.square()
    squares = deviations.square()
    of_means = (precisions * (n.unsqueeze(-2) * squares + squares.sum(-2, keepdim=True))).sum(-2)
    return (of_variances + of_means).sum(-1) * (pair_factor / n.squeeze(-1).clamp_min(1))


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
    counted = (weights > 0).unsqueeze(-1).expand(codes.shape[:-1])
    if mask is not None:
        counted = counted & mask
    shares = torch.where(counted, weights.unsqueeze(-1), 0.0)  # (..., B, M)
    shares = (shares / shares.sum(-2, keepdim=True).clamp_min(torch.finfo(codes.dtype).tiny)).unsqueeze(-1)
    codes = torch.where(counted.unsqueeze(-1), codes, 0.0)
    mean = (shares * codes).sum(-3)
    deviations = torch.where(counted.unsqueeze(-1), codes - mean.unsqueeze(-3), 0.0)
    covariance = (shares * deviations).transpose(-2, -3).mT @ deviations.transpose(-2, -3)
    moments = torch.cat((mean, covariance.flatten(-2)), -1)  # (..., M, d + d^2)
    return modality_alignment(moments, counted.sum(-2) > 1)
