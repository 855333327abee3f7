#!/usr/bin/env bash
# A site that gave no rows of calibration gets intervals of no width, [0, 0], from crepes.
#
# Version: crepes 0.9.1.
# Expectation (guess 90, 75 %): with Mondrian bins by site (intervals calibrated site by site) a site that is not among those of the
# calibration gets infinite intervals, as a site of too few rows does, or an error.
# Behaviour: its intervals are [0, 0], far from its own prediction, without an error or a warning. Conformal predictive systems do the
# same.
# Seen (prediction 12 for all):
#     site a, 50 rows    [10.5, 13.5]
#     site b, 2 rows     [-inf, inf], a warning
#     site c, no rows    [0.0, 0.0], no warning
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check crepes==0.9.1 numpy==2.4.6
venv/bin/python - <<'PY'
import warnings

import numpy as np
from crepes import ConformalPredictiveSystem, ConformalRegressor

residuals = np.random.default_rng(0).normal(size=52)
sites = np.array(["a"] * 50 + ["b"] * 2)
new, predictions = np.array(["a", "b", "c"]), np.full(3, 12.0)
for method in (ConformalRegressor(), ConformalPredictiveSystem()):
    method.fit(residuals, bins=sites)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        intervals = method.predict_int(predictions, bins=new, confidence=0.9)
        n_before = len(caught)
        alone = method.predict_int(predictions[2:], bins=new[2:], confidence=0.9)
    print(type(method).__name__)
    for site, (low, high) in zip(new, intervals, strict=True):
        print(f"    site {site}  [{low:.1f}, {high:.1f}]")
    print(f"    warnings with a, b, c: {n_before}; with c alone: {len(caught) - n_before}")
    assert 10 < intervals[0, 0] < 12 < intervals[0, 1] < 15
    assert np.isinf(intervals[1]).all() and n_before > 0
    assert np.array_equal(intervals[2], [0, 0])
    assert np.array_equal(alone, [[0, 0]]) and len(caught) == n_before
PY
