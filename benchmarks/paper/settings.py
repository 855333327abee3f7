"""FDRMFL's settings for every case, in one place, and the grids of its inner cross-validation.

No setting was chosen on a row that is reported. Those of the simulations come from pilot draws (repeats from
`cases.PILOT` on), those of the spectra from the package's defaults; the grids are searched on the training rows
of each fold.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatch
from typing import Any

from skfdrmfl.encoders import LinearEncoder

N_COMPONENTS = 2
OFF = {"mi_weight": 0.0, "kl_weight": 0.0, "contrastive_weight": 0.0}
N_INNER_FOLDS = 3

# The first pattern that a case's name matches gives its parameters and its grid.
# One sparse direction and a curve over it: a linear map of all columns and a small hidden layer in the head. The
# three modalities as one: the direction runs through all of them.
_DIRECTION = {
    "modalities": None,
    "encoders": LinearEncoder(),
    "modality_dim": 2,
    "head_hidden_layer_sizes": (8,),
    "preprocessing": "standardize",
    "input_l1": 0.1,
    "weight_decay": 0.0,
    "batch_size": 128,
}
_SIMULATION_GRID = {"n_rounds": [40, 100], "input_l1": [0.1, 1.0]}
_SPECTRA_GRID = {"shrinkage": [2e-5, 2e-4, 1e-3], "learning_rate": [0.01, 0.02]}
SETTINGS: tuple[tuple[str, dict[str, Any], dict[str, list[Any]]], ...] = (
    ("y1*", {**_DIRECTION, "n_rounds": 100}, _SIMULATION_GRID),
    ("y2*", {**_DIRECTION, "n_rounds": 40}, _SIMULATION_GRID),
    # y3 is even in its one direction, which 2,000 rows of 3,604 columns do not show: the penalty that the pilot
    # draw chooses takes every weight to zero, and what is left is the mean.
    ("y3*", {**_DIRECTION, "n_rounds": 40, "input_l1": 1.0}, _SIMULATION_GRID),
    ("*", {}, _SPECTRA_GRID),
)


def parameters(case: str) -> Mapping[str, Any]:
    """What FDRMFL is built with for this case."""
    return _entry(case)[0]


def grid(case: str) -> Mapping[str, list[Any]]:
    """What the tuned FDRMFL searches for this case."""
    return _entry(case)[1]


def _entry(case: str) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    return next(rest for pattern, *rest in SETTINGS if fnmatch(case, pattern))
