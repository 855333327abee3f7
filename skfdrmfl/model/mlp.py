"""A stack of dense layers with a linear skip: value, and one readable backward.

Encoders, the head and the critic are each one of these. All weights carry a leading replica axis: (C, ., .).

Inside, features come before rows, (C, features, B): the last axis is then a whole batch, never the few outputs
of a narrow layer, which the batched product would be slow at. Callers see (C, B, features) all the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

Views = Mapping[str, Tensor]
# Standard deviation of a layer's first outputs, for data and for features. Small first weights cost nothing
# (Adam's steps do not shrink with them) and keep noise directions of the data small: measured on inner folds.
DATA_GAIN = 0.1
GAIN = 0.58


@dataclass
class Tape:
    """What a forward pass leaves for its backward: each layer's input and each gate's sigmoid."""

    inputs: list[Tensor]
    gates: list[Tensor]


class MLP:
    """x -> W_L silu(... silu(W_1 x + b_1)) + b_L, plus a linear map of x when `skip`.

    The skip is not a layer of its own: its columns stand beside the first layer's, so that one product gives
    both, and what a soft threshold of "the first layer" empties is a whole column of x.

    Parameters
    ----------
    name : str
        Prefix of the parameters' names.
    n_inputs, n_outputs : int
    hidden : sequence of int
        Widths of the hidden layers; empty for an affine map.
    skip : bool
    """

    def __init__(self, name: str, n_inputs: int, hidden: Sequence[int], n_outputs: int, *, skip: bool = False):
        self.name = name
        self.n_inputs, self.n_outputs = n_inputs, n_outputs
        self.hidden = tuple(hidden)
        self.skip = skip and bool(self.hidden)
        widths = [n_inputs, *self.hidden, n_outputs]
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._names: list[tuple[str, str]] = []
        for i, (wide_in, wide_out) in enumerate(pairwise(widths)):
            wide_out += n_outputs if self.skip and i == 0 else 0
            weight, bias = f"{name}.weight{i}", f"{name}.bias{i}"
            self._names.append((weight, bias))
            self.shapes[weight] = (wide_out, wide_in)
            self.shapes[bias] = (wide_out, 1)

    @property
    def signature(self) -> tuple:
        """What two stacks that differ only in the width of their input have in common."""
        return (self.hidden, self.n_outputs, self.skip)

    def widened(self, n_inputs: int) -> MLP:
        """The same stack for a wider input."""
        return MLP(self.name, n_inputs, self.hidden, self.n_outputs, skip=self.skip)

    @property
    def first_weight(self) -> str:
        """Name of the weights that touch x."""
        return self._names[0][0]

    @property
    def linear_path(self) -> tuple[str, slice] | None:
        """The array and its rows that map x to the output linearly, beside all else; None without a skip."""
        if not self.hidden:
            return self.first_weight, slice(None)
        return (self.first_weight, slice(self.hidden[0], None)) if self.skip else None

    def silenced(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The arrays of this part with an output that is zero whatever x."""
        out = {name: arrays[name].copy() for name in self.shapes}
        for name in self._names[-1]:
            out[name][:] = 0.0
        if self.skip:
            for name in self._names[0]:
                out[name][self.hidden[0] :] = 0.0
        return out

    def columns_used(self, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        """Mask of the inputs that have a weight other than zero."""
        return np.any(arrays[self.first_weight] != 0, axis=0)

    def initial(self, rngs: Iterator[np.random.Generator], input_power: float | None = None) -> dict[str, np.ndarray]:
        """Small Gaussian weights and zero biases.

        Parameters
        ----------
        rngs : iterator of numpy Generators, one a layer
        input_power : float, default=None
            E||x||^2 where x is data. Then the first layer's outputs start with standard deviation
            `DATA_GAIN`, so that the directions that matter are found rather than inherited; any other layer
            maps unit entries to standard deviation `GAIN`.
        """
        arrays = {}
        for i, (weight, bias) in enumerate(self._names):
            fan_out, fan_in = self.shapes[weight]
            gain, power = GAIN, float(fan_in)
            if i == 0 and input_power is not None:
                gain, power = DATA_GAIN, max(input_power, 1.0)
            # Drawn input by input, so that padding the inputs moves no weight.
            arrays[weight] = next(rngs).standard_normal((fan_in, fan_out)).T * (gain / np.sqrt(power))
            arrays[bias] = np.zeros((fan_out, 1))
        return arrays

    def forward(self, views: Views, x: Tensor) -> tuple[Tensor, Tape]:
        """Outputs (C, B, n_outputs) for inputs x (C, B, n_inputs)."""
        a = x.mT
        tape = Tape([a], [])
        skipped = None
        for i, (weight, bias) in enumerate(self._names):
            a = _affine(views[weight], a, views[bias])
            if i == len(self.hidden):
                break
            if self.skip and i == 0:
                a, skipped = a.split((self.hidden[0], self.n_outputs), 1)
            gate = torch.sigmoid(a)
            a = a * gate if torch.is_grad_enabled() else a.mul_(gate)
            tape.gates.append(gate)
            tape.inputs.append(a)
        return (a if skipped is None else a + skipped).mT, tape

    def backward(self, views: Views, grads: Views, tape: Tape, d_out: Tensor, *, d_input: bool) -> Tensor | None:
        """Write the gradients of all arrays to `grads`; return that of x when `d_input`.

        silu(a) = a s with s = sigmoid(a), so d silu / d a = s + a s (1 - s): from s to 1 by the share silu(a).
        """
        d = d_last = d_out.mT
        for i in range(len(self.hidden), -1, -1):
            weight, bias = self._names[i]
            if i < len(self.hidden):
                gate, output = tape.gates[i], tape.inputs[i + 1]
                d = torch.lerp(gate, _one(gate.dtype, gate.device), output).mul_(d)
            if self.skip and i == 0:
                d = torch.cat((d, d_last), 1)
            _outer(d, tape.inputs[i], out=grads[weight])
            torch.sum(d, 2, keepdim=True, out=grads[bias])
            if i > 0 or d_input:
                d = _product(views[weight].mT, d)
        return d.mT if d_input else None


@cache
def _one(dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.ones((), dtype=dtype, device=device)


# The three products of a layer. With a single output they are written out: the batched product would then pick
# its kernel by the number of clients, and round accordingly.
def _affine(weight: Tensor, a: Tensor, bias: Tensor) -> Tensor:
    """W a + b: (C, out, in), (C, in, B), (C, out, 1) to (C, out, B)."""
    if weight.shape[1] == 1:
        return (weight.mT * a).sum(1, keepdim=True) + bias
    return torch.baddbmm(bias, weight, a)


def _outer(d: Tensor, a: Tensor, *, out: Tensor) -> None:
    """Sum over rows of d a': (C, out, B), (C, in, B) to (C, out, in)."""
    if d.shape[1] == 1:
        torch.sum((d * a).unsqueeze(1), 3, out=out)
    else:
        torch.bmm(d, a.mT, out=out)


def _product(weight: Tensor, d: Tensor) -> Tensor:
    """W' d: (C, in, out), (C, out, B) to (C, in, B)."""
    return weight * d if d.shape[1] == 1 else torch.bmm(weight, d)
