"""A trained network's Z and predictions, some rows at a time.

Dense networks are evaluated in numpy: the one copy of the forward pass beside `Network.forward`, which defines it and
evaluates all others. So are the derivatives of predictions by rows, where pooling is linear.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import sqrt
from typing import cast

import numpy as np

from skfdrmfl.common.arrays import SLAB_ROWS, Arrays, Float, Present, row_products
from skfdrmfl.common.late_torch import Tensor, torch
from skfdrmfl.method.fusion import N_QUERIES, AttentionFusion, ConcatFusion, Fusion, GatedFusion, MeanFusion
from skfdrmfl.method.mlp import MLP
from skfdrmfl.method.network import Network

Pool = Callable[[Arrays, Float, Present | None], Float]


def evaluate(network: Network, arrays: Arrays, x: Float, present: Present | None = None) -> tuple[Float, Float]:
    """Return Z (n, c) and standardised y_hat (n, q) of encoder inputs x (n, columns), in float64.

    `present` (n, M) says which modalities each row has, None that every row has all.
    """
    forward = _dense if is_dense(network) else _defined
    if len(x) <= SLAB_ROWS:
        return forward(network, arrays, x, present)
    z, y_hat = np.empty((len(x), network.n_components)), np.empty((len(x), network.n_outputs))
    for i in range(0, len(x), SLAB_ROWS):
        slab = slice(i, i + SLAB_ROWS)
        z[slab], y_hat[slab] = forward(network, arrays, x[slab], None if present is None else present[slab])
    return z, y_hat


def is_dense(network: Network) -> bool:
    """Return whether all of a network is dense layers and a pooling that numpy knows."""
    parts = (*network.encoders.values(), network.mixer, network.head)
    return set(map(type, parts)) == {MLP} and type(network.fusion) in POOLS


def forward_pass(network: Network, arrays: Arrays, x: Tensor, present: Present | None) -> tuple[Tensor, Tensor]:
    """Return Z (B, c) and y_hat (B, q) of some rows x (B, columns) by the network's own forward pass."""
    views = network.layout.views(torch.from_numpy(network.layout.pack(arrays, dtype=np.float64))[None])
    activations = network.forward(views, x[None], None if present is None else torch.as_tensor(present)[None])
    return activations.z[0], activations.y_hat[0]


def _defined(network: Network, arrays: Arrays, x: Float, present: Present | None) -> tuple[Float, Float]:
    """Return Z and y_hat of some rows by `forward_pass`."""
    z, y_hat = forward_pass(network, arrays, torch.from_numpy(x).double(), present)
    return z.numpy(), y_hat.numpy()


# ------------------------------------------------------------------------------------------ the copy in numpy


def _dense(network: Network, arrays: Arrays, x: Float, present: Present | None) -> tuple[Float, Float]:
    """Return Z and y_hat of some rows by dense layers in numpy."""
    return after_first_layers(network, arrays, _first_products(network, arrays, x), present)


def after_first_layers(
    network: Network, arrays: Arrays, products: Sequence[Float], present: Present | None
) -> tuple[Float, Float]:
    """Return Z and y_hat of rows, given their products (B, u) with the weights of each encoder's first layer.

    Of a network that `is_dense`.
    """
    with np.errstate(over="ignore"):  # exp(-a) of a gate that is shut
        mu = _codes(network, arrays, products, present)
        z = _layers(network.mixer, arrays, POOLS[type(network.fusion)](arrays, mu, present))
        return z, _layers(network.head, arrays, z)


def _first_products(network: Network, arrays: Arrays, x: Float) -> list[Float]:
    """Return the products (B, u) of encoder inputs with the weights of each first layer."""
    rows = x.astype(np.float64, copy=False)
    encoders = cast(dict[str, MLP], network.encoders)
    return [row_products(rows[:, network.columns[name]], arrays[e.first_weight].T) for name, e in encoders.items()]


def _codes(network: Network, arrays: Arrays, products: Sequence[Float], present: Present | None) -> Float:
    """Return the codes (B, M, d) of rows, zeros of modalities that they lack; `products` as in `after_first_layers`."""
    encoders = cast(dict[str, MLP], network.encoders)
    mu = np.stack([_after_first(e, arrays, a) for e, a in zip(encoders.values(), products, strict=True)], 1)
    return mu if present is None else np.where(present[:, :, None], mu, 0.0)


def _layers(part: MLP, arrays: Arrays, x: Float) -> Float:
    """Return what dense layers make of rows x (B, n_inputs): `MLP.forward`."""
    return _after_first(part, arrays, row_products(x, arrays[part.first_weight].T))


def _after_first(part: MLP, arrays: Arrays, a: Float) -> Float:
    """Return what dense layers make of rows, given their products a (B, u) with the weights of the first."""
    skipped: Float | float = 0.0
    for i, (weight, bias) in enumerate(part.layers):
        a = (row_products(a, arrays[weight].T) if i else a) + arrays[bias][:, 0]
        if i == 0 and part.skip:
            a, skipped = a[:, : part.hidden[0]], a[:, part.hidden[0] :]
        if i < len(part.hidden):
            gate = np.exp(-a)
            gate += 1.0
            a = np.divide(a, gate, out=gate)  # silu
    return a + skipped


def first_slopes(network: Network, arrays: Arrays, x: Float, present: Present | None) -> list[tuple[Float, Float]]:
    """Return the factors of the derivatives (B, q, columns) of y_hat by the rows' inputs, of each modality.

    These are the derivatives (B, q, u) by what the first layer gives, and the weights (u, columns) of that layer; of a
    network that `has_first_slopes`.
    """
    with np.errstate(over="ignore"):
        encoders = cast(dict[str, MLP], network.encoders)
        if network.head.hidden:
            mu = _codes(network, arrays, _first_products(network, arrays, x), present)
            pooled = POOLS[type(network.fusion)](arrays, mu, present)
            z = _layers(network.mixer, arrays, pooled)
        else:  # what is linear in the codes has the same slopes everywhere
            mu = np.zeros((len(x), len(encoders), network.modality_dim))
            pooled = z = mu[:, 0]  # of which the number of rows alone counts
        slopes = _slopes(network.head, arrays, z, np.eye(network.n_outputs)[None])
        slopes = POOL_SLOPES[type(network.fusion)](_slopes(network.mixer, arrays, pooled, slopes), mu, present)
        if present is not None:
            slopes = np.where(present[:, None, :, None], slopes, 0.0)
        found = []
        for m, (name, e) in enumerate(encoders.items()):
            of_first = _first_slopes(e, arrays, x[:, network.columns[name]], slopes[:, :, m])
            found.append((np.broadcast_to(of_first, (len(x), *of_first.shape[1:])), arrays[e.first_weight]))
        return found


def has_first_slopes(network: Network) -> bool:
    """Return whether `first_slopes` covers a network; the definition differentiates all others."""
    return is_dense(network) and type(network.fusion) in POOL_SLOPES


def _slopes(part: MLP, arrays: Arrays, x: Float, by_outputs: Float) -> Float:
    """Return derivatives (B, q, n_inputs) by rows x, given those (B, q, n_outputs) by what `_layers` makes of them.

    Those that all rows share are given, and returned where layers are linear, once: (1, q, .).
    """
    return _first_slopes(part, arrays, x, by_outputs) @ arrays[part.first_weight]


def _first_slopes(part: MLP, arrays: Arrays, x: Float, by_outputs: Float) -> Float:
    """Return derivatives as `_slopes` does, but by what the first layer gives."""
    a, of_hidden, weights = x, [], [arrays[weight] for weight, _ in part.layers]
    for (weight, bias), width in zip(part.layers, part.hidden, strict=False):
        a = row_products(a, arrays[weight][:width].T) + arrays[bias][:width, 0]
        open_share = 1.0 / (1.0 + np.exp(-a))
        of_hidden.append(open_share * (1.0 + a * (1.0 - open_share)))  # of silu
        a = a * open_share
    slopes = by_outputs
    for i in reversed(range(len(of_hidden))):
        slopes = (slopes @ weights[i + 1]) * of_hidden[i][:, None]
        if i == 0 and part.skip:
            slopes = np.concatenate((slopes, np.broadcast_to(by_outputs, (*slopes.shape[:2], part.n_outputs))), -1)
    return slopes


def _mean_slopes(by_pooled: Float, mu: Float, present: Present | None) -> Float:
    """Return derivatives (B, q, M, d) by codes, given those by what `_mean` makes of them."""
    n_present = mu.shape[1] if present is None else np.maximum(present.sum(1), 1)[:, None, None]
    of_each = by_pooled / n_present
    return np.broadcast_to(of_each[:, :, None], (*of_each.shape[:2], *mu.shape[1:]))


def _mean(arrays: Arrays, mu: Float, present: Present | None) -> Float:
    """Return the mean of the codes mu (B, M, d) that a row has."""
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
    pooled = _softmax(scores, present).swapaxes(1, 2) @ mu  # (B, h, d)
    return pooled.reshape(len(mu), N_QUERIES * mu.shape[2])


def _softmax(scores: Float, present: Present | None) -> Float:
    """Return the softmax of scores (B, M, .) over the modalities a row has; all zero for a row that has none."""
    if present is not None:
        scores = np.where(present[:, :, None], scores, -np.inf)
    finite = np.finfo(scores.dtype)
    exponential = np.exp(scores - np.maximum(scores.max(1, keepdims=True), finite.min))
    return exponential / np.maximum(exponential.sum(1, keepdims=True), finite.tiny)


POOLS: dict[type[Fusion], Pool] = {
    ConcatFusion: lambda arrays, mu, present: mu.reshape(len(mu), -1),  # side by side
    MeanFusion: _mean,
    GatedFusion: _gated,
    AttentionFusion: _attention,
}
PoolSlopes = Callable[[Float, Float, Present | None], Float]
POOL_SLOPES: dict[type[Fusion], PoolSlopes] = {
    ConcatFusion: lambda by_pooled, mu, present: by_pooled.reshape(*by_pooled.shape[:2], *mu.shape[1:]),
    MeanFusion: _mean_slopes,
}
