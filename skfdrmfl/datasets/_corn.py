"""Corn: four contents of the same samples from near-infrared spectra of three instruments."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._base import choose, choose_target, data_text, pack

_FILE = "corn.npz"
_VARIABLE = "SKFDRMFL_CORN"
_INSTRUMENTS = ("m5", "mp5", "mp6")
_CONTENTS = ("moisture", "oil", "protein", "starch")
_WAVELENGTHS = np.arange(1100, 2500, 2)  # nm
_N_ROWS = 80
_HOLDS = (
    f"{_FILE} must hold the float arrays {', '.join(_INSTRUMENTS)} of shape (80, 700), log 1/R at 1100, "
    f"1102, ..., 2498 nm, and y of shape (80, 4), {', '.join(_CONTENTS)} in percent"
)


def fetch_corn(
    path: str | os.PathLike[str] | None = None,
    *,
    instrument: str | Sequence[str] = "m5",
    target: str | Sequence[str] = "moisture",
    return_X_y: bool = False,
    as_frame: bool = False,
) -> Any:
    """Read the Corn spectra from a local file (regression, up to three modalities). Nothing is downloaded.

    The licence of these data is not clear enough to pack them with the library. Get them from Eigenvector Research
    (https://eigenvector.com/resources/data-sets) or from ``data/Cargill_Corn`` of
    https://github.com/caseykneale/ChemometricsData.jl, and save them once:
    ``numpy.savez("corn.npz", m5=m5, mp5=mp5, mp6=mp6, y=y)``.

    Parameters
    ----------
    path : str or path-like, default=None
        The file, or the folder that holds ``corn.npz``. None takes the environment variable ``SKFDRMFL_CORN``, without
        it ``skfdrmfl/corn.npz`` in scikit-learn's data home (``~/scikit_learn_data`` or ``SCIKIT_LEARN_DATA``).
    instrument : {"m5", "mp5", "mp6", "all"} or list of str, default="m5"
        One instrument, or several side by side, one modality each. The 80 x 700 matrix that often circulates alone is
        mp5.
    target : {"moisture", "oil", "protein", "starch", "all"} or list of str, default="moisture"
        One name gives a vector; "all" (in this order) or a list of names gives one column for each.
    return_X_y, as_frame : bool, default=False
        As of :func:`load_tecator`; the columns of a frame are called ``m5__1100``, ...

    Returns
    -------
    Bunch, or (data, target) if `return_X_y`
        As of :func:`load_tecator`, without `split`, `groups` and `data_module`: `data` (80, 700 * n_instruments) is
        log 1/R, `target` contents in percent, `modalities` has one slice an instrument, `filename` is the file that was
        read, and `DESCR` has what is known of the licence.

    Raises
    ------
    FileNotFoundError
        If the file does not exist; no other place is searched.
    ValueError
        If `instrument` or `target` is none of the above, or the file does not hold what it should.
    ImportError
        If `as_frame` and pandas is not installed.
    """
    instruments = choose(instrument, _INSTRUMENTS, "instrument")
    file = _find(path)
    arrays = _read(file, instruments)
    width = len(_WAVELENGTHS)
    return pack(
        np.hstack([arrays[name] for name in instruments]),
        *choose_target(arrays["y"], target, _CONTENTS),
        feature_names=[f"{name}__{nm}" for name in instruments for nm in _WAVELENGTHS],
        return_X_y=return_X_y,
        as_frame=as_frame,
        modalities={name: slice(j * width, (j + 1) * width) for j, name in enumerate(instruments)},
        wavelengths=np.tile(_WAVELENGTHS.astype(np.float64), len(instruments)),
        DESCR=data_text("corn.rst"),
        filename=str(file),
    )


def _find(path: str | os.PathLike[str] | None) -> Path:
    """Return the file at the first place that is named; raise if it is missing, and never look elsewhere."""
    if path is not None:
        place, named = Path(path), f"path={os.fspath(path)!r}"
    elif os.environ.get(_VARIABLE):
        place, named = Path(os.environ[_VARIABLE]), f"the environment variable {_VARIABLE}"
    else:
        # Not `sklearn.datasets.get_data_home`, which makes the folder.
        home = os.environ.get("SCIKIT_LEARN_DATA", "~/scikit_learn_data")
        place, named = Path(home, "skfdrmfl"), f"scikit-learn's data home ({_VARIABLE} is not set)"
    place = place.expanduser()
    file = place / _FILE if place.is_dir() or not place.suffix else place
    if not file.is_file():
        raise FileNotFoundError(
            f"The Corn data are not at {file}, where {named} points. They are not packed with skfdrmfl and "
            f"it downloads nothing: get them (see the docstring of fetch_corn), then save them there or pass "
            f"path=. {_HOLDS}."
        )
    return file


def _read(file: Path, instruments: list[str]) -> dict[str, NDArray[np.float64]]:
    """Return the arrays of the instruments asked for, and y, after checking names and shapes."""
    shapes = {name: (_N_ROWS, len(_WAVELENGTHS)) for name in instruments} | {"y": (_N_ROWS, len(_CONTENTS))}
    if not zipfile.is_zipfile(file):
        raise ValueError(f"{file} is not an .npz archive; write it with numpy.savez. {_HOLDS}.")
    with np.load(file, allow_pickle=False) as archive:
        missing = [name for name in shapes if name not in archive]
        if missing:
            raise ValueError(f"{file} lacks {', '.join(missing)}; it has {', '.join(archive)}. {_HOLDS}.")
        arrays = {name: np.asarray(archive[name], dtype=np.float64) for name in shapes}
        for name, expected in (("names", _CONTENTS), ("wavelengths", _WAVELENGTHS)):
            if name in archive and not np.array_equal(archive[name], expected):
                raise ValueError(f"{file} has {name} in an order of its own: {archive[name]}. {_HOLDS}.")
    for name, shape in shapes.items():
        if arrays[name].shape != shape:
            raise ValueError(f"{name} in {file} has shape {arrays[name].shape}, not {shape}. {_HOLDS}.")
    return arrays
