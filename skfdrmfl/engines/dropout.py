"""Which modalities of a row a training step leaves out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.common import randomness
from skfdrmfl.common.arrays import U64, Indices, Present


def draw_kept(keys: U64, epochs: Indices, rows: Indices, probability: NDArray[np.float64], present: Present) -> Present:
    """Return which modalities (s, M) are left of those `present` when each is dropped with some `probability` (s,).

    Where all would go, one of them, drawn evenly, stays: of n modalities each is dropped with probability p - p^n / n.
    `keys` (s,) are those of the round and of the client that holds the row (`Replicas.keys`), `epochs` and `rows` (s,)
    the local epoch and the row's number inside its client.
    """
    n_modalities = present.shape[1]
    places = rows[:, None] * n_modalities + np.arange(n_modalities)
    counters = randomness.counters(np.broadcast_to(epochs[:, None], places.shape), places)
    numbers = (randomness.mix(randomness.dropout_keys(keys)[:, None] + counters) >> np.uint64(11)).astype(np.int64)
    numbers[~present] = -1  # below all others
    kept = numbers >= (probability * 2.0**53)[:, None]
    return present & (kept | (numbers == numbers.max(1, keepdims=True)))
