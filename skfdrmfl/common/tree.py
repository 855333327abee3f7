"""Trees of plain values, arrays and objects of registered classes as JSON with arrays aside, and back.

JSON's null, booleans, strings, numbers and lists stand for themselves, a JSON object for anything else, and its first
key says for what: {"dict": {...}}, {"tuple": [...]}, {"array": 0}, {"object": "Name", "fields": {...}}. Nothing that is
read is ever run: objects are rebuilt by `cls(**fields)` of a registered class. Where the arrays go is up to those who
write (`common.archive`: a file; `clients.remote.codec`: a packet of bytes).
"""

from __future__ import annotations

import dataclasses
import math
import struct
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

# The classes by name, and the names of their fields; None: those are its parameters.
_CLASSES: dict[str, type] = {}
_FIELDS: dict[type, Sequence[str] | None] = {}
C = TypeVar("C", bound=type)


class UnfitError(TypeError):
    """A tree holds, at some place, what cannot be written."""

    def __init__(self, place: str, fact: str):
        self.place, self.fact = place.removeprefix(".") or "content", fact
        super().__init__(f"{self.place} {fact}")


class UnknownClassError(ValueError):
    """A tree that is read holds an object of a class that nothing has registered."""


def registered(cls: C, former: str | None = None) -> C:
    """Let trees hold objects of a class: a decorator, or a call for a class that is defined elsewhere.

    The class is a frozen dataclass, a named tuple or a kind of frozenset, or has `get_params`; `cls(**fields)` rebuilds
    an object. Trees know the class by its bare name: it may move, and has a `former` name where it was renamed.
    """
    frozen = dataclasses.is_dataclass(cls) and cls.__dataclass_params__.frozen  # type: ignore[attr-defined]
    if not (frozen or hasattr(cls, "get_params") or hasattr(cls, "_fields") or issubclass(cls, frozenset)):
        raise TypeError(f"{cls.__name__} is neither a frozen dataclass nor has it get_params; make it one of them.")
    other = _CLASSES.get(cls.__name__, cls)
    if (other.__module__, other.__qualname__) != (cls.__module__, cls.__qualname__):
        raise ValueError(f"{cls.__name__} is registered already, by {other.__module__}; rename one of the two classes.")
    own = [field.name for field in dataclasses.fields(cls) if field.init] if frozen else getattr(cls, "_fields", None)
    _CLASSES[cls.__name__], _FIELDS[cls] = cls, own
    if former is not None:
        _CLASSES[former] = cls
    return cls


def class_known(name: str) -> type | None:
    """Return the class that is registered under a name."""
    return _CLASSES.get(name)


class Form(NamedTuple):
    """How values of a type are written: under which tag, as what simpler value, and how they are rebuilt of that."""

    tag: str
    simpler: Callable[[Any], Any]
    rebuilt: Callable[[Any], Any]


# Of int and float only those come here that JSON has no exact number for; as arrays, numpy's strings would lose zeros
# at their ends.
FORMS: dict[type, Form] = {
    int: Form("int", hex, lambda text: int(text, 16)),
    float: Form("float", lambda x: struct.pack(">d", x).hex(), lambda x: struct.unpack(">d", bytes.fromhex(x))[0]),
    bytes: Form("bytes", bytes.hex, bytes.fromhex),
    tuple: Form("tuple", list, tuple),
    set: Form("set", lambda x: sorted(x, key=repr), set),
    frozenset: Form("frozenset", lambda x: sorted(x, key=repr), frozenset),
    type(Path()): Form("path", str, Path),
    slice: Form("slice", lambda x: [x.start, x.stop, x.step], lambda x: slice(*x)),
    np.str_: Form("str_", "".join, np.str_),
    np.bytes_: Form("bytes_", bytes, np.bytes_),
    np.void: Form("void", np.asarray, lambda x: x[()]),
    np.generic: Form("scalar", lambda x: [x.dtype.str, x.tobytes()], lambda x: np.ndarray((), x[0], x[1])[()]),
}
REBUILT = {form.tag: form.rebuilt for form in FORMS.values()} | {"list": list, "dict": dict, "items": dict}
# Types that stand for themselves in JSON, and those that hold others.
_PLAIN, _NESTED = {type(None), bool, str}, {dict, list}
# Tags of what a tree may hold several times as one.
_SHARED = {"fields", "objects", "array"}


class Writer:
    """Makes JSON of values, and collects their `arrays`, which the JSON has by number.

    Arrays of a dtype that it `takes` can be written; of others errors say `refusal`. If it `shares`, an array or object
    that stands in several places is written once, and comes back as one. `names` stand for the arrays and objects, by
    their id, that the reader has.
    """

    def __init__(
        self,
        takes: Callable[[np.dtype], bool],
        refusal: str,
        forms: Mapping[type, Form] = FORMS,
        *,
        shares: bool = False,
        names: Mapping[int, str] | None = None,
    ) -> None:
        self.arrays: list[NDArray] = []
        self._takes, self._refusal, self._forms = takes, refusal, forms
        self._shares, self._names = shares, names or {}
        self._seen: dict[int, tuple[int, Any]] = {}  # of each array or object, its number, and itself

    def write(self, value: Any, place: str = "") -> Any:
        """Return the JSON of a value; `place` is where it stands.

        Raises UnfitError where it holds what cannot be written, and RecursionError where it holds itself.
        """
        kind = type(value)
        if kind in _PLAIN or (kind is float and math.isfinite(value)):
            return value
        if kind is int and -(2**63) <= value < 2**63:
            return value
        if isinstance(value, np.generic) and not isinstance(value, np.void) and kind not in self._forms:
            kind = np.generic
        if id(value) in self._names:
            return {"again": self._names[id(value)]}
        if id(value) in self._seen:
            return {"again": self._seen[id(value)][0]}
        node: dict[str, Any] = {}
        if kind in _NESTED:
            tag, inner = kind.__name__, value
        elif kind in self._forms:
            tag, inner = self._forms[kind].tag, self._forms[kind].simpler(value)
        elif kind in _FIELDS:
            node["object"] = kind.__name__
            tag, inner = "fields", _fields(value, kind, place)
        elif kind is np.ndarray and value.dtype == object:
            node["shape"] = value.shape
            tag, inner = "objects", value.ravel().tolist()
        elif kind in (np.ndarray, np.memmap) and self._takes(value.dtype):
            tag, inner = "array", None
            node["array"] = len(self.arrays)
            self.arrays.append(value)
        else:
            what = f"{kind.__module__}.{kind.__qualname__}" + (f" of {value.dtype}" if hasattr(value, "dtype") else "")
            raise UnfitError(place, f"is a {what}, {self._refusal}")
        if type(inner) is list:
            written: Any = []
            for i, entry in enumerate(inner):
                written.append(entry if type(entry) in _PLAIN else self.write(entry, f"{place}[{i}]"))
            if kind is list:
                return written
        elif type(inner) is dict and tag in ("dict", "fields"):
            written = {}
            for key, entry in inner.items():
                written[key] = entry if type(entry) in _PLAIN else self.write(entry, f"{place}.{key}")
            if not {str}.issuperset(map(type, written)):
                return {"items": [[self.write(key, f"{place}.{key}"), entry] for key, entry in written.items()]}
        else:
            written = inner if type(inner) in _PLAIN else self.write(inner, place)
        node.setdefault(tag, written)
        if self._shares and tag in _SHARED:
            self._seen[id(value)] = len(self._seen), value
        return node


def _fields(value: Any, kind: Any, place: str) -> Any:
    """Return what an object of a registered class is rebuilt from, by name; of a set, its members."""
    names = _FIELDS[kind]
    if names is not None:
        return dict(zip(names, map(partial(getattr, value), names), strict=True))
    if issubclass(kind, frozenset):
        return sorted(value, key=repr)
    parameters = value.get_params(deep=False)
    if more := sorted(vars(value).keys() - parameters.keys()):
        raise UnfitError(place, f"has more than its parameters ({', '.join(more)}), which an archive would lose")
    return parameters


class Reader:
    """Makes values of JSON and arrays; what is no tree of a Writer raises some exception.

    `array` returns an array by its number, `rebuilt` has what rebuilds a value of the simpler one for each tag,
    `recall` returns what the writer's names stand for, and `class_of` the class of a name, None: unknown.
    """

    def __init__(
        self,
        array: Callable[[int], NDArray],
        rebuilt: Mapping[str, Callable[[Any], Any]] = REBUILT,
        recall: Callable[[str], Any] | None = None,
        class_of: Callable[[str], type | None] | None = None,
    ) -> None:
        self._array, self._rebuilt, self._recall = array, rebuilt, recall
        self._class_of = class_of or _CLASSES.get
        self._seen: list[Any] = []

    def read(self, node: Any) -> Any:
        """Return the value of some JSON."""
        inner: Any = node
        if isinstance(node, list):
            tag = "list"
        elif not isinstance(node, dict):
            return node
        else:
            tag = "fields" if "fields" in node else "objects" if "objects" in node else ""
            if not tag:
                (tag,) = node
            inner = node[tag]
        if type(inner) is list:
            values: Any = []
            for entry in inner:
                values.append(self.read(entry) if type(entry) in _NESTED else entry)
        elif type(inner) is dict and tag in ("dict", "fields"):
            values = {}
            for key, entry in inner.items():
                values[key] = self.read(entry) if type(entry) in _NESTED else entry
        else:
            values = self.read(inner) if type(inner) in _NESTED else inner
        if tag in self._rebuilt:
            return self._rebuilt[tag](values)
        if tag == "again":
            return self._seen[values] if self._recall is None or type(values) is int else self._recall(values)
        if tag == "fields":
            cls = self._class_of(node["object"])
            if cls is None:
                fact = f"holds a {node['object']}, a class unknown so far; import the module that defines it first"
                raise UnknownClassError(fact)
            value = cls(values) if issubclass(cls, frozenset) else cls(**values)
        elif tag == "objects":
            value = np.fromiter(values, object, len(values)).reshape(node["shape"])
        elif tag == "array":
            value = self._array(values)
        else:
            raise ValueError(f"no value has the tag {tag!r}")
        self._seen.append(value)
        return value
