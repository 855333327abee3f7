"""The axis that names of columns make: wavelengths, wavenumbers, energies, whatever they are counted in."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from math import isfinite
from numbers import Real
from typing import Any, NamedTuple

import numpy as np

from skfdrmfl.common.arrays import Float

# How units are written, after NFKC, and what an axis in them is called.
UNITS = {
    "nm": (r"nm|nanomet(?:er|re)s?", "wavelength"),
    "µm": (r"[uμ]m|microns?|micromet(?:er|re)s?", "wavelength"),
    "Å": (r"Å|angstroms?", "wavelength"),
    "cm-1": (r"cm\s*[{(]?\s*(?:\^|\*\*)?\s*[{(]?[-−–.]?1[)}]?|(?:1\s*)?/\s*cm|wavenumbers?", "wavenumber"),
    "eV": (r"eV", "energy"),
    "keV": (r"keV", "energy"),
    "Hz": (r"Hz", "frequency"),
    "GHz": (r"GHz", "frequency"),
    "THz": (r"THz", "frequency"),
    "ppm": (r"ppm", "chemical shift"),
    "m/z": (r"m/z", "m/z"),
}
_UNIT = "|".join(f"(?P<u{i}>{how})" for i, (how, _) in enumerate(UNITS.values()))
_EXPONENT = r"(?:e[-+]?\d+)?"
_DIGIT_FIRST = rf"\d+(?:[.,]\d*)?{_EXPONENT}"
_NUMBER = rf"(?:{_DIGIT_FIRST}|[.,]\d+{_EXPONENT})"
_END = rf"(?:[\s_.]*[\[(]?\s*(?:{_UNIT})\s*[\])]?)?"
_PLAIN = re.compile(r"[0-9]{1,9}(?:\.[0-9]+)?")
_BARE = re.compile(rf"(?P<number>[-+−]?{_NUMBER}){_END}", re.IGNORECASE)
# A prefix ends with a letter and what separates, of which a sign is part: "nir-1100" is no negative number.
_PREFIXED = re.compile(rf"(?P<prefix>.*?[^\W\d_][\W_]*)(?P<number>{_DIGIT_FIRST}){_END}", re.IGNORECASE)
# Fewer names with a prefix are taken for "vitamin_b6", "vitamin_b12" and the like.
FEWEST_PREFIXED = 3
# Names of numbers among others are no axis below.
FEWEST_BANDS = 3

# Names whose places are kept: tables come again under the names they had.
MOST_READ = 2**14


class Place(NamedTuple):
    """What the name of a column says of where it stands."""

    value: float
    modality: str  # before the first "__", or the outer levels of a MultiIndex; "" where there is none
    prefix: str  # what else stands before the number, lower case, without what separates; "" for R's "X"
    unit: str | None  # key of `UNITS`


def place_of(name: Any) -> Place | None:
    """Return what a name says of where its column stands: a number, or text with one at its end or before a unit.

    Such are 1100, "1100.5", "1100,5" (a decimal comma), "1.1e+03", "1100 nm", "X1100", "Abs@1100", "nir__1100 cm-1"
    and ("nir", 1100). None for bools, NaN, infinity and all else.
    """
    if isinstance(name, tuple):  # of a MultiIndex
        inner = place_of(name[-1]) if name else None
        return None if inner is None else inner._replace(modality="__".join(map(str, name[:-1])) or inner.modality)
    if isinstance(name, Real) and not isinstance(name, (bool, np.bool_)):
        return Place(float(name), "", "", None) if isfinite(name) else None
    return _read(name) if isinstance(name, str) else None


@lru_cache(MOST_READ)
def _read(name: str) -> Place | None:
    """Return what a name that is text says."""
    modality, separator, rest = name.partition("__")
    if not (modality and separator and rest):
        modality, rest = "", name
    if _PLAIN.fullmatch(rest):  # most names of most tables
        return Place(float(rest), modality, "", None)
    text = unicodedata.normalize("NFKC", rest).strip()
    found = _BARE.fullmatch(text) or _PREFIXED.fullmatch(text)
    if found is None:
        return None
    value = float(found["number"].replace(",", ".").replace("−", "-"))
    prefix = re.sub(r"[\W_]+$", "", found.groupdict().get("prefix") or "").casefold()
    unit = next((unit for i, unit in enumerate(UNITS) if found[f"u{i}"] is not None), None)
    return Place(value, modality, "" if prefix == "x" else prefix, unit) if isfinite(value) else None


def wavelength_of(name: Any) -> float | None:
    """Return the position that a column's name gives; None where it gives none.

    One name alone does not tell "X1100" from "sample7": `axis_of` judges all names of a table.
    """
    place = place_of(name)
    return None if place is None else place.value


def axis_of(names: Iterable[Any]) -> Float | None:
    """Return the position of each column (p,) in the unit of its name; None where the names are no axis.

    Every name is to give a position (`place_of`), with one prefix and one unit, or none, in a modality, and no position
    twice there. The order is free: a spectrum may run downwards, and columns that were shuffled are still what they are
    called. Default names are no axis: 0, 1, 2, ... or 1, 2, 3, ..., with any prefix and in any order, without a unit.
    Nor are fewer than three names with a prefix.
    """
    values: list[float] = []
    by_modality: dict[str, list[Place]] = {}
    for name in names:
        place = place_of(name)
        if place is None:
            return None
        values.append(place.value)
        by_modality.setdefault(place.modality, []).append(place)
    in_part = len(by_modality) > 1 and "" in by_modality
    is_axis = values and not in_part and all(map(_is_axis, by_modality.values()))
    return np.array(values) if is_axis else None


def axes_of(names: Iterable[Any]) -> list[list[Any]]:
    """Return the names of each axis among those of a table: three or more of one modality, prefix and unit."""
    alike: dict[Any, list[Any]] = {}
    for name in names:
        if (place := place_of(name)) is not None:
            alike.setdefault(place[1:], []).append(name)
    return [group for group in alike.values() if len(group) >= FEWEST_BANDS and axis_of(group) is not None]


def are_default(names: Iterable[Any]) -> bool:
    """Return whether names are default ones, as `axis_of` has them: a number for each column, in any order."""
    places = [place_of(name) for name in names]
    found = [place for place in places if place is not None]
    return len(found) == len(places) and _are_default(found)


def unit_of(names: Iterable[Any]) -> str | None:
    """Return the unit that all names of an axis have, a key of `UNITS`; None where they name none, or several."""
    units = {None if place is None else place.unit for place in map(place_of, names)}
    return units.pop() if len(units) == 1 else None


def label_of(names: Iterable[Any]) -> str:
    """Return what an axis is called in a picture, such as "wavelength, nm"."""
    units = list(dict.fromkeys(place.unit for place in map(place_of, names) if place is not None and place.unit))
    if not units:
        return "wavelength (from the names of columns)"
    quantities = list(dict.fromkeys(UNITS[unit][1] for unit in units))
    return " or ".join(quantities) if quantities == units else f"{' or '.join(quantities)}, {' or '.join(units)}"


def _is_axis(places: list[Place]) -> bool:
    """Return whether the places of one modality are an axis."""
    first = places[0]
    alike = all(place.prefix == first.prefix and place.unit == first.unit for place in places)
    several = len({place.value for place in places}) == len(places) >= (FEWEST_PREFIXED if first.prefix else 1)
    return alike and several and not _are_default(places)


def _are_default(places: list[Place]) -> bool:
    """Return whether places count the columns, from 0 or 1, in whatever order, and in no unit."""
    values = np.sort([place.value for place in places])
    counted = any(np.array_equal(values, np.arange(len(places)) + start) for start in (0, 1))
    return counted and all(place.unit is None for place in places)
