"""The federated contrast R_fcl: InfoNCE against earlier global models."""

from __future__ import annotations

from skfdrmfl.common.late_torch import Tensor, torch

# Vectors are divided by no less than this, as in torch's own cosine similarity: so zero stays zero.
SHORTEST = 1e-8
# A row whose Z is no longer than this is not turned: the slope of a cosine grows as 1 / |z| without a limit at zero, so
# that one row could outweigh all others. So bounded, it adds 2 / (temperature * 1e-4) to the gradient at most, which
# the default weight of the term and the mean over a batch bring to the order of the squared error's. Z is about one
# long, and hardly a row in a million comes that close to zero.
SHORTEST_TURNED = 1e-4


def unit(z: Tensor) -> Tensor:
    """Return `z` (..., c) scaled to length one; shorter than `SHORTEST` it stays shorter, and zero stays zero."""
    return z / _length(z)


def info_nce(z: Tensor, references: Tensor, temperature: Tensor | float) -> Tensor:
    """Return InfoNCE of each row against the same row under earlier global models (eq. 12).

    It is -log( exp(s_0 / tau) / sum_h exp(s_h / tau) ), s_h the cosine similarity of z and reference h. The
    denominator includes the positive, so n negatives as close as the positive give log(1 + n).

    Parameters
    ----------
    z : Tensor of shape (..., B, c)
        Anchors: Z under the local model.
    references : Tensor of shape (..., B, 1 + H, c)
        Unit vectors (`unit`): the positive, Z of the same row under the model broadcast this round, then the
        negatives, Z of the same row under earlier global models.
    temperature : float or Tensor broadcast against (..., B, 1 + H)
        tau.

    Returns
    -------
    Tensor of shape (..., B), in nats; zero without negatives. With c = 1 every cosine is +1 or -1 and the
    gradient is zero. It is zero too for rows of z no longer than `SHORTEST_TURNED`, whose direction means nothing.
    """
    if z.requires_grad:
        z = torch.where(_length(z.detach()) <= SHORTEST_TURNED, z.detach(), z)
    # Not a matrix product: such small ones are slow.
    similarity = (references * unit(z).unsqueeze(-2)).sum(-1) / temperature
    # Not `logsumexp`, which takes twice as long. Bits: see docs/maintainers.md, "even columns".
    shifted = similarity - similarity.detach().amax(-1, keepdim=True)
    even = torch.nn.functional.pad(shifted, (0, 1), value=-torch.inf) if shifted.shape[-1] % 2 else shifted
    return even.exp().sum(-1).log() - shifted[..., 0]


def _length(z: Tensor) -> Tensor:
    """Return the lengths (..., 1) of the rows of `z` (..., c), at least `SHORTEST`."""
    # Bits: see docs/maintainers.md, "norm".
    return z.square().sum(-1, keepdim=True).clamp_min(SHORTEST**2).sqrt()
