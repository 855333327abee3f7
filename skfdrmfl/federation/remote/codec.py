"""What crosses a wire: values as JSON and bare arrays, and back. Nothing that is read is ever run.

JSON's null, booleans, strings, numbers and lists stand for themselves, a JSON object for anything else, and its first
key says for what. Objects and arrays that stand in several places of a value are written once, and come back as one.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skfdrmfl.data import held_out, transforms
from skfdrmfl.federation import door, memory, messages, runs
from skfdrmfl.federation.privacy import mechanism, moments
from skfdrmfl.federation.remote import packet
from skfdrmfl.federation.remote.packet import KINDS, Packet, WireError
from skfdrmfl.federation.sums import axes, errors, importance, labels, magnitudes, ridge, whitening
from skfdrmfl.model import linear_part
from skfdrmfl.model.network import Network

# From the number of inputs of each encoder to the network: what else there is to it, both ends know.
Build = Callable[[Mapping[str, int]], Network]

MODULES = (
    *(door, held_out, linear_part, memory, messages, runs, transforms, mechanism, moments, packet),
    *(axes, errors, importance, labels, magnitudes, ridge, whitening),
)


def _is_named_tuple(cls: Any) -> bool:
    return issubclass(cls, tuple) and hasattr(cls, "_fields")


def _classes(module: ModuleType) -> dict[str, type]:
    """Return the classes of a module whose objects may cross, by the names they have on the wire."""
    return {
        f"{module.__name__.rpartition('.')[2]}.{name}": cls
        for name, cls in vars(module).items()
        if isinstance(cls, type)
        and cls.__module__ == module.__name__
        and (dataclasses.is_dataclass(cls) or _is_named_tuple(cls) or issubclass(cls, frozenset))
    }


CLASSES: dict[str, type] = {name: cls for module in MODULES for name, cls in _classes(module).items()}
_NAMES = {cls: name for name, cls in CLASSES.items()}
_DTYPES = {str(dtype): dtype for dtype in (torch.float32, torch.float64)}


def to_packet(value: Any) -> Packet:
    """Return a value ready to be sent.

    Raises
    ------
    TypeError
        It holds what cannot be.
    """
    writer = _Writer()
    text = json.dumps(writer.write(value), allow_nan=False, separators=(",", ":"))
    return Packet(text, tuple(writer.arrays))


def from_packet(received: Packet, build: Build | None = None) -> Any:
    """Return the value of a packet; `build` makes networks.

    Raises
    ------
    WireError
        It holds no such value.
    """
    try:
        return _Reader(received.arrays, build).read(json.loads(received.text))
    except WireError:
        raise
    except Exception as error:
        raise WireError(
            f"a message cannot be read ({type(error).__name__}); is the other end of another version?"
        ) from (error)


class _Writer:
    """Makes JSON of values; arrays are put aside."""

    def __init__(self) -> None:
        self.arrays: list[NDArray] = []
        self._seen: dict[int, tuple[int, Any]] = {}  # of each object that may be met again, its number, and itself

    def write(self, value: Any) -> Any:
        """Return the JSON of a value."""
        kind = type(value)
        if value is None or kind in (bool, int, str):
            return value
        if kind is float:
            return value if math.isfinite(value) else {"float": repr(value)}
        if kind is list:
            return [self.write(entry) for entry in value]
        if kind is tuple:
            return {"tuple": [self.write(entry) for entry in value]}
        if isinstance(value, Mapping):
            return {"dict": [[self.write(key), self.write(entry)] for key, entry in value.items()]}
        if isinstance(value, np.generic):
            return {"scalar": self._array(np.asarray(value))}
        if kind is torch.dtype:
            return {"dtype": str(value)}
        if isinstance(value, frozenset):
            return {"set": [self.write(entry) for entry in sorted(value, key=repr)], "of": _NAMES.get(kind, "")}
        if id(value) in self._seen:
            return {"again": self._seen[id(value)][0]}
        written = self._object(value, kind)
        self._seen[id(value)] = len(self._seen), value
        return written

    def _object(self, value: Any, kind: type) -> Any:
        if isinstance(value, Tensor):
            return {"tensor": self._array(value.detach().cpu().numpy())}
        if kind is np.ndarray and value.dtype == object:
            return {"objects": [self.write(entry) for entry in value.ravel().tolist()], "shape": list(value.shape)}
        if isinstance(value, np.ndarray):
            return {"array": self._array(value)}
        if isinstance(value, Network):
            return {"network": dict(value.widths)}
        if kind in _NAMES:
            names = value._fields if _is_named_tuple(kind) else [f.name for f in dataclasses.fields(value) if f.init]
            return {"object": _NAMES[kind], "fields": {name: self.write(getattr(value, name)) for name in names}}
        raise TypeError(f"a {kind.__qualname__} cannot be sent to where clients are.")

    def _array(self, array: NDArray) -> int:
        if array.dtype.kind not in KINDS:
            raise TypeError(f"an array of {array.dtype} cannot be sent to where clients are.")
        # Sums depend on how an array lies in memory, to the last bit: one that lies by columns is sent turned.
        turned = array.flags.f_contiguous and not array.flags.c_contiguous
        self.arrays.append(np.ascontiguousarray(array.T if turned else array))
        return -len(self.arrays) if turned else len(self.arrays)


class _Reader:
    """Makes values of JSON and arrays."""

    def __init__(self, arrays: Sequence[NDArray], build: Build | None):
        self._arrays, self._build = arrays, build
        self._seen: list[Any] = []

    def read(self, node: Any) -> Any:
        """Return the value of some JSON."""
        match node:
            case list():
                return [self.read(entry) for entry in node]
            case {"float": str(text)}:
                return float(text)
            case {"tuple": entries}:
                return tuple(self.read(entry) for entry in entries)
            case {"dict": entries}:
                return {self.read(key): self.read(entry) for key, entry in entries}
            case {"scalar": number}:
                return self._array(number)[()]
            case {"dtype": name}:
                return _DTYPES[name]
            case {"set": entries, "of": name}:
                kind: Any = CLASSES[name] if name else frozenset
                if not issubclass(kind, frozenset):
                    raise WireError(f"{name} is no set")
                return kind(self.read(entry) for entry in entries)
            case {"again": number}:
                return self._seen[number]
            case dict():
                value = self._object(node)
                self._seen.append(value)
                return value
        return node

    def _object(self, node: Any) -> Any:
        match node:
            case {"tensor": number}:
                return torch.from_numpy(self._array(number))
            case {"objects": entries, "shape": shape}:
                array = np.empty(len(entries), dtype=object)
                array[:] = [self.read(entry) for entry in entries]
                return array.reshape(shape)
            case {"array": number}:
                return self._array(number)
            case {"network": widths} if self._build is not None:
                return self._build(widths)
            case {"object": name, "fields": fields}:
                kind: Any = CLASSES[name]
                value = kind(**{key: self.read(entry) for key, entry in fields.items()})
                # One object stands for all rows, and is compared as that.
                return door.EVERYTHING if kind is held_out.Subset else value
        raise WireError("a message holds what nobody can read")

    def _array(self, number: int) -> NDArray:
        """Return an array by its number from 1, negative where it lies by columns; a copy that can be written to."""
        array = self._arrays[abs(number) - 1]
        if array.dtype.kind not in KINDS:
            raise WireError(f"a message holds an array of {array.dtype}")
        return np.array(array).T if number < 0 else np.array(array)
