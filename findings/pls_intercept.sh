#!/usr/bin/env bash
# A PLS calibration written into an instrument as coef_ and intercept_ is off by the same large number in every row.
#
# Version: scikit-learn 1.9.1.
# Expectation (the documentation of `intercept_`; guess 179, 40 %): `X @ coef_.T + intercept_` is `predict(X)`, as it is for Ridge.
# Behaviour: `predict` takes the training mean of X off first, and `intercept_` is the mean of y. The formula of the documentation is off
# by the mean of X times the coefficients. `intercept_ - x_mean @ coef_.T` is the intercept that the formula needs; x_mean is public
# nowhere but as the mean of the training rows.
# Seen:
#     y about 21, predictions within 0.00 of it
#     Ridge          X @ coef_ + intercept_            off by 0.00
#     PLSRegression  X @ coef_.T + intercept_          off by 70.46 in every row
#     PLSRegression  with intercept_ - mean @ coef_.T  off by 0.00
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check scikit-learn==1.9.1 numpy==2.4.6 scipy==1.17.1
venv/bin/python - <<'PY'
import numpy as np
from sklearn.cross_decomposition import PLSRegression
from sklearn.linear_model import Ridge

rng = np.random.default_rng(0)
concentration = rng.uniform(10, 30, size=100)
band = np.exp(-(((np.arange(50) - 25) / 8) ** 2))
X = 0.7 + 0.02 * concentration[:, None] * band + 1e-4 * rng.standard_normal((100, 50))
y = concentration
pls, ridge = PLSRegression(n_components=1, scale=False).fit(X, y), Ridge(alpha=1e-6).fit(X, y)
assert "`y = X @ coef_.T + intercept_`" in PLSRegression.__doc__
print(f"y about {y.mean():.0f}, predictions within {np.abs(pls.predict(X).ravel() - y).max():.2f} of it")
of_ridge = X @ ridge.coef_ + ridge.intercept_ - ridge.predict(X)
as_said = (X @ pls.coef_.T + pls.intercept_).ravel() - pls.predict(X).ravel()
corrected = (X @ pls.coef_.T + pls.intercept_ - X.mean(axis=0) @ pls.coef_.T).ravel() - pls.predict(X).ravel()
print(f"Ridge          X @ coef_ + intercept_            off by {np.abs(of_ridge).max():.2f}")
print(f"PLSRegression  X @ coef_.T + intercept_          off by {as_said.mean():.2f} in every row")
print(f"PLSRegression  with intercept_ - mean @ coef_.T  off by {np.abs(corrected).max():.2f}")
assert np.abs(of_ridge).max() < 1e-6 and np.abs(corrected).max() < 1e-6
assert np.ptp(as_said) < 1e-6 and abs(as_said.mean()) > 1
PY
