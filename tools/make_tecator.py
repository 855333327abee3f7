"""Make `skfdrmfl/datasets/data/tecator.csv` from the `tecator` data of the R package caret.

The numbers are Tecator's and may be redistributed with `tecator_permission.txt` attached; caret is only the
carrier. Any copy of it will do, for example Debian's (checked with r-cran-caret 6.0-93):

    apt-get download r-cran-caret
    dpkg-deb --extract r-cran-caret_*.deb caret
    pip install rdata
    python tools/make_tecator.py caret/usr/lib/R/site-library/caret/data/tecator.RData
"""

from __future__ import annotations

import argparse
import csv
import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FILE = Path(__file__).resolve().parents[1] / "skfdrmfl" / "datasets" / "data" / "tecator.csv"
SET_SIZES = {"C": 129, "M": 43, "T": 43}  # as published, in file order; the table itself carries no labels
CONTENTS = ("water", "fat", "protein")
WAVELENGTHS = range(850, 1050, 2)  # nm


def groups_of_identical_rows(X: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return a number for each row, equal for identical rows, counted in order of first appearance."""
    _, first, inverse = np.unique(X, axis=0, return_index=True, return_inverse=True)
    return first.argsort().argsort()[inverse.ravel()]


def csv_text(absorbances: NDArray[np.float64], contents: NDArray[np.float64]) -> str:
    """Return the text of the whole file; floats are in their shortest form that reads back bit for bit."""
    split = np.repeat(list(SET_SIZES), list(SET_SIZES.values())).tolist()
    groups = groups_of_identical_rows(absorbances).tolist()
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["split", "group", *CONTENTS, *(f"nir__{nm}" for nm in WAVELENGTHS)])
    for row in zip(split, groups, contents.tolist(), absorbances.tolist(), strict=True):
        writer.writerow([row[0], row[1], *row[2], *row[3]])
    return out.getvalue()


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("file", help="caret's tecator.RData")
    path = options.parse_args().file
    import rdata

    source = rdata.read_rda(path)
    text = csv_text(source["absorp"], source["endpoints"])
    FILE.write_text(text, encoding="utf-8", newline="\n")
