"""What the columns of a table may be beside what they are taken for: spectra, the target again, repeats of samples."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from skfdrmfl.common.wording import MOST_SHOWN, counted, pasted, shown
from skfdrmfl.tables.cells import Rule, may_be_thousands, stand_in_of, text_of
from skfdrmfl.tables.errors import wrong

FEWEST_SAMPLES, MOST_REPEATS = 5, 10  # names of samples measured more than once, and rows of one
LINEAR, SUSPICIOUS = 1 - 1e-9, 0.98  # |correlation| with the target
MOST_NUMBERS = 2**22  # of which correlations are taken at once


def spectrum_of(names: Iterable[str]) -> set[str]:
    """Return the names that are an axis with others of the same prefix and unit, as one name alone is not."""
    from skfdrmfl.data.axis import axes_of

    return {name for axis in axes_of(names) for name in axis}


def look_for_the_target(X: Any, y: Any, args: Any, notes: list[str]) -> None:
    """Refuse features that are a linear function of a target, and name those that are near it."""
    near: list[str] = []
    if len(X) < 4:
        return
    for target in y.columns:
        r = correlations(X.select_dtypes("number"), y[target])
        same = [name for name in r.index[r >= LINEAR] if name not in args.keep]
        if same:
            fact = f"is a linear function of the target {target}, so that nothing is left to predict"
            remedy = f"pass {pasted('--drop', *same)}, or {pasted('--keep', *same)}"
            wrong("FILE", f"column {shown(same)}", fact, remedy)
        near += [f"{name} ({value:.3f} with {target})" for name, value in r.items() if SUSPICIOUS < value < LINEAR]
    if near:
        notes.append(
            f"Nearly the target: {shown(near)} by correlation. Where that is another result of the laboratory and not "
            "known when predicting, leave it out with --drop."
        )


def look_for_others(X: Any, meant: set[str], notes: list[str]) -> None:
    """Name the columns beside a spectrum that may be results of the laboratory, but for those that are meant."""
    names = list(X.columns)
    spectrum = spectrum_of(names)
    others = [name for name in names if name not in spectrum | meant]
    n_spectrum = len(spectrum)
    if n_spectrum >= 10 and 0 < len(others) <= 0.2 * len(names):
        notes.append(
            f"Features: {n_spectrum} columns that look like a spectrum, and {shown(others)}. If these are not known "
            f"when predicting, such as results of the laboratory, pass {pasted('--drop', *others[:MOST_SHOWN])}"
        )
    else:
        notes.append(f"Features: {len(names)} columns, {shown(names, 4)}.")


def look_for_repeats(texts: Any, X: Any, y: Any, notes: list[str]) -> None:
    """Propose as groups columns that look like names of samples: texts, or whole numbers with one target each."""
    spectrum = spectrum_of(X.columns)
    numbers = [name for name in X.select_dtypes("number") if name not in spectrum and (X[name] % 1 == 0).all()]
    for column in (*(text_of(texts[name]) for name in texts), *(X[name] for name in numbers)):
        sizes = column.value_counts()
        if not (len(sizes) >= FEWEST_SAMPLES and sizes.median() >= 2 and sizes.max() <= MOST_REPEATS):
            continue
        same = bool((y.groupby(column.to_numpy()).nunique() <= 1).all(axis=None))
        if same or column.name in texts:
            each = f"{sizes.min()} to {sizes.max()}" if sizes.min() < sizes.max() else f"{sizes.max()}"
            alike = ", with one value of the target" if same else ""
            notes.append(
                f"{column.name} has {len(sizes)} values, each in {each} rows{alike}: if these are repeats of a sample, "
                f"pass {pasted('--groups-column', column.name)}, or folds part them."
            )


def stand_ins_of(columns: Any) -> list[tuple[str, float, Any]]:
    """Return the columns of numbers of a frame that have a number for no value, that number, and its rows."""
    found = [(name, stand_in_of(columns[name].to_numpy())) for name in columns.select_dtypes("float64")]
    return [(name, v, columns.index[columns[name] == v]) for name, v in found if v is not None]


def look_for_stand_ins(y: Any, X: Any, args: Any) -> None:
    """Refuse columns in which a number far from all others stands for no value in many files, unless asked to keep."""
    found = [each for part in (y, X) for each in stand_ins_of(part) if each[0] not in args.keep]
    if found:
        name, v, rows = found[0]
        more = f", as have {counted(len(found) - 1, 'other column')}" if len(found) > 1 else ""
        where = f"{counted(len(rows), 'row')} of {name} (first: row {int(rows[0]) + 1})"
        fact = f"has {v:.15g} in {where}{more}, far from the rest"
        kept = pasted("--keep", *[name for name, _, _ in found[:MOST_SHOWN]])
        wrong(
            "FILE",
            args.file,
            fact,
            f"pass {pasted('--na', f'{v:.15g}')} where that means missing, or {kept} if it was measured",
        )


def points_said(frame: Any, rules: Mapping[str, Rule], args: Any) -> list[str]:
    """Return which columns have points that may stand between thousands; refuse them beside a decimal comma."""
    given = dict(args.decimal)
    if None in given:
        return []
    points = [name for name, rule in rules.items() if (rule.decimal, rule.group) == (".", "") and name not in given]
    some = [name for name in points if may_be_thousands(frame[name])]
    commas = [name for name, rule in rules.items() if rule.decimal == ","]
    if some and commas:
        fact = f"has points that may be decimal or stand between thousands, as {commas[0]} has a decimal comma"
        wrong("--decimal", f"column {shown(some)}", fact, "pass --decimal . if they are decimal, or else --decimal ,")
    hint = "pass --decimal , if they stand between thousands"
    return [f"Points before three digits, read as decimal: {shown(some)}; {hint}"] if some else []


def correlations(X: Any, y: Any) -> Any:
    """Return |r| with y of each column that varies, over the rows where it has a value."""
    import pandas

    at_a_time = max(1, MOST_NUMBERS // max(1, len(X)))
    parts = [X.iloc[:, i : i + at_a_time] for i in range(0, X.shape[1], at_a_time)]
    found = [part.loc[:, part.min() < part.max()].corrwith(y).abs() for part in parts]
    return pandas.concat(found) if found else X.iloc[:0].corrwith(y)
