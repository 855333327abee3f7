"""The fusion g, by which the codes of all modalities become one Z: a pooling step, then one affine map to c entries.

A mask (C, B, M) says which modalities a row has (True) and lacks (False). The code of one that it lacks may be NaN: it
influences neither values nor gradients. Without a mask every row has all modalities.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import sqrt

import numpy as np

from skfdrmfl.common.arrays import Arrays
from skfdrmfl.common.late_torch import Tensor, torch
from skfdrmfl.method.parts import GAIN, Shapes, Views

# Queries of `AttentionFusion`.
N_QUERIES = 4


class Fusion:
    """One kind of pooling; the names of its arrays, if any, start with "fusion.", as those of the affine map do."""

    is_linear = False

    def n_pooled(self, n_modalities: int, modality_dim: int) -> int:
        """Return the width of the pooled code."""
        return modality_dim

    def shapes(self, n_modalities: int, modality_dim: int) -> Shapes:
        """Return the shapes of the pooling's own arrays, all of them matrices."""
        return {}

    def initial(self, rngs: Iterator[np.random.Generator], n_modalities: int, modality_dim: int) -> Arrays:
        """Return the pooling's own arrays before the first round."""
        return {}

    def pool(self, views: Views, codes: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the codes (C, B, M, d) pooled to (C, B, n_pooled)."""
        raise NotImplementedError


class ConcatFusion(Fusion):
    """All codes side by side, zeros for modalities a row lacks: Z = W [mu_1, .., mu_M] + b."""

    is_linear = True

    def n_pooled(self, n_modalities: int, modality_dim: int) -> int:
        """Return the width of the pooled code."""
        return n_modalities * modality_dim

    def pool(self, views: Views, codes: Tensor, mask: Tensor | None = None) -> Tensor:
        """Lay codes (C, B, M, d) side by side, (C, B, M d)."""
        return _zero_absent(codes, mask).flatten(-2)


class MeanFusion(Fusion):
    """The mean of the codes a row has: Z = W mean_m(mu_m) + b, with the same W however many modalities there are."""

    is_linear = True

    def pool(self, views: Views, codes: Tensor, mask: Tensor | None = None) -> Tensor:
        """Average codes (C, B, M, d) to (C, B, d)."""
        if mask is None:
            return codes.mean(-2)
        return _zero_absent(codes, mask).sum(-2) / mask.sum(-1, keepdim=True).clamp_min(1)


class GatedFusion(Fusion):
    """A gated mean of the codes: Z = W sum_m(s_m mu_m) + b, s = softmax over m of W_m mu_m + b_m, entry by entry.

    Each code decides by itself how much of each of its entries to let through; with W_m and b_m zero it is the mean.
    """

    def shapes(self, n_modalities: int, modality_dim: int) -> Shapes:
        """Return the shapes of all W_m, one below another, and of all b_m, one below another."""
        rows = n_modalities * modality_dim
        return {"fusion.gate_weight": (rows, modality_dim), "fusion.gate_bias": (rows, 1)}

    def initial(self, rngs: Iterator[np.random.Generator], n_modalities: int, modality_dim: int) -> Arrays:
        """Return Gaussian weights, by which scores start with standard deviation `GAIN`, and zero biases."""
        rows = n_modalities * modality_dim
        weight = next(rngs).standard_normal((rows, modality_dim)) * (GAIN / sqrt(modality_dim))
        return {"fusion.gate_weight": weight, "fusion.gate_bias": np.zeros((rows, 1))}

    def pool(self, views: Views, codes: Tensor, mask: Tensor | None = None) -> Tensor:
        """Take the gated mean of codes (C, B, M, d), (C, B, d)."""
        codes = _zero_absent(codes, mask)
        d = codes.shape[-1]
        weight, bias = views["fusion.gate_weight"].reshape(-1, d, d), views["fusion.gate_bias"].reshape(-1, d, 1)
        # One product a replica and modality: (C M, B, d) with (C M, d, d).
        inputs = codes.transpose(1, 2).flatten(0, 1)
        scores = torch.baddbmm(bias.transpose(1, 2), inputs, weight.transpose(1, 2))
        shares = _shares(scores.unflatten(0, (len(codes), -1)).transpose(1, 2), mask)
        return (shares * codes).sum(-2)


class AttentionFusion(Fusion):
    """Attention: Z = W [a_1, .., a_h] + b, a_j = sum_m(s_mj mu_m), s_j = softmax over m of q_j mu_m / sqrt(d) + b_jm.

    Each of a few learned queries q_j scores the codes and has a preference b_j among the modalities; a_j is the mean of
    the codes by these scores.
    """

    def n_pooled(self, n_modalities: int, modality_dim: int) -> int:
        """Return the width of the pooled code."""
        return N_QUERIES * modality_dim

    def shapes(self, n_modalities: int, modality_dim: int) -> Shapes:
        """Return the shapes of all q_j, one below another, and of all b_j, one below another."""
        return {"fusion.query": (N_QUERIES, modality_dim), "fusion.preference": (N_QUERIES, n_modalities)}

    def initial(self, rngs: Iterator[np.random.Generator], n_modalities: int, modality_dim: int) -> Arrays:
        """Return Gaussian queries, which differ from each other, and preferences of zero."""
        query = next(rngs).standard_normal((N_QUERIES, modality_dim))
        return {"fusion.query": query, "fusion.preference": np.zeros((N_QUERIES, n_modalities))}

    def pool(self, views: Views, codes: Tensor, mask: Tensor | None = None) -> Tensor:
        """Take one mean of the codes (C, B, M, d) a query, side by side (C, B, h d)."""
        codes = _zero_absent(codes, mask)
        query = views["fusion.query"] / sqrt(codes.shape[-1])
        scores = torch.bmm(codes.flatten(1, 2), query.transpose(1, 2)).view(*codes.shape[:-1], N_QUERIES)
        shares = _shares(scores + views["fusion.preference"].transpose(1, 2).unsqueeze(1), mask)  # (C, B, M, h)
        pooled = (shares.unsqueeze(-1) * codes.unsqueeze(-2)).sum(-3)  # (C, B, h, d)
        return pooled.flatten(-2)


def _zero_absent(codes: Tensor, mask: Tensor | None) -> Tensor:
    """Return the codes (C, B, M, d), zero where a row lacks the modality."""
    # Bits: see docs/maintainers.md, "select, not multiply".
    return codes if mask is None else torch.where(mask.unsqueeze(-1), codes, 0.0)


def _shares(scores: Tensor, mask: Tensor | None) -> Tensor:
    """Return the softmax of scores (C, B, M, .) over the modalities a row has; all zero for a row that has none."""
    # Bits: see docs/maintainers.md, "softmax".
    if mask is not None:
        scores = torch.where(mask.unsqueeze(-1), scores, -torch.inf)
    highest = scores.detach().amax(-2, keepdim=True).clamp_min(torch.finfo(scores.dtype).min)
    exponential = torch.exp(scores - highest)
    return exponential / exponential.sum(-2, keepdim=True).clamp_min(torch.finfo(scores.dtype).tiny)


FUSIONS: dict[str, type[Fusion]] = {
    "concat": ConcatFusion,
    "mean": MeanFusion,
    "gated": GatedFusion,
    "attention": AttentionFusion,
}
