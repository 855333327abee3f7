"""The local step: Adam with decoupled weight decay, started afresh each round, and the proximal step of an L1 penalty.

`torch.optim` is not used: its objects import the compiler (about a second) and know one parameter at a time.
"""

from __future__ import annotations

from skfdrmfl.common.late_torch import Tensor, torch

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8


def adam_step_(
    w: Tensor,
    gradient: Tensor,
    first: Tensor,
    second: Tensor,
    step: Tensor,
    learning_rate: float,
    decay: float,
) -> None:
    """Take one step of Adam in place, in one pass over memory.

    The parameters w are first multiplied by 1 - `learning_rate` * `decay`. The moments of the gradient, `first` and
    `second`, start at zero; `step` (), float32, is the number of steps taken before, and one is added.

    References
    ----------
    D. P. Kingma and J. Ba, "Adam", 2015; I. Loshchilov and F. Hutter, "Decoupled Weight Decay Regularization", 2019.
    """
    step.add_(1.0)
    torch._fused_adamw_(
        [w],
        [gradient],
        [first],
        [second],
        [],
        [step],
        lr=learning_rate,
        beta1=BETA_1,
        beta2=BETA_2,
        weight_decay=decay,
        eps=EPSILON,
        amsgrad=False,
        maximize=False,
    )


def soft_threshold_(weights: Tensor, amount: Tensor | float) -> None:
    """Take the proximal step of an L1 penalty in place: shrink `weights` towards zero by `amount`, no further."""
    weights.copy_(weights.sign() * (weights.abs() - amount).clamp_min_(0.0))
