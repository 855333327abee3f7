"""Derivatives along the columns, smoothed by polynomials."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import perm

import numpy as np

from skfdrmfl.common.arrays import Float
from skfdrmfl.common.tree import registered
from skfdrmfl.views.base import View

# The fewest columns of a window of the first derivative; of wide rows it has one column in so many.
LEAST_WINDOW, ONE_IN = 5, 40


@registered
@dataclass(frozen=True)
class SavitzkyGolay(View):
    """The first or second `derivative`, by column, of a polynomial fitted to a window about each column.

    The first has a window of w columns, the odd number next to p / 40 or 5, and polynomials of order 2; the second a
    window of 2 w + 1 columns and order 3. At the ends the polynomial of the outermost window is used.

    References
    ----------
    A. Savitzky, M. J. E. Golay, "Smoothing and differentiation of data by simplified least squares procedures",
    Analytical Chemistry 36, 1964.
    """

    derivative: int

    @property
    def name(self) -> str:
        """See `View`."""
        return f"sg{self.derivative}"

    @property
    def least_columns(self) -> int:
        """See `View`: the narrowest window."""
        return self.window(0)

    def window(self, p: int) -> int:
        """Return the number of columns in a window over p of them."""
        first = max(LEAST_WINDOW, 2 * (p // (2 * ONE_IN)) + 1)
        return first if self.derivative == 1 else 2 * first + 1

    def matrix(self, p: int) -> Float:
        """See `View.matrix`; ValueError of fewer columns than the window has."""
        if p < self.window(p):
            raise ValueError(
                f"{self.name} takes windows of {self.window(p)} columns, but there are {p}; leave such columns as they "
                "are."
            )
        return _matrix(self.derivative, self.window(p), p)


@cache
def _matrix(derivative: int, window: int, p: int) -> Float:
    """Return the matrix (p, p) of a derivative, which is read-only: it is kept."""
    half, exponents = window // 2, np.arange(derivative + 2)
    places = np.arange(-half, half + 1)[:, None] / half
    factors = np.array([perm(e, derivative) for e in exponents.tolist()]) / half**derivative
    of_polynomial = factors * places ** np.maximum(exponents - derivative, 0)  # at each place of a window
    weights = of_polynomial @ np.linalg.pinv(places**exponents)  # (window, window), of the values there
    matrix = np.zeros((p, p))
    for j in range(p):
        first = min(max(j - half, 0), p - window)
        matrix[j, first : first + window] = weights[j - first]
    matrix.setflags(write=False)
    return matrix
