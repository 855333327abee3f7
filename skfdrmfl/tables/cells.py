"""What the cells of a column say: numbers, by one rule for the whole column, or labels, which are its text.

A table is text until somebody asks. Each column answers for itself: no other column decides what its cells say.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from functools import cache
from numbers import Real
from typing import Any

from skfdrmfl.common.wording import pasted
from skfdrmfl.tables.errors import wrong

# Texts that stand for no number, as pandas has them. A column of labels may hold each of them.
NO_NUMBER = frozenset(
    str.split(
        "#N/A, #N/A N/A, #NA, -1.#IND, -1.#QNAN, -NaN, -nan, 1.#IND, 1.#QNAN, <NA>, N/A, NA, NULL, NaN, None, n/a, "
        "nan, null",
        ", ",
    )
)
BLANKS = " \u00a0\u2009\u202f"
MINUS = "\u2212\u2012\u2013\ufe63\uff0d"  # typographic minus and dashes
INVISIBLE = "\ufeff\u200b\u2060"
GROUPS = {"": None, ",": ",", ".": r"\.", " ": f"[{BLANKS}]", "'": "['\u2019]"}
CALLED = {",": "commas", ".": "points", " ": "blanks", "'": "apostrophes"}
# Pairs of a decimal mark and a mark between thousands, the ordinary first.
RULES = ((".", ""), (",", ""), (".", ","), (",", "."), (".", " "), (",", " "), (".", "'"), (",", "'"))
DAY = r"\d{1,4}([-./])\d{1,2}\1\d{1,4}|\d{1,2}[-. /]?[A-Za-z]{3,9}\.?[-. /]?\d{2,4}"
DATE = re.compile(rf"(?:{DAY})(?:[T ]+\d{{1,2}}:\d{{2}}.*)?|\d{{1,2}}:\d{{2}}(?::\d{{2}}.*)?", re.ASCII)
PADDED = re.compile(r"0\d+", re.ASCII)
TRUTHS = {"true", "false"}
EXACT = 2**53  # whole numbers below have a float of their own
STAND_INS = (-99.0, -999.0, -9999.0, -99999.0, -32768.0, 9999.0, 99999.0, 1e20, 1e30, 1e36, 1e37)  # for no value
FEWEST_OTHERS = 3  # numbers beside one that may stand for no value
KEY = "skfdrmfl"  # of `DataFrame.attrs` and `Series.attrs`


@dataclass(frozen=True)
class Marks:
    """What the user says of the cells of a table; it goes with the table and with each column taken from it."""

    missing: frozenset[str] = frozenset()  # own texts for missing values, of numbers and of labels
    no_number: frozenset[str] = NO_NUMBER  # further ones, of numbers alone
    decimals: Mapping[str | None, str] = field(default_factory=dict)  # by column; None stands for all others

    def __deepcopy__(self, memo: Any) -> Marks:
        return self  # pandas copies attributes with every column


@dataclass(frozen=True)
class Rule:
    """How the numbers of a column are written."""

    decimal: str = "."
    group: str = ""
    percent: bool = False

    def __str__(self) -> str:
        """Return what is said of the rule, nothing of the ordinary one."""
        parts = ["a decimal comma"] if self.decimal == "," else []
        parts += [f"{CALLED[self.group]} between thousands"] if self.group else []
        parts += ["a percent sign, 12.5% read as 12.5"] if self.percent else []
        return " and ".join(parts)


@cache
def pattern_of(decimal: str, group: str) -> re.Pattern[str]:
    """Return the pattern of numbers with a decimal mark and a mark between thousands."""
    whole = rf"[1-9]\d{{0,2}}(?:{GROUPS[group]}\d{{3}})+|\d+" if group else r"\d+"
    mark = re.escape(decimal)
    return re.compile(rf"[+-]?(?:(?:{whole})(?:{mark}\d*)?|{mark}\d+)(?:[eEdD][+-]?\d+)?", re.ASCII)


def bare(text: str) -> str:
    """Return a cell without what stands around its number: blanks, an apostrophe before, quotes; a minus as "-"."""
    text = plain(text)
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = text[1:-1].strip()
    if text[:1] == "'":  # what spreadsheets write before a number that is to be text
        text = text[1:]
    return f"-{text[1:]}" if text[:1] in MINUS and text else text


def plain(text: str) -> str:
    """Return a text without what is not seen of it in a spreadsheet: blanks and marks around it, and ="..."."""
    text = text.strip().strip(INVISIBLE).strip()
    return text[2:-1].strip() if len(text) > 2 and text.startswith('="') and text.endswith('"') else text


def is_number(text: str) -> bool:
    """Return whether a cell is a number by some rule."""
    text = bare(text).removesuffix("%").rstrip()
    return any(pattern_of(*rule).fullmatch(text) for rule in RULES)


def marks_of(column: Any) -> Marks:
    """Return what the user says of the cells of a column or of a table."""
    marks: Marks = column.attrs.get(KEY, Marks())
    return marks


def may_be_thousands(column: Any) -> bool:
    """Return whether each point of a column of text may stand between thousands as well as before decimals."""
    found = False
    for cell in column.array if column.dtype.kind == "O" else ():
        if isinstance(cell, str) and "." in cell:
            found = True
            text = bare(cell).removesuffix("%").rstrip()
            if not pattern_of(",", ".").fullmatch(text):
                return False
    return found


def rule_of(numbers: Any) -> Rule:
    """Return the rule by which `numbers_of` has read a column."""
    rule: Rule = numbers.attrs.get("rule", Rule())
    return rule


def text_type() -> Any:
    """Return the pandas type of columns of text."""
    import pandas

    try:
        return pandas.StringDtype("pyarrow")
    except ImportError:  # as where Flower runs
        return pandas.StringDtype("python")


def column_of(cells: list[Any]) -> Any:
    """Return cells (n,), None where empty, as a column of text, of whole numbers, of numbers, or of what they are."""
    import pandas

    kinds = {type(cell) for cell in cells if cell is not None}
    if kinds <= {str}:
        return pandas.array(cells, dtype=text_type())
    if kinds == {int} and all(cell is None or abs(cell) < EXACT for cell in cells):
        return pandas.array(cells, dtype="Int64" if None in cells else "int64")
    if kinds <= {int, float} and all(cell is None or isinstance(cell, float) or abs(cell) < EXACT for cell in cells):
        return pandas.array(cells, dtype="float64")
    return pandas.Series(cells, dtype=object).array


def numbers_of(column: Any) -> tuple[Any, Any]:
    """Return a column as numbers (n,), correctly rounded, NaN where it holds none, and what it holds instead of these.

    That is the text of cells that are neither missing nor numbers by the column's rule, infinite ones among them;
    `rule_of` says what the rule is. UsageError: the column has two readings, as one of "1,234" alone has.
    """
    import numpy
    import pandas

    kind = column.dtype.kind
    if kind in "biuf" and column.dtype != object:
        values = _without_marks(column.to_numpy(dtype="float64", na_value=numpy.nan), marks_of(column))
        numbers = pandas.Series(values, index=column.index, name=column.name)
        return numbers, column.iloc[:0]
    marks = marks_of(column)
    quick = _quick_numbers(column, marks)
    values, rule, odd = _numbers(list(column.array), marks, column.name) if quick is None else (*quick, [])
    numbers = pandas.Series(_without_marks(values, marks), index=column.index, name=column.name, copy=False)
    numbers.attrs = {KEY: marks, "rule": rule}
    return numbers, text_of(column.iloc[odd], verbatim=True) if odd else column.iloc[:0]


def text_of(column: Any, *, verbatim: bool = False) -> Any:
    """Return the text of a column (n,), whole numbers without a point, None if blank or, unless `verbatim`, marked."""
    import pandas

    missing = frozenset() if verbatim else marks_of(column).missing
    texts = [None if text is None or text in missing else text for text in map(cell_text, column.array)]
    return pandas.Series(pandas.array(texts, dtype=text_type()), index=column.index, name=column.name)


def cell_text(cell: Any) -> str | None:
    """Return what a cell says, None where it is empty."""
    if isinstance(cell, str):
        return plain(cell) or None
    if isinstance(cell, bytes):
        return cell_text(cell.decode(errors="replace"))
    if cell is None or str(cell) in ("nan", "<NA>", "NaT"):
        return None
    if isinstance(cell, Real) and not isinstance(cell, bool):
        value = float(cell)
        return str(int(value)) if value.is_integer() and abs(value) < EXACT else str(cell)
    if isinstance(cell, datetime):
        return cell.date().isoformat() if cell.time() == time() else cell.isoformat(" ")
    return cell.isoformat() if isinstance(cell, (date, time)) else str(cell)


def stand_in_of(values: Any) -> float | None:
    """Return a number of `STAND_INS` among values (n,) that is far from all others; None where there is none."""
    import numpy

    if not len(values) or numpy.isnan(values).all():
        return None
    found = [end for end in (numpy.nanmin(values), numpy.nanmax(values)) if end in STAND_INS]
    others = values[~numpy.isin(values, (*STAND_INS, numpy.nan)) & numpy.isfinite(values)] if found else values[:0]
    if len(others) < FEWEST_OTHERS:
        return None
    middle, extent = (others.min() + others.max()) / 2, others.max() - others.min()
    far = [v for v in found if abs(v - middle) > 3 * extent and abs(v) > 3 * abs(others).max()]
    return float(far[0]) if far else None


def is_dates(column: Any) -> bool:
    """Return whether a column holds dates or times, and nothing else."""
    if column.dtype.kind in "mM":
        return True
    if column.dtype.kind in "biuf":
        return False
    texts = text_of(column).dropna()
    return len(texts) > 0 and all(map(DATE.fullmatch, texts))


def truths_of(column: Any) -> Any:
    """Return a column of "true" and "false", in any case, as 1.0 and 0.0; None for any other."""
    if column.dtype.kind == "b":
        return column.astype("float64")
    if column.dtype.kind in "iufmM" or not {str(cell).strip().lower() for cell in column.iloc[:9].dropna()} <= TRUTHS:
        return None
    texts = text_of(column).str.lower()
    found = set(texts.dropna())
    return texts.map({"true": 1.0, "false": 0.0}).astype("float64") if found and found <= TRUTHS else None


def is_padded(column: Any) -> bool:
    """Return whether a text of a column is a whole number with zeros before it, as identifiers have them."""
    if column.dtype.kind in "biufmM" or any("." in str(cell) or "," in str(cell) for cell in column.iloc[:9]):
        return False
    return any(isinstance(cell, str) and PADDED.fullmatch(cell.strip()) for cell in column.array)


def _quick_numbers(column: Any, marks: Marks) -> tuple[Any, Rule] | None:
    """Return the numbers of a column of text, and their rule, as Arrow reads them; None where it cannot."""
    import numpy

    try:
        import pyarrow
        from pyarrow import compute
    except ImportError:
        return None
    if str(column.dtype) not in ("string", "str"):
        return None
    cells = pyarrow.array(column.array)
    given = marks.decimals.get(column.name, marks.decimals.get(None))
    missing = pyarrow.array(sorted(marks.missing | marks.no_number), cells.type)
    for clean in (False, True):
        if clean:
            cells = compute.utf8_trim_whitespace(cells)
            gaps = compute.or_(compute.is_in(cells, missing), compute.equal(cells, ""))
            cells = compute.if_else(gaps, pyarrow.scalar(None, cells.type), cells)
        elif marks.missing and compute.any(compute.is_in(cells, missing)).as_py():  # -999 is one
            continue
        texts, rule = cells, Rule()
        if _any(compute, cells if clean else cells[:9], ","):  # of cells that are not clean the first will do
            if _any(compute, cells, ".") or not (given == "," or _shows_decimals(cells)):
                return None
            texts, rule = compute.replace_substring(cells, ",", "."), Rule(",")
        elif given == "," and _any(compute, cells, "."):
            return None
        try:
            numbers = compute.cast(texts, pyarrow.float64())
        except pyarrow.ArrowInvalid:
            continue
        values = numpy.asarray(numbers)
        if int(numpy.isfinite(values).sum()) == len(numbers) - numbers.null_count:
            return values, rule
    return None


def _without_marks(values: Any, marks: Marks) -> Any:
    """Return numbers (n,) with NaN where one of the user's marks has their value, such as -999 for -999.0."""
    import numpy

    given = [float(text) for text in marks.missing if pattern_of(".", "").fullmatch(text) and "d" not in text.lower()]
    gone = numpy.isin(values, given) if given else numpy.zeros(1, dtype=bool)
    return numpy.where(gone, numpy.nan, values) if gone.any() else values


def _any(compute: Any, cells: Any, mark: str) -> bool:
    """Return whether a cell has the mark."""
    return bool(compute.any(compute.match_substring(cells, mark)).as_py())


def _shows_decimals(cells: Any) -> bool:
    """Return whether one of the first commas of a column cannot stand between thousands."""
    thousands = pattern_of(".", ",")
    return any("," in text and not thousands.fullmatch(bare(text)) for text in cells[:1000].to_pylist() if text)


def _numbers(cells: Sequence[Any], marks: Marks, name: Any) -> tuple[Any, Rule, list[int]]:
    """Return the numbers among cells (n,), the rule that most follow, and the places of those that are none."""
    import numpy

    values = numpy.full(len(cells), numpy.nan)
    texts: dict[int, str] = {}
    odd: list[int] = []
    for i, cell in enumerate(cells):
        if isinstance(cell, (Real, Decimal)) and not isinstance(cell, bool):
            values[i] = float(cell)
            if math.isinf(cell):
                odd.append(i)
        elif isinstance(cell, str):
            text = plain(cell)
            if text and text not in marks.missing and text not in marks.no_number and bare(text):
                texts[i] = bare(text)
        elif cell_text(cell) is not None:
            odd.append(i)
    percent = {i: text[:-1].rstrip() for i, text in texts.items() if text.endswith("%")}
    of_percent = len(percent) * 2 > len(texts)
    written = percent if of_percent else {i: text for i, text in texts.items() if i not in percent}
    given = marks.decimals.get(name, marks.decimals.get(None))
    rule, failed = _rule_of(written, given, name)
    grouped = rule[1] and any(re.search(str(GROUPS[rule[1]]), text) for text in written.values())
    for i, text in written.items():
        values[i] = math.nan if i in failed else _value(text, *rule)
    odd += [i for i in texts if not math.isfinite(values[i])]
    values[odd] = math.nan
    decimal = rule[0] if any(rule[0] in text for text in written.values()) else "."
    return values, Rule(decimal, rule[1] if grouped else "", of_percent), sorted(odd)


def _rule_of(texts: Mapping[int, str], given: str | None, name: Any) -> tuple[tuple[str, str], set[int]]:
    """Return the pair of marks that most texts fit, and the places of the others; refuse a column with two readings."""
    failed: dict[tuple[str, str], set[int]] = {}
    for rule in RULES:
        failed[rule] = {i for i, text in texts.items() if not pattern_of(*rule).fullmatch(text)}
        if rule == (".", "") and not failed[rule] and given != ",":
            return rule, failed[rule]
    least = min(map(len, failed.values()))
    best = [rule for rule in RULES if len(failed[rule]) == least]
    if given:
        best = [rule for rule in best if rule[0] == given] or best
    elif not least and (",", "") in best and (".", ",") in best:
        example = next(text for text in texts.values() if "," in text)
        point, comma = (pasted("--decimal", f"{name}={mark}") for mark in ".,")
        remedy = f"pass {point} for {_value(example, '.', ','):.15g}, {comma} for {_value(example, ',', ''):.15g}"
        remedy += ", or --decimal with the mark alone for all such columns"
        wrong("--decimal", name, f"has two readings, {example!r} with commas between thousands or decimal ones", remedy)
    return best[0], failed[best[0]]


def _value(text: str, decimal: str, group: str) -> float:
    """Return the number that a text is by a rule that it fits."""
    for mark in {" ": BLANKS, "'": "'\u2019"}.get(group, group):
        text = text.replace(mark, "")
    return float(re.sub("[dD]", "e", text.replace(decimal, ".")))
