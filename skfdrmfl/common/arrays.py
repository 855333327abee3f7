"""Array types that every floor speaks of, rows some at a time, a product whose rows do not mix, and masks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Indices = NDArray[np.int64]
U64 = NDArray[np.uint64]
# Which modalities each row has, (n, M).
Present = NDArray[np.bool_]
# Named parameters of one network, without a replica axis.
Arrays = dict[str, Float]

# Rows read at a time.
SLAB_ROWS = 1024
# A multiple of the numbers of rows that kernels of BLAS take at a time.
BLOCK_ROWS = 48


def slabs(n_rows: int, at_a_time: int = SLAB_ROWS) -> Iterator[slice]:
    """Yield all rows, some at a time."""
    starts = range(0, n_rows, at_a_time)
    return map(slice, starts, (*starts[1:], n_rows))


def row_products(rows: Float, matrix: Float) -> Float:
    """Return rows (n, p) times a matrix (p, q); the bits of a row do not depend on the rows beside it.

    A BLAS picks its kernels by the number of rows. So blocks of `BLOCK_ROWS` are multiplied one by one, the last one
    filled up with zeros: a client's rows give the same bits alone, at a site, as among those of all clients.
    """
    n, p = rows.shape
    if not rows.size or not matrix.size:
        return rows @ matrix
    out = np.empty((n, matrix.shape[1]))
    n_whole = n - n % BLOCK_ROWS
    for slab in slabs(n_whole, 32 * BLOCK_ROWS):
        blocks = np.ascontiguousarray(rows[slab], dtype=np.float64).reshape(-1, BLOCK_ROWS, p)
        out[slab] = np.matmul(blocks, matrix).reshape(-1, matrix.shape[1])
    if n_whole < n:
        filled = np.zeros((1, BLOCK_ROWS, p))
        filled[0, : n - n_whole] = rows[n_whole:]
        out[n_whole:] = np.matmul(filled, matrix)[0, : n - n_whole]
    return out


def check_unmasked(values: Any, name: str) -> None:
    """Raise ValueError where a masked array, called `name`, has masked entries, which numpy reads as if it had none."""
    if isinstance(values, (list, tuple)) and any(np.ma.isMaskedArray(v) and v.ndim for v in values):
        values = np.ma.array(values)  # of rows, whose masks numpy.array drops as well
    if np.ma.isMaskedArray(values) and np.ma.is_masked(values):
        mask = np.atleast_1d(np.ma.getmaskarray(values))
        rows = np.flatnonzero(mask.reshape(len(mask), -1).any(1))
        raise ValueError(
            f"{name} has masked entries in {len(rows)} of {len(mask)} rows (first: row {rows[0]}); drop those rows, or "
            "fill them, for example with filled(numpy.nan) where NaN is allowed."
        )
