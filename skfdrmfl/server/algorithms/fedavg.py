"""FedAvg and FedProx: the average is the next global model, and nothing is kept (McMahan et al. 2017)."""

from __future__ import annotations

from typing import ClassVar

from skfdrmfl.protocol.plan import ServerStep
from skfdrmfl.server.algorithms.base import Algorithm


class FedAvg(Algorithm):
    """w_{t+1} = sum over participants of |D_k| w_k / sum of |D_k|."""

    server_step: ClassVar[ServerStep | None] = ServerStep()


class FedProx(Algorithm):
    """FedAvg whose clients minimise L_k(w) + proximal_weight / 2 |w - w_t|^2 (Li et al. 2020).

    The pull changes with every step, so that engines add it: proximal_weight (w - w_t) to each local gradient.
    """

    uses: ClassVar[frozenset[str]] = frozenset({"proximal_weight"})
    server_step: ClassVar[ServerStep | None] = ServerStep()
