"""FedProx: clients are held near the global model while they train (Li et al. 2020)."""

from __future__ import annotations

from typing import ClassVar

from skfdrmfl.protocol.plan import ServerStep
from skfdrmfl.server.algorithms.base import Algorithm


class FedProx(Algorithm):
    """FedAvg whose clients minimise L_k(w) + proximal_weight / 2 |w - w_t|^2.

    The pull changes with every step, so that engines add it: proximal_weight (w - w_t) to each local gradient.
    """

    uses: ClassVar[frozenset[str]] = frozenset({"proximal_weight"})
    server_step: ClassVar[ServerStep | None] = ServerStep()
