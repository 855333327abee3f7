#!/usr/bin/env bash
# The first derivative of a straight line is not flat at the ends, with chemotools' SavitzkyGolay as it comes.
#
# Versions: chemotools 0.5.0, scipy 1.17.1.
# Expectation (guess 39, 92 %): the derivative of a line of slope 1 is 1 in every column, as with scipy's savgol_filter.
# Behaviour: chemotools repeats the outermost value beyond the ends (mode "nearest", which scipy too takes if asked). The outermost
# (window - 1) / 2 columns of each end are too small, the first by half: 10 of 100 columns with a window of 11. A baseline that the
# derivative should remove comes back there. mode="interp" is exact.
# Seen:
#     scipy               [1.0, 1.0, 1.0, 1.0, 1.0, 1.0] ... 100 of 100 are 1
#     chemotools          [0.5, 0.636, 0.764, 0.873, 0.955, 1.0] ... 90 of 100 are 1
#     chemotools, interp  [1.0, 1.0, 1.0, 1.0, 1.0, 1.0] ... 100 of 100 are 1
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check chemotools==0.5.0 scipy==1.17.1 numpy==2.4.6 scikit-learn==1.9.1
venv/bin/python - <<'PY'
import numpy as np
from chemotools.derivative import SavitzkyGolay
from scipy.signal import savgol_filter

line = np.arange(100.0)[None]
by_scipy = savgol_filter(line, 11, 1, deriv=1)[0]
steps = SavitzkyGolay(window_length=11, polyorder=1, deriv=1)
by_chemotools = steps.fit_transform(line)[0]
exact = SavitzkyGolay(window_length=11, polyorder=1, deriv=1, mode="interp").fit_transform(line)[0]
for name, d in (("scipy", by_scipy), ("chemotools", by_chemotools), ("chemotools, interp", exact)):
    print(f"{name:19} {np.round(d[:6], 3).tolist()} ... {np.isclose(d, 1).sum()} of 100 are 1")
assert np.allclose(by_scipy, 1) and np.allclose(exact, 1)
assert np.isclose(by_chemotools[0], 0.5) and np.isclose(by_chemotools, 1).sum() == 90
PY
