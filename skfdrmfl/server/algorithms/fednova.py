"""FedNova: clients that take unequal numbers of local steps count by direction, not by distance (Wang et al. 2020)."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.protocol.algorithm_state import AlgorithmState
from skfdrmfl.protocol.messages import Update
from skfdrmfl.protocol.plan import ClientTask
from skfdrmfl.protocol.replicas import Members
from skfdrmfl.server.aggregation.aggregates import by_group
from skfdrmfl.server.algorithms.base import Algorithm, ArrayAndState, Round


class FedNova(Algorithm):
    """w_{t+1} = w_t + tau_eff sum_k p_k (w_k - w_t) / tau_k, tau_eff = sum_k p_k tau_k.

    tau_k are the local steps of client k, p_k its share of the rows of those who answer; where rows lack modalities, of
    the rows that count for a parameter. With FedAvg a client with more batches pulls harder than its rows say, and the
    minimum that is reached is that of another objective. The number of steps is the client's claim, and scales the step
    of all: robust rules do not protect it.

    References
    ----------
    J. Wang, Q. Liu, H. Liang, G. Joshi and H. V. Poor, "Tackling the objective inconsistency problem in heterogeneous
    federated optimization", NeurIPS 2020 (a_k = 1: the normalised average of steps of equal weight).
    """

    client_task: ClassVar[ClientTask] = ClientTask(also_sends_steps=True)
    averages_directions: ClassVar[bool] = True

    def read(self, state: AlgorithmState, update: Update, model: NDArray, members: Members) -> ArrayAndState:
        """Return (w_k - w_t) / tau_k."""
        assert update.steps is not None
        return (update.weights - model) / update.steps[:, None].astype(model.dtype), state

    def step(self, state: AlgorithmState, model: NDArray, average: NDArray, round_: Round) -> ArrayAndState:
        """Return w_t plus tau_eff times the average direction."""
        members = round_.members
        rows = np.where(round_.answered[:, None], by_group(members.counts), 0)
        tau = round_.steps @ rows / np.maximum(rows.sum(0), 1)
        of_parameters = tau if members.group_of is None else tau[members.group_of]
        return model + of_parameters.astype(model.dtype) * average, state
