"""What a fit depends on, as names and short texts: two fits with equal ones end in equal bits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.common.arrays import slabs
from skfdrmfl.common.version import __version__
from skfdrmfl.fit.check_input import CheckedData, DataDescription
from skfdrmfl.fit.result import Fitted

VERSION = "the version of skfdrmfl"
EARLIER = "the model to go on from"
# Parameters that move no bit; what the second line comes to stands under names of its own.
OF_NO_CONSEQUENCE = frozenset({"verbose", "checkpoint_path", "checkpoint_every", "n_jobs"}) | frozenset(
    {"modalities", "warm_start", "client_column", "groups_column"}
)


def fingerprint(
    estimator: Any,
    reading: DataDescription,
    earlier: Fitted | None,
    available: NDArray[np.bool_] | None,
    engine: str,
    *,
    is_private: bool = False,
) -> dict[str, str]:
    """Return what a fit depends on: version, rows, the model to go on from, parameters.

    `available` (rounds, K) is who is there in which round, which may be drawn: a function's name would not tell; nor
    would "auto" which `engine` trains. With `is_private` only what is public of the rows is told: a hash of them would
    let a guess at a row be checked.
    """
    parameters = estimator.get_params(deep=False) | {"availability": available, "engine": engine}
    return {
        VERSION: __version__,
        EARLIER: "none" if earlier is None else _of_fit(earlier),
        **_of_data(reading, is_private=is_private),
        **{name: described(value) for name, value in parameters.items() if name not in OF_NO_CONSEQUENCE},
    }


def differences(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Return what differs between two fingerprints, a clause each; the version alone where that differs."""
    if before.get(VERSION) != now[VERSION]:
        names = [VERSION]
    else:
        names = [name for name in {**now, **before} if before.get(name) != now.get(name)]
    return [f"{name} is {now.get(name, 'unknown')} but was {before.get(name, 'unknown')}" for name in names]


def described(value: Any) -> str:
    """Return a text for the value of a parameter; equal values have equal texts, in any process."""
    if isinstance(value, (np.number, np.bool_)):
        value = value.item()
    if value is None or isinstance(value, (Real, str, bytes)):
        return repr(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{described(k)}: {described(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "(" + ", ".join(map(described, value)) + ")"
    if hasattr(value, "get_params") and not isinstance(value, type):
        inside = (f"{name}={described(entry)}" for name, entry in value.get_params(deep=False).items())
        return f"{type(value).__qualname__}({', '.join(inside)})"
    if hasattr(value, "__array__"):
        return _of_array(np.asarray(value))
    if hasattr(value, "__qualname__"):  # functions and classes
        return f"{value.__module__}.{value.__qualname__}"
    return type(value).__qualname__  # such as a RandomState, whose seed the checkpoint holds


def _of_data(reading: DataDescription, *, is_private: bool) -> dict[str, str]:
    """Return what the rows are: what is public of them; where they are elsewhere, how many whoever has; or all."""
    names = [] if reading.feature_names is None else reading.feature_names.tolist()
    columns = [(name, mine.tolist()) for name, mine in reading.modalities.items()]
    if is_private:
        dtype = f" of {reading.table.dtype}" if isinstance(reading, CheckedData) else ""
        return {
            "X": f"{reading.n_features} columns{dtype} ({_digest([repr((names, columns)).encode()])})",
            "y": f"{reading.n_outputs} columns",
            "client_ids": f"{len(reading.clients)} clients",
        }
    about = repr((names, [(int(j), known.tolist()) for j, known in reading.categories.items()])).encode()
    whose: list[NDArray | bytes] = [reading.positions, reading.sizes]
    what = {
        "X": f"{reading.n_features} columns ({_digest([about])})",
        "modalities": f"{', '.join(name for name, _ in columns)} ({_digest([repr(columns).encode()])})",
        "y": f"{reading.n_outputs} outputs in {reading.y_ndim} dimensions",
    }
    if isinstance(reading, CheckedData):
        whose.append(reading.partition.joined)
        what |= {
            "X": _of_array(reading.table, about),
            "y": _of_array(reading.targets, str(reading.y_ndim).encode()),
            "groups": "None" if reading.groups is None else _of_array(reading.groups),
        }
    labels = repr(reading.clients.tolist()).encode()
    return what | {"client_ids": f"{len(reading.clients)} clients ({_digest([*whose, labels])})"}


def _of_fit(fitted: Fitted) -> str:
    """Return what a fit is: all that training goes on from."""
    arrays = [fitted.models, *(array for part in fitted.memory for array in part.values())]
    seed = repr((fitted.seed, fitted.shrinkage)).encode()
    return f"one of {fitted.n_rounds} rounds ({_digest([*arrays, seed])})"


def _of_array(array: NDArray, *more: bytes) -> str:
    """Return the shape, type and digest of an array, and of some bytes that belong to it."""
    shape = " x ".join(map(str, array.shape))
    return f"{shape} {array.dtype} ({_digest([array, *more])})"


def _digest(parts: Iterable[NDArray | bytes]) -> str:
    """Return a short hash of arrays and bytes; that of an array does not depend on how it lies in memory."""
    total = blake2b(digest_size=8)
    for part in parts:
        if isinstance(part, bytes):
            total.update(part)
        elif part.dtype.hasobject:
            total.update(repr(part.tolist()).encode("utf-8", "surrogatepass"))
        elif part.size:
            rows = np.atleast_1d(part)
            for some in slabs(len(rows)):
                total.update(np.ascontiguousarray(rows[some]).view(np.uint8).data)
        total.update(b"|")
    return total.hexdigest()
