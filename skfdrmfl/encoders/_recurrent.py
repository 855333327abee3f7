"""The recurrent encoder of sequences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from math import prod
from typing import ClassVar

import numpy as np

from skfdrmfl.common.late_torch import Tensor, torch
from skfdrmfl.common.tree import registered
from skfdrmfl.encoders._spec import Encoder, check_positive, check_shape
from skfdrmfl.method.parts import FeaturePart, Views, part_name


@registered
@dataclass(eq=False, repr=False)
class RecurrentEncoder(Encoder):
    """Encoder of sequences in flattened columns, by a gated recurrent unit beside a linear skip.

    The code is an affine map of the state after the last step. Columns are standardised where others would be whitened.

    Parameters
    ----------
    shape : tuple of int, default=None
        (steps, features) that the modality's columns were flattened from, step after step, as in (10, 50);
        None is one feature a step.
    hidden_size : int, default=16
        Number of entries of the state.
    skip : bool, default=True
        Add a linear map of the columns, so that the unit only learns what is not linear.

    References
    ----------
    K. Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder", 2014, with the reset gate after
    the product, as in `torch.nn.GRU`.
    """

    strongest_preprocessing: ClassVar[str | None] = "standardize"

    shape: Sequence[int] | None = None
    _: KW_ONLY
    hidden_size: int = 16
    skip: bool = True

    @property
    def reads_series(self) -> bool:
        """See `Encoder`."""
        return self.shape is None or np.ravel(self.shape)[-1:].tolist() == [1]

    def build(self, name: str, n_columns: int, modality_dim: int, default_hidden: Sequence[int]) -> GRUPart:
        """Return the network h_m from `n_columns` inputs to `modality_dim` outputs."""
        shape = check_shape(
            (n_columns, 1) if self.shape is None else self.shape, ("steps", "features"), name, n_columns
        )
        size = check_positive(self.hidden_size, f"hidden_size of the encoder of modality {name!r}")
        return GRUPart(part_name(name), shape, size, modality_dim, skip=bool(self.skip))


class GRUPart(FeaturePart):
    """h_t = (1 - z) n + z h_{t-1} over rows (steps, features), r, z, n as in `torch.nn.GRU`; the last h is given."""

    def __init__(self, name: str, shape: tuple[int, ...], size: int, n_outputs: int, *, skip: bool):
        self.shape, self.size = shape, size
        layers: dict[str, tuple[int, ...]] = {
            "weight_x": (3 * size, shape[1]),
            "weight_h": (3 * size, size),
            "bias_x": (3 * size, 1),
            "bias_h": (3 * size, 1),
        }
        super().__init__(name, prod(shape), n_outputs, shape, size, layers=layers, n_features=size, skip=skip)

    def features(self, views: Views, x: Tensor) -> Tensor:
        """Return the state after the last step, (C, size, B)."""
        n_replicas, _, n_rows = x.shape
        steps, width = self.shape
        inputs = x.reshape(n_replicas, steps, width, n_rows).transpose(1, 2).reshape(n_replicas, width, -1)
        from_x = self.affine(views, "x", inputs).view(n_replicas, 3 * self.size, steps, n_rows)
        state = x.new_zeros(n_replicas, self.size, n_rows)
        sizes = (2 * self.size, self.size)
        for step_from_x in from_x.unbind(2):
            from_state = self.affine(views, "h", state)
            gates_x, new_x = step_from_x.split(sizes, 1)
            gates_h, new_h = from_state.split(sizes, 1)
            reset, keep = torch.sigmoid(gates_x + gates_h).chunk(2, 1)
            new = torch.tanh(new_x + reset * new_h)
            state = new + keep * (state - new)
        return state
