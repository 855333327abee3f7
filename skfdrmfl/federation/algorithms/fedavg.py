"""FedAvg: the average is the next global model, and nothing is remembered (McMahan et al. 2017)."""

from __future__ import annotations

from torch import Tensor

from skfdrmfl.federation.algorithms.base import Memory
from skfdrmfl.federation.messages import Broadcast, Update


class FedAvg:
    """w_{t+1} = sum over participants of |D_k| w_k / sum of |D_k|."""

    def begin(self, memory: Memory, weights: Tensor, n_replicas: int) -> Memory:
        """Return the memory as it is: empty."""
        return memory

    def shift(self, memory: Memory, runs: Tensor) -> Tensor | None:
        """Return None: local gradients are followed as they are."""
        return None

    def remember(self, memory: Memory, update: Update, broadcast: Broadcast, runs: Tensor) -> Memory:
        """Return the memory as it is."""
        return memory

    def move(self, memory: Memory, weights: Tensor, average: Tensor, rate_factor: float) -> tuple[Tensor, Memory]:
        """Return the average."""
        return average, memory
