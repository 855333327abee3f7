"""The encoders that convolve along a series or over an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field
from itertools import product
from math import prod
from typing import ClassVar

import numpy as np

from skfdrmfl.common.arrays import Indices
from skfdrmfl.common.late_torch import Tensor, torch
from skfdrmfl.common.tree import registered
from skfdrmfl.encoders._spec import Encoder, check_layer_sizes, check_positive, check_shape
from skfdrmfl.method.parts import FeaturePart, Views, part_name


@dataclass(eq=False, repr=False)
class _Convolutions(Encoder):
    """Base of the encoders of series and of images."""

    strongest_preprocessing: ClassVar[str | None] = "standardize"
    _axes: ClassVar[tuple[str, ...]]

    shape: Sequence[int] | None = None
    _: KW_ONLY
    n_channels: Sequence[int] = (8, 16)
    kernel_size: int = 5
    stride: int = 2
    skip: bool = True

    @property
    def reads_series(self) -> bool:
        """See `Encoder`."""
        return len(self._axes) == 2 and (self.shape is None or np.ravel(self.shape)[:1].tolist() == [1])

    def build(self, name: str, n_columns: int, modality_dim: int, default_hidden: Sequence[int]) -> ConvPart:
        """Return the network h_m from `n_columns` inputs to `modality_dim` outputs."""
        one_channel = self.shape is None and len(self._axes) == 2
        shape = check_shape((1, n_columns) if one_channel else self.shape, self._axes, name, n_columns)
        channels = check_layer_sizes(self.n_channels, f"n_channels of the encoder of modality {name!r}")
        if not channels:
            raise ValueError(f"n_channels of the encoder of modality {name!r} is empty; give at least one layer.")
        kernel = check_positive(self.kernel_size, f"kernel_size of the encoder of modality {name!r}")
        stride = check_positive(self.stride, f"stride of the encoder of modality {name!r}")
        sizes = shape[1:]
        for i in range(len(channels)):
            if min(sizes) < kernel:
                raise ValueError(
                    f"layer {i + 1} of the encoder of modality {name!r} is given {' x '.join(map(str, sizes))} "
                    f"positions, too few for kernel_size={kernel}; take a smaller kernel_size or stride, or fewer "
                    "layers in n_channels."
                )
            sizes = _sizes_after(sizes, kernel, stride)
        return ConvPart(part_name(name), shape, channels, kernel, stride, modality_dim, skip=bool(self.skip))


@registered
class Conv1DEncoder(_Convolutions):
    """Encoder of series, such as spectra or sensors' signals, by convolutions beside a linear skip.

    Each layer is a convolution without padding and a silu. The outputs of the last are flattened, so that positions
    are kept, and mapped to the code by an affine map. Columns are standardised where others would be whitened.

    Parameters
    ----------
    shape : tuple of int, default=None
        (channels, length) that the modality's columns were flattened from, the channels one after another;
        None is one channel.
    n_channels : tuple of int, default=(8, 16)
        Number of channels of each layer.
    kernel_size : int, default=5
        Number of neighbouring positions a layer sees at a time.
    stride : int, default=2
        Steps from one position to the next.
    skip : bool, default=True
        Add a linear map of the columns, so that the layers only learn what is not linear.
    """

    _axes: ClassVar[tuple[str, ...]] = ("channels", "length")


@registered
@dataclass(eq=False, repr=False)
class Conv2DEncoder(_Convolutions):
    """Encoder of images in flattened columns, by convolutions beside a linear skip.

    Layers are those of `Conv1DEncoder`, but see squares.

    Parameters
    ----------
    shape : tuple of int
        (channels, height, width) that the modality's columns were flattened from, row by row and channel by
        channel (C order), as in (3, 32, 32).
    n_channels : tuple of int, default=(8, 16)
        Number of channels of each layer.
    kernel_size : int, default=3
        Side of the square that a layer sees at a time.
    stride : int, default=2
        Steps from one position to the next, in both directions.
    skip : bool, default=True
        Add a linear map of the columns, so that the layers only learn what is not linear.
    """

    _axes: ClassVar[tuple[str, ...]] = ("channels", "height", "width")

    shape: Sequence[int] = field()
    _: KW_ONLY
    kernel_size: int = 3


class ConvPart(FeaturePart):
    """silu(W_i * a + b_i), layer after layer, then flattened; `*` convolves rows (channels, *sizes) without padding."""

    def __init__(
        self,
        name: str,
        shape: tuple[int, ...],
        channels: tuple[int, ...],
        kernel: int,
        stride: int,
        n_outputs: int,
        *,
        skip: bool,
    ):
        self.shape, self.channels, self.kernel, self.stride = shape, channels, kernel, stride
        n_in, sizes = shape[0], shape[1:]
        layers: dict[str, tuple[int, ...]] = {}
        for i, n_out in enumerate(channels):
            layers[f"weight_{i}"] = (n_out, n_in * kernel ** len(sizes))
            layers[f"bias_{i}"] = (n_out, 1)
            n_in, sizes = n_out, _sizes_after(sizes, kernel, stride)
        self.layers = [(f"{name}.weight_{i}", f"{name}.bias_{i}") for i in (*range(len(channels)), "out")]
        options = (shape, channels, kernel, stride)
        super().__init__(
            name, prod(shape), n_outputs, *options, layers=layers, n_features=n_in * prod(sizes), skip=skip
        )

    def taken(self) -> list[Indices]:
        """Return, of each layer, which features it sees at each place, (channels * kernel**n, places)."""
        found, shape = [], self.shape
        for n_channels in self.channels:
            seen = patches(torch.arange(prod(shape)).view(1, *shape, 1), self.kernel, self.stride)
            found.append(seen[0].flatten(1).numpy())
            shape = (n_channels, *seen.shape[2:-1])
        return found

    def features(self, views: Views, x: Tensor) -> Tensor:
        """Return the last layer's channels at all positions, (C, n_features, B)."""
        n_replicas, _, n_rows = x.shape
        a = x.reshape(n_replicas, *self.shape, n_rows)
        for i, n_channels in enumerate(self.channels):
            neighbours = patches(a, self.kernel, self.stride)
            out = self.affine(views, i, neighbours.flatten(2))  # positions and rows are one axis to the product
            a = torch.nn.functional.silu(out).view(n_replicas, n_channels, *neighbours.shape[2:])
        return a.reshape(n_replicas, -1, n_rows)


def patches(a: Tensor, kernel: int, stride: int) -> Tensor:
    """Return what a kernel sees at each of its positions.

    (C, channels, *sizes, B) to (C, channels * kernel**n, *positions, B), n = 1 or 2 axes. Slices rather than
    `unfold`: their gradient is several times faster.
    """
    sizes = a.shape[2:-1]
    spans = [(n - 1) * stride + 1 for n in _sizes_after(sizes, kernel, stride)]
    slices = []
    for offsets in product(range(kernel), repeat=len(sizes)):
        strided = tuple(slice(o, o + span, stride) for o, span in zip(offsets, spans, strict=True))
        slices.append(a[(slice(None), slice(None), *strided)])
    return torch.stack(slices, 2).flatten(1, 2)


def _sizes_after(sizes: tuple[int, ...], kernel: int, stride: int) -> tuple[int, ...]:
    """Return the number of a kernel's positions along each axis."""
    return tuple((size - kernel) // stride + 1 for size in sizes)
