"""g: how the codes of all modalities become one Z. Each is a pooling step followed by one affine map to c."""

from __future__ import annotations

from torch import Tensor


class ConcatFusion:
    """Z = W [mu_1, .., mu_M] + b."""

    def n_pooled(self, n_modalities: int, modality_dim: int) -> int:
        """Width of the pooled code."""
        return n_modalities * modality_dim

    def pool(self, codes: Tensor) -> Tensor:
        """Codes (C, B, M, d) to (C, B, n_pooled)."""
        return codes.flatten(-2)

    def pool_backward(self, d_pooled: Tensor, codes: Tensor) -> Tensor:
        """Derivative with respect to the codes (C, B, M, d)."""
        return d_pooled.unflatten(-1, codes.shape[-2:])


class MeanFusion:
    """Z = W mean_m(mu_m) + b, the same however many modalities there are."""

    def n_pooled(self, n_modalities: int, modality_dim: int) -> int:
        """Width of the pooled code."""
        return modality_dim

    def pool(self, codes: Tensor) -> Tensor:
        """Codes (C, B, M, d) to (C, B, d)."""
        return codes.mean(-2)

    def pool_backward(self, d_pooled: Tensor, codes: Tensor) -> Tensor:
        """Derivative with respect to the codes (C, B, M, d)."""
        return (d_pooled / codes.shape[-2]).unsqueeze(-2).expand_as(codes)


FUSIONS: dict[str, type[ConcatFusion] | type[MeanFusion]] = {"concat": ConcatFusion, "mean": MeanFusion}
