"""Tables too large to keep beside the one given: they lie in a temporary file, which goes when they do."""

from __future__ import annotations

import os
import tempfile
from math import prod

import numpy as np
from numpy.typing import DTypeLike, NDArray

from skfdrmfl.common.arrays import Indices, slabs

# Tables of more bytes lie in a file.
SPILL_BYTES = 2**26


def new_table(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray:
    """Return an array of zeros, in a file in the folder of temporary ones where it is large.

    The file has no name: it is gone with the last array that reads it, and with the process, however that ends.
    OSError: the folder has no room for it.
    """
    dtype = np.dtype(dtype)
    n_bytes = prod(shape) * dtype.itemsize
    if n_bytes <= SPILL_BYTES or dtype.hasobject:
        return np.zeros(shape, dtype)
    with tempfile.TemporaryFile(prefix="skfdrmfl_") as file:
        try:  # a file with holes would end the process once the disk is full
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, n_bytes)
        except OSError as error:
            raise OSError(
                error.errno,
                f"{tempfile.gettempdir()} has no room for {n_bytes / 1e6:,.0f} MB of rows as networks read them; make "
                "room, or let TMPDIR name a folder with more.",
            ) from error
        return np.asarray(np.memmap(file, dtype=dtype, mode="w+", shape=shape))


def rows_of_table(table: NDArray, rows: Indices) -> NDArray:
    """Return some rows of a table, a new one."""
    out = new_table((len(rows), table.shape[1]), table.dtype)
    for slab in slabs(len(rows)):
        out[slab] = table[rows[slab]]
    return out
