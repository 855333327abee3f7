"""The parts that all loaders use: choosing columns by name, packing as scikit-learn does, random generators."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib.resources import files
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch

from skfdrmfl.common.extras import import_extra

DATA_MODULE = f"{__package__}.data"


def data_text(filename: str) -> str:
    """Return the text of a file in `skfdrmfl.datasets.data`."""
    return files(DATA_MODULE).joinpath(filename).read_text(encoding="utf-8")


def choose(value: object, choices: Sequence[str], parameter: str) -> list[str]:
    """Return the names that `value` asks for: one of `choices`, all of them for "all", or those in a list."""
    asked = choices if isinstance(value, str) and value == "all" else value
    names: list[Any] = list(asked) if isinstance(asked, Iterable) and not isinstance(asked, str) else [asked]
    if not names or any(name not in choices for name in names):
        listed = ", ".join(map(repr, choices))
        raise ValueError(f"{parameter} is {value!r}; choose one of {listed}, a list of them, or 'all'.")
    return names


def choose_target(y: NDArray[np.float64], target: object, choices: Sequence[str]) -> tuple[Any, list[str]]:
    """Return the columns of `y` that `target` asks for (1-D if it is the name of one) and their names."""
    names = choose(target, choices, "target")
    columns = y[:, [choices.index(name) for name in names]]
    return (columns[:, 0] if isinstance(target, str) and target != "all" else columns), names


def check_count(value: object, parameter: str) -> int:
    """Return `value` as an int; raise if it is not a positive integer."""
    if not isinstance(value, Integral) or value < 1:
        raise ValueError(f"{parameter} is {value!r}; pass an integer of at least 1.")
    return int(value)


def pack(
    X: NDArray[np.float64],
    y: NDArray[np.float64],
    target_names: list[str],
    *,
    feature_names: list[str],
    return_X_y: bool,
    as_frame: bool,
    **fields: Any,
) -> Any:
    """Return (X, y) or a Bunch with `fields`, of arrays or of pandas objects, as scikit-learn's loaders do."""
    data, target, frame = X, y, None
    if as_frame:
        pandas = import_extra("pandas", "table", "as_frame=True needs")
        data = pandas.DataFrame(X, columns=feature_names)
        target = pandas.DataFrame(y.reshape(len(y), -1), columns=target_names)
        frame = pandas.concat([data, target], axis=1)
        if y.ndim == 1:
            target = target[target_names[0]]
    if return_X_y:
        return data, target
    names = {"feature_names": feature_names, "target_names": target_names}
    return Bunch(data=data, target=target, frame=frame, **names, **fields)


def generator_from(random_state: Any) -> np.random.Generator:
    """Return a generator that shares nothing with NumPy's global state.

    A Generator is returned unchanged; a RandomState gives a seed, and advances; None takes fresh entropy.
    """
    if isinstance(random_state, np.random.RandomState):
        random_state = random_state.randint(2**32, size=4, dtype=np.uint32)
    return np.random.default_rng(random_state)
