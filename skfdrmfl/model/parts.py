"""The protocol of the network's parts, and the base classes of those whose gradient is autograd's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skfdrmfl.common.arrays import Arrays, Float
from skfdrmfl.model.mlp import DATA_GAIN, GAIN, Shapes, Views


class Part(Protocol):
    """A map of rows (C, B, n_inputs) to (C, B, n_outputs) whose weights are not its own but passed as `views`.

    Every array is a matrix for each replica, (C, ., .). The first inputs are codes,
    of `code_sizes` categories; most parts have none.
    """

    name: str
    n_inputs: int
    n_outputs: int
    code_sizes: tuple[int, ...]
    shapes: Shapes

    @property
    def signature(self) -> tuple:
        """What two parts have in common where one goes on from the other's weights; hashable."""

    @property
    def first_weight(self) -> str:
        """Name of the array that the L1 penalty on inputs thins."""

    @property
    def linear_path(self) -> tuple[str, slice] | None:
        """The array, and its rows, that map x to the output linearly; None if the part has no linear path."""

    def silenced(self, arrays: Mapping[str, Float]) -> Arrays:
        """Return a copy of this part's arrays with which the output is zero for every x, given a linear path."""

    def columns_used(self, arrays: Mapping[str, Float]) -> NDArray[np.bool_]:
        """Return a mask (n_inputs,) of the inputs that the output depends on."""

    def initial(self, rngs: Iterator[np.random.Generator], input_power: float | None = None) -> Arrays:
        """Return the weights before the first round; `rngs` has a generator a layer, `input_power` is E||x||^2."""

    def forward(self, views: Views, x: Tensor) -> tuple[Tensor, Any]:
        """Return the outputs, and the tape that `backward` needs."""

    def backward(self, views: Views, grads: Views, tape: Any, d_out: Tensor, *, d_input: bool) -> Tensor | None:
        """Write the gradients of all arrays to `grads`; return that of x when `d_input`."""


@dataclass
class Graph:
    """The tape of an `AutogradPart`: its outputs and the leaves from which they were computed."""

    out: Tensor
    leaves: dict[str, Tensor]


class AutogradPart:
    """A part that says what its value is and leaves the gradient to autograd.

    Subclasses set `shapes` and write `codes`, a pure function. Inside an autograd graph (the loop engine) that
    function is simply part of it. Outside (the stacked engine), `forward` records a graph of this part alone,
    on leaves cut off from everything else, and `backward` walks through it.

    Parameters
    ----------
    name : str
        Prefix of the arrays' names.
    n_inputs, n_outputs : int
    options : hashable
        All else in which two parts of one class can differ.
    """

    shapes: Shapes
    first_weight: str
    linear_path: tuple[str, slice] | None = None
    code_sizes: tuple[int, ...] = ()

    def __init__(self, name: str, n_inputs: int, n_outputs: int, *options: Any):
        self.name, self.n_inputs, self.n_outputs = name, n_inputs, n_outputs
        self._options = options

    @property
    def signature(self) -> tuple:
        """All that describes the part, the width of its input included."""
        return (type(self).__name__, self.n_inputs, self.n_outputs, *self._options)

    def columns_used(self, arrays: Mapping[str, Float]) -> NDArray[np.bool_]:
        """Return a mask (n_inputs,) of all inputs: columns share weights."""
        return np.ones(self.n_inputs, dtype=bool)

    def initial(self, rngs: Iterator[np.random.Generator], input_power: float | None = None) -> Arrays:
        """Return the weights before the first round."""
        raise NotImplementedError

    def codes(self, views: Views, x: Tensor) -> Tensor:
        """Return outputs (C, B, n_outputs) for inputs x (C, B, n_inputs), as a pure, differentiable function."""
        raise NotImplementedError

    def silenced(self, arrays: Mapping[str, Float]) -> Arrays:
        """Refuse: only parts with a linear path can be silenced."""
        raise NotImplementedError

    def forward(self, views: Views, x: Tensor) -> tuple[Tensor, Graph | None]:
        """Return outputs (C, B, n_outputs) for inputs x (C, B, n_inputs), and the graph behind them."""
        if torch.is_grad_enabled() and any(views[name].requires_grad for name in self.shapes):
            return self.codes(views, x), None
        with torch.enable_grad():
            # `data`, not `detach`: weights and gradients may share memory, and with it the count of writes by which
            # autograd would take a gradient written to one for a change of the other.
            leaves = {name: views[name].data.requires_grad_() for name in self.shapes}
            out = self.codes(leaves, x.data)
        return out.detach(), Graph(out, leaves)

    def backward(
        self, views: Views, grads: Views, tape: Graph | None, d_out: Tensor, *, d_input: bool = False
    ) -> Tensor | None:
        """Write the gradients of all arrays to `grads`. Rows are data: they have no gradient."""
        if d_input:
            raise NotImplementedError(f"{self.name} takes data; there is nothing to pass a gradient on to.")
        assert tape is not None
        found = torch.autograd.grad(tape.out, list(tape.leaves.values()), d_out, allow_unused=True)
        for name, gradient in zip(tape.leaves, found, strict=True):
            if gradient is None:  # an array that this input does not reach
                grads[name].zero_()
            else:
                grads[name].copy_(gradient)
        return None


class FeaturePart(AutogradPart):
    """An affine map of features, mu = V features(x) + b, plus a linear map of x when `skip`.

    Subclasses write `features`. As in `MLP`, features come before rows inside: (C, features, B).

    Parameters
    ----------
    layers : dict of str to tuple of int
        Arrays of `features`, without the prefix; those named "bias..." start at zero.
    n_features : int
        Number of features of a row.
    """

    def __init__(
        self,
        name: str,
        n_inputs: int,
        n_outputs: int,
        *options: Any,
        layers: Shapes,
        n_features: int,
        skip: bool,
    ):
        super().__init__(name, n_inputs, n_outputs, skip, *options)
        self.skip = skip
        shapes = {**layers, "weight_out": (n_outputs, n_features), "bias_out": (n_outputs, 1)}
        if skip:
            shapes["weight_skip"] = (n_outputs, n_inputs)
        self.shapes = {f"{name}.{key}": shape for key, shape in shapes.items()}
        self._first_layer = f"{name}.{next(iter(layers))}"
        self.linear_path = (f"{name}.weight_skip", slice(None)) if skip else None

    @property
    def first_weight(self) -> str:  # type: ignore[override]
        """Name of the skip's weights, which touch every column by itself, or else of the first layer's."""
        return f"{self.name}.weight_skip" if self.skip else self._first_layer

    def silenced(self, arrays: Mapping[str, Float]) -> Arrays:
        """Return a copy of this part's arrays, last layer and skip zero, with which the output is zero for every x."""
        last = {f"{self.name}.{key}" for key in ("weight_out", "bias_out", "weight_skip")}
        return {name: np.zeros_like(arrays[name]) if name in last else arrays[name] for name in self.shapes}

    def features(self, views: Views, x: Tensor) -> Tensor:
        """Return the features (C, n_features, B) of columns x (C, n_inputs, B)."""
        raise NotImplementedError

    def codes(self, views: Views, x: Tensor) -> Tensor:
        """Return outputs (C, B, n_outputs) for inputs x (C, B, n_inputs), as a pure, differentiable function."""
        x = x.transpose(1, 2)
        out = self.affine(views, "out", self.features(views, x))
        if self.skip:
            out = torch.baddbmm(out, views[f"{self.name}.weight_skip"], x)
        return out.transpose(1, 2)

    def affine(self, views: Views, layer: object, a: Tensor) -> Tensor:
        """Return W a + b of one layer: (C, in, B) to (C, out, B)."""
        return torch.baddbmm(views[f"{self.name}.bias_{layer}"], views[f"{self.name}.weight_{layer}"], a)

    def initial(self, rngs: Iterator[np.random.Generator], input_power: float | None = None) -> Arrays:
        """Return Gaussian weights of the scales of `MLP`, and zero biases."""
        power = self.n_inputs if input_power is None else max(input_power, 1.0)
        arrays: Arrays = {}
        for name, (n_out, n_in) in self.shapes.items():
            if name.startswith(f"{self.name}.bias"):
                arrays[name] = np.zeros((n_out, 1))
                continue
            gain, squares = GAIN, float(n_in)
            if name == f"{self.name}.weight_skip":
                gain, squares = DATA_GAIN, power
            elif name == self._first_layer:
                squares = n_in * power / self.n_inputs
            arrays[name] = next(rngs).standard_normal((n_in, n_out)).T * (gain / np.sqrt(squares))
        return arrays
