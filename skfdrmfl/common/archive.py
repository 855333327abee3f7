"""Archives: trees of plain values and arrays in one file, written whole or not at all, read without pickle.

A file is a npz: `archive.json` is the tree (`common.tree`), `0.npy`, `1.npy`, ... are its arrays.
"""

from __future__ import annotations

import io
import json
import os
import secrets
import zipfile
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from skfdrmfl.common.tree import UnfitError, UnknownClassError, class_known, from_json, to_json

FORMAT, VERSION = "skfdrmfl archive", 1
_TREE = "archive.json"


class ArchiveError(ValueError):
    """A file is no archive, not the one that was asked for, or damaged."""


def _has_header(dtype: np.dtype) -> bool:
    """Return whether the header of a npy file says all there is to a type, no Python objects or foreign types in it."""
    try:
        return not dtype.hasobject and bool(npy.descr_to_dtype(npy.dtype_to_descr(dtype)) == dtype)
    except ValueError:  # fields that overlap
        return False


def _array(members: zipfile.ZipFile, number: int) -> NDArray:
    """Return an array from the member of the file that has its number."""
    with members.open(f"{number}.npy") as member:
        # numpy's own limit on headers is too low for hundreds of named fields.
        array: NDArray = npy.read_array(member, allow_pickle=False, max_header_size=2**20)
        member.read()  # to the end, where the checksum is compared
    return array


def write(path: str | os.PathLike[str], content: Any, *, kind: str) -> None:
    """Write a tree to a file; what stood there stays until the new file is complete and on disk.

    A process that is killed while it writes may leave a file `.NAME.*.tmp` beside it. `kind` is what `read` is to ask
    for. The tree is of None, bool, int, float, str, bytes, slice, Path, arrays and scalars of numpy, objects of classes
    that are `registered`, and list, tuple, set, frozenset, dict and arrays of them. All come back with equal types and
    bits. Raises TypeError or ValueError, and writes nothing, where the tree holds something else, or itself; OSError
    where the file cannot be written.
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
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        if not isinstance(error, OSError):
            raise
        fact = f"{error.strerror or error}, and nothing has changed there; make room, or name another file"
        raise OSError(error.errno, fact, os.fspath(path)) from error
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
    try:
        tree, arrays = to_json(content, _has_header, "which no archive can hold")
        tree = {"format": FORMAT, "version": VERSION, "kind": kind, "content": tree}
        text = json.dumps(tree, ensure_ascii=False, allow_nan=False).encode("utf-8", "surrogatepass")
    except UnfitError as error:
        raise TypeError(f"{error}; use joblib.dump for such a model.") from error
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


def read(
    path: str | os.PathLike[str],
    *,
    kind: str,
    chosen: Callable[[Any], Any] | None = None,
    class_of: Callable[[str], type | None] = class_known,
) -> Any:
    """Return the tree that `write` has put into a file. Nothing in a file is ever run, whoever wrote it.

    `chosen` picks the part of the JSON that is read, None: all; `class_of` is that of `tree.from_json`. Raises
    ArchiveError for a file that is no archive or damaged, of another kind or a newer format, or that holds objects of
    an unknown class.
    """
    with open(path, "rb") as file:
        return _tree(file, kind, path, chosen, class_of)


def _tree(file: BinaryIO, kind: str, path: Any, chosen: Any = None, class_of: Any = class_known) -> Any:
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
            content = tree["content"] if chosen is None else chosen(tree["content"])
            return from_json(content, partial(_array, members), class_of=class_of)
    except (ArchiveError, UnknownClassError) as error:
        raise ArchiveError(f"{path} {error}.") from None
    except Exception as error:
        fact = f"is no {FORMAT}, or is damaged ({type(error).__name__}: {error})"
        raise ArchiveError(f"{path} {fact}; pass a file that skfdrmfl has written.") from error
