"""The base of the specs: a spec is a small estimator without data that builds the h_m of a modality."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone

from skfdrmfl.method.parts import Part

# The values of `preprocessing`, from the one that changes columns least to the one that mixes them.
PREPROCESSING = (None, "standardize", "whiten")


class Encoder(BaseEstimator):
    """Base of the specs passed as `encoders`: parameters, and `build`.

    Attributes
    ----------
    strongest_preprocessing : "whiten", "standardize" or None
        What a modality's columns may go through before they reach this encoder. Whitening replaces columns by
        directions, so an encoder to which the order of the columns matters says "standardize"; one that reads
        codes says None.
    """

    strongest_preprocessing: ClassVar[str | None] = "whiten"

    @property
    def reads_series(self) -> bool | None:
        """Whether its columns are one series, rather than several or an image; None: their order means nothing."""
        return None

    def build(self, name: str, n_columns: int, modality_dim: int, default_hidden: Sequence[int]) -> Part:
        """Return the part h_m of the network, from `n_columns` inputs to `modality_dim` outputs.

        Raises ValueError where the spec does not fit a modality of so many columns.
        """
        raise NotImplementedError

    def build_embedded(
        self, name: str, n_categories: Sequence[int], n_columns: int, modality_dim: int, default_hidden: Sequence[int]
    ) -> Part:
        """Return the part h_m for inputs of which the first are codes of categories, `n_categories` of each.

        Raises ValueError as `build` does, and where this encoder reads no categories.
        """
        raise ValueError(
            f"modality {name!r} has {len(n_categories)} columns of categories, strings or bools, which "
            f"{type(self).__name__} cannot read; give these columns a modality of their own, or make them numbers."
        )

    def check_rows(self, name: str, block: NDArray[np.floating]) -> None:
        """Raise ValueError where the columns (n, p) of modality `name` hold what this encoder cannot read."""


def preprocessing_of(spec: Any, asked: str | None) -> str | None:
    """Return which preprocessing a modality gets: what the transformer asks for, or the most its encoder allows."""
    return min(asked, getattr(spec, "strongest_preprocessing", "whiten"), key=PREPROCESSING.index)


# ---------------------------------------------------------------------------------------- checked parameters


def check_layer_sizes(sizes: object, name: str) -> tuple[int, ...]:
    """Return `sizes` as a tuple of positive integers; a single integer means one layer."""
    widths: tuple[Any, ...] = (sizes,)
    if isinstance(sizes, Iterable) and not isinstance(sizes, str):
        widths = tuple(sizes)
    if not all(map(_is_positive, widths)):
        raise ValueError(f"{name} must be positive integers, one a hidden layer; got {sizes!r}.")
    return tuple(map(int, widths))


def check_positive(value: object, name: str) -> int:
    """Return `value` as an int, if it is a positive integer."""
    if not _is_positive(value):
        raise ValueError(f"{name} must be a positive integer; got {value!r}.")
    return int(value)  # type: ignore[call-overload]


def check_shape(shape: object, entries: Sequence[str], name: str, n_columns: int) -> tuple[int, ...]:
    """Return `shape` as a tuple of one positive int for each of `entries`, with the product `n_columns`."""
    meaning = f"({', '.join(entries)})"
    sizes = tuple(shape) if isinstance(shape, Iterable) and not isinstance(shape, str) else (shape,)
    if len(sizes) != len(entries) or not all(_is_positive(size) for size in sizes):
        raise ValueError(
            f"shape of the encoder of modality {name!r} must be {meaning}, each at least 1; got {shape!r}."
        )
    sizes = tuple(int(size) for size in sizes)
    n_entries = int(np.prod(sizes, dtype=object))
    if n_entries != n_columns:
        raise ValueError(
            f"shape={sizes} of the encoder of modality {name!r} is {' x '.join(map(str, sizes))} = {n_entries} "
            f"columns but the modality has {n_columns}; give the {meaning} that its columns were flattened from, "
            "or other columns to the modality."
        )
    return sizes


def _is_positive(value: object) -> bool:
    """Return whether `value` is a positive integer, and no bool."""
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) > 0


# ----------------------------------------------------------------------------------------- nested parameters


def nested_params(encoders: Any) -> dict[str, Any]:
    """Return the parameters of the specs in a dict, by their names behind "encoders__"."""
    params: dict[str, Any] = {}
    if isinstance(encoders, Mapping):
        for name, spec in encoders.items():
            params[f"{name}"] = spec
            if hasattr(spec, "get_params") and not isinstance(spec, type):
                params |= {f"{name}__{key}": value for key, value in spec.get_params(deep=True).items()}
    return params


def with_nested_params(encoders: Any, params: Mapping[str, Any]) -> Any:
    """Return `encoders` with parameters of copied specs set, `params` by their names behind "encoders__"."""
    if not isinstance(encoders, Mapping):
        if not hasattr(encoders, "set_params") or isinstance(encoders, type):
            raise _invalid(next(iter(params)), {})
        return clone(encoders).set_params(**params)
    specs = dict(encoders)
    inner: dict[str, dict[str, Any]] = {}
    for key, value in params.items():
        # The longest name that fits, as names may hold "__" themselves.
        fitting = [name for name in specs if isinstance(name, str) and (key == name or key.startswith(f"{name}__"))]
        if not fitting:
            raise _invalid(key, nested_params(encoders))
        name = max(fitting, key=len)
        if key == name:
            specs[name] = value
        else:
            inner.setdefault(name, {})[key[len(name) + 2 :]] = value
    for name, changes in inner.items():
        if not hasattr(specs[name], "set_params") or isinstance(specs[name], type):
            raise _invalid(f"{name}__{next(iter(changes))}", nested_params(specs))
        specs[name] = clone(specs[name]).set_params(**changes)
    return specs


def _invalid(key: str, valid: Mapping[str, Any]) -> ValueError:
    """Return the error for a nested parameter that does not exist."""
    listed = ", ".join(f"encoders__{name}" for name in valid) or "none, as encoders holds no spec"
    return ValueError(f"Invalid parameter 'encoders__{key}'. Valid nested parameters are: {listed}.")
