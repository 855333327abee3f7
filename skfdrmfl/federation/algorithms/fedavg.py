"""FedAvg: the average is the next global model, and nothing is remembered (McMahan et al. 2017)."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from skfdrmfl.federation.cohort import Cohort
from skfdrmfl.federation.memory import Memory
from skfdrmfl.federation.messages import Broadcast, Update
from skfdrmfl.federation.runs import Orders


class FedAvg:
    """w_{t+1} = sum over participants of |D_k| w_k / sum of |D_k|. The other algorithms say where they differ."""

    orders: ClassVar[Orders] = Orders()
    uses: ClassVar[frozenset[str]] = frozenset()
    server_learning_rate: ClassVar[float] = 1.0

    @property
    def only_averages(self) -> bool:
        """Whether no method here has been given another meaning."""
        mine = type(self)
        return (mine.shift, mine.remember, mine.move) == (FedAvg.shift, FedAvg.remember, FedAvg.move)

    def begin(self, memory: Memory, weights: Tensor, n_replicas: int) -> Memory:
        """Return the memory as it is: empty."""
        return memory

    def shift(self, memory: Memory, cohort: Cohort) -> Tensor | None:
        """Return None: local gradients are followed as they are."""
        return None

    def remember(self, memory: Memory, update: Update, broadcast: Broadcast, cohort: Cohort) -> Memory:
        """Return the memory as it is."""
        return memory

    def move(
        self, memory: Memory, cohort: Cohort, weights: Tensor, average: Tensor, rate_factor: float
    ) -> tuple[Tensor, Memory]:
        """Return the average."""
        return average, memory
