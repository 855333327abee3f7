"""FedAvg: the average is the next global model, and nothing is kept (McMahan et al. 2017)."""

from __future__ import annotations

from typing import ClassVar

from skfdrmfl.protocol.plan import ServerStep
from skfdrmfl.server.algorithms.base import Algorithm


class FedAvg(Algorithm):
    """w_{t+1} = sum over participants of |D_k| w_k / sum of |D_k|."""

    server_step: ClassVar[ServerStep | None] = ServerStep()
