"""Standard normal variate: each spectrum centred and scaled by itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.common.arrays import Float
from skfdrmfl.common.tree import registered
from skfdrmfl.views.base import View

# A row that deviates less from its mean than this share of its largest value is constant but for rounding ...
ROUNDING = 64 * np.finfo(np.float64).eps
# ... and so is one that deviates less than this: its inverse would overflow.
SMALLEST = 1e-300


@registered
@dataclass(frozen=True)
class SNV(View):
    """z_j = (x_j - m) / s, with m the mean of the row and s its standard deviation; m and log s are appended.

    What z loses, how strongly a sample absorbs, stays in the two appended columns. Of a constant row s is taken to be
    one, as scalers take it: z and log s are 0, and so are their derivatives.

    References
    ----------
    R. J. Barnes, M. S. Dhanoa, S. J. Lister, "Standard normal variate transformation and de-trending of near-infrared
    diffuse reflectance spectra", Applied Spectroscopy 43, 1989.
    """

    name = "snv"
    is_linear = False
    n_appended = 2
    least_columns = 3  # of two nothing but signs would be left

    def apply(self, rows: Float) -> Float:
        """See `View.apply`."""
        z, mean, deviation = _standardised(rows)
        return np.concatenate((z, mean, np.log(np.where(deviation > 0, deviation, 1.0))), axis=1)

    def slopes(self, rows: Float, gradients: Float) -> Float:
        """See `View.slopes`.

        d z_i / d x_j = ([i = j] - (1 + z_i z_j) / p) / s, d m / d x_j = 1 / p, d log s / d x_j = z_j / (p s).
        """
        z, _, deviation = _standardised(rows)
        n, p = rows.shape
        per_deviation = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=deviation > 0)
        places = (n, *(1,) * (gradients.ndim - 2), -1)
        z, per_deviation = z.reshape(places), per_deviation.reshape(places)
        by_z, by_mean, by_log = gradients[..., :p], gradients[..., p : p + 1], gradients[..., p + 1 :]
        along = by_z - by_z.mean(-1, keepdims=True) - z * ((by_z * z).mean(-1, keepdims=True) - by_log / p)
        return along * per_deviation + by_mean / p

    def columns_behind(self, outputs: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """See `View.columns_behind`: every output depends on all columns."""
        return np.full(len(outputs) - self.n_appended, outputs.any())


def _standardised(rows: Float) -> tuple[Float, Float, Float]:
    """Return z (n, p), m (n, 1) and s (n, 1) of rows (n, p); s is 0 of a constant row."""
    rows = np.ascontiguousarray(rows)  # the order of a sum follows the layout
    with np.errstate(over="ignore", invalid="ignore"):  # rows that are too large are found by their sums
        mean = rows.mean(1, keepdims=True)
        z = rows - mean
        largest = np.abs(z).max(1, keepdims=True, initial=0.0)
        size = np.abs(rows).max(1, keepdims=True, initial=0.0)
        varies = (largest > ROUNDING * size) & (largest > SMALLEST)
        z /= np.where(varies, largest, np.inf)  # squares neither overflow nor underflow
        length = np.sqrt((z * z).mean(1, keepdims=True))
        z /= np.where(varies, length, 1.0)
        return z, mean, np.where(varies, largest * length, 0.0)
