"""SCAFFOLD: control variates that take out of each client's gradients what is its own (Karimireddy et al. 2020)."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.protocol.algorithm_state import AlgorithmState
from skfdrmfl.protocol.messages import Update
from skfdrmfl.protocol.plan import ClientTask, ServerStep
from skfdrmfl.protocol.replicas import Members
from skfdrmfl.server.aggregation.aggregates import Average
from skfdrmfl.server.algorithms.base import Algorithm, ArrayAndState


class Scaffold(Algorithm):
    """Clients follow g_k - c_k + c: c_k is the mean gradient of client k's last round, c the mean of all c_k by rows.

    The paper's option II reads c_k off the step, which holds for plain gradient steps alone; of Adam's the mean of the
    gradients is the same thing. A client that has not taken part yet has c_k = 0. One client's gradient is in c, which
    all follow: robust rules, which see parameters alone, do not protect it.
    """

    client_task: ClassVar[ClientTask] = ClientTask(also_sends_mean_gradient=True)
    server_step: ClassVar[ServerStep | None] = ServerStep(controls=True)

    def start(self, state: AlgorithmState, model: NDArray, n_clients: int) -> AlgorithmState:
        """Return control variates of zero."""
        if state.clients:
            return state
        return AlgorithmState(state.server, {"control": np.zeros((n_clients, len(model)), model.dtype)})

    def shift(self, state: AlgorithmState, members: Members) -> NDArray:
        """Return c - c_k."""
        control = state.clients["control"]
        mean = Average(np.zeros_like(control[0]), members.counts, members.group_of)
        mean.add(members.counts, control)
        return mean.result() - control

    def read(self, state: AlgorithmState, update: Update, model: NDArray, members: Members) -> ArrayAndState:
        """Return the parameters, and new control variates of those who have answered."""
        assert update.gradients is not None
        control = state.clients["control"].copy()
        control[update.replicas] = update.gradients
        return update.weights, AlgorithmState(state.server, {"control": control})
