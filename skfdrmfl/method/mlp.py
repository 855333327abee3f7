"""Dense layers with a linear skip.

Encoders, the head and the critic are each one of these. All weights carry a leading replica axis: (C, ., .).

Inside, features come before rows, (C, features, B): the last axis is then a whole batch, never the few outputs
of a narrow layer, at which the batched product would be slow. Callers see (C, B, features) all the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.common.arrays import Float
from skfdrmfl.common.late_torch import Tensor, torch
from skfdrmfl.method.parts import DATA_GAIN, GAIN, Part, Shapes, Views, rows_first


class MLP(Part):
    """Dense layers: x -> W_L silu(... silu(W_1 x + b_1)) + b_L, plus a linear map of x when `skip`.

    The skip is not a layer of its own: its rows stand below the first layer's, so that one product gives both, and a
    soft threshold of "the first layer" reaches all weights of a column of x. Without `hidden` layers it is an affine
    map.
    """

    def __init__(self, name: str, n_inputs: int, hidden: Sequence[int], n_outputs: int, *, skip: bool = False):
        super().__init__(name, n_inputs, n_outputs)
        self.hidden = tuple(hidden)
        self.skip = skip and bool(self.hidden)
        widths = [n_inputs, *self.hidden, n_outputs]
        self.shapes: Shapes = {}
        self.layers: list[tuple[str, str]] = []  # names of weight and bias
        for i, (fan_in, fan_out) in enumerate(pairwise(widths)):
            fan_out += n_outputs if self.skip and i == 0 else 0
            weight, bias = f"{name}.weight{i}", f"{name}.bias{i}"
            self.layers.append((weight, bias))
            self.shapes[weight] = (fan_out, fan_in)
            self.shapes[bias] = (fan_out, 1)
        self.first_weight = self.layers[0][0]

    @property
    def signature(self) -> tuple:
        """What two parts have in common that differ only in the width of their input."""
        return (self.hidden, self.n_outputs, self.skip)

    def columns_used(self, arrays: Mapping[str, Float]) -> NDArray[np.bool_]:
        """Return a mask (n_inputs,) of the inputs that have a weight other than zero."""
        return np.any(arrays[self.first_weight] != 0, axis=0)

    def _gain(self, name: str, n_in: int, input_power: float | None) -> tuple[float, float]:
        """Return `DATA_GAIN` of the first layer where it reads data."""
        is_data = input_power is not None and name == self.first_weight
        return (DATA_GAIN, input_power) if is_data else (GAIN, float(n_in))  # type: ignore[return-value]

    def forward(self, views: Views, x: Tensor) -> Tensor:
        """Return outputs (C, B, n_outputs) for inputs x (C, B, n_inputs)."""
        a = x.mT
        skipped = None
        for i, (weight, bias) in enumerate(self.layers):
            a = _affine(views[weight], a, views[bias])
            if i == len(self.hidden):
                break
            if self.skip and i == 0:
                a, skipped = a.split((self.hidden[0], self.n_outputs), 1)
            # In training autograd's silu, whose backward is one pass; else in place.
            a = torch.nn.functional.silu(a) if a.requires_grad else a.mul_(torch.sigmoid(a))
        return rows_first(a if skipped is None else a + skipped)


def _affine(weight: Tensor, a: Tensor, bias: Tensor) -> Tensor:
    """Return W a + b: (C, out, in), (C, in, B), (C, out, 1) to (C, out, B)."""
    if weight.shape[1] == 1:  # Bits: see docs/maintainers.md, "one output".
        return (weight.mT * a).sum(1, keepdim=True) + bias
    return torch.baddbmm(bias, weight, a)
