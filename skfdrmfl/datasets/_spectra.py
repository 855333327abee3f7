"""Spectra from the files that instruments write: a row each, columns named by wavelength."""

from __future__ import annotations

import os
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skfdrmfl.common.extras import import_extra

from ._spectrum_files import Labelled, NoSpectra, Signal, spectra_in

RATIOS = ("absorbance", "reflectance", "transmittance")  # kinds of signals that say something of the sample alone
ASIDE = re.compile("reference|dark|white|background|phase|interferogram|fid|trace|match|peak|uncertainty")
TOLERANCE = 1e-3  # of a step between two points, within which axes are the same
MOST_SHOWN = 3


class Row(NamedTuple):
    """A spectrum that was chosen, and what it may be called."""

    file: Path
    names: list[str]  # from long to short, of the spectrum where the file holds others
    of_file: list[str]  # from long to short: with subfolders, and with the ending or without
    site: str  # the subfolder, "" in none
    signal_name: str
    signal: Signal


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
    points = None
    if not isinstance(axis, str):
        points, axis = np.asarray(axis, dtype=np.float64), "common"
        is_axis = points.ndim == 1 and points.size >= 2 and np.isfinite(points).all()
        if not is_axis or len(np.unique(points)) < points.size:
            raise ValueError(f"axis has the shape {points.shape}; give two or more wavelengths, each once.")
    elif axis not in ("same", "common"):
        raise ValueError(f"axis is {axis!r}; choose 'same', 'common' or an array of wavelengths.")
    frame, _, notes = read_files(files_of(paths), signal=signal, axis=axis, points=points, progress=progress)
    for note in notes:
        warnings.warn(note, UserWarning, stacklevel=2)
    return frame


def files_of(paths: Any, without: Path | None = None) -> list[tuple[Path, Path | None]]:
    """Return the files that paths stand for, but one, and with each the folder that was named in its place."""
    found: list[tuple[Path, Path | None]] = []
    for path in map(Path, [paths] if isinstance(paths, (str, os.PathLike)) else paths):
        if not path.exists():
            raise FileNotFoundError(f"{path} is not there; look at the name and at the folder you are in.")
        if not path.is_dir():
            found.append((path, None))
            continue
        within = [file.relative_to(path) for file in sorted(path.rglob("*")) if file.is_file()]
        shown = [file for file in within if not any(part.startswith(".") for part in file.parts)]
        shown = [file for file in shown if without is None or not without.samefile(path / file)]
        images = {file.with_suffix("") for file in shown if file.suffix.lower() != ".hdr"}  # read with their headers
        inside = [path / file for file in shown if file.suffix.lower() != ".hdr" or file.with_suffix("") not in images]
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
) -> tuple[Any, list[Row], list[str]]:
    """Return the table of the spectra in files, where its rows are from, and what was left out or changed.

    Files are as `files_of` gives them, the names of samples are the index. The other arguments are those of
    `read_spectra`; the axis is that of the first file, or `points`.
    """
    pandas = import_extra("pandas", "readers", "Spectra from files need")
    rows: list[Row] = []
    no_spectra: list[str] = []
    failed: list[str] = []
    reader_says: dict[str, list[str]] = {}
    for done, (file, folder) in enumerate(files, 1):
        name = str(file.relative_to(folder) if folder else file)
        try:
            spectra, remarks = spectra_in(file)
            rows += _rows(file, folder, spectra, signal)
            for remark in remarks:
                reader_says.setdefault(remark, []).append(name)
        except NoSpectra as error:
            (no_spectra if folder else failed).append(name if folder else f"{name} ({error})")
        except (KeyboardInterrupt, SystemExit, ImportError):
            raise
        except BaseException as error:  # each reader has errors of its own, and panics of a compiled one no Exception
            reason = str(error).partition("\n")[0].removeprefix("invalid spectral record: ").rstrip(".")
            failed.append(f"{name} ({reason.replace(f'{file}: ', '') or type(error).__name__})")
        if progress:
            progress(done, len(files), name)
    if failed:
        remedy = "mend or leave out what fails" if len(failed) < len(files) else "name files with spectra"
        raise ValueError(f"{len(failed)} of {len(files)} files cannot be read: {_few(failed, '; ')}; {remedy}.")
    if not rows:
        raise ValueError(f"{files[0][1]} has no file with spectra, but {_few(no_spectra)}; name another folder.")
    notes = [f"Left out, no spectra: {_few(no_spectra)}."] if no_spectra else []
    notes += [f"The reader says of {_few(names)}: {remark}." for remark, names in reader_says.items()]
    kind = _only(rows, "kind", "The files hold unlike signals", "choose the signal by its name, or read them apart")
    unit = _only(rows, "unit", "The axes have unlike units", "read them apart")
    values, points = _aligned(rows, axis, points, unit, notes)
    kinds_of_names = [list(names) for names in zip(*(row.names[::-1] for row in rows), strict=True)]
    names = next((names for names in kinds_of_names if len(set(names)) == len(names)), kinds_of_names[-1])
    frame = pandas.DataFrame(values, index=names, columns=points)
    frame.attrs = {"unit": unit, "signal": kind if kind in RATIOS else rows[0].signal_name}
    return frame, rows, notes


def _rows(file: Path, folder: Path | None, spectra: list[Labelled], wanted: str | None) -> list[Row]:
    """Return the spectra of a file, of each the signal that is wanted."""
    name = _chosen({name: signal.kind for _, signals in spectra for name, signal in signals.items()}, wanted)
    here = [(label, signals[name]) for label, signals in spectra if name in signals]
    labels = {label for label, _ in here} - {""}
    path = file.relative_to(folder) if folder else file
    of_file = [path.as_posix(), path.with_suffix("").as_posix(), file.name, file.stem]
    site = path.parent.as_posix() if folder and path.parent.parts else ""
    rows = []
    for i, (label, signal) in enumerate(here, 1):
        step = np.diff(signal.axis)
        if not len(step) or not (np.all(step > 0) or np.all(step < 0)):
            raise ValueError(f"the points of {name} neither rise nor fall from first to last")
        if len(here) == 1:
            names = of_file
        elif len(labels) == len(here):
            names = [*(f"{each} {label}" for each in of_file[:3]), label]
        else:
            names = [f"{each}_{i}" for each in of_file]
        rows.append(Row(file, names, of_file, site, name, signal))
    return rows


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
    rows: list[Row], axis: str, asked: NDArray[np.float64] | None, unit: str, notes: list[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the values of all rows on one axis, and its points: those of the first row, asked for, or in common."""
    points = rows[0].signal.axis if asked is None else asked
    rising = np.sort(points)
    curves = [(row.signal.axis, row.signal.values) for row in rows]
    curves = [(x, y) if x[0] < x[-1] else (x[::-1], y[::-1]) for x, y in curves]
    unlike = next((i for i, (x, _) in enumerate(curves) if not _same(x, rising)), None)
    if unlike is not None and axis == "same":
        raise ValueError(
            f"The axes are unlike: {rows[0].file if asked is None else 'what is asked for'} has "
            f"{_described(points, unit)}, {rows[unlike].file} has {_described(rows[unlike].signal.axis, unit)}; "
            "the axis 'common' interpolates."
        )
    if unlike is not None:
        low, high = max(x[0] for x, _ in curves), min(x[-1] for x, _ in curves)
        if asked is None:
            rising = min((x[(x >= low) & (x <= high)] for x, _ in curves), key=len)
            points = rising if points[0] < points[-1] else rising[::-1]
        if len(rising) < 2:
            first, last = (
                next(row.file for row, (x, _) in zip(rows, curves, strict=True) if end in x) for end in (low, high)
            )
            where = f"{first} begins at {low:.10g}, {last} ends at {high:.10g}"
            raise ValueError(f"The axes have no range in common: {where}.")
        close = TOLERANCE * np.diff(rising).min()
        for row in rows:
            if min(row.signal.axis) > rising[0] + close or max(row.signal.axis) < rising[-1] - close:
                has, wants = _described(row.signal.axis, unit), _described(points, unit)
                raise ValueError(f"{row.file} has {has}, and {wants} are asked for.")
        n_between = sum(not _same(x[(x >= rising[0]) & (x <= rising[-1])], rising) for x, _ in curves)
        notes.append(f"Took {_described(points, unit)}; interpolated {n_between} of {len(rows)} spectra.")
    values = np.array([y if _same(x, rising) else np.interp(rising, x, y) for x, y in curves])
    return values[:, np.argsort(np.argsort(points))], points


def _same(axis: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    """Return whether two axes that rise have the same points."""
    return len(axis) == len(other) and bool(np.all(np.abs(axis - other) <= TOLERANCE * np.diff(other).min()))


def _described(points: NDArray[np.float64], unit: str) -> str:
    """Return an axis in words."""
    return f"{len(points)} points from {points[0]:.10g} to {points[-1]:.10g}{' ' if unit else ''}{unit}"


def _only(rows: list[Row], field: str, fact: str, remedy: str) -> str:
    """Return what all files that tell a field of signals tell, "" where none does; refuse two."""
    firsts: dict[str, Path] = {}
    for row in rows:
        firsts.setdefault(getattr(row.signal, field), row.file)
    told = [(value, file) for value, file in firsts.items() if value not in ("", "unknown")]
    if len(told) > 1:
        raise ValueError(f"{fact}, {' and '.join(f'{value} in {file}' for value, file in told[:2])}; {remedy}.")
    return told[0][0] if told else ""


def _few(names: Sequence[str], between: str = ", ") -> str:
    """Return names in one line, the first of many."""
    more = len(names) - MOST_SHOWN
    return between.join(names[:MOST_SHOWN]) + (f" and {more} more" if more > 0 else "")
