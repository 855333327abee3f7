"""What the columns of a table are: target, clients, groups, features. Nothing is left out or used without a word."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from skfdrmfl.common.wording import MOST_SHOWN, counted, no_numbers, pasted, shown
from skfdrmfl.tables.cells import Rule, is_dates, is_padded, numbers_of, rule_of, text_of, truths_of
from skfdrmfl.tables.errors import no_column, wrong
from skfdrmfl.tables.hints import (
    look_for_others,
    look_for_repeats,
    look_for_stand_ins,
    look_for_the_target,
    points_said,
    spectrum_of,
)

FEW_ROWS = 10  # of a client, below which its own model and its secrets are in doubt
FEW_VALUES = 10  # of a target, which may then stand for classes
SPECTRUM = 10  # columns of a spectrum, of which none can be text
UNNAMED_INDEX = ("Unnamed: 0", "index")  # pandas' own numbers of rows in a file; a split has some of them
A_TENTH = 0.1  # share of numbers above which a column of text is one of numbers with mistakes


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

    def without(self, rows: Any) -> Columns:
        """Return the parts without some rows, by position."""
        gone = self.X.index[rows]
        parts = {"X": self.X, "y": self.y, "clients": self.clients, "groups": self.groups}
        return replace(self, **{name: part.drop(gone) for name, part in parts.items() if part is not None})


def divide(frame: Any, args: Any, read: Sequence[str] = ()) -> Columns:
    """Return the parts of a table, and what is said of them after `read`; refuse what does not fit."""
    notes = list(read)
    names = list(frame.columns)
    roles = _roles(names, args)
    dropped = _matching(args.drop, names)
    for name in roles:
        if name in dropped:
            wrong("--drop", name, "is also asked for as target, clients or groups", "take it out of one")
    if dropped:
        notes.append(f"Left out as asked: {shown(dropped)}.")

    y = targets(frame, args.target)
    frame, y = _measured(frame, y, notes)
    for name in args.target:
        n_values = y[name].nunique()
        if n_values == 1:
            wrong("--target", name, "has the same value in all rows", "name a column that varies")
        if n_values <= FEW_VALUES < len(y) // 3:
            classes = "if they stand for classes, a regression is no use to them"
            notes.append(f"{name} has only {n_values} values: {classes}.")
    X = _features(frame, [name for name in names if name not in {*roles, *dropped}], args, notes)
    rules = y.attrs["rules"] | X.attrs.pop("rules")
    notes += [*points_said(frame, rules, args), *rules_said(rules)]
    texts = X.attrs.pop("texts")
    look_for_stand_ins(y, X, args)
    X = _without_missing(X, args, notes)
    if len(X) < len(frame):
        frame, y = frame.loc[X.index], y.loc[X.index]
    if X.shape[1] == 0:
        wrong("FILE", args.file, "leaves no column of numbers to predict from", "look at --drop and --target")
    notes += modality_notes(X, args)
    clients = _labels(frame, args.clients_column, "--clients-column")
    groups = _labels(frame, args.groups_column, "--groups-column")
    look_for_the_target(X, y, args, notes)
    look_for_others(X, {*args.keep, *args.categories}, notes)
    _describe(clients, groups, notes)
    if groups is None:
        look_for_repeats(frame[[name for name in texts if name != args.clients_column]], X, y, notes)
    return Columns(X, y, clients, groups, notes)


def _roles(names: list[str], args: Any) -> list[str]:
    """Return the columns that are no features; refuse names that no column has, and a column named for two things."""
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
                no_column(option, name, names)
    roles = [*args.target, *clients, *(groups if groups != clients else [])]
    for name in roles:
        if roles.count(name) > 1:
            wrong("--target", name, "is asked for twice", "name another column, or leave one out")
    return roles


def _matching(patterns: list[str], names: list[str]) -> list[str]:
    """Return the names that the patterns stand for."""
    found: dict[str, None] = {}
    for pattern in patterns:
        mine = [name for name in names if name == pattern] or [name for name in names if fnmatchcase(name, pattern)]
        if not mine:
            no_column("--drop", pattern, names)
        found |= dict.fromkeys(mine)
    return list(found)


def targets(frame: Any, names: list[str]) -> Any:
    """Return the targets as numbers, NaN where there is none; refuse other values, and a target without any."""
    import pandas

    columns = {}
    for name in names:
        column = frame[name]
        if truths_of(column) is not None:
            wrong("--target", name, "holds yes and no, and only numbers can be predicted", "write them as 0 and 1")
        columns[name], odd = numbers_of(column)
        if len(odd) and not columns[name].notna().any():
            if is_dates(column):
                wrong("--target", name, "holds dates", "write them as numbers, such as days since a date")
            labels = shown(odd.unique().tolist(), 3)
            fact = f"holds text ({labels}), and only numbers can be predicted"
            wrong("--target", name, fact, "name a measured column; to tell classes apart use a classifier")
        if len(odd):
            fact = f"has {no_numbers(len(odd), 'value')}, such as {strays_said({name: odd}, named=False)}"
            wrong("--target", name, fact, f"correct them, or pass {pasted('--na', odd.iloc[0])}")
        if _is_infinite(columns[name]):
            wrong("--target", name, "has infinite values", "correct them")
        if columns[name].isna().all():
            wrong("--target", name, "has no values", "name a measured column")
    y = pandas.DataFrame(columns, index=frame.index)
    y.attrs["rules"] = {name: rule_of(numbers) for name, numbers in columns.items()}
    return y


def rules_said(rules: Mapping[str, Rule]) -> list[str]:
    """Return how columns were read as numbers, where that is not the ordinary way."""
    by_rule: dict[str, list[str]] = {}
    for name, rule in rules.items():
        by_rule.setdefault(str(rule), []).append(name)
    return [f"Numbers with {rule}: {shown(names)}." for rule, names in by_rule.items() if rule]


def strays_said(strays: Mapping[str, Any], *, named: bool = True) -> str:
    """Return a few of the cells that are no numbers, their rows from 1 and, if asked, their columns."""
    cells = [
        f"{text!r} in row {int(i) + 1}" + (f" of {name}" if named else "")
        for name, odd in strays.items()
        for i, text in odd.items()
    ]
    return shown(cells, MOST_SHOWN // 2)


def as_labels(column: Any) -> Any:
    """Return a column as labels, which are a feature of categories."""
    return text_of(column).astype("category")


def _measured(frame: Any, y: Any, notes: list[str]) -> tuple[Any, Any]:
    """Return the rows that have all targets; say how many have each, and refuse where no row has all."""
    rows = y.notna().all(axis=1)
    if rows.all():
        return frame, y
    counts = ", ".join(f"{name} in {counted(int(n), 'row')}" for name, n in y.notna().sum().items())
    if not rows.any():
        fact = f"are not measured together in any of {counted(len(y), 'row')}: {counts}"
        wrong("--target", ",".join(y.columns), fact, "run one command for each target")
    note = f"Left out {counted(int((~rows).sum()), 'row')} without {' or '.join(y.columns)}."
    if y.shape[1] > 1:
        note += f" Measured: {counts}, all in {int(rows.sum())}; one command for each target uses more rows."
    notes.append(note)
    return frame.loc[rows], y.loc[rows]


def _taken_for(name: str, column: Any, args: Any, in_spectrum: bool) -> tuple[str, Any]:
    """Return what a column that may be a feature is taken for, and its numbers, its labels or the cells that differ."""
    import numpy

    if name in args.categories:
        return ("labels", as_labels(column)) if column.notna().any() else ("empty", None)
    if column.dtype == object and isinstance(next(iter(column.dropna()), None), (list, dict, numpy.ndarray)):
        return "lists", None
    numbers, odd = numbers_of(column)
    n_numbers = len(numbers) - int(numpy.isnan(numbers.to_numpy()).sum())
    if column.dtype.kind == "b":
        return "yes and no", numbers
    if not n_numbers:
        if not len(odd):
            return "empty", None
        if (truths := truths_of(column)) is not None:
            return "yes and no", truths
        return ("dates" if is_dates(column) else "text"), odd
    if len(odd):
        few = not in_spectrum and n_numbers <= A_TENTH * (n_numbers + len(odd))
        return ("text" if few else "strays"), odd
    if name not in args.keep and not in_spectrum and is_padded(column):
        return "text", odd
    return ("numbers the rows" if name not in args.keep and _numbers_the_rows(numbers) else "numbers"), numbers


def _features(frame: Any, names: list[str], args: Any, notes: list[str]) -> Any:
    """Return the columns that can be features, and say why others are none."""
    import numpy
    import pandas

    from skfdrmfl.common.spill import new_table

    spectrum = spectrum_of(names)
    values = new_table((len(names), len(frame)), numpy.float64).T
    found: dict[str, dict[str, Any]] = defaultdict(dict)  # columns that are no numbers, by what they are taken for
    rules: dict[str, Rule] = {}  # of columns of numbers
    for name in names:
        kind, column = _taken_for(name, frame[name], args, name in spectrum)
        if kind in ("numbers", "yes and no"):
            notes += [f"{name} holds yes and no: used as 1 and 0."] if kind == "yes and no" else []
            values[:, len(rules)] = column
            rules[name] = rule_of(column)
        else:
            found[kind][name] = column
    if lists := list(found["lists"]):
        remedy = f"write each value in a column of its own, or pass {pasted('--drop', *lists[:MOST_SHOWN])}"
        wrong("FILE", args.file, f"has several values in each cell of {shown(lists)}, which is no feature", remedy)
    _refuse_strays(found["strays"], spectrum & found["text"].keys(), spectrum, args)
    texts = {name: text_of(frame[name]) for name in found["text"]}
    examples = {name: f"{name} ({v.nunique()} values, such as {v.dropna().iloc[0]!r})" for name, v in texts.items()}
    remedies = {"text": "; --categories NAME uses one as labels", "numbers the rows": "; --keep NAME uses it"}
    for why in ("text", "dates", "empty", "numbers the rows"):
        if found[why]:
            which = [examples.get(name, name) for name in found[why]]
            notes.append(f"Left out, {why}: {shown(which)}{remedies.get(why, '')}.")
    X = pandas.DataFrame(values[:, : len(rules)], index=frame.index, columns=list(rules), copy=False)
    for j, name in enumerate(name for name in names if name in rules or name in found["labels"]):
        if name in found["labels"]:
            X.insert(j, name, found["labels"][name])
    X.attrs |= {"texts": list(texts), "rules": rules}
    return X


def _refuse_strays(strays: dict[str, Any], text: set[str], spectrum: set[str], args: Any) -> None:
    """Refuse columns of numbers with cells that are none, and a spectrum of which columns are text."""
    if strays:
        n = sum(map(len, strays.values()))
        which = "one that is no number" if n == 1 else f"{n} that are no numbers"
        fact = f"has among the cells of {counted(len(strays), 'column')} of numbers {which}: {strays_said(strays)}"
        mark = pasted("--na", next(iter(strays.values())).iloc[0])
        drop = pasted("--drop", *list(strays)[:MOST_SHOWN])
        remedy = f"correct them, pass {mark} where that means missing, or leave columns out with {drop}"
        wrong("FILE", args.file, fact, remedy)
    if text and (len(spectrum) >= SPECTRUM or 2 * len(text) > len(spectrum)):
        what = f"columns that look like a spectrum ({shown(sorted(text), 4)})"
        fact = f"has text in {len(text)} of {len(spectrum)} {what}"
        wrong("FILE", args.file, fact, "correct them, or leave them out with --drop")


def _numbers_the_rows(column: Any) -> bool:
    """Return whether a column is 0, 1, 2, ... or 1, 2, 3, ... from the first row to the last, or an index of pandas."""
    if column.name in UNNAMED_INDEX and column.is_unique and (column % 1 == 0).all():
        return True
    ahead = column - column.index  # the index counts the rows of the file
    return bool(len(column) >= 3 and ahead.iloc[0] in (0, 1) and ahead.nunique() == 1)


def _without_missing(X: Any, args: Any, notes: list[str]) -> Any:
    """Return the features without missing values as `--missing` says, columns or rows left out."""
    infinite = [name for name in X.select_dtypes("number") if _is_infinite(X[name])]
    if infinite:
        wrong("FILE", args.file, f"has infinite values in {shown(infinite)}", "correct them")
    if args.missing == "keep" or not any(X[name].isna().any() for name in X):
        return X
    columns, rows = X.isna().any(), X.isna().any(axis=1)
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


def modality_notes(X: Any, args: Any) -> list[str]:
    """Return a sentence on the modalities that `--modalities prefix` finds; refuse names without one, or alike."""
    if args.modalities != "prefix":
        return []
    bare = [name for name in X.columns if not all(name.partition("__"))]
    if bare:
        fact = f"needs names such as nir__1100, and {shown(bare)} have no prefix"
        wrong("--modalities", "prefix", fact, "rename these columns, leave them out with --drop, or the option")
    counts = Counter(str(name).partition("__")[0] for name in X.columns)
    alike: dict[str, list[str]] = {}
    for name in counts:
        alike.setdefault(name.strip().casefold(), []).append(name)
    sizes = {name: f"({counted(n, 'column')})" for name, n in counts.items()}
    for names in alike.values():
        if len(names) > 1:
            fact = f"finds {' and '.join(f'{name!r} {sizes[name]}' for name in names)}, which are alike"
            wrong("--modalities", "prefix", fact, "write the names of one modality in one way")
    return [f"Modalities: {', '.join(f'{name} {size}' for name, size in sizes.items())}."]


def _labels(frame: Any, name: str | None, option: str) -> Any:
    """Return the labels of clients or groups, which are text; refuse gaps."""
    if name is None:
        return None
    labels = text_of(frame[name])
    if labels.isna().any():
        empty = labels[labels.isna()]
        fact = f"has no value in {counted(len(empty), 'row')} (first: row {_row(empty)})"
        wrong(option, name, fact, "name one for every row, or leave those rows out of the file")
    return labels.astype(object)


def _describe(clients: Any, groups: Any, notes: list[str]) -> None:
    """Say how many clients and groups there are, and which clients have few rows."""
    if clients is not None:
        counts = clients.value_counts()
        few = [f"{label} ({n})" for label, n in counts.items() if n < FEW_ROWS]
        sizes = [f"{label} ({counted(n, 'row')})" for label, n in counts.items()]
        notes.append(f"{counted(len(counts), 'client')}: {shown(sizes)}.")
        if few:
            revealed = "What they send says much about each row."
            notes.append(f"Clients with fewer than {FEW_ROWS} rows: {shown(few)}. {revealed}")
    if groups is not None:
        notes.append(f"{counted(groups.nunique(), 'group')} of rows that stay together.")
        if clients is not None and groups.equals(clients):
            notes.append("Clients are the groups too: each is predicted by models that have not seen it.")


def _is_infinite(numbers: Any) -> bool:
    """Return whether a column of numbers has infinite values."""
    return bool(numbers.isin([float("inf"), float("-inf")]).any())


def _row(rows: Any) -> int:
    """Return the number in the file, from 1, of the first of some rows."""
    return int(rows.index[0]) + 1
