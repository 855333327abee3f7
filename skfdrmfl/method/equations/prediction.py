"""The prediction error: mean squared error over outputs."""

from __future__ import annotations

from skfdrmfl.common.late_torch import Tensor, torch


def squared_error(y_hat: Tensor, y: Tensor) -> Tensor:
    """Return the squared error of each row, mean over outputs.

    Parameters
    ----------
    y_hat, y : Tensor of shape (..., B, q)

    Returns
    -------
    Tensor of shape (..., B)
    """
    return torch.nn.functional.mse_loss(y_hat, y, reduction="none").sum(-1) / y.shape[-1]
