"""What a view is: a row-wise pre-treatment of the columns of one modality."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.common.arrays import Float, row_products

# Columns are a smooth series, such as a spectrum, if there are so many, and neighbouring ones correlate more than so in
# the median: spectra have .99 to 1, tables .04 to .6.
FEWEST_SMOOTH, SMOOTH_CORRELATION = 20, 0.9


def is_smooth(squares: Float, products: Float) -> bool:
    """Return whether columns are a smooth series, from sums as of `neighbour_correlation`."""
    return len(squares) >= FEWEST_SMOOTH and neighbour_correlation(squares, products) > SMOOTH_CORRELATION


def neighbour_correlation(squares: Float, products: Float) -> float:
    """Return the median absolute correlation of neighbouring columns that vary, 0 of none, from sums about the mean.

    These are `squares` (p,) of the columns, and `products` (p - 1,) of neighbouring ones.
    """
    size = np.sqrt(squares[:-1] * squares[1:])
    varies = size > 0
    return float(np.median(np.abs(products[varies]) / size[varies])) if varies.any() else 0.0


@dataclass(frozen=True)
class View:
    """Columns (p,) of a row to as many others, and `n_appended` more at the end, from that row alone.

    Subclasses are frozen dataclasses that trees know (`common.tree.registered`), and have a `name`. A linear view has
    a `matrix`, from which the rest follows; another one has `apply`, `slopes` and `columns_behind` of its own. The bits
    of a row depend on no other row.
    """

    @property
    def name(self) -> str:
        """What the parameter `pretreatment` calls it."""
        raise NotImplementedError

    @property
    def is_linear(self) -> bool:
        """Whether `apply` is a product with `matrix`."""
        return True

    @property
    def n_appended(self) -> int:
        """Columns at the end of the output that are in units of their own, and are scaled apart."""
        return 0

    @property
    def least_columns(self) -> int:
        """The fewest columns that it can be taken of."""
        return 1

    def n_outputs(self, p: int) -> int:
        """Return p', columns after the view of p columns."""
        return p + self.n_appended

    def matrix(self, p: int) -> Float:
        """Return L (p', p) of a linear view: rows x become x L'."""
        raise NotImplementedError

    def apply(self, rows: Float) -> Float:
        """Return what rows (n, p) become (n, p'), both float64."""
        return row_products(rows, self.matrix(rows.shape[1]).T)

    def slopes(self, rows: Float, gradients: Float) -> Float:
        """Return derivatives (n, ..., p) by the columns of rows (n, p), given those (n, ..., p') by the outputs."""
        return gradients @ self.matrix(rows.shape[1])

    def columns_behind(self, outputs: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return the mask of the columns (p,) that the masked outputs (p',) depend on."""
        return np.any(self.matrix(len(outputs) - self.n_appended)[outputs] != 0, axis=0)
