"""A file becomes a table: CSV of any separator and decimal mark, Parquet, Excel. What was found is said."""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections import Counter
from pathlib import Path
from typing import Any

from skfdrmfl.cli.errors import FileProblem, UsageError, first_line, wrong
from skfdrmfl.common.extras import install

SEPARATORS = {";": "';'", "\t": "a tabulator", ",": "','", "|": "'|'"}
TEXT, PARQUET, EXCEL = {".csv", ".tsv", ".txt"}, {".parquet", ".pq"}, {".xlsx", ".xlsm"}
COMMA_NUMBER = re.compile(r"[+-]?\d*,\d+(?:[eE][+-]?\d+)?")
SAMPLE_LINES = 50


def read_table(path: Path, args: Any) -> tuple[Any, list[str]]:
    """Return the pandas DataFrame in a file, its rows numbered as there from 0, and sentences that say how it was read.

    `args` has the options of `add_reading`. FileProblem: there is no such file, it holds no table, or a package is
    missing; UsageError: an option does not fit the file.
    """
    kind = path.suffix.lower()
    if kind not in TEXT | PARQUET | EXCEL:
        fact = "is no kind of file that can be read"
        raise UsageError(f"{path} {fact}; name a .csv, .tsv, .txt, .parquet or .xlsx file.")
    if not path.exists():
        raise FileProblem(f"{path} is not there; look at the name and at the folder you are in.")
    if not path.is_file():
        raise FileProblem(f"{path} is no file; name the table itself.")
    if path.stat().st_size == 0:
        raise FileProblem(f"{path} is empty; save the table again.")
    pandas = _import("pandas", path)
    try:
        if kind in TEXT:
            frame, how = _read_text(pandas, path, args)
        elif kind in PARQUET:
            _import("pyarrow", path)
            frame, how = pandas.read_parquet(path), "Parquet"
        else:
            _import("openpyxl", path)
            frame, how = _read_excel(pandas, path, args)
    except (FileProblem, UsageError, OSError):
        raise
    except Exception as error:  # each reader has errors of its own kind
        raise FileProblem(
            f"{path} cannot be read as a table ({first_line(error)}); save it again, or as CSV."
        ) from error
    _check_names(path, [str(name) for name in frame.columns])
    frame.columns = [str(name).strip() for name in frame.columns]
    empty_rows = frame.isna().all(axis=1)
    notes = [f"Read {path}: {len(frame)} rows x {frame.shape[1]} columns ({how})."]
    if empty_rows.any():
        notes.append(f"Left out {int(empty_rows.sum())} empty rows.")
        frame = frame.loc[~empty_rows]
    if not len(frame):
        raise FileProblem(f"{path} has a line of names and no rows; save the table again.")
    return frame, notes


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, by which it is known again."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _import(name: str, path: Path) -> Any:
    """Return a package that only tables from files need."""
    try:
        return __import__(name)
    except ImportError as error:
        raise FileProblem(
            f"{path} needs {name} to be read, which is not installed; run: {install('table', name)}"
        ) from error


def _read_text(pandas: Any, path: Path, args: Any) -> tuple[Any, str]:
    """Return the table in a text file, and how it was read."""
    text, encoding = _decoded(path)
    lines = [line for line in text.splitlines()[: SAMPLE_LINES + 1] if line.strip()]
    if not lines:
        raise FileProblem(f"{path} has no text in it; save the table again.")
    given = {"tab": "\t"}.get(args.separator, args.separator)
    separator = given or _separator_of(lines)
    names, *values = csv.reader(lines, delimiter=separator)
    _check_names(path, names)
    if any(len(row) > len(names) for row in values):  # pandas would take the first column for an index
        raise FileProblem(f"{path} has more values in its rows than names in its first line; give every column a name.")
    decimal = args.decimal or _decimal_of(lines, separator)
    frame = pandas.read_csv(
        io.StringIO(text), sep=separator, decimal=decimal, na_values=args.na, skipinitialspace=True, low_memory=False
    )
    how = [f"separated by {SEPARATORS.get(separator, repr(separator))}"]
    how += ["decimal comma"] if decimal == "," else []
    how += [] if encoding == "utf-8-sig" else [f"encoded as {encoding}"]
    return frame, ", ".join(how)


def _decoded(path: Path) -> tuple[str, str]:
    """Return the text of a file and its encoding: UTF-8, or what a spreadsheet on Windows writes."""
    raw = path.read_bytes()
    if b"\0" in raw[:4096]:
        raise FileProblem(f"{path} is no text, whatever its name says; save the table as CSV in UTF-8.")
    for encoding in ("utf-8-sig", "cp1252"):
        try:
            return raw.decode(encoding), encoding
        except UnicodeDecodeError:
            continue
    raise FileProblem(f"{path} is neither UTF-8 nor Windows-1252; save the table as CSV in UTF-8.")


def _separator_of(lines: list[str]) -> str:
    """Return the separator that gives the lines one width, the greatest; a comma where none parts them.

    A decimal comma gives lines widths that differ from that of the names, or columns as many as halves of numbers;
    so a semicolon or a tabulator that gives one width goes before a comma.
    """
    for separator in SEPARATORS:
        widths = [len(row) for row in csv.reader(lines, delimiter=separator)]
        width, n_lines = Counter(widths).most_common(1)[0]
        if widths[0] == width > 1 and n_lines >= 0.9 * len(lines):
            return separator
    return ","


def _decimal_of(lines: list[str], separator: str) -> str:
    """Return the decimal mark: a comma where values such as 0,52 stand between other separators."""
    values = (value.strip() for row in csv.reader(lines[1:], delimiter=separator) for value in row)
    return "," if separator != "," and any(map(COMMA_NUMBER.fullmatch, values)) else "."


def _read_excel(pandas: Any, path: Path, args: Any) -> tuple[Any, str]:
    """Return the table on a sheet of a workbook, and which sheet that is."""
    with pandas.ExcelFile(path, engine="openpyxl") as book:
        names = [str(name) for name in book.sheet_names]
        sheet = args.sheet or names[0]
        if args.sheet is None and len(names) > 1:
            first_rows = pandas.read_excel(book, sheet_name=names, header=None, nrows=2)
            filled = [name for name in names if not first_rows[name].empty]
            if len(filled) > 1:
                shown = ", ".join(map(repr, filled))
                raise UsageError(
                    f"{path} has {len(filled)} sheets with something on them ({shown}); name one with --sheet."
                )
            sheet = (filled or names)[0]
        if sheet not in names:
            wrong("--sheet", repr(sheet), f"is not in {path}", f"choose from {', '.join(map(repr, names))}")
        top = pandas.read_excel(book, sheet_name=sheet, header=None, nrows=1)
        if top.empty:
            raise FileProblem(f"{path} has nothing on its sheet {sheet!r}; name another one with --sheet.")
        _check_names(path, [str(name) for name in top.iloc[0].tolist() if name == name])
        return pandas.read_excel(book, sheet_name=sheet, na_values=args.na), f"Excel, sheet {sheet!r}"


def _check_names(path: Path, names: list[str]) -> None:
    """Refuse column names that occur twice, which a reader would rename in silence."""
    twice = [name for name, n in Counter(map(str.strip, names)).items() if n > 1 and name]
    if twice:
        shown = ", ".join(map(repr, twice[:5])) + (", ..." if len(twice) > 5 else "")
        raise FileProblem(f"{path} has more than one column called {shown}; give each column a name of its own.")
