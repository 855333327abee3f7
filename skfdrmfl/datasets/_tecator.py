"""Tecator: fat, water and protein of meat from near-infrared spectra."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from typing import Any

import numpy as np

from ._base import DATA_MODULE, choose_target, data_text, pack

_FILE = "tecator.csv"
_CONTENTS = ("water", "fat", "protein")


def load_tecator(target: str | Sequence[str] = "fat", return_X_y: bool = False, as_frame: bool = False) -> Any:
    """Load the Tecator meat spectra (embedded; regression).

    The usual 215 rows of the benchmark: 100 near-infrared absorbances each, and the contents of the meat in percent. 22
    spectra are exact repeats of earlier ones: cross-validate with ``GroupKFold().split(X, y, groups)``.

    Parameters
    ----------
    target : {"fat", "water", "protein", "all"} or list of str, default="fat"
        One name gives a vector; "all" (water, fat, protein, in this order) or a list of names a column for each.
    return_X_y : bool, default=False
        Return ``(data, target)`` instead of a Bunch.
    as_frame : bool, default=False
        Return pandas objects. The columns are called ``nir__850``, ..., as ``modalities="prefix"`` takes them.

    Returns
    -------
    Bunch, or (data, target) if `return_X_y`
        data : ndarray or DataFrame of shape (215, 100), float64
            Absorbances, -log10 of the transmittance.
        target : ndarray or Series of shape (215,), or ndarray or DataFrame of shape (215, n_targets), float64
            Contents in percent.
        frame : DataFrame of shape (215, 100 + n_targets), or None
            Data and target side by side, with `as_frame`.
        feature_names, target_names : list of str
            Names of the columns and of the targets.
        modalities : dict
            ``{"nir": slice(0, 100)}``, as `FDRMFLTransformer` takes it.
        wavelengths : ndarray of shape (100,)
            In nm, one a column of `data`.
        split : ndarray of shape (215,), str
            "C" (training, 129 rows), "M" (monitoring, 43) and "T" (testing, 43), as published.
        groups : ndarray of shape (215,), int
            Rows with identical spectra share a number; 193 numbers.
        DESCR : str
            Description and source, and the permission note under which the data are redistributed.
        filename, data_module : str
            The file that holds the numbers, and the package it is in.

    Raises
    ------
    ValueError
        If `target` is none of the above.
    ImportError
        If `as_frame` and pandas is not installed.

    Examples
    --------
    >>> from skfdrmfl.datasets import load_tecator
    >>> X, y = load_tecator(return_X_y=True)
    >>> X.shape, y.shape
    ((215, 100), (215,))
    """
    header, *rows = csv.reader(data_text(_FILE).splitlines())
    feature_names = header[5:]
    numbers = np.array([row[1:] for row in rows], dtype=np.float64)
    X = numbers[:, 4:].copy()
    return pack(
        X,
        *choose_target(numbers[:, 1:4], target, _CONTENTS),
        feature_names=feature_names,
        return_X_y=return_X_y,
        as_frame=as_frame,
        modalities={"nir": slice(0, X.shape[1])},
        wavelengths=np.array([name.partition("__")[2] for name in feature_names], dtype=np.float64),
        split=np.array([row[0] for row in rows]),
        groups=numbers[:, 0].astype(np.int64),
        DESCR=data_text("tecator.rst") + data_text("tecator_permission.txt"),
        filename=_FILE,
        data_module=DATA_MODULE,
    )
