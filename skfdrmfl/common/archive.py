"""Archives: trees of plain values and arrays in one file, written whole or not at all, read without pickle.

A file is a npz: `archive.json` is the tree, `0.npy`, `1.npy`, ... are its arrays. JSON's null, booleans, strings,
numbers and lists stand for themselves, a JSON object for anything else, and its first key says for what:
{"dict": {...}}, {"tuple": [...]}, {"array": 0}, {"object": "Name", "fields": {...}}.
"""

from __future__ import annotations

import dataclasses
import io
import json
import math
import os
import secrets
import struct
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
from numpy.lib import format as npy

FORMAT, VERSION = "skfdrmfl archive", 1
_TREE = "archive.json"
_CLASSES: dict[str, type] = {}
C = TypeVar("C", bound=type)


class ArchiveError(ValueError):
    """A file is no archive, not the one that was asked for, or damaged."""


def archived(cls: C) -> C:
    """Let archives hold objects of a class: a decorator, or a call for a class that is defined elsewhere.

    The class is a frozen dataclass, of which the fields are written, or has `get_params`, of which the parameters are;
    `cls(**fields)` rebuilds an object. Files know the class by its bare name, so it may move but not be renamed.
    """
    frozen = dataclasses.is_dataclass(cls) and cls.__dataclass_params__.frozen  # type: ignore[attr-defined]
    if not (frozen or hasattr(cls, "get_params")):
        raise TypeError(f"{cls.__name__} is neither a frozen dataclass nor has it get_params; make it one of them.")
    other = _CLASSES.get(cls.__name__, cls)
    if (other.__module__, other.__qualname__) != (cls.__module__, cls.__qualname__):
        raise ValueError(f"{cls.__name__} is registered already, by {other.__module__}; rename one of the two classes.")
    _CLASSES[cls.__name__] = cls
    return cls


# Of each type: its tag, what simpler value stands for one of its values, and how that is rebuilt. Of int and float only
# those come here that JSON has no exact number for; as arrays, numpy's strings would lose zeros at their ends.
_FORMS: dict[type, tuple[str, Callable[[Any], Any], Callable[[Any], Any]]] = {
    int: ("int", hex, lambda text: int(text, 16)),
    float: ("float", lambda x: struct.pack(">d", x).hex(), lambda x: struct.unpack(">d", bytes.fromhex(x))[0]),
    bytes: ("bytes", bytes.hex, bytes.fromhex),
    tuple: ("tuple", list, tuple),
    set: ("set", lambda x: sorted(x, key=repr), set),
    frozenset: ("frozenset", lambda x: sorted(x, key=repr), frozenset),
    type(Path()): ("path", str, Path),
    slice: ("slice", lambda x: [x.start, x.stop, x.step], lambda x: slice(*x)),
    np.str_: ("str_", "".join, np.str_),
    np.bytes_: ("bytes_", bytes, np.bytes_),
    np.void: ("void", np.asarray, lambda x: x[()]),
    np.generic: ("scalar", lambda x: [x.dtype.str, x.tobytes()], lambda x: np.ndarray((), x[0], x[1])[()]),
}
_REBUILT = {tag: rebuilt for tag, _, rebuilt in _FORMS.values()}


def _encode(value: Any, place: str, arrays: list[np.ndarray]) -> Any:
    """Return the JSON of a value; the arrays in it are appended to `arrays`."""
    kind = type(value)
    if value is None or kind in (bool, str) or (kind is float and math.isfinite(value)):
        return value
    if kind is int and -(2**63) <= value < 2**63:
        return value
    if kind is list:
        return [_encode(entry, f"{place}[{i}]", arrays) for i, entry in enumerate(value)]
    if kind is dict:
        entries = {key: _encode(entry, f"{place}.{key}", arrays) for key, entry in value.items()}
        if all(type(key) is str for key in entries):
            return {"dict": entries}
        return {"items": [[_encode(key, f"{place}.{key}", arrays), entry] for key, entry in entries.items()]}
    if kind is np.ndarray and value.dtype == object:
        values = [_encode(entry, f"{place}[{i}]", arrays) for i, entry in enumerate(value.ravel().tolist())]
        return {"objects": values, "shape": value.shape}
    if kind in (np.ndarray, np.memmap) and _has_header(value.dtype):
        arrays.append(value)
        return {"array": len(arrays) - 1}
    if _CLASSES.get(kind.__name__) is kind:
        fields = {name: _encode(entry, f"{place}.{name}", arrays) for name, entry in _fields(value, place).items()}
        return {"object": kind.__name__, "fields": fields}
    if isinstance(value, np.generic) and not isinstance(value, np.void) and kind not in _FORMS:
        kind = np.generic
    if kind not in _FORMS:
        what = f"{kind.__module__}.{kind.__qualname__}" + (f" of {value.dtype}" if hasattr(value, "dtype") else "")
        raise _unfit(place, f"is a {what}, which no archive can hold")
    tag, simpler, _ = _FORMS[kind]
    return {tag: _encode(simpler(value), place, arrays)}


def _fields(value: Any, place: str) -> dict[str, Any]:
    """Return what an object of a registered class is rebuilt from."""
    if dataclasses.is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.init}
    parameters = value.get_params(deep=False)
    if more := sorted(vars(value).keys() - parameters.keys()):
        raise _unfit(place, f"has more than its parameters ({', '.join(more)}), which an archive would lose")
    return parameters


def _has_header(dtype: np.dtype) -> bool:
    """Return whether the header of a npy file says all there is to a type, no Python objects or foreign types in it."""
    try:
        return not dtype.hasobject and bool(npy.descr_to_dtype(npy.dtype_to_descr(dtype)) == dtype)
    except ValueError:  # fields that overlap
        return False


def _unfit(place: str, fact: str) -> TypeError:
    return TypeError(f"{place.removeprefix('.') or 'content'} {fact}; use joblib.dump for such a model.")


def _decode(node: Any, members: zipfile.ZipFile) -> Any:
    """Return the value of a piece of JSON, with arrays from the members of the file."""
    match node:
        case list():
            return [_decode(entry, members) for entry in node]
        case {"dict": entries}:
            return {key: _decode(entry, members) for key, entry in entries.items()}
        case {"items": entries}:
            return {_decode(key, members): _decode(entry, members) for key, entry in entries}
        case {"objects": entries, "shape": shape}:
            return np.fromiter((_decode(entry, members) for entry in entries), object, len(entries)).reshape(shape)
        case {"array": number}:
            with members.open(f"{number}.npy") as member:
                # numpy's own limit on headers is too low for hundreds of named fields.
                array = npy.read_array(member, allow_pickle=False, max_header_size=2**20)
                member.read()  # to the end, where the checksum is compared
            return array
        case {"object": name, "fields": fields}:
            if name not in _CLASSES:
                raise ArchiveError(f"holds a {name}, a class unknown so far; import the module that defines it first")
            return _CLASSES[name](**{key: _decode(entry, members) for key, entry in fields.items()})
        case dict():
            ((tag, simpler),) = node.items()
            return _REBUILT[tag](_decode(simpler, members))
    return node


def write(path: str | os.PathLike[str], content: Any, *, kind: str) -> None:
    """Write a tree to a file; what stood there stays until the new file is complete and on disk.

    Parameters
    ----------
    path : str or path-like
        A process that is killed while it writes may leave a file `.NAME.*.tmp` beside it.
    content : object
        None, bool, int, float, str, bytes, slice, Path, arrays and scalars of numpy, objects of classes that are
        `archived`, and list, tuple, set, frozenset, dict and arrays of them. All come back with equal types and bits.
    kind : str
        What the content is, for `read` to ask for.

    Raises
    ------
    TypeError, ValueError
        The tree holds something else, or itself. Nothing is written.
    """
    text, arrays = _encoded(content, kind)
    target = Path(os.path.realpath(path))  # a link stays one
    temporary = target.with_name(f".{target.name[:100]}.{secrets.token_hex(8)}.tmp")
    try:
        with open(temporary, "xb") as file:
            _put(file, text, arrays)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    with suppress(OSError):  # the file is whole by now, and not every system lets a folder be synchronised
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def to_bytes(content: Any, *, kind: str) -> bytes:
    """Return the file that `write` would write: for what stays the same in a file that is written again and again."""
    file = io.BytesIO()
    _put(file, *_encoded(content, kind))
    return file.getvalue()


def from_bytes(data: bytes, *, kind: str) -> Any:
    """Return the tree of which `to_bytes` made these bytes; errors are those of `read`, without a name of a file."""
    return _tree(io.BytesIO(data), kind, "a part of the file")


def _encoded(content: Any, kind: str) -> tuple[bytes, list[np.ndarray]]:
    """Return the JSON of a tree, and its arrays."""
    arrays: list[np.ndarray] = []
    try:
        tree = {"format": FORMAT, "version": VERSION, "kind": kind, "content": _encode(content, "", arrays)}
        text = json.dumps(tree, ensure_ascii=False, allow_nan=False).encode("utf-8", "surrogatepass")
    except RecursionError as error:
        raise ValueError("content contains itself or is nested too deeply; pass a flatter tree.") from error
    return text, arrays


def _put(file: BinaryIO, text: bytes, arrays: list[np.ndarray]) -> None:
    """Write JSON and arrays as a npz."""
    with zipfile.ZipFile(file, "w") as members:
        members.writestr(zipfile.ZipInfo(_TREE), text)
        for number, array in enumerate(arrays):
            with members.open(zipfile.ZipInfo(f"{number}.npy"), "w", force_zip64=True) as member:
                npy.write_array(member, array, version=(3, 0), allow_pickle=False)


def read(path: str | os.PathLike[str], *, kind: str) -> Any:
    """Return the tree that `write` has put into a file. Nothing in a file is ever run, whoever wrote it.

    Raises
    ------
    ArchiveError
        The file is no archive or damaged, of another kind or a newer format, or holds objects of an unknown class.
    """
    with open(path, "rb") as file:
        return _tree(file, kind, path)


def _tree(file: BinaryIO, kind: str, path: Any) -> Any:
    """Return the tree in an open file, which errors call `path`."""
    try:
        with zipfile.ZipFile(file) as members:
            tree = json.loads(members.read(_TREE).decode("utf-8", "surrogatepass"))
            if tree["format"] != FORMAT:
                raise ValueError(f"format {tree['format']!r}")
            if tree["version"] > VERSION:
                raise ArchiveError(f"has format version {tree['version']} (known: {VERSION}); use a newer skfdrmfl")
            if tree["kind"] != kind:
                raise ArchiveError(f"is a {tree['kind']!r}, not a {kind!r}; pass a file of the kind {kind!r}")
            return _decode(tree["content"], members)
    except ArchiveError as error:
        raise ArchiveError(f"{path} {error}.") from None
    except Exception as error:
        fact = f"is no {FORMAT}, or is damaged ({type(error).__name__}: {error})"
        raise ArchiveError(f"{path} {fact}; pass a file that skfdrmfl has written.") from error
