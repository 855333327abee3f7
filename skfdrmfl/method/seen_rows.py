"""Rows of a client before anything is known of others: sketched, in shape, with what may be placeholders or plateaus.

S are sketched columns, means of neighbouring ones where a modality has more than `MOST_COLUMNS`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.common.arrays import Float, Indices
from skfdrmfl.views.base import FEWEST_SMOOTH
from skfdrmfl.views.snv import SNV

Mask = NDArray[np.bool_]

MOST_COLUMNS = 64
# What is written where nothing was measured.
CODES: Float = np.array([sign * (10.0**k - 1) for k in range(2, 8) for sign in (-1, 1)])
SMALLEST_CODE = 99.0


@lru_cache(maxsize=64)
def edges_of(n_columns: int) -> Indices:
    """Return the first column of each sketched one, and the number of columns."""
    return np.linspace(0, n_columns, min(n_columns, MOST_COLUMNS) + 1).astype(np.int64)


def sketch(x: Float) -> Float:
    """Return means of neighbouring columns (n, S), the columns themselves where they are few."""
    edges = edges_of(x.shape[1])
    if len(edges) > x.shape[1]:
        return x
    with np.errstate(over="ignore", invalid="ignore"):
        return np.add.reduceat(x, edges[:-1], axis=1) / np.diff(edges)


class Seen(NamedTuple):
    """Rows of a client as they are before anything is known of others; S of all modalities side by side."""

    s: Float  # (n, S), sketched columns, NaN where a row lacks their modality
    shapes: Float  # (n, S), the shape of series (SNV); zeros of other modalities
    y: Float  # (n, q)
    cells: NDArray[np.intp]  # (codes, 2), row and column of values that may be placeholders
    values: Float  # (codes,)
    plateau: Indices  # (n, M), equal values side by side at the maximum; 0 where a row lacks the modality

    @classmethod
    def of(cls, x: Float, y: Float, widths: Sequence[int]) -> Seen:
        """Return rows of numeric columns (n, p), NaN where missing, and outputs (n, q), by modalities' widths."""
        sketches, shapes, plateau, start = [], [], [], 0
        for width in widths:
            mine = x[:, start : start + width]
            start += width
            sketches.append(sketch(mine))
            shapes.append(np.zeros_like(sketches[-1]))
            plateau.append(np.zeros(len(mine), dtype=np.int64))
            if width >= FEWEST_SMOOTH:
                shapes[-1] = filled(SNV().apply(sketches[-1])[:, : -SNV().n_appended])
                plateau[-1] = _plateaus(mine)
        cells = np.argwhere(are_codes(x))
        s, of_shapes = (np.concatenate(parts, 1) for parts in (sketches, shapes))
        return cls(s, of_shapes, y, cells, x[tuple(cells.T)], np.stack(plateau, 1))


def joined(parts: Sequence[Seen]) -> Seen:
    """Return the rows of several slabs."""
    starts = np.cumsum([0, *(len(part.s) for part in parts[:-1])])
    numbered = (
        part._replace(cells=part.cells + np.array([start, 0])) for part, start in zip(parts, starts, strict=True)
    )
    return Seen(*map(np.concatenate, zip(*numbered, strict=True)))


def are_codes(values: Float) -> Mask:
    """Return which values are what is written where nothing was measured."""
    large = np.abs(values) >= SMALLEST_CODE
    return large & np.isin(values, CODES) if large.any() else large


def filled(values: Float) -> Float:
    """Return values with zeros for those that are missing."""
    return np.where(np.isnan(values), 0.0, values)


def _plateaus(x: Float) -> Indices:
    """Return the longest run of neighbouring columns that all hold a row's maximum (n,)."""
    top = x == x.max(1, keepdims=True)
    longest = np.ones(len(x), dtype=np.int64)
    run = top
    while True:  # run[:, j]: columns j to j + longest all hold it
        run = run[:, :-1] & top[:, len(top[0]) - run.shape[1] + 1 :]
        more = run.any(1)
        if not more.any():
            return np.where(top.any(1), longest, 0)
        longest += more
