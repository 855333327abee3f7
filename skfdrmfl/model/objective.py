"""The objective of one client, and its gradient by hand.

Rows of different clients are never mixed. Tensors carry a leading replica axis (C, ...) along which every operation is
independent; with C = 1 this is the code of a single client.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from skfdrmfl.equations import contrast, information, prediction
from skfdrmfl.model.alignment import ALIGNMENTS, Alignment
from skfdrmfl.model.mlp import Views
from skfdrmfl.model.network import Activations, Network

# The terms of the objective; "loss" is the weighted sum of the first four, and "mi_nwj" only reported.
TERMS = ("mse", "mi", "kl", "contrastive", "mi_nwj", "loss")
# What is recorded of each client and round: the terms, and how its update compares with the round's step.
RECORDED = (*TERMS, "drift")


@dataclass(slots=True)
class Batch:
    """Holds the rows of one step, or of several along a further first axis, and what they are compared with.

    Attributes
    ----------
    x : Tensor of shape (C, B, columns)
    y_pairs : Tensor of shape (C, 2 B, q)
        y followed by y shifted cyclically inside the batch.
    references : Tensor of shape (C, B, 1 + H, c), or None
        Unit vectors as of `info_nce`; None without negatives.
    weights, pair_weights : Tensor of shape (C, B)
        Each row's share of its client's batch, zero for padding; for pairs zero too in a batch of one row.
    mask : Tensor of bool of shape (C, B, M), or None
        Which modalities a row has; None: all.
    """

    x: Tensor
    y_pairs: Tensor
    references: Tensor | None
    weights: Tensor
    pair_weights: Tensor
    mask: Tensor | None = None

    @property
    def y(self) -> Tensor:
        """The outputs (C, B, q), unshifted."""
        return self.y_pairs.narrow(-2, 0, self.x.shape[-2])

    def steps(self) -> Iterator[Batch]:
        """Return each of several steps as a batch of its own."""
        nothing = [None] * len(self.x)
        columns = (
            self.x.unbind(),
            self.y_pairs.unbind(),
            nothing if self.references is None else self.references.unbind(),
            self.weights.unbind(),
            self.pair_weights.unbind(),
            nothing if self.mask is None else self.mask.unbind(),
        )
        return (Batch(*parts) for parts in zip(*columns, strict=False))


@dataclass(frozen=True)
class TermWeights:
    """Holds lambda_1, lambda_2, lambda_3 and tau of each client, all (C, 1); None for a term that no client uses."""

    mi: Tensor | None
    kl: Tensor | None
    contrastive: Tensor | None
    temperature: Tensor

    def narrow(self, n: int) -> TermWeights:
        """Return the first n clients' weights."""
        mi, kl, contrastive = (None if t is None else t[:n] for t in (self.mi, self.kl, self.contrastive))
        return TermWeights(mi, kl, contrastive, self.temperature[:n])

    def used(self, terms: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return `terms` with zero for clients whose weight is zero, for whom others' terms were computed too."""
        weights = {"mi": self.mi, "mi_nwj": self.mi, "kl": self.kl, "contrastive": self.contrastive}
        out = dict(terms)
        for name, weight in weights.items():
            if weight is not None and name in terms:
                out[name] = torch.where(weight[:, 0] > 0, terms[name], 0.0)
        return out

    def total(self, terms: Mapping[str, Tensor]) -> Tensor:
        """Return L_k (C,), the weighted sum of the terms in use."""
        loss = terms["mse"]
        for name, weight in (("mi", self.mi), ("kl", self.kl), ("contrastive", self.contrastive)):
            if weight is not None and name in terms:
                loss = loss + weight[:, 0] * terms[name]
        return loss


@dataclass(slots=True)
class Outputs:
    """Holds what the objective is computed from; None where no term in use needs it.

    Attributes
    ----------
    y_hat : Tensor of shape (..., C, B, q)
    z : Tensor of shape (..., C, B, c), or None
    codes : Tensor of shape (..., C, B, M, d), or None
    t_joint, t_marginal : Tensor of shape (..., C, B), or None
        The critic on pairs and on shifted pairs.
    raw : Tensor of shape (..., C, B, M, d), or None
        Raw log variances of the codes, where `alignment` learns them.
    alignment : Alignment
    """

    y_hat: Tensor
    z: Tensor | None = None
    codes: Tensor | None = None
    t_joint: Tensor | None = None
    t_marginal: Tensor | None = None
    raw: Tensor | None = None
    alignment: Alignment = ALIGNMENTS["homoscedastic"]

    @classmethod
    def stacked(cls, steps: Sequence[Outputs]) -> Outputs:
        """Return the outputs of several steps along a new first axis."""

        def stack(values: list[Tensor | None]) -> Tensor | None:
            given = [value for value in values if value is not None]
            return torch.stack(given) if given else None

        return cls(
            torch.stack([step.y_hat for step in steps]),
            stack([step.z for step in steps]),
            stack([step.codes for step in steps]),
            stack([step.t_joint for step in steps]),
            stack([step.t_marginal for step in steps]),
            stack([step.raw for step in steps]),
            steps[0].alignment,
        )


def objective_terms(outputs: Outputs, batch: Batch, temperature: Tensor) -> dict[str, Tensor]:
    """Return each term in use, unweighted, as the mean over each batch's rows (..., C), for one step or several."""
    w, w_pairs = batch.weights, batch.pair_weights
    terms = {"mse": (w * prediction.squared_error(outputs.y_hat, batch.y)).sum(-1)}
    if outputs.t_joint is not None and outputs.t_marginal is not None:
        terms["mi"] = -(w_pairs * information.jensen_shannon(outputs.t_joint, outputs.t_marginal)).sum(-1)
        terms["mi_nwj"] = (w_pairs * information.nwj(outputs.t_joint, outputs.t_marginal)).sum(-1)
    if outputs.codes is not None:
        terms["kl"] = outputs.alignment.value(outputs.codes, outputs.raw, w, batch.mask)
    if outputs.z is not None and batch.references is not None:
        terms["contrastive"] = (w * contrast.info_nce(outputs.z, batch.references, temperature.unsqueeze(-1))).sum(-1)
    return terms


def local_objective(network: Network, views: Views, batch: Batch, lambdas: TermWeights) -> dict[str, Tensor]:
    """Return L_k = MSE + lambda_1 R_mi + lambda_2 R_kl + lambda_3 R_fcl as "loss", and each term in use; all (C,).

    The values are differentiable; `local_gradient` is the twin derived by hand.
    """
    act = network.forward(views, batch.x, batch.mask)
    t_joint = t_marginal = raw = None
    if lambdas.mi is not None:
        t_joint, t_marginal, _ = network.criticise(views, act.z, batch.y_pairs)
    if lambdas.kl is not None:
        raw, _ = network.spread(views, batch.x)
    outputs = _outputs(network, act, lambdas, t_joint, t_marginal, raw)
    terms = objective_terms(outputs, batch, lambdas.temperature)
    return {**terms, "loss": lambdas.total(terms)}


def local_gradient(network: Network, views: Views, grads: Views, batch: Batch, lambdas: TermWeights) -> Outputs:
    """Write the gradient of `local_objective` to `grads`; return what `objective_terms` needs for its value."""
    act = network.forward(views, batch.x, batch.mask)
    w, w_pairs = batch.weights, batch.pair_weights
    d_y_hat = prediction.squared_error_gradient(act.y_hat, batch.y) * w.unsqueeze(-1)
    t_joint = t_marginal = raw = d_z = d_codes = None
    if lambdas.mi is not None:
        t_joint, t_marginal, tape = network.criticise(views, act.z, batch.y_pairs)
        d_joint, d_marginal = information.jensen_shannon_gradient(t_joint, t_marginal)
        factor = -lambdas.mi * w_pairs  # R_mi is minus J
        d_z = network.criticise_backward(views, grads, tape, factor * d_joint, factor * d_marginal)
    if lambdas.kl is not None and act.codes.shape[-2] > 1:
        raw, tapes = network.spread(views, batch.x)
        d_codes, d_raw = network.alignment.gradient(act.codes, raw, w, batch.mask, lambdas.kl)
        if d_raw is not None:
            network.spread_backward(views, grads, tapes, d_raw)
    if lambdas.contrastive is not None and batch.references is not None:
        tau = lambdas.temperature.unsqueeze(-1)
        d_contrastive = contrast.info_nce_gradient(act.z, batch.references, tau)
        d_contrastive = d_contrastive * (lambdas.contrastive * w).unsqueeze(-1)
        d_z = d_contrastive if d_z is None else d_z + d_contrastive
    network.backward(views, grads, act, d_y_hat, d_z, d_codes)
    return _outputs(network, act, lambdas, t_joint, t_marginal, raw)


def _outputs(
    network: Network,
    act: Activations,
    lambdas: TermWeights,
    t_joint: Tensor | None,
    t_marginal: Tensor | None,
    raw: Tensor | None,
) -> Outputs:
    """Return what the terms in use need of a forward pass."""
    return Outputs(
        act.y_hat,
        None if lambdas.contrastive is None else act.z,
        None if lambdas.kl is None else act.codes,
        t_joint,
        t_marginal,
        raw,
        network.alignment,
    )


def reference_codes(network: Network, views: Views, x: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return unit Z of the rows x (C, B, columns) under one set of global parameters: references of `info_nce`."""
    return contrast.unit(network.forward(views, x, mask).z)
