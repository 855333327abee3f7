"""Which columns of the table are which modality, and which rows have it.

`present` is a boolean array (n, M) everywhere: does row i have modality m? None says that all rows have all of
them, and costs nothing.
"""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.common.arrays import Indices, Present, slabs
from skfdrmfl.common.wording import counted, listed


def resolve_modalities(
    modalities: Any, X: Any, feature_names: NDArray | None, n_features: int, labels: Sequence[int] = ()
) -> dict[str, Indices]:
    """Return the column numbers of each modality: every column but `labels` is in exactly one, or there is ValueError.

    `modalities` is None for one block, "prefix" to split column names at the first "__", or a mapping of names to
    selectors. A selector is what `ColumnTransformer` takes: an int, a str, a slice of either (of names: both ends
    included), a list of either, a boolean mask, or a callable of X, as the user passed it, that gives one of these.
    Columns of `labels` count in positions, slices and masks, and belong to no modality, whatever selects them.
    """
    if len(labels) == n_features:
        raise ValueError("X has no columns but those of labels; pass measurements beside them.")
    if modalities is None:
        return {"x": features_of(n_features, labels)}
    if isinstance(modalities, str) and modalities == "prefix":
        return _by_prefix(feature_names, labels)
    if not isinstance(modalities, Mapping):
        given = repr(modalities) if isinstance(modalities, str) else type(modalities).__name__
        raise ValueError(f'modalities must be None, "prefix" or a dict; got {given}.')
    if not modalities:
        raise ValueError("modalities is an empty dict; name at least one modality, or pass None.")
    resolved: dict[str, Indices] = {}
    owner = np.full(n_features, -1)
    owner[list(labels)] = len(modalities)
    for i, (name, selector) in enumerate(modalities.items()):
        if not isinstance(name, str) or not name:
            raise ValueError(f"modalities has the key {name!r}; its keys must be non-empty strings.")
        columns = _select(selector(X) if callable(selector) else selector, name, feature_names, n_features)
        columns = columns[~np.isin(columns, labels)]
        if len(columns) == 0:
            raise ValueError(f"modality {name!r} selects no columns (selector {selector!r}); remove it.")
        taken = columns[owner[columns] >= 0]
        if len(taken):
            other = list(modalities)[owner[taken[0]]]
            raise ValueError(
                f"modalities {other!r} and {name!r} both select {_names(taken, feature_names)}; "
                "give each column to one modality."
            )
        if len(np.unique(columns)) < len(columns):
            raise ValueError(f"modality {name!r} selects a column twice; list each column once.")
        owner[columns] = i
        resolved[name] = columns
    missing = np.flatnonzero(owner < 0)
    if len(missing):
        raise ValueError(
            f"{len(missing)} of {n_features} columns belong to no modality: "
            f"{_names(missing, feature_names)}; assign them or drop them from X."
        )
    return resolved


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


def features_of(n_features: int, labels: Sequence[int]) -> Indices:
    """Return the columns of a table that hold no labels."""
    return np.delete(np.arange(n_features), list(labels))


def _names(columns: Indices, feature_names: NDArray | None) -> str:
    if feature_names is None:
        return f"column {listed(columns.tolist())}"
    return f"columns named {listed(feature_names[columns].tolist())}"


def _by_prefix(feature_names: NDArray | None, labels: Sequence[int]) -> dict[str, Indices]:
    if feature_names is None:
        raise ValueError(
            'modalities="prefix" needs column names, but X has none; pass a DataFrame with names like '
            '"nir__1100", or give modalities as a dict of column numbers.'
        )
    groups: dict[str, list[int]] = {}
    for j, column in enumerate(feature_names.tolist()):
        if j in labels:
            continue
        prefix, separator, rest = column.partition("__")
        if not (prefix and separator and rest):
            raise ValueError(
                f'modalities="prefix" needs names like "nir__1100", but column {j} is named {column!r}; '
                "rename it or give modalities as a dict."
            )
        groups.setdefault(prefix, []).append(j)
    written: dict[str, str] = {}
    for name in groups:
        other = written.setdefault(name.casefold().strip(), name)
        if other != name:
            raise ValueError(
                f"columns of the modalities {other!r} ({len(groups[other])}) and {name!r} ({len(groups[name])}) differ "
                "only in how the prefix is written; rename them alike, or give modalities as a dict."
            )
    return {name: np.array(columns) for name, columns in groups.items()}


def _select(selector: Any, name: str, feature_names: NDArray | None, n_features: int) -> Indices:
    """Return the column numbers of one selector, in its order."""
    if isinstance(selector, slice):
        if isinstance(selector.start, str) or isinstance(selector.stop, str):
            start = None if selector.start is None else _place(selector.start, name, feature_names)
            stop = None if selector.stop is None else _place(selector.stop, name, feature_names) + 1
            selector = slice(start, stop, selector.step)
        return np.arange(n_features)[selector]
    one = isinstance(selector, str) or not isinstance(selector, Iterable)
    items: list[Any] = [selector] if one else list(selector)
    kinds = set(map(_kind, items))
    if kinds == {"bool"}:
        if len(items) != n_features:
            raise ValueError(
                f"the mask of modality {name!r} has {len(items)} entries but X has {n_features} columns; "
                "pass one entry per column."
            )
        return np.flatnonzero(items)
    if kinds <= {"str"}:
        return np.array([_place(item, name, feature_names) for item in items], dtype=np.int64)
    if kinds != {"int"}:
        raise ValueError(
            f"modality {name!r} has the selector {reprlib.repr(selector)}; use integers, names, a slice, "
            "a boolean mask or a callable."
        )
    columns = np.array(items, dtype=np.int64)
    outside = columns[(columns < -n_features) | (columns >= n_features)]
    if len(outside):
        raise ValueError(
            f"modality {name!r} selects column {outside[0]} but X has {n_features} columns; use 0 to {n_features - 1}."
        )
    return columns % n_features


def _kind(item: Any) -> str:
    """Return what an item of a selector is."""
    if isinstance(item, (bool, np.bool_)):
        return "bool"
    return "str" if isinstance(item, str) else "int" if isinstance(item, Integral) else "other"


def _place(column: str, name: str, feature_names: NDArray | None) -> int:
    if feature_names is None:
        raise ValueError(
            f"modality {name!r} selects the column {column!r} by name, but X has no column names; "
            "pass a DataFrame or select by number."
        )
    places = np.flatnonzero(feature_names == column)
    if len(places) == 0:
        raise ValueError(
            f"modality {name!r} selects the column {column!r}, which X does not have; its columns are "
            f"{listed(feature_names.tolist())}."
        )
    return int(places[0])
