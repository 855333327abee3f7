"""A file becomes a table: text of any separator, Parquet, Excel. What was found is said.

Cells stay what the file says of them, text in a text file, until `cells.numbers_of` or `cells.text_of` is asked.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

from skfdrmfl.cli.options import names_meant
from skfdrmfl.common.extras import import_extra
from skfdrmfl.common.wording import counted, shown
from skfdrmfl.tables import cells, layout
from skfdrmfl.tables.errors import FileProblem, UsageError, first_line, refuse, wrong
from skfdrmfl.tables.text import read_text
from skfdrmfl.tables.workbook import read_workbook

TEXT, PARQUET, EXCEL = {".csv", ".tsv", ".txt"}, {".parquet", ".pq"}, {".xlsx", ".xlsm"}
KINDS = {  # of files: the packages that read them, and the options that do not go with them
    "text": (("pandas",), ("sheet",)),
    "Excel": (("pandas", "openpyxl"), ("separator",)),
    "Parquet": (("pandas", "pyarrow"), ("separator", "sheet", "header", "transpose")),
}
# What the rows below a table are called that sum it up.
SUMMARY = re.compile(
    r"(?:mean|average|avg|median|(?:sub|grand )?total|sum|st\.? ?d(?:ev|v)?|sd|standard deviation|rsd|cv|min(?:imum)?|"
    r"max(?:imum)?|count|mittel(?:wert)?|summe|gesamt|anzahl|std\.?abw|standardabw(?:eichung)?|moyenne|somme|"
    r"[eé]cart[- ]type|gemiddelde|som|totaal|standaardafwijking|media|promedio|suma)[ .:%]*",
    re.IGNORECASE,
)


def read_table(path: Path, args: Any) -> tuple[Any, list[str]]:
    """Return the pandas DataFrame in a file, its rows numbered as there from 0, and sentences that say how it was read.

    Columns of a text file are text, empty cells missing; those of other files may be numbers or dates. `numbers_of` and
    `text_of` give either as one or the other. `args` has the options of `add_reading`; names in its options that a
    column with a comma in its name has as a whole are put together. FileProblem: there is no such file, or it holds no
    table; MissingExtra: a package is missing; UsageError: an option does not fit the file.
    """
    suffix = path.suffix.lower()
    if suffix not in TEXT | PARQUET | EXCEL:
        remedy = "name a .csv, .tsv, .txt, .parquet or .xlsx file"
        raise UsageError(f"{path} is no kind of file that can be read; {remedy}.")
    if not path.exists():
        raise FileProblem(f"{path} is not there; look at the name and at the folder you are in.")
    if not path.is_file():
        raise FileProblem(f"{path} is no file; name the table itself.")
    if path.stat().st_size == 0:
        raise FileProblem(f"{path} is empty; save the table again.")
    kind = "text" if suffix in TEXT else "Excel" if suffix in EXCEL else "Parquet"
    packages, unused = KINDS[kind]
    refuse({f"--{option}": getattr(args, option) for option in unused}, f"is not for {kind} files such as {path}")
    for package in packages:
        import_extra(package, "table", f"To read {path} needs")
    try:
        if kind == "text":
            frame, how, notes = read_text(path, args)
        elif kind == "Excel":
            frame, how, notes = read_workbook(path, args)
        else:
            frame, how, notes = _parquet(path), "Parquet", []
    except (FileProblem, UsageError, OSError):
        raise
    except Exception as error:  # each reader has errors of its own kind
        fact = f"cannot be read as a table ({first_line(error)})"
        raise FileProblem(f"{path} {fact}; save it again, or as CSV.") from error
    frame = _named(frame, notes)
    notes = [f"Read {path}: {len(frame)} rows x {frame.shape[1]} columns ({how}).", *notes]
    frame = _without_summary(_filled(frame, notes), notes)
    if not len(frame):
        raise FileProblem(f"{path} has a line of names and no rows; save the table again.")
    frame.attrs[cells.KEY] = _marks(args, frame)
    split_names(args, frame.columns)
    _refuse_sideways(frame, path, args)
    return frame, notes


def split_names(args: Any, columns: Collection[str] = ()) -> None:
    """Put the names of columns in the place of the texts of options that have them."""
    for option in {"target", "drop", "keep", "categories"} & vars(args).keys():
        setattr(args, option, names_meant(getattr(args, option), columns))


def _parquet(path: Path) -> Any:
    """Return the frame in a Parquet file, an index that is not the default one in columns of its own."""
    import pandas

    from skfdrmfl.data.column_names import flat

    frame = _row_groups(path)
    if frame is None:
        frame = pandas.read_parquet(path)
    if not isinstance(frame.index, pandas.RangeIndex):
        frame = frame.reset_index()
    frame = flat(frame)  # of a MultiIndex
    frame.columns = [str(name).strip() for name in frame.columns]
    layout.names_of(layout.Layout(list(frame.columns), 0, 1), path, frame.shape[1])
    for name in frame.columns:
        column = frame[name]
        if column.dtype.kind == "f" and column.isna().any():  # whole numbers with gaps are such
            whole = column.dropna()
            if len(whole) and (whole % 1 == 0).all() and (whole.abs() < cells.EXACT).all():
                frame[name] = column.astype("Int64")
    return frame


def _row_groups(path: Path) -> Any:
    """Return what pandas makes of a large Parquet file, its numbers lying in another; None of other files."""
    import pandas
    from pyarrow import parquet, types

    from skfdrmfl.common import spill

    with parquet.ParquetFile(path) as file:
        schema, about = file.schema_arrow, file.schema_arrow.pandas_metadata or {}
        names = [name for name in schema.names if name not in about.get("index_columns", ())]
        if len(about.get("column_indexes", ())) > 1 or len(set(names)) < len(names):
            return None
        groups = [file.metadata.row_group(i) for i in range(file.num_row_groups)]
        columns = [group.column(j) for group in groups for j in range(group.num_columns)]
        # pandas makes other numbers of whole ones with gaps.
        gaps = {of.path_in_schema for of in columns if of.statistics is None or of.statistics.null_count != 0}
        mapped: dict[Any, list[str]] = {}  # by type
        for name in names:
            kind = schema.field(name).type
            if types.is_floating(kind) or (types.is_integer(kind) and name not in gaps):
                mapped.setdefault(kind.to_pandas_dtype(), []).append(name)
        n_rows = file.metadata.num_rows
        if 8 * n_rows * sum(map(len, mapped.values())) <= spill.SPILL_BYTES:
            return None
        values: dict[str, Any] = {}
        for dtype, mine in mapped.items():
            values |= zip(mine, spill.new_table((len(mine), n_rows), dtype), strict=True)
        start = 0
        for batch in file.iter_batches(columns=list(values)):
            for name in values:
                values[name][start : start + len(batch)] = batch.column(name).to_numpy(zero_copy_only=False)
            start += len(batch)
    rest = pandas.read_parquet(path, columns=[name for name in names if name not in values])
    whole = {name: values[name] if name in values else rest[name] for name in names}
    return pandas.DataFrame(whole, index=rest.index, copy=False)


def _named(frame: Any, notes: list[str]) -> Any:
    """Return the frame without empty columns that have no name, and without lines of names that come again."""
    unnamed = [name for name in frame.columns if name.startswith("Unnamed: ") and frame[name].isna().all()]
    if unnamed:
        notes.append(f"Left out {counted(len(unnamed), 'column')} without a name and values.")
        frame = frame.drop(columns=unnamed)
    names = [name for name in frame.columns if not name.startswith("Unnamed: ")]
    if names and frame[names[0]].dtype.kind == "O" and len(names) > 1:
        again = frame.index[(frame[names[0]] == names[0]).fillna(False).to_numpy(dtype=bool)]
        again = [i for i in again if all(cells.cell_text(frame.at[i, name]) == name for name in names)]
        if again:
            notes.append(f"Left out {counted(len(again), 'row')} that repeat the names.")
            frame = frame.drop(index=again).reset_index(drop=True)
    return frame


def _filled(frame: Any, notes: list[str]) -> Any:
    """Return the frame without empty rows."""
    import numpy

    empty = numpy.ones(len(frame), dtype=bool)
    for name in frame.columns:
        if not empty.any():
            return frame
        empty &= frame[name].isna().to_numpy()
    notes += [f"Left out {int(empty.sum())} empty rows."] if empty.any() else []
    return frame.loc[~empty]


def _without_summary(frame: Any, notes: list[str]) -> Any:
    """Return the frame without rows at its end that sum up those above, such as one that begins with "mean"."""

    def summary_of(i: int) -> tuple[str, str] | None:
        cell = frame.iloc[i].dropna()
        text = cells.cell_text(cell.iloc[0]) if len(cell) else None
        return (str(cell.index[0]), text) if text is not None and SUMMARY.fullmatch(text) else None

    gone: list[str] = []
    while len(gone) < len(frame) - 1 and (found := summary_of(len(frame) - 1 - len(gone))):
        if (frame[found[0]].iloc[: len(frame) - 1 - len(gone)] == found[1]).any():  # the name of a row like others
            break
        gone.insert(0, found[1])
    if gone:
        notes.append(f"Left out, {counted(len(gone), 'row')} that sum up those above: {shown(gone)}.")
    return frame.iloc[: len(frame) - len(gone)]


def _marks(args: Any, frame: Any) -> cells.Marks:
    """Return what the options say of cells; refuse a decimal mark for a column that is not there."""
    decimals = dict(args.decimal)
    for name in decimals:
        if name is not None and name not in frame.columns:
            wrong("--decimal", name, "is no column of the table", f"choose from {shown(list(frame.columns), 12)}")
    return cells.Marks(frozenset(args.na), cells.NO_NUMBER if args.default_na else frozenset(), decimals)


def _refuse_sideways(frame: Any, path: Path, args: Any) -> None:
    """Refuse a table whose first column holds the names of what is asked for, or wavelengths."""
    wanted, names = list(getattr(args, "target", None) or ()), list(frame.columns)
    if not wanted or set(wanted) & set(names):
        return
    if layout.sideways(cells.text_of(frame.iloc[:, 0]).dropna().tolist(), names, wanted):
        fact = f"is no column of {path}, whose first column holds the names: the table lies on its side"
        wrong("--target", ",".join(wanted), fact, "pass --transpose")
