"""From a trained network to what users get: Z on its principal axes, predictions, and the training history."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from torch import Tensor

from skfdrmfl.common.arrays import Arrays, Float, Indices, Present
from skfdrmfl.data.partition import Partition
from skfdrmfl.model.evaluate import evaluate
from skfdrmfl.model.network import Network


class _First(NamedTuple):
    n_rows: float
    z: Float


class _Second(NamedTuple):
    zz: Float
    zy: Float


def deliver(
    network: Network, arrays: Arrays, x: Tensor, partition: Partition, present: Present | None = None
) -> tuple[Arrays, Float]:
    """Put Z on its principal axes, from client sums.

    Returns
    -------
    arrays : dict of str to ndarray
        The same model with Z centred, rotated to its principal axes, ordered by variance, each sign such that
        Z correlates positively with the prediction it explains most.
    variance : ndarray of shape (c,)
        Variance of each column of Z over the rows x.
    """
    z, y_hat = evaluate(network, arrays, x, present)
    count, total = partition.sum_over_clients(lambda rows: _First(len(rows), z[rows].sum(0)))
    center = total / count
    z = z - center

    def second(rows: Indices) -> _Second:
        return _Second(z[rows].T @ z[rows], z[rows].T @ y_hat[rows])

    zz, zy = partition.sum_over_clients(second)
    variance, axes = np.linalg.eigh(zz / count)
    variance, axes = variance[::-1].clip(min=0.0), axes[:, ::-1]
    covariance = axes.T @ zy  # (c, q)
    explained = covariance[np.arange(len(axes)), np.abs(covariance).argmax(1)]
    axes = axes * np.where(explained < 0, -1.0, 1.0)
    return network.rotated(arrays, center, axes), variance
