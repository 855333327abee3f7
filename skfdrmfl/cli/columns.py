"""What the columns of a table are: target, clients, groups, features. Nothing is left out or used without a word."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

from skfdrmfl.cli.errors import wrong

MOST_SHOWN = 6
FEW_ROWS = 10  # of a client, below which its own model and its secrets are in doubt
FEW_VALUES = 10  # of a target, which may then stand for classes
WAVELENGTH = re.compile(r"(?:.*__|[A-Za-z]{0,3}[ _.]?)?\d+(?:\.\d+)?(?: ?nm| ?cm-1)?")
LINEAR, SUSPICIOUS = 1 - 1e-9, 0.98  # |correlation| with the target


@dataclass
class Columns:
    """The parts of a table.

    Attributes
    ----------
    X : DataFrame of shape (n, columns)
        Features: numbers, and labels where `--categories` asks for them.
    y : DataFrame of shape (n, targets)
    clients, groups : Series of shape (n,) or None
    notes : list of str
        What was done, in whole sentences.
    """

    X: Any
    y: Any
    clients: Any
    groups: Any
    notes: list[str] = field(default_factory=list)


def divide(frame: Any, args: Any, command: str) -> Columns:
    """Return the parts of a table as the options of `add_columns` and `add_missing` say.

    Raises
    ------
    UsageError
        An option names a column that is not there, or the data do not fit it.
    """
    notes: list[str] = []
    names = list(frame.columns)
    if not args.target:
        wrong(command, "--target", "none", "of the columns is named", f"choose from {shown(names, 12)}")
    for option, wanted in (
        ("--target", args.target),
        ("--clients-column", [args.clients_column] if args.clients_column else []),
        ("--groups-column", [args.groups_column] if args.groups_column else []),
        ("--keep", args.keep),
        ("--categories", args.categories),
    ):
        for name in wanted:
            if name not in names:
                _unknown(command, option, name, names)
    roles = [*args.target, *filter(None, (args.clients_column, args.groups_column))]
    _check_roles(command, args, roles)
    dropped = _matching(command, args.drop, names)
    for name in roles:
        if name in dropped:
            wrong(command, "--drop", name, "is also asked for as target, clients or groups", "take it out of one")
    if dropped:
        notes.append(f"Left out as asked: {shown(dropped)}.")

    y = targets(frame, args.target, command)
    rows = y.notna().all(axis=1)
    if not rows.all():
        notes.append(f"Left out {counted(int((~rows).sum()), 'row')} without {' or '.join(args.target)}.")
        frame, y = frame.loc[rows], y.loc[rows]
    for name in args.target:
        n_values = y[name].nunique()
        if n_values == 1:
            wrong(command, "--target", name, "has the same value in all rows", "name a column that varies")
        if n_values <= FEW_VALUES < len(y) // 3:
            notes.append(
                f"{name} has only {n_values} values: if they stand for classes, a regression is no use to them."
            )
    X = _features(frame, [name for name in names if name not in {*roles, *dropped}], args, notes)
    X, rows = _without_missing(X, args, command, notes)
    frame, y = frame.loc[rows], y.loc[rows]
    if X.shape[1] == 0:
        wrong(command, "FILE", args.file, "leaves no column of numbers to predict from", "look at --drop and --target")
    bare = [name for name in X.columns if not all(name.partition("__"))]
    if args.modalities == "prefix" and bare:
        fact = f"needs names such as nir__1100, and {shown(bare)} have no prefix"
        wrong(
            command, "--modalities", "prefix", fact, "rename these columns, leave them out with --drop, or the option"
        )
    clients, groups = (
        _labels(frame, name, option, command)
        for name, option in ((args.clients_column, "--clients-column"), (args.groups_column, "--groups-column"))
    )
    _look_for_the_target(X, y, args, command, notes)
    _look_for_others(X, {*args.keep, *args.categories}, notes)
    _describe(clients, groups, notes)
    return Columns(X, y, clients, groups, notes)


def _check_roles(command: str, args: Any, roles: list[str]) -> None:
    """Refuse a column that is to be two things."""
    for name in dict.fromkeys(roles):
        if roles.count(name) > 1 and not (roles.count(name) == 2 and args.clients_column == args.groups_column == name):
            wrong(command, "--target", name, "is asked for twice", "name another column, or leave one out")


def _unknown(command: str, option: str, name: str, names: list[str]) -> None:
    """Refuse a name that no column has, with names that are like it."""
    lower = {other.lower(): other for other in names}
    near = [lower[other] for other in get_close_matches(name.lower(), lower, n=3, cutoff=0.6)]
    remedy = f"did you mean {' or '.join(map(repr, near))}?" if near else f"choose from {shown(names, 12)}."
    wrong(command, option, name, "is no column of the table", remedy.rstrip("."))


def _matching(command: str, patterns: list[str], names: list[str]) -> list[str]:
    """Return the names that the patterns stand for."""
    found: list[str] = []
    for pattern in patterns:
        mine = [name for name in names if name == pattern] or [name for name in names if fnmatchcase(name, pattern)]
        if not mine:
            _unknown(command, "--drop", pattern, names)
        found += [name for name in mine if name not in found]
    return found


def targets(frame: Any, names: list[str], command: str, *, allow_empty: bool = False) -> Any:
    """Return the targets as numbers, NaN where there is none; refuse what is no number.

    Raises
    ------
    UsageError
        A column of text, yes and no or dates; one without values unless `allow_empty`.
    """
    pandas = _pandas()
    columns = {}
    for name in names:
        column = frame[name]
        if pandas.api.types.is_bool_dtype(column):
            wrong(
                command,
                "--target",
                name,
                "holds yes and no, and only numbers can be predicted",
                "write them as 0 and 1",
            )
        if pandas.api.types.is_datetime64_any_dtype(column):
            wrong(command, "--target", name, "holds dates", "write them as numbers, such as days since a date")
        numbers = pandas.to_numeric(column, errors="coerce")
        odd = column[numbers.isna() & column.notna()]
        if len(odd) == column.notna().sum() > 0:
            labels = shown([str(label) for label in odd.unique()], 3)
            fact = f"holds text ({labels}), and only numbers can be predicted"
            wrong(command, "--target", name, fact, "name a measured column; to tell classes apart use a classifier")
        if len(odd):
            where = (
                f"{counted(len(odd), 'value')} that are no numbers, such as {odd.iloc[0]!r} in row {odd.index[0] + 1}"
            )
            wrong(command, "--target", name, f"has {where}", f"correct them, or pass --na {str(odd.iloc[0])!r}")
        columns[name] = numbers.astype("float64")
    y = pandas.DataFrame(columns)
    infinite = y.isin([float("inf"), float("-inf")]).any()
    for name in names:
        if infinite[name]:
            wrong(command, "--target", name, "has infinite values", "correct them")
        if y[name].isna().all() and not allow_empty:
            wrong(command, "--target", name, "has no values", "name a measured column")
    return y


def _features(frame: Any, names: list[str], args: Any, notes: list[str]) -> Any:
    """Return the columns that can be features, and say why others are none."""
    types = _pandas().api.types
    kept: dict[str, Any] = {}
    text, dates, empty, numbering = [], [], [], []
    for name in names:
        column = frame[name]
        if column.isna().all():
            empty.append(name)
        elif name in args.categories:
            kept[name] = column.astype("string").astype("category")
        elif types.is_bool_dtype(column):
            kept[name] = column.astype("float64")
            notes.append(f"{name} holds yes and no: used as 1 and 0.")
        elif types.is_datetime64_any_dtype(column) or types.is_timedelta64_dtype(column):
            dates.append(name)
        elif not types.is_numeric_dtype(column):
            text.append(name)
        elif _numbers_the_rows(column) and name not in args.keep:
            numbering.append(name)
        else:
            kept[name] = column.astype("float64")
    if text:
        details = [
            f"{name} ({frame[name].nunique()} values, such as {frame[name].dropna().iloc[0]!r})" for name in text
        ]
        notes.append(f"Left out, text: {shown(details)}; --categories NAME uses one as labels.")
    if dates:
        notes.append(f"Left out, dates: {shown(dates)}.")
    if empty:
        notes.append(f"Left out, empty: {shown(empty)}.")
    if numbering:
        notes.append(f"Left out, numbers the rows: {shown(numbering)}; --keep NAME uses it.")
    return _pandas().DataFrame(kept, index=frame.index)


def _numbers_the_rows(column: Any) -> bool:
    """Return whether a column is 0, 1, 2, ... or 1, 2, 3, ... from the first row to the last."""
    if len(column) < 3 or column.isna().any():
        return False
    ahead = column - column.index  # the index counts the rows of the file
    return bool(ahead.nunique() == 1 and ahead.iloc[0] in (0, 1))


def _without_missing(X: Any, args: Any, command: str, notes: list[str]) -> tuple[Any, Any]:
    """Return the features without missing values as `--missing` says, and which rows are left."""
    numbers = X.select_dtypes("number")
    infinite = numbers.isin([float("inf"), float("-inf")]).any()
    if infinite.any():
        wrong(
            command,
            "FILE",
            args.file,
            f"has infinite values in {shown(list(infinite.index[infinite]))}",
            "correct them",
        )
    gaps = X.isna()
    every_row = gaps.any(axis=1) == gaps.any(axis=1)
    if not gaps.to_numpy().any() or args.missing == "keep":
        return X, every_row
    columns, rows = gaps.any(), gaps.any(axis=1)
    where = f"{int(rows.sum())} of {len(X)} rows, {int(columns.sum())} of {X.shape[1]} columns"
    names = list(columns.index[columns])
    if args.missing == "columns":
        notes.append(f"Left out, values missing: {shown(names)}.")
        return X.loc[:, ~columns], every_row
    if args.missing == "rows":
        if rows.all():
            wrong(
                command, "--missing", "rows", "would leave no row: each has a gap", "pass --missing columns, or --drop"
            )
        notes.append(f"Left out {counted(int(rows.sum()), 'row')} with missing values.")
        return X.loc[~rows], ~rows
    first = f"first: {names[0]!r} in row {gaps.index[gaps[names[0]]][0] + 1}"
    remedy = "pass --missing rows or --missing columns to leave these out, or fill them in the file"
    wrong(command, "FILE", args.file, f"has missing values in {where} ({first})", remedy)


def _labels(frame: Any, name: str | None, option: str, command: str) -> Any:
    """Return the labels of clients or groups as strings or integers; refuse gaps."""
    if name is None:
        return None
    column = frame[name]
    if column.isna().any():
        empty = column.index[column.isna()]
        fact = f"has no value in {counted(len(empty), 'row')} (first: row {empty[0] + 1})"
        wrong(command, option, name, fact, "name one for every row, or leave those rows out of the file")
    types = _pandas().api.types
    if types.is_integer_dtype(column) and not types.is_bool_dtype(column):
        return column.astype("int64")
    return column.astype(str).str.strip().astype(object)


def _look_for_the_target(X: Any, y: Any, args: Any, command: str, notes: list[str]) -> None:
    """Refuse features that are a linear function of a target, and name those that are near it."""
    numbers = X.select_dtypes("number")
    near: list[str] = []
    if len(X) < 4:
        return
    for target in y.columns:
        r = _correlations(numbers.to_numpy(), y[target].to_numpy())
        same = [
            name for name, value in zip(numbers.columns, r, strict=True) if value >= LINEAR and name not in args.keep
        ]
        if same:
            fact = f"is a linear function of the target {target}, so that nothing is left to predict"
            wrong(command, "FILE", f"column {shown(same)}", fact, f"pass --drop {same[0]}, or --keep {same[0]}")
        near += [
            f"{name} ({value:.3f} with {target})"
            for name, value in zip(numbers.columns, r, strict=True)
            if SUSPICIOUS < value < LINEAR
        ]
    if near:
        notes.append(
            f"Nearly the target: {shown(near)} by correlation. Where that is another result of the laboratory and not "
            "known when predicting, leave it out with --drop."
        )


def _correlations(X: Any, y: Any) -> Any:
    """Return |r| of each column (n, columns) with y (n,), over the rows where it has a value; 0 for a constant one."""
    import numpy as np

    there = np.isfinite(X)
    n = np.maximum(there.sum(axis=0), 1)
    x_mean, y_mean = np.where(there, X, 0.0).sum(axis=0) / n, (there * y[:, None]).sum(axis=0) / n
    x, z = np.where(there, X - x_mean, 0.0), np.where(there, y[:, None] - y_mean, 0.0)
    x_size, y_size = np.sqrt((x**2).sum(axis=0)), np.sqrt((z**2).sum(axis=0))
    varies = (x_size > 1e-12 * np.abs(x_mean) * np.sqrt(n)) & (y_size > 0)
    return np.where(varies, np.abs((x * z).sum(axis=0)) / np.where(varies, x_size * y_size, 1.0), 0.0)


def _look_for_others(X: Any, meant: set[str], notes: list[str]) -> None:
    """Name the columns beside a spectrum that may be results of the laboratory, but for those that are meant."""
    names = list(X.columns)
    n_spectrum = sum(WAVELENGTH.fullmatch(name) is not None for name in names)
    others = [name for name in names if not WAVELENGTH.fullmatch(name) and name not in meant]
    if n_spectrum >= 10 and 0 < len(others) <= 0.2 * len(names):
        notes.append(
            f"Features: {n_spectrum} columns that look like a spectrum, and {shown(others)}. If these are not known "
            f"when predicting, such as results of the laboratory, pass --drop {','.join(others[:MOST_SHOWN])}"
        )
    else:
        notes.append(f"Features: {len(names)} columns, {shown(names, 4)}.")


def _describe(clients: Any, groups: Any, notes: list[str]) -> None:
    """Say how many clients and groups there are, and which clients have few rows."""
    if clients is not None:
        counts = clients.value_counts()
        few = [f"{label} ({n})" for label, n in counts.items() if n < FEW_ROWS]
        sizes = [f"{label} ({counted(n, 'row')})" for label, n in counts.items()]
        notes.append(f"{counted(len(counts), 'client')}: {shown(sizes)}.")
        if few:
            notes.append(
                f"Clients with fewer than {FEW_ROWS} rows: {shown(few)}. What they send says much about each row."
            )
    if groups is not None:
        notes.append(f"{counted(groups.nunique(), 'group')} of rows that stay together.")
        if clients is not None and groups.equals(clients):
            notes.append("Clients are the groups too: each is predicted by models that have not seen it.")


def counted(n: int, what: str) -> str:
    """Return a number of things, one or several."""
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def shown(names: list[str], most: int = MOST_SHOWN) -> str:
    """Return names in one line, the middle of many left out."""
    if len(names) <= most:
        return ", ".join(map(str, names))
    half = max(1, most // 2)
    return f"{', '.join(map(str, names[:half]))}, ... {names[-1]} ({len(names)} in all)"


def _pandas() -> Any:
    """Return pandas, which has been imported when there is a table."""
    import pandas

    return pandas
