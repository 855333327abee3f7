"""Which rows a client keeps for training and which it holds out, in one split or in folds."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil

from skfdrmfl.common import randomness
from skfdrmfl.data.partition import Partition


def split_off(partition: Partition, fraction: float, seed: int) -> tuple[Partition, Partition]:
    """Rows to train on, and rows that each client holds out.

    A client of n rows holds out `ceil(fraction * n)`, but never its last row.

    Raises
    ------
    ValueError
        If all clients have one row, so that nobody can hold out any.
    """
    masks = []
    for position, rows in zip(partition.positions.tolist(), partition.rows, strict=True):
        n_out = min(ceil(fraction * len(rows)), len(rows) - 1)
        order = randomness.generator(seed, randomness.VALIDATION, position).permutation(len(rows))
        masks.append(order < n_out)
    if not any(mask.any() for mask in masks):
        raise ValueError(
            "early_stopping=True needs clients with two rows or more, of which some are held out, but every client "
            "has one row; set early_stopping=False."
        )
    return partition.where([~mask for mask in masks]), partition.where(masks)


N_FOLDS = 3


def inner_folds(partition: Partition, seed: int) -> Iterator[tuple[Partition, Partition]]:
    """Rows kept and rows held out, each client's rows dealt to the folds in an order of its own.

    A client with fewer rows than folds is absent from the training or the test of some folds.
    """
    dealt = []
    for position, rows in zip(partition.positions.tolist(), partition.rows, strict=True):
        order = randomness.generator(seed, randomness.FOLDS, position).permutation(len(rows))
        dealt.append((order + position) % N_FOLDS)
    for fold in range(N_FOLDS):
        kept = partition.where([numbers != fold for numbers in dealt])
        held_out = partition.where([numbers == fold for numbers in dealt])
        if kept.rows and held_out.rows:
            yield kept, held_out
