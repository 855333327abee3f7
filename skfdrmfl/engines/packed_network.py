"""The network as `native.c` reads it: where each parameter stands, and the structures that say so."""

from __future__ import annotations

from ctypes import pointer
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.common.arrays import Indices
from skfdrmfl.encoders._categorical import EmbeddedMLP, EmbeddingPart
from skfdrmfl.encoders._conv import ConvPart
from skfdrmfl.engines.native_structs import LANES, CFusion, CLayer, CNetwork, CPart, CTable
from skfdrmfl.method.fusion import N_QUERIES, ConcatFusion, GatedFusion, MeanFusion
from skfdrmfl.method.mlp import MLP
from skfdrmfl.method.network import Network
from skfdrmfl.method.parts import Part

# The encoders that `native.c` knows.
ENCODERS = (MLP, EmbeddedMLP, EmbeddingPart, ConvPart)


def layers_of(part: Part) -> list[tuple[str, str]]:
    """Return the names of weight and bias of each layer of a part that `native.c` knows."""
    return part.layers if type(part) in ENCODERS else []  # type: ignore[attr-defined]


class PackedNetwork:
    """The network as `native.c` reads it, and where each parameter of the flat vector stands there.

    A client has `size` numbers there: rows of matrices are padded with zeros to multiples of `step`, unless there are
    no more than `few` rows or columns.
    """

    def __init__(self, network: Network, step: int, few: int):
        self._step, self._few = step, few
        self._layout = network.layout
        self._index = np.full(network.layout.size, -1)
        self.size = 0
        self._spans: dict[str, tuple[int, int]] = {}  # where each matrix begins, and its numbers with padding
        self._kept: list[Any] = []  # what the structures point to
        encoders = [self._part(encoder, 0) for encoder in network.encoders.values()]
        others = network.mixer, network.head, network.critic
        n_asked = network.mixer.n_inputs, network.n_components, network.n_components
        structs = [*encoders, *map(self._part, others, n_asked)]
        fusion = self._fusion(network)
        self._index[self._index < 0] = self.size  # the gaps of the flat vector
        self.size = -(-(self.size + 1) // LANES) * LANES  # which stay zero
        widths = [self._rounded(encoder.n_in) for encoder in encoders]
        self.columns = np.cumsum([0, *widths])
        self._parts = (CPart * len(structs))(*structs)
        self.struct = CNetwork(
            len(widths),
            network.modality_dim,
            network.n_components,
            network.n_outputs,
            self.size,
            network.n_columns,
            int(self.columns[-1]),
            self.columns.ctypes.data,
            self._parts,
            fusion,
        )

    def _rounded(self, n: int) -> int:
        return -(-n // self._step) * self._step

    def _place(self, name: str, row: int, column: int) -> int:
        """Give a matrix of the layout a place, entry (i, j) at i * row + j * column behind the returned offset."""
        first, (n, k) = self.size, self._layout.shapes[name]
        places = first + np.arange(n)[:, None] * row + np.arange(k) * column
        self._index[self._layout.offsets[name] :][: n * k] = places.ravel()
        self.size += self._rounded((n - 1) * row + (k - 1) * column + 1)
        self._spans[name] = first, self.size - first
        return first

    def _part(self, part: Part, n_asked: int) -> CPart:
        """Return a part, by whose first `n_asked` inputs, and vectors of categories, the loss is differentiated."""
        layers = layers_of(part)
        taken = [*part.taken(), None] if isinstance(part, ConvPart) else [None] * len(layers)
        structs = (CLayer * len(layers))(
            *(self._layer(*names, seen) for names, seen in zip(layers, taken, strict=True))
        )
        struct = CPart(len(structs), part.n_inputs, part.n_outputs, n_asked, layers=structs)
        if isinstance(part, ConvPart):
            if part.skip:
                struct.skip = pointer(self._layer(f"{part.name}.weight_skip"))
        elif not isinstance(part, EmbeddingPart):
            struct.has_skip = part.skip  # type: ignore[attr-defined]
        if isinstance(part, EmbeddingPart | EmbeddedMLP):
            struct.table = self._table(part)
            struct.n_asked = struct.table.n_codes * struct.table.size
            struct.n_in += struct.n_asked - struct.table.n_codes
        struct.thinned, struct.n_thinned = self._spans[part.first_weight]
        self._kept += [structs, struct]
        return struct

    def _layer(self, weight: str, bias: str | None = None, taken: Indices | None = None) -> CLayer:
        n_out, n_in = self._layout.shapes[weight]
        row = n_in if min(n_in, n_out) <= self._few else self._rounded(n_in)
        places = self._place(weight, row, 1), 0 if bias is None else self._place(bias, 1, 1)
        if taken is None:
            return CLayer(n_in, n_out, row, *places, 1)
        self._kept.append(taken)
        return CLayer(n_in, n_out, row, *places, taken.shape[1], taken.ctypes.data)

    def _table(self, part: EmbeddingPart | EmbeddedMLP) -> CTable:
        table, name = part.table, f"{part.name}.embedding"
        first, n_categories = self._place(name, table.size, 1), np.array(table.n_categories, dtype=np.int64)
        vectors = first + table.size * (table.unknown - n_categories)
        self._kept += [vectors, n_categories]
        n_numbers = table.shape[0] * table.size
        return CTable(len(vectors), table.size, first, n_numbers, *(a.ctypes.data for a in (vectors, n_categories)))

    def _fusion(self, network: Network) -> CFusion:
        """Return the fusion: the equations stand at `pool` of `native.c`."""
        fusion, d, n = network.fusion, network.modality_dim, len(network.encoders)
        n_pooled, ld = fusion.n_pooled(n, d), self._rounded(d)
        if isinstance(fusion, ConcatFusion):
            return CFusion(n_pooled)
        if isinstance(fusion, MeanFusion):
            return CFusion(n_pooled, 1, d)
        if isinstance(fusion, GatedFusion):
            weight, bias = self._place("fusion.gate_weight", ld, 1), self._place("fusion.gate_bias", 1, 1)
            scores = (CLayer * n)(*(CLayer(d, d, ld, weight + m * d * ld, bias + m * d, 1) for m in range(n)))
            self._kept.append(scores)
            return CFusion(n_pooled, d, 1, 1.0, scores)
        weight, bias = self._place("fusion.query", ld, 1), self._place("fusion.preference", 1, N_QUERIES)
        scores = (CLayer * n)(*(CLayer(d, N_QUERIES, ld, weight, bias + m * N_QUERIES, 1) for m in range(n)))
        self._kept.append(scores)
        return CFusion(n_pooled, N_QUERIES, d, 1.0 / sqrt(d), scores)

    def packed(self, flat: NDArray) -> NDArray:
        """Return parameters (..., D) as they stand there (..., size), contiguous."""
        out = np.zeros((*flat.shape[:-1], self.size), flat.dtype)
        out[..., self._index] = flat
        return out

    def unpacked(self, packed: NDArray) -> NDArray:
        """Return the inverse of `packed`."""
        return np.take(packed, self._index, axis=-1)
