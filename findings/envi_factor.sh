#!/usr/bin/env bash
# Two readers of one ENVI cube differ by its reflectance scale factor.
#
# Versions: spectral 0.25; nirs4all-formats 0.1.0 and 0.2.11.
# Expectation (guess 77, 50 %): a "reflectance scale factor" of 10000 in the header divides the stored whole numbers.
# Behaviour: spectral divides, nirs4all-formats does not, and keeps the factor nowhere: neither among its metadata nor as a warning.
# A model of the one's reflectances is off by 10,000 on the other's. (Within spectral, `open_memmap` does not divide either.)
# Seen:
#     spectral          [0.4045, 0.1985]
#     nirs4all-formats  [4045.0, 1985.0], factor in its metadata: False
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check spectral==0.25 numpy==2.4.6
for version in 0.1.0 0.2.11; do
  venv/bin/python -m pip install --quiet --disable-pip-version-check "nirs4all-formats==$version"
  echo "nirs4all-formats $version"
  venv/bin/python - <<'PY'
import nirs4all_formats
import numpy as np
import spectral.io.envi as envi

counts = np.array([[[4045, 1985], [907, 5803]]], dtype=np.int16)
metadata = {"reflectance scale factor": 10000, "wavelength": [900.0, 1000.0], "wavelength units": "Nanometers"}
envi.save_image("cube.hdr", counts, metadata=metadata, force=True)
one = np.asarray(envi.open("cube.hdr").load())[0, 0]
records = nirs4all_formats.open_recordset("cube.hdr")
other, record = records.to_numpy()[0][0], records.records[0]
kept = "scale" in str(record.metadata) or bool(record.provenance.warnings)
print("spectral         ", np.round(one, 6).tolist())
print("nirs4all-formats ", other.tolist(), "factor in its metadata:", kept)
assert np.allclose(one, [0.4045, 0.1985]) and np.array_equal(other, [4045, 1985]) and not kept
PY
done
