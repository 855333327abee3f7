"""Random numbers by key: what a client draws depends on (seed, round, client) and on nothing else.

Neither the chunk a client is trained in, nor who else takes part, nor torch's or numpy's global state can
change a stream, and drawing from one changes no other.
"""

from __future__ import annotations

import secrets
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.common.arrays import U64

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MASK = (1 << 64) - 1  # Python integers do not wrap around; numpy's arrays do, and its scalars warn
# Purposes of the streams that belong to a run rather than to one of its clients.
INITIAL_WEIGHTS, PARTICIPATION, FOLDS, VALIDATION = range(4)


def seed_of(random_state: Any) -> int:
    """Return a seed in [0, 2**63) from scikit-learn's `random_state`; None takes fresh entropy from the OS."""
    if random_state is None:
        return secrets.randbits(63)
    if isinstance(random_state, (int, np.integer)) and random_state >= 0:
        return int(random_state)
    from sklearn.utils import check_random_state  # which `skfdrmfl.light` does without

    return int(check_random_state(random_state).randint(np.iinfo(np.int32).max))


def generator(seed: int, purpose: int, *key: int) -> np.random.Generator:
    """Return the generator of one purpose of one run."""
    return np.random.default_rng([seed, purpose, *key])


def mix(z: U64) -> U64:
    """Mix 64 bits by the finaliser of SplitMix64 (Steele, Lea and Flood 2014): a bijection that passes BigCrush."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def client_keys(seeds: U64, round_index: int, positions: U64) -> U64:
    """Return one 64-bit key a client, from its run's seed, the round and its position in `clients_`."""
    keys = mix(seeds + _GOLDEN)
    keys = mix(keys + np.uint64((round_index + 1) * int(_GOLDEN) & _MASK))
    return mix(keys + (positions + np.uint64(1)) * _GOLDEN)


def counters(epochs: NDArray[np.int64], rows: NDArray[np.int64]) -> U64:
    """Return where in its client's SplitMix64 sequence the number of (epoch, row) stands."""
    return ((epochs.astype(np.uint64) << np.uint64(32)) + rows.astype(np.uint64) + np.uint64(1)) * _GOLDEN


def dropout_keys(keys: U64) -> U64:
    """Return the keys (C,) for another purpose than those of `client_keys`: which modalities are dropped."""
    return mix(keys ^ np.uint64(0xD1B54A32D192ED03))
