#!/usr/bin/env bash
# shap explains predictions of a PLS calibration that the calibration never makes.
#
# Versions: shap 0.51.0, scikit-learn 1.9.1.
# Expectation (guess 278, 60 %): the base value and the contributions of a row add up to `predict`, as they do for
# Ridge, or a model that is not understood is refused.
# Behaviour: `LinearExplainer` takes whatever has `coef_` and `intercept_`, and checks no sum. Those of PLSRegression do
# not belong together (pls_intercept.sh), so the base value, which is to be the mean prediction, lies far off: here at
# 88 where y goes from 10 to 30. The contributions themselves are right. A waterfall plot begins and ends at
# concentrations that no sample has, without a word. The mean of `predict` over the background rows is the base value
# that fits.
# Seen:
#     Ridge          mean of predict 21.0, base value 21.0, sums off by 0.00
#     PLSRegression  mean of predict 21.0, base value 88.0, sums off by 67.05
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check shap==0.51.0 scikit-learn==1.9.1 numpy==2.4.6 \
    scipy==1.17.1 pandas==3.1.1
venv/bin/python - <<'PY'
import warnings

import numpy as np
import shap
from sklearn.cross_decomposition import PLSRegression
from sklearn.linear_model import Ridge

warnings.simplefilter("error")
rng = np.random.default_rng(0)
concentration = rng.uniform(10, 30, size=100)
band = np.exp(-(((np.arange(50) - 25) / 8) ** 2))
X = 0.7 + 0.02 * concentration[:, None] * band + 1e-4 * rng.standard_normal((100, 50))
off = {}
for model in (Ridge(alpha=1e-6), PLSRegression(2, scale=False)):
    predicted = model.fit(X, concentration).predict(X).ravel()
    explainer = shap.LinearExplainer(model, X)
    base = float(np.ravel(explainer.expected_value)[0])
    contributions = np.asarray(explainer.shap_values(X)).reshape(X.shape)
    gaps = base + contributions.sum(axis=1) - predicted
    assert np.ptp(gaps) < 1e-6  # one number in every row: the contributions are right
    name = type(model).__name__
    off[name] = abs(gaps[0])
    print(f"{name:14} mean of predict {predicted.mean():.1f}, base value {base:.1f}, sums off by {off[name]:.2f}")
assert off["Ridge"] < 1e-6 and off["PLSRegression"] > 50
PY
