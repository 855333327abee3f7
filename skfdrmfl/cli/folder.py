"""Files of instruments, and a table of what was measured, become one table: a row a spectrum."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

from skfdrmfl.cli import reading
from skfdrmfl.cli.columns import counted, shown
from skfdrmfl.cli.errors import FileProblem, first_line, wrong
from skfdrmfl.cli.options import add
from skfdrmfl.common.progress import Bar

FOLDER, SPECTRUM = "folder", "spectrum"  # names of columns: the subfolder, the name of the spectrum
NUMBER = re.compile(r"\d+(?:\.\d+)?")
MANY = 50  # files, from which on progress is shown


def add_folder(parser: Any) -> None:
    """Add the options that say what becomes of files of instruments."""
    group = parser.add_argument_group("files of instruments: FILE is one, or a folder of them with sites as subfolders")
    add(group, "--targets FILE", "table with the measured values, a row a sample", type=Path)
    add(group, "--sample-column NAME", "its column that names the files, or spectra in them (default: found)")
    add(group, "--signal NAME", "signal to take of several in a file (default: what a sample absorbs or reflects)")
    axis = "files with other points are an error, or interpolated to the range that all cover"
    add(group, "--axis", axis, choices=("same", "common"), default="same")


def refuse_folder_options(args: Any, fact: str) -> None:
    """Refuse options of `add_folder` where they would have no effect."""
    axis = None if args.axis == "same" else args.axis
    given = {"--targets": args.targets, "--sample-column": args.sample_column, "--signal": args.signal, "--axis": axis}
    for option, value in given.items():
        if value is not None:
            wrong(option, value, fact, "leave it out")


def read_input(path: Path, args: Any, record: dict[str, Any] | None = None) -> tuple[Any, list[str]]:
    """Return the DataFrame of a table or of files of instruments, and sentences that say how it was read.

    `args` has the options of `add_reading` and `add_folder`; `record` is that of a model which is to predict, whose
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
    table, notes = (None, []) if args.targets is None else reading.read_table(args.targets, args)
    frame, samples, said = _spectra(path, args, record or {})
    rest = frame[[]]
    if any(sample.folder for sample in samples):
        rest = rest.assign(**{FOLDER: [sample.folder or path.name for sample in samples]})
        sizes = [f"{name} ({n})" for name, n in rest[FOLDER].value_counts(sort=False).items()]
        said.append(f"Subfolders and their spectra: {shown(sizes)}; --clients-column {FOLDER} takes them for sites.")
    if table is not None:
        rest = _joined(rest, samples, table, args, said, training=record is None)
    if both := sorted(set(rest.columns) & set(frame.columns)):
        raise FileProblem(f"{args.targets} has columns called as wavelengths are ({shown(both)}); rename them.")
    if record is not None and SPECTRUM not in rest:
        rest.insert(0, SPECTRUM, rest.index)
    whole = rest.join(frame)
    whole.attrs = frame.attrs
    return whole.reset_index(drop=True), notes + said


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, or of all in a folder with their names, by which it is known again."""
    if not path.is_dir():
        return reading.digest(path)
    files = sorted(file for file in path.rglob("*") if file.is_file())
    text = "".join(f"{file.relative_to(path).as_posix()} {reading.digest(file)}\n" for file in files)
    return hashlib.sha256(text.encode()).hexdigest()


class Sample(NamedTuple):
    """What a spectrum may be called in a table, and the subfolder that it is in."""

    names: list[str]
    folder: str  # "" in none


def _spectra(path: Path, args: Any, record: dict[str, Any]) -> tuple[Any, list[Sample], list[str]]:
    """Return the spectra of files with texts as names of columns, what each may be called, and what was done."""
    import numpy as np

    from skfdrmfl.datasets._spectra import files_of, name_kinds, read_files

    names = [name for name in record.get("features", ()) if NUMBER.fullmatch(name)]
    points = np.array([float(name) for name in names]) if len(names) > 1 else None
    bar = None
    try:
        files = [(file, folder) for file, folder in files_of(path) if not _is_table(file, args)]
        bar = Bar("read", len(files), "file", shown=len(files) >= MANY)
        spectra = read_files(
            files,
            signal=args.signal or record.get("signal"),
            axis=args.axis,
            points=points,
            progress=lambda done, total, name: bar.reach(done, name),
        )
    except (ValueError, OSError, ImportError) as error:
        raise FileProblem(first_line(error)) from error
    finally:
        if bar is not None:
            bar.close()
    frame = spectra.frame
    folders = dict(files)
    samples = []
    for name, row in zip(frame.index, spectra.rows, strict=True):
        folder = folders[row.file]
        within = row.file.parent.relative_to(folder).as_posix() if folder else "."
        of_file = name_kinds(row._replace(number=0), folder)
        samples.append(Sample([name, *name_kinds(row, folder), *of_file], "" if within == "." else within))
    unit, signal = frame.attrs["unit"] or "unit unknown", frame.attrs["signal"]
    ends = f"{frame.columns[0]:.10g} to {frame.columns[-1]:.10g}"
    n_files = len({row.file for row in spectra.rows})
    what = f"{len(frame)} x {frame.shape[1]} points in {counted(n_files, 'file')}, {ends} ({unit}), {signal}"
    frame.columns = names if points is not None else [f"{point:.10g}" for point in frame.columns]
    return frame, samples, [f"Read {path}: {what}.", *spectra.notes]


def _is_table(file: Path, args: Any) -> bool:
    """Return whether a file is the table of targets, which may lie among the spectra."""
    return args.targets is not None and args.targets.exists() and file.samefile(args.targets)


def _joined(rest: Any, samples: list[Sample], table: Any, args: Any, notes: list[str], *, training: bool) -> Any:
    """Return the rows with the columns of the table, joined by the names of samples."""
    column, where, exact = _sample_column(samples, table, args)
    of, names = args.targets.name, [str(name).strip() for name in table[column]]
    missing = [name for name, at in zip(rest.index, where, strict=True) if at is None]
    used = Counter(at for at in where if at is not None)
    unused = [name for i, name in enumerate(names) if i not in used]
    alike = "" if exact else ", names alike but for case, blanks and zeros before numbers"
    notes.append(f"Joined by the column {column} of {of}: {len(rest) - len(missing)} of {len(rest)} spectra{alike}.")
    if missing:
        left = "Left out" if training else "Without measured values"
        notes.append(f"{left}, no row in {of}: {shown(missing)}.")
    if unused:
        notes.append(f"Rows of {of} without a spectrum: {shown(unused)}.")
    if max(used.values()) > 1 and vars(args).get("groups_column") != column:
        several = [f"{names[at]} ({n})" for at, n in used.items() if n > 1]
        notes.append(f"Samples with several spectra: {shown(several)}; --groups-column {column} keeps them together.")
    if training:
        rest = rest[[at is not None for at in where]]
        where = [at for at in where if at is not None]
    joined = rest.copy()
    rows = table.reset_index(drop=True).reindex([-1 if at is None else at for at in where])
    for name in table.columns:
        joined[f"{name}_" if name in rest else name] = rows[name].array
    return _asked_for(joined, args, notes) if training else joined


def _asked_for(joined: Any, args: Any, notes: list[str]) -> Any:
    """Return the columns that options ask for: what stands beside a spectrum in a table of targets is no feature."""
    asked = {*args.target, args.clients_column, args.groups_column, *args.keep, *args.categories} - {None}
    if asked - set(joined.columns):  # a name that no column has: all are named in the message
        return joined
    dropped = [name for name in joined.columns if any(fnmatchcase(name, pattern) for pattern in args.drop)]
    others = [name for name in joined.columns if name not in asked and name not in dropped]
    not_used = [name for name in others if name != FOLDER]
    if not_used:
        notes.append(f"Not used, of {args.targets.name}: {shown(not_used)}; --keep NAME takes one for a feature.")
    return joined.drop(columns=others)


def _sample_column(samples: list[Sample], table: Any, args: Any) -> tuple[str, list[int | None], bool]:
    """Return the column with the names of samples, the row of each spectrum or None, and whether names are the same.

    That is the column in which most spectra are found, letter by letter unless more are without what people change.
    Where another column has the names of the subfolders, a row is known by both.
    """
    asked, of = args.sample_column, args.targets
    if asked is not None and asked not in table.columns:
        wrong("--sample-column", asked, f"is no column of {of}", f"choose from {shown(list(table.columns), 12)}")
    texts = {name: _texts(table[name]) for name in table.columns}
    folders = {sample.folder for sample in samples} - {""}
    sites = [texts[name] for name in texts if folders and folders <= set(texts[name])]
    best = Match(0, [], [])
    column, exact = "", True
    for same in (str, _plain):
        for name in texts if asked is None else [asked]:
            both = [[f"{a}/{b}" for a, b in zip(site, texts[name], strict=True)] for site in sites]
            matches = [Match.of(samples, names, same) for names in (*both, texts[name])]
            match = next((match for match in matches if match.n_found), best)
            if match.n_found > best.n_found or (match.n_found == best.n_found and best.twice and not match.twice):
                best, column, exact = match, name, same is str
    files = shown([sample.names[0] for sample in samples], 4)
    if not best.n_found and asked is not None:
        wrong("--sample-column", asked, f"has {shown(texts[asked], 4)}", f"spectra are called {files}")
    if not best.n_found:
        raise FileProblem(f"{of} has no column with the names of the spectra, {files}; add one.")
    if best.twice:
        raise FileProblem(f"{of} has several rows of {shown(best.twice)} in {column}; keep one row a sample.")
    return column, best.rows, exact


class Match(NamedTuple):
    """Where in a table spectra are found by the names in a column."""

    n_found: int
    rows: list[int | None]  # for each spectrum
    twice: list[str]  # names that stand in several rows

    @classmethod
    def of(cls, samples: list[Sample], names: list[str], same: Callable[[str], str]) -> Match:
        """Return it for names, a row each; names are compared by what `same` makes of them."""
        keys = [same(name) for name in names]
        counts, row = Counter(keys), {key: i for i, key in enumerate(keys) if key}
        hits = [next((key for key in map(same, sample.names) if key in row), None) for sample in samples]
        found = [key for key in hits if key is not None]
        twice = [key for key in dict.fromkeys(found) if counts[key] > 1]
        return cls(len(found), [None if key is None else row[key] for key in hits], twice)


def _texts(column: Any) -> list[str]:
    """Return the values of a column as texts, whole numbers without a point, gaps empty."""
    kind = column.dtype.kind
    return [
        "" if value != value or value is None else f"{value:.10g}" if kind == "f" else str(value).strip()
        for value in column.tolist()
    ]


def _plain(name: str) -> str:
    """Return a name without what people change in it: case, kinds of blanks and zeros before a number."""
    return re.sub(r"(?<!\d)0+(?=\d)", "", re.sub(r"[\s_-]+", "-", name.casefold()))
