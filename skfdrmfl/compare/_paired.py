"""How much larger one method's error is than another's on the same rows, with an interval."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.common.arrays import Float

N_DRAWS = 2000
LEVEL = 0.95


class Ratio(NamedTuple):
    """A ratio of two RMSEs, and the ends of its interval."""

    value: float
    low: float
    high: float


NO_RATIO = Ratio(float("nan"), float("nan"), float("nan"))


def rmse_ratio(squared: Float, reference: Float, groups: NDArray[np.intp], seed: int = 0) -> Ratio:
    """Return sqrt(sum `squared` / sum `reference`), with a paired bootstrap interval over groups of rows.

    Rows are drawn with replacement, whole groups at a time, and with each its error under both methods: what makes a
    row hard for both cancels. The models stay as they are, so that the interval says nothing of other training rows.

    The errors (n,) are NaN for a row that one method has not predicted; the ratio is NaN where the reference has none.
    """
    both = np.isfinite(squared) & np.isfinite(reference)
    _, place = np.unique(groups[both], return_inverse=True)
    n_groups = int(place.max()) + 1 if len(place) else 0
    if n_groups == 0 or not reference[both].sum() > 0:
        return NO_RATIO
    sums = np.stack([np.bincount(place, values[both], n_groups) for values in (squared, reference)])  # (2, groups)
    value = float(np.sqrt(sums[0].sum() / sums[1].sum()))
    if n_groups == 1:
        return Ratio(value, float("nan"), float("nan"))
    draws = np.random.default_rng(seed).multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=N_DRAWS)
    of_draws = draws @ sums.T  # (draws, 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.sqrt(of_draws[:, 0] / of_draws[:, 1])
    low, high = np.nanpercentile(ratios, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    return Ratio(value, float(low), float(high))
