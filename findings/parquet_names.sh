#!/usr/bin/env bash
# One column of text turns all wavelengths of a Parquet file into text, and other formats name them otherwise.
#
# Versions: pandas 3.1.1, pyarrow 26.0.1, openpyxl 3.1.5.
# Expectation (guess 155, 75 %): names of columns that are numbers come back from Parquet as numbers, as they do in a table of spectra
# alone, or a mixed table is refused.
# Behaviour: with numbers alone they come back as numbers. With one name of text beside them all become text; pandas warns as it writes,
# nobody as the file is read. CSV gives text too; Excel gives whole numbers for 1100.0. So the wavelength 1100 is called 1100.0, "1100.0" or 1100 by the way that one table went,
# and "fat" decides which.
# Seen:
#     Parquet, spectra alone  [1100.0, 1102.0, 1104.5]
#     Parquet, with fat       ['1100.0', '1102.0', '1104.5', 'fat']
#     Excel, with fat         [1100, 1102, 1104.5, 'fat']
#     CSV, with fat           ['1100.0', '1102.0', '1104.5', 'fat']
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check pandas==3.1.1 pyarrow==26.0.1 openpyxl==3.1.5 numpy==2.4.6
venv/bin/python - <<'PY'
import warnings

import pandas as pd

spectra = pd.DataFrame([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]], columns=[1100.0, 1102.0, 1104.5])
table = spectra.assign(fat=[10.0, 20.0])
spectra.to_parquet("spectra.parquet")
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    table.to_parquet("table.parquet")
assert any("mixed type" in str(warning.message) for warning in caught)
table.to_excel("table.xlsx", index=False)
table.to_csv("table.csv", index=False)
names = {
    "Parquet, spectra alone": pd.read_parquet("spectra.parquet").columns.tolist(),
    "Parquet, with fat": pd.read_parquet("table.parquet").columns.tolist(),
    "Excel, with fat": pd.read_excel("table.xlsx", engine="openpyxl").columns.tolist(),
    "CSV, with fat": pd.read_csv("table.csv").columns.tolist(),
}
for way, said in names.items():
    print(f"{way:23} {said}")
text = ["1100.0", "1102.0", "1104.5", "fat"]
assert names["Parquet, spectra alone"] == [1100.0, 1102.0, 1104.5]
assert names["Parquet, with fat"] == names["CSV, with fat"] == text
assert [str(name) for name in names["Excel, with fat"]] == ["1100", "1102", "1104.5", "fat"]
PY
