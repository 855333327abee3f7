"""What the columns of a table are: target, clients, groups, features. Nothing is left out or used without a word."""

from __future__ import annotations

import re
from dataclasses import dataclass
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
    """The parts of a table."""

    X: Any  # DataFrame (n, columns) of numbers, and of labels where `--categories` asks for them
    y: Any  # DataFrame (n, targets)
    clients: Any  # Series (n,), or None
    groups: Any  # Series (n,), or None
    notes: list[str]  # what was done, in whole sentences

    @property
    def target(self) -> Any:
        """The targets, a Series where there is one."""
        return self.y.iloc[:, 0] if self.y.shape[1] == 1 else self.y


def divide(frame: Any, args: Any) -> Columns:
    """Return the parts of a table as `add_columns` and `add_missing` have it; refuse what does not fit."""
    notes: list[str] = []
    names = list(frame.columns)
    roles = _roles(names, args)
    dropped = _matching(args.drop, names)
    for name in roles:
        if name in dropped:
            wrong("--drop", name, "is also asked for as target, clients or groups", "take it out of one")
    if dropped:
        notes.append(f"Left out as asked: {shown(dropped)}.")

    y = targets(frame, args.target)
    rows = y.notna().all(axis=1)
    if not rows.all():
        notes.append(f"Left out {counted(int((~rows).sum()), 'row')} without {' or '.join(args.target)}.")
        frame, y = frame.loc[rows], y.loc[rows]
    for name in args.target:
        n_values = y[name].nunique()
        if n_values == 1:
            wrong("--target", name, "has the same value in all rows", "name a column that varies")
        if n_values <= FEW_VALUES < len(y) // 3:
            notes.append(
                f"{name} has only {n_values} values: if they stand for classes, a regression is no use to them."
            )
    X = _features(frame, [name for name in names if name not in {*roles, *dropped}], args, notes)
    X = _without_missing(X, args, notes)
    frame, y = frame.loc[X.index], y.loc[X.index]
    if X.shape[1] == 0:
        wrong("FILE", args.file, "leaves no column of numbers to predict from", "look at --drop and --target")
    bare = [name for name in X.columns if not all(name.partition("__"))]
    if args.modalities == "prefix" and bare:
        fact = f"needs names such as nir__1100, and {shown(bare)} have no prefix"
        wrong("--modalities", "prefix", fact, "rename these columns, leave them out with --drop, or the option")
    clients = _labels(frame, args.clients_column, "--clients-column")
    groups = _labels(frame, args.groups_column, "--groups-column")
    _look_for_the_target(X, y, args, notes)
    _look_for_others(X, {*args.keep, *args.categories}, notes)
    _describe(clients, groups, notes)
    return Columns(X, y, clients, groups, notes)


def _roles(names: list[str], args: Any) -> list[str]:
    """Return the columns that are no features; refuse names that no column has, and a column that is to be two things.

    One column may be clients and groups at once.
    """
    if not args.target:
        wrong("--target", "none", "of the columns is named", f"choose from {shown(names, 12)}")
    clients, groups = [[name] if name else [] for name in (args.clients_column, args.groups_column)]
    for option, wanted in (
        ("--target", args.target),
        ("--clients-column", clients),
        ("--groups-column", groups),
        ("--keep", args.keep),
        ("--categories", args.categories),
    ):
        for name in wanted:
            if name not in names:
                _unknown(option, name, names)
    roles = [*args.target, *clients, *(groups if groups != clients else [])]
    for name in roles:
        if roles.count(name) > 1:
            wrong("--target", name, "is asked for twice", "name another column, or leave one out")
    return roles


def _unknown(option: str, name: str, names: list[str]) -> None:
    """Refuse a name that no column has, with names that are like it."""
    lower = {other.lower(): other for other in names}
    near = [lower[other] for other in get_close_matches(name.lower(), lower, n=3, cutoff=0.6)]
    remedy = f"did you mean {' or '.join(map(repr, near))}?" if near else f"choose from {shown(names, 12)}"
    wrong(option, name, "is no column of the table", remedy)


def _matching(patterns: list[str], names: list[str]) -> list[str]:
    """Return the names that the patterns stand for."""
    found: dict[str, None] = {}
    for pattern in patterns:
        mine = [name for name in names if name == pattern] or [name for name in names if fnmatchcase(name, pattern)]
        if not mine:
            _unknown("--drop", pattern, names)
        found |= dict.fromkeys(mine)
    return list(found)


def targets(frame: Any, names: list[str], *, allow_empty: bool = False) -> Any:
    """Return the targets as numbers, NaN where there is none; refuse other values, and none unless `allow_empty`."""
    columns = {}
    for name in names:
        column = frame[name]
        if column.dtype.kind == "b":
            wrong("--target", name, "holds yes and no, and only numbers can be predicted", "write them as 0 and 1")
        if column.dtype.kind == "M":
            wrong("--target", name, "holds dates", "write them as numbers, such as days since a date")
        columns[name], odd = numbers_of(column)
        if len(odd) == column.notna().sum() > 0:
            labels = shown([str(label) for label in odd.unique()], 3)
            fact = f"holds text ({labels}), and only numbers can be predicted"
            wrong("--target", name, fact, "name a measured column; to tell classes apart use a classifier")
        if len(odd):
            fact = f"has {counted(len(odd), 'value')} that are no numbers, such as {odd.iloc[0]!r} in row {_row(odd)}"
            wrong("--target", name, fact, f"correct them, or pass --na {str(odd.iloc[0])!r}")
        if _is_infinite(columns[name]):
            wrong("--target", name, "has infinite values", "correct them")
        if columns[name].isna().all() and not allow_empty:
            wrong("--target", name, "has no values", "name a measured column")
    return _frame(columns, frame)


def numbers_of(column: Any) -> tuple[Any, Any]:
    """Return a column as numbers, NaN where it holds none, and what it holds instead, which is no gap."""
    import pandas

    numbers = pandas.to_numeric(column, errors="coerce")
    return numbers.astype("float64"), column[numbers.isna() & column.notna()]


def as_labels(column: Any) -> Any:
    """Return a column as labels, which are a feature of categories."""
    return column.astype("string").astype("category")


def _features(frame: Any, names: list[str], args: Any, notes: list[str]) -> Any:
    """Return the columns that can be features, and say why others are none."""
    kept: dict[str, Any] = {}
    left_out: dict[str, list[str]] = {"text": [], "dates": [], "empty": [], "numbers the rows": []}
    remedies = {"text": "; --categories NAME uses one as labels", "numbers the rows": "; --keep NAME uses it"}
    for name in names:
        column = frame[name]
        kind = column.dtype.kind
        if column.isna().all():
            left_out["empty"].append(name)
        elif name in args.categories:
            kept[name] = as_labels(column)
        elif kind in "mM":
            left_out["dates"].append(name)
        elif kind not in "biuf":
            example = column.dropna().iloc[0]
            left_out["text"].append(f"{name} ({column.nunique()} values, such as {example!r})")
        elif kind != "b" and _numbers_the_rows(column) and name not in args.keep:
            left_out["numbers the rows"].append(name)
        else:
            kept[name] = column.astype("float64")
            if kind == "b":
                notes.append(f"{name} holds yes and no: used as 1 and 0.")
    for why, which in left_out.items():
        if which:
            notes.append(f"Left out, {why}: {shown(which)}{remedies.get(why, '')}.")
    return _frame(kept, frame)


def _numbers_the_rows(column: Any) -> bool:
    """Return whether a column is 0, 1, 2, ... or 1, 2, 3, ... from the first row to the last."""
    if len(column) < 3 or column.isna().any():
        return False
    ahead = column - column.index  # the index counts the rows of the file
    return bool(ahead.nunique() == 1 and ahead.iloc[0] in (0, 1))


def _without_missing(X: Any, args: Any, notes: list[str]) -> Any:
    """Return the features without missing values as `--missing` says, columns or rows left out."""
    infinite = [name for name in X.select_dtypes("number") if _is_infinite(X[name])]
    if infinite:
        wrong("FILE", args.file, f"has infinite values in {shown(infinite)}", "correct them")
    columns, rows = X.isna().any(), X.isna().any(axis=1)
    if not rows.any() or args.missing == "keep":
        return X
    names, n_rows = list(columns.index[columns]), int(rows.sum())
    if args.missing == "columns":
        notes.append(f"Left out, values missing: {shown(names)}.")
        return X.loc[:, ~columns]
    if args.missing == "rows":
        if rows.all():
            wrong("--missing", "rows", "would leave no row: each has a gap", "pass --missing columns, or --drop")
        notes.append(f"Left out {counted(n_rows, 'row')} with missing values.")
        return X.loc[~rows]
    where = f"{n_rows} of {len(X)} rows, {len(names)} of {X.shape[1]} columns"
    first = f"first: {names[0]!r} in row {_row(X[X[names[0]].isna()])}"
    remedy = "pass --missing rows or --missing columns to leave these out, or fill them in the file"
    wrong("FILE", args.file, f"has missing values in {where} ({first})", remedy)


def _labels(frame: Any, name: str | None, option: str) -> Any:
    """Return the labels of clients or groups as strings or integers; refuse gaps."""
    if name is None:
        return None
    column = frame[name]
    if column.isna().any():
        empty = column[column.isna()]
        fact = f"has no value in {counted(len(empty), 'row')} (first: row {_row(empty)})"
        wrong(option, name, fact, "name one for every row, or leave those rows out of the file")
    return column.astype("int64") if column.dtype.kind in "iu" else column.astype(str).str.strip().astype(object)


def _look_for_the_target(X: Any, y: Any, args: Any, notes: list[str]) -> None:
    """Refuse features that are a linear function of a target, and name those that are near it."""
    near: list[str] = []
    if len(X) < 4:
        return
    for target in y.columns:
        r = _correlations(X.select_dtypes("number"), y[target])
        same = [name for name in r.index[r >= LINEAR] if name not in args.keep]
        if same:
            fact = f"is a linear function of the target {target}, so that nothing is left to predict"
            wrong("FILE", f"column {shown(same)}", fact, f"pass --drop {same[0]}, or --keep {same[0]}")
        near += [f"{name} ({value:.3f} with {target})" for name, value in r.items() if SUSPICIOUS < value < LINEAR]
    if near:
        notes.append(
            f"Nearly the target: {shown(near)} by correlation. Where that is another result of the laboratory and not "
            "known when predicting, leave it out with --drop."
        )


def _correlations(X: Any, y: Any) -> Any:
    """Return |r| with y of each column that varies, over the rows where it has a value."""
    return X.loc[:, X.nunique() > 1].corrwith(y).abs()


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


def _is_infinite(numbers: Any) -> bool:
    """Return whether a column of numbers has infinite values."""
    return bool(numbers.isin([float("inf"), float("-inf")]).any())


def _row(rows: Any) -> int:
    """Return the number in the file, from 1, of the first of some rows."""
    return int(rows.index[0]) + 1


def _frame(columns: dict[str, Any], frame: Any) -> Any:
    """Return columns of a frame as a frame with the same rows."""
    import pandas

    return pandas.DataFrame(columns, index=frame.index)
