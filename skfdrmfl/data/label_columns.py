"""Columns of X that hold labels of rows and no measurement: read in training, of no consequence everywhere else."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _get_feature_names

from skfdrmfl.common.spill import rows_of_table
from skfdrmfl.common.wording import listed
from skfdrmfl.data.categories import is_frame, is_polars, replaced
from skfdrmfl.data.client_ids import check_client_ids

# Of the smallest type: the type of the whole table is then that of the other columns.
BLANK = np.int8(0)


class Labelled(NamedTuple):
    """A table and the labels of its rows."""

    X: Any  # as it was passed, with zeros in the place of labels
    client_ids: Any  # (n,), or None
    groups: Any  # (n,), or None
    columns: tuple[int, ...]  # columns of X that held labels, ascending


def take_labels(X: Any, client_ids: Any, groups: Any, client_column: Any, groups_column: Any) -> Labelled:
    """Return X and the labels of its rows, passed or in columns of X; ValueError where both, or no labels are there."""
    for column, parameter, given, name in (
        (client_column, "client_column", client_ids, "client_ids"),
        (groups_column, "groups_column", groups, "groups"),
    ):
        if column is not None and given is not None:
            raise ValueError(
                f"{name} was passed, but {parameter} is {column!r}: the labels are to come from that column of X; "
                f"pass one of the two, with set_params({parameter}=None) or without {name}."
            )
    columns = LabelColumns.of(X, client_column, groups_column).columns
    if not columns:
        return Labelled(X, client_ids, groups, ())
    X = as_table(X)
    if client_column is not None:
        client_ids = _labels(X, client_column, "client_column")
    if groups_column is not None:
        groups = _labels(X, groups_column, "groups_column")
    return Labelled(_blanked(X, columns), client_ids, groups, columns)


@dataclass(frozen=True, eq=False)
class LabelColumns:
    """Where the tables of a fit had labels, which later tables may have or not."""

    columns: tuple[int, ...]  # positions in a table that has them all, ascending
    n_features: int  # columns of such a table
    names: NDArray | None  # (n_features,)

    @classmethod
    def of(cls, X: Any, client_column: Any, groups_column: Any) -> LabelColumns:
        """Return where X has the columns that are named, or numbered; ValueError: it has none, or both are one."""
        if client_column is None and groups_column is None:
            return cls((), 0, None)
        X = as_table(X)
        if not is_table(X):  # which the estimator refuses
            return cls((), 0, None)
        given = {"client_column": client_column, "groups_column": groups_column}
        columns = [_place(X, column, parameter) for parameter, column in given.items() if column is not None]
        if len(set(columns)) < len(columns):
            raise ValueError(
                f"client_column={client_column!r} and groups_column={groups_column!r} are one column; rows of a client "
                "are not all one group, so name another column or leave groups_column out."
            )
        return cls(tuple(sorted(columns)), X.shape[1], _get_feature_names(X))

    def blanked(self, X: Any) -> Any:
        """Return X with zeros for labels, put in where it has none; unchanged if it is no table of this fit."""
        X, present = self._found_in(X)
        if present is None:
            return X
        X = _blanked(X, present.values()) if present else X
        for column in self.columns:  # ascending: those to the right have not been put in yet
            if column not in present:
                name = -1 - column if self.names is None else str(self.names[column])
                X = _with_blank(X, column, name)
        return X

    def dropped(self, X: Any) -> Any:
        """Return X without the columns of labels that it has; unchanged if it is no table of this fit."""
        X, present = self._found_in(X)
        if not present:
            return X
        kept = [j for j in range(X.shape[1]) if j not in present.values()]
        return _safe_indexing(X, kept, axis=1)

    def _found_in(self, X: Any) -> tuple[Any, dict[int, int] | None]:
        """Return X as a table, and where it has each of the columns that it has, None where that cannot be told."""
        if not self.columns:
            return X, None
        X = as_table(X)
        if not is_table(X):
            return X, None
        if is_frame(X) and self.names is not None:
            here = list(X.columns)
            return X, {j: here.index(self.names[j]) for j in self.columns if self.names[j] in here}
        n_missing = self.n_features - X.shape[1]
        if n_missing == 0:
            return X, {j: j for j in self.columns}
        return X, {} if n_missing == len(self.columns) else None


def as_table(X: Any) -> Any:
    """Return a frame or a sparse matrix as it is, anything else as an array."""
    if is_frame(X) or issparse(X):
        return X
    # Of lists of lists numpy would make strings of numbers beside labels.
    return np.asarray(X, dtype=object if isinstance(X, (list, tuple)) else None)


def is_table(X: Any) -> bool:
    """Return whether X is a dense table."""
    return not issparse(X) and len(X.shape) == 2


def _place(X: Any, column: Any, parameter: str) -> int:
    """Return the position of a column, given by name or position."""
    n_columns = X.shape[1]
    if isinstance(column, str):
        names = list(X.columns) if is_frame(X) else None
        if names is None:
            raise ValueError(
                f"{parameter} is {column!r}, but X has no column names where it arrives (something before may have "
                "made it an array); give the column's position, such as 0."
            )
        if column not in names:
            raise ValueError(f"{parameter} is {column!r}, which X does not have; its columns are {listed(names)}.")
        return names.index(column)
    if not -n_columns <= column < n_columns:
        raise ValueError(f"{parameter} is {column}, but X has {n_columns} columns; use 0 to {n_columns - 1}.")
    return int(column) % n_columns


def _labels(X: Any, column: Any, parameter: str) -> NDArray:
    """Return the labels in the column that a parameter names."""
    j = _place(X, column, parameter)
    values = X[:, j] if not is_frame(X) else X.to_series(j) if is_polars(X) else X.iloc[:, j]
    return check_client_ids(values, len(X), name=f"{parameter}={column!r}")


def _blanked(X: Any, columns: Iterable[int]) -> Any:
    """Return a copy of X with zeros in some columns; of a frame, with all other columns shared."""
    if is_frame(X):
        return replaced(X, {j: np.full(len(X), BLANK) for j in columns})
    X = rows_of_table(X, np.arange(len(X)))
    X[:, list(columns)] = 0
    return X


def _with_blank(X: Any, j: int, name: Any) -> Any:
    """Return X with a column of zeros at position j."""
    if not is_frame(X):
        return np.insert(X, j, 0, axis=1)
    values = np.full(len(X), BLANK)
    if is_polars(X):
        return X.clone().insert_column(j, sys.modules["polars"].Series(name, values))
    frame = X.copy(deep=False)
    frame.insert(j, name, values)
    return frame
