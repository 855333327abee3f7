"""Tables in text files: their encoding, what parts their columns, and their cells as text."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from skfdrmfl.tables import layout
from skfdrmfl.tables.cells import is_number, text_type
from skfdrmfl.tables.errors import FileProblem
from skfdrmfl.tables.layout import Layout

SEPARATORS = {";": "';'", "\t": "a tabulator", ",": "','", "|": "'|'", " ": "blanks"}
RUNS = " "
BLOCK = 2**23  # bytes that Arrow reads at once: each makes a piece of every column
TRIED = 10  # lines in which numbers are counted
HEAD = 2**20  # bytes in which the first rows are looked for
SAID = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)


@dataclass
class Text:
    """A text file that may hold a table."""

    path: Path
    raw: bytes | None  # the whole in UTF-8, None where the file itself is that
    head: str  # its first lines
    encoding: str
    skip: int = 0  # bytes of a mark before the text

    def stream(self) -> Any:
        """Return the bytes, in UTF-8."""
        stream = self.path.open("rb") if self.raw is None else io.BytesIO(self.raw)
        stream.seek(self.skip)
        return stream

    def whole(self) -> str:
        """Return the text; UnicodeDecodeError where it is not UTF-8."""
        with self.stream() as stream:
            return str(stream.read().decode())


def read_text(path: Path, args: Any) -> tuple[Any, str, list[str]]:
    """Return the frame of the texts in a file, how it was read, and what was found beside the table."""
    text = _text(path)
    given = {"tab": "\t", "blank": RUNS, "space": RUNS}.get(args.separator, args.separator)
    try:
        frame, separator, notes = _table(text, given, args)
    except UnicodeDecodeError:  # beyond the first lines
        text = _text(path, otherwise=True)
        frame, separator, notes = _table(text, given, args)
    how = [f"separated by {SEPARATORS.get(separator, repr(separator))}"]
    how += [f"encoded as {text.encoding}"] if text.encoding != "utf-8" else []
    return frame, ", ".join(how), notes


def _text(path: Path, *, otherwise: bool = False) -> Text:
    """Return a file as text in UTF-8, or `otherwise` in what a spreadsheet on Windows writes."""
    with path.open("rb") as stream:
        start = stream.read(HEAD)
    if len(start) == HEAD:  # the last line is none yet
        start = start[: start.rfind(b"\n") + 1] or start
    marked = 3 * start.startswith(b"\xef\xbb\xbf")
    encoding = "utf-16" if start.startswith((b"\xff\xfe", b"\xfe\xff")) else "cp1252"
    if encoding == "cp1252" and b"\0" in start[:4096]:
        raise FileProblem(f"{path} is no text, whatever its name says; save the table as CSV in UTF-8.")
    with suppress(UnicodeDecodeError):
        if encoding == "cp1252" and not otherwise:
            return Text(path, None, start[marked:].decode(), "utf-8", marked)
    try:
        text = path.read_bytes().decode(encoding)
    except UnicodeDecodeError as error:
        raise FileProblem(f"{path} is neither UTF-8 nor Windows-1252; save the table as CSV in UTF-8.") from error
    head = text if len(text) <= HEAD else text[: text.rfind("\n", 0, HEAD) + 1] or text
    return Text(path, text.encode(), head, encoding)


def _table(text: Text, given: str | None, args: Any) -> tuple[Any, str, list[str]]:
    """Return the frame, what parts its columns, and notes."""
    lines = list(islice((line for line in text.head.splitlines() if line.strip()), layout.SAMPLE))
    if not lines:
        raise FileProblem(f"{text.path} has no text in it; save the table again.")
    notes = []
    said = SAID.fullmatch(lines[0])
    if said:
        given, lines = given or said[1], lines[1:]
        notes.append(f"The first line names the separator: {said[1]!r}.")
    separator = given or separator_of(lines)

    def rows_of(source: str) -> Iterator[tuple[list[str], int]]:
        for i, (row, end) in enumerate(_rows(source, separator)):
            yield ([], end) if said and i == 0 else (row, end)

    if not args.transpose:
        sample = list(islice(rows_of(text.head), layout.SAMPLE))
        rows = [row for row, _ in sample]
        found = layout.find(rows, text.path, args.header)
        n_lines = sample[found.first - 1][1] if found.first else 0
        if (frame := _quick(text, separator, found, rows, n_lines)) is not None:
            return frame, separator, notes + found.notes
    frame, more = layout.frame_of_rows(
        [row for row, _ in rows_of(text.whole())], text.path, args, even=separator == RUNS
    )
    return frame, separator, notes + more


def separator_of(lines: list[str]) -> str:
    """Return what parts the lines of a table: what gives the names and the values one width, and the most numbers.

    Names may be one fewer than values, and stand in a comment. Numbers count half where lines before the names are of
    another width. A decimal comma may give as many numbers as what parts the columns, so a comma comes after those, and
    blanks are to give twice as many.
    """
    lines = [line.lstrip("# ") if line.startswith("#") else line for line in lines]
    parted = {separator: [[*map(str.strip, row)] for row in _parted(lines, separator)] for separator in SEPARATORS}
    found: dict[str, tuple[int, bool]] = {}
    for separator, rows in parted.items():
        widths = list(map(len, rows))
        width, share = layout.width_of(widths)
        first = next((i for i, w in enumerate(widths) if w == width), 0)
        short = first == 1 and widths[0] == width - 1 > 1
        if width > 1 and share >= 0.5 and max(widths[:first], default=0) < width:
            numbers = sum(map(is_number, (cell for row in rows[-TRIED:] if len(row) == width for cell in row)))
            whole = first == 0 or short
            found[separator] = (numbers * (1 + whole), whole)
    runs, _ = found.pop(RUNS, (0, False))
    if runs > max((2 * numbers if whole else numbers for numbers, whole in found.values()), default=0):
        return RUNS
    return max(found, key=lambda separator: found[separator], default=",")


def _rows(text: str, separator: str) -> Iterator[tuple[list[str], int]]:
    """Yield the cells of the rows of a text, none of a blank line, and the number of lines up to their end."""
    reader = _parted(io.StringIO(text, newline=""), separator)
    for row in reader:
        yield (row if len(row) > 1 or any(map(str.strip, row)) else []), reader.line_num


def _parted(lines: Iterable[str], separator: str) -> Any:
    """Return the reader of the cells of lines; those parted by runs of blanks may be indented."""
    csv.field_size_limit(2**31 - 1)
    if separator == RUNS:
        lines = (re.sub(r"[ \t]+", " ", line.strip()) + "\n" for line in lines)
    return csv.reader(lines, delimiter=separator, skipinitialspace=True)


def _quick(text: Text, separator: str, found: Layout, rows: list[list[str]], n_lines: int) -> Any:
    """Return the frame as Arrow reads it, which is many times faster; None where not all lines are of one width."""
    try:
        import pyarrow
        from pyarrow import csv as arrow
    except ImportError:
        return None
    import pandas

    values = [row for row in rows[found.first :] if row]
    width = max(map(len, values), default=0)
    is_even = len(found.names) <= min(map(len, values), default=0) == width
    if separator == RUNS or not separator.isascii() or not is_even:
        return None
    start = 0
    for _ in range(n_lines):
        start = text.head.find("\n", start) + 1
        if not start:
            return None
    with text.stream() as stream:
        quotes = [block for block in iter(lambda: stream.read(HEAD), b"") if b'"' in block]
        if any(f'{separator} "'.encode() in block for block in quotes):
            return None
        stream.seek(text.skip + len(text.head[:start].encode()))
        columns = [str(j) for j in range(width)]
        try:
            table = arrow.read_csv(
                stream,
                read_options=arrow.ReadOptions(column_names=columns, block_size=BLOCK),
                parse_options=arrow.ParseOptions(delimiter=separator, newlines_in_values=bool(quotes)),
                convert_options=arrow.ConvertOptions(
                    column_types=dict.fromkeys(columns, pyarrow.large_string()),
                    null_values=[""],
                    strings_can_be_null=True,
                ),
            )
        except pyarrow.ArrowInvalid as error:
            if "UTF8" in str(error):
                raise UnicodeDecodeError("utf-8", b"", 0, 1, str(error)) from error
            return None
    names = layout.names_of(found, text.path, width)
    arrays = map(text_type().__from_arrow__, table.columns)
    frame = pandas.DataFrame(dict(zip(names, arrays, strict=True)), copy=False)
    if frame.tail(layout.SAMPLE).isna().all(axis=1).any():  # what follows an empty row may be no row
        return None
    return frame if frame.iloc[:, len(found.names) :].isna().all(axis=None) else None
