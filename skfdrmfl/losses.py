"""The equations of the objective: one pure function each, its gradient beside it.

Every function takes tensors whose last axes are rows and features and returns one value a row; the client
objective weighs rows and terms (`client.py`). Its `..._gradient` twin returns the derivative of each row's value
with respect to the named argument. The values are differentiable, so autograd checks the twins.

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

Equation numbers are those of arXiv 2512.02076.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, pad

# Lengths are not divided by when shorter than this, as in torch's own cosine similarity.
SHORTEST = 1e-8

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
