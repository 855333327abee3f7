"""The network as `native.c` reads it: where each parameter stands, and the structures that say so."""

from __future__ import annotations

from math import sqrt

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.engines.native_structs import FEW, LANES, CFusion, CLayer, CNetwork, CPart
from skfdrmfl.method.fusion import N_QUERIES, ConcatFusion, GatedFusion, MeanFusion
from skfdrmfl.method.mlp import MLP
from skfdrmfl.method.network import Network


class PackedNetwork:
    """The network as `native.c` reads it, and where each parameter of the flat vector stands there.

    A client has `size` numbers there: rows of matrices are padded with zeros to multiples of `step`.
    """

    def __init__(self, network: Network, step: int):
        self._step = step
        parts: list[MLP] = [*network.encoders.values(), network.mixer, network.head, network.critic]  # type: ignore[list-item]
        self._layout = network.layout
        self._index = np.full(network.layout.size, -1)
        self.size = 0
        self._layers = []  # kept: the structures point to them
        structs = []
        for part in parts:
            layers = (CLayer * (len(part.hidden) + 1))()
            for i in range(len(layers)):
                n_out, n_in = network.layout.shapes[f"{part.name}.weight{i}"]
                row = n_in if min(n_in, n_out) <= FEW else self._rounded(n_in)
                weight = self._place(f"{part.name}.weight{i}", row, 1)
                bias = self._place(f"{part.name}.bias{i}", 1, 1)
                layers[i] = CLayer(n_in, n_out, row, weight, bias)
            self._layers.append(layers)
            structs.append(CPart(len(layers), part.skip, part.n_outputs, layers))
        fusion = self._fusion(network)
        self._index[self._index < 0] = self.size  # the gaps of the flat vector
        self.size = -(-(self.size + 1) // LANES) * LANES  # which stay zero
        widths = [self._rounded(encoder.n_inputs) for encoder in network.encoders.values()]
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
        return first

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
            scores = (CLayer * n)(*(CLayer(d, d, ld, weight + m * d * ld, bias + m * d) for m in range(n)))
            self._layers.append(scores)
            return CFusion(n_pooled, d, 1, 1.0, scores)
        weight, bias = self._place("fusion.query", ld, 1), self._place("fusion.preference", 1, N_QUERIES)
        scores = (CLayer * n)(*(CLayer(d, N_QUERIES, ld, weight, bias + m * N_QUERIES) for m in range(n)))
        self._layers.append(scores)
        return CFusion(n_pooled, N_QUERIES, d, 1.0 / sqrt(d), scores)

    def packed(self, flat: NDArray) -> NDArray:
        """Return parameters (..., D) as they stand there (..., size), contiguous."""
        out = np.zeros((*flat.shape[:-1], self.size), flat.dtype)
        out[..., self._index] = flat
        return out

    def unpacked(self, packed: NDArray) -> NDArray:
        """Return the inverse of `packed`."""
        return np.take(packed, self._index, axis=-1)
