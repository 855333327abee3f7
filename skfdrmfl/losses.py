"""The equations of the objective: one pure function each, its gradient beside it.

Every function takes tensors whose last axes are rows and features and returns one value a row, `moments_alignment`
alone one a batch; the client objective weighs rows and terms (`client.py`). What is trained has a `..._gradient` twin
that returns the derivative of each value with respect to the named argument. The values are differentiable: autograd
checks the twins.

Glossary of the paper's letters, used here and in every kernel
    C       clients (replicas) stacked along the leading axis
    B       rows of a batch, padded rows have weight zero
    M, m    modalities
    d       entries of one modality's code mu (`modality_dim`)
    c       entries of Z (`n_components`)
    q       outputs, columns of y
    H       earlier global models kept as negatives (`history_size`)
    mu      codes h_m(x^m)           Z   fused features g(mu_1, .., mu_M)
    T       critic T(z, y)           w   row weights, summing to one over a client's batch
    s       variances of a code's entries

Equation numbers are those of arXiv 2512.02076.
"""

from __future__ import annotations

from math import log

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, pad

# Lengths are not divided by when shorter than this, as in torch's own cosine similarity.
SHORTEST = 1e-8
# Variances of a code stay within this factor of one, up and down.
MOST_VARIANCE = 10.0
_BOUND = 0.5 * log(MOST_VARIANCE)  # twice that is what centring leaves of it

# ------------------------------------------------------------------------------------------ prediction


def squared_error(y_hat: Tensor, y: Tensor) -> Tensor:
    """Squared error, mean over outputs.

    Parameters
    ----------
    y_hat, y : Tensor of shape (..., B, q)

    Returns
    -------
    Tensor of shape (..., B)
    """
    return (y_hat - y).square().sum(-1) / y.shape[-1]


def squared_error_gradient(y_hat: Tensor, y: Tensor) -> Tensor:
    """Derivative of `squared_error` with respect to `y_hat`."""
    return (y_hat - y) * (2.0 / y.shape[-1])


# ---------------------------------------------------------------------------------- mutual information


def jensen_shannon(t_joint: Tensor, t_marginal: Tensor) -> Tensor:
    """Sigmoid (Jensen-Shannon) objective J of a critic (eq. 5-6): log s(T_joint) + log(1 - s(T_marginal)).

    Its mean is maximal at T = log p(z, y) / (p(z) p(y)), where J = 2 JSD - 2 ln 2. It is not itself a tight
    bound of I(Z; y); see `nwj`.

    Parameters
    ----------
    t_joint, t_marginal : Tensor of shape (..., B)
        Critic on pairs (z_i, y_i) and on pairs (z_i, y_{i+1}), y shifted cyclically inside the batch.

    Returns
    -------
    Tensor of shape (..., B), in nats; at most 0.
    """
    return logsigmoid(t_joint) + logsigmoid(-t_marginal)


def jensen_shannon_gradient(t_joint: Tensor, t_marginal: Tensor) -> tuple[Tensor, Tensor]:
    """Derivatives of `jensen_shannon` with respect to `t_joint` and `t_marginal`."""
    # Side by side, as 2 B of them: no vector of 32 spans two clients then (see `batches.LANES`).
    slopes = torch.sigmoid(torch.cat((-t_joint, t_marginal), -1))
    d_joint, d_marginal = slopes.split(t_joint.shape[-1], -1)
    return d_joint, -d_marginal


def nwj(t_joint: Tensor, t_marginal: Tensor) -> Tensor:
    """Nguyen-Wainwright-Jordan value of a critic: T_joint - e^T_marginal + 1.

    Its mean is a lower bound of I(Z; y) for every critic, tight at the same T that maximises
    `jensen_shannon` (Nguyen, Wainwright and Jordan 2010; Poole et al. 2019, eq. 7 with T + 1).

    Parameters
    ----------
    t_joint, t_marginal : Tensor of shape (..., B)

    Returns
    -------
    Tensor of shape (..., B), in nats.
    """
    return t_joint - t_marginal.exp() + 1.0


# ------------------------------------------------------------------------------------------- alignment


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


# --------------------------------------------------------------------------------- federated contrast


def _length(z: Tensor) -> Tensor:
    # Not `norm`, which rounds differently according to how many rows it is given.
    return z.square().sum(-1, keepdim=True).clamp_min(SHORTEST**2).sqrt()


def unit(z: Tensor) -> Tensor:
    """`z` (..., c) scaled to length one; shorter than `SHORTEST` it stays shorter, and zero stays zero."""
    return z / _length(z)


def _softmax(similarity: Tensor) -> Tensor:
    # Not `softmax`, whose kernel for a few columns rounds by a row's place among the others; and an even number
    # of columns, so that with batches of a multiple of 16 rows no vector of 32 spans two clients.
    n = similarity.shape[-1]
    shifted = similarity - similarity.amax(-1, keepdim=True)
    share = torch.exp(pad(shifted, (0, 1)))[..., :n] if n % 2 else shifted.exp_()
    return share / share.sum(-1, keepdim=True)


def _similarity(direction: Tensor, references: Tensor, temperature: Tensor | float) -> Tensor:
    # Not a matrix product: so small ones are slow.
    return (references * direction.unsqueeze(-2)).sum(-1) / temperature  # (..., B, 1 + H)


def info_nce(z: Tensor, references: Tensor, temperature: Tensor | float) -> Tensor:
    """InfoNCE of a row against the same row under earlier global models (eq. 12).

    - log( exp(s_0 / tau) / sum_h exp(s_h / tau) ), s_h the cosine similarity of z and reference h. The
    denominator includes the positive, so n negatives as close as the positive give log(1 + n).

    Parameters
    ----------
    z : Tensor of shape (..., B, c)
        Anchors: Z under the local model.
    references : Tensor of shape (..., B, 1 + H, c)
        Unit vectors (`unit`): the positive, Z of the same row under the model broadcast this round, then the
        negatives, Z of the same row under earlier global models.
    temperature : float or Tensor broadcast against (..., B, 1 + H)
        tau.

    Returns
    -------
    Tensor of shape (..., B), in nats; zero without negatives. With c = 1 every cosine is +1 or -1 and the
    gradient is zero.
    """
    similarity = _similarity(unit(z), references, temperature)
    return torch.logsumexp(similarity, -1) - similarity[..., 0]


def info_nce_gradient(z: Tensor, references: Tensor, temperature: Tensor | float) -> Tensor:
    """Derivative of `info_nce` with respect to `z`."""
    length = _length(z)
    direction = z / length
    pull = _softmax(_similarity(direction, references, temperature))
    pull[..., 0] -= 1.0
    pull /= temperature
    gradient = (pull.unsqueeze(-1) * references).sum(-2)  # with respect to the direction
    gradient -= (gradient * direction).sum(-1, keepdim=True) * direction  # only turning z changes a cosine
    return gradient / length
