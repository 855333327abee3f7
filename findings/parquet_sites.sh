#!/usr/bin/env bash
# A folder of Parquet files, one a site, loses the columns that the first site lacks.
#
# Versions: pandas 3.1.1, pyarrow 26.0.1.
# Expectation (guess 161, 55 %): a column that only the second site has is kept, empty for the first, or the folder is refused: pandas'
# `concat` keeps it, and pyarrow refuses a column whose type differs.
# Behaviour: the first file, by name, says which columns there are. What others have beyond is dropped without a word; what they lack is
# filled with missing values. Which columns a study has depends on names of files.
# Seen:
#     a has fat, b has fat and protein  ['1100', 'fat']
#     the same two, names exchanged     ['1100', 'fat', 'protein']
#     concat of the two                 ['1100', 'fat', 'protein']
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check pandas==3.1.1 pyarrow==26.0.1 numpy==2.4.6
venv/bin/python - <<'PY'
from pathlib import Path

import pandas as pd

short = pd.DataFrame({"1100": [0.1, 0.2], "fat": [10.0, 20.0]})
long = pd.DataFrame({"1100": [0.3, 0.4], "fat": [30.0, 40.0], "protein": [18.0, 19.0]})


def read(first, second, folder):
    Path(folder).mkdir()
    first.to_parquet(f"{folder}/site_a.parquet")
    second.to_parquet(f"{folder}/site_b.parquet")
    return pd.read_parquet(folder)


one, other = read(short, long, "one"), read(long, short, "other")
both = pd.concat([short, long])
print("a has fat, b has fat and protein ", one.columns.tolist())
print("the same two, names exchanged    ", other.columns.tolist())
print("concat of the two                ", both.columns.tolist())
assert one.columns.tolist() == ["1100", "fat"] and len(one) == 4
assert other.columns.tolist() == both.columns.tolist() == ["1100", "fat", "protein"]
assert other["protein"].isna().sum() == 2
PY
