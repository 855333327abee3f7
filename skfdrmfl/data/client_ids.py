"""Labels of rows, those of clients and of groups: what they may be, and the clients that they name."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence, Set
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.common.arrays import check_unmasked

# Whole numbers below this have one float64 each.
MOST_EXACT = 2.0**53


def encode_clients(ids: NDArray, known: NDArray | None = None) -> tuple[NDArray, NDArray[np.int64]]:
    """Return the clients (K,), those `known` first, new ones sorted, and the place there of every row's (n,)."""
    labels, codes = np.unique(ids, return_inverse=True)
    if known is None:
        return labels, codes
    place = {label: i for i, label in enumerate(known.tolist())}
    fresh = [label for label in labels.tolist() if label not in place]
    place |= {label: len(known) + i for i, label in enumerate(fresh)}
    clients = np.concatenate([known, np.array(fresh, dtype=labels.dtype)]) if fresh else known
    return clients, np.array([place[label] for label in labels.tolist()], dtype=np.int64)[codes]


def check_client_ids(client_ids: Any, n_rows: int, rows_of: str = "X", name: str = "client_ids") -> NDArray:
    """Return one label a row as a 1-D array of integers, bools, strings or dates; None is one client, labelled 0.

    Floats are taken for the whole numbers that they must be. `rows_of` and `name` are what messages call the table and
    the labels, which are an argument of their own or, by any other name, a column of X. Raises ValueError for a wrong
    length, more than one dimension, missing labels, fractions, or labels that cannot be compared.
    """
    if client_ids is None:
        return np.zeros(n_rows, dtype=np.int64)
    check_unmasked(client_ids, name)
    of_their_own = name in ("client_ids", "groups")
    if np.isscalar(client_ids):
        raise ValueError(f"{name} is the single value {reprlib.repr(client_ids)}; pass one id per row of X.")
    if not hasattr(client_ids, "__len__") or isinstance(client_ids, (Mapping, Set)):
        raise ValueError(f"{name} is a {type(client_ids).__name__}; pass a 1-D array or list with one id per row of X.")
    # Through a list, numpy would silently turn a mixture such as [1, "a"] into strings.
    ids = np.asarray(client_ids, dtype=None if hasattr(client_ids, "dtype") else object)
    if ids.dtype.kind == "T":  # numpy's strings of variable width
        ids = ids.astype(object)
    if ids.dtype.kind == "O" and any(
        isinstance(label, (Sequence, np.ndarray)) and not isinstance(label, (str, bytes)) for label in ids.ravel()
    ):
        raise ValueError(f"{name} is nested; pass a 1-D array or list with one id per row of X.")
    if ids.ndim != 1:
        raise ValueError(f"{name} has shape {ids.shape}; pass a 1-D array with one id per row of X.")
    if len(ids) != n_rows:
        raise ValueError(f"{name} has {len(ids)} entries but {rows_of} has {n_rows} rows; pass one id per row.")
    if ids.dtype.kind == "O":
        missing = np.array([_is_missing(label) for label in ids], dtype=bool)
    else:
        missing = np.isnat(ids) if ids.dtype.kind == "M" else ids != ids
    if missing.any():
        raise ValueError(
            f"{name} is missing for {missing.sum()} of {n_rows} rows (first: row {missing.argmax()}); "
            f"name {'a client' if name.startswith('client') else 'one'} for every row, or drop those rows from "
            f"{f'X, y and {name}' if of_their_own else 'X and y'}."
        )
    if ids.dtype.kind == "O":
        kinds = sorted({_kind(label) for label in ids})
        if len(kinds) > 1:
            raise ValueError(
                f"{name} mixes labels of type {' and '.join(kinds)}; convert them to one type, for example "
                f"{f'with numpy.asarray({name}, dtype=str)' if of_their_own else 'strings'}."
            )
        labels = [plain_string(label) for label in ids]
        ids = np.array(labels)
        if ids.dtype.kind == "f" and len(np.unique(ids)) < len(set(labels)):
            raise ValueError(
                f"{name} holds numbers so large that {ids.dtype} cannot tell them apart; convert them to strings."
            )
    if ids.dtype.kind == "M":  # of one unit, or the same day would be two clients in two fits
        given, ids = ids, ids.astype("M8[us]")
        if (ids != given).any():
            raise ValueError(f"{name} holds times finer than a microsecond; convert them to strings.")
    if ids.dtype.kind not in "iufbUSM":
        raise ValueError(f"{name} has labels of dtype {ids.dtype}; use integers or strings, one per row of X.")
    return _whole(ids, name, of_their_own) if ids.dtype.kind == "f" else ids


def _whole(ids: NDArray, name: str, of_their_own: bool) -> NDArray[np.int64]:
    """Return the whole numbers that floats are; ValueError where they are none, as measurements are not."""
    no_labels = ids[~(np.abs(ids) < MOST_EXACT) | (ids != np.floor(ids))]
    if len(no_labels):
        remedy = (
            f"Pass another array, or numpy.asarray({name}, dtype=str) if each value is the name of one."
            if of_their_own
            else "If a step before has scaled the column, let it pass through; if one has dropped columns, positions "
            "have moved: pass the labels to fit instead."
        )
        raise ValueError(
            f"{name} holds {no_labels[0]}, which is no label: labels are whole numbers or strings. {remedy}"
        )
    return ids.astype(np.int64)


def rows_of_clients(client_ids: Any, n_rows: int, rows_of: str = "X") -> dict[Any, NDArray[np.bool_]]:
    """Return the mask (n,) of each client's rows by its plain label, sorted; errors are those of `check_client_ids`."""
    clients = check_client_ids(client_ids, n_rows, rows_of)
    # Compared with numpy's own scalars: a date that has become a plain value equals nothing in the array.
    return {label.item() if isinstance(label, np.generic) else label: clients == label for label in np.unique(clients)}


def check_same_labels(ids: NDArray, known: NDArray) -> None:
    """Check that labels of later data are of the kind of the earlier ones, or 1 and "1" would be two clients."""

    def kind(labels: NDArray) -> str:
        return {"b": "bools", "U": "strings", "S": "bytes", "M": "dates"}.get(labels.dtype.kind, "numbers")

    if kind(ids) != kind(known):
        raise ValueError(
            f"client_ids are {kind(ids)} now but were {kind(known)} in earlier fits; "
            "label the clients as before, or fit a new estimator."
        )


def plain_string(label: Any) -> Any:
    """Return a string of str's own type, the value of a member of a string Enum; anything else as it is."""
    return str.__str__(label) if isinstance(label, str) else label


def _is_missing(label: Any) -> bool:
    if label is None:
        return True
    try:
        return bool(label != label)
    except TypeError:  # pandas.NA: comparisons have no truth value
        return True


def _kind(label: Any) -> str:
    if isinstance(label, (bool, np.bool_)):
        return "bool"
    return "number" if isinstance(label, (int, float, np.number)) else type(label).__name__
