"""What the alignment of kind "diagonal" learns: a variance for every entry of every code."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from skfdrmfl.common.arrays import Arrays
from skfdrmfl.common.late_torch import Tensor
from skfdrmfl.method.parts import Part, Shapes, Views


class Spread:
    """Raw log variances of a modality's code: gains times the outputs of its encoder with weights of its own.

    The gains, one an entry, start at zero: so training starts with variances of one for any encoder. Z does not depend
    on the variances.
    """

    def __init__(self, encoder: Part):
        self._encoder = encoder
        self.n_inputs, self.n_outputs = encoder.n_inputs, encoder.n_outputs
        self._names = {name: f"spread.{name}" for name in encoder.shapes}
        self._gain = f"gain.{encoder.name}"
        self.shapes: Shapes = {self._names[name]: shape for name, shape in encoder.shapes.items()}
        self.shapes[self._gain] = (encoder.n_outputs, 1)

    def initial(self, rngs: Iterator[np.random.Generator], input_power: float | None = None) -> Arrays:
        """Return weights before the first round: those of an encoder, drawn anew, and gains of zero."""
        arrays = {self._names[name]: array for name, array in self._encoder.initial(rngs, input_power).items()}
        return arrays | {self._gain: np.zeros(self.shapes[self._gain])}

    def forward(self, views: Views, x: Tensor) -> Tensor:
        """Return raw log variances (C, B, d) for inputs x (C, B, n_inputs)."""
        own = {name: views[mine] for name, mine in self._names.items()}  # under the names that the encoder gives its
        return self._encoder.forward(own, x) * views[self._gain].mT
