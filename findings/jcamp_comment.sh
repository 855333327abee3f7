#!/usr/bin/env bash
# A comment behind a line of data stops one reader of JCAMP-DX and puts wrong values into another.
#
# Versions: jcamp 1.3.2; nirs4all-formats 0.1.0 and 0.2.11.
# Expectation (guess 74, 55 %): text from $$ to the end of its line is a comment anywhere in a JCAMP-DX 4.24 file, and left out.
# Behaviour: jcamp leaves it out in lines of labels, and raises at the first $ behind data. nirs4all-formats takes letters of the comment
# for digits of the packed forms (D and S stand for digits there): 1 2 3 4 5 becomes 1 2 3 3 -1. It does so with a warning in the
# record's provenance, and none in Python.
# Seen:
#     without   jcamp [1, 2, 3, 4, 5]  nirs4all-formats [1, 2, 3, 4, 5]
#     with      jcamp raises           nirs4all-formats [1, 2, 3, 3, -1], warnings in provenance: 2
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
##NPOINTS=5 $$ a comment on a line of a label
##FIRSTY=1
##XYDATA=(X++(Y..Y))
'''
with open("without.dx", "w") as file:
    file.write(HEAD + "4000 1 2 3\n3997 4 5\n##END=\n")
with open("with.dx", "w") as file:
    file.write(HEAD + "4000 1 2 3 $$ 3 values\n3997 4 5\n##END=\n")


def values(path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        records = nirs4all_formats.open_recordset(path)
    return records.to_numpy()[0][0].tolist(), len(records.records[0].provenance.warnings)


plain = jcamp.readfile("without.dx")["y"].tolist()
try:
    jcamp.readfile("with.dx")
    raised = False
except Exception as error:
    raised = "$" in str(error)
print(f"without   jcamp {plain}  nirs4all-formats {values('without.dx')[0]}")
print(f"with      jcamp {'raises' if raised else 'reads'}  nirs4all-formats {values('with.dx')}")
assert plain == values("without.dx")[0] == [1, 2, 3, 4, 5]
assert raised
assert np.array_equal(values("with.dx")[0], [1, 2, 3, 3, -1]) and values("with.dx")[1] == 2
PY
done
