"""How one modality becomes its code: the specs users pass as `encoders`, each of which builds an h_m."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from numbers import Integral
from typing import Any

from sklearn.base import BaseEstimator

from skfdrmfl.mlp import MLP


class DenseEncoder(BaseEstimator):
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
        return MLP(_part(name), n_columns, hidden, modality_dim, skip=self.skip)


class LinearEncoder(BaseEstimator):
    """One affine map of the columns: mu = W x + b."""

    def build(self, name: str, n_columns: int, modality_dim: int, default_hidden: Sequence[int]) -> MLP:
        """The network h_m from `n_columns` inputs to `modality_dim` outputs."""
        return MLP(_part(name), n_columns, (), modality_dim)


def _part(name: str) -> str:
    """Name of a modality's encoder among the parts of the network: no modality can pose as the head."""
    return f"encoder.{name}"


def check_layer_sizes(sizes: object, name: str) -> tuple[int, ...]:
    """`sizes` as a tuple of positive integers, one integer standing for one layer."""
    widths: tuple[Any, ...] = (sizes,)
    if isinstance(sizes, Iterable) and not isinstance(sizes, str):
        widths = tuple(sizes)
    if not all(isinstance(w, Integral) and not isinstance(w, bool) and int(w) > 0 for w in widths):
        raise ValueError(f"{name} must be positive integers, one a hidden layer; got {sizes!r}.")
    return tuple(int(w) for w in widths)
