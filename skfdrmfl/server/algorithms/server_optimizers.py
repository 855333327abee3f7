"""Servers that take the average's step as a gradient: momentum and Adam (Hsu et al. 2019, Reddi et al. 2021)."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.method.equations.optimizers import BETA_1, BETA_2, EPSILON
from skfdrmfl.protocol.algorithm_state import AlgorithmState
from skfdrmfl.protocol.plan import ClientTask, ServerStep
from skfdrmfl.server.algorithms.base import Algorithm, ArrayAndState, Round


class FedAvgM(Algorithm):
    """m_{t+1} = server_momentum m_t + (average - w_t), w_{t+1} = w_t + server_learning_rate m_{t+1}."""

    uses: ClassVar[frozenset[str]] = frozenset({"server_learning_rate", "server_momentum"})

    def start(self, state: AlgorithmState, model: NDArray, n_clients: int) -> AlgorithmState:
        """Return a momentum of zero."""
        return state if state.server else AlgorithmState({"momentum": np.zeros_like(model)}, state.clients)

    def step(self, state: AlgorithmState, model: NDArray, average: NDArray, round_: Round) -> ArrayAndState:
        """Return the model moved along the momentum."""
        settings = round_.members.settings
        momentum = settings.server_momentum * state.server["momentum"] + (average - model)
        return model + settings.server_learning_rate * momentum, AlgorithmState({"momentum": momentum}, state.clients)


class FedAdam(Algorithm):
    """The server takes a step of Adam along w_t - average, at server_learning_rate times the schedule's factor."""

    uses: ClassVar[frozenset[str]] = frozenset({"server_learning_rate"})
    server_learning_rate: ClassVar[float] = 0.1
    server_step: ClassVar[ServerStep | None] = ServerStep(adam=True)

    def start(self, state: AlgorithmState, model: NDArray, n_clients: int) -> AlgorithmState:
        """Return moments of zero."""
        if state.server:
            return state
        moments = {name: np.zeros_like(model) for name in ("first", "second")}
        return AlgorithmState({**moments, "steps": np.zeros(())}, state.clients)

    def step(self, state: AlgorithmState, model: NDArray, average: NDArray, round_: Round) -> ArrayAndState:
        """Return the model after a step of Adam."""
        return self._moved(state, model, model - average, round_)

    def _moved(self, state: AlgorithmState, model: NDArray, gradient: NDArray, round_: Round) -> ArrayAndState:
        """Return the model after a step of Adam along a gradient, each element by itself."""
        server = state.server
        n_steps = float(np.max(server["steps"])) + 1.0  # files of before count them parameter by parameter
        first = server["first"] + (1.0 - BETA_1) * (gradient - server["first"])
        second = BETA_2 * server["second"] + (1.0 - BETA_2) * np.square(gradient)
        root = np.sqrt(second / (1.0 - BETA_2**n_steps)) + EPSILON
        rate = round_.rate_factor * round_.members.settings.server_learning_rate
        moved = model - rate * (first / (1.0 - BETA_1**n_steps) / root)
        return moved, AlgorithmState({"first": first, "second": second, "steps": np.array(n_steps)}, state.clients)


class FedSGD(FedAdam):
    """Clients send the gradient over all of their rows at w_t, the server takes a step of Adam along the average.

    No client drifts, as none steps: whoever holds which row, the gradient is that of the pooled rows. The step's
    decay is decoupled and the server's. FedSGD is of McMahan et al. (2017), its server's Adam of Reddi et al. (2021).
    """

    client_task: ClassVar[ClientTask] = ClientTask(sends_parameters=False)
    server_step: ClassVar[ServerStep | None] = ServerStep(adam=True)
    server_learning_rate: ClassVar[float] = 0.02
    averages_directions: ClassVar[bool] = True

    def step(self, state: AlgorithmState, model: NDArray, average: NDArray, round_: Round) -> ArrayAndState:
        """Return the model after a step of Adam with decay; `average` is the gradient."""
        settings = round_.members.settings
        rate = round_.rate_factor * settings.server_learning_rate
        return self._moved(state, model * (1.0 - rate * settings.weight_decay), average, round_)
