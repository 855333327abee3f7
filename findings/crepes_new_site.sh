#!/usr/bin/env bash
# A site that gave no rows of calibration gets intervals of no width, [0, 0], from crepes.
#
# Version: crepes 0.9.1.
# Expectation (guess 90, 75 %): with Mondrian bins by site (intervals calibrated site by site) a site that is not among those of the
# calibration gets infinite intervals, as a site of too few rows does, or an error.
# Behaviour: its intervals are [0, 0], far from its own prediction of 12, without an error or a warning of its own. Conformal predictive
# systems do the same.
# Seen (50 rows of calibration in a, 2 in b, none in c):
#     ConformalRegressor           a [10.5, 13.5], b [-inf, inf], c [0, 0]; with a alone calibrated c [0, 0], warnings 0
#     ConformalPredictiveSystem    a [10.7, 13.8], b [-inf, inf], c [0, 0]; with a alone calibrated c [0, 0], warnings 0
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check crepes==0.9.1 numpy==2.4.6 pandas==3.1.1 scikit-learn==1.9.1 scipy==1.17.1
venv/bin/python - <<'PY'
import warnings

import numpy as np
from crepes import ConformalPredictiveSystem, ConformalRegressor

residuals = np.random.default_rng(0).normal(size=52)
sites = np.array(["a"] * 50 + ["b"] * 2)
new, predictions = np.array(["a", "b", "c"]), np.full(3, 12.0)
for kind in (ConformalRegressor, ConformalPredictiveSystem):
    method, of_a = kind(), kind()
    method.fit(residuals, bins=sites)
    of_a.fit(residuals[:50], bins=sites[:50])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        alone = of_a.predict_int(predictions[2:], bins=new[2:], confidence=0.9)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "the no. of calibration examples")  # of b
        intervals = method.predict_int(predictions, bins=new, confidence=0.9)
    said = ", ".join(f"{site} [{low:.3g}, {high:.3g}]" for site, (low, high) in zip(new, intervals, strict=True))
    (low, high) = alone[0]
    print(f"{kind.__name__:28} {said}; with a alone calibrated c [{low:.3g}, {high:.3g}], warnings {len(caught)}")
    assert 10 < intervals[0, 0] < 12 < intervals[0, 1] < 15
    assert np.isinf(intervals[1]).all()
    assert np.array_equal(intervals[2], [0, 0])
    assert np.array_equal(alone, [[0, 0]]) and not caught
PY
