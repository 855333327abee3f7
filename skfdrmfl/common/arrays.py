"""Array types that every floor speaks of."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Indices = NDArray[np.int64]
U64 = NDArray[np.uint64]
# Which modalities each row has, (n, M).
Present = NDArray[np.bool_]
# Named parameters of one network, without a replica axis.
Arrays = dict[str, Float]
