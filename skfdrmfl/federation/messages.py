"""What the server sends out in a round, and what comes back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skfdrmfl.common.arrays import Float, Indices


@dataclass(frozen=True)
class Broadcast:
    """What the server sends out at the start of a round.

    Attributes
    ----------
    weights : Tensor of shape (runs, D)
        Global models.
    history : tuple of Tensor of shape (runs, D)
        Earlier global models, the latest first.
    round_index : int
        Rounds completed before.
    rate_factor : float
        Factor of the schedule on every learning rate.
    shift : Tensor of shape (R, D), default=None
        What each replica adds to every local gradient; None: nothing.
    widths : ndarray of shape (R, 2), default=None
        How wide the batches of each replica are (`chunk.widths_of`) beside others who train elsewhere; None: those who
        train together are together. Bits: see docs/maintainers.md, "lanes".
    """

    weights: Tensor
    history: tuple[Tensor, ...]
    round_index: int
    rate_factor: float
    shift: Tensor | None = None
    widths: Indices | None = None


@dataclass(frozen=True)
class Update:
    """What some replicas return.

    Attributes
    ----------
    replicas : ndarray of shape (C,)
    weights : Tensor of shape (C, D)
        Parameters after local training; where clients do not train (`Orders.trains`), their gradients.
    losses : Tensor of shape (C, terms)
        Terms of the objective, averaged over local steps.
    gradients : Tensor of shape (C, D), default=None
        Gradients averaged over local steps, where `Orders.gradients` asks for them.
    """

    replicas: Indices
    weights: Tensor
    losses: Tensor
    gradients: Tensor | None = None

    def of(self, keep: NDArray[np.bool_]) -> Update:
        """Return what the replicas that are marked in `keep` (C,) return."""
        mine = torch.as_tensor(np.flatnonzero(keep), device=self.weights.device)
        gradients = None if self.gradients is None else self.gradients[mine]
        return Update(self.replicas[keep], self.weights[mine], self.losses[mine], gradients)


@dataclass(frozen=True)
class Averaged:
    """One round of federated averaging that the clients' side went through by itself.

    Attributes
    ----------
    participants : ndarray of shape (C,)
        Replicas that took part.
    weights : Tensor of shape (runs, D)
        The averages.
    losses : ndarray of shape (R, terms)
        Terms of the objective of each replica, NaN for those who were not invited.
    moved : ndarray of shape (R,)
        Squared length of each one's update, NaN likewise.
    steps : ndarray of shape (runs,)
        Squared length of the step of each average.
    """

    participants: Indices
    weights: Tensor
    losses: Float
    moved: NDArray[np.float32]
    steps: NDArray[np.float32]


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
    weights : Tensor of shape (runs, D)
    running : ndarray of bool of shape (runs,)
        Runs that are not done: clients of the others are not asked, and what is answered for them means nothing.
    """

    name: ClassVar[str] = "errors on rows held out"
    weights: Tensor
    running: NDArray[np.bool_]
