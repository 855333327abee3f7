"""What crosses a wire: trees as JSON and bare arrays (`common.tree`), with what only server and clients say beside.

Objects and arrays that stand in several places of a value are written once, and come back as one.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np

from skfdrmfl.clients.remote.packet import KINDS, Packet, WireError
from skfdrmfl.common import tree
from skfdrmfl.common.modules import modules_of
from skfdrmfl.common.tree import Form, from_json, registered, to_json
from skfdrmfl.data import held_out, transforms
from skfdrmfl.data.held_out import EVERYTHING, Subset
from skfdrmfl.method import linear, mixture, suspects
from skfdrmfl.method.network import Network
from skfdrmfl.protocol import algorithm_state as memory
from skfdrmfl.protocol import door, messages, queries
from skfdrmfl.protocol import plan as runs
from skfdrmfl.server.privacy import moments

# From the number of inputs of each encoder, and `Network.shape`, to the network: what else there is to it, both know.
Build = Callable[[Mapping[str, int], Mapping[str, Any]], Network]
# From the name of what a client keeps to what it is.
Recall = Callable[[str], Any]

MODULES = (
    *(door, held_out, linear, memory, messages, mixture, runs, suspects, transforms, moments),
    *modules_of(queries.__name__, queries.__path__),
)


def _unbuilt(widths: Mapping[str, int], shape: Mapping[str, Any]) -> Network:
    raise WireError("a message holds a network where none can be built")


DTYPES = (runs.EXACT, runs.TRAINING_DTYPE)
# What only server and clients say beside. One object stands for all rows, and is compared as that.
BESIDE: dict[type, Form] = {
    **{type(dtype): Form("dtype", str, {str(d): d for d in DTYPES}.__getitem__) for dtype in DTYPES},
    Network: Form("network", lambda x: [x.widths, x.shape], lambda x: _unbuilt(*x)),
    Subset: Form("everything", lambda x: None, {None: EVERYTHING}.__getitem__),
}
FORMS = tree.FORMS | BESIDE
REBUILT = tree.REBUILT | {form.tag: form.rebuilt for form in BESIDE.values()}


def _may_cross(module: ModuleType) -> list[type]:
    """Return the classes of a module whose objects may cross."""
    own = [cls for cls in vars(module).values() if isinstance(cls, type) and cls.__module__ == module.__name__]
    return [c for c in own if dataclasses.is_dataclass(c) or hasattr(c, "_fields") or issubclass(c, frozenset)]


for _module in MODULES:
    for _class in _may_cross(_module):
        if _class is not Subset:  # which has a form of its own
            registered(_class)


@cache
def _may_be_sent(dtype: np.dtype) -> bool:
    return dtype.kind in KINDS


def to_packet(value: Any, names: Mapping[int, str] | None = None) -> Packet:
    """Return a value ready to be sent; `names` are those of objects (by id) that the other end has.

    Raises TypeError for what cannot be sent.
    """
    refusal = "which cannot be sent to where clients are"
    content, arrays = to_json(value, _may_be_sent, refusal, FORMS, shares=True, names=names)
    return Packet(json.dumps(content, allow_nan=False, separators=(",", ":")), tuple(arrays))


def from_packet(received: Packet, build: Build | None = None, recall: Recall | None = None) -> Any:
    """Return the value of a packet; `build` makes networks, `recall` finds what has been sent before by its name.

    Raises WireError where it holds no such value.
    """
    rebuilt = REBUILT if build is None else REBUILT | {"network": lambda x: build(*x)}
    try:
        arrays = list(map(np.array, received.arrays))  # copies, which can be written to, and lie in memory alike
        return from_json(json.loads(received.text), arrays.__getitem__, rebuilt, recall)
    except WireError:
        raise
    except Exception as error:
        fact = f"a message cannot be read ({type(error).__name__})"
        raise WireError(f"{fact}; is the other end of another version?") from error
