"""g: how the codes of all modalities become one Z. Each is a pooling step followed by one affine map to c.

A mask (C, B, M) says which modalities a row has (True) and lacks (False). What stands in the code of one that it
lacks, be it NaN, influences neither values nor gradients. Without a mask all are there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import sqrt

import numpy as np
import torch
from torch import Tensor

from skfdrmfl.model.mlp import GAIN, Views

N_QUERIES = 4


@dataclass
class PoolTape:
    """What pooling leaves for its backward: the codes with zeros for those lacking, the mask, and shares."""

    codes: Tensor
    mask: Tensor | None
    shares: Tensor | None = None


class Fusion:
    """One kind of pooling; its arrays, if any, are named "fusion...." as those of the affine map behind it."""

    is_linear = False

    def linear_block(self, weight: np.ndarray, m: int, n_modalities: int) -> np.ndarray:
        """Where pooling is linear: the map (c, d) from the code of modality m to Z, for mixing weights `weight`."""
        raise NotImplementedError

    def n_pooled(self, n_modalities: int, modality_dim: int) -> int:
        """Width of the pooled code."""
        raise NotImplementedError

    def shapes(self, n_modalities: int, modality_dim: int) -> dict[str, tuple[int, ...]]:
        """Arrays of the pooling itself, matrices all."""
        return {}

    def initial(
        self, rngs: Iterator[np.random.Generator], n_modalities: int, modality_dim: int
    ) -> dict[str, np.ndarray]:
        """Their first values."""
        return {}

    def pool(self, views: Views, codes: Tensor, mask: Tensor | None = None) -> tuple[Tensor, PoolTape]:
        """Codes (C, B, M, d) to (C, B, n_pooled)."""
        raise NotImplementedError

    def pool_backward(self, views: Views, grads: Views, tape: PoolTape, d_pooled: Tensor) -> Tensor:
        """Write the gradients of the arrays; return the derivative with respect to the codes (C, B, M, d)."""
        raise NotImplementedError


class ConcatFusion(Fusion):
    """Z = W [mu_1, .., mu_M] + b, zeros for modalities a row lacks."""

    is_linear = True

    def linear_block(self, weight: np.ndarray, m: int, n_modalities: int) -> np.ndarray:
        """Columns of the modality."""
        return np.split(weight, n_modalities, axis=1)[m]

    def n_pooled(self, n_modalities: int, modality_dim: int) -> int:
        """Width of the pooled code."""
        return n_modalities * modality_dim

    def pool(self, views: Views, codes: Tensor, mask: Tensor | None = None) -> tuple[Tensor, PoolTape]:
        """Codes (C, B, M, d) to (C, B, M d)."""
        codes = _present(codes, mask)
        return codes.flatten(-2), PoolTape(codes, mask)

    def pool_backward(self, views: Views, grads: Views, tape: PoolTape, d_pooled: Tensor) -> Tensor:
        """Derivative with respect to the codes (C, B, M, d)."""
        return _present(d_pooled.unflatten(-1, tape.codes.shape[-2:]), tape.mask)


class MeanFusion(Fusion):
    """Z = W mean_m(mu_m) + b over the modalities a row has, the same however many there are."""

    is_linear = True

    def linear_block(self, weight: np.ndarray, m: int, n_modalities: int) -> np.ndarray:
        """Its share of the mean."""
        return weight / n_modalities

    def n_pooled(self, n_modalities: int, modality_dim: int) -> int:
        """Width of the pooled code."""
        return modality_dim

    def pool(self, views: Views, codes: Tensor, mask: Tensor | None = None) -> tuple[Tensor, PoolTape]:
        """Codes (C, B, M, d) to (C, B, d)."""
        if mask is None:
            return codes.mean(-2), PoolTape(codes, None)
        codes = _present(codes, mask)
        return codes.sum(-2) / _count(mask), PoolTape(codes, mask)

    def pool_backward(self, views: Views, grads: Views, tape: PoolTape, d_pooled: Tensor) -> Tensor:
        """Derivative with respect to the codes (C, B, M, d)."""
        count = tape.codes.shape[-2] if tape.mask is None else _count(tape.mask)
        return _present((d_pooled / count).unsqueeze(-2).expand_as(tape.codes), tape.mask)


class GatedFusion(Fusion):
    """Z = W sum_m(s_m mu_m) + b, s = softmax over m of W_m mu_m + b_m, entry by entry.

    Each code says by itself how much of each of its entries to let through; with zero gates it is the mean.
    """

    def n_pooled(self, n_modalities: int, modality_dim: int) -> int:
        """Width of the pooled code."""
        return modality_dim

    def shapes(self, n_modalities: int, modality_dim: int) -> dict[str, tuple[int, ...]]:
        """W_m below each other, and b_m below each other."""
        rows = n_modalities * modality_dim
        return {"fusion.gate_weight": (rows, modality_dim), "fusion.gate_bias": (rows, 1)}

    def initial(
        self, rngs: Iterator[np.random.Generator], n_modalities: int, modality_dim: int
    ) -> dict[str, np.ndarray]:
        """Small Gaussian weights and zero biases."""
        rows = n_modalities * modality_dim
        weight = next(rngs).standard_normal((rows, modality_dim)) * (GAIN / sqrt(modality_dim))
        return {"fusion.gate_weight": weight, "fusion.gate_bias": np.zeros((rows, 1))}

    def pool(self, views: Views, codes: Tensor, mask: Tensor | None = None) -> tuple[Tensor, PoolTape]:
        """Codes (C, B, M, d) to (C, B, d)."""
        codes = _present(codes, mask)
        weight, bias = self._per_modality(views["fusion.gate_weight"], views["fusion.gate_bias"], codes)
        # One product a replica and modality: (C M, B, d) with (C M, d, d).
        inputs = codes.transpose(1, 2).flatten(0, 1)
        scores = torch.baddbmm(bias.transpose(1, 2), inputs, weight.transpose(1, 2))
        shares = _shares(scores.unflatten(0, (len(codes), -1)).transpose(1, 2), mask)
        return (shares * codes).sum(-2), PoolTape(codes, mask, shares)

    def pool_backward(self, views: Views, grads: Views, tape: PoolTape, d_pooled: Tensor) -> Tensor:
        """Write the gradients of the gates; return the derivative with respect to the codes (C, B, M, d)."""
        codes, shares = tape.codes, tape.shares
        assert shares is not None
        n_replicas = len(codes)
        d_pooled = d_pooled.unsqueeze(-2)
        d_scores = _shares_backward(shares, d_pooled * codes).transpose(1, 2).flatten(0, 1)  # (C M, B, d)
        inputs = codes.transpose(1, 2).flatten(0, 1)
        grads["fusion.gate_weight"].copy_((d_scores.transpose(1, 2) @ inputs).view(n_replicas, -1, codes.shape[-1]))
        grads["fusion.gate_bias"].copy_(d_scores.sum(1).view(n_replicas, -1, 1))
        weight, _ = self._per_modality(views["fusion.gate_weight"], views["fusion.gate_bias"], codes)
        through_gates = torch.bmm(d_scores, weight).unflatten(0, (n_replicas, -1)).transpose(1, 2)
        return _present(shares * d_pooled + through_gates, tape.mask)

    @staticmethod
    def _per_modality(weight: Tensor, bias: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        """W (C M, d, d) and b (C M, d, 1)."""
        d = codes.shape[-1]
        return weight.reshape(-1, d, d), bias.reshape(-1, d, 1)


class AttentionFusion(Fusion):
    """Z = W [a_1, .., a_h] + b, a_j = sum_m(s_mj mu_m), s_j = softmax over m of q_j mu_m / sqrt(d) + b_jm.

    A few learned queries q_j look at the codes, each with a preference b_j among the modalities; a_j is the mean
    of the codes by what it sees.
    """

    def n_pooled(self, n_modalities: int, modality_dim: int) -> int:
        """Width of the pooled code."""
        return N_QUERIES * modality_dim

    def shapes(self, n_modalities: int, modality_dim: int) -> dict[str, tuple[int, ...]]:
        """q_j and b_j below each other."""
        return {"fusion.query": (N_QUERIES, modality_dim), "fusion.preference": (N_QUERIES, n_modalities)}

    def initial(
        self, rngs: Iterator[np.random.Generator], n_modalities: int, modality_dim: int
    ) -> dict[str, np.ndarray]:
        """Gaussian queries, which differ, and no preference."""
        query = next(rngs).standard_normal((N_QUERIES, modality_dim))
        return {"fusion.query": query, "fusion.preference": np.zeros((N_QUERIES, n_modalities))}

    def pool(self, views: Views, codes: Tensor, mask: Tensor | None = None) -> tuple[Tensor, PoolTape]:
        """Codes (C, B, M, d) to (C, B, h d)."""
        codes = _present(codes, mask)
        query = views["fusion.query"] / sqrt(codes.shape[-1])
        seen = torch.bmm(codes.flatten(1, 2), query.transpose(1, 2)).view(*codes.shape[:-1], N_QUERIES)
        shares = _shares(seen + views["fusion.preference"].transpose(1, 2).unsqueeze(1), mask)  # (C, B, M, h)
        pooled = (shares.unsqueeze(-1) * codes.unsqueeze(-2)).sum(-3)  # (C, B, h, d)
        return pooled.flatten(-2), PoolTape(codes, mask, shares)

    def pool_backward(self, views: Views, grads: Views, tape: PoolTape, d_pooled: Tensor) -> Tensor:
        """Write the gradients of the queries; return the derivative with respect to the codes (C, B, M, d)."""
        codes, shares = tape.codes, tape.shares
        assert shares is not None
        root = sqrt(codes.shape[-1])
        d_pooled = d_pooled.unflatten(-1, (N_QUERIES, -1)).unsqueeze(-3)  # (C, B, 1, h, d)
        d_scores = _shares_backward(shares, (d_pooled * codes.unsqueeze(-2)).sum(-1))  # (C, B, M, h)
        flat = d_scores.flatten(1, 2)
        grads["fusion.query"].copy_(torch.bmm(flat.transpose(1, 2), codes.flatten(1, 2)) / root)
        grads["fusion.preference"].copy_(d_scores.sum(1).transpose(1, 2))
        through_queries = torch.bmm(flat, views["fusion.query"]).view_as(codes) / root
        d_codes = (shares.unsqueeze(-1) * d_pooled).sum(-2) + through_queries
        return _present(d_codes, tape.mask)


def _present(codes: Tensor, mask: Tensor | None) -> Tensor:
    """The codes (C, B, M, d), zeros where a row lacks the modality; not a product, as zero times NaN is NaN."""
    return codes if mask is None else torch.where(mask.unsqueeze(-1), codes, 0.0)


def _count(mask: Tensor) -> Tensor:
    """Modalities a row has, at least 1: (C, B, 1)."""
    return mask.sum(-1, keepdim=True).clamp_min(1)


def _shares(scores: Tensor, mask: Tensor | None) -> Tensor:
    """Softmax over the modalities a row has of scores (C, B, M, .); all zero for a row that has none.

    Not `softmax`, whose kernels for a few entries round by a row's place among the others.
    """
    if mask is not None:
        scores = torch.where(mask.unsqueeze(-1), scores, -torch.inf)
    highest = scores.detach().amax(-2, keepdim=True).clamp_min(torch.finfo(scores.dtype).min)
    share = torch.exp(scores - highest)
    return share / share.sum(-2, keepdim=True).clamp_min(torch.finfo(scores.dtype).tiny)


def _shares_backward(shares: Tensor, d_shares: Tensor) -> Tensor:
    """Derivative with respect to the scores."""
    return shares * (d_shares - (shares * d_shares).sum(-2, keepdim=True))


FUSIONS: dict[str, type[Fusion]] = {
    "concat": ConcatFusion,
    "mean": MeanFusion,
    "gated": GatedFusion,
    "attention": AttentionFusion,
}
