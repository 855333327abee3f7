"""Whose rows are whose: the clients, each with its row numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from skfdrmfl.common.arrays import Indices, slabs
from skfdrmfl.data.held_out import Subset, number_blocks


@dataclass(frozen=True)
class Partition:
    """The clients who take part, each with its rows."""

    positions: Indices  # (K,), of each client in `clients_`
    rows: Sequence[Indices]  # K arrays of row numbers, in the order of the table

    @cached_property
    def sizes(self) -> Indices:
        """|D_k| of each client."""
        return np.array([len(rows) for rows in self.rows], dtype=np.int64)

    @classmethod
    def of_codes(cls, codes: Indices) -> Partition:
        """Return the clients, given the position of every row's client."""
        order = np.argsort(codes, kind="stable")
        positions, starts = np.unique(codes[order], return_index=True)
        return cls(positions, np.split(order, starts[1:]))

    def restricted_to(self, kept: NDArray[np.bool_]) -> Partition:
        """Return the clients that are `kept` (K,), each with all of its rows."""
        return Partition(self.positions[kept], [self.rows[k] for k in np.flatnonzero(kept).tolist()])

    def where(self, keep: Sequence[NDArray[np.bool_]]) -> Partition:
        """Return the rows that each client's mask keeps, without clients who keep none."""
        rows = [rows[mask] for rows, mask in zip(self.rows, keep, strict=True)]
        return Partition(self.positions, rows).restricted_to(np.array([len(kept) > 0 for kept in rows], dtype=bool))


def within(partition: Partition, subset: Subset, blocks: Indices | None = None) -> Partition:
    """Return the rows of a subset, without clients who have none; `blocks` (n,) are blocks over all rows."""
    masks = [
        subset.mask(np.arange(len(rows)) if blocks is None else number_blocks(blocks[rows]), position)
        for position, rows in zip(partition.positions.tolist(), partition.rows, strict=True)
    ]
    return partition.where(masks)


def blocks_of(table: NDArray, partition: Partition, groups: NDArray | None = None) -> Indices | None:
    """Return labels (n,) of the blocks of rows that no split may part, None where every row is a block by itself.

    Rows of a client belong together if they are equal in all columns, or of one group (n,), or each with a third one.
    """
    clients = np.empty(len(table), dtype=np.int64)
    for position, rows in zip(partition.positions.tolist(), partition.rows, strict=True):
        clients[rows] = position
    equal = _numbered(clients, _codes(_digests(table)))
    labels = equal
    if groups is not None:
        grouped = _numbered(clients, _codes(groups))
        n_equal = int(equal.max()) + 1
        n_nodes = n_equal + int(grouped.max()) + 1
        ends = equal.astype(np.int32), (n_equal + grouped).astype(np.int32)  # scipy 1.11.1 takes no others
        links = coo_array((np.ones(len(equal)), ends), shape=(n_nodes, n_nodes))
        _, component = connected_components(links, directed=False)
        labels = component[equal].astype(np.int64)
    return None if len(np.unique(labels)) == len(labels) else labels


def _digests(table: NDArray) -> NDArray[np.void]:
    """Return what equal rows have in common, and unlike ones not (n,)."""
    width, digests = table.shape[1] * table.itemsize, []
    for slab in slabs(len(table)):
        rows = (table[slab] + 0.0).tobytes()  # minus zero is zero
        digests += [blake2b(rows[i : i + width], digest_size=16).digest() for i in range(0, len(rows), width)]
    return np.frombuffer(b"".join(digests), dtype="V16")


def _codes(labels: NDArray) -> Indices:
    """Return the place of each label among the sorted ones."""
    return np.unique(labels, return_inverse=True)[1].reshape(-1)


def _numbered(clients: Indices, codes: Indices) -> Indices:
    """Return a number for each pair of a client and a code."""
    return _codes(clients * (int(codes.max()) + 1) + codes)
