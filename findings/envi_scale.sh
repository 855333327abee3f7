#!/usr/bin/env bash
# Reflectances of an ENVI cube are divided once more each time that they are saved with their header.
#
# Version: spectral 0.25.
# Expectation (guess 80, 55 %): a cube that is loaded, and saved with the metadata of its file (else its wavelengths are lost), holds the
# same reflectances when it is loaded again.
# Behaviour: `load()` divides by the header's "reflectance scale factor"; `save_image` writes the quotients beside the same factor. Each
# round divides by 10,000 again, with no warning. Saved without the metadata, values hold and wavelengths go.
# Seen:
#     loaded        0.4045 0.1985
#     second round  4.045e-05 1.985e-05
#     third round   4.045e-09 1.985e-09
#     no metadata   0.4045 0.1985, wavelengths None
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check spectral==0.25 numpy==2.4.6
venv/bin/python - <<'PY'
import numpy as np
import spectral.io.envi as envi

counts = np.array([[[4045, 1985], [907, 5803]]], dtype=np.int16)
metadata = {"reflectance scale factor": 10000, "wavelength": [900.0, 1000.0], "wavelength units": "Nanometers"}
envi.save_image("first.hdr", counts, metadata=metadata)
first = envi.open("first.hdr")
loaded = np.asarray(first.load())
print("loaded       ", *(f"{v:.4g}" for v in loaded[0, 0]))
assert np.allclose(loaded, counts / 10000, rtol=1e-6)
image, cube = first, loaded
for power, name in ((8, "second"), (12, "third")):
    envi.save_image(f"{name}.hdr", cube, metadata=image.metadata)
    image = envi.open(f"{name}.hdr")
    cube = np.asarray(image.load())
    print(f"{name + ' round':13}", *(f"{v:.4g}" for v in cube[0, 0]))
    assert image.bands.centers == [900.0, 1000.0]
    assert np.allclose(cube, counts / 10.0**power, rtol=1e-5)
envi.save_image("bare.hdr", loaded)
bare = envi.open("bare.hdr")
print("no metadata  ", *(f"{v:.4g}" for v in np.asarray(bare.load())[0, 0]), end=f", wavelengths {bare.bands.centers}\n")
assert np.allclose(bare.load(), loaded) and bare.bands.centers is None
PY
