"""A linear model inside the network: prediction = share * y_hat + x'coefficients + intercept, in the same arrays.

The linear skips of the encoders carry it, so that neither the head nor anything after training need know of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from skfdrmfl.common.arrays import Arrays, Float, row_products
from skfdrmfl.method.network import Network

# A head with a singular value below this (y is standardised) predicts nothing, and its direction is arbitrary.
SMALLEST_HEAD = 1e-6


@dataclass(frozen=True)
class Linear:
    """A linear model x -> x' coefficients + intercept, with coefficients (p, q) and intercept (q,)."""

    coefficients: Float
    intercept: Float

    def predict(self, x: Float) -> Float:
        """Return outputs (n, q) for rows x (n, p)."""
        return row_products(x, self.coefficients) + self.intercept


def takes_linear(network: Network) -> bool:
    """Return whether the network can carry any linear function of its inputs."""
    d, c, q = network.modality_dim, network.n_components, network.n_outputs
    paths = [encoder.linear_path for encoder in network.encoders.values()]
    return network.fusion.is_linear and not network.head.hidden and None not in paths and q <= c <= d


def with_linear(network: Network, arrays: Mapping[str, Float], linear: Linear, share: float) -> Arrays:
    """Return the model that predicts `share` times what `arrays` predict, plus `linear` of the encoder inputs.

    Of Z it keeps the directions along which y is predicted: with the head W = U S V', Z becomes V S V' Z, whose head is
    U V', so that one step of Z is one of y. What else the network has in Z fits its training rows more closely than the
    mixture does, and a regression behind Z would take that up. The skips then add to the codes what moves Z by V U'
    times the linear model's predictions. The network `takes_linear`, and `linear` is in the units of the head's y.
    """
    out = dict(arrays)
    c, q = network.n_components, network.n_outputs
    head = share * arrays["head.weight0"]
    u, s, vt = np.linalg.svd(head, full_matrices=False)
    bias = share * arrays["head.bias0"]
    if s.min() < SMALLEST_HEAD:
        for encoder in network.encoders.values():
            out |= encoder.silenced(out)
        out["fusion.bias0"] = np.zeros_like(out["fusion.bias0"])
        u, s, vt = np.eye(q), np.ones(q), np.eye(q, c)
        bias = np.zeros_like(bias)
    into_z = vt.T @ np.diag(s) @ vt
    out["fusion.weight0"] = into_z @ out["fusion.weight0"]
    out["fusion.bias0"] = into_z @ out["fusion.bias0"]
    out["head.weight0"] = u @ vt
    out["head.bias0"] = bias + linear.intercept[:, None]
    for m, (name, encoder) in enumerate(network.encoders.items()):
        assert encoder.linear_path is not None
        array, rows = encoder.linear_path
        wanted = vt.T @ u.T @ linear.coefficients[network.columns[name]].T  # (c, columns)
        into_fusion = network.fusion.linear_block(out["fusion.weight0"], m, len(network.encoders))
        weight = out[array].copy()
        weight[rows] += np.linalg.pinv(into_fusion) @ wanted
        out[array] = weight
    return out
