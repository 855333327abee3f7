#!/usr/bin/env bash
# A comment behind data stops one reader of JCAMP-DX, or empties its spectrum, and puts wrong values into another's.
#
# Versions: jcamp 1.3.2; nirs4all-formats 0.1.0 and 0.2.11.
# Expectation (guess 74, 55 %): text from $$ to the end of its line is a comment anywhere in a JCAMP-DX 4.24 file, and left out.
# Behaviour: jcamp leaves out lines that are comments alone. Behind a line of data it raises; behind ##XYDATA=(X++(Y..Y)) it returns a
# spectrum of no points, without a word. nirs4all-formats takes letters of a comment behind data for digits of the packed forms: 1 2 3 4 5
# becomes 1 2 3 3 -1, with a warning in the record's provenance and none in Python.
# Seen:
#     none           jcamp [1, 2, 3, 4, 5]  nirs4all-formats [1, 2, 3, 4, 5], in provenance 0
#     line alone     jcamp [1, 2, 3, 4, 5]  nirs4all-formats [1, 2, 3, 4, 5], in provenance 0
#     behind label   jcamp []               nirs4all-formats [1, 2, 3, 4, 5], in provenance 0
#     behind data    jcamp raises           nirs4all-formats [1, 2, 3, 3, -1], in provenance 2
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check jcamp==1.3.2 numpy==2.4.6
for version in 0.1.0 0.2.11; do
  venv/bin/python -m pip install --quiet --disable-pip-version-check "nirs4all-formats==$version"
  echo "nirs4all-formats $version"
  venv/bin/python - <<'PY'
import warnings

import jcamp
import nirs4all_formats
import numpy as np

HEAD = '''##TITLE=made
##JCAMP-DX=4.24
##DATA TYPE=INFRARED SPECTRUM
##ORIGIN=made
##OWNER=public domain
##XUNITS=1/CM
##YUNITS=ABSORBANCE
##XFACTOR=1
##YFACTOR=1
##FIRSTX=4000
##LASTX=3996
##DELTAX=-1
##NPOINTS=5
##FIRSTY=1
##XYDATA=(X++(Y..Y))'''
FILES = {
    "none": HEAD + "\n4000 1 2 3\n3997 4 5\n##END=\n",
    "line alone": HEAD + "\n4000 1 2 3\n$$ 3 values\n3997 4 5\n##END=\n",
    "behind label": HEAD + " $$ 5 values\n4000 1 2 3\n3997 4 5\n##END=\n",
    "behind data": HEAD + "\n4000 1 2 3 $$ 3 values\n3997 4 5\n##END=\n",
}


def by_jcamp(path):
    try:
        return [int(v) for v in jcamp.readfile(path)["y"]]
    except Exception as error:
        assert "$" in str(error)
        return "raises"


def by_nirs4all(path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        records = nirs4all_formats.open_recordset(path)
        return [int(v) for v in records.to_numpy()[0][0]], len(records.records[0].provenance.warnings)


seen = {}
for place, text in FILES.items():
    with open("spectrum.dx", "w") as file:
        file.write(text)
    one, (other, warned) = by_jcamp("spectrum.dx"), by_nirs4all("spectrum.dx")
    seen[place] = one, other, warned
    print(f"{place:14} jcamp {one!s:15}  nirs4all-formats {other}, in provenance {warned}")
right = [1, 2, 3, 4, 5]
assert seen["none"] == seen["line alone"] == (right, right, 0)
assert seen["behind label"] == ([], right, 0)
assert seen["behind data"] == ("raises", [1, 2, 3, 3, -1], 2)
PY
done
