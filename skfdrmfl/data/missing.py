"""Rows that lack a modality: which they are, and which further modalities training drops.

`present` is a boolean array (n, M) everywhere: does row i have modality m? None says that all rows have all of
them, and costs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.common.arrays import Indices, Present, slabs
from skfdrmfl.common.wording import counted


def find_present(
    table: NDArray[np.floating], modalities: Mapping[str, Indices], missing_codes: Mapping[int, int] | None = None
) -> Present | None:
    """Return which modalities each row has: one whose columns are all NaN, and labels all missing, it lacks.

    Missing labels by themselves are categories, so a modality of discrete columns alone is there in every row;
    `missing_codes` has their code in each discrete column. ValueError: a row has some columns of a modality, or lacks
    every modality.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(table.sum()):
            return None
    codes = missing_codes or {}
    present = np.empty((len(table), len(modalities)), dtype=bool)
    for m, (name, columns) in enumerate(modalities.items()):
        n_missing = np.concatenate([np.isnan(table[slab][:, columns]).sum(1) for slab in slabs(len(table))])
        discrete = [j for j in columns.tolist() if j in codes]
        if discrete:
            labels = (table[:, discrete] == [codes[j] for j in discrete]).sum(1)
            n_missing += np.where(n_missing > 0, labels, 0)
        partly = np.flatnonzero((n_missing > 0) & (n_missing < len(columns)))
        if len(partly):
            raise ValueError(
                f"modality {name!r} is partly NaN in {counted(len(partly), 'row')} (first: row {partly[0]}, in "
                f"{n_missing[partly[0]]} of {len(columns)} columns); impute those values (SimpleImputer does), or "
                "make all columns of the modality NaN in rows that lack it."
            )
        present[:, m] = n_missing == 0
    empty = np.flatnonzero(~present.any(1))
    if len(empty):
        raise ValueError(
            f"every modality is missing in {counted(len(empty), 'row')} (first: row {empty[0]}, where all of X is "
            "NaN); drop those rows."
        )
    return None if present.all() else present


def check_somebody_has(names: Sequence[str], n_rows: int, everywhere: Indices, kept: Indices) -> None:
    """Raise ValueError where none of `n_rows` rows, or of those `kept` to train on, has a modality; counts are (M,)."""
    for name, n in zip(names, everywhere.tolist(), strict=True):
        if n == 0:
            raise ValueError(
                f"no row has modality {name!r}: its columns are all NaN; drop them from X and from modalities."
            )
    for name, n, n_kept in zip(names, everywhere.tolist(), kept.tolist(), strict=True):
        if n_kept == 0:
            raise ValueError(
                f"{n} of {n_rows} rows have modality {name!r}, and early_stopping holds "
                "out all of these; set early_stopping=False, or drop the modality."
            )
