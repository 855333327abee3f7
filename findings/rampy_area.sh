#!/usr/bin/env bash
# rampy turns a spectrum upside down when it normalises it by area and the wavenumbers fall.
#
# Version: rampy 0.6.4.
# Expectation (guess 260, 60 %): the area under a spectrum is the same from left and from right, so that
# `normalise(method="area")` of falling wavenumbers gives the rising one's values, or an error.
# Behaviour: the integral along a falling axis is negative, and the spectrum is divided by it: every absorbance changes
# its sign. Wavenumbers fall in many infrared files. Where one site's rise and another's fall, bands of the one are dips
# of the other, of the same height. Nothing is said. The methods "intensity" and "minmax" take no axis and have no such
# trouble.
# Seen (one band on a baseline; its lowest and highest value):
#     area, rising        0.0004   0.0040
#     area, falling      -0.0040  -0.0004
#     minmax, rising      0.0000   1.0000
#     minmax, falling     0.0000   1.0000
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check rampy==0.6.4 numpy==2.4.6 scipy==1.17.1 \
    scikit-learn==1.9.1 pandas==3.1.1
venv/bin/python - <<'PY'
import warnings

warnings.simplefilter("ignore")  # rampy's imports
import numpy as np
import rampy

warnings.simplefilter("error")
wavenumbers = np.linspace(1000.0, 2000.0, 101)
spectrum = 0.1 + np.exp(-(((wavenumbers - 1500) / 100) ** 2))
for method in ("area", "minmax"):
    rising = rampy.normalise(spectrum[:, None], x=wavenumbers[:, None], method=method).ravel()
    falling = rampy.normalise(spectrum[::-1, None], x=wavenumbers[::-1, None], method=method).ravel()
    for name, values in (("rising", rising), ("falling", falling)):
        print(f"{method + ', ' + name:17} {values.min():8.4f} {values.max():8.4f}")
    sign = -1 if method == "area" else 1
    assert rising.max() > 0 and np.allclose(falling[::-1], sign * rising)
PY
