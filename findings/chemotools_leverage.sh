#!/usr/bin/env bash
# chemotools' leverage of new rows is measured among these rows, not against the rows of the fit: a batch of outliers looks normal.
#
# Version: chemotools 0.5.0.
# Expectation: leverage of new rows is t (T'T)^-1 t', T the scores of the training rows, so that rows ten times as far out have a
# hundred times the leverage. Met beside guesses 188 and 189, which held for training rows; it has no guess of its own.
# Behaviour: `Leverage.predict` and `StudentizedResiduals.predict` take (T'T)^-1 of the rows that they are given. Rows ten times as far out as
# any have the leverage of the rows themselves, the mean leverage of any batch is components / rows, and a batch of fewer rows than
# components raises, as its matrix is singular.
# Seen (4 components, 100 training rows, limit 0.10):
#     50 new rows             outliers: chemotools 14, formula  3; mean leverage: chemotools 0.08, formula 0.04
#     ten times as far out    outliers: chemotools 14, formula 50; mean leverage: chemotools 0.08, formula 4.29
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check chemotools==0.5.0 numpy==2.4.6 scikit-learn==1.9.1 scipy==1.17.1
venv/bin/python - <<'PY'
import numpy as np
from chemotools.outliers import Leverage
from sklearn.cross_decomposition import PLSRegression

rng = np.random.default_rng(0)
X, new = rng.normal(size=(100, 4)), rng.normal(size=(50, 4))
y = X @ [1.0, 2.0, 3.0, 4.0] + rng.normal(size=100)
pls = PLSRegression(n_components=4, scale=False).fit(X, y)
inverse = np.linalg.inv(pls.x_scores_.T @ pls.x_scores_)
method = Leverage(pls).fit(X)
far = X.mean(axis=0) + 10 * (new - X.mean(axis=0))


def formula(rows):
    scores = pls.transform(rows)
    return np.einsum("ij,jk,ik->i", scores, inverse, scores)


assert np.allclose(np.ravel(method.predict_residuals(X)), formula(X))
print(f"4 components, 100 training rows, limit {method.critical_value_:.2f}")
count, mean = {}, {}
for name, rows in (("50 new rows", new), ("ten times as far out", far)):
    residuals, flags = np.ravel(method.predict_residuals(rows)), np.ravel(method.predict(rows))
    count[name] = int((flags == -1).sum()), int((formula(rows) > method.critical_value_).sum())
    mean[name] = residuals.mean(), formula(rows).mean()
    said = f"outliers: chemotools {count[name][0]}, formula {count[name][1]:2}"
    print(f"{name:23} {said}; mean leverage: chemotools {mean[name][0]:.2f}, formula {mean[name][1]:.2f}")
near, distant = count
assert count[near][0] == count[distant][0] < 25 and count[near][1] < 10 and count[distant][1] == 50
assert abs(mean[near][0] - 4 / 50) < 0.01 and abs(mean[distant][0] - 4 / 50) < 0.01 and mean[distant][1] > 1
PY
