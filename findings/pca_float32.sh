#!/usr/bin/env bash
# PCA of many float32 rows gives wrong variances where the mean is far from zero.
#
# Version: scikit-learn 1.9.1, numpy 2.4.6.
# Expectation (guess 177, 60 %): variances of a million float32 rows with mean 100 and standard deviation 1 are right to 1 %:
# StandardScaler's are, to 1e-7.
# Behaviour: with ten times more rows than columns PCA takes products of float32 columns and subtracts n times the product of means, in
# float32 too. What is left of numbers near 1e10 is noise: of five equal variances the first is too high, the last too low. float64
# is right. Spectra kept in float32 to spare memory meet this first, since an absorbance varies less than it amounts to.
# Seen:
#     float32 1.524 1.009 1.002 0.994 0.409
#     float64 1.003 1.001 1.000 0.998 0.997
#     StandardScaler, float32: relative error 0e+00
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check scikit-learn==1.9.1 numpy==2.4.6 scipy==1.17.1
venv/bin/python - <<'PY'
import numpy as np
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

X = (100 + np.random.default_rng(0).standard_normal((1_000_000, 5))).astype(np.float32)
single, double = PCA().fit(X), PCA().fit(X.astype(np.float64))
for name, pca in (("float32", single), ("float64", double)):
    print(name, *(f"{v:.3f}" for v in pca.explained_variance_))
scaler_error = np.abs(StandardScaler().fit(X).var_ / X.astype(np.float64).var(axis=0) - 1).max()
print(f"StandardScaler, float32: relative error {scaler_error:.0e}")
errors = np.abs(single.explained_variance_ / double.explained_variance_ - 1)
assert np.abs(double.explained_variance_ - 1).max() < 0.01 and scaler_error < 1e-6
assert errors.max() > 0.1
PY
