"""The prediction error: mean squared error over outputs, and its gradient."""

from __future__ import annotations

from torch import Tensor


def squared_error(y_hat: Tensor, y: Tensor) -> Tensor:
    """Return the squared error of each row, mean over outputs.

    Parameters
    ----------
    y_hat, y : Tensor of shape (..., B, q)

    Returns
    -------
    Tensor of shape (..., B)
    """
    return (y_hat - y).square().sum(-1) / y.shape[-1]


def squared_error_gradient(y_hat: Tensor, y: Tensor) -> Tensor:
    """Return the derivative of `squared_error` with respect to `y_hat`."""
    return (y_hat - y) * (2.0 / y.shape[-1])
