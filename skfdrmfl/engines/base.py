"""What all engines have in common: what they are given, and what a round is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass

from skfdrmfl.common.arrays import Indices
from skfdrmfl.engines.chunk import TRAIN, batches_of
from skfdrmfl.engines.rows import TrainingRows
from skfdrmfl.method.network import Network
from skfdrmfl.protocol.messages import Broadcast, Update
from skfdrmfl.protocol.plan import ClientTask
from skfdrmfl.protocol.replicas import Replicas


@dataclass(eq=False)
class Engine:
    """Trains the replicas of a cohort, round by round."""

    network: Network
    rows: TrainingRows
    _: KW_ONLY
    batch_size: int  # of the task (`batches_of`) once the engine is made, as are
    n_epochs: int  # the local epochs E
    keep_history: bool = True  # whether references under earlier global models are wanted
    client_task: ClientTask = TRAIN  # what clients do in a round, and send
    n_threads: int = 1  # that it may start
    device: str = "cpu"  # where it trains, as torch names it

    def __post_init__(self) -> None:
        self.cohort: Replicas = self.rows.cohort
        sizes = self.cohort.sizes
        self.batch_size, self.n_epochs = batches_of(
            self.client_task, self.network, sizes, self.batch_size, self.n_epochs
        )

    @property
    def _sums_gradients(self) -> bool:
        return self.client_task.also_sends_mean_gradient or not self.client_task.sends_parameters

    @staticmethod
    def chunking(
        network: Network, cohort: Replicas, participants: Indices, batch_size: int, client_task: ClientTask
    ) -> tuple[list[Indices], Indices | None]:
        """Return the replicas that train and answer together, and `widths_of` each replica (R, 2) in that company.

        Here each replica is by itself, and None: its batches depend on no other.
        """
        return list(participants.reshape(-1, 1)), None

    def run_round(self, participants: Indices, broadcast: Broadcast) -> Iterator[Update]:
        """Train every participant from the broadcast weights; yield updates of some replicas at a time."""
        raise NotImplementedError
