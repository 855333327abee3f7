"""A trained network's Z and predictions, some rows at a time."""

from __future__ import annotations

import torch
from torch import Tensor

from skfdrmfl.common.arrays import Arrays, Float, Present
from skfdrmfl.model.network import Network

# Rows sent through the network at a time.
SLAB_ROWS = 1024


def evaluate(network: Network, arrays: Arrays, x: Tensor, present: Present | None = None) -> tuple[Float, Float]:
    """Return Z (n, c) and standardised y_hat (n, q) of encoder inputs x (n, columns), in float64.

    `present` (n, M) says which modalities each row has, None that every row has all.
    """
    flat = network.layout.pack(arrays, dtype=torch.float64)
    views = network.layout.views(flat[None])
    z, y_hat = [], []
    for i in range(0, len(x), SLAB_ROWS):
        slab = slice(i, i + SLAB_ROWS)
        mask = None if present is None else torch.as_tensor(present[slab])[None]
        activations = network.forward(views, x[slab][None].double(), mask)
        z.append(activations.z[0])
        y_hat.append(activations.y_hat[0])
    return torch.cat(z).numpy(), torch.cat(y_hat).numpy()
