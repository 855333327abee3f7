"""The prediction error: mean squared error over outputs."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import mse_loss


def squared_error(y_hat: Tensor, y: Tensor) -> Tensor:
    """Return the squared error of each row, mean over outputs.

    Parameters
    ----------
    y_hat, y : Tensor of shape (..., B, q)

    Returns
    -------
    Tensor of shape (..., B)
    """
    return mse_loss(y_hat, y, reduction="none").sum(-1) / y.shape[-1]
