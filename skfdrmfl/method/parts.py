"""The parts of the network: maps of rows whose weights are not their own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.common.arrays import Arrays, Float
from skfdrmfl.common.late_torch import Tensor, torch

Views = Mapping[str, "Tensor"]
Shapes = dict[str, tuple[int, ...]]
# Standard deviation of a layer's outputs before the first round, where its inputs are data and where they are features.
# Small first weights cost nothing (Adam's steps do not shrink with them) and keep noise directions of the data small:
# measured on inner folds.
DATA_GAIN = 0.1
GAIN = 0.58


class Part:
    """A map of rows (C, B, n_inputs) to (C, B, n_outputs) whose weights are not its own but passed as `views`.

    Subclasses set `shapes` and `first_weight`, and write `forward` and `_gain`, or `initial`. Every array is a matrix
    for each replica, (C, ., .). The names of arrays begin with `name`; `options` are all else in which two parts of one
    class can differ.
    """

    shapes: Shapes  # shape of each array
    first_weight: str  # name of the array that the L1 penalty on inputs thins
    code_sizes: tuple[int, ...] = ()  # the first inputs are codes, of so many categories; most parts have none

    def __init__(self, name: str, n_inputs: int, n_outputs: int, *options: Any):
        self.name, self.n_inputs, self.n_outputs = name, n_inputs, n_outputs
        self._options = options

    @property
    def signature(self) -> tuple:
        """What two parts have in common where one goes on from the other's weights; hashable."""
        return (type(self).__name__, self.n_inputs, self.n_outputs, *self._options)

    def columns_used(self, arrays: Mapping[str, Float]) -> NDArray[np.bool_]:
        """Return a mask (n_inputs,) of the inputs that the output depends on; here all: columns share weights."""
        return np.ones(self.n_inputs, dtype=bool)

    def initial(self, rngs: Iterator[np.random.Generator], input_power: float | None = None) -> Arrays:
        """Return the weights before the first round, Gaussian ones from a generator a layer, and zero biases.

        `input_power` is E||x||^2 where x is data: weights of data make outputs of standard deviation `DATA_GAIN`, so
        that the directions that matter are found rather than inherited; any other layer maps entries of variance one
        to standard deviation `GAIN`.
        """
        arrays: Arrays = {}
        for name, (n_out, n_in) in self.shapes.items():
            if name.startswith(f"{self.name}.bias"):
                arrays[name] = np.zeros((n_out, 1))
            else:
                gain, power = self._gain(name, n_in, None if input_power is None else max(input_power, 1.0))
                # Bits: see docs/maintainers.md, "input by input".
                arrays[name] = next(rngs).standard_normal((n_in, n_out)).T * (gain / np.sqrt(power))
        return arrays

    def _gain(self, name: str, n_in: int, input_power: float | None) -> tuple[float, float]:
        """Return the standard deviation of the outputs of a layer's weights, and the power of its inputs."""
        raise NotImplementedError

    def forward(self, views: Views, x: Tensor) -> Tensor:
        """Return outputs (C, B, n_outputs) for inputs x (C, B, n_inputs), as a pure, differentiable function."""
        raise NotImplementedError


def rows_first(out: Tensor) -> Tensor:
    """Return a part's outputs (C, n_outputs, B) as callers see them, (C, B, n_outputs)."""
    if out.requires_grad:  # Bits: see docs/maintainers.md, "one layout". Of what nothing depends on autograd has None.
        out.register_hook(lambda gradient: None if gradient is None else gradient.contiguous())
    return out.mT


class FeaturePart(Part):
    """An affine map of features, mu = V features(x) + b, plus a linear map of x when `skip`.

    Subclasses write `features`. As in `MLP`, features come before rows inside: (C, features, B). `layers` are the
    shapes of the arrays of `features` by name, without the prefix; those named "bias..." start at zero.
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
        # The skip's weights touch every column by itself.
        self.first_weight = f"{name}.weight_skip" if skip else self._first_layer

    def features(self, views: Views, x: Tensor) -> Tensor:
        """Return the features (C, n_features, B) of columns x (C, n_inputs, B)."""
        raise NotImplementedError

    def forward(self, views: Views, x: Tensor) -> Tensor:
        """Return outputs (C, B, n_outputs) for inputs x (C, B, n_inputs)."""
        x = x.transpose(1, 2)
        out = self.affine(views, "out", self.features(views, x))
        if self.skip:
            out = torch.baddbmm(out, views[f"{self.name}.weight_skip"], x)
        return rows_first(out)

    def affine(self, views: Views, layer: object, a: Tensor) -> Tensor:
        """Return W a + b of one layer: (C, in, B) to (C, out, B)."""
        return torch.baddbmm(views[f"{self.name}.bias_{layer}"], views[f"{self.name}.weight_{layer}"], a)

    def _gain(self, name: str, n_in: int, input_power: float | None) -> tuple[float, float]:
        """Return `DATA_GAIN` of the skip alone, which reads all columns side by side."""
        power = self.n_inputs if input_power is None else input_power
        if name == f"{self.name}.weight_skip":
            return DATA_GAIN, power
        return GAIN, n_in * power / self.n_inputs if name == self._first_layer else float(n_in)


def part_name(name: str) -> str:
    """Return the name of a modality's encoder among the network's parts; the prefix keeps "head" and such apart."""
    return f"encoder.{name}"
