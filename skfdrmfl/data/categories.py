"""Discrete columns of a DataFrame: which they are, the categories the clients agree on, and their codes.

A column is discrete if it holds categories, strings or bools. Each client sends the set of its labels; the server
takes their union and sorts it, so that codes depend neither on the order of the clients nor on who holds which
row. A label's code is its place in that list.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, time, timedelta
from numbers import Number
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import block_diag

from skfdrmfl.common.arrays import Float, Indices
from skfdrmfl.common.warn import warn_caller
from skfdrmfl.common.wording import listed
from skfdrmfl.data.client_ids import plain_string
from skfdrmfl.data.transforms import BlockTransform, TableTransform
from skfdrmfl.views.within import Within

# Codes of a label that no client had when the categories were agreed, and of a missing one if none was missing then:
# to encoders both are unknown.
UNSEEN, UNSEEN_MISSING = -1, -2
# What Python, and pandas as subclasses of it, have for a moment or a span of time.
TIMES = (date, time, timedelta)
# Text that is a measurement rather than a name; where it is a tenth of a column's labels, or where labels are so many,
# that hardly two rows share one, the column is none of categories.
FRACTION = re.compile(r"\s*[-+]?\d*[.,]\d+(?:[eE][-+]?\d+)?\s*", re.ASCII)
SHARE_OF_FRACTIONS, SHARE_OF_LABELS, FEWEST_ROWS = 0.1, 0.5, 20
# What the warning about them matches.
UNKNOWN_LABELS = ".* labels of .* are unknown to the model: "
Categories = dict[int, NDArray]


class Column(NamedTuple):
    """The labels of a discrete column, each once, and the place of each row's among them, -1 where it is missing."""

    labels: list[Any]
    places: Indices


def is_frame(X: Any) -> bool:
    """Return whether X is a DataFrame of pandas or polars, neither of which is imported for the question."""
    if is_polars(X):
        return type(X).__name__ == "DataFrame"
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(X, pandas.DataFrame)


def discrete_columns(X: Any) -> list[int]:
    """Return the numbers of the columns of X that hold categories, strings or bools; none if X is no DataFrame.

    Columns of Python objects are discrete if there is a string or a bool among them. Dates and times, which are neither
    categories nor numbers, are a ValueError.
    """
    check_values(X)
    return [j for j, dtype in enumerate(X.dtypes) if _is_discrete(X, j, dtype)] if is_frame(X) else []


def check_values(X: Any) -> None:
    """Raise ValueError where a column of a table holds dates or times, or what is neither a number nor a label."""
    if not is_frame(X):
        if getattr(getattr(X, "dtype", None), "kind", "") in ("m", "M"):
            raise ValueError(f"X holds values of type {X.dtype}; make them numbers, such as days since a date.")
        return
    if not is_polars(X) and not {dtype.kind for dtype in X.dtypes} & set("mMO"):  # as most
        return
    for j, dtype in enumerate(X.dtypes):
        held = _foreign_in(X, j, dtype)
        if held:
            raise ValueError(
                f"column {column_name(X, j)} holds values of type {held}; make them numbers, such as days since a "
                "date, or convert what is no date to strings, or leave the column out."
            )


def read_labels(X: Any, columns: Sequence[int]) -> dict[int, Column]:
    """Return the labels of each of `columns`, as the one who holds the rows reads them; refuse those without order."""
    found = {j: _read(X, j) for j in columns}
    for j, column in found.items():
        if str(X.dtypes[j] if is_polars(X) else X.dtypes.iloc[j]).lower() != "category":  # which says what it is
            _warn_of_no_categories(column, column_name(X, j))
    return found


def _warn_of_no_categories(column: Column, name: str) -> None:
    """Warn of text that is measurements, or another in nearly each row, such as names of samples."""
    texts, n = [label for label in column.labels if isinstance(label, str)], len(column.places)
    fractions = [text for text in texts if FRACTION.fullmatch(text)]
    if len(fractions) > SHARE_OF_FRACTIONS * len(texts) or (n >= FEWEST_ROWS and len(texts) > SHARE_OF_LABELS * n):
        warn_caller(
            f"column {name} holds text such as {(fractions or texts)[0]!r}, with {len(texts)} labels in {n} rows, each "
            "a category of its own; make it numbers, or leave it out (of the type category it is taken as it is)."
        )


def encode(X: Any, categories: Categories, *, warn: bool = False) -> Any:
    """Return X with codes in the place of labels; `UNSEEN`, `UNSEEN_MISSING` for those not in `categories`.

    With `warn` one warning counts and names the labels not in `categories`. ValueError: X is no DataFrame, or labels
    are of another kind than those agreed; columns hold dates or times.
    """
    check_values(X)
    _check_numbers(X, categories)
    if not categories:
        return X
    if not is_frame(X):
        raise ValueError(
            f"X is a {type(X).__name__} without labels, but the model was fitted on a DataFrame with "
            f"{len(categories)} discrete columns; pass a DataFrame with the same columns."
        )
    codes, unknown = {}, []
    for j, known in categories.items():
        column, name = _read(X, j), column_name(X, j)
        codes[j] = _codes(column, known.tolist(), name)
        if warn and (codes[j] == UNSEEN).any():
            unknown.append(_unknown(column, known.tolist(), name))
    if unknown:
        warn_caller(f"{'; '.join(unknown)}. They count as no label; write labels as they were in training.")
    return replaced(X, codes)


def _check_numbers(X: Any, categories: Categories) -> None:
    """Raise ValueError where a column of a frame that is to hold numbers has text or objects that are none."""
    if not is_frame(X):
        return
    objects = discrete_columns(X) if is_polars(X) else [j for j, dtype in enumerate(X.dtypes) if dtype.kind in "OU"]
    for j in (j for j in objects if j not in categories):
        try:
            np.asarray(X.to_series(j) if is_polars(X) else X.iloc[:, j], dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"column {column_name(X, j)} is to hold numbers, but does not ({error}); correct these cells, or leave "
                "the rows out."
            ) from error


def missing_codes(categories: Categories) -> dict[int, int]:
    """Return the code of a missing label in each discrete column."""
    return {
        j: len(known) - 1 if len(known) and known[-1] is None else UNSEEN_MISSING for j, known in categories.items()
    }


def with_codes(transform: TableTransform, modalities: Mapping[str, Indices], categories: Categories) -> TableTransform:
    """Return `transform` of the numeric columns, extended by the codes, which come first in their block, unchanged."""
    if not categories:
        return transform
    columns, blocks = {}, {}
    nothing = BlockTransform(np.zeros(0), np.ones(0), None, 0.0)
    for name, mine in modalities.items():
        discrete, numeric = split(mine, categories)
        columns[name] = np.concatenate([discrete, numeric])
        blocks[name] = _behind_codes(len(discrete), transform.blocks.get(name, nothing))
    return TableTransform(columns, blocks)


def split(columns: Indices, categories: Categories) -> tuple[Indices, Indices]:
    """Return the discrete and the numeric ones of a modality's columns, each in their order."""
    discrete = np.isin(columns, list(categories))
    return columns[discrete], columns[~discrete]


def numeric_columns(modalities: Mapping[str, Indices], categories: Categories) -> dict[str, Indices]:
    """Return the columns of each modality that hold numbers, none where all are discrete."""
    return {name: split(columns, categories)[1] for name, columns in modalities.items()}


def by_kind(features: Indices, categories: Categories) -> dict[str, Indices]:
    """Return the modalities "numeric" and "categorical" of some columns, or the one there is."""
    discrete, numeric = split(features, categories)
    return {name: c for name, c in (("numeric", numeric), ("categorical", discrete)) if len(c)}


# ---------------------------------------------------------------------------------------------- sets and labels
def check_kind(labels: Sequence[Any], name: str) -> str | None:
    """Return what the labels are: "strings", "numbers" or "bools"; None without labels; ValueError of several kinds."""
    kinds = sorted({_kind_of(label) for label in labels})
    if len(kinds) > 1:
        raise ValueError(
            f"column {name} mixes {' and '.join(kinds)}, which have no common order; convert it to one type, for "
            "example strings."
        )
    return kinds[0] if kinds else None


def _kind_of(label: Any) -> str:
    if isinstance(label, (bool, np.bool_)):
        return "bools"
    if isinstance(label, str):
        return "strings"
    return "numbers" if isinstance(label, Number) else f"values of type {type(label).__name__}"


def _codes(column: Column, agreed: list[Any], name: str) -> Indices:
    """Return the code of every row of a column."""
    now, before = check_kind(column.labels, name), check_kind([label for label in agreed if label is not None], name)
    if now is not None and before is not None and now != before:
        raise ValueError(
            f"column {name} holds {now} but its categories were {before} when the model was fitted; convert it."
        )
    code_of = {label: code for code, label in enumerate(agreed)}
    codes = [code_of.get(label, UNSEEN) for label in column.labels]
    codes.append(code_of.get(None, UNSEEN_MISSING))  # place -1 is that of the last
    # The smallest type that holds them: codes then leave the type of the whole table to the numeric columns.
    return np.array(codes, dtype=np.min_scalar_type(-2 - len(agreed)))[column.places]


def _unknown(column: Column, agreed: list[Any], name: str) -> str:
    """Return how many labels of a column are unknown, and which."""
    counts = np.bincount(column.places[column.places >= 0], minlength=len(column.labels)).tolist()
    known = set(agreed)
    strange = {label: n for label, n in zip(column.labels, counts, strict=True) if n and label not in known}
    return (
        f"{sum(strange.values())} of {sum(counts)} labels of {name} are unknown to the model: "
        f"{listed(list(strange))}; known: {listed([label for label in agreed if label is not None])}"
    )


# ------------------------------------------------------------------------------------------ pandas and polars
def is_polars(X: Any) -> bool:
    """Return whether X is of polars."""
    return type(X).__module__.partition(".")[0] == "polars"


def column_name(X: Any, j: int) -> str:
    """Return the quoted name of column j."""
    return repr(list(X.columns)[j])


def _is_discrete(X: Any, j: int, dtype: Any) -> bool:
    if is_polars(X):
        return str(dtype).partition("(")[0] in {"String", "Boolean", "Categorical", "Enum", "Object"}
    if str(dtype) == "category":
        return True
    types = sys.modules["pandas"].api.types
    if types.is_object_dtype(dtype):
        return any(_kind_of(label) in ("strings", "bools") for label in X.iloc[:, j].dropna().unique())
    return types.is_string_dtype(dtype) or types.is_bool_dtype(dtype)


def _foreign_in(X: Any, j: int, dtype: Any) -> str:
    """Return the type of what is neither a number nor a label, such as dates, lists, bytes; nothing without any."""
    if is_polars(X):
        return str(dtype) if dtype.is_temporal() or dtype.is_nested() or str(dtype) == "Binary" else ""
    if dtype.kind in "mM" or (dtype.kind == "O" and str(dtype).startswith("period")):
        return str(dtype)
    if dtype.kind != "O" or str(dtype) != "object":
        return ""
    values = X.iloc[:, j].dropna()
    odd = (v for v in values if isinstance(v, TIMES) or not isinstance(v, (str, Number, np.bool_)))
    return next((type(value).__name__ for value in odd), "")


def _read(X: Any, j: int) -> Column:
    """Return the labels of column j, and where they stand."""
    if is_polars(X):
        values = X.to_series(j).to_list()
        place_of: dict[Any, int] = {}
        places = np.array([-1 if v is None else place_of.setdefault(v, len(place_of)) for v in values], dtype=np.int64)
        labels, declared = list(place_of), False
    else:
        column = X.iloc[:, j]
        places, unique = column.factorize()
        labels, declared = unique.tolist(), str(column.dtype) == "category"
    labels = [plain_string(label) for label in labels]
    odd = sorted({_kind_of(label) for label in labels} - {"strings", "bools", "numbers"})
    if declared and odd:
        labels = [str(label) for label in labels]  # intervals of pandas.cut, dates
    elif odd:
        raise ValueError(
            f"column {column_name(X, j)} holds {odd[0]}; categories are strings, numbers or bools, so convert it to "
            "one of these."
        )
    check_kind(labels, column_name(X, j))
    return Column(labels, places.astype(np.int64))


def replaced(X: Any, codes: Mapping[int, Indices]) -> Any:
    """Return a frame that shares all other columns with X."""
    if is_polars(X):
        frame = X.clone()
        for j, values in codes.items():
            frame.replace_column(j, sys.modules["polars"].Series(X.columns[j], values))
        return frame
    frame = X.copy(deep=False)
    for j, values in codes.items():
        frame.isetitem(j, values)
    return frame


# ---------------------------------------------------------------------------------------------------- blocks
def _behind_codes(n_codes: int, block: BlockTransform) -> BlockTransform:
    """Return `block` for rows with codes before its columns; the power is that of the numeric columns alone."""
    if not n_codes:
        return block

    def behind(first: float, values: Float) -> Float:
        return np.concatenate([np.full(n_codes, first), values])

    return replace(
        block,
        mean=behind(0.0, block.mean),
        scale=behind(1.0, block.scale),
        projection=None if block.projection is None else block_diag(np.eye(n_codes), block.projection),
        before=None if block.before is None else (behind(0.0, block.before[0]), behind(1.0, block.before[1])),
        view=None if block.view is None else Within(block.view, before=n_codes),
        deviation=None,
    )
