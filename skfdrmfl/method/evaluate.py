"""A trained network's Z and predictions, some rows at a time.

Dense networks are evaluated in numpy: the one copy of the forward pass beside `Network.forward`, which defines it and
evaluates all others.
"""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from typing import cast

import numpy as np
import torch
from torch import Tensor

from skfdrmfl.common.arrays import Arrays, Float, Present
from skfdrmfl.method.fusion import N_QUERIES, AttentionFusion, ConcatFusion, Fusion, GatedFusion, MeanFusion
from skfdrmfl.method.mlp import MLP
from skfdrmfl.method.network import Network

# Rows sent through the network at a time.
SLAB_ROWS = 1024

Pool = Callable[[Arrays, Float, Present | None], Float]


def evaluate(network: Network, arrays: Arrays, x: Tensor, present: Present | None = None) -> tuple[Float, Float]:
    """Return Z (n, c) and standardised y_hat (n, q) of encoder inputs x (n, columns), in float64.

    `present` (n, M) says which modalities each row has, None that every row has all.
    """
    forward = _dense if is_dense(network) else _defined
    parts = [
        forward(network, arrays, x[i : i + SLAB_ROWS], None if present is None else present[i : i + SLAB_ROWS])
        for i in range(0, max(1, len(x)), SLAB_ROWS)
    ]
    z, y_hat = zip(*parts, strict=True)
    return (z[0], y_hat[0]) if len(parts) == 1 else (np.concatenate(z), np.concatenate(y_hat))


def is_dense(network: Network) -> bool:
    """Return whether all of a network is dense layers and a pooling that numpy knows."""
    parts = (*network.encoders.values(), network.mixer, network.head)
    return all(type(part) is MLP for part in parts) and type(network.fusion) in POOLS


def _defined(network: Network, arrays: Arrays, x: Tensor, present: Present | None) -> tuple[Float, Float]:
    """Return Z and y_hat of some rows by the network's own forward pass."""
    views = network.layout.views(network.layout.pack(arrays, dtype=torch.float64)[None])
    mask = None if present is None else torch.as_tensor(present)[None]
    activations = network.forward(views, x[None].double(), mask)
    return activations.z[0].numpy(), activations.y_hat[0].numpy()


# ------------------------------------------------------------------------------------------ the copy in numpy


def _dense(network: Network, arrays: Arrays, x: Tensor, present: Present | None) -> tuple[Float, Float]:
    """Return Z and y_hat of some rows by dense layers in numpy."""
    rows = x.numpy().astype(np.float64, copy=False)
    with np.errstate(over="ignore"):  # exp(-a) of a gate that is shut
        encoders = cast(dict[str, MLP], network.encoders)
        mu = np.stack([_layers(e, arrays, rows[:, network.columns[name]]) for name, e in encoders.items()], 1)
        if present is not None:
            mu = np.where(present[:, :, None], mu, 0.0)
        z = _layers(network.mixer, arrays, POOLS[type(network.fusion)](arrays, mu, present))
        return z, _layers(network.head, arrays, z)


def _layers(part: MLP, arrays: Arrays, x: Float) -> Float:
    """Return what dense layers make of rows x (B, n_inputs): `MLP.forward`."""
    a, n_hidden = x, len(part.hidden)
    skipped: Float | float = 0.0
    for i in range(n_hidden + 1):
        a = a @ arrays[f"{part.name}.weight{i}"].T + arrays[f"{part.name}.bias{i}"][:, 0]
        if i == 0 and part.skip:
            a, skipped = a[:, : part.hidden[0]], a[:, part.hidden[0] :]
        if i < n_hidden:
            a = a / (1.0 + np.exp(-a))  # silu
    return a + skipped


def _concat(arrays: Arrays, mu: Float, present: Present | None) -> Float:
    """Return codes mu (B, M, d) side by side."""
    return mu.reshape(len(mu), -1)


def _mean(arrays: Arrays, mu: Float, present: Present | None) -> Float:
    """Return the mean of the codes a row has."""
    n_present = mu.shape[1] if present is None else np.maximum(present.sum(1, keepdims=True), 1)
    return mu.sum(1) / n_present


def _gated(arrays: Arrays, mu: Float, present: Present | None) -> Float:
    """Return sum_m(s_m mu_m), s = softmax over m of W_m mu_m + b_m, entry by entry."""
    n_modalities, d = mu.shape[1:]
    weight = arrays["fusion.gate_weight"].reshape(n_modalities, d, d)
    scores = np.einsum("bmj,mij->bmi", mu, weight) + arrays["fusion.gate_bias"].reshape(n_modalities, d)
    return (_softmax(scores, present) * mu).sum(1)


def _attention(arrays: Arrays, mu: Float, present: Present | None) -> Float:
    """Return sum_m(s_mj mu_m) of each query j, s_j = softmax over m of q_j mu_m / sqrt(d) + b_jm."""
    scores = mu @ (arrays["fusion.query"].T / sqrt(mu.shape[2])) + arrays["fusion.preference"].T  # (B, M, h)
    pooled = _softmax(scores, present).mT @ mu  # (B, h, d)
    return pooled.reshape(len(mu), N_QUERIES * mu.shape[2])


def _softmax(scores: Float, present: Present | None) -> Float:
    """Return the softmax of scores (B, M, .) over the modalities a row has; all zero for a row that has none."""
    if present is not None:
        scores = np.where(present[:, :, None], scores, -np.inf)
    finite = np.finfo(scores.dtype)
    exponential = np.exp(scores - np.maximum(scores.max(1, keepdims=True), finite.min))
    return exponential / np.maximum(exponential.sum(1, keepdims=True), finite.tiny)


POOLS: dict[type[Fusion], Pool] = {
    ConcatFusion: _concat,
    MeanFusion: _mean,
    GatedFusion: _gated,
    AttentionFusion: _attention,
}
