"""Trees of plain values, arrays and objects of registered classes as JSON with arrays aside, and back.

JSON's null, booleans, strings, numbers and lists stand for themselves, a JSON object for anything else, and its first
key says for what: {"dict": {...}}, {"tuple": [...]}, {"array": 0}, {"object": "Name", "fields": {...}}. Nothing that is
read is ever run: objects are rebuilt by `cls(**fields)` of a registered class. Where the arrays go is up to those who
write (`common.archive`: a file; `federation.remote.codec`: a packet of bytes).
"""

from __future__ import annotations

import dataclasses
import math
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

_CLASSES: dict[str, type] = {}
C = TypeVar("C", bound=type)


class UnfitError(TypeError):
    """A tree holds what cannot be written.

    Parameters
    ----------
    place : str
        Where in the tree.
    fact : str
    """

    def __init__(self, place: str, fact: str):
        self.place, self.fact = place.removeprefix(".") or "content", fact
        super().__init__(f"{self.place} {fact}")


class UnknownClassError(ValueError):
    """A tree that is read holds an object of a class that nothing has registered."""


def registered(cls: C) -> C:
    """Let trees hold objects of a class: a decorator, or a call for a class that is defined elsewhere.

    The class is a frozen dataclass, a named tuple or a kind of frozenset, or has `get_params`; `cls(**fields)` rebuilds
    an object. Trees know the class by its bare name, so it may move but not be renamed.
    """
    frozen = dataclasses.is_dataclass(cls) and cls.__dataclass_params__.frozen  # type: ignore[attr-defined]
    if not (frozen or hasattr(cls, "get_params") or hasattr(cls, "_fields") or issubclass(cls, frozenset)):
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


class Writer:
    """Makes JSON of values.

    Attributes
    ----------
    arrays : list of ndarray
        Those of the values written so far, which the JSON has by number.
    shares : bool
        Whether an array or object that stands in several places is written once, and comes back as one.
    refusal : str
        What errors say of what cannot be written.
    """

    shares: ClassVar[bool] = False
    refusal: ClassVar[str] = "which no archive can hold"

    def __init__(self) -> None:
        self.arrays: list[NDArray] = []
        self._seen: dict[int, tuple[int, Any]] = {}  # of each array or object, its number, and itself

    def write(self, value: Any, place: str = "") -> Any:
        """Return the JSON of a value; `place` is where it stands.

        Raises
        ------
        UnfitError
            It holds what cannot be written.
        RecursionError
            It holds itself.
        """
        kind = type(value)
        if value is None or kind in (bool, str) or (kind is float and math.isfinite(value)):
            return value
        if kind is int and -(2**63) <= value < 2**63:
            return value
        if kind is list:
            return [self.write(entry, f"{place}[{i}]") for i, entry in enumerate(value)]
        if kind is dict:
            entries = {key: self.write(entry, f"{place}.{key}") for key, entry in value.items()}
            if all(type(key) is str for key in entries):
                return {"dict": entries}
            return {"items": [[self.write(key, f"{place}.{key}"), entry] for key, entry in entries.items()]}
        if isinstance(value, np.generic) and not isinstance(value, np.void) and kind not in _FORMS:
            kind = np.generic
        if kind in _FORMS:
            tag, simpler, _ = _FORMS[kind]
            return {tag: self.write(simpler(value), place)}
        if id(value) in self._seen:
            return {"again": self._seen[id(value)][0]}
        written = self.special(value, kind, place)
        if self.shares:
            self._seen[id(value)] = len(self._seen), value
        return written

    def special(self, value: Any, kind: type, place: str) -> Any:
        """Return the JSON of what is no plain value."""
        if kind is np.ndarray and value.dtype == object:
            values = [self.write(entry, f"{place}[{i}]") for i, entry in enumerate(value.ravel().tolist())]
            return {"objects": values, "shape": value.shape}
        if kind in (np.ndarray, np.memmap) and self.takes(value.dtype):
            return {"array": self.put(value)}
        if _CLASSES.get(kind.__name__) is kind:
            fields = _fields(value, kind, place)
            if isinstance(fields, list):
                return {"object": kind.__name__, "fields": self.write(fields, place)}
            written = {name: self.write(entry, f"{place}.{name}") for name, entry in fields.items()}
            return {"object": kind.__name__, "fields": written}
        what = f"{kind.__module__}.{kind.__qualname__}" + (f" of {value.dtype}" if hasattr(value, "dtype") else "")
        raise UnfitError(place, f"is a {what}, {self.refusal}")

    def takes(self, dtype: np.dtype) -> bool:
        """Return whether arrays of a type can be written."""
        raise NotImplementedError

    def put(self, array: NDArray) -> int:
        """Put an array aside, and return its number."""
        self.arrays.append(array)
        return len(self.arrays) - 1


class Reader:
    """Makes values of JSON and arrays; what is no tree of a Writer raises some exception."""

    def __init__(self) -> None:
        self._seen: list[Any] = []

    def read(self, node: Any) -> Any:
        """Return the value of some JSON."""
        kind = type(node)
        if kind is list:
            return [self.read(entry) if type(entry) in (dict, list) else entry for entry in node]
        if kind is not dict:
            return node
        if len(node) == 1:
            ((tag, inner),) = node.items()
            if tag == "dict":
                return self._read_all(inner)
            if tag == "items":
                return {self.read(key): self.read(entry) for key, entry in inner}
            if tag in _REBUILT:
                return _REBUILT[tag](self.read(inner))
            if tag == "again":
                return self._seen[inner]
        value = self.special(node)
        self._seen.append(value)
        return value

    def special(self, node: dict[str, Any]) -> Any:
        """Return the value of a JSON object that is none of a plain value."""
        match node:
            case {"objects": entries, "shape": shape}:
                return np.fromiter(self.read(entries), object, len(entries)).reshape(shape)
            case {"array": number}:
                return self.get(number)
            case {"object": name, "fields": fields}:
                if name not in _CLASSES:
                    raise UnknownClassError(
                        f"holds a {name}, a class unknown so far; import the module that defines it first"
                    )
                cls = _CLASSES[name]
                return cls(self.read(fields)) if issubclass(cls, frozenset) else cls(**self._read_all(fields))
        raise ValueError(f"no value begins with {sorted(node)[:1]}")

    def get(self, number: int) -> NDArray:
        """Return an array by its number."""
        raise NotImplementedError

    def _read_all(self, entries: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of several pieces of JSON by name."""
        return {key: self.read(entry) if type(entry) in (dict, list) else entry for key, entry in entries.items()}


def _fields(value: Any, kind: Any, place: str) -> dict[str, Any] | list[Any]:
    """Return what an object of a registered class is rebuilt from."""
    if dataclasses.is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.init}
    if issubclass(kind, frozenset):
        return sorted(value, key=repr)
    if issubclass(kind, tuple):
        return value._asdict()
    parameters = value.get_params(deep=False)
    if more := sorted(vars(value).keys() - parameters.keys()):
        raise UnfitError(place, f"has more than its parameters ({', '.join(more)}), which an archive would lose")
    return parameters
