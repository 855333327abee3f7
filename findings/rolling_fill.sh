#!/usr/bin/env bash
# One fill value spoils a smoothed spectrum from there to its end, and with xarray only where bottleneck is installed.
#
# Versions: scipy 1.17.1, chemotools 0.5.0, xarray 2026.9.0, Bottleneck 1.6.0, pandas 3.1.1.
# Expectation (guesses 253 to 259, 50 to 70 %): in a moving average of five columns one wrong value touches five
# columns, no more.
# Behaviour: scipy, chemotools and bottleneck keep a sum, add what enters and take off what leaves. Beside netCDF's fill
# value, 9.97e36, the sum forgets everything else, and when the fill value leaves, the loss stays in each later average.
# Nothing is NaN or infinite, and nothing is said: the rest of the spectrum is a plausible one, too low. xarray takes
# bottleneck where it finds it, so one script gives two results in two environments. pandas is right. Seen beside these:
# numbagg 0.9.6 and river 0.26.1 fare as bottleneck does, polars 2.1.0 and duckdb 2.0.1 as pandas.
# Seen (40 columns, 0.2 to 0.8, fill value in column 10):
#     scipy uniform_filter1d    32 columns touched, last 0.388 for 0.788
#     chemotools MeanFilter     32 columns touched, last 0.391 for 0.791
#     bottleneck move_mean      30 columns touched, last 0.369 for 0.769
#     xarray with bottleneck    30 columns touched, last 0.369 for 0.769
#     xarray without             5 columns touched, last 0.769 for 0.769
#     pandas rolling             5 columns touched, last 0.769 for 0.769
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check scipy==1.17.1 chemotools==0.5.0 xarray==2026.9.0 \
    Bottleneck==1.6.0 \
    pandas==3.1.1 numpy==2.4.6 scikit-learn==1.9.1
venv/bin/python - <<'PY'
import bottleneck
import numpy as np
import pandas as pd
import xarray as xr
from chemotools.smooth import MeanFilter
from scipy.ndimage import uniform_filter1d

WIDTH, FILL = 5, 9.96921e36  # NC_FILL_FLOAT
spectrum = np.linspace(0.2, 0.8, 40)
filled = spectrum.copy()
filled[10] = FILL


def by_xarray(values, bottleneck):
    with xr.set_options(use_bottleneck=bottleneck, use_numbagg=False):  # as if it were installed, or not
        return xr.DataArray(values, dims="column").rolling(column=WIDTH).mean().to_numpy()


methods = {
    "scipy uniform_filter1d": lambda v: uniform_filter1d(v, WIDTH),
    "chemotools MeanFilter": lambda v: MeanFilter(window_length=WIDTH).fit_transform(v[None])[0],
    "bottleneck move_mean": lambda v: bottleneck.move_mean(v, WIDTH),
    "xarray with bottleneck": lambda v: by_xarray(v, True),
    "xarray without": lambda v: by_xarray(v, False),
    "pandas rolling": lambda v: pd.Series(v).rolling(WIDTH).mean().to_numpy(),
}
for name, smooth in methods.items():
    right, got = smooth(spectrum), smooth(filled)
    touched = int((~np.isclose(right, got, rtol=1e-9, equal_nan=True)).sum())
    print(f"{name:25} {touched:2} columns touched, last {got[-1]:.3g} for {right[-1]:.3g}", flush=True)
    exact = name in ("xarray without", "pandas rolling")
    # A window to the left of its column loses no column before the fill value, one about its column loses two.
    assert touched == (5 if exact else 30 if "bottleneck" in name else 32)
    assert exact or abs(got[-1] - right[-1]) > 0.2
PY
