#!/usr/bin/env bash
# spectrochempy puts a spectrum whose axis rises under an axis that falls.
#
# Version: spectrochempy 1.1.3.
# Expectation (guess 170, 65 %): joining spectra of two instruments, one with rising and one with falling wavenumbers, raises or turns one
# of them.
# Behaviour: `concatenate` (and `stack`) takes the axis of the last spectrum for all, and moves no value: the first spectrum lies mirrored
# under it. The same with another grid of as many points: it is renamed. No error, and no warning that names it.
# Seen:
#     rising, then falling: axis 2000 to 1000, errors of the two spectra 0.56 and 0
#     falling, then rising: axis 1000 to 2000, errors of the two spectra 0.56 and 0
#     a grid that begins at 1000, then one at 1003: axis begins at 1003
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check spectrochempy==1.1.3 numpy==2.4.6
venv/bin/python - <<'PY'
import logging
import warnings

warnings.simplefilter("ignore")
import numpy as np
import spectrochempy as scp

logging.disable(logging.CRITICAL)


def truth(x):
    return np.sin(x / 300)


def spectrum(x):
    axis = scp.Coord(x, title="wavenumber", units="cm^-1")
    return scp.NDDataset(truth(x)[None], coordset=[None, axis])


x = np.linspace(1000, 2000, 11)
rising, falling = spectrum(x), spectrum(x[::-1].copy())
for name, pair in (("rising, then falling", (rising, falling)), ("falling, then rising", (falling, rising))):
    joined = scp.concatenate(*pair, axis=0)
    errors = np.abs(joined.data - truth(joined.x.data)).max(axis=1)
    print(f"{name}: axis {joined.x.data[0]:g} to {joined.x.data[-1]:g}, errors of the two spectra {errors[0]:.2f} and {errors[1]:.0f}")
    assert np.array_equal(joined.x.data, pair[1].x.data)
    assert errors[0] > 0.5 and errors[1] == 0
shifted = scp.concatenate(rising, spectrum(x + 3), axis=0)
print(f"a grid that begins at 1000, then one at 1003: axis begins at {shifted.x.data[0]:g}")
assert shifted.x.data[0] == 1003 and np.array_equal(shifted.data[0], rising.data[0])
PY
