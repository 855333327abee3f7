#!/usr/bin/env bash
# jcamp writes four decimals, so small values leave a JCAMP-DX file coarse or as zeros.
#
# Version: jcamp 1.3.2.
# Expectation (guess 68, 60 %): `writefile`, then `readfile`, gives x and y to 1e-6 relative.
# Behaviour: y is written with four decimals whatever its size, YFACTOR is 1 in the file. An absorbance near 1 is right to 5e-5, a first
# derivative near 1e-3 to some 5 % or worse, a second derivative near 1e-5 is all zeros.
# Seen:
#     values near 1.0e+00: largest relative error 0.0004
#     values near 1.0e-03: largest relative error 0.2
#     values near 1.0e-05: largest relative error 1
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check jcamp==1.3.2 numpy==2.4.6
venv/bin/python - <<'PY'
import contextlib
import io

import jcamp
import numpy as np

y = np.array([0.5, 0.25, -0.3, 0.123456, 0.7, 0.9])
errors = []
for size in (1.0, 1e-3, 1e-5):
    spectrum = {"title": "made", "x": np.linspace(1100, 1110, 6), "y": size * y}
    spectrum |= {"xunits": "NANOMETERS", "yunits": "ABSORBANCE"}
    with contextlib.redirect_stdout(io.StringIO()):  # it prints its progress
        jcamp.writefile("spectrum.dx", spectrum)
    back = jcamp.readfile("spectrum.dx")
    assert np.array_equal(back["x"], spectrum["x"])
    errors.append(float(np.abs(back["y"] / spectrum["y"] - 1).max()))
    print(f"values near {size:.1e}: largest relative error {errors[-1]:.1g}")
assert 1e-4 < errors[0] < 1e-3 and 0.1 < errors[1] < 0.5 and errors[2] == 1
PY
