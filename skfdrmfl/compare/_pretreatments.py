"""Pre-treatments of spectra before PLS, those a chemometrician tries first: row by row, so that they learn nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Float = NDArray[np.float64]

# A block of columns is a spectrum from so many columns, and such a correlation of neighbours, on.
FEWEST_COLUMNS, LEAST_CORRELATION = 20, 0.9


def is_smooth(block: Float) -> bool:
    """Return whether columns (n, p) are a spectrum: the median |correlation| of neighbouring columns is above .9."""
    if block.shape[1] < FEWEST_COLUMNS:
        return False
    centred = block - block.mean(axis=0)
    lengths = np.sqrt((centred**2).sum(axis=0))
    products = np.abs((centred[:, 1:] * centred[:, :-1]).sum(axis=0))
    varies = (lengths[1:] > 0) & (lengths[:-1] > 0)
    return bool(varies.any()) and bool(
        np.median(products[varies] / (lengths[1:] * lengths[:-1])[varies]) > LEAST_CORRELATION
    )


def snv(rows: Float) -> Float:
    """Return rows (n, p) centred and scaled, each by itself: the standard normal variate; constant rows become 0."""
    centred = rows - rows.mean(axis=1, keepdims=True)
    spread = centred.std(axis=1, keepdims=True)
    return centred / np.where(spread > 0, spread, 1.0)


def savitzky_golay(rows: Float, derivative: int = 1) -> Float:
    """Return the first or second derivative of rows (n, p): a parabola over w columns, a cubic over 2 w + 1.

    w is the odd number next to p / 40, and at least 5.
    """
    from scipy.signal import savgol_filter  # which takes a third of a second to import

    window = max(5, 2 * (rows.shape[1] // 80) + 1)
    if derivative == 2:
        window = 2 * window + 1
    smoothed: Float = savgol_filter(rows, window, derivative + 1, deriv=derivative, axis=1)
    return smoothed


RAW = "raw"
PRETREATMENTS: Mapping[str, Callable[[Float], Float]] = {
    RAW: lambda rows: rows,
    "SNV": snv,
    "SG1": savitzky_golay,
    "SG2": lambda rows: savitzky_golay(rows, 2),
    "SNV + SG1": lambda rows: savitzky_golay(snv(rows)),
}


def pretreated(table: Float, blocks: Sequence[NDArray[np.intp]], name: str) -> Float:
    """Return a table whose columns in each block are pre-treated; other columns stay."""
    if name == RAW:
        return table
    treated = np.array(table, dtype=np.float64)
    for block in blocks:
        treated[:, block] = PRETREATMENTS[name](table[:, block])
    return treated
