"""A step of Adam with decoupled weight decay, in plain tensor operations."""

from skfdrmfl.method.equations.optimizers import BETA_1, BETA_2, EPSILON


def plain_adam_step_(w, gradient, first, second, step, learning_rate, decay):
    """Take the step of `optimizers.adam_step_` in place."""
    step.add_(1.0)
    t = float(step)
    w.mul_(1.0 - learning_rate * decay)
    first.lerp_(gradient, 1.0 - BETA_1)
    second.mul_(BETA_2).addcmul_(gradient, gradient, value=1.0 - BETA_2)
    root = (second / (1.0 - BETA_2**t)).sqrt_().add_(EPSILON)
    w.addcdiv_(first, root, value=-learning_rate / (1.0 - BETA_1**t))
