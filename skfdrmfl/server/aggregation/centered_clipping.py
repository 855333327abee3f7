"""The mean of updates that are clipped to a ball about a centre, which moves to it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.server.aggregation.median import middle

N_STEPS = 10


def centered_clipping(points: NDArray, n_byzantine: int = 0) -> NDArray:
    """Return the centre v after ten steps v <- v + mean_k (w_k - v) min(1, tau / |w_k - v|) (Karimireddy et al. 2021).

    Their radius tau is the user's; here it is the median distance of the updates (K, D) to where v starts, their
    coordinate-wise median, so that half of them are clipped at first and the rule follows the scale of the updates from
    round to round. In float64. `n_byzantine` is not used.
    """
    exact, centre, radius = middle(points)
    for _ in range(N_STEPS):
        away = exact - centre
        lengths = np.linalg.norm(away, axis=1)
        share = np.divide(radius, lengths, out=np.ones_like(lengths), where=lengths > radius)
        centre = centre + share @ away / len(points)
    return centre.astype(points.dtype)


RULES = {"centered_clipping": centered_clipping}
