#!/usr/bin/env bash
# XGBoost reads spectra in the other order of bytes as other numbers, and predicts from these.
#
# Versions: xgboost-cpu 3.2.0, spectral 0.25 (ENVI).
# Expectation (guess 267, 75 %): the pixels of an ENVI file with byte order 1, which equal those of the same cube with
# byte order 0 by `numpy.array_equal`, have the same predictions, or an error.
# Behaviour: XGBoost takes the bytes of the array as if they were in the machine's order. The values become other
# numbers, many next to nothing, and the predictions are drawn from the range of the training rows all the same. FITS
# files are always in this order, ENVI and SPC files of some programs too. float64 fares alike; a training table does
# too, unless a value becomes too large, which raises. LightGBM 4.7.0 and CatBoost 1.2.10 were right beside it, duckdb
# 2.0.1 raises. Reported to XGBoost and mended there after this version.
# Seen (fat of 200 pixels, trained on them):
#     byte order 0, <f4: error 0.0, predictions 10.1 to 29.9
#     byte order 1, >f4: error 10.4, predictions 10.1 to 26.8
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check xgboost-cpu==3.2.0 spectral==0.25 numpy==2.4.6 \
    scipy==1.17.1 scikit-learn==1.9.1
venv/bin/python - <<'PY'
import warnings

import numpy as np
import spectral
import xgboost

warnings.simplefilter("error")
rng = np.random.default_rng(0)
fat = rng.uniform(10, 30, size=200)
band = np.exp(-(((np.arange(20) - 10) / 4) ** 2))
spectra = 0.5 + 0.02 * fat[:, None] * band + 1e-3 * rng.standard_normal((200, 20))
cube = spectra.astype(np.float32).reshape(10, 20, 20)
pixels = {}
for order in (0, 1):
    spectral.envi.save_image(f"{order}.hdr", cube, byteorder=order)
    pixels[order] = np.asarray(spectral.envi.open(f"{order}.hdr").open_memmap()).reshape(-1, 20)
assert np.array_equal(pixels[0], pixels[1])
model = xgboost.XGBRegressor(n_estimators=50, n_jobs=1).fit(pixels[0], fat)
errors = []
for order, X in pixels.items():
    predicted = model.predict(X)
    errors.append(np.sqrt(((predicted - fat) ** 2).mean()))
    said = f"error {errors[-1]:.1f}, predictions {predicted.min():.1f} to {predicted.max():.1f}"
    print(f"byte order {order}, {X.dtype.str}: {said}")
assert errors[0] < 0.5 and errors[1] > 3
PY
