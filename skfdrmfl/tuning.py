"""Choosing the whitening's shrinkage by rows that the clients hold out.

Folds live inside the clients: each trains on some of its rows and sends the sum of squared errors on the rest.
All candidates of a fold train together, as runs of one stacked pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skfdrmfl import _streams
from skfdrmfl.cohort import Settings
from skfdrmfl.delivery import evaluate
from skfdrmfl.missing import Present
from skfdrmfl.network import Network
from skfdrmfl.partition import Indices, Partition
from skfdrmfl.preprocessing import TableTransform, fit_tables, fit_targets
from skfdrmfl.training import Run, Schedule, train

SHRINKAGES = (1e-2, 1e-3, 2e-4, 1e-5)
DEFAULT_SHRINKAGE = 2e-4
N_FOLDS = 3


class _Error(NamedTuple):
    """What a client sends: its sum of squared errors of standardised y."""

    squares: float


def _squared_error(residuals: NDArray[np.float64]) -> Callable[[Indices], _Error]:
    return lambda rows: _Error(float((residuals[rows] ** 2).sum()))


def inner_folds(partition: Partition, seed: int) -> Iterator[tuple[Partition, Partition]]:
    """Rows kept and rows held out, each client's rows dealt to the folds in an order of its own.

    A client with fewer rows than folds is absent from the training or the test of some folds.
    """
    dealt = []
    for position, rows in zip(partition.positions.tolist(), partition.rows, strict=True):
        order = _streams.generator(seed, _streams.FOLDS, position).permutation(len(rows))
        dealt.append((order + position) % N_FOLDS)
    for fold in range(N_FOLDS):
        kept = partition.where([numbers != fold for numbers in dealt])
        held_out = partition.where([numbers == fold for numbers in dealt])
        if kept.rows and held_out.rows:
            yield kept, held_out


def choose_shrinkage(
    table: NDArray,
    targets: NDArray[np.float64],
    columns: Mapping[str, Indices],
    partition: Partition,
    *,
    start: Callable[[TableTransform, Mapping[str, int]], tuple[Network, Tensor]],
    settings: Settings,
    schedule: Schedule,
    engine: str,
    device: torch.device,
    seed: int,
    present: Present | None = None,
) -> float:
    """The shrinkage of `SHRINKAGES` with the least squared error on rows held out inside the clients.

    `start` builds the network for encoder inputs of given widths and its first weights. Where nothing can be
    held out (one row, or one fold's worth), the choice is `DEFAULT_SHRINKAGE`. Rows that lack all of these
    modalities according to `present` (n, M) are left out, and so is a fold that trains without one of them.
    """
    if present is not None:
        partition = partition.where([np.asarray(present[rows].any(1)) for rows in partition.rows])
    errors = dict.fromkeys(SHRINKAGES, 0.0)
    for kept, held_out in inner_folds(partition, seed):
        if present is not None and not present[np.concatenate(kept.rows)].any(0).all():
            continue
        transforms = fit_tables(table, columns, kept, "whiten", SHRINKAGES, present)
        # Candidates drop different directions: one network, as wide as the widest, holds them all.
        widths = {name: max(t.widths[name] for t in transforms) for name in columns}
        y = fit_targets(targets, kept).apply(torch.as_tensor(targets)).float()
        tables = [t.apply(table, torch.float32, widths, present) for t in transforms]
        starts = [start(t, widths) for t in transforms]
        network = starts[0][0]
        runs = [
            Run(x.to(device), y.to(device), kept, settings, seed, first.to(device), present=present)
            for x, (_, first) in zip(tables, starts, strict=True)
        ]
        *_, last = train(network, runs, schedule, engine)
        for i, shrinkage in enumerate(SHRINKAGES):
            if last.diverged[i]:
                errors[shrinkage] = np.inf
                continue
            _, y_hat = evaluate(network, network.arrays(last.models_of(i)[0]), tables[i], present)
            sent = held_out.sum_over_clients(_squared_error(y_hat - y.double().numpy()))
            errors[shrinkage] += sent.squares
    best = min(errors, key=errors.__getitem__)
    return best if errors[best] > 0 else DEFAULT_SHRINKAGE
