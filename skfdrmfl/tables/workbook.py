"""Tables in Excel workbooks: the cells of one sheet, as it shows them."""

from __future__ import annotations

import re
import zipfile
from decimal import Decimal
from operator import itemgetter
from pathlib import Path
from typing import Any

from skfdrmfl.common.wording import counted, shown
from skfdrmfl.tables import layout
from skfdrmfl.tables.errors import FileProblem, UsageError, wrong

PADDED = re.compile(r"0{2,}")  # a number format that shows 7 as 007
MERGED = re.compile(rb"<(?:\w+:)?mergeCell\s[^>]*?ref=.([A-Z]+\d+:[A-Z]+\d+)")


def read_workbook(path: Path, args: Any) -> tuple[Any, str, list[str]]:
    """Return the frame of the table on a sheet, which sheet that is, and what was found beside the table."""
    from openpyxl import load_workbook

    book = load_workbook(path, read_only=True, data_only=True)
    try:
        sheet = _sheet(book, path, args.sheet)
        rows = [[_shown(cell) for cell in row] for row in book[sheet].iter_rows()]
        part = book[sheet]._worksheet_path
    finally:
        book.close()
    while rows and not any(cell is not None for cell in rows[-1]):
        rows.pop()
    if not rows:
        raise FileProblem(f"{path} has nothing on its sheet {sheet!r}; name another one with --sheet.")
    said = []
    if any(cell is None for row in rows for cell in row):
        _refuse_bare_formulas(path, sheet, rows)
        said = _fill_merged(path, part, rows, args.transpose)
    frame, notes = layout.frame_of_rows(rows, path, args, "row", keep_empty=True)
    return frame, f"Excel, sheet {sheet!r}", said + notes


def _sheet(book: Any, path: Path, asked: str | None) -> str:
    """Return the name of the sheet to read; refuse one that is not there, and to choose among several."""
    names = [sheet.title for sheet in book.worksheets]
    if asked is not None and asked not in names:
        wrong("--sheet", repr(asked), f"is not in {path}", f"choose from {', '.join(map(repr, names))}")
    if asked is None and len(names) > 1:
        rows = {name: book[name].iter_rows(values_only=True) for name in names}
        filled = [name for name in names if any(cell is not None for row in rows[name] for cell in row)]
        if len(filled) > 1:
            fact = f"has {len(filled)} sheets with something on them ({', '.join(map(repr, filled))})"
            raise UsageError(f"{path} {fact}; name one with --sheet.")
        names = filled or names
    return asked or names[0]


def _shown(cell: Any) -> Any:
    """Return a cell's number, date or text; text too where the sheet shows a number otherwise."""
    value = cell.value
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, str):
        return value if value.strip() else None
    if isinstance(value, (int, float)):
        style = cell.number_format or ""
        if isinstance(value, int) and PADDED.fullmatch(style):
            return f"{value:0{len(style)}d}"
        if "%" in style:
            return f"{Decimal(repr(value)).scaleb(2).normalize():f}%"
    return value


def _fill_merged(path: Path, part: str, rows: list[list[Any]], transpose: bool) -> list[str]:
    """Give each row that a merged cell covers its value, of which the file has one, and say how many cells are merged.

    On a sheet that lies on its side it is each column. Merged the other way, a cell is a heading of several columns.
    """
    from openpyxl.utils.cell import get_column_letter, range_boundaries

    with zipfile.ZipFile(path) as parts:
        places = [range_boundaries(place.decode()) for place in MERGED.findall(parts.read(part))]
    over = []
    for left, top, right, bottom in sorted(places, key=itemgetter(1, 0)):
        covered = range(top - 1, top if transpose else min(bottom, len(rows)))
        columns = range(left - 1, right if transpose else left)
        value = next(iter(rows[top - 1][left - 1 : left]), None) if covered else None
        if len(covered) * len(columns) > 1 and value is not None:
            over.append(f"{get_column_letter(left)}{top}")
            for row in (rows[i] for i in covered):
                row += [None] * (columns.stop - len(row))
                row[columns.start : columns.stop] = [value] * len(columns)
    return [f"Merged over rows, each of which has its value: {shown(over, 3)}."] if over else []


def _refuse_bare_formulas(path: Path, sheet: str, rows: list[list[Any]]) -> None:
    """Refuse formulas whose values the program that wrote them has not stored."""
    with zipfile.ZipFile(path) as parts:
        if not any(b"<f" in parts.read(name) for name in parts.namelist() if name.startswith("xl/worksheets/")):
            return
    from openpyxl import load_workbook

    book = load_workbook(path, read_only=True)
    try:
        bare = [
            f"{cell.coordinate} ({cell.value})"
            for row, stored in zip(book[sheet].iter_rows(), rows, strict=False)
            for cell, value in zip(row, stored, strict=False)
            if value is None and isinstance(cell.value, str) and cell.value.startswith("=")
        ]
    finally:
        book.close()
    if bare:
        fact = f"has {counted(len(bare), 'formula')} without stored values, the first in {bare[0]}"
        raise FileProblem(f"{path} {fact}; open it in a spreadsheet and save it again.")
