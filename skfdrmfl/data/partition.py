"""Whose rows are whose: the clients, each with its row numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.common.arrays import Indices
from skfdrmfl.data.held_out import Split, Subset, check_held_out, number_blocks


@dataclass(frozen=True)
class Partition:
    """The clients who take part, each with its rows.

    Parameters
    ----------
    positions : ndarray of shape (K,)
        Position of each client in the estimator's `clients_`.
    rows : sequence of K ndarrays
        Row numbers of each client, in the order of the table.
    """

    positions: Indices
    rows: Sequence[Indices]

    @property
    def sizes(self) -> Indices:
        """|D_k| of each client."""
        return np.array([len(rows) for rows in self.rows], dtype=np.int64)

    @classmethod
    def of_codes(cls, codes: Indices) -> Partition:
        """Return the clients, given the position of every row's client."""
        order = np.argsort(codes, kind="stable")
        positions, starts = np.unique(codes[order], return_index=True)
        return cls(positions, np.split(order, starts[1:]))

    def where(self, keep: Sequence[NDArray[np.bool_]]) -> Partition:
        """Return the rows that each client's mask keeps, without clients who keep none."""
        rows = [rows[mask] for rows, mask in zip(self.rows, keep, strict=True)]
        remaining = [k for k, kept in enumerate(rows) if len(kept)]
        return Partition(self.positions[remaining], [rows[k] for k in remaining])


def within(partition: Partition, subset: Subset, blocks: Indices | None = None) -> Partition:
    """Return the rows of a subset, without clients who have none; `blocks` (n,) are blocks over all rows."""
    masks = [
        subset.mask(np.arange(len(rows)) if blocks is None else number_blocks(blocks[rows]), position)
        for position, rows in zip(partition.positions.tolist(), partition.rows, strict=True)
    ]
    return partition.where(masks)


def split_off(partition: Partition, fraction: float, seed: int) -> tuple[Partition, Partition]:
    """Return the rows to train on, and the rows that each client holds out (`Split`).

    Raises
    ------
    ValueError
        If nobody can hold out any row.
    """
    kept, held_out = (within(partition, Split(fraction, seed, side)) for side in (False, True))
    check_held_out(len(held_out.rows))
    return kept, held_out
