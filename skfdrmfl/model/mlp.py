"""Dense layers with a linear skip: value, and one readable backward.

Encoders, the head and the critic are each one of these. All weights carry a leading replica axis: (C, ., .).

Inside, features come before rows, (C, features, B): the last axis is then a whole batch, never the few outputs
of a narrow layer, at which the batched product would be slow. Callers see (C, B, features) all the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skfdrmfl.common.arrays import Arrays, Float

Views = Mapping[str, Tensor]
Shapes = dict[str, tuple[int, ...]]
# Standard deviation of a layer's outputs before the first round, where its inputs are data and where they are features.
# Small first weights cost nothing (Adam's steps do not shrink with them) and keep noise directions of the data small:
# measured on inner folds.
DATA_GAIN = 0.1
GAIN = 0.58


@dataclass
class Tape:
    """Holds what a forward pass leaves for its backward: each layer's input and each gate's sigmoid."""

    inputs: list[Tensor]
    gates: list[Tensor]


class MLP:
    """Dense layers: x -> W_L silu(... silu(W_1 x + b_1)) + b_L, plus a linear map of x when `skip`.

    The skip is not a layer of its own: its rows stand below the first layer's, so that one product gives both, and
    a soft threshold of "the first layer" reaches all weights of a column of x.

    Parameters
    ----------
    name : str
        Prefix of the parameters' names.
    n_inputs, n_outputs : int
    hidden : sequence of int
        Widths of the hidden layers; empty for an affine map.
    skip : bool
    """

    code_sizes: tuple[int, ...] = ()

    def __init__(self, name: str, n_inputs: int, hidden: Sequence[int], n_outputs: int, *, skip: bool = False):
        self.name = name
        self.n_inputs, self.n_outputs = n_inputs, n_outputs
        self.hidden = tuple(hidden)
        self.skip = skip and bool(self.hidden)
        widths = [n_inputs, *self.hidden, n_outputs]
        self.shapes: Shapes = {}
        self._names: list[tuple[str, str]] = []
        for i, (fan_in, fan_out) in enumerate(pairwise(widths)):
            fan_out += n_outputs if self.skip and i == 0 else 0
            weight, bias = f"{name}.weight{i}", f"{name}.bias{i}"
            self._names.append((weight, bias))
            self.shapes[weight] = (fan_out, fan_in)
            self.shapes[bias] = (fan_out, 1)

    @property
    def signature(self) -> tuple:
        """What two parts have in common that differ only in the width of their input."""
        return (self.hidden, self.n_outputs, self.skip)

    def widened(self, n_inputs: int) -> MLP:
        """Return the same part for a wider input."""
        return MLP(self.name, n_inputs, self.hidden, self.n_outputs, skip=self.skip)

    @property
    def first_weight(self) -> str:
        """Name of the weights that x is multiplied with."""
        return self._names[0][0]

    @property
    def linear_path(self) -> tuple[str, slice] | None:
        """The array, and its rows, that map x to the output linearly; None for hidden layers without a skip."""
        if not self.hidden:
            return self.first_weight, slice(None)
        return (self.first_weight, slice(self.hidden[0], None)) if self.skip else None

    def silenced(self, arrays: Mapping[str, Float]) -> Arrays:
        """Return a copy of this part's arrays, last layer and skip zero, with which the output is zero for every x."""
        out = {name: arrays[name].copy() for name in self.shapes}
        for name in self._names[-1]:
            out[name][:] = 0.0
        if self.skip:
            for name in self._names[0]:
                out[name][self.hidden[0] :] = 0.0
        return out

    def columns_used(self, arrays: Mapping[str, Float]) -> NDArray[np.bool_]:
        """Return a mask (n_inputs,) of the inputs that have a weight other than zero."""
        return np.any(arrays[self.first_weight] != 0, axis=0)

    def initial(self, rngs: Iterator[np.random.Generator], input_power: float | None = None) -> Arrays:
        """Return small Gaussian weights and zero biases.

        Parameters
        ----------
        rngs : iterator of numpy Generators, one a layer
        input_power : float, default=None
            E||x||^2 where x is data. Then the first layer's outputs start with standard deviation
            `DATA_GAIN`, so that the directions that matter are found rather than inherited. Any other layer
            maps entries of variance one to standard deviation `GAIN`.

        Returns
        -------
        dict of str to ndarray
        """
        arrays: Arrays = {}
        for i, (weight, bias) in enumerate(self._names):
            fan_out, fan_in = self.shapes[weight]
            gain, power = GAIN, float(fan_in)
            if i == 0 and input_power is not None:
                gain, power = DATA_GAIN, max(input_power, 1.0)
            # Bits: see docs/maintainers.md, "input by input".
            arrays[weight] = next(rngs).standard_normal((fan_in, fan_out)).T * (gain / np.sqrt(power))
            arrays[bias] = np.zeros((fan_out, 1))
        return arrays

    def forward(self, views: Views, x: Tensor) -> tuple[Tensor, Tape]:
        """Return outputs (C, B, n_outputs) for inputs x (C, B, n_inputs), and the tape that `backward` needs."""
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

        silu(a) = a s with s = sigmoid(a), so d silu / d a = s + silu(a) (1 - s), which `lerp` gives in one step.
        """
        d_a = d_skip = d_out.mT
        for i in range(len(self.hidden), -1, -1):
            weight, bias = self._names[i]
            if i < len(self.hidden):
                gate, output = tape.gates[i], tape.inputs[i + 1]
                d_a = torch.lerp(gate, _one(gate.dtype, gate.device), output).mul_(d_a)
            if self.skip and i == 0:
                d_a = torch.cat((d_a, d_skip), 1)
            _outer_sum(d_a, tape.inputs[i], out=grads[weight])
            torch.sum(d_a, 2, keepdim=True, out=grads[bias])
            if i > 0 or d_input:
                d_a = _product(views[weight].mT, d_a)
        return d_a.mT if d_input else None


@cache
def _one(dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the number one as a tensor, made once for each type and device."""
    return torch.ones((), dtype=dtype, device=device)


# The three products of a layer. Bits: see docs/maintainers.md, "one output".
def _affine(weight: Tensor, a: Tensor, bias: Tensor) -> Tensor:
    """Return W a + b: (C, out, in), (C, in, B), (C, out, 1) to (C, out, B)."""
    if weight.shape[1] == 1:
        return (weight.mT * a).sum(1, keepdim=True) + bias
    return torch.baddbmm(bias, weight, a)


def _outer_sum(d: Tensor, a: Tensor, *, out: Tensor) -> None:
    """Write the sum over rows of d a' to `out`: (C, out, B), (C, in, B) to (C, out, in)."""
    if d.shape[1] == 1:
        torch.sum((d * a).unsqueeze(1), 3, out=out)
    else:
        torch.bmm(d, a.mT, out=out)


def _product(weight: Tensor, d: Tensor) -> Tensor:
    """Return W' d: (C, in, out), (C, out, B) to (C, in, B)."""
    return weight * d if d.shape[1] == 1 else torch.bmm(weight, d)
