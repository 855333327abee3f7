"""What a federated algorithm is: four pure functions over an explicit memory."""

from __future__ import annotations

from typing import ClassVar, Protocol

from torch import Tensor

from skfdrmfl.federation.cohort import Cohort
from skfdrmfl.federation.memory import Memory
from skfdrmfl.federation.messages import Broadcast, Update
from skfdrmfl.federation.runs import Orders


class Algorithm(Protocol):
    """A federated algorithm. Engines know none by name: they add `shift` to gradients, and follow `orders`.

    Attributes
    ----------
    orders : Orders
        What clients do and send.
    uses : frozenset of str
        Which of `Settings` it reads, beside those that all algorithms do; the others are of no consequence.
    server_learning_rate : float
        The default of the setting.
    """

    orders: ClassVar[Orders]
    uses: ClassVar[frozenset[str]]
    server_learning_rate: ClassVar[float]

    @property
    def only_averages(self) -> bool:
        """Whether the average is the next model, and nothing else happens between rounds."""

    def begin(self, memory: Memory, weights: Tensor, n_replicas: int) -> Memory:
        """Return the memory before the first round; arrays that are there already stay.

        `weights` (runs, D) are the models to start from.
        """

    def shift(self, memory: Memory, cohort: Cohort) -> Tensor | None:
        """Return what each replica adds to its local gradients (R, D), None for nothing."""

    def remember(self, memory: Memory, update: Update, broadcast: Broadcast, cohort: Cohort) -> Memory:
        """Return the memory after some replicas have answered."""

    def move(
        self, memory: Memory, cohort: Cohort, weights: Tensor, average: Tensor, rate_factor: float
    ) -> tuple[Tensor, Memory]:
        """Return the global models (runs, D) after a round, given those before it and the average of what was sent."""
