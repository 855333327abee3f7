"""What one client does: its objective, the objective's gradient, and one local step.

Nothing here mixes rows of different clients. Tensors carry a leading replica axis (C, ...) along which every
operation is independent; with C = 1 this is the code of a single client.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from skfdrmfl import losses
from skfdrmfl.mlp import Views
from skfdrmfl.network import Network

# What `local_objective` returns, in order; `loss` is the weighted sum of mse, mi, kl and contrastive.
TERMS = ("loss", "mse", "mi", "kl", "contrastive", "mi_nwj")


@dataclass(frozen=True)
class Batch:
    """Rows of one step and what they are compared with.

    x (C, B, columns); y and y_marginal (C, B, q), the latter y shifted cyclically inside the batch;
    references (C, B, 1 + H, c) unit vectors or None without negatives; weights and pair_weights (C, B), each
    row's share of its client's batch, zero for padding (and, for pairs, for a batch of one row).
    """

    x: Tensor
    y: Tensor
    y_marginal: Tensor
    references: Tensor | None
    weights: Tensor
    pair_weights: Tensor


@dataclass(frozen=True)
class TermWeights:
    """lambda_1, lambda_2, lambda_3 and tau of each client, all (C, 1); None for a term nobody uses."""

    mi: Tensor | None
    kl: Tensor | None
    contrastive: Tensor | None
    temperature: Tensor

    def narrow(self, n: int) -> TermWeights:
        """Those of the first n clients."""
        mi, kl, contrastive = (None if t is None else t[:n] for t in (self.mi, self.kl, self.contrastive))
        return TermWeights(mi, kl, contrastive, self.temperature[:n])


def local_objective(network: Network, views: Views, batch: Batch, lambdas: TermWeights) -> Tensor:
    """L_k = MSE + lambda_1 R_mi + lambda_2 R_kl + lambda_3 R_fcl and its terms, (C, len(TERMS)).

    Differentiable; `local_gradient` is its hand-derived twin.
    """
    act = network.forward(views, batch.x)
    w = batch.weights
    zero = w.new_zeros(w.shape[0])
    mse = (w * losses.squared_error(act.y_hat, batch.y)).sum(-1)
    loss, mi, kl, contrastive, nwj = mse, zero, zero, zero, zero
    if lambdas.mi is not None:
        t_joint, t_marginal, _ = network.criticise(views, act.z, batch.y, batch.y_marginal)
        mi = -(batch.pair_weights * losses.jensen_shannon(t_joint, t_marginal)).sum(-1)
        nwj = (batch.pair_weights * losses.nwj(t_joint, t_marginal)).sum(-1)
        loss = loss + lambdas.mi[:, 0] * mi
    if lambdas.kl is not None:
        kl = (w * losses.modality_alignment(act.codes)).sum(-1)
        loss = loss + lambdas.kl[:, 0] * kl
    if lambdas.contrastive is not None and batch.references is not None:
        tau = lambdas.temperature.unsqueeze(-1)
        contrastive = (w * losses.info_nce(act.z, batch.references, tau)).sum(-1)
        loss = loss + lambdas.contrastive[:, 0] * contrastive
    return torch.stack((loss, mse, mi, kl, contrastive, nwj), -1)


def local_gradient(
    network: Network, views: Views, grads: Views, batch: Batch, lambdas: TermWeights
) -> Tensor:
    """Write the gradient of `local_objective` to `grads`; return the same (C, len(TERMS)) values."""
    act = network.forward(views, batch.x)
    w = batch.weights
    zero = w.new_zeros(w.shape[0])
    value, d_y_hat = losses.squared_error_and_gradient(act.y_hat, batch.y)
    d_y_hat = d_y_hat * w.unsqueeze(-1)
    mse = (w * value).sum(-1)
    loss, mi, kl, contrastive, nwj = mse, zero, zero, zero, zero
    d_z = d_codes = None
    if lambdas.mi is not None:
        t_joint, t_marginal, tape = network.criticise(views, act.z, batch.y, batch.y_marginal)
        value, d_joint, d_marginal = losses.jensen_shannon_and_gradient(t_joint, t_marginal)
        share = -lambdas.mi * batch.pair_weights  # R_mi is minus J
        d_z = network.criticise_backward(views, grads, tape, share * d_joint, share * d_marginal)
        mi = -(batch.pair_weights * value).sum(-1)
        nwj = (batch.pair_weights * losses.nwj(t_joint, t_marginal)).sum(-1)
        loss = torch.addcmul(loss, lambdas.mi[:, 0], mi)
    if lambdas.kl is not None:
        value, d_codes = losses.modality_alignment_and_gradient(act.codes)
        d_codes = d_codes * (lambdas.kl * w)[..., None, None]
        kl = (w * value).sum(-1)
        loss = torch.addcmul(loss, lambdas.kl[:, 0], kl)
    if lambdas.contrastive is not None and batch.references is not None:
        tau = lambdas.temperature.unsqueeze(-1)
        value, d_contrastive = losses.info_nce_and_gradient(act.z, batch.references, tau)
        d_contrastive = d_contrastive * (lambdas.contrastive * w).unsqueeze(-1)
        d_z = d_contrastive if d_z is None else d_z + d_contrastive
        contrastive = (w * value).sum(-1)
        loss = torch.addcmul(loss, lambdas.contrastive[:, 0], contrastive)
    network.backward(views, grads, act, d_y_hat, d_z, d_codes)
    return torch.stack((loss, mse, mi, kl, contrastive, nwj), -1)


def reference_codes(network: Network, views: Views, x: Tensor) -> Tensor:
    """Unit Z of the rows x (C, B, columns) under one set of global parameters (eq. 12)."""
    return losses.unit(network.forward(views, x).z)


def soft_threshold_(weights: Tensor, amount: Tensor | float) -> None:
    """Proximal step of an L1 penalty, in place: shrink towards zero by `amount`, stop at exactly zero."""
    weights.copy_(weights.sign() * (weights.abs() - amount).clamp_min_(0.0))
