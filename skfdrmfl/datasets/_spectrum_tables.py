"""Spectra in tables, in texts of two columns, and in DataSet Objects: files that are no instrument's own."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.common.extras import import_extra

TABLES = {".xlsx", ".xlsm", ".parquet", ".pq"}
NAMES = ("sample", "sample_id", "sampleid", "sample name", "id", "name")  # of columns that name the rows
FEWEST = 3  # points of a spectrum
POINT, COMMA = r"[-+]?\d*\.?\d+(?:[eE][-+]?\d+)?", r"[-+]?\d*[.,]?\d+(?:[eE][-+]?\d+)?"
PAIR = re.compile(rf"\s*({POINT})\s*,\s*({POINT})\s*|\s*({COMMA})(?:\s*[;\t]\s*|\s+)({COMMA})\s*")

UNITS = {"nm": re.compile(r"\bnm\b|nanomet", re.I), "cm-1": re.compile(r"cm|wavenumber", re.I)}


class Signal(NamedTuple):
    """One curve of a spectrum."""

    axis: NDArray[np.float64]  # (points,)
    values: NDArray[np.float64]  # (points,)
    unit: str = ""  # of the axis, where the file says it
    kind: str = "unknown"  # such as "absorbance" or "single_beam", where the file says it


# What a file calls a spectrum, "" where it says nothing, and its signals by name.
Labelled = tuple[str, dict[str, Signal]]


class NoSpectra(ValueError):
    """A file that is something else; in a folder it is left out."""


def of_table(file: Path) -> list[Labelled]:
    """Return the spectra of a table, a row each; names of columns that are numbers are its axis."""
    pandas = import_extra("pandas", "readers", "Tables need")
    kind = file.suffix.lower()
    try:
        if kind in (".parquet", ".pq"):
            import_extra("pyarrow", "table", "Parquet needs")
            frame = pandas.read_parquet(file)
        elif kind in TABLES:
            import_extra("openpyxl", "table", "Excel needs")
            sheets = pandas.read_excel(file, sheet_name=None)
            filled = {name: sheet for name, sheet in sheets.items() if not sheet.empty}
            if len(filled) > 1:
                raise ValueError(f"it has the sheets {', '.join(map(str, filled))}; keep one in the file")
            frame = next(iter(filled.values()), pandas.DataFrame())
        else:
            frame = pandas.read_csv(file, sep=None, engine="python")
    except (ValueError, ImportError):
        raise
    except Exception as error:  # each reader has errors of its own kind
        raise ValueError(f"it is no table ({str(error).partition(chr(10))[0]})") from error
    points = {name: number for name in frame.columns if (number := _number(name)) is not None}
    if len(points) < FEWEST:
        raise NoSpectra("no table with wavelengths as names of columns")
    for name in points:
        numbers = pandas.to_numeric(frame[name], errors="coerce")
        odd = np.flatnonzero(numbers.isna() & frame[name].notna())
        if len(odd):
            raise ValueError(f"column {name} has {frame[name].iloc[odd[0]]!r} in row {odd[0] + 1}")
    values = frame[list(points)].to_numpy(dtype=np.float64, na_value=np.nan)
    others = [name for name in frame.columns if name not in points]
    known = [name for name in others if str(name).strip().lower() in NAMES]
    texts = [name for name in others if frame[name].dtype.kind not in "iufb"]
    label = next(iter(known or texts), None)
    labels = [""] * len(frame) if label is None else [str(text).strip() for text in frame[label]]
    axis = np.array(list(points.values()))
    return [(text, {"signal": Signal(axis, row)}) for text, row in zip(labels, values, strict=True)]


def of_pairs(file: Path) -> list[Labelled]:
    """Return the spectrum in a text of two columns, whatever stands above them; an empty list where it is none."""
    raw = file.read_bytes()
    if b"\0" in raw[:4096]:
        return []
    lines = [line for line in raw.decode("utf-8-sig", errors="replace").splitlines() if line.strip()]
    pairs = [PAIR.fullmatch(line) for line in lines]
    n_above = next((i for i, pair in enumerate(pairs) if pair), len(pairs))
    if len(pairs) - n_above < FEWEST or None in pairs[n_above:]:
        return []
    numbers = [[float(text.replace(",", ".")) for text in pair.groups() if text] for pair in pairs if pair]
    return [("", {"signal": Signal(*np.array(numbers).T)})]


def of_dso(file: Path) -> list[Labelled]:
    """Return the spectra of the DataSet Objects in a MATLAB file, an empty list where it has none.

    Each variable is a signal; of several with as many rows each they are signals of the same spectra. Rows and columns
    that are not in the field `include` are left out, as the toolbox does (Eigenvector Research, DataSet Object).
    """
    from scipy.io import loadmat

    try:
        variables = loadmat(file)
    except (NotImplementedError, ValueError, TypeError, OSError):  # of version 7.3, or none
        return []
    found: dict[str, list[tuple[str, Signal]]] = {}
    for name, value in variables.items():
        fields = getattr(getattr(value, "dtype", None), "names", None) or ()
        if {"data", "axisscale"} <= set(fields) and value.size == 1:
            rows = _rows_of({field: value[field].flat[0] for field in fields})
            found |= {name: rows} if rows else {}
    if len({len(rows) for rows in found.values()}) == 1:
        return [
            (of[0][0], {name: row[1] for name, row in zip(found, of, strict=True)})
            for of in zip(*found.values(), strict=True)
        ]
    return [(label, {name: signal}) for name, rows in found.items() for label, signal in rows]


def _rows_of(fields: dict[str, Any]) -> list[tuple[str, Signal]]:
    """Return the label and signal of each row, none where columns have no scale, as in tables of reference values."""
    data = np.asarray(fields["data"])
    scale = _mode(fields, "axisscale", 1)
    if data.ndim != 2 or scale.dtype.kind not in "iuf" or len(scale) != data.shape[1]:
        return []
    said = " ".join(map(str, _mode(fields, "axisscalename", 1)))
    unit = next((unit for unit, pattern in UNITS.items() if pattern.search(said)), "")
    labels = [str(text).strip() for text in _mode(fields, "label", 0)]
    labels = labels if len(labels) == len(data) else [""] * len(data)
    rows, columns = (_mode(fields, "include", mode).astype(int) - 1 for mode in (0, 1))
    rows = rows if len(rows) else np.arange(len(data))
    columns = columns if len(columns) else np.arange(len(scale))
    axis = scale[columns].astype(np.float64)
    return [(labels[i], Signal(axis, data[i, columns].astype(np.float64), unit)) for i in rows]


def _mode(fields: dict[str, Any], name: str, mode: int) -> NDArray[Any]:
    """Return what a field says of the rows or the columns, its first set, as a vector."""
    cells = np.asarray(fields.get(name, ()))
    return np.ravel(cells[mode].flat[0]) if cells.dtype == object and len(cells) == 2 else np.zeros(0)


def _number(name: Any) -> float | None:
    """Return the wavelength that the name of a column is, None where it is none."""
    try:
        number = float(name)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) and number > 0 else None
