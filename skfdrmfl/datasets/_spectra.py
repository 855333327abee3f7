"""Spectra from the files that instruments write: a row each, columns named by wavelength."""

from __future__ import annotations

import os
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skfdrmfl.common.extras import import_extra

from ._spectrum_tables import TABLES, Labelled, NoSpectra, Signal, of_dso, of_pairs, of_table

RATIOS = ("absorbance", "reflectance", "transmittance")  # kinds of signals that say something of the sample alone
ASIDE = re.compile("reference|dark|white|background|phase|interferogram|fid|trace|match|peak|uncertainty")
LINKED = re.compile(
    r"signal_\d+"
)  # blocks of a JCAMP file on one axis, which the reader takes for signals of one sample
GUESSED = {"delimited-text", "ocean-optics-two-column-csv"}  # any text: rows are lost in silence, units made up
MADE_UP = re.compile(r"(subfile|record)_\d+")  # names that the reader gives, not the file
FLOATS = 128  # the exponent of an SPC file whose values are no integers
TOLERANCE = 1e-3  # of a step between two points, within which axes are the same
MOST_SHOWN = 3


class Row(NamedTuple):
    """A spectrum that was chosen, and where it is from."""

    file: Path
    label: str  # what the file calls it, "" where it says nothing or holds no other
    number: int  # from 1, of those in the file; 0 where it holds no other
    name: str  # of the signal
    signal: Signal


@dataclass
class Spectra:
    """What files hold."""

    frame: Any  # DataFrame (spectra, points), the index names of samples
    rows: list[Row]
    notes: list[str]  # what was left out or changed, in whole sentences


def read_spectra(
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    *,
    signal: str | None = None,
    axis: str | ArrayLike = "same",
    progress: Callable[[int, int, str], None] | None = None,
) -> Any:
    """Read spectra from files of instruments into a table: a row a spectrum, a column a wavelength.

    JCAMP-DX, Bruker OPUS, Galactic SPC, ASD, DataSet Objects in ``.mat`` and some fifty other formats, known by what
    is in the files. Tables (Excel, Parquet, CSV) with a spectrum a row, and texts of two columns, are read too. The
    reader of instruments' formats is nirs4all-formats 0.1, under MIT; from 0.2 on it is copyleft, and not used.

    Parameters
    ----------
    paths : str, path-like or list of these
        Files, and folders with all that is in them; what is no spectrum there is left out with a warning.
    signal : str, default=None
        The name or kind of the signal to take from each file, such as "absorbance". None takes the only one; of
        several the absorbance, reflectance or transmittance of the sample, never a reference beam.
    axis : {"same", "common"} or array-like of shape (n_points,), default="same"
        "same" refuses files whose points differ by more than a thousandth of a step. "common" interpolates between
        points, linearly, to those of the widest spaced file in the range that all files cover, with a warning. An array
        gives the points. Points that a file has in the opposite order are the same.
    progress : callable, default=None
        Called with the number of files read, that of all files, and the name of the last one.

    Returns
    -------
    DataFrame of shape (n_spectra, n_points), float64
        Columns are wavelengths or wavenumbers, as floats in the order of the first file. The index has a name for each
        spectrum: that of its file, longer where this is not unique; of several in one file what the file calls it.
        ``attrs`` has the "unit" of the axis ("nm", "cm-1", "" where no file says) and the "signal".

    Raises
    ------
    ValueError
        If there is no spectrum, a file cannot be read or is named twice, or signals or axes do not fit together.
    FileNotFoundError
        If a path is not there.
    ImportError
        If pandas or nirs4all-formats is not installed.
    """
    if isinstance(axis, str):
        if axis not in ("same", "common"):
            raise ValueError(f"axis is {axis!r}; choose 'same', 'common' or an array of wavelengths.")
        spectra = read_files(files_of(paths), signal=signal, axis=axis, progress=progress)
    else:
        points = np.asarray(axis, dtype=np.float64)
        spectra = read_files(files_of(paths), signal=signal, axis="common", points=points, progress=progress)
    for note in spectra.notes:
        warnings.warn(note, UserWarning, stacklevel=2)
    return spectra.frame


def files_of(paths: Any) -> list[tuple[Path, Path | None]]:
    """Return the files that paths stand for, in order, and with each the folder that was named in its place."""
    found: list[tuple[Path, Path | None]] = []
    for path in [paths] if isinstance(paths, (str, os.PathLike)) else paths:
        path = Path(path)
        if not path.exists():
            raise FileNotFoundError(f"{path} is not there; look at the name and at the folder you are in.")
        if not path.is_dir():
            found.append((path, None))
            continue
        inside = [file for file in sorted(path.rglob("*")) if file.is_file() and not _hidden(file.relative_to(path))]
        images = {file.with_suffix("") for file in inside if file.suffix.lower() != ".hdr"}
        inside = [file for file in inside if file.suffix.lower() != ".hdr" or file.with_suffix("") not in images]
        if not inside:
            raise ValueError(f"{path} has no files in it; name the folder with the spectra.")
        found += [(file, path) for file in inside]
    for file, n in Counter(file.resolve() for file, _ in found).items():
        if n > 1:
            raise ValueError(f"{file} is named {n} times; name it once.")
    if not found:
        raise ValueError("No path is named; name files, or a folder.")
    return found


def read_files(
    files: Sequence[tuple[Path, Path | None]],
    *,
    signal: str | None = None,
    axis: str = "same",
    points: NDArray[np.float64] | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> Spectra:
    """Return the spectra in files, as `files_of` gives them.

    The arguments are those of `read_spectra`; the axis is that of the first file, or `points`.
    """
    pandas = import_extra("pandas", "readers", "Spectra from files need")
    rows: list[Row] = []
    no_spectra: list[str] = []
    failed: list[str] = []
    reader_says: dict[str, list[str]] = {}
    for done, (file, folder) in enumerate(files, 1):
        name = str(file.relative_to(folder) if folder else file)
        try:
            spectra, remarks = _spectra_in(file)
            rows += _rows(file, spectra, signal)
            for remark in remarks:
                reader_says.setdefault(remark, []).append(name)
        except NoSpectra as error:
            (no_spectra if folder else failed).append(name if folder else f"{name} ({error})")
        except (ValueError, OSError) as error:
            failed.append(f"{name} ({error})")
        if progress:
            progress(done, len(files), name)
    if failed:
        remedy = "mend or leave out what fails" if len(failed) < len(files) else "name files with spectra"
        raise ValueError(f"{len(failed)} of {len(files)} files cannot be read: {_few(failed, '; ')}; {remedy}.")
    if not rows:
        raise ValueError(f"{files[0][1]} has no file with spectra, but {_few(no_spectra)}; name another folder.")
    notes = [f"The reader says of {_few(names)}: {remark}." for remark, names in reader_says.items()]
    if no_spectra:
        notes.insert(0, f"Left out, no spectra: {_few(no_spectra)}.")
    kinds = _firsts(rows, "kind")
    if len(kinds) > 1:
        raise ValueError(
            f"The files hold unlike signals, {_two(kinds)}; choose the signal by its name, or read them apart."
        )
    values, unit, points = _aligned(rows, axis, points, notes)
    frame = pandas.DataFrame(values, index=_names(rows, files), columns=points)
    frame.attrs = {"unit": unit, "signal": kind if (kind := next(iter(kinds), "")) in RATIOS else rows[0].name}
    return Spectra(frame, rows, notes)


def _spectra_in(file: Path) -> tuple[list[Labelled], list[str]]:
    """Return the label and the signals of each spectrum in a file, and what the reader remarks."""
    kind = file.suffix.lower()
    if file.stat().st_size == 0:
        raise ValueError("it is empty")
    if kind in TABLES:
        return of_table(file), []
    if kind == ".mat" and (found := of_dso(file)):
        return found, []
    reader = import_extra("nirs4all_formats", "readers", "Files of instruments need")
    formats = {probe["format"] for probe in reader.probe_path(file)}
    if formats <= GUESSED:
        if found := of_pairs(file):
            return found, []
        if not formats:
            raise NoSpectra("no format that is known")
        return of_table(file), []
    try:
        records = reader.open_recordset(file).records
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # the reader is compiled, and its panics are no Exception
        text = str(error).removeprefix("invalid spectral record: ").replace(f"{file}: ", "").rstrip(".")
        raise (NoSpectra if text.startswith("unsupported format") else ValueError)(text) from error
    remarks = sorted({remark for record in records for remark in record.provenance.warnings})
    if broken := [remark for remark in remarks if "mismatch" in remark]:
        raise ValueError(f"its numbers are not those it checks them by: {broken[0]}")
    remarks = [remark for remark in remarks if not remark.startswith("asd_secondary")]  # which `_over_reference` reads
    return [row for record in records for row in _of_record(file, record)], remarks


def _of_record(file: Path, record: Any) -> list[Labelled]:
    """Return the label and the signals of each spectrum in a record of the reader: one, but for linked blocks."""
    signals = {}
    for name, array in record.signals.items():
        if array.values.ndim != 1:
            raise ValueError(f"{name} has the dimensions {', '.join(array.dims)}; only single spectra become rows")
        unit = "" if array.axis.unit in ("index", "unknown") else array.axis.unit
        signals[name] = Signal(array.axis.values, array.values, unit, array.signal_type)
    spc, of_row = (record.metadata.get(name, {}) for name in ("galactic_spc", "galactic_spc_subfile"))
    if spc.get("flags", {}).get("txyxys") and of_row["subexp"] != FLOATS:
        raise ValueError(
            "each spectrum has points of its own and whole numbers, of which the reader mistakes the points"
        )
    if record.provenance.format == "asd-fieldspec":
        signals = _over_reference(file, signals, record.metadata["asd"]["secondary_blocks"])
    blocks = record.metadata.get("jcamp_link", {}).get("blocks", [])
    linked = sorted((int(name[7:]), signal) for name, signal in signals.items() if LINKED.fullmatch(name))
    if len(linked) > 1 and len(blocks) >= linked[-1][0]:
        return [(blocks[i - 1].get("title", ""), {"signal": signal}) for i, signal in linked]
    relation = record.metadata.get("link_relation", "sample")
    if relation not in ("sample", "unknown"):
        signals = {relation: next(iter(signals.values()))}
    label = str(record.metadata.get("sample_id") or record.metadata.get("jcamp", {}).get("title") or "")
    return [("" if MADE_UP.fullmatch(label) else label, signals)]


def _over_reference(file: Path, signals: dict[str, Signal], blocks: list[dict[str, Any]]) -> dict[str, Signal]:
    """Return the signals of an ASD file with the reflectance: counts of the sample over those of the reference.

    From its second revision on such a file holds both spectra, and none of their ratio, whatever its kind is called.
    """
    white = next((block for block in blocks if block["kind"] == "reference_spectrum"), None)
    counts = signals.get("reflectance") or signals.get("raw")
    if white is None or counts is None:
        return signals
    reference = np.frombuffer(file.read_bytes(), "<f8", len(counts.axis), white["offset"])
    if not reference.any():
        return signals
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(reference > 0, counts.values / reference, np.nan)
    return {"reflectance": counts._replace(values=ratio, kind="reflectance"), "raw": counts._replace(kind="raw_counts")}


def _rows(file: Path, spectra: list[Labelled], wanted: str | None) -> list[Row]:
    """Return the spectra of a file, of each the signal that is wanted."""
    kinds = {name: signal.kind for _, signals in spectra for name, signal in signals.items()}
    name = _chosen(kinds, wanted)
    here = [(label, signals[name]) for label, signals in spectra if name in signals]
    labels = [label for label, _ in here]
    told = len(here) > 1 and len(set(labels)) == len(labels) and "" not in labels
    for _, signal in here:
        step = np.diff(signal.axis)
        if not len(step) or not (np.all(step > 0) or np.all(step < 0)):
            raise ValueError(f"the points of {name} neither rise nor fall from first to last")
    return [
        Row(file, label if told else "", i if len(here) > 1 else 0, name, signal)
        for i, (label, signal) in enumerate(here, 1)
    ]


def _chosen(kinds: dict[str, str], wanted: str | None) -> str:
    """Return the name of the signal to take, of names with their kinds; refuse to guess."""
    if wanted is not None:
        same = [name for name in kinds if name.lower() == wanted.lower()] or [
            name for name, kind in kinds.items() if kind == wanted.lower()
        ]
        if len(same) != 1:
            raise ValueError(f"signal {wanted!r} is {'several' if same else 'none'} of {', '.join(kinds)}")
        return same[0]
    main = [name for name in kinds if not ASIDE.search(name)]
    for kind in RATIOS:
        ratios = [name for name in main if kinds[name] == kind]
        if ratios:
            main = ratios
            break
    if len(main) != 1 or (kinds[main[0]] == "single_beam" and len(kinds) > 1):
        which = "several signals" if main else "no spectrum of a sample"
        raise ValueError(f"it holds {which}, {', '.join(kinds)}; choose the signal by its name")
    return main[0]


def _aligned(
    rows: list[Row], axis: str, asked: NDArray[np.float64] | None, notes: list[str]
) -> tuple[NDArray[np.float64], str, NDArray[np.float64]]:
    """Return the values of all rows on one axis, its unit, and its points."""
    units = _firsts(rows, "unit")
    if len(units) > 1:
        raise ValueError(f"The axes have unlike units, {_two(units)}; read them apart.")
    unit = next(iter(units), "")
    points = rows[0].signal.axis if asked is None else asked
    unlike = [row for row in rows if _own(row.signal, points, whole=True) is None]
    if unlike and axis == "same":
        other = unlike[0]
        raise ValueError(
            f"The axes are unlike: {rows[0].file if asked is None else 'what is asked for'} has "
            f"{_described(points, unit)}, {other.file} has {_described(other.signal.axis, unit)}; "
            "the axis 'common' interpolates."
        )
    if unlike:
        points = _common(rows) if asked is None else asked
        n_between = sum(_own(row.signal, points) is None for row in rows)
        notes.append(f"Took {_described(points, unit)}; interpolated {n_between} of {len(rows)} spectra.")
    return np.array([_interpolated(row, points, unit) for row in rows]), unit, points


def _common(rows: list[Row]) -> NDArray[np.float64]:
    """Return the points of the widest spaced axis in the range that all cover, in the order of the first one."""
    low = max(rows, key=lambda row: row.signal.axis.min())
    high = min(rows, key=lambda row: row.signal.axis.max())
    first, last = low.signal.axis.min(), high.signal.axis.max()
    inside = [row.signal.axis[(row.signal.axis >= first) & (row.signal.axis <= last)] for row in rows]
    points = np.sort(min(inside, key=len))
    if len(points) < 2:
        raise ValueError(
            f"The axes have no range in common: {low.file} begins at {first:.10g}, {high.file} ends at {last:.10g}."
        )
    return points if rows[0].signal.axis[0] < rows[0].signal.axis[-1] else points[::-1]


def _own(signal: Signal, points: NDArray[np.float64], *, whole: bool = False) -> NDArray[np.float64] | None:
    """Return the values of a signal at points that are its own, all of them if `whole`; None where they are not."""
    close = TOLERANCE * np.abs(np.diff(points)).min(initial=np.inf)
    order = np.argsort(signal.axis)
    axis, values = signal.axis[order], signal.values[order]
    if not whole:
        inside = (axis >= points.min() - close) & (axis <= points.max() + close)
        axis, values = axis[inside], values[inside]
    if len(axis) != len(points) or np.abs(axis - np.sort(points)).max() > close:
        return None
    return values[np.argsort(np.argsort(points))]


def _interpolated(row: Row, points: NDArray[np.float64], unit: str) -> NDArray[np.float64]:
    """Return the values of a signal at points, linearly between its own; refuse points beyond them."""
    if (own := _own(row.signal, points)) is not None:
        return own
    order = np.argsort(row.signal.axis)
    axis = row.signal.axis[order]
    if points.min() < axis[0] or points.max() > axis[-1]:
        raise ValueError(f"{row.file} has {_described(axis, unit)}, and {_described(points, unit)} are asked for.")
    return np.interp(points, axis, row.signal.values[order])


def _described(points: NDArray[np.float64], unit: str) -> str:
    """Return an axis in words."""
    return f"{len(points)} points from {points[0]:.10g} to {points[-1]:.10g}{' ' if unit else ''}{unit}"


def _names(rows: list[Row], files: Sequence[tuple[Path, Path | None]]) -> list[str]:
    """Return a name for each row, of the shortest kind by which all differ; by the longest they do."""
    folders = dict(files)
    kinds = list(zip(*(name_kinds(row, folders[row.file]) for row in rows), strict=True))
    return list(next((kind for kind in kinds if len(set(kind)) == len(kind)), kinds[-1]))


def name_kinds(row: Row, folder: Path | None) -> tuple[str, str, str, str]:
    """Return what a row may be called, short to long: its file without ending, with, and both with subfolders."""
    path = row.file.relative_to(folder) if folder else row.file
    files = (row.file.stem, row.file.name, path.with_suffix("").as_posix(), path.as_posix())
    if not row.number:
        return files
    if row.label:
        return (row.label, *(f"{file} {row.label}" for file in files[1:]))  # type: ignore[return-value]
    return tuple(f"{file}_{row.number}" for file in files)  # type: ignore[return-value]


def _firsts(rows: list[Row], field: str) -> dict[str, Path]:
    """Return each value of a field of signals that files tell, and the first file that does."""
    firsts: dict[str, Path] = {}
    for row in rows:
        firsts.setdefault(getattr(row.signal, field), row.file)
    return {value: file for value, file in firsts.items() if value not in ("", "unknown")}


def _two(firsts: dict[str, Path]) -> str:
    """Return the first two of what `_firsts` gives in words."""
    return " and ".join(f"{value} in {file}" for value, file in list(firsts.items())[:2])


def _hidden(path: Path) -> bool:
    """Return whether a file, or a folder on the way to it, is hidden."""
    return any(part.startswith(".") for part in path.parts)


def _few(names: Sequence[str], between: str = ", ") -> str:
    """Return names in one line, the first of many."""
    more = len(names) - MOST_SHOWN
    return between.join(names[:MOST_SHOWN]) + (f" and {more} more" if more > 0 else "")
