"""Adam with decoupled weight decay (Kingma and Ba 2015; Loshchilov and Hutter 2019), started afresh each round.

`torch.optim` is not used: its objects import the compiler (about a second) and know one parameter at a time.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8

Tensors = Sequence[Tensor]


def adam_step_(
    weights: Tensors,
    gradients: Tensors,
    first: Tensors,
    second: Tensors,
    step: Tensor,
    learning_rate: float,
    decay: float,
) -> None:
    """One step, in place, in plain tensor operations.

    Parameters
    ----------
    weights, gradients, first, second : sequences of Tensor of equal shapes
        Parameters, their gradients, and the moments of the gradients, which start at zero.
    step : Tensor of shape ()
        Steps taken before, float32.
    learning_rate, decay : float
        The weights are first multiplied by 1 - learning_rate * decay.
    """
    step.add_(1.0)
    t = float(step)
    for w, g, m, v in zip(weights, gradients, first, second, strict=True):
        w.mul_(1.0 - learning_rate * decay)
        m.lerp_(g, 1.0 - BETA_1)
        v.mul_(BETA_2).addcmul_(g, g, value=1.0 - BETA_2)
        root = (v / (1.0 - BETA_2**t)).sqrt_().add_(EPSILON)
        w.addcdiv_(m, root, value=-learning_rate / (1.0 - BETA_1**t))


def fused_adam_step_(
    weights: Tensors,
    gradients: Tensors,
    first: Tensors,
    second: Tensors,
    step: Tensor,
    learning_rate: float,
    decay: float,
) -> None:
    """`adam_step_` in one pass over memory."""
    step.add_(1.0)
    torch._fused_adamw_(
        weights,
        gradients,
        first,
        second,
        [],
        [step] * len(weights),
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
