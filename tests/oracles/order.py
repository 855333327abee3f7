"""The order of a client's rows, one epoch of one client at a time."""

from __future__ import annotations

import numpy as np

from skfdrmfl.common import randomness
from skfdrmfl.common.arrays import Indices


def permutation(seed: int, round_index: int, position: int, epoch: int, n_rows: int) -> Indices:
    """The rows sorted by 40 random bits each, as `BatchPlan.draw` sorts many clients' rows at once."""
    key = randomness.client_keys(np.array([seed], np.uint64), round_index, np.array([position], np.uint64))
    numbers = randomness.mix(key + randomness.counters(np.full(n_rows, epoch), np.arange(n_rows)))
    return np.argsort(numbers >> np.uint64(24), kind="stable")
