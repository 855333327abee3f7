"""Files of instruments, and a table of what was measured, become one table: a row a spectrum."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

from skfdrmfl.cli import reading
from skfdrmfl.cli.options import add, add_columns, add_model, add_reading
from skfdrmfl.common.progress import Bar
from skfdrmfl.common.wording import counted, shown
from skfdrmfl.tables.cells import text_of
from skfdrmfl.tables.errors import FileProblem, as_problem, no_column, refuse, wrong

FOLDER, SPECTRUM = "folder", "spectrum"  # names of columns: the subfolder, the name of the spectrum
MANY = 50  # files, from which on progress is shown


def add_table(parser: Any, *missing: str) -> None:
    """Add the options of a table and of the model that is fitted to it; `missing` are further answers to gaps."""
    add_columns(parser, *missing)
    add_input(parser)
    add_model(parser)


def add_input(parser: Any) -> None:
    """Add the options that say how tables are read, and what becomes of files of instruments."""
    add_reading(parser)
    group = parser.add_argument_group("files of instruments: FILE is one, or a folder of them with sites as subfolders")
    add(group, "--targets FILE", "table with the measured values, a row a sample", type=Path)
    add(group, "--sample-column NAME", "its column that names the files, or spectra in them (default: found)")
    add(group, "--signal NAME", "signal to take of several in a file (default: what a sample absorbs or reflects)")
    axis = "files with other points are an error, or interpolated to the range that all cover"
    add(group, "--axis", axis, choices=("same", "common"), default="same")


def refuse_folder_options(args: Any, fact: str) -> None:
    """Refuse options of `add_input` where they would have no effect."""
    axis = None if args.axis == "same" else args.axis
    given = {"--targets": args.targets, "--sample-column": args.sample_column, "--signal": args.signal, "--axis": axis}
    refuse(given, fact)


def read_input(path: Path, args: Any, record: dict[str, Any] | None = None) -> tuple[Any, list[str]]:
    """Return the DataFrame of a table or of files of instruments, and sentences that say how it was read.

    `args` has the options of `add_input`; `record` is that of a model which is to predict, whose
    signal and points are taken again. The errors are those of `read_table`.
    """
    tables = reading.TEXT | reading.PARQUET | reading.EXCEL
    if args.targets is None and not path.is_dir() and path.suffix.lower() in tables:
        refuse_folder_options(args, f"is for files of instruments, and {path} is a table")
        return reading.read_table(path, args)
    if args.targets is None and record is None:
        remedy = "pass --targets table.csv"
        if path.is_file():
            remedy += f" if {path} is of an instrument; save it as .csv, .xlsx or .parquet if it is a table"
        wrong("--targets", "none", "names the table with the measured values", remedy)
    if args.targets is None and args.sample_column is not None:
        wrong("--sample-column", args.sample_column, "is for a table of targets", "name it with --targets too")
    if args.targets is None:
        reading.split_names(args)
    table, notes = (None, []) if args.targets is None else reading.read_table(args.targets, args)
    frame, rows = _spectra(path, args, record or {}, notes)
    rest, attrs = frame[[]], frame.attrs
    if any(row.site for row in rows):
        rest = rest.assign(**{FOLDER: [row.site or path.name for row in rows]})
        sizes = [f"{name} ({n})" for name, n in rest[FOLDER].value_counts(sort=False).items()]
        notes.append(f"Subfolders and their spectra: {shown(sizes)}; --clients-column {FOLDER} takes them for sites.")
    if table is not None:
        rest, attrs = _joined(rest, rows, table, args, notes, training=record is None), table.attrs | attrs
    if both := sorted(set(rest.columns) & set(frame.columns)):
        raise FileProblem(f"{args.targets} has columns called as wavelengths are ({shown(both)}); rename them.")
    if record is not None and SPECTRUM not in rest:
        rest.insert(0, SPECTRUM, rest.index)
    whole = rest.join(frame).reset_index(drop=True)
    whole.attrs = attrs
    return whole, notes


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, or of all in a folder with their names, by which it is known again."""
    if not path.is_dir():
        with path.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    files = sorted(file for file in path.rglob("*") if file.is_file())
    text = "".join(f"{file.relative_to(path).as_posix()} {digest(file)}\n" for file in files)
    return hashlib.sha256(text.encode()).hexdigest()


def _spectra(path: Path, args: Any, record: dict[str, Any], notes: list[str]) -> tuple[Any, Any]:
    """Return the spectra of files, texts as names of columns, at the points of a model, and where each is from."""
    import numpy as np

    from skfdrmfl.data.axis import axes_of, unit_of, wavelength_of
    from skfdrmfl.datasets._spectra import files_of, read_files

    axes = axes_of(record.get("features", ()))
    names = axes[0] if len(axes) == 1 else []
    points = np.array([wavelength_of(name) for name in names], dtype=float) if names else None
    with as_problem("", OSError, ImportError):
        files = files_of(path, without=args.targets)  # the table may lie among the spectra
        with closing(Bar("read", len(files), "file", shown=len(files) >= MANY)) as bar:
            frame, rows, said = read_files(
                files,
                signal=args.signal or record.get("signal"),
                axis=args.axis,
                points=points,
                progress=lambda done, total, name: bar.reach(done, name),
            )
    unit, known = frame.attrs["unit"], unit_of(names) or record.get("unit")
    if unit and known and known != unit:
        raise FileProblem(f"{path} has spectra over {unit}, and the model's are over {known}; convert them.")
    ends = f"{frame.columns[0]:.10g} to {frame.columns[-1]:.10g} ({unit or 'unit unknown'})"
    what = f"{len(frame)} x {frame.shape[1]} points in {counted(len({row.file for row in rows}), 'file')}"
    notes += [f"Read {path}: {what}, {ends}, {frame.attrs['signal']}.", *said]
    frame.columns = names or [f"{point:.10g}" for point in frame.columns]
    return frame, rows


def _joined(rest: Any, rows: list[Any], table: Any, args: Any, notes: list[str], *, training: bool) -> Any:
    """Return the rows with the columns of the table, joined by the names of samples."""
    import numpy as np
    import pandas

    of, match = args.targets.name, _match(rows, table, args)
    column, at = match.column, np.array(match.at)
    n_of = Counter(at[at >= 0].tolist())
    samples = text_of(table[column]).fillna("").tolist()
    alike = "" if match.same is str else ", names alike but for case, blanks and zeros before numbers"
    notes.append(f"Joined by the column {column} of {of}: {n_of.total()} of {len(rest)} spectra{alike}.")
    if n_of.total() < len(rest):
        left = "Left out" if training else "Without measured values"
        notes.append(f"{left}, no row in {of}: {shown(list(rest.index[at < 0]))}.")
    if unused := [name for i, name in enumerate(samples) if i not in n_of]:
        notes.append(f"Rows of {of} without a spectrum: {shown(unused)}.")
    several = [f"{samples[i]} ({n})" for i, n in n_of.items() if n > 1]
    if several and vars(args).get("groups_column") != column:
        notes.append(f"Samples with several spectra: {shown(several)}; --groups-column {column} keeps them together.")
    if training:
        rest, at = rest[at >= 0], at[at >= 0]
    of_table = table.reset_index(drop=True).reindex(at).set_axis(rest.index)
    joined = pandas.concat([rest, of_table.rename(columns={name: f"{name}_" for name in rest})], axis=1)
    if not training:
        return joined
    asked = {*args.target, args.clients_column, args.groups_column, *args.keep, *args.categories} - {None}
    if asked - set(joined.columns):  # a name that no column has: all are named in the message
        return joined
    others = [name for name in joined if name not in asked]
    not_used = [name for name in others if name != FOLDER and not any(fnmatchcase(name, drop) for drop in args.drop)]
    if not_used:
        notes.append(f"Not used, of {of}: {shown(not_used)}; --keep NAME takes one for a feature.")
    return joined.drop(columns=[name for name in others if name in not_used or name == FOLDER])


class Match(NamedTuple):
    """Where in a table spectra are found by the names in a column."""

    column: str
    same: Callable[[str], str]  # what is compared of names
    at: list[int]  # for each spectrum the row of the table, -1 where there is none
    twice: list[str]  # names that are found and stand in several rows

    @classmethod
    def of(cls, column: str, same: Callable[[str], str], rows: Sequence[Any], names: list[str]) -> Match:
        """Return it for names, one for each row of the table."""
        keys = [same(name) for name in names]
        place = {key: i for i, key in enumerate(keys) if key}
        called = [map(same, [*row.names, *row.of_file]) for row in rows]
        at = [next((place[key] for key in mine if key in place), -1) for mine in called]
        counts = Counter(keys)
        return cls(column, same, at, [names[i] for i in dict.fromkeys(at) if i >= 0 and counts[keys[i]] > 1])


def _match(rows: Sequence[Any], table: Any, args: Any) -> Match:
    """Return the column that names most spectra, or with one of subfolders; as plain names where that finds more."""
    asked, of = args.sample_column, args.targets
    if asked is not None and asked not in table.columns:
        no_column("--sample-column", asked, list(table.columns), of)
    texts = {name: text_of(table[name]).fillna("").tolist() for name in table.columns}
    folders = {row.site for row in rows} - {""}
    sites = [text for text in texts.values() if folders and folders <= set(text)]
    tried = []
    for same in (str, _plain):
        for name in texts if asked is None else [asked]:
            both = [[f"{a}/{b}" for a, b in zip(site, texts[name], strict=True)] for site in sites]
            matches = [Match.of(name, same, rows, names) for names in (*both, texts[name])]
            tried.append(next((match for match in matches if max(match.at) >= 0), matches[-1]))
        best = max(tried, key=lambda match: (sum(i >= 0 for i in match.at), not match.twice))
        if min(best.at) >= 0 and not best.twice:
            break
    if max(best.at) < 0:
        files = shown([row.of_file[-1] for row in rows], 4)
        if asked is not None:
            wrong("--sample-column", asked, f"has {shown(texts[asked], 4)}", f"spectra are called {files}")
        raise FileProblem(f"{of} has no column with the names of the spectra, {files}; add one.")
    if best.twice:
        raise FileProblem(f"{of} has several rows of {shown(best.twice)} in {best.column}; keep one row a sample.")
    return best


def _plain(name: str) -> str:
    """Return a name without what people change in it: case, kinds of blanks and zeros before a number."""
    return re.sub(r"(?<!\d)0+(?=\d)", "", re.sub(r"[\s_-]+", "-", name.casefold()))
