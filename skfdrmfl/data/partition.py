"""Whose rows are whose: the clients, each with its row numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from skfdrmfl.common.arrays import Indices, slabs
from skfdrmfl.data.held_out import Subset, number_blocks


class Pieces(Sequence[NDArray]):
    """One array after another: the pieces of one array, of which each is a view."""

    def __init__(self, joined: NDArray, sizes: Indices):
        self.joined, self.sizes = joined, sizes
        self._ends = np.cumsum(sizes)

    @classmethod
    def of(cls, arrays: Sequence[NDArray]) -> Pieces:
        """Return arrays as pieces."""
        sizes = np.array([len(array) for array in arrays], dtype=np.int64)
        return cls(np.concatenate(arrays) if len(arrays) else np.zeros(0, dtype=np.int64), sizes)

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, k: Any) -> Any:
        end = self._ends[k]
        return self.joined[end - self.sizes[k] : end]


@dataclass(frozen=True)
class Partition:
    """The clients who take part, each with its rows."""

    positions: Indices  # (K,), of each client in `clients_`
    rows: Pieces  # K arrays of row numbers, in the order of the table

    def __post_init__(self) -> None:
        if not isinstance(self.rows, Pieces):
            object.__setattr__(self, "rows", Pieces.of(self.rows))

    @property
    def sizes(self) -> Indices:
        """|D_k| of each client."""
        return self.rows.sizes

    @property
    def joined(self) -> Indices:
        """All row numbers (N,), client after client."""
        return self.rows.joined

    @classmethod
    def of_codes(cls, codes: Indices) -> Partition:
        """Return the clients, given the position of every row's client."""
        sizes = np.bincount(codes)
        positions = np.flatnonzero(sizes)
        return cls(positions, Pieces(np.argsort(codes, kind="stable"), sizes[positions]))

    def restricted_to(self, kept: NDArray[np.bool_]) -> Partition:
        """Return the clients that are `kept` (K,), each with all of its rows."""
        rows = self.joined[np.repeat(kept, self.sizes)]
        return Partition(self.positions[kept], Pieces(rows, self.sizes[kept]))

    def where(self, keep: NDArray[np.bool_]) -> Partition:
        """Return the rows that are kept of `joined` (N,), without clients who keep none."""
        owners = np.repeat(np.arange(len(self.positions)), self.sizes)
        sizes = np.bincount(owners[keep], minlength=len(self.positions))
        return Partition(self.positions[sizes > 0], Pieces(self.joined[keep], sizes[sizes > 0]))

    def numbered(self, numbers: Indices) -> Partition:
        """Return the same rows under other numbers, of all rows (n,)."""
        return Partition(self.positions, Pieces(numbers[self.joined], self.sizes))


def within(partition: Partition, subset: Subset, blocks: Indices | None = None) -> Partition:
    """Return the rows of a subset, without clients who have none; `blocks` (n,) are blocks over all rows."""
    masks = [
        subset.mask(np.arange(len(rows)) if blocks is None else number_blocks(blocks[rows]), position)
        for position, rows in zip(partition.positions.tolist(), partition.rows, strict=True)
    ]
    return partition.where(np.concatenate(masks) if masks else np.zeros(0, dtype=bool))


def blocks_of(table: NDArray, partition: Partition, groups: NDArray | None = None) -> Indices | None:
    """Return labels (n,) of the blocks of rows that no split may part, None where every row is a block by itself.

    Rows of a client belong together if they are equal in all columns, or of one group (n,), or each with a third one.
    """
    clients = np.empty(len(table), dtype=np.int64)
    clients[partition.joined] = np.repeat(partition.positions, partition.sizes)
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
