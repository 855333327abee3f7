"""The fully connected encoders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass

from skfdrmfl.common.tree import registered
from skfdrmfl.encoders._categorical import EMBEDDING_DIM, EmbeddedMLP
from skfdrmfl.encoders._spec import Encoder, check_layer_sizes, check_positive
from skfdrmfl.method.mlp import MLP
from skfdrmfl.method.parts import part_name


@registered
@dataclass(eq=False, repr=False)
class DenseEncoder(Encoder):
    """Encoder of fully connected layers beside a linear skip: mu = W x + MLP(x).

    Discrete columns of a DataFrame are embedded: x is then the vectors of a row's categories and its numeric columns
    side by side, so that the layers can combine both.

    Parameters
    ----------
    hidden_layer_sizes : tuple of int, default=None
        Widths of the hidden (silu) layers; None takes the transformer's `hidden_layer_sizes`.
    skip : bool, default=True
        Add a linear map of the columns, so that the layers only learn what is not linear.
    embedding_dim : int, default=8
        Number of entries of a category's vector.
    """

    hidden_layer_sizes: Sequence[int] | None = None
    _: KW_ONLY
    skip: bool = True
    embedding_dim: int = EMBEDDING_DIM

    def build(self, name: str, n_columns: int, modality_dim: int, default_hidden: Sequence[int]) -> MLP:
        """Return the network h_m from `n_columns` inputs to `modality_dim` outputs."""
        return MLP(part_name(name), n_columns, self._hidden(name, default_hidden), modality_dim, skip=self.skip)

    def build_embedded(
        self, name: str, n_categories: Sequence[int], n_columns: int, modality_dim: int, default_hidden: Sequence[int]
    ) -> EmbeddedMLP:
        """Return the network h_m of `n_columns` inputs, the first of which are codes of categories."""
        size = check_positive(self.embedding_dim, f"embedding_dim of the encoder of modality {name!r}")
        hidden = self._hidden(name, default_hidden)
        return EmbeddedMLP(part_name(name), n_categories, size, n_columns, hidden, modality_dim, skip=self.skip)

    def _hidden(self, name: str, default_hidden: Sequence[int]) -> tuple[int, ...]:
        """Return the checked widths of the hidden layers."""
        hidden = default_hidden if self.hidden_layer_sizes is None else self.hidden_layer_sizes
        return check_layer_sizes(hidden, f"hidden_layer_sizes of {name!r}")


@registered
class LinearEncoder(Encoder):
    """Encoder that is one affine map of the columns, mu = W x + b; categories get vectors, as in `DenseEncoder`."""

    def build(self, name: str, n_columns: int, modality_dim: int, default_hidden: Sequence[int]) -> MLP:
        """Return the network h_m from `n_columns` inputs to `modality_dim` outputs."""
        return MLP(part_name(name), n_columns, (), modality_dim)

    def build_embedded(
        self, name: str, n_categories: Sequence[int], n_columns: int, modality_dim: int, default_hidden: Sequence[int]
    ) -> EmbeddedMLP:
        """Return the network h_m of `n_columns` inputs, the first of which are codes of categories."""
        return EmbeddedMLP(part_name(name), n_categories, EMBEDDING_DIM, n_columns, (), modality_dim, skip=False)
