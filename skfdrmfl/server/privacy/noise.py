"""Chance from the system's entropy: who takes part, and Gaussian noise; never from `random_state`."""

from __future__ import annotations

import secrets
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from skfdrmfl.common.arrays import Float

# Normal numbers added up for one, so that its last bits do not tell which one it was (Holohan and Braghin 2021).
N_ADDED = 4
# Of the budget of a round, the part that the count of updates within the clip takes is at most one in this many.
LEAST_COUNT_PART = 16
# The noise on that count, relative to the number of clients expected (Andrew et al. 2021, section 3.2).
COUNT_NOISE_SHARE = 1 / 20


def system_bytes(n: int) -> bytes:
    """Return n bytes of the system's entropy; all chance of this file comes from here."""
    return secrets.token_bytes(n)


def uniform(n: int) -> Float:
    """Return n numbers, uniform on (0, 1), of 53 random bits each."""
    bits = np.frombuffer(system_bytes(8 * n), dtype=np.uint64) >> np.uint64(11)
    return (bits.astype(np.float64) + 0.5) / 2.0**53


def gaussian(n: int, deviation: float) -> Float:
    """Return n numbers drawn from N(0, deviation^2)."""
    added = ndtri(uniform(N_ADDED * n)).reshape(N_ADDED, n).sum(0)
    return deviation / sqrt(N_ADDED) * added


def poisson_sample(n_clients: int, rate: float) -> NDArray[np.int64]:
    """Return who takes part: each client by itself, with probability `rate`; perhaps nobody."""
    return np.flatnonzero(uniform(n_clients) < rate)


def divided(noise_multiplier: float, n_expected: float) -> tuple[float, float]:
    """Return the noise multiplier of clipped updates and the standard deviation of the count that goes with them.

    Updates u (sensitivity C) with noise z_u C and counts b - 1/2 (sensitivity 1/2) with noise s cost together what
    `noise_multiplier` z costs alone: z^-2 = z_u^-2 + (2 s)^-2 (Andrew et al. 2021, theorem 1).
    """
    deviation = max(COUNT_NOISE_SHARE * n_expected, sqrt(LEAST_COUNT_PART) / 2 * noise_multiplier)
    if noise_multiplier == 0:
        return 0.0, 0.0
    return (noise_multiplier**-2 - (2 * deviation) ** -2) ** -0.5, deviation
