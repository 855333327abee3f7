#!/usr/bin/env bash
# A table that dask wrote in twelve parts comes to pandas, polars and duckdb with its rows in another order.
#
# Versions: dask 2026.8.0, pandas 3.1.1, pyarrow 26.0.1, polars 2.1.0, duckdb 2.0.1.
# Expectation (guesses 221 to 223, 55, 50 and 45 %): rows come back in their order, as they do to dask.
# Behaviour: dask names its parts part.0 to part.11 and reads them by number; the others read them by name, part.10 before part.2. From
# eleven parts on rows are exchanged, and a y kept in a file of its own no longer belongs to them. No error, no warning.
# Seen (24 rows; y in a file of its own is the first column, so its correlation with that column is 1 where the order holds):
#     parts  dask    pandas  polars  duckdb
#     10     1.00    1.00    1.00    1.00
#     12     1.00    0.44    0.44    0.44
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check dask==2026.8.0 pandas==3.1.1 pyarrow==26.0.1 polars==2.1.0 duckdb==2.0.1 numpy==2.4.6
venv/bin/python - <<'PY'
import dask.dataframe as dd
import duckdb
import numpy as np
import pandas as pd
import polars as pl

table = pd.DataFrame({"1100": np.arange(24.0), "1102": np.arange(24.0) ** 2})
y = table["1100"].to_numpy()
readers = {
    "dask": lambda folder: dd.read_parquet(folder)["1100"].compute(),
    "pandas": lambda folder: pd.read_parquet(folder)["1100"],
    "polars": lambda folder: pl.read_parquet(folder)["1100"],
    "duckdb": lambda folder: duckdb.sql(f"SELECT \"1100\" FROM '{folder}/*.parquet'").df()["1100"],
}
print("parts ", *(f"{name:7}" for name in readers))
for parts in (10, 12):
    dd.from_pandas(table, npartitions=parts).to_parquet(f"parts{parts}", write_index=False)
    read = {name: np.asarray(reader(f"parts{parts}")) for name, reader in readers.items()}
    print(f"{parts:<6}", *(f"{np.corrcoef(column, y)[0, 1]:<7.2f}" for column in read.values()))
    for name, column in read.items():
        assert np.array_equal(np.sort(column), y)
        assert np.array_equal(column, y) == (parts == 10 or name == "dask"), name
PY
