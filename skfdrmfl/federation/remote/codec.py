"""What crosses a wire: trees as JSON and bare arrays (`common.tree`), with what only server and clients say beside.

Objects and arrays that stand in several places of a value are written once, and come back as one.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skfdrmfl.common import tree
from skfdrmfl.common.tree import registered
from skfdrmfl.data import held_out, transforms
from skfdrmfl.data.held_out import EVERYTHING, Subset
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
_DTYPES = {str(dtype): dtype for dtype in (torch.float32, torch.float64)}


def _may_cross(module: ModuleType) -> list[type]:
    """Return the classes of a module whose objects may cross."""
    own = [cls for cls in vars(module).values() if isinstance(cls, type) and cls.__module__ == module.__name__]
    return [c for c in own if dataclasses.is_dataclass(c) or hasattr(c, "_fields") or issubclass(c, frozenset)]


for _module in MODULES:
    for _class in _may_cross(_module):
        registered(_class)


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


class _Writer(tree.Writer):
    shares: ClassVar[bool] = True
    refusal: ClassVar[str] = "which cannot be sent to where clients are"

    def special(self, value: Any, kind: type, place: str) -> Any:
        """Return the JSON of what is no plain value."""
        if isinstance(value, Tensor):
            return {"tensor": self.put(value.detach().cpu().numpy())}
        if kind is torch.dtype:
            return {"dtype": str(value)}
        if isinstance(value, Network):
            return {"network": value.widths}
        if kind is Subset:  # one object stands for all rows, and is compared as that
            return {"everything": True}
        if kind is Packet:  # it goes on as it is
            self.arrays += value.arrays
            return {"packet": value.text, "arrays": [len(self.arrays) - len(value.arrays), len(self.arrays)]}
        return super().special(value, kind, place)

    def takes(self, dtype: np.dtype) -> bool:
        """Return whether arrays of a type may cross."""
        return dtype.kind in KINDS


class _Reader(tree.Reader):
    def __init__(self, arrays: Sequence[NDArray], build: Build | None):
        super().__init__()
        self._arrays, self._build = arrays, build

    def special(self, node: dict[str, Any]) -> Any:
        """Return the value of a JSON object that is none of a plain value."""
        match node:
            case {"tensor": number}:
                return torch.from_numpy(self.get(number))
            case {"dtype": name}:
                return _DTYPES[name]
            case {"network": widths} if self._build is not None:
                return self._build(widths)
            case {"everything": True}:
                return EVERYTHING
            case {"packet": str(text), "arrays": [int(start), int(stop)]}:
                return Packet(text, tuple(self._arrays[start:stop]))
        return super().special(node)

    def get(self, number: int) -> NDArray:
        """Return an array by its number: a copy that can be written to, and lies in memory as the other end's did."""
        array = self._arrays[number]
        if array.dtype.kind not in KINDS:
            raise WireError(f"a message holds an array of {array.dtype}")
        return np.array(array)
