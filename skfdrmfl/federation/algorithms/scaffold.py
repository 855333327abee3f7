"""SCAFFOLD: control variates that take out of each client's gradients what is its own (Karimireddy et al. 2020)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from skfdrmfl.federation.aggregation.mean import Average
from skfdrmfl.federation.algorithms.fedavg import FedAvg
from skfdrmfl.federation.cohort import Cohort
from skfdrmfl.federation.memory import Memory
from skfdrmfl.federation.messages import Broadcast, Update
from skfdrmfl.federation.runs import Orders


class Scaffold(FedAvg):
    """Clients follow g_k - c_k + c: c_k is the mean gradient of client k's last round, c the mean of all c_k by rows.

    The paper's option II reads c_k off the step, which holds for plain gradient steps alone; of Adam's the mean of the
    gradients is the same thing. Who has not taken part yet has c_k = 0.
    """

    orders: ClassVar[Orders] = Orders(gradients=True)

    def begin(self, memory: Memory, weights: Tensor, n_replicas: int) -> Memory:
        """Return control variates of zero."""
        if memory.clients:
            return memory
        return Memory(memory.server, {"control": weights.new_zeros(n_replicas, weights.shape[1])})

    def shift(self, memory: Memory, cohort: Cohort) -> Tensor | None:
        """Return c - c_k."""
        control = memory.clients["control"]
        nothing = control.new_zeros(cohort.n_runs, control.shape[1])
        mean = Average(nothing, cohort.runs, cohort.counts, cohort.group_of)
        mean.add(cohort.runs, cohort.counts, control)
        return mean.result()[torch.as_tensor(cohort.runs, device=control.device)] - control

    def remember(self, memory: Memory, update: Update, broadcast: Broadcast, cohort: Cohort) -> Memory:
        """Return the memory with new control variates of those who have answered."""
        assert update.gradients is not None
        control = memory.clients["control"].clone()
        control[torch.as_tensor(update.replicas, device=control.device)] = update.gradients
        return Memory(memory.server, {"control": control})
