"""What the server sends out in a round, and what comes back.

Arrays are numpy's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.common.arrays import Float, Indices

# An array of numpy or a tensor of torch.
Array = Any


@dataclass(frozen=True)
class Broadcast:
    """What the server sends out at the start of a round; of one run alone without the axis of runs.

    Attributes
    ----------
    weights : array of shape (runs, D)
        Global models.
    history : tuple of arrays of shape (runs, D)
        Earlier global models, the latest first.
    round_index : int
        Rounds completed before.
    rate_factor : float
        Factor of the schedule on every learning rate.
    shift : array of shape (R, D), default=None
        What each replica adds to every local gradient; None: nothing.
    widths : ndarray of shape (R, 2), default=None
        How wide the batches of each replica are (`chunk.widths_of`) beside others who train elsewhere; None: those who
        train together are together. Bits: see docs/maintainers.md, "lanes".
    """

    weights: Array
    history: tuple[Array, ...]
    round_index: int
    rate_factor: float
    shift: Array | None = None
    widths: Indices | None = None


@dataclass(frozen=True)
class Update:
    """What some replicas return.

    Attributes
    ----------
    replicas : ndarray of shape (C,)
        Of one run alone, places among its members.
    weights : array of shape (C, D)
        Parameters after local training; where clients do not train (`ClientTask.trains`), their gradients.
    losses : array of shape (C, terms)
        Terms of the objective, averaged over local steps.
    gradients : array of shape (C, D), default=None
        Gradients averaged over local steps, where `ClientTask.gradients` asks for them.
    steps : ndarray of int of shape (C,), default=None
        Numbers of local steps, where `ClientTask.steps` asks for them.
    """

    replicas: Indices
    weights: Array
    losses: Array
    gradients: Array | None = None
    steps: Indices | None = None

    def of(self, keep: NDArray[np.bool_]) -> Update:
        """Return what the replicas that are marked in `keep` (C,) return."""
        if keep.all():
            return self
        mine = np.flatnonzero(keep)
        gradients, steps = (None if part is None else part[mine] for part in (self.gradients, self.steps))
        return Update(self.replicas[mine], self.weights[mine], self.losses[mine], gradients, steps)


@dataclass(frozen=True)
class Averaged:
    """Rounds of federated averaging that the clients' side went through by itself, one after another.

    Attributes
    ----------
    participants : sequence of ndarray, one a round
        Replicas that took part.
    weights : array of shape (rounds, runs, D)
        The averages.
    losses : ndarray of shape (rounds, R, terms)
        Terms of the objective of each replica, NaN for those who were not invited.
    moved : ndarray of shape (rounds, R)
        Squared length of each one's update, NaN likewise.
    steps : ndarray of shape (rounds, runs)
        Squared length of the step of each average.
    """

    participants: list[Indices]
    weights: Array
    losses: Float
    moved: NDArray[np.float32]
    steps: NDArray[np.float32]

    def split(self) -> Iterator[Averaged]:
        """Yield each round as a block of its own."""
        for t in range(len(self.participants)):
            of_round = slice(t, t + 1)
            weights, losses = self.weights[of_round], self.losses[of_round]
            yield Averaged(self.participants[of_round], weights, losses, self.moved[of_round], self.steps[of_round])


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

    Attributes
    ----------
    weights : array of shape (runs, D)
    running : ndarray of bool of shape (runs,)
        Runs that are not done: clients of the others are not asked, and what is answered for them means nothing.
    """

    name: ClassVar[str] = "errors on rows held out"
    weights: Array
    running: NDArray[np.bool_]
