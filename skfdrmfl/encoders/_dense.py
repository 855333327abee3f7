"""Fully connected encoders."""

from __future__ import annotations

from collections.abc import Sequence

from skfdrmfl.encoders._spec import Encoder, check_layer_sizes, part_name
from skfdrmfl.mlp import MLP


class DenseEncoder(Encoder):
    """Fully connected layers beside a linear skip: mu = W x + MLP(x).

    Parameters
    ----------
    hidden_layer_sizes : tuple of int, default=None
        Widths of the hidden (silu) layers; None takes the transformer's `hidden_layer_sizes`.
    skip : bool, default=True
        Add a linear map of the columns, so that the layers only learn what is not linear.
    """

    def __init__(self, hidden_layer_sizes: Sequence[int] | None = None, *, skip: bool = True):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.skip = skip

    def build(self, name: str, n_columns: int, modality_dim: int, default_hidden: Sequence[int]) -> MLP:
        """The network h_m from `n_columns` inputs to `modality_dim` outputs."""
        hidden = default_hidden if self.hidden_layer_sizes is None else self.hidden_layer_sizes
        hidden = check_layer_sizes(hidden, f"hidden_layer_sizes of {name!r}")
        return MLP(part_name(name), n_columns, hidden, modality_dim, skip=self.skip)


class LinearEncoder(Encoder):
    """One affine map of the columns: mu = W x + b."""

    def build(self, name: str, n_columns: int, modality_dim: int, default_hidden: Sequence[int]) -> MLP:
        """The network h_m from `n_columns` inputs to `modality_dim` outputs."""
        return MLP(part_name(name), n_columns, (), modality_dim)
