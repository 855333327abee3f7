"""Small files as instruments write them, made by code from the published layouts."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from scipy.io import savemat
from scipy.io.matlab import MatlabObject

# What stands in a block of an OPUS file: the beam (1 sample, 2 reference, 3 both) and the kind of its values.
OPUS_BLOCKS = {
    "absorbance": (3, 4),
    "reflectance": (3, 12),
    "sample_spectrum": (1, 1),
    "reference_spectrum": (2, 1),
    "sample_interferogram": (1, 2),
}


def jcamp(path: Path, x, y, *, title="sample", x_unit="NANOMETERS", y_unit="ABSORBANCE") -> Path:
    """Write a JCAMP-DX file of one spectrum, its points equally far apart."""
    lines = [
        *(f"##TITLE={title}", "##JCAMP-DX=4.24", "##DATA TYPE=NEAR INFRARED SPECTRUM"),
        *(f"##XUNITS={x_unit}", f"##YUNITS={y_unit}", f"##FIRSTX={float(x[0])}", f"##LASTX={float(x[-1])}"),
        *(f"##NPOINTS={len(x)}", "##XFACTOR=1.0", "##YFACTOR=1e-09", "##XYDATA=(X++(Y..Y))"),
        *(f"{float(x[i])} {round(y[i] * 1e9)}" for i in range(len(x))),
        "##END=",
    ]
    path.write_text("\n".join(lines) + "\n", encoding="ascii")
    return path


def opus(path: Path, x, signals: dict, *, x_unit="WN") -> Path:
    """Write a Bruker OPUS file with the blocks that `signals` names, in this order."""

    def parameters(values: dict) -> bytes:
        out = b""
        for key, value in values.items():
            if isinstance(value, int):
                kind, raw = 0, struct.pack("<i", value)
            elif isinstance(value, float):
                kind, raw = 1, struct.pack("<d", value)
            else:
                kind, raw = 2, value.encode() + b"\0" * (4 - len(value) % 4)
            out += key.encode() + b"\0" + struct.pack("<hh", kind, len(raw) // 2) + raw
        return out + b"END\0" + struct.pack("<hh", 0, 0)

    blocks = []
    for name, y in signals.items():
        beam, kind = OPUS_BLOCKS[name]
        y = np.asarray(y, dtype="<f4")
        status = {"DPF": 1, "NPT": len(y), "FXV": float(x[0]), "LXV": float(x[-1]), "CSF": 1.0}
        status |= {"MXY": float(y.max()), "MNY": float(y.min()), "DXU": x_unit}
        blocks += [(3 | beam << 2 | kind << 10, y.tobytes()), (3 | beam << 2 | 1 << 4 | kind << 10, parameters(status))]
    start = 24 + 12 * (len(blocks) + 1)
    directory = struct.pack("<iii", 13 << 10, 3 * (len(blocks) + 1), 24)
    for kind, raw in blocks:
        directory += struct.pack("<iii", kind, len(raw) // 4, start)
        start += len(raw)
    head = b"\n\n\xfe\xfe" + struct.pack("<diii", 920622.0, 24, len(blocks) + 1, len(blocks) + 1)
    path.write_bytes(head + directory + b"".join(raw for _, raw in blocks))
    return path


def spc(path: Path, x, ys, *, x_type=3, y_type=2) -> Path:
    """Write a Galactic SPC file of one spectrum or several on one axis; types: 3 nm, 1 cm-1; 2 absorbance."""
    ys = np.atleast_2d(np.asarray(ys, dtype="<f4"))
    head = struct.pack("<BBBBiddi", 0x04 if len(ys) > 1 else 0, 0x4B, 0, 128, len(x), x[0], x[-1], len(ys))
    head += struct.pack("<BBBB", x_type, y_type, 0, 0)
    subfiles = b""
    for i, y in enumerate(ys):
        subfiles += struct.pack("<BBhfffiif4x", 0, 128, i, float(i), float(i + 1), 0.0, len(x), 1, 0.0) + y.tobytes()
    path.write_bytes(head.ljust(512, b"\0") + subfiles)
    return path


def spc_of_own_points(path: Path, xs, ys, *, exponent=128) -> Path:
    """Write a Galactic SPC file in which each spectrum has its points; of values below 2 ** exponent / 2, or floats."""
    subfiles = b""
    for i, (x, y) in enumerate(zip(xs, ys, strict=True)):
        raw = np.asarray(y, dtype="<f4") if exponent == 128 else np.rint(np.multiply(y, 2.0 ** (32 - exponent)))
        values = raw.astype("<f4" if exponent == 128 else "<i4").tobytes()
        head = struct.pack("<BBhfffiif4x", 0, exponent, i, float(i), float(i + 1), 0.0, len(x), 1, 0.0)
        subfiles += head + np.asarray(x, dtype="<f4").tobytes() + values
    head = struct.pack("<BBBBiddi", 0xC4, 0x4B, 0, exponent, 0, xs[0][0], xs[0][-1], len(xs)) + b"\3\2\0\0"
    path.write_bytes(head.ljust(512, b"\0") + subfiles)
    return path


def asd(path: Path, x, y, *, kind=0, reference=None) -> Path:
    """Write an ASD FieldSpec file; kinds: 0 counts, 1 reflectance; what the white reference gave follows the sample."""
    head = bytearray(484)
    head[:3] = b"as6" if reference is not None else b"ASD"
    head[3 + 183] = kind
    struct.pack_into("<ff", head, 3 + 188, x[0], (x[-1] - x[0]) / (len(x) - 1))
    head[3 + 196] = 2  # values of eight bytes
    struct.pack_into("<H", head, 3 + 201, len(x))
    raw = bytes(head) + np.asarray(y, dtype="<f8").tobytes()
    if reference is not None:
        raw += b"\xff\xff" + struct.pack("<ddh", 0.0, 0.0, 0) + np.asarray(reference, dtype="<f8").tobytes()
    path.write_bytes(raw)
    return path


def dso(path: Path, x, ys, names=None, *, variable="spectra", as_object=True, include=None, more=None) -> Path:
    """Write DataSet Objects of Eigenvector's toolbox, as MATLAB saves them: objects of the class dataset.

    `more` are further variables; `include` numbers the rows and columns, from 1, that are not left out.
    """

    def cell(rows, columns):
        out = np.empty((2, 1), dtype=object)
        out[0, 0], out[1, 0] = rows, columns
        return out

    def record(ys):
        nothing = np.zeros((0, 0))
        rows, columns = include or (range(1, len(ys) + 1), range(1, ys.shape[1] + 1))
        fields = {
            "data": ys,
            "label": cell(nothing if names is None else np.array(names), nothing),
            "axisscale": cell(nothing, np.asarray(x, dtype=float)[None]),
            "include": cell(np.array([[*rows]], dtype=float), np.array([[*columns]], dtype=float)),
        }
        out = np.zeros((1, 1), dtype=[(name, object) for name in fields])
        for name, value in fields.items():
            out[name][0, 0] = value
        return MatlabObject(out, "dataset") if as_object else out

    variables = {variable: ys, **(more or {})}
    savemat(path, {name: record(np.asarray(values, dtype=float)) for name, values in variables.items()})
    return path
