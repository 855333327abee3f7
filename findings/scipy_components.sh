#!/usr/bin/env bash
# Connected components of a sparse array with 64-bit indices are numbers that mean nothing.
#
# Versions: scipy 1.11.1 with numpy 1.26.0; scipy 1.11.4 is right.
# Expectation (no guess was written down: the tests met it at the lowest versions): two pairs and a single one of five nodes are three
# components, or an error says what kind of index is asked for.
# Behaviour: `coo_array` keeps 64-bit indices, the compiled search does not take them, and its error is printed but never raised. The
# number of components and the labels are returned all the same: all nodes then seem to belong together.
# Seen:
#     64 bits: 0 components, labels [-9999 -9999 -9999 -9999 -9999]
#     32 bits: 3 components, labels [0 0 1 1 2]
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check scipy==1.11.1 numpy==1.26.0
venv/bin/python - <<'PY'
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

found = {}
for dtype, bits in ((np.int64, 64), (np.int32, 32)):
    ends = np.array([0, 2], dtype=dtype), np.array([1, 3], dtype=dtype)
    n, labels = connected_components(coo_array((np.ones(2), ends), shape=(5, 5)), directed=False)
    print(f"{bits} bits: {n} components, labels {labels}", flush=True)
    found[bits] = n, len(set(labels.tolist()))
assert found == {64: (0, 1), 32: (3, 3)}
PY
