"""The spectra in one file: of an instrument, a table, a text of two columns, or a DataSet Object."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.common.extras import import_extra
from skfdrmfl.data.axis import UNITS, axes_of, unit_of, wavelength_of

PARQUET, EXCEL = {".parquet", ".pq"}, {".xlsx", ".xlsm"}
GUESSED = {"delimited-text", "ocean-optics-two-column-csv"}  # any text: rows are lost in silence, units made up
MADE_UP = re.compile(r"(subfile|record)_\d+")  # names that the reader gives, not the file
LINKED = re.compile(r"signal_\d+")  # blocks of a JCAMP file, which the reader takes for signals of one sample
FLOATS = 128  # the exponent of an SPC file whose values are no integers
CALLED = {"sample", "sample_id", "sampleid", "sample name", "id", "name"}  # columns that name the rows
POINT, COMMA = r"[-+]?\d*\.?\d+(?:[eE][-+]?\d+)?", r"[-+]?\d*[.,]?\d+(?:[eE][-+]?\d+)?"
PAIR = re.compile(rf"\s*({POINT})\s*,\s*({POINT})\s*|\s*({COMMA})(?:\s*[;\t]\s*|\s+)({COMMA})\s*")
FEWEST = 3  # points of a spectrum


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


def spectra_in(file: Path) -> tuple[list[Labelled], list[str]]:
    """Return the spectra in a file, and what the reader of instruments' formats remarks."""
    kind = file.suffix.lower()
    if file.stat().st_size == 0:
        raise ValueError("it is empty")
    if kind in PARQUET | EXCEL:
        return _of_table(file), []
    if kind == ".mat" and (found := _of_dataset_objects(file)):
        return found, []
    reader = import_extra("nirs4all_formats", "readers", "Files of instruments need")
    formats = {probe["format"] for probe in reader.probe_path(file)}
    if formats <= GUESSED:
        found = _of_pairs(file)
        if not formats and not found:
            raise NoSpectra("no format that is known")
        return found or _of_table(file), []
    try:
        records = reader.open_recordset(file).records
    except OSError as error:
        raise (NoSpectra if "unsupported format" in str(error) else ValueError)(str(error)) from error
    remarks = sorted({remark for record in records for remark in record.provenance.warnings})
    if broken := [remark for remark in remarks if "mismatch" in remark]:
        raise ValueError(f"its numbers are not those it checks them by: {broken[0]}")
    remarks = [remark for remark in remarks if not remark.startswith("asd_secondary")]  # what `_of_asd` reads
    return [spectrum for record in records for spectrum in _of_record(file, record)], remarks


def _of_record(file: Path, record: Any) -> list[Labelled]:
    """Return the spectra in a record of the reader: one, but for linked blocks."""
    about, signals = record.metadata, {}
    for name, array in record.signals.items():
        if array.values.ndim != 1:
            raise ValueError(f"{name} has the dimensions {', '.join(array.dims)}; only single spectra become rows")
        unit = "" if array.axis.unit in ("index", "unknown") else array.axis.unit
        signals[name] = Signal(array.axis.values, array.values, unit, array.signal_type)
    spc, of_row = about.get("galactic_spc", {}), about.get("galactic_spc_subfile", {})
    if spc.get("flags", {}).get("txyxys") and of_row["subexp"] != FLOATS:
        raise ValueError("it has points of its own and whole numbers, of which the reader mistakes the points")
    if record.provenance.format == "asd-fieldspec":
        signals = _of_asd(file, signals, about["asd"]["secondary_blocks"])
    blocks = about.get("jcamp_link", {}).get("blocks", [])
    linked = {int(name[7:]): signal for name, signal in signals.items() if LINKED.fullmatch(name)}
    if len(linked) > 1 and len(blocks) >= max(linked):
        return [(blocks[i - 1].get("title", ""), {"signal": linked[i]}) for i in sorted(linked)]
    relation = about.get("link_relation", "sample")
    if relation not in ("sample", "unknown"):
        signals = {relation: next(iter(signals.values()))}
    label = str(about.get("sample_id") or about.get("jcamp", {}).get("title") or "")
    return [("" if MADE_UP.fullmatch(label) else label, signals)]


def _of_asd(file: Path, signals: dict[str, Signal], blocks: list[dict[str, Any]]) -> dict[str, Signal]:
    """Return the reflectance, counts over those of the reference, where a file has both; the reader gives counts."""
    white = next((block["offset"] for block in blocks if block["kind"] == "reference_spectrum"), None)
    counts = signals.get("reflectance") or signals.get("raw")
    if white is None or counts is None:
        return signals
    reference = np.frombuffer(file.read_bytes(), "<f8", len(counts.axis), white)
    if not reference.any():
        return signals
    ratio = np.divide(counts.values, reference, out=np.full(len(reference), np.nan), where=reference > 0)
    return {"reflectance": counts._replace(values=ratio, kind="reflectance"), "raw": counts._replace(kind="raw_counts")}


def _of_table(file: Path) -> list[Labelled]:
    """Return the spectra of a table, a row each; names of columns are their axis."""
    pandas = import_extra("pandas", "readers", "Tables need")
    kind = file.suffix.lower()
    if kind in PARQUET:
        frame = pandas.read_parquet(file)
        names = list(frame.columns)
    else:
        if kind in EXCEL:
            book = pandas.read_excel(file, sheet_name=None, header=None)
            sheets = {name: sheet for name, sheet in book.items() if not sheet.empty}
            if len(sheets) > 1:
                raise ValueError(f"it has the sheets {', '.join(sheets)}; keep one in the file")
            frame = next(iter(sheets.values()), pandas.DataFrame([""]))
        else:
            first_line = file.read_bytes().partition(b"\n")[0]
            separator = next((mark for mark in ";\t," if mark.encode() in first_line), r"\s+")
            frame = pandas.read_csv(file, sep=separator, header=None, dtype=str)
        names, frame = list(frame.iloc[0]), frame.iloc[1:]
    axes = axes_of(names)
    if len(axes) != 1:
        which = "several times" if axes else "as names of columns, each once"
        raise (ValueError if axes else NoSpectra)(f"no table with wavelengths {which}")
    points = axes[0]
    cells = frame.iloc[:, [names.index(name) for name in points]]
    values = cells.apply(pandas.to_numeric, errors="coerce")
    for row, column in np.argwhere((values.isna() & cells.notna()).to_numpy()):
        raise ValueError(f"column {points[column]} has {cells.iat[row, column]!r} in row {row + 1}")
    texts = {j: frame.iloc[:, j] for j, name in enumerate(names) if name not in points}
    called = [j for j in texts if str(names[j]).strip().lower() in CALLED]
    called += [j for j in texts if (texts[j].notna() & pandas.to_numeric(texts[j], errors="coerce").isna()).any()]
    labels = ["" if pandas.isna(text) else str(text).strip() for text in texts[called[0]]] if called else None
    axis, unit = np.array([wavelength_of(name) for name in points], dtype=float), unit_of(points) or ""
    rows = values.to_numpy(np.float64)
    return [
        (text, {"signal": Signal(axis, row, unit)}) for text, row in zip(labels or [""] * len(rows), rows, strict=True)
    ]


def _of_pairs(file: Path) -> list[Labelled]:
    """Return the spectrum in a text of two columns, whatever stands above them; an empty list where it is none."""
    raw = file.read_bytes()
    lines = [] if b"\0" in raw[:4096] else raw.decode("utf-8-sig", errors="replace").splitlines()
    pairs = [PAIR.fullmatch(line) for line in lines if line.strip()]
    n_above = next((i for i, pair in enumerate(pairs) if pair), len(pairs))
    if len(pairs) - n_above < FEWEST or None in pairs[n_above:]:
        return []
    numbers = [[float(text.replace(",", ".")) for text in pair.groups() if text] for pair in pairs if pair]
    return [("", {"signal": Signal(*np.array(numbers).T)})]


def _of_dataset_objects(file: Path) -> list[Labelled]:
    """Return the spectra of the DataSet Objects in a MATLAB file, each a signal; an empty list where it has none.

    Rows and columns that are not in the field `include` are left out, as the toolbox does (Eigenvector Research,
    DataSet Object); tables of reference values, without a scale of columns, too.
    """
    from scipy.io import loadmat

    try:
        variables = loadmat(file)
    except (NotImplementedError, ValueError, TypeError, OSError):  # of version 7.3, or none
        return []
    found: list[Labelled] = []
    for name, value in variables.items():
        fields = getattr(getattr(value, "dtype", None), "names", None) or ()
        if not {"data", "axisscale"} <= set(fields) or value.size != 1:
            continue
        data = np.asarray(value["data"].flat[0])
        labels, axis, said, rows, columns = (
            _vector(value[field].flat[0], mode) if field in fields else np.zeros(0)
            for field, mode in (("label", 0), ("axisscale", 1), ("axisscalename", 1), ("include", 0), ("include", 1))
        )
        if data.ndim != 2 or axis.dtype.kind not in "iuf" or len(axis) != data.shape[1]:
            continue
        words = " ".join(map(str, said))
        unit = next((u for u, (how, _) in UNITS.items() if re.search(rf"(?<!\w)({how})(?!\w)", words, re.I)), "")
        columns = columns.astype(int) - 1 if len(columns) else np.arange(len(axis))
        for i in rows.astype(int) - 1 if len(rows) else range(len(data)):
            signal = Signal(axis[columns].astype(float), data[i, columns].astype(float), unit)
            found.append((str(labels[i]).strip() if len(labels) == len(data) else "", {name: signal}))
    return found


def _vector(field: Any, mode: int) -> NDArray[Any]:
    """Return what a field of a DataSet Object says of the rows (0) or the columns (1), its first set."""
    return np.ravel(field[mode].flat[0]) if field.dtype == object and len(field) == 2 else np.zeros(0)
