#!/usr/bin/env bash
# A JCAMP-DX file of linked spectra is one record of nirs4all-formats, and its matrix holds the first spectrum alone.
#
# Versions: nirs4all-formats 0.1.0 and 0.2.11.
# Expectation (guess 70, 75 %): a file of DATA TYPE=LINK with three spectra of three samples gives three records, as a Galactic SPC file
# of three subfiles does, and `to_numpy` three rows.
# Behaviour: the three are signals ("signal_1", ...) of one record, as if three channels of one sample. `to_numpy` returns the first; the
# titles of the others, hence which sample each is, are in no name of a signal. No warning.
# Seen:
#     records 1, signals ['signal_1', 'signal_2', 'signal_3'], rows of to_numpy 1
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check numpy==2.4.6
for version in 0.1.0 0.2.11; do
  venv/bin/python -m pip install --quiet --disable-pip-version-check "nirs4all-formats==$version"
  echo "nirs4all-formats $version"
  venv/bin/python - <<'PY'
import warnings

import nirs4all_formats

BLOCK = '''##TITLE=sample {k}
##JCAMP-DX=4.24
##DATA TYPE=INFRARED SPECTRUM
##ORIGIN=made
##OWNER=public domain
##XUNITS=1/CM
##YUNITS=ABSORBANCE
##XFACTOR=1
##YFACTOR=1
##FIRSTX=4000
##LASTX=3998
##DELTAX=-1
##NPOINTS=3
##FIRSTY={k}
##XYDATA=(X++(Y..Y))
4000 {k} {k}1 {k}2
##END=
'''
with open("link.dx", "w") as file:
    file.write("##TITLE=three samples\n##JCAMP-DX=4.24\n##DATA TYPE=LINK\n##BLOCKS=4\n")
    file.write("".join(BLOCK.format(k=k) for k in (1, 2, 3)) + "##END=\n")
with warnings.catch_warnings():
    warnings.simplefilter("error")
    records = nirs4all_formats.open_recordset("link.dx")
    matrix = records.to_numpy()[0]
signals = list(records.records[0].signals)
print(f"records {len(records)}, signals {signals}, rows of to_numpy {len(matrix)}")
assert len(records) == 1 and signals == ["signal_1", "signal_2", "signal_3"]
assert matrix.tolist() == [[1, 11, 12]]
assert not records.records[0].provenance.warnings
PY
done
