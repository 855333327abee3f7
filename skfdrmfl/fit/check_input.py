"""From what users pass to checked arrays: table, targets, whose rows they are and who is there, categories."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.utils.validation import validate_data

from skfdrmfl.common.arrays import Float, Indices, Present, slabs
from skfdrmfl.common.wording import counted
from skfdrmfl.data.categories import Categories, by_kind, encode, missing_codes
from skfdrmfl.data.client_ids import check_client_ids, check_same_labels, encode_clients
from skfdrmfl.data.column_names import number_names
from skfdrmfl.data.label_columns import Labelled
from skfdrmfl.data.modalities import features_of, find_present, resolve_modalities
from skfdrmfl.data.partition import Partition


@dataclass(frozen=True, eq=False, kw_only=True)
class DataDescription:
    """What a server knows of X, y and their clients, wherever the rows are."""

    n_features: int
    feature_names: NDArray | None  # (n_features,), text
    number_names: Float | None  # (n_features,), names that are numbers and no text
    n_outputs: int
    y_ndim: int
    clients: NDArray  # (K,), labels of all clients, those met before first
    positions: Indices  # of those who are there, the place in `clients`
    sizes: Indices  # and the number of rows
    categories: Categories  # labels of each discrete column
    modalities: dict[str, Indices]  # columns of each
    label_columns: tuple[int, ...]  # columns of X that hold labels, zeros in the table
    central: bool  # whether nobody said whose rows they are, so that all are one client's
    policies: dict[str, str] = field(default_factory=dict)  # of clients elsewhere by label, the hash of the policy


@dataclass(frozen=True, eq=False, kw_only=True)
class CheckedData(DataDescription):
    """Checked input."""

    table: NDArray  # (n, n_features), codes in the place of categories
    targets: Float  # (n, q)
    present: Present | None  # (n, M), which modalities each row has; None: all
    partition: Partition
    groups: NDArray | None  # (n,), labels of rows that belong together


def whose_rows(client_ids: Any, n_rows: int, known: NDArray | None = None) -> tuple[NDArray, Indices]:
    """Return the labels of all clients (K,), `known` ones of earlier fits first, and the place there of each row's."""
    ids = check_client_ids(client_ids, n_rows)
    if known is not None:
        check_same_labels(ids, known)
    return encode_clients(ids, known)


def availability_of(
    availability: Any, clients: NDArray, positions: Indices, first_round: int, n_rounds: int
) -> NDArray[np.bool_] | None:
    """Return which of all clients are there in each round to come (n_rounds, K); None: all.

    `availability` is the parameter, `clients` (K,) are all labels known, `positions` those that have rows now: others
    are not asked about, and not there. `first_round` counts from 1. ValueError: a table of the wrong shape or type.
    """
    if availability is None:
        return None
    last_round = first_round + n_rounds - 1
    if callable(availability):
        labels, rounds = clients[positions].tolist(), range(first_round, last_round + 1)
        asked = np.array([[bool(availability(t, label)) for label in labels] for t in rounds])
    else:
        table = np.asarray(availability)
        if table.ndim != 2 or table.shape[1] != len(clients) or len(table) < last_round:
            raise ValueError(
                f"availability has the shape {table.shape}, but there are {len(clients)} clients and rounds up to "
                f"{last_round}; pass a table of a row a round and a column a client, in the order of clients_."
            )
        if table.dtype != bool and not np.isin(table, (0, 1)).all():
            raise ValueError("availability holds values other than True and False; pass a table of booleans.")
        asked = table[first_round - 1 : last_round, positions]
    there = np.zeros((n_rounds, len(clients)), dtype=bool)
    there[:, positions] = asked
    return there


def check_somebody_begins(there: NDArray[np.bool_]) -> None:
    """Raise ValueError where nobody is there in round 1, from whom preprocessing could come."""
    if not there.any():
        raise ValueError(
            "availability lets no client be there in round 1, and preprocessing comes from those who are; "
            "let at least one be there, or let the rounds begin later."
        )


def check_some_round(min_clients: int, n_clients: int, there: NDArray[np.bool_] | None) -> None:
    """Raise ValueError where too few are `there` (n_rounds, K), None: all, in each round: nothing would be trained."""
    most = n_clients if there is None else int(there.sum(axis=1).max())
    if most < min_clients:
        fact = (
            f"but at most {counted(most, 'client')} of {n_clients} can be there in a round, and each would be skipped"
        )
        raise ValueError(f"min_clients is {min_clients}, {fact}; set it to {most} or less.")


def read(
    draft: Any,
    given: Labelled,
    y: Any,
    categories: Categories,
    known: NDArray | None = None,
) -> CheckedData:
    """Check everything that was passed.

    `draft` is a copy of the estimator, on which scikit-learn may set what it likes. `known` (K,) are the clients of
    earlier fits, whose columns these must be; None starts afresh.
    """
    X, client_ids, groups, label_columns = given
    fresh = known is None
    plain = fresh and are_finite(X) and X.ndim == 2 and are_finite(y) and y.ndim < 3 and len(X) == len(y)
    if plain:
        table, target, names, n_features = X, y, None, X.shape[1]
    else:
        _check_numeric(y)
        table, target = validate_data(
            draft,
            with_codes(draft, X, categories, reset=fresh),
            y,
            reset=fresh,
            dtype=[np.float64, np.float32],
            ensure_all_finite=False,  # see `present_in`
            multi_output=True,
            y_numeric=True,
        )
        names, n_features = getattr(draft, "feature_names_in_", None), draft.n_features_in_
    clients, codes = whose_rows(client_ids, len(table), known)
    together = None if groups is None else check_client_ids(groups, len(table), name="groups")
    targets = numbers_of(target).reshape(len(table), -1)
    modalities = (
        by_kind(features_of(n_features, label_columns), categories)
        if draft.modalities is None and categories
        else resolve_modalities(draft.modalities, X, names, n_features, label_columns)
    )
    partition = Partition.of_codes(codes)
    return CheckedData(
        n_features=n_features,
        feature_names=names,
        number_names=number_names(X),
        n_outputs=targets.shape[1],
        y_ndim=np.ndim(target),
        clients=clients,
        positions=partition.positions,
        sizes=partition.sizes,
        categories=categories,
        modalities=modalities,
        label_columns=label_columns,
        central=client_ids is None,
        table=table,
        targets=targets,
        present=None if plain else present_in(table, modalities, categories),
        partition=partition,
        groups=together,
    )


def with_codes(draft: Any, X: Any, categories: Categories, *, reset: bool, warn: bool = False) -> Any:
    """Return X with codes in the place of labels, names and number of columns checked before; see `encode`."""
    if categories:
        validate_data(draft, X, reset=reset, skip_check_array=True)
    return encode(X, categories, warn=warn)


def are_plain_numbers(X: Any, fitted: Any) -> bool:
    """Return whether X is an array of finite floats, and the model one without names, labels and categories."""
    named = fitted.column_names is not None or fitted.label_columns or fitted.network_spec.categories
    return not named and are_finite(X) and X.ndim == 2 and X.shape[1] == fitted.n_features


def are_finite(values: Any) -> bool:
    """Return whether something is an array of finite floats, as scikit-learn's checks return it, in half their time."""
    if type(values) is not np.ndarray or values.dtype.type not in (np.float64, np.float32):
        return False
    if not values.dtype.isnative or not values.size or not values.ndim:
        return False
    return _adds_up(values)


def _adds_up(values: NDArray) -> bool:
    """Return whether the sum of numbers is finite, as each of them is then; nothing of their size is made."""
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(values.sum()))


def present_in(table: NDArray, modalities: Mapping[str, Indices], categories: Categories) -> Present | None:
    """Return which modalities each row of a table has (n, M), None: all; with one modality NaN is an error."""
    several = len(modalities) > 1
    check_finite(table, "X", or_nan=several)
    return find_present(table, modalities, missing_codes(categories)) if several else None


def check_finite(values: NDArray, name: str, *, or_nan: bool = False) -> None:
    """Raise ValueError that says where numbers (n,) or (n, p) are NaN, unless asked not to, or infinite."""
    if _adds_up(values):
        return

    def odd(part: NDArray) -> NDArray[np.bool_]:
        return np.isinf(part) if or_nan else ~np.isfinite(part)

    table = values.reshape(len(values), -1)
    if len(rows := np.flatnonzero(np.concatenate([odd(table[slab]).any(1) for slab in slabs(len(table))]))):
        first = table[rows[0]]
        column = int(odd(first).argmax())
        what = "NaN" if np.isnan(first[column]) else "infinity"
        where = f"row {rows[0]}" + (f", column {column}" if values.ndim > 1 else "")
        remedy = ", or impute their values (SimpleImputer does)" if name == "X" else ""
        count = counted(len(rows), "row")
        raise ValueError(f"Input {name} contains {what} in {count} (first: {where}); drop those rows{remedy}.")


def _check_numeric(y: Any) -> None:
    """Raise ValueError where class labels or other objects stand in the place of numbers, or numbers are missing."""
    if y is None or issparse(y):  # which scikit-learn refuses
        return
    values = np.asarray(y)
    if values.dtype.kind in "mM":
        raise ValueError(f"y holds values of type {values.dtype}; make them numbers, such as days since a date.")
    if values.dtype.kind in "OUSTf" and values.ndim:
        check_finite(values if values.dtype.kind == "f" else numbers_of(values.astype(object)), "y")


def numbers_of(target: Any) -> Float:
    """Return the targets as float64, a copy: pandas gives read-only arrays."""
    try:
        return np.array(target, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"y cannot be read as numbers ({error}); pass a dense numeric array, classes as columns of 0 and 1."
        ) from error
