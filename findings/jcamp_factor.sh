#!/usr/bin/env bash
# pyspectrakit reads JCAMP-DX values without their YFACTOR.
#
# Versions: pyspectrakit 1.9.6 (imported as spectrakit), jcamp 1.3.2.
# Expectation (guess 73, 55 %): two readers agree on x and y of a plain file.
# Behaviour: pyspectrakit returns the whole numbers of the file; YFACTOR stands in its metadata as text. Instruments choose YFACTOR file by
# file, so spectra of one sample from two files differ by powers of ten and more. SNV hides it, a calibration on raw spectra does not.
# Seen:
#     YFACTOR 0.001   jcamp [0.1, 0.2, 0.3, 0.4]  pyspectrakit [100, 200, 300, 400]
#     YFACTOR 0.0001  jcamp [0.1, 0.2, 0.3, 0.4]  pyspectrakit [1000, 2000, 3000, 4000]
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check pyspectrakit==1.9.6 jcamp==1.3.2 numpy==2.4.6
venv/bin/python - <<'PY'
import jcamp
import numpy as np
from spectrakit.io import read_jcamp

HEAD = '''##TITLE=made
##JCAMP-DX=4.24
##DATA TYPE=INFRARED SPECTRUM
##ORIGIN=made
##OWNER=public domain
##XUNITS=1/CM
##YUNITS=ABSORBANCE
##XFACTOR=1
##FIRSTX=4000
##LASTX=3997
##DELTAX=-1
##NPOINTS=4
##FIRSTY=0.1
'''
for factor in (0.001, 0.0001):
    whole = np.round(np.array([0.1, 0.2, 0.3, 0.4]) / factor).astype(int)
    with open("spectrum.dx", "w") as file:
        file.write(HEAD + f"##YFACTOR={factor}\n##XYDATA=(X++(Y..Y))\n4000 {' '.join(map(str, whole))}\n##END=\n")
    one, other = jcamp.readfile("spectrum.dx"), read_jcamp("spectrum.dx")
    print(f"YFACTOR {factor:<7} jcamp {np.round(one['y'], 6).tolist()}  pyspectrakit {np.asarray(other.intensities).tolist()}")
    assert np.allclose(one["x"], other.wavenumbers) and np.allclose(one["y"], [0.1, 0.2, 0.3, 0.4])
    assert np.array_equal(other.intensities, whole) and float(other.metadata["YFACTOR"]) == factor
PY
