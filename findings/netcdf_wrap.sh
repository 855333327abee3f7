#!/usr/bin/env bash
# Two sites' netCDF files of packed numbers, joined by xarray and saved, come back with one site's values wrapped round.
#
# Versions: xarray 2026.9.0, netCDF4 1.7.5.1.post1.
# Expectation (guess 228, 55 %; guess 227, 50 %): the joined file holds both sites' values to the coarser step, or saving raises.
# Behaviour: in memory all values are right. The first file's `scale_factor` stays with the variable and packs the second site's values
# into 16 bits as well: what is beyond 3.2767 comes back as another number, negative ones among them. No error, no warning. One file whose
# values are corrected in place and saved fares alike. `encoding.clear()` before saving keeps them.
# Seen:
#     site b                  1.00  2.00  4.00  8.00 12.00
#     joined, in memory       1.00  2.00  4.00  8.00 12.00
#     joined, saved, read     1.00  2.00 -2.55  1.45 -1.11
#     encoding cleared        1.00  2.00  4.00  8.00 12.00
#     a doubled in place      0.20  1.00  2.00 -2.55 -0.55
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check xarray==2026.9.0 netCDF4==1.7.5.1.post1 numpy==2.4.6 pandas==3.1.1
venv/bin/python - <<'PY'
import warnings

import netCDF4
import numpy as np
import xarray as xr

warnings.simplefilter("error")
a, b = np.array([0.1, 0.5, 1.0, 2.0, 3.0]), np.array([1.0, 2.0, 4.0, 8.0, 12.0])
for name, spectrum, step in (("a.nc", a, 1e-4), ("b.nc", b, 1e-3)):
    with netCDF4.Dataset(name, "w") as file:
        file.createDimension("row", 1)
        file.createDimension("band", len(spectrum))
        packed = file.createVariable("absorbance", "i2", ("row", "band"), fill_value=-32768)
        packed.scale_factor = step
        packed[:] = spectrum[None]
joined = xr.concat([xr.load_dataset("a.nc"), xr.load_dataset("b.nc")], "row")
joined.to_netcdf("joined.nc")
saved = xr.load_dataset("joined.nc").absorbance.values
in_memory = joined.absorbance.values
joined.absorbance.encoding.clear()
joined.to_netcdf("cleared.nc")
cleared = xr.load_dataset("cleared.nc").absorbance.values
doubled = xr.load_dataset("a.nc")
doubled["absorbance"] *= 2
doubled.to_netcdf("doubled.nc")
doubled = xr.load_dataset("doubled.nc").absorbance.values[0]
seen = {"site b": b, "joined, in memory": in_memory[1], "joined, saved, read": saved[1]}
seen |= {"encoding cleared": cleared[1], "a doubled in place": doubled}
for name, values in seen.items():
    print(f"{name:22}", *(f"{v:5.2f}" for v in values))
assert np.allclose(in_memory, [a, b]) and np.allclose(cleared, [a, b]) and np.allclose(saved[0], a)
assert np.allclose(saved[1][:2], b[:2]) and np.abs(saved[1][2:] - b[2:]).min() > 5
assert np.allclose(doubled[:3], 2 * a[:3]) and np.abs(doubled[3:] - 2 * a[3:]).min() > 5
PY
