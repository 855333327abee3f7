"""The kinds of R_kl: what it means that the modalities' codes of a row, or of a client's rows, agree.

Each kind takes an equation of `skfdrmfl.equations.divergence` to one value a batch. One of them learns a variance for
every entry of every code, by a copy of each encoder (`Spread`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skfdrmfl.common.arrays import Arrays
from skfdrmfl.equations import divergence
from skfdrmfl.model.mlp import Shapes, Views
from skfdrmfl.model.parts import Part


class Alignment:
    """One kind of R_kl, as one value a batch.

    Both methods take the codes (..., B, M, d); the raw log variances `raw` (..., B, M, d), None unless `learns_spread`;
    the rows' `weights` (..., B); and the `mask` (..., B, M) of the modalities a row has, None for all.
    """

    # Whether a variance is learned; whether the rows of a batch count together, and not each by itself.
    learns_spread = False
    joins_rows = False

    def value(self, codes: Tensor, raw: Tensor | None, weights: Tensor, mask: Tensor | None) -> Tensor:
        """Return R_kl of each batch (...)."""
        raise NotImplementedError

    def gradient(
        self, codes: Tensor, raw: Tensor | None, weights: Tensor, mask: Tensor | None, factor: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """Return the derivatives of `factor` (..., 1) times `value` with respect to `codes` and `raw`."""
        raise NotImplementedError


class HomoscedasticAlignment(Alignment):
    """The paper's alignment, of Gaussian codes of variance one, row by row (`divergence.modality_alignment`)."""

    def value(self, codes: Tensor, raw: Tensor | None, weights: Tensor, mask: Tensor | None) -> Tensor:
        """Return R_kl of each batch (...)."""
        return (weights * divergence.modality_alignment(codes, mask)).sum(-1)

    def gradient(
        self, codes: Tensor, raw: Tensor | None, weights: Tensor, mask: Tensor | None, factor: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """Return the derivative of `factor` times `value` with respect to `codes`, and None."""
        return divergence.modality_alignment_gradient(codes, mask) * (factor * weights)[..., None, None], None


class DiagonalAlignment(Alignment):
    """Alignment of Gaussian codes whose every entry has a learned variance, row by row."""

    learns_spread = True

    def value(self, codes: Tensor, raw: Tensor | None, weights: Tensor, mask: Tensor | None) -> Tensor:
        """Return R_kl of each batch (...)."""
        assert raw is not None
        return (weights * divergence.diagonal_alignment(codes, divergence.log_variances(raw), mask)).sum(-1)

    def gradient(
        self, codes: Tensor, raw: Tensor | None, weights: Tensor, mask: Tensor | None, factor: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """Return the derivatives of `factor` times `value` with respect to `codes` and `raw`."""
        assert raw is not None
        d_codes, d_log = divergence.diagonal_alignment_gradient(codes, divergence.log_variances(raw), mask)
        factor = (factor * weights)[..., None, None]
        return d_codes * factor, divergence.log_variances_gradient(raw, d_log * factor)


class MomentsAlignment(Alignment):
    """Alignment of the codes' means and covariances over a batch; which code belongs to which row does not matter."""

    joins_rows = True

    def value(self, codes: Tensor, raw: Tensor | None, weights: Tensor, mask: Tensor | None) -> Tensor:
        """Return R_kl of each batch (...)."""
        return divergence.moments_alignment(codes, weights, mask)

    def gradient(
        self, codes: Tensor, raw: Tensor | None, weights: Tensor, mask: Tensor | None, factor: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """Return the derivative of `factor` times `value` with respect to `codes`, and None."""
        return divergence.moments_alignment_gradient(codes, weights, mask) * factor[..., None, None], None


ALIGNMENTS: dict[str, Alignment] = {
    "homoscedastic": HomoscedasticAlignment(),
    "diagonal": DiagonalAlignment(),
    "moments": MomentsAlignment(),
}


class Spread:
    """Raw log variances of a modality's code: gains times the outputs of the encoder with weights of its own.

    The gains, one an entry, start at zero: so training starts with variances of one for any encoder. Z does not depend
    on the variances.

    Parameters
    ----------
    encoder : Part
        The modality's encoder, which can be shared, as a part holds no weights.
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

    def forward(self, views: Views, x: Tensor) -> tuple[Tensor, Any]:
        """Return raw log variances (C, B, d) for inputs x (C, B, n_inputs), and the tape that `backward` needs."""
        out, tape = self._encoder.forward(self._own(views), x)
        return out * views[self._gain].mT, (out, tape)

    def backward(self, views: Views, grads: Views, tape: Any, d_raw: Tensor) -> None:
        """Write the gradients of all arrays to `grads`."""
        out, encoder_tape = tape
        torch.sum((d_raw * out).mT, 2, keepdim=True, out=grads[self._gain])
        d_out = d_raw * views[self._gain].mT
        self._encoder.backward(self._own(views), self._own(grads), encoder_tape, d_out, d_input=False)

    def _own(self, views: Views) -> Mapping[str, Tensor]:
        """Return this object's arrays under the names that the encoder gives its own."""
        return {name: views[own] for name, own in self._names.items()}
