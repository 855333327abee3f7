#!/usr/bin/env bash
# prince's analysis of numbers and labels together gives a row other coordinates according to the rows that come with it.
#
# Version: prince 0.23.0.
# Expectation (guess 196, 65 %): `FAMD.transform` of one new row gives the coordinates that the row has among others, as prince's PCA and MFA
# do.
# Behaviour: labels are centred and scaled by their shares in the rows at hand, not in those of the fit. Of a row alone each label has
# the share 1, and 1 - 1 = 0: labels have no effect at all. Test folds, new batches and single rows each have axes of their own.
# Seen:
#     PCA of the numbers alone: a row alone and among all differ by 0.000
#     row 7 among all 40         -0.44  1.38
#     row 7 among the first 10   -0.42  1.51
#     row 7 alone                -0.69  0.47
#     alone, with another site   -0.69  0.47
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check prince==0.23.0 pandas==3.1.1 numpy==2.4.6 scikit-learn==1.9.1 scipy==1.17.1
venv/bin/python - <<'PY'
import numpy as np
import pandas as pd
import prince

rng = np.random.default_rng(0)
numbers = pd.DataFrame(rng.normal(size=(40, 3)), columns=["1100", "1102", "1104"])
table = numbers.assign(site=np.tile(["a", "b", "b", "c"], 10))
pca = prince.PCA(n_components=2, engine="scipy").fit(numbers)
of_numbers = np.abs(pca.transform(numbers.iloc[[7]]).to_numpy() - pca.transform(numbers).to_numpy()[7]).max()
print(f"PCA of the numbers alone: a row alone and among all differ by {of_numbers:.3f}")
famd = prince.FAMD(n_components=2, engine="scipy").fit(table)
other = table.iloc[[7]].assign(site="b")
assert table.site[7] != "b"
seen = {
    "among all 40": famd.transform(table).to_numpy()[7],
    "among the first 10": famd.transform(table.iloc[:10]).to_numpy()[7],
    "alone": famd.transform(table.iloc[[7]]).to_numpy()[0],
}
for name, row in seen.items():
    print(f"row 7 {name:20}", *(f"{v:5.2f}" for v in row))
elsewhere = famd.transform(other).to_numpy()[0]
print(f"{'alone, with another site':26}", *(f"{v:5.2f}" for v in elsewhere))
assert of_numbers < 1e-9
assert np.abs(seen["among all 40"] - seen["among the first 10"]).max() > 0.02
assert np.abs(seen["among all 40"] - seen["alone"]).max() > 0.2
assert np.array_equal(seen["alone"], elsewhere)
PY
