"""From a trained network to what users get: Z on its principal axes, predictions, and the training history."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skfdrmfl.client import RECORDED
from skfdrmfl.missing import Present
from skfdrmfl.network import Network
from skfdrmfl.partition import Indices, Partition

Float = NDArray[np.float64]
Arrays = dict[str, Float]

# Rows sent through the network at a time.
SLAB_ROWS = 1024


def evaluate(network: Network, arrays: Arrays, x: Tensor, present: Present | None = None) -> tuple[Float, Float]:
    """Z (n, c) and standardised y_hat (n, q) of encoder inputs x (n, columns), in float64.

    `present` (n, M) says which modalities each row has; None: all.
    """
    flat = network.layout.pack(arrays, dtype=torch.float64)
    views = network.layout.views(flat[None])
    z, y_hat = [], []
    for i in range(0, len(x), SLAB_ROWS):
        slab = slice(i, i + SLAB_ROWS)
        mask = None if present is None else torch.as_tensor(present[slab])[None]
        act = network.forward(views, x[slab][None].double(), mask, tape=False)
        z.append(act.z[0])
        y_hat.append(act.y_hat[0])
    return torch.cat(z).numpy(), torch.cat(y_hat).numpy()


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


def extend_history(
    history: Mapping[str, Float],
    losses: Float,
    positions: Indices,
    sizes: Indices,
    n_clients: int,
    validation: Float | None = None,
) -> dict[str, Float]:
    """Append finished rounds to `history_`.

    Parameters
    ----------
    history : mapping of str to ndarray
        As delivered before, perhaps with fewer clients; empty at first.
    losses : ndarray of shape (rounds, replicas, n)
        What is `RECORDED` of each client who was invited, NaN in rounds without it.
    positions, sizes : ndarray of shape (replicas,)
        Place in `clients_` and rows of each.
    n_clients : int
        Length of `clients_` now.
    validation : ndarray of shape (rounds,), default=None
        Errors on rows held out.
    """
    out: dict[str, Float] = {}
    weights = np.where(np.isnan(losses[:, :, 0]), 0.0, sizes)
    for i, term in enumerate(RECORDED):
        here = np.full((len(losses), n_clients), np.nan)
        here[:, positions] = losses[:, :, i]
        before = history.get(f"{term}_per_client", np.empty((0, n_clients)))
        before = np.pad(before, ((0, 0), (0, n_clients - before.shape[1])), constant_values=np.nan)
        out[f"{term}_per_client"] = np.concatenate([before, here])
        values = np.where(np.isnan(losses[:, :, i]), 0.0, losses[:, :, i])
        mean = np.average(values, axis=1, weights=weights)
        out[term] = np.concatenate([history.get(term, np.empty(0)), mean])
    if validation is not None or "validation_mse" in history:
        before = history.get("validation_mse", np.full(len(history.get("mse", ())), np.nan))
        now = np.full(len(losses), np.nan) if validation is None else validation
        out["validation_mse"] = np.concatenate([before, now])
    return out
