"""What a federated algorithm is: what it declares, and four pure functions over an explicit state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from numpy.typing import NDArray

from skfdrmfl.common.arrays import Indices
from skfdrmfl.protocol.algorithm_state import AlgorithmState
from skfdrmfl.protocol.messages import Update
from skfdrmfl.protocol.plan import ClientTask, ServerStep
from skfdrmfl.protocol.replicas import Members

# Parameters that an algorithm may not go with, in `Algorithm.refuses`.
ROBUST_RULES, PRIVACY, INPUT_L1 = "robust rules", "privacy", "input_l1"

ArrayAndState = tuple[NDArray, AlgorithmState]


@dataclass(frozen=True)
class Round:
    """What a server's step may read of a round, beside the aggregate."""

    members: Members
    rate_factor: float  # factor of the schedule on every learning rate
    answered: NDArray  # (K,), members whose updates are in the aggregate
    steps: Indices  # (K,), local steps that each took, where `ClientTask.also_sends_steps` asks for them, else 0


class Algorithm:
    """A federated algorithm: its defaults are those of FedAvg. A subclass in a file of its own says where it differs.

    Engines know none by name: they add `shift` to gradients, and follow `client_task`. Arrays are those of one run.
    """

    client_task: ClassVar[ClientTask] = ClientTask()  # what clients do and send
    # Which of `Settings` it reads, beside those that all algorithms do; the others are of no consequence
    uses: ClassVar[frozenset[str]] = frozenset()
    server_learning_rate: ClassVar[float] = 1.0  # the default of the setting
    # What `shift`, `read` and `step` come to, where those who train can go through rounds in the server's place; None:
    # they cannot. Not inherited: a class says so itself.
    server_step: ClassVar[ServerStep | None] = None
    # Whether what is averaged is measured from zero, as gradients are, and not from the model sent out
    averages_directions: ClassVar[bool] = False
    # Why it does no harm under robust rules that `read` is given each client's update, whoever sent it. Not inherited
    # by a class that overrides `read`. None: an algorithm that overrides `read` is refused with such rules.
    safe_reading: ClassVar[str | None] = None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.server_step = vars(cls).get("server_step")
        if "read" in vars(cls):
            cls.safe_reading = vars(cls).get("safe_reading")

    def start(self, state: AlgorithmState, model: NDArray, n_clients: int) -> AlgorithmState:
        """Return the state before the first round; arrays that are there already stay.

        `model` (D,) is where the run starts, `n_clients` K.
        """
        return state

    def shift(self, state: AlgorithmState, members: Members) -> NDArray | None:
        """Return what each client adds to its local gradients (K, D), None for nothing."""
        return None

    def read(self, state: AlgorithmState, update: Update, model: NDArray, members: Members) -> ArrayAndState:
        """Return what is aggregated of some clients' update (C, D), and the state after it.

        `model` (D,) was sent out. `update.replicas` (C,) are places among the members.
        """
        return update.weights, state

    def step(self, state: AlgorithmState, model: NDArray, average: NDArray, round_: Round) -> ArrayAndState:
        """Return the model (D,) after a round and the state, given the model before it and the aggregate."""
        return average, state

    @property
    def reads_updates(self) -> bool:
        """Whether single updates reach more than the aggregate."""
        return type(self).read is not Algorithm.read

    @property
    def refuses(self) -> Mapping[str, str]:
        """What it cannot go with, and why, each as the end of a sentence."""
        found = {}
        if self.reads_updates and self.safe_reading is None:
            found[ROBUST_RULES] = "takes more from each client's update than the aggregate, which no rule protects"
        if self.reads_updates or not self.client_task.sends_parameters:
            found[PRIVACY] = "needs more of each client than its clipped update"
        if not self.client_task.sends_parameters:
            found[INPUT_L1] = "has clients take no local steps, which are what applies input_l1"
        return found
