"""Which modalities of a row a training step leaves out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.common import randomness
from skfdrmfl.common.arrays import U64, Indices, Present


def draw_kept(keys: U64, epochs: Indices, rows: Indices, probability: NDArray[np.float64], present: Present) -> Present:
    """Return which modalities are left when each that a row has is dropped with some probability.

    Where all would go, one of them, drawn evenly, stays: of n modalities each is dropped with probability
    p - p^n / n.

    Parameters
    ----------
    keys : ndarray of uint64 of shape (s,)
        Of this round and of the client that holds the row (`Replicas.keys`).
    epochs, rows : ndarray of int of shape (s,)
        The local epoch, and the row's number inside its client.
    probability : ndarray of shape (s,)
    present : ndarray of bool of shape (s, M)

    Returns
    -------
    ndarray of bool of shape (s, M)
    """
    n_modalities = present.shape[1]
    places = rows[:, None] * n_modalities + np.arange(n_modalities)
    counters = randomness.counters(np.broadcast_to(epochs[:, None], places.shape), places)
    numbers = (randomness.mix(randomness.dropout_keys(keys)[:, None] + counters) >> np.uint64(11)).astype(np.int64)
    numbers[~present] = -1  # below all others
    kept = numbers >= (probability * 2.0**53)[:, None]
    return present & (kept | (numbers == numbers.max(1, keepdims=True)))
