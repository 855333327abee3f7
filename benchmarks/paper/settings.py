"""FDRMFL's settings for every case, in one place, and the grids of its inner cross-validation.

No setting was chosen on a row that is reported. Those of the simulations come from pilot draws (repeats from
`cases.PILOT` on), those of the spectra from the package's defaults; the grids are searched on the training rows
of each fold.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatch
from typing import Any

N_COMPONENTS = 2
OFF = {"mi_weight": 0.0, "kl_weight": 0.0, "contrastive_weight": 0.0}
N_INNER_FOLDS = 3

# The first pattern that a case's name matches gives its parameters and its grid.
SETTINGS: tuple[tuple[str, dict[str, Any], dict[str, list[Any]]], ...] = (
    ("y*", {}, {}),
    ("*-two", {}, {"shrinkage": [5e-5, 2e-4, 1e-3], "weight_decay": [0.1, 0.3]}),
    ("*", {}, {"shrinkage": [5e-5, 2e-4, 1e-3], "weight_decay": [0.1, 0.3]}),
)


def parameters(case: str) -> Mapping[str, Any]:
    """What FDRMFL is built with for this case."""
    return _entry(case)[0]


def grid(case: str) -> Mapping[str, list[Any]]:
    """What the tuned FDRMFL searches for this case."""
    return _entry(case)[1]


def _entry(case: str) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    return next(rest for pattern, *rest in SETTINGS if fnmatch(case, pattern))
