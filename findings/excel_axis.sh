#!/usr/bin/env bash
# Wavelengths and absorbances change in an Excel file written by pandas.
#
# Versions: pandas 3.1.1, openpyxl 3.1.5, numpy 2.4.6.
# Expectation (guess 3, 80 %): 64-bit numbers come back to the bit, as they do from CSV and Parquet.
# Behaviour: openpyxl writes 16 significant digits; a 64-bit number needs 17. About a fifth of the values move by a last bit, and most
# names of columns on a grid such as 1100, 1100.1, ... are other numbers afterwards. A table read from Excel and the table that it was
# written from do not share these columns: `reindex` gives empty ones.
# Seen:
#     CSV      values equal 100 %, names equal 100 %
#     Parquet  values equal 100 %, names equal 100 %
#     Excel    values equal 78 %, names equal 28 %
#     columns that reindex finds again: 28 of 100
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check pandas==3.1.1 openpyxl==3.1.5 numpy==2.4.6 pyarrow==26.0.1
venv/bin/python - <<'PY'
import numpy as np
import pandas as pd

axis = np.arange(1100, 1110, 0.1)
spectra = pd.DataFrame(np.random.default_rng(0).random((5, len(axis))), columns=axis)
spectra.to_csv("spectra.csv", index=False)
spectra.to_parquet("spectra.parquet")
spectra.to_excel("spectra.xlsx", index=False)
back = {
    "CSV": pd.read_csv("spectra.csv"),
    "Parquet": pd.read_parquet("spectra.parquet"),
    "Excel": pd.read_excel("spectra.xlsx", engine="openpyxl"),
}
equal = {}
for kind, table in back.items():
    values = (table.to_numpy() == spectra.to_numpy()).mean()
    names = (table.columns.to_numpy(dtype=float) == axis).mean()
    equal[kind] = values, names
    print(f"{kind:8} values equal {values:.0%}, names equal {names:.0%}")
found = int(back["Excel"].reindex(columns=spectra.columns).notna().all().sum())
print(f"columns that reindex finds again: {found} of {len(axis)}")
assert equal["CSV"] == equal["Parquet"] == (1, 1)
assert 0.6 < equal["Excel"][0] < 0.9 and equal["Excel"][1] < 0.5 and found < 50
PY
