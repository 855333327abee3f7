"""Whose rows are whose: labels to clients, and the one place where a sum over clients is taken on raw rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

S = TypeVar("S", bound=tuple)


@dataclass(frozen=True)
class Partition:
    """The clients who are there, each with its rows.

    Parameters
    ----------
    positions : ndarray of shape (K,)
        Position of each client in the estimator's `clients_`.
    rows : sequence of K ndarrays
        Row numbers of each client, in the order of the table.
    """

    positions: NDArray[np.int64]
    rows: Sequence[NDArray[np.int64]]

    @property
    def sizes(self) -> NDArray[np.int64]:
        """|D_k| of each client."""
        return np.array([len(rows) for rows in self.rows], dtype=np.int64)

    @classmethod
    def of_codes(cls, codes: NDArray[np.int64]) -> Partition:
        """Clients from one position a row."""
        order = np.argsort(codes, kind="stable")
        positions, starts = np.unique(codes[order], return_index=True)
        return cls(positions, np.split(order, starts[1:]))

    def where(self, keep: Sequence[NDArray[np.bool_]]) -> Partition:
        """The rows that each client's mask keeps, without clients who keep none."""
        rows = [rows[mask] for rows, mask in zip(self.rows, keep, strict=True)]
        there = [k for k, kept in enumerate(rows) if len(kept)]
        return Partition(self.positions[there], [rows[k] for k in there])

    def sum_over_clients(self, client: Callable[[NDArray[np.int64]], S]) -> S:
        """Add up what `client` returns for each client's row numbers: all that a server ever sees of them."""
        total: S | None = None
        for rows in self.rows:
            part = client(rows)
            total = part if total is None else type(part)(*(a + b for a, b in zip(total, part, strict=True)))
        assert total is not None
        return total
