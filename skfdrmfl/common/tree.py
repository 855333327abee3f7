"""Trees of plain values, arrays and objects of registered classes as JSON with arrays aside, and back.

JSON's null, booleans, strings, numbers and lists stand for themselves, a JSON object for anything else, and its first
key says for what: {"dict": {...}}, {"tuple": [...]}, {"array": 0}, {"object": "Name", "fields": {...}}. Nothing that is
read is ever run: objects are rebuilt by `cls(**fields)` of a registered class. Where the arrays go is up to those who
write (`common.archive`: a file; `clients.remote.codec`: a packet of bytes).
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import isfinite
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


# From a name to the class that is registered under it; None: unknown.
class_known: Callable[[str], type | None] = _CLASSES.get


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
REBUILT = {form.tag: form.rebuilt for form in FORMS.values()} | {"dict": dict, "items": dict}
# Types that stand for themselves in JSON, and those that hold others.
_PLAIN, _NESTED = {type(None), bool, str}, {dict, list}
# Tags of JSON objects with a value under each key, and of what a tree may hold several times as one.
_BY_NAME, _SHARED = {"dict", "fields"}, {"fields", "objects", "array"}
MOST_DEPTH = 1000  # values within values: what is deeper holds itself


def to_json(
    value: Any,
    takes: Callable[[np.dtype], bool],
    refusal: str,
    forms: Mapping[type, Form] = FORMS,
    *,
    shares: bool = False,
    names: Mapping[int, str] | None = None,
) -> tuple[Any, list[NDArray]]:
    """Return the JSON of a tree, and its arrays, which the JSON has by number.

    Arrays of a dtype that it `takes` can be written; of others errors say `refusal`. If it `shares`, an array or object
    that stands in several places is written once, and comes back as one. `names` stand for the arrays and objects, by
    their id, that the reader has.

    Raises UnfitError where the tree holds what cannot be written, and RecursionError where it holds itself.
    """
    top = [value]
    arrays: list[NDArray] = []
    shared: list[Any] = []
    known: dict[int, int | str] = dict(names or {})  # numbers and names of what is written already, by its id
    todo: list[tuple[Any, Any, str, int]] = [(top, 0, "", 0)]  # places in the JSON where values still stand
    while todo:
        holder, key, place, depth = todo.pop()
        value = holder[key]
        kind = type(value)
        if kind in _PLAIN or (kind is float and isfinite(value)) or (kind is int and -(2**63) <= value < 2**63):
            continue
        if id(value) in known:
            holder[key] = {"again": known[id(value)]}
            continue
        if depth > MOST_DEPTH:
            raise RecursionError(place)
        if isinstance(value, np.generic) and not isinstance(value, np.void) and kind not in forms:
            kind = np.generic
        node: dict[str, Any] = {}
        if kind in _NESTED:
            tag, inner = kind.__name__, kind(value)
        elif kind in forms:
            tag, inner = forms[kind].tag, forms[kind].simpler(value)
        elif kind in _FIELDS:
            node["object"], own = kind.__name__, _FIELDS[kind]
            tag = "fields"
            if own is None:
                inner = _parameters(value, kind, place)
            else:
                inner = dict(zip(own, map(partial(getattr, value), own), strict=True))
        elif kind is np.ndarray and value.dtype == object:
            node["shape"] = value.shape
            tag, inner = "objects", value.ravel().tolist()
        elif kind in (np.ndarray, np.memmap) and takes(value.dtype):
            tag, inner = "array", len(arrays)
            arrays.append(value)
        else:
            what = f"{kind.__module__}.{kind.__qualname__}" + (f" of {value.dtype}" if hasattr(value, "dtype") else "")
            raise UnfitError(place, f"is a {what}, {refusal}")
        if shares and tag in _SHARED:
            known[id(value)] = len(shared)
            shared.append(value)
        parts: list[tuple[Any, Any, str, int]] = []
        if tag == "dict" and not {str}.issuperset(map(type, inner)):
            tag, inner = "items", list(map(list, inner.items()))
            for pair in inner:
                parts += [(pair, 0, f"{place}.{pair[0]}", depth + 1), (pair, 1, f"{place}.{pair[0]}", depth + 1)]
        elif type(inner) is dict and tag in _BY_NAME:
            for name, entry in inner.items():
                if type(entry) not in _PLAIN:
                    parts.append((inner, name, f"{place}.{name}", depth + 1))
        elif type(inner) is list:
            for i, entry in enumerate(inner):
                if type(entry) not in _PLAIN:
                    parts.append((inner, i, f"{place}[{i}]", depth + 1))
        elif type(inner) not in _PLAIN:
            parts.append((node, tag, place, depth + 1))
        todo += reversed(parts)  # the first is next
        node[tag] = inner
        holder[key] = inner if kind is list else node
    return top[0], arrays


def _parameters(value: Any, kind: Any, place: str) -> Any:
    """Return what an object of a class without fields is rebuilt from, by name; of a set, its members."""
    if issubclass(kind, frozenset):
        return sorted(value, key=repr)
    parameters = value.get_params(deep=False)
    if more := sorted(vars(value).keys() - parameters.keys()):
        raise UnfitError(place, f"has more than its parameters ({', '.join(more)}), which an archive would lose")
    return parameters


def from_json(
    node: Any,
    array: Callable[[int], NDArray],
    rebuilt: Mapping[str, Callable[[Any], Any]] = REBUILT,
    recall: Callable[[str], Any] | None = None,
    class_of: Callable[[str], type | None] = class_known,
) -> Any:
    """Return the tree of some JSON, which is used up; what no `to_json` has made raises some exception.

    `array` returns an array by its number, `rebuilt` has what rebuilds a value of the simpler one for each tag,
    `recall` returns what the writer's names stand for, and `class_of` the class of a name, None: unknown.
    """
    top = [node]
    value: Any
    shared: list[Any] = []
    # Places where JSON stands; its tag, and its number where it is shared, when all that it holds has been read.
    todo: list[tuple[Any, Any, str, int | None]] = [(top, 0, "", None)]
    while todo:
        holder, key, tag, number = todo.pop()
        inner: Any = holder[key]
        node = inner
        parts: list[tuple[Any, Any, str, int | None]] = []
        if tag:
            inner = node[tag]
        else:
            if type(node) is dict:
                if len(node) == 1:
                    (tag,) = node
                else:
                    tag = "fields" if "fields" in node else "objects"
                inner = node[tag]
            if type(inner) is list or (type(inner) is dict and tag in _BY_NAME):
                places: Any = inner.items() if type(inner) is dict else enumerate(inner)
                for place, entry in places:
                    if type(entry) in _NESTED:
                        parts.append((inner, place, "", None))
            elif type(inner) is dict:
                parts.append((node, tag, "", None))
            if tag in _SHARED:
                number = len(shared)
                shared.append(None)
        if parts and tag:
            todo.append((holder, key, tag, number))
        if parts or not tag:
            todo += reversed(parts)  # the first is next
            continue
        if tag == "array":
            value = array(inner)
        elif tag in rebuilt:
            value = rebuilt[tag](inner)
        elif tag == "again":
            value = shared[inner] if recall is None or type(inner) is int else recall(inner)
            if value is None:
                raise ValueError("a value holds itself")
        elif tag == "objects":
            value = np.fromiter(inner, object, len(inner)).reshape(node["shape"])
        elif tag == "fields":
            cls = class_of(node["object"])
            if cls is None:
                fact = f"holds a {node['object']}, a class unknown so far; import the module that defines it first"
                raise UnknownClassError(fact)
            value = cls(inner) if issubclass(cls, frozenset) else cls(**inner)
        else:
            raise ValueError(f"no value has the tag {tag!r}")
        holder[key] = value
        if number is not None:
            shared[number] = value
    return top[0]
