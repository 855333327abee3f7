"""FDRMFL's settings for every case, in one place, and the grids of its inner cross-validation.

Where they come from:

- Simulations: tried by hand on one other draw of each function, `make_simulation(f, 2500, random_state=12345)`, whose
  own last 500 rows said which was best. The draws that are reported have other seeds and chose nothing.
- Raw spectra: the package's defaults.
- Scatter-corrected spectra: chosen once for all three contents by inner folds of the training rows of one set of five
  folds. No row was scored by a model that had seen it, but taken over the five folds every row had a say. "FDRMFL,
  tuned" chooses again inside each training fold and has no such flaw.
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
# What SNV takes away is most of the variance, so that the rest wants more shrinkage: it is relative to the largest.
_SNV_STD = {"shrinkage": 2e-2, "hidden_layer_sizes": (32, 32), "weight_decay": 0.1}
_SNV_MEAN_STD = {"shrinkage": 1e-2, "weight_decay": 0.1}
_SNV_GRID = {"shrinkage": [5e-3, 1e-2, 2e-2], "weight_decay": [0.1, 0.3]}
_SPECTRA_GRID = {"shrinkage": [2e-5, 2e-4, 1e-3], "learning_rate": [0.01, 0.02]}
SETTINGS: tuple[tuple[str, dict[str, Any], dict[str, list[Any]]], ...] = (
    ("y1*", {**_DIRECTION, "n_rounds": 100}, _SIMULATION_GRID),
    ("y2*", {**_DIRECTION, "n_rounds": 40}, _SIMULATION_GRID),
    # y3 is even in its one direction, which 2,000 rows of 3,604 columns do not show: the penalty that the pilot
    # draw chooses takes every weight to zero, and what is left is the mean.
    ("y3*", {**_DIRECTION, "n_rounds": 40, "input_l1": 1.0}, _SIMULATION_GRID),
    ("*-two/snv + mean + std", _SNV_MEAN_STD, _SNV_GRID),
    ("*/snv + std", _SNV_STD, _SNV_GRID),
    ("*", {}, _SPECTRA_GRID),
)
# Variants that set nothing by hand: the package's defaults, or for the simulations' 3,604 columns a linear encoder in
# large batches, which takes seconds; a linear head.
_WIDE = {
    "modalities": None,
    "encoders": LinearEncoder(),
    "modality_dim": 2,
    "preprocessing": "standardize",
    "batch_size": 128,
    "n_rounds": 40,
}
VARIANTS: dict[str, dict[str, Any]] = {
    "FDRMFL, tuning='mixture'": {"tuning": "mixture"},
    "FDRMFL, early stopping": {"early_stopping": True},
    "FDRMFL, neither": {},
}


def parameters(case: str) -> Mapping[str, Any]:
    """What FDRMFL is built with for this case."""
    return _entry(case)[0]


def grid(case: str) -> Mapping[str, list[Any]]:
    """What the tuned FDRMFL searches for this case."""
    return _entry(case)[1]


def variant(case: str, name: str) -> Mapping[str, Any]:
    """What one of `VARIANTS` is built with for this case."""
    return {**(_WIDE if fnmatch(case, "y?") else {}), **VARIANTS[name]}


def _entry(case: str) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    return next(rest for pattern, *rest in SETTINGS if fnmatch(case, pattern))
