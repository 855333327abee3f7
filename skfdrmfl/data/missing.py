"""Rows that lack a modality: which they are, and which further modalities training drops.

`present` is a boolean array (n, M) everywhere: does row i have modality m? None says that all rows have all of
them, and costs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.common.arrays import Indices, Present


def find_present(
    table: NDArray[np.floating], modalities: Mapping[str, Indices], missing_codes: Mapping[int, int] | None = None
) -> Present | None:
    """Return which modalities each row has: one whose columns are all NaN, and labels all missing, it lacks.

    Missing labels by themselves are categories, so a modality of discrete columns alone is there in every row.

    Parameters
    ----------
    table : ndarray of shape (n, n_features)
    modalities : mapping of str to ndarray of int
        Columns of each modality, two or more.
    missing_codes : mapping of int to int, default=None
        Code of a missing label in each discrete column.

    Returns
    -------
    ndarray of bool of shape (n, M), or None where nothing is missing

    Raises
    ------
    ValueError
        A modality of which a row has only some columns; a row that lacks every modality.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(table.sum()):
            return None
    codes = missing_codes or {}
    present = np.empty((len(table), len(modalities)), dtype=bool)
    for m, (name, columns) in enumerate(modalities.items()):
        n_missing = np.isnan(table[:, columns]).sum(1)
        discrete = [j for j in columns.tolist() if j in codes]
        if discrete:
            labels = (table[:, discrete] == [codes[j] for j in discrete]).sum(1)
            n_missing += np.where(n_missing > 0, labels, 0)
        partly = np.flatnonzero((n_missing > 0) & (n_missing < len(columns)))
        if len(partly):
            raise ValueError(
                f"modality {name!r} is partly NaN in {len(partly)} rows (first: row {partly[0]}, in "
                f"{n_missing[partly[0]]} of {len(columns)} columns); impute those values (SimpleImputer does), or "
                "make all columns of the modality NaN in rows that lack it."
            )
        present[:, m] = n_missing == 0
    empty = np.flatnonzero(~present.any(1))
    if len(empty):
        raise ValueError(
            f"{len(empty)} rows lack every modality (first: row {empty[0]}, where all of X is NaN); drop those rows."
        )
    return None if present.all() else present


def check_somebody_has(names: Sequence[str], n_rows: int, everywhere: Indices, kept: Indices) -> None:
    """Raise ValueError where no row, or none of those trained on, has one of the modalities.

    Parameters
    ----------
    names : sequence of str
        Modalities.
    n_rows : int
        Rows of all clients.
    everywhere, kept : ndarray of int of shape (M,)
        How many of them have each modality, and how many of those trained on.
    """
    nowhere = np.flatnonzero(everywhere == 0)
    if len(nowhere):
        raise ValueError(
            f"no row has modality {names[nowhere[0]]!r}: its columns are all NaN; drop them from X and from modalities."
        )
    nowhere = np.flatnonzero(kept == 0)
    if len(nowhere):
        raise ValueError(
            f"{everywhere[nowhere[0]]} of {n_rows} rows have modality {names[nowhere[0]]!r}, and early_stopping holds "
            "out all of these; set early_stopping=False, or drop the modality."
        )
