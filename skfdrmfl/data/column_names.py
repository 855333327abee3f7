"""What the columns of a table are called, and whether those of a later table are called the same."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from numbers import Real
from operator import itemgetter
from typing import Any

import numpy as np

from skfdrmfl.common.arrays import Float, Indices
from skfdrmfl.common.wording import listed
from skfdrmfl.data.axis import Place, are_default, axis_of, place_of
from skfdrmfl.data.categories import is_frame, is_polars

# As scikit-learn begins, where names differ.
DIFFER = "The feature names should match those that were passed during fit: "
# Positions are the same up to this share of the step between neighbours, which files that round names stay below, or
# up to the last digit of a float32 name.
OF_A_STEP, OF_A_POSITION = 1e-2, 1e-6


def flat(X: Any) -> Any:
    """Return a frame with one name a column, "nir__1100" of ("nir", 1100), and text for numbers beside text."""
    names = names_of(X)
    if not names or all(isinstance(name, str) for name in names):
        return X
    if isinstance(names[0], tuple):
        return _renamed(X, ["__".join(_text(level) for level in name if level != "") for name in names])
    if all(isinstance(name, (str, Real)) for name in names) and any(isinstance(name, str) for name in names):
        return _renamed(X, list(map(_text, names)))
    return X


def names_of(X: Any) -> list[Any] | None:
    """Return the names of the columns of a frame; None of anything else."""
    return list(X.columns) if is_frame(X) else None


def number_names(X: Any) -> Float | None:
    """Return the names of columns (p,) that are numbers and no default ones, which scikit-learn drops; else None."""
    names = names_of(X)
    if not names or not all(isinstance(name, Real) and place_of(name) is not None for name in names):
        return None
    return None if are_default(names) else np.array(names, dtype=np.float64)


def output_names(y: Any) -> tuple[str, ...]:
    """Return what the outputs are called: the names of a frame's columns, of a series, or y, or y0, y1, ..."""
    n_outputs = np.shape(y)[1] if np.ndim(y) > 1 else 1
    names = list(getattr(y, "columns", [getattr(y, "name", None)]))
    if n_outputs > 1:
        return tuple(map(str, names)) if len(names) == n_outputs else tuple(f"y{j}" for j in range(n_outputs))
    return (names[0] if isinstance(names[0], str) and names[0] else "y",)


@dataclass(frozen=True, eq=False)
class ColumnNames:
    """The names of the columns of a fit."""

    names: list[Any]  # (p,), text, or numbers
    modalities: Mapping[str, Indices]  # columns of each, without those of labels
    discrete: Sequence[int]  # columns that have no place on an axis

    @cached_property
    def axis(self) -> Float | None:
        """The position (p,) that the name of each column gives, NaN of others; None where no modality has an axis."""
        if are_default(self.names):
            return None
        axis: Float = np.full(len(self.names), np.nan)
        for columns in self._numeric:
            found = axis_of(self.names[j] for j in columns.tolist())
            if found is not None:
                axis[columns] = found
        return axis if np.isfinite(axis).any() else None

    def matched(self, X: Any) -> Any:
        """Return X under the names of the fit, where its own say the same, with the modalities that it lacks as NaN.

        Arrays, and frames with default names, are taken by position: they come back as they are. So does a frame whose
        names scikit-learn has to judge. ValueError: names give other positions, or the same in another order.
        """
        here = names_of(X)
        if here is None or here == self.names or are_default(here):
            return X
        X, here = self._completed(X, here)
        if self.axis is None:
            return X
        if len(here) != len(self.names):
            self._refuse_number(here)
        unlike = [j for j in range(len(here)) if not self._is_same(j, here[j])]
        if not unlike:
            return self._renamed(X)
        if np.isfinite(self.axis[unlike]).any():
            self._refuse(here, [j for j in unlike if np.isfinite(self.axis[j])])
        return X

    def same_as(self, here: Sequence[Any]) -> dict[Any, Any]:
        """Return names of the fit that are not among those here, by the one name that says the same of each."""
        if self.axis is None:
            return {}
        mine, there = set(self.names), set(here)
        others = [(place.value, name) for name in here if name not in mine and (place := place_of(name)) is not None]
        others.sort(key=itemgetter(0))
        values = np.array([value for value, _ in others])
        found: dict[Any, list[Any]] = {}
        for j in np.flatnonzero(np.isfinite(self.axis)).tolist():
            if self.names[j] not in there:
                ends = self.axis[j] - self._tolerance[j], self.axis[j] + self._tolerance[j]
                first, end = np.searchsorted(values, ends[0]), np.searchsorted(values, ends[1], side="right")
                same = [name for _, name in others[first:end] if self._is_same(j, name)]
                for name in same:
                    found.setdefault(name, []).append(None if len(same) > 1 else self.names[j])
        return {name: of[0] for name, of in found.items() if len(of) == 1 and of[0] is not None}

    # ------------------------------------------------------------------------------------------ names and places
    @property
    def _numeric(self) -> list[Indices]:
        return [columns[~np.isin(columns, self.discrete)] for columns in self.modalities.values()]

    @cached_property
    def _places(self) -> list[Place | None]:
        """The places on the axis of the columns that have one."""
        assert self.axis is not None
        return [place_of(name) if on else None for name, on in zip(self.names, np.isfinite(self.axis), strict=True)]

    @cached_property
    def _tolerance(self) -> Float:
        """How far (p,) a position may be from that of the fit."""
        assert self.axis is not None
        tolerance = OF_A_POSITION * np.abs(self.axis)
        for columns in self._numeric:
            steps = np.diff(np.sort(self.axis[columns]))
            if len(steps) and np.isfinite(steps).all():
                tolerance[columns] = np.maximum(tolerance[columns], OF_A_STEP * steps.min())
        return tolerance

    def _is_same(self, j: int, name: Any) -> bool:
        """Return whether a name is that of column j, or says the same of where the column stands."""
        mine = None if self.axis is None else self._places[j]
        if mine is None or name == self.names[j]:
            return bool(name == self.names[j])
        place = place_of(name)
        return (
            place is not None
            and abs(place.value - mine.value) <= self._tolerance[j]
            and _agree(place.unit, mine.unit)
            and _agree(place.prefix, mine.prefix)
            and _agree(place.modality.casefold(), mine.modality.casefold())
        )

    def _completed(self, X: Any, here: list[Any]) -> tuple[Any, list[Any]]:
        """Return X and its names with NaN for each modality of which it has no column."""
        there, prefixes = set(here), set(map(_modality_of, here))
        absent = [
            columns
            for columns in self.modalities.values()
            if not any(self.names[j] in there or _modality_of(self.names[j]) in prefixes for j in columns.tolist())
        ]
        if not absent or len(absent) == len(self.modalities):
            return X, here
        gone = np.concatenate(absent).tolist()
        kept = [j for j in range(len(self.names)) if j not in set(gone)]
        if len(kept) != len(here) or not all(self._is_same(j, name) for j, name in zip(kept, here, strict=True)):
            return X, here
        return _with_gaps(X, [self.names[j] for j in kept], [self.names[j] for j in gone], kept + gone), self.names

    def _renamed(self, X: Any) -> Any:
        """Return a frame that shares its columns with X, under the names of the fit."""
        if isinstance(self.names[0], str) or not is_polars(X):
            return _renamed(X, self.names)
        return X.to_numpy() if all(dtype.is_numeric() for dtype in X.dtypes) else X  # where names are text always

    def _refuse_number(self, here: list[Any]) -> None:
        """Raise ValueError that says which columns are too few or too many."""
        there, mine = set(map(_said_by, here)), set(map(_said_by, self.names))
        facts = []
        for what, names in (
            ("lacks", [name for name in self.names if _said_by(name) not in there]),
            ("has beside them", [name for name in here if _said_by(name) not in mine]),
        ):
            if names and names != here:  # all are other ones
                facts.append(f"{what} {listed(names, 3, _shown)}")
        remedy = "pass the model's columns, or interpolate the rows to its axis_"
        if len(self.modalities) > 1:
            remedy += f"; of {', '.join(map(repr, self.modalities))} whole modalities may be left out"
        raise ValueError(
            f"{DIFFER}X has {len(here)} columns, but the model was fitted to {len(self.names)}: "
            f"it {' and '.join(facts) or 'has some twice'}; {remedy}."
        )

    def _refuse(self, here: list[Any], unlike: list[int]) -> None:
        """Raise ValueError that says what names say otherwise than those of the fit."""
        assert self.axis is not None
        j = unlike[0]
        named, mine = place_of(here[j]), self._places[j]
        fact = f"column {j} of X is named {_shown(here[j])}, but {_shown(self.names[j])} in the model"
        assert mine is not None
        on_axis = np.flatnonzero(np.isfinite(self.axis)).tolist()
        given = [place_of(here[i]) for i in on_axis]
        if None not in given:
            values = np.array([place.value for place in given if place is not None])
            there, known = np.argsort(values, kind="stable"), np.argsort(self.axis[on_axis], kind="stable")
            apart = np.abs(values[there] - self.axis[on_axis][known])
            if not np.array_equal(there, known) and (apart <= self._tolerance[on_axis][known]).all():
                same = set(here) == set(self.names)
                names = "feature_names_in_" if isinstance(self.names[0], str) else "axis_"
                remedy = f"pass X[list(model.{names})]" if same else "bring them into the order of the model's axis_"
                raise ValueError(f"{DIFFER}X has them in another order, {fact}; {remedy}.")
        if named is not None and not _agree(named.unit, mine.unit):
            raise ValueError(f"{DIFFER}{fact}; convert the rows to the model's axis_, which is in {mine.unit}.")
        remedy = "pass the columns that the model was fitted to, feature_names_in_"
        if named is not None and named.value != mine.value:
            remedy = "interpolate the rows to the model's axis_, for example with numpy.interp"
        raise ValueError(f"{DIFFER}{fact} ({len(unlike)} of {len(here)} columns differ); {remedy}.")


def _agree(given: str | None, known: str | None) -> bool:
    """Return whether two names can mean the same, of which one may say nothing."""
    return not given or not known or given == known


def _said_by(name: Any) -> Any:
    """Return what a name says, alike for names that say the same: to seven digits, for messages."""
    place = place_of(name)
    return name if place is None else (f"{place.value:.7g}", place.modality.casefold())


def _modality_of(name: Any) -> Any:
    """Return what stands before the first "__" of a name, or the name where there is no such thing."""
    prefix, separator, _ = name.partition("__") if isinstance(name, str) else ("", "", "")
    return prefix if prefix and separator else name


def _with_gaps(X: Any, kept: list[Any], gone: list[Any], places: list[int]) -> Any:
    """Return X, its columns called `kept`, with columns `gone` of missing values; `places` is where each stands."""
    order = np.argsort(places).tolist()
    # Of float32: the type of the whole table is then that of the other columns.
    if is_polars(X):
        polars = sys.modules["polars"]
        nothing = polars.lit(None, polars.Float32)
        return _renamed(X, kept).with_columns([nothing.alias(name) for name in gone])[:, order]
    pandas = sys.modules["pandas"]
    gaps = pandas.DataFrame(np.full((len(X), len(gone)), np.nan, dtype=np.float32), columns=gone, index=X.index)
    return pandas.concat([_renamed(X, kept), gaps], axis=1).iloc[:, order]


def _renamed(X: Any, names: list[Any]) -> Any:
    """Return a frame that shares its columns with X, under other names."""
    if is_polars(X):
        return X.rename(dict(zip(X.columns, names, strict=True)))
    frame = X.copy(deep=False)
    frame.columns = names
    return frame


def _text(name: Any) -> str:
    """Return one level of a name as text, 1100 of 1100.0."""
    return str(int(name)) if isinstance(name, float) and name.is_integer() else str(name)


def _shown(name: Any) -> str:
    """Return a name as messages have it."""
    return f"{name:.10g}" if isinstance(name, Real) else repr(name)
