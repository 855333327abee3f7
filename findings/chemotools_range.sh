#!/usr/bin/env bash
# chemotools' RangeCut leaves out the wavelength named as its end, and every column where the axis falls.
#
# Version: chemotools 0.5.0.
# Expectation (guesses 98 and 167, 60 and 65 %): start=1100, end=1300 keeps 1100 to 1300; an axis that falls, as of wavenumbers
# (the documentation asks for one that rises), raises.
# Behaviour: both ends are turned to positions and sliced as Python slices, so the column at `end` is not kept, and the last column of an
# axis cannot be named. Where the axis falls, start < end gives a table of no columns and a warning that data may be noisy; start > end
# gives the range, less its end.
# Seen:
#     rising, 1100 to 1300   [1100, 1200]
#     rising, 1100 to 1400   [1100, 1200, 1300]
#     falling, 1100 to 1300  []
#     falling, 1300 to 1100  [1300, 1200]
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check chemotools==0.5.0 numpy==2.4.6 scikit-learn==1.9.1 scipy==1.17.1
venv/bin/python - <<'PY'
import warnings

import numpy as np
from chemotools.feature_selection import RangeCut

warnings.filterwarnings("error")
warnings.filterwarnings("ignore", "No features were selected")
axis = np.array([1000, 1100, 1200, 1300, 1400])
seen = []
for name, x, start, end in (
    ("rising", axis, 1100, 1300),
    ("rising", axis, 1100, 1400),
    ("falling", axis[::-1].copy(), 1100, 1300),
    ("falling", axis[::-1].copy(), 1300, 1100),
):
    kept = RangeCut(start=start, end=end, x_axis=x).fit_transform(x[None].astype(float))
    seen.append(kept[0].astype(int).tolist())
    print(f"{name}, {start} to {end}:", seen[-1])
assert seen == [[1100, 1200], [1100, 1200, 1300], [], [1300, 1200]]
PY
