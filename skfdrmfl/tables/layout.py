"""Where in the rows of a file the names of a table stand, and where its values begin."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from statistics import median
from typing import Any

from skfdrmfl.common.wording import counted, shown
from skfdrmfl.tables.cells import INVISIBLE, NO_NUMBER, cell_text, column_of, is_number
from skfdrmfl.tables.errors import FileProblem, wrong

Row = Sequence[str]  # the text of its cells, "" where they are empty
SAMPLE = 100  # rows looked at
FEWEST = 4  # columns of a table below which a line of one or two values may be a row
FEWEST_BANDS = 3  # of an axis
PLAIN = re.compile(r"[-+]?[0-9]*\.?[0-9]+")
LINE_ENDS = re.compile(r"\s*[\r\n\t]\s*")
UNIT = re.compile(
    r"[\[(]?(?:‰|-|°?[CFK]|[nuµμm]m|cm-1|cm\^-1|cm⁻¹|1/cm|a\.? ?u\.?|abs(?:orbance)?|refl(?:ectance)?|log ?\(?1/r\)?|"
    r"[mµuk]?g(?: ?\w*/.*)?|[md]?l|ppm|ppb|°?b(?:ri)?x|[mµu]?mol(?:/.*)?|[wvm]/[wvm]%?|"
    r"(?:wt|w|vol|v|mass|m|mol)?\.? ?% ?[\w/ .()]*|counts?|min|[smh]|[mµu]?s/c?m|ph|iu|units?)"
    r"[\])]?",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Layout:
    """What the rows of a file are."""

    names: list[str]
    header: int | None  # the row of the names, None where they are made up
    first: int  # the row of the first values
    notes: list[str] = field(default_factory=list)


def find(rows: Sequence[Row], path: Path, header: str | None, what: str = "line") -> Layout:
    """Return how the first rows of a file are laid out, `SAMPLE` or fewer, of which empty ones count.

    `header` is the number of the row that holds the names, from 1, "none" where no row does, None where it is to be
    found; `what` is what a row is called.
    """
    table = _Sample(rows)
    if not table.filled:
        raise FileProblem(f"{path} has no text in it; save the table again.")
    if header not in (None, "none"):
        place = int(str(header)) - 1
        if place >= len(rows) or place not in table.filled:
            wrong("--header", header, f"is no {what} with text among the first of {path}", f"count every {what} from 1")
    elif header == "none":
        first = table.candidates()[0]
        names = [f"column_{j + 1}" for j in range(len(table.rows[first]))]
        notes = [f"No {what} of names, as asked: the columns are called {shown(names, 4)}."]
        return Layout(names, None, first, notes + _before(rows, range(first), what))
    else:
        found = table.header(rows)
        if isinstance(found, list):  # a comment that names the columns
            return Layout(found, None, table.candidates()[0], [f"The names stand in a comment: {shown(found, 4)}."])
        if found is None:
            first = table.candidates()[0]
            cells = list(table.rows[first])
            fact = f"has numbers in {what} {first + 1}, where names are expected ({shown(cells, 4)})"
            remedy = f"pass --header none if it is a row of values, --header {first + 1} if these are the names"
            above = [i for i in table.filled if i < first and not table.is_comment(i)]
            if above and 1 < (n_names := len(table.rows[above[-1]])) < len(cells) - 1:
                fact = f"has {n_names} names in {what} {above[-1] + 1} and {len(cells)} values in {what} {first + 1}"
                commas = "where numbers have decimal commas, save the table with ';' between its columns, or "
                remedy = f"{commas if what == 'line' else ''}write the names of all columns in one {what}"
            raise FileProblem(f"{path} {fact}; {remedy}.")
        place = found
    names = [name.strip() for name in table.rows[place]]
    notes = _before(rows, range(place), what)
    after = [i for i in table.filled if i > place and not table.is_comment(i)]
    first = after[0] if after else place + 1
    if len(after) > 1 and _is_units(table.rows[first], [table.rows[i] for i in after[1:]]):
        units = list(dict.fromkeys(filter(None, table.rows[first])))
        notes.append(f"Left out, units under the names: {shown(units)}.")
        after = after[1:]
        first = after[0]
    if len(names) >= 2 and _names_rows([table.rows[i] for i in after], len(names) + 1):
        names = ["", *names]
        notes.append(f"One name fewer than values: the first value of a {what} is the name of its row.")
    return Layout(names, place, first, notes)


def width_of(widths: Sequence[int]) -> tuple[int, float]:
    """Return the width of the rows of a table, which hold most cells, and their share in all cells."""
    cells = {width: n * width for width, n in Counter(widths).items()}
    width = max(cells, key=lambda width: cells[width], default=0)
    return width, cells[width] / sum(cells.values()) if width else 0.0


class _Sample:
    """The first `rows` of a file, up to their last cells that are filled, and which may hold names or values."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = [[(cell or "").strip() for cell in _filled(row)] for row in rows]
        self.filled = [i for i, row in enumerate(self.rows) if any(row)]
        table = [i for i in self.filled if not self.is_comment(i)] or self.filled
        self.width, _ = width_of([len(self.rows[i]) for i in table])
        self._body = [i for i in table if len(self.rows[i]) == self.width]
        self._body = self._body[len(self._body) // 3 :]
        self._n_filled = float(median([sum(map(bool, self.rows[i])) for i in self._body])) if self._body else 0.0

    def is_comment(self, i: int) -> bool:
        """Return whether a row is a remark of the program that has written the file."""
        return self.rows[i][:1] != [] and self.rows[i][0].startswith("#") and not self.rows[i][0].startswith("#N")

    def candidates(self) -> list[int]:
        """Return the rows that are as wide as the table, comments apart."""
        least = max(2, self._n_filled / 2) if self.width > 1 else 1
        wide = [i for i in self.filled if sum(map(bool, self.rows[i])) >= least and not self.is_comment(i)]
        exact = [i for i in wide if len(self.rows[i]) >= self.width - 1]
        return exact or wide or self.filled

    def header(self, rows: Sequence[Row]) -> int | list[str] | None:
        """Return the row of the names, the names themselves where a comment holds them, None where no row does."""
        candidates = self.candidates()
        numeric = self._numeric(candidates)
        if not numeric or len(candidates) == 1:
            return candidates[0]
        top: list[int] = []  # rows above the values
        for i in candidates:
            offset = len(self.rows[i]) - self.width if self._is_short(i, candidates) else 0
            cells = [self._cell(i, j + offset) for j in numeric]
            if not any(cell and not is_number(cell) and cell not in NO_NUMBER for cell in cells):
                break
            top.append(i)
        if top:
            whole = [i for i in top if all(self.rows[i][1:]) and len(set(self.rows[i])) == len(self.rows[i])]
            if whole and self._is_short(whole[0], candidates):
                below = [self.rows[k] for k in candidates if k > whole[0]]
                if all(row[0] == str(n) for n, row in enumerate(below, 1)):
                    return whole[0]
            wide = [i for i in whole if len(self.rows[i]) >= self.width] or whole
            return (wide or top)[0]
        first = candidates[0]
        comments = [i for i in self.filled if i < first and self.is_comment(i)]
        if comments:
            names = [cell.strip() for cell in rows[comments[-1]]]
            names = [names[0].lstrip("#").strip(), *names[1:]]
            names = names if names[0] else names[1:]  # of blanks
            if len(names) == self.width > 1 and not all(map(is_number, names)):
                return names
        below = [[self._cell(i, j) for j in numeric] for i in candidates[1:]]
        return first if _is_axis([self._cell(first, j) for j in numeric], below) else None

    def _is_short(self, i: int, candidates: list[int]) -> bool:
        """Return whether a row has one name fewer than all below have values."""
        return len(self.rows[i]) == self.width - 1 and all(len(self.rows[k]) == self.width for k in candidates if k > i)

    def _cell(self, i: int, j: int) -> str:
        """Return a cell, "" beyond the end of its row."""
        return self.rows[i][j] if 0 <= j < len(self.rows[i]) else ""

    def _numeric(self, candidates: list[int]) -> list[int]:
        """Return the columns in which most values are numbers."""
        body = [i for i in candidates if i in set(self._body)][-len(candidates) // 2 :] or candidates[-1:]
        return [j for j in range(self.width) if _mostly_numbers(self._cell(i, j) for i in body)]


def regular(texts: Sequence[str]) -> bool:
    """Return whether texts are an axis whose steps, or those of 1 over it, are of one size up to a factor of 3."""
    from skfdrmfl.data.axis import axis_of

    values = axis_of(texts) if len(texts) >= FEWEST_BANDS else None
    if values is None or not (values > 0).all():
        return False
    both = (abs(axis[1:] - axis[:-1]) for axis in (values, 1 / values))
    return _runs_one_way(values) and any(steps.max() <= 3 * steps.min() for steps in both)


def _runs_one_way(values: Any) -> bool:
    """Return whether numbers (n,) rise, or fall, from first to last."""
    steps = values[1:] - values[:-1]
    return bool((steps > 0).all() or (steps < 0).all())


def sideways(first_column: Sequence[str], names: Sequence[str], wanted: Sequence[str]) -> bool:
    """Return whether a table without a column that is wanted lies on its side: its first column has the names."""
    if all(name in first_column for name in wanted):
        return True
    from skfdrmfl.data.axis import wavelength_of

    points = [text for text in first_column if wavelength_of(text) is not None]
    return (
        len(points) >= max(10, 0.8 * len(first_column)) and not regular(list(filter(None, names))) and regular(points)
    )


def _is_axis(cells: list[str], below: list[list[str]]) -> bool:
    """Return whether a row is an axis: of even steps, unlike the next row, or one-way and far above all values."""
    from skfdrmfl.data.axis import axis_of

    values = axis_of(cells) if len(cells) >= FEWEST_BANDS else None
    if values is None:
        return False
    if regular(cells):
        return not regular(below[0])
    found = [abs(float(text)) for row in below for text in row if PLAIN.fullmatch(text)]
    return _runs_one_way(values) and bool(values.min() > 2 * max(found, default=float("inf")))


def _is_units(cells: Row, below: list[list[str]]) -> bool:
    """Return whether a row under the names holds units: no cell is a number, most over numbers are known units."""
    if any(map(is_number, cells)):
        return False
    columns = zip(cells, zip_longest(*below, fillvalue=""), strict=False)
    over_numbers = [cell for cell, values in columns if cell and _mostly_numbers(values)]
    known = [cell for cell in over_numbers if UNIT.fullmatch(cell)]
    sure = [cell for cell in known if cell != "-"]  # which stands for no value too
    return bool(known) and (len(known) == len(over_numbers) or 2 * len(sure) > len(over_numbers))


def _mostly_numbers(cells: Iterable[str]) -> bool:
    """Return whether more than half of the cells that say something are numbers."""
    values = [cell for cell in cells if cell and cell not in NO_NUMBER]
    return 2 * sum(map(is_number, values)) > len(values)


def _names_rows(rows: list[list[str]], width: int) -> bool:
    """Return whether rows have the width, and begin with their names: texts, none of them twice, or a count."""
    first = [row[0] for row in rows if len(row) == width]
    if not first or len(first) < len(rows) or len(set(first)) < len(first):
        return False
    return not any(map(is_number, first)) or first in [[str(i + k) for i in range(len(first))] for k in (0, 1)]


def _before(rows: Sequence[Row], places: range, what: str) -> list[str]:
    """Return what is said of the rows before the names."""
    texts = [" ".join(filter(None, map(str.strip, rows[i]))) for i in places]
    said = [text if len(text) <= 40 else f"{text[:37]}..." for text in texts if text]
    what = f"{counted(len(said), what)}, {shown(list(map(repr, said)), 3)}"
    return [f"Left out before the names: {what}."] if said else []


def _filled(row: Sequence[Any]) -> list[Any]:
    """Return the cells of a row up to the last that is filled, None for those that are empty."""
    cells = [cell if cell_text(cell) else None for cell in row]
    while cells and cells[-1] is None:
        cells.pop()
    return cells


def names_of(layout: Layout, path: Path, width: int) -> list[str]:
    """Return a name for each column, "Unnamed: 0" for an unnamed first one; refuse names that occur twice."""
    names = [LINE_ENDS.sub(" ", name).strip(f" {INVISIBLE}") for name in layout.names]
    names += [""] * (width - len(names))
    twice = [name for name, n in Counter(names).items() if n > 1 and name]
    if twice:
        fact = f"has more than one column called {shown(list(map(repr, twice)), 5)}"
        remedy = "pass --header with the line of the names, or --transpose if the table lies on its side"
        raise FileProblem(f"{path} {fact}; give each column a name of its own, {remedy}.")
    return [name or f"Unnamed: {j}" for j, name in enumerate(names)]


def frame_of_rows(
    rows: list[list[Any]], path: Path, args: Any, what: str = "line", *, keep_empty: bool = False, even: bool = False
) -> tuple[Any, list[str]]:
    """Return the frame of rows of cells, and what was found beside the table.

    Cells are text, or numbers and dates of a workbook; empty ones are None or "". Empty rows are kept if asked. Rows
    that are shorter than the table are refused if they have to be `even`.
    """
    import pandas

    if args.transpose:
        rows = _turned(rows)
    found = find([[cell_text(cell) or "" for cell in row] for row in rows[:SAMPLE]], path, args.header, what)
    notes, width = list(found.notes), len(found.names)
    body = [(i, _filled(row)) for i, row in enumerate(rows)]
    body = _without_footer(body[found.first :], width, notes, what)
    if not keep_empty:
        body = [(i, row) for i, row in body if rows[i]]
    short = [i for i, row in body if len(rows[i]) < width and row]
    if short and even:
        fact = f"has {len(rows[short[0]])} values for {width} names in {what} {short[0] + 1}"
        raise FileProblem(f"{path} {fact}, and blanks do not say which; save it as CSV.")
    if short and not keep_empty and not args.transpose:
        notes.append(f"{counted(len(short), what)} with fewer values than names (first: {what} {short[0] + 1}).")
    if any(len(rows[i]) > width >= len(row) for i, row in body):
        notes.append("Left out columns without a name and values.")
    for i, row in body:
        if len(row) > width and found.header is not None:
            where = f"{len(row)} and {width} in {what} {i + 1}"
            remedy = f"give every column a name, or pass --header with the {what} of the names"
            raise FileProblem(f"{path} has more values in its rows than names in its first line ({where}); {remedy}.")
        width = max(width, len(row))
    names = names_of(found, path, width)
    columns = list(zip(*(row + [None] * (width - len(row)) for _, row in body), strict=True)) or [()] * width
    arrays = {name: column_of(list(cells)) for name, cells in zip(names, columns, strict=True)}
    return pandas.DataFrame(arrays), notes


def _turned(rows: list[list[Any]]) -> list[list[Any]]:
    """Return the columns of a table as rows; what stands before or after it is no part of that."""
    filled = [row for row in map(_filled, rows) if row]
    width = Counter(map(len, filled)).most_common(1)[0][0] if filled else 0
    table = [row for row in filled if 2 * len(row) > width]
    return [list(row) for row in zip_longest(*table)]


def _without_footer(
    body: list[tuple[int, list[Any]]], width: int, notes: list[str], what: str
) -> list[tuple[int, list[Any]]]:
    """Return the rows of values without remarks among them and below; say how many go."""

    def is_remark(row: list[Any]) -> bool:
        texts = [text for cell in row if (text := cell_text(cell))]
        return 0 < len(texts) <= 2 and width >= FEWEST and not any(map(is_number, texts))

    comments = {i for i, row in body if row and (cell_text(row[0]) or "").startswith("#") and is_remark(row)}
    kept = [(i, row) for i, row in body if i not in comments]
    end = len(kept)
    while end and (not kept[end - 1][1] or is_remark(kept[end - 1][1])):
        end -= 1
    # A last row that has no more than the name of a sample is one; remarks are told by the empty row before them.
    below = kept[end:]
    cut = next((k for k, (_, row) in enumerate(below) if not row), None)
    footer = [row for _, row in below[cut:] if row] if cut is not None else []
    if cut is not None:
        kept = kept[: end + cut]
    gone = [*(row for i, row in body if i in comments), *footer]
    if gone:
        said = [" ".join(filter(None, map(cell_text, row)))[:40] for row in gone]
        notes.append(f"Left out, remarks: {counted(len(gone), what)}, {shown(list(map(repr, said)), 3)}.")
    return kept
