"""Servers that take the average's step as a gradient: momentum and Adam (Hsu et al. 2019, Reddi et al. 2021)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from skfdrmfl.equations.optimizers import adam_direction
from skfdrmfl.federation.algorithms.fedavg import FedAvg
from skfdrmfl.federation.cohort import Cohort
from skfdrmfl.federation.memory import Memory
from skfdrmfl.federation.runs import Orders


class FedAvgM(FedAvg):
    """m_{t+1} = server_momentum m_t + (average - w_t), w_{t+1} = w_t + server_learning_rate m_{t+1}."""

    uses: ClassVar[frozenset[str]] = frozenset({"server_learning_rate", "server_momentum"})

    def begin(self, memory: Memory, weights: Tensor, n_replicas: int) -> Memory:
        """Return a momentum of zero."""
        return memory if memory.server else Memory({"momentum": torch.zeros_like(weights)}, memory.clients)

    def move(
        self, memory: Memory, cohort: Cohort, weights: Tensor, average: Tensor, rate_factor: float
    ) -> tuple[Tensor, Memory]:
        """Return the models moved along the momentum."""
        momentum = cohort.setting("server_momentum", weights) * memory.server["momentum"] + (average - weights)
        rate = cohort.setting("server_learning_rate", weights)
        return weights + rate * momentum, Memory({"momentum": momentum}, memory.clients)


class FedAdam(FedAvg):
    """The server takes a step of Adam along w_t - average, at server_learning_rate times the schedule's factor."""

    uses: ClassVar[frozenset[str]] = frozenset({"server_learning_rate"})
    server_learning_rate: ClassVar[float] = 0.1

    def begin(self, memory: Memory, weights: Tensor, n_replicas: int) -> Memory:
        """Return moments of zero."""
        if memory.server:
            return memory
        return Memory({name: torch.zeros_like(weights) for name in ("first", "second", "steps")}, memory.clients)

    def move(
        self, memory: Memory, cohort: Cohort, weights: Tensor, average: Tensor, rate_factor: float
    ) -> tuple[Tensor, Memory]:
        """Return the models after a step of Adam."""
        return self._step(memory, cohort, weights, weights - average, rate_factor)

    def _step(
        self, memory: Memory, cohort: Cohort, weights: Tensor, gradient: Tensor, rate_factor: float
    ) -> tuple[Tensor, Memory]:
        # Steps are counted parameter by parameter, so that they are padded and stacked as all else is.
        steps = memory.server["steps"] + 1.0
        direction, first, second = adam_direction(gradient, memory.server["first"], memory.server["second"], steps)
        rate = rate_factor * cohort.setting("server_learning_rate", weights)
        return weights - rate * direction, Memory({"first": first, "second": second, "steps": steps}, memory.clients)


class FedSGD(FedAdam):
    """Clients send the gradient over all of their rows at w_t, the server takes a step of Adam along the average.

    No client drifts, as none steps: whoever holds which row, the gradient is that of the pooled rows. The step's
    decay is decoupled and the server's. FedSGD is of McMahan et al. (2017), its server's Adam of Reddi et al. (2021).
    """

    orders: ClassVar[Orders] = Orders(trains=False)
    server_learning_rate: ClassVar[float] = 0.02

    def move(
        self, memory: Memory, cohort: Cohort, weights: Tensor, average: Tensor, rate_factor: float
    ) -> tuple[Tensor, Memory]:
        """Return the models after a step of Adam with decay; `average` is the gradient."""
        rate = rate_factor * cohort.setting("server_learning_rate", weights)
        decayed = weights * (1.0 - rate * cohort.setting("weight_decay", weights))
        return self._step(memory, cohort, decayed, average, rate_factor)
