"""A linear model of transformed columns."""

from __future__ import annotations

from dataclasses import dataclass

from skfdrmfl.common.arrays import Float, row_products
from skfdrmfl.common.tree import registered


@registered
@dataclass(frozen=True)
class Linear:
    """A linear model x -> x' coefficients + intercept, with coefficients (p, q) and intercept (q,)."""

    coefficients: Float
    intercept: Float

    def predict(self, x: Float) -> Float:
        """Return outputs (n, q) for rows x (n, p)."""
        return row_products(x, self.coefficients) + self.intercept
