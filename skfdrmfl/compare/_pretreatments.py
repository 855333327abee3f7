"""Pre-treatments of spectra before PLS, those a chemometrician tries first: row by row, so that they learn nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.common.arrays import Float
from skfdrmfl.views import VIEWS, base


def is_smooth(block: Float) -> bool:
    """Return whether columns (n, p) are a spectrum: the median |correlation| of neighbouring columns is above .9."""
    centred = block - block.mean(axis=0)
    squares, products = (centred**2).sum(axis=0), (centred[:, 1:] * centred[:, :-1]).sum(axis=0)
    return base.is_smooth(squares, products)


def snv(rows: Float) -> Float:
    """Return the standard normal variate of rows (n, p), without what `views.SNV` appends; constant rows become 0."""
    return VIEWS["snv"].apply(rows)[:, : rows.shape[1]]


RAW = "raw"
PRETREATMENTS: Mapping[str, Callable[[Float], Float]] = {
    RAW: lambda rows: rows,
    "SNV": snv,
    "SG1": VIEWS["sg1"].apply,
    "SG2": VIEWS["sg2"].apply,
    "SNV + SG1": lambda rows: VIEWS["sg1"].apply(snv(rows)),
}


def pretreated(table: Float, blocks: Sequence[NDArray[np.intp]], name: str) -> Float:
    """Return a table whose columns in each block are pre-treated; other columns stay."""
    if name == RAW:
        return table
    treated = np.array(table, dtype=np.float64)
    for block in blocks:
        treated[:, block] = PRETREATMENTS[name](table[:, block])
    return treated
