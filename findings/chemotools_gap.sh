#!/usr/bin/env bash
# chemotools' gap derivative of a line of slope 1 is 2/3 by default, and another number for another gap.
#
# Version: chemotools 0.5.0.
# Expectation (guess 100, 75 %): NorrisWilliams(deriv=1) of a line of slope 1 is 1, away from the ends, whatever the gap.
# Behaviour: the difference spans gap_size - 1 columns and is divided by gap_size: slope (g - 1) / g. Gaps of 3, 5 and 11 give 2/3, 4/5 and
# 10/11. One regression is as good as another, but derivatives of two gaps, or of two programs, have no common scale, and coefficients
# do not carry over.
# Seen:
#     gap 3   0.667
#     gap 5   0.8
#     gap 11  0.909
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check chemotools==0.5.0 numpy==2.4.6 scikit-learn==1.9.1 scipy==1.17.1
venv/bin/python - <<'PY'
import numpy as np
from chemotools.derivative import NorrisWilliams

line = np.arange(100.0)[None]
assert NorrisWilliams().get_params()["gap_size"] == 3
for gap in (3, 5, 11):
    slope = NorrisWilliams(gap_size=gap).fit_transform(line)[0][40:60]
    print(f"gap {gap:<3} {slope[0]:.3g}")
    assert np.allclose(slope, (gap - 1) / gap)
PY
