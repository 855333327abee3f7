"""Rows that go together: no masked entries, and no names that say that they stand in another order."""

from __future__ import annotations

from typing import Any

import numpy as np

from skfdrmfl.common.arrays import check_unmasked


def check_same_rows(**given: Any) -> None:
    """Raise ValueError where masked entries are passed, or rows whose names contradict those of the first table.

    `given` are tables, targets and labels by what messages call them, such as X, y, client_ids; None and functions are
    passed over. Names are those of pandas, unique, and not 0, 1, 2, ... or 1, 2, 3, ..., which say nothing. The same
    names in another order are refused, as are names that are text of which some stand elsewhere: cross-validation takes
    rows by position, so that its parts of two orders share some. Other names are none of our business.
    """
    first = None
    for what, value in given.items():
        check_unmasked(value, what)
        index = _index_of(value)
        if index is None:
            continue
        if first is None:
            first = what, index
        elif len(index) == len(first[1]) and not index.equals(first[1]):
            _check_order(*first, what, index)


def _index_of(value: Any) -> Any:
    """Return the names of rows; None where they have none, or default ones."""
    index: Any = getattr(value, "index", None)
    if not hasattr(value, "iloc") or not index.is_unique or not len(index):
        return None
    if index.dtype.kind in "iu" and index.nlevels == 1:
        numbers = index.to_numpy()
        if any(np.array_equal(numbers, np.arange(len(numbers)) + start) for start in (0, 1)):
            return None
    return index


def _check_order(first: str, index: Any, what: str, other: Any) -> None:
    """Raise ValueError where two indexes of one length have names in common that stand elsewhere."""
    places = index.get_indexer(other)
    elsewhere = np.flatnonzero((places >= 0) & (places != np.arange(len(places))))
    if not len(elsewhere):
        return
    remedy = f"pass {what}.loc[{first}.index]"
    if (places < 0).any():
        if not all(isinstance(name, str) for name in other):
            return
        remedy = "align them by these names"
    j = int(elsewhere[0])
    name = other[j].item() if isinstance(other[j], np.generic) else other[j]
    raise ValueError(
        f"row {name!r} is row {places[j]} of {first} but row {j} of {what}; {remedy}, or {what}.to_numpy() if the "
        "names are wrong and the order is right."
    )
