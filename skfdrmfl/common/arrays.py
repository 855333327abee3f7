"""Array types that every floor speaks of, a product whose rows do not depend on each other, and masks."""

from __future__ import annotations

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

# A multiple of the numbers of rows that kernels of BLAS take at a time.
BLOCK_ROWS = 48


def row_products(rows: Float, matrix: Float) -> Float:
    """Return rows (n, p) times a matrix (p, q); the bits of a row do not depend on the rows beside it.

    A BLAS picks its kernels by the number of rows. So blocks of `BLOCK_ROWS` are multiplied one by one, the last one
    filled up with zeros: a client's rows give the same bits alone, at a site, as among those of all clients.
    """
    n, p = rows.shape
    if not rows.size:
        return rows @ matrix
    blocks = np.zeros((-(-n // BLOCK_ROWS), BLOCK_ROWS, p))
    blocks.reshape(-1, p)[:n] = rows
    return np.matmul(blocks, matrix).reshape(len(blocks) * BLOCK_ROWS, matrix.shape[1])[:n]


def check_unmasked(values: Any, name: str) -> None:
    """Raise ValueError where a masked array has masked entries, which numpy and scikit-learn read as if they had none.

    `name` is what the message calls it.
    """
    if isinstance(values, (list, tuple)) and any(np.ma.isMaskedArray(v) and v.ndim for v in values):
        values = np.ma.array(values)  # of rows, whose masks numpy.array drops as well
    if np.ma.isMaskedArray(values) and np.ma.is_masked(values):
        mask = np.atleast_1d(np.ma.getmaskarray(values))
        rows = np.flatnonzero(mask.reshape(len(mask), -1).any(1))
        raise ValueError(
            f"{name} has masked entries in {len(rows)} of {len(mask)} rows (first: row {rows[0]}); drop those rows, or "
            "fill them, for example with filled(numpy.nan) where NaN is allowed."
        )
