"""Adam with decoupled weight decay (Kingma and Ba 2015; Loshchilov and Hutter 2019), started afresh each round.

`torch.optim` is not used: its objects import the compiler (about a second) and know one parameter at a time.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8


@dataclass(frozen=True)
class Moments:
    """First and second moments of the gradient, shaped like the parameters, and the number of steps taken."""

    first: Tensor
    second: Tensor
    step: Tensor

    @classmethod
    def fresh(cls, like: Tensor) -> Moments:
        """Zero moments for parameters shaped like `like`."""
        return cls(
            torch.zeros_like(like),
            torch.zeros_like(like),
            torch.zeros((), dtype=torch.float32, device=like.device),
        )


def adam_step_(w: Tensor, gradient: Tensor, moments: Moments, learning_rate: float, decay: float) -> None:
    """One step in plain tensor operations, in place; the meaning of `fused_adam_step_`."""
    moments.step.add_(1.0)
    t = float(moments.step)
    w.mul_(1.0 - learning_rate * decay)
    moments.first.lerp_(gradient, 1.0 - BETA_1)
    moments.second.mul_(BETA_2).addcmul_(gradient, gradient, value=1.0 - BETA_2)
    root = (moments.second / (1.0 - BETA_2**t)).sqrt_().add_(EPSILON)
    w.addcdiv_(moments.first, root, value=-learning_rate / (1.0 - BETA_1**t))


def fused_adam_step_(
    w: Tensor, gradient: Tensor, moments: Moments, learning_rate: float, decay: float
) -> None:
    """The same step in one pass over memory."""
    moments.step.add_(1.0)
    torch._fused_adamw_(
        [w],
        [gradient],
        [moments.first],
        [moments.second],
        [],
        [moments.step],
        lr=learning_rate,
        beta1=BETA_1,
        beta2=BETA_2,
        weight_decay=decay,
        eps=EPSILON,
        amsgrad=False,
        maximize=False,
    )


# The fused kernel is an operator without a public Python name; should a later torch drop it, nothing breaks.
step_ = fused_adam_step_ if hasattr(torch, "_fused_adamw_") else adam_step_
