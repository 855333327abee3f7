"""The information term R_mi: objective and bound of a critic T(z, y)."""

from __future__ import annotations

from skfdrmfl.common.late_torch import Tensor, torch


def jensen_shannon(t_joint: Tensor, t_marginal: Tensor) -> Tensor:
    """Return the sigmoid (Jensen-Shannon) objective J of a critic (eq. 6): log s(T_joint) + log(1 - s(T_marginal)).

    R_mi is minus its mean, which is maximal at T = log p(z, y) / (p(z) p(y)), where J = 2 JSD - 2 ln 2. J is not itself
    a tight bound of I(Z; y); see `nwj`.

    Parameters
    ----------
    t_joint, t_marginal : Tensor of shape (..., B)
        Critic on pairs (z_i, y_i) and on pairs (z_i, y_{i+1}), y shifted cyclically inside the batch.

    Returns
    -------
    Tensor of shape (..., B), in nats; at most 0.
    """
    # Bits: see docs/maintainers.md, "side by side".
    side_by_side = torch.nn.functional.logsigmoid(torch.cat((t_joint, -t_marginal), -1))
    of_joint, of_marginal = side_by_side.split(t_joint.shape[-1], -1)
    return of_joint + of_marginal


def nwj(t_joint: Tensor, t_marginal: Tensor) -> Tensor:
    """Return the Nguyen-Wainwright-Jordan value of a critic: T_joint - e^T_marginal + 1.

    Its mean is a lower bound of the information I(Z; y) = H(y) - H(y | Z) (eq. 5) for every critic, tight at the same T
    that maximises `jensen_shannon`. It is reported, not trained.

    Parameters
    ----------
    t_joint, t_marginal : Tensor of shape (..., B)

    Returns
    -------
    Tensor of shape (..., B), in nats.

    References
    ----------
    X. Nguyen, M. J. Wainwright and M. I. Jordan, 2010; B. Poole et al., 2019, whose I_NWJ this is at T + 1.
    """
    return t_joint - t_marginal.exp() + 1.0
