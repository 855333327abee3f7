"""The flat vector of a client's parameters, with a named view for each array in it."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from skfdrmfl.common.late_torch import Tensor

# Every array starts on a 64-byte boundary (16 floats), which keeps the vector units on aligned loads.
# Bits: see docs/maintainers.md, "whole vectors".
_ALIGNMENT = 16


Flat = TypeVar("Flat", NDArray, "Tensor")


class ParameterLayout:
    """Where each named array of a network lives in its flat parameter vector, of length `size` D.

    The few padding entries between arrays stay zero.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]):
        self.shapes = dict(shapes)
        self.offsets: dict[str, int] = {}
        self.size = 0
        for name, shape in self.shapes.items():
            self.offsets[name] = self.size
            self.size += -(-prod(shape) // _ALIGNMENT) * _ALIGNMENT

    def views(self, flat: Flat) -> dict[str, Flat]:
        """Return named views of `flat` (..., D), each (..., *shape); writing to a view writes to `flat`."""
        leading, views = flat.shape[:-1], {}
        for name, shape in self.shapes.items():
            start = self.offsets[name]
            views[name] = flat[..., start : start + prod(shape)].reshape(*leading, *shape)
        return views

    def stacked(self, flat: Tensor, n_clients: int) -> dict[str, Tensor]:
        """Return named views (C, *shape) of one vector (C * D,) in which each array of all clients is contiguous.

        Batched products write to contiguous arrays only; (C, D) would make them fall back to a loop.
        """
        return {
            name: flat[n_clients * self.offsets[name] :][: n_clients * prod(shape)].view(n_clients, *shape)
            for name, shape in self.shapes.items()
        }

    def pack(self, arrays: Mapping[str, NDArray], *, dtype: DTypeLike) -> NDArray:
        """Return the flat vector (D,) that holds `arrays`: the inverse of `views`."""
        flat = np.zeros(self.size, dtype)
        for name, view in self.views(flat).items():
            view[...] = arrays[name]
        return flat
