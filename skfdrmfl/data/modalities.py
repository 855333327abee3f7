"""Which columns of the table are which modality."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray


def resolve_modalities(
    modalities: Any, X: Any, feature_names: NDArray | None, n_features: int, labels: Sequence[int] = ()
) -> dict[str, NDArray[np.int64]]:
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
    resolved: dict[str, NDArray[np.int64]] = {}
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


def features_of(n_features: int, labels: Sequence[int]) -> NDArray[np.int64]:
    """Return the columns of a table that hold no labels."""
    return np.delete(np.arange(n_features), list(labels))


def _names(columns: NDArray[np.int64], feature_names: NDArray | None, most: int = 5) -> str:
    shown = [c if feature_names is None else str(feature_names[c]) for c in columns[:most].tolist()]
    what = "column" if feature_names is None else "columns named"
    return f"{what} {', '.join(map(repr, shown))}" + (", ..." if len(columns) > most else "")


def _by_prefix(feature_names: NDArray | None, labels: Sequence[int]) -> dict[str, NDArray[np.int64]]:
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


def _select(selector: Any, name: str, feature_names: NDArray | None, n_features: int) -> NDArray[np.int64]:
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
            f"{', '.join(map(repr, feature_names[:5].tolist()))}{', ...' if len(feature_names) > 5 else ''}."
        )
    return int(places[0])
