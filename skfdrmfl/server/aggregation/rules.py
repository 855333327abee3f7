"""Rules by which updates become one: each from updates (K, D) and the number of those that may be dishonest."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.common.arrays import Float

# Steps of the geometric median at most, and of centered clipping.
MAX_STEPS, N_STEPS = 100, 10
# Of the median distance: how much of it counts as the same point, and a step shorter than which ends the search.
SMALLEST_DISTANCE, SMALLEST_STEP = 1e-6, 1e-12


def unweighted(points: NDArray, n_byzantine: int = 0) -> NDArray:
    """Return the mean of updates (K, D), one vote each: what follows where updates are mixed before."""
    return points.mean(0, dtype=np.float64).astype(points.dtype)


def median(points: NDArray, n_byzantine: int = 0) -> NDArray:
    """Return the median of each coordinate, the mean of the middle two where clients are even (Yin et al. 2018).

    med_j = argmin_v sum_k |w_kj - v| of updates (K, D). It needs no guess at the dishonest, `n_byzantine`: fewer than
    half of the clients, whatever they send, leave each coordinate within the range of the honest ones.
    """
    ordered = np.sort(points, axis=0)
    return 0.5 * ordered[(len(points) - 1) // 2] + 0.5 * ordered[len(points) // 2]


def middle(points: NDArray) -> tuple[Float, Float, float]:
    """Return where rules that search begin: the updates in float64, their median, and their median distance to it."""
    exact: Float = points.astype(np.float64)
    centre = median(exact)
    distances = np.sort(np.linalg.norm(exact - centre, axis=1))
    return exact, centre, float(distances[(len(points) - 1) // 2])


def trimmed_mean(points: NDArray, n_byzantine: int = 0) -> NDArray:
    """Return the mean of each coordinate of updates (K, D) without its f largest and smallest (Yin et al. 2018).

    With w_(1)j <= .. <= w_(K)j and f = `n_byzantine` < K / 2: sum of w_(k)j over f < k <= K - f, divided by K - 2 f.
    Without dishonest clients, f = 0, it is the mean.
    """
    kept = np.sort(points, axis=0)[n_byzantine : len(points) - n_byzantine]
    return kept.mean(0, dtype=np.float64).astype(points.dtype)


def geometric_median(points: NDArray, n_byzantine: int = 0) -> NDArray:
    """Return argmin_v sum_k |w_k - v| of updates (K, D) by smoothed Weiszfeld steps (Pillutla et al. 2022).

    v <- sum_k b_k w_k / sum_k b_k (Weiszfeld 1937), b_k = 1 / max(|w_k - v|, nu), from the coordinate-wise median on,
    nu a millionth of the median distance to that. In float64. `n_byzantine` is not used.
    """
    exact, centre, unit = middle(points)
    if unit == 0:  # most are one point, which is the minimum
        return centre.astype(points.dtype)
    for _ in range(MAX_STEPS):
        pull = 1.0 / np.maximum(np.linalg.norm(exact - centre, axis=1), SMALLEST_DISTANCE * unit)
        step = (pull / pull.sum()) @ (exact - centre)
        centre = centre + step
        if np.linalg.norm(step) <= SMALLEST_STEP * unit:
            break
    return centre.astype(points.dtype)


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


RULES = {
    "centered_clipping": centered_clipping,
    "geometric_median": geometric_median,
    # It stands for FedAvg's, which weighs clients by rows and adds updates as they come, unless they are mixed first.
    "mean": unweighted,
    "median": median,
    "trimmed_mean": trimmed_mean,
}
