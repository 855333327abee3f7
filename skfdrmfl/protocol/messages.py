"""What the server sends out in a round, and what comes back.

Arrays are numpy's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.common.arrays import Float, Indices
from skfdrmfl.protocol.algorithm_state import AlgorithmState

# An array of numpy or a tensor of torch.
Array = Any


@dataclass(frozen=True)
class Broadcast:
    """What the server sends out at the start of a round; of one run alone without the axis of runs."""

    weights: Array  # (runs, D), global models
    history: tuple[Array, ...]  # each (runs, D), earlier global models, the latest first
    round_index: int  # rounds completed before
    rate_factor: float  # factor of the schedule on every learning rate
    shift: Array | None = None  # (R, D), what each replica adds to every local gradient; None: nothing
    # (R, 2), how wide the batches of each replica are (`chunk.widths_of`) beside others who train elsewhere; None:
    # those who train together are together. Bits: see docs/maintainers.md, "lanes".
    widths: Indices | None = None


@dataclass(frozen=True)
class Update:
    """What some replicas return."""

    replicas: Indices  # (C,), of one run alone, places among its members
    # (C, D), parameters after local training; gradients where `ClientTask.sends_parameters` is not set
    weights: Array
    losses: Array  # (C, terms), terms of the objective, averaged over local steps
    # (C, D), gradients averaged over local steps, where `ClientTask.also_sends_mean_gradient` asks for them
    gradients: Array | None = None
    steps: Indices | None = None  # (C,), numbers of local steps, where `ClientTask.also_sends_steps` asks for them

    def of(self, keep: NDArray[np.bool_]) -> Update:
        """Return what the replicas that are marked in `keep` (C,) return."""
        if keep.all():
            return self
        mine = np.flatnonzero(keep)
        gradients, steps = (None if part is None else part[mine] for part in (self.gradients, self.steps))
        return Update(self.replicas[mine], self.weights[mine], self.losses[mine], gradients, steps)


@dataclass(frozen=True)
class Averaged:
    """Rounds that the clients' side went through in the server's place, one after another."""

    participants: list[Indices]  # replicas that took part in each round, N in all
    weights: Array  # (n, runs, D), the models after each of the last rounds, as many as are sent out or more
    losses: Float  # (N, terms), terms of the objective of each participant, round after round
    moved: NDArray[np.float32]  # (N,), squared length of each one's update
    steps: NDArray[np.float32]  # (rounds, runs), squared length of the step to each average
    # What the algorithm keeps after the last, of all runs (`AlgorithmState.stacked`)
    memory: AlgorithmState

    def of_run(self, run: int, members: slice) -> Averaged:
        """Return what the rounds are to one run, of the replicas `members`, by their places among these."""
        participants, losses, moved = self.participants, self.losses, self.moved
        if self.steps.shape[1] > 1:
            mine = [(members.start <= who) & (who < members.stop) for who in participants]
            participants = [who[of] - members.start for who, of in zip(participants, mine, strict=True)]
            losses, moved = losses[np.concatenate(mine)], moved[np.concatenate(mine)]
        steps = self.steps[:, run : run + 1]
        return Averaged(participants, self.weights[:, run], losses, moved, steps, self.memory.of_run(run, members))


class HeldOutSums(NamedTuple):
    """Sums over the rows that each run's clients hold out, all (runs,) but the last.

    n_rows; squares, of errors of standardised y, mean over outputs; n_pairs, rows of clients with two or more, and nwj,
    the sum over these of the critic's NWJ value; and mse_of_each (R,), the mean of each replica's own squares, NaN for
    one that holds out nothing.
    """

    n_rows: Float
    squares: Float
    n_pairs: Float
    nwj: Float
    mse_of_each: Float


@dataclass(frozen=True, eq=False)
class HeldOutErrors:
    """How the models of all runs err on the rows that were set aside when training was prepared (`RunPlan.held_out`).

    Clients answer it from what they have prepared, for all runs at once, as they train.
    """

    name: ClassVar[str] = "errors on rows held out"
    weights: Array  # (runs, D)
    # (runs,), runs that are not done: clients of the others are not asked, and what is answered for them means nothing
    running: NDArray[np.bool_]
