"""Early stopping: the clients hold out rows of their own, and the model that errs least on them is kept."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skfdrmfl.common.arrays import Float, Indices
from skfdrmfl.federation.door import Training
from skfdrmfl.federation.memory import Memory
from skfdrmfl.federation.messages import HeldOutErrors
from skfdrmfl.federation.server import ServerState


@dataclass(frozen=True)
class Best:
    """Where each run stood after its best round, or at the start if no round was better.

    Attributes
    ----------
    weights : Tensor of shape (runs, D)
    histories : tuple of tuples of Tensor of shape (D,)
        Earlier global models of each run, as of that round, the latest first.
    memory : Memory
        What the algorithm remembered.
    rounds : ndarray of shape (runs,)
        How many rounds each had been trained for.
    patience : int
        After how many more a run is done.
    lowest : ndarray of shape (runs,)
        Its mean squared error on the rows held out.
    """

    weights: Tensor
    histories: tuple[tuple[Tensor, ...], ...]
    memory: Memory
    rounds: Indices
    patience: int
    lowest: Float


class EarlyStopping:
    """Follows each run's squared error on the rows its clients hold out, from before the first round on.

    Parameters
    ----------
    training : Training
        The clients, each run's of whom hold out some rows.
    patience : int
        Rounds without a new best after which a run is done.
    state : ServerState
        Where the server stands.
    best : Best, default=None
        With which to go on; None: the server stands before the first round.
    n_rounds : int, default=0
        Rounds followed before.

    Attributes
    ----------
    best : Best
    mse_of_each : ndarray of shape (R,)
        Mean squared error of each replica on its own rows held out, after the last round; NaN for one without any.
    """

    def __init__(
        self, training: Training, patience: int, state: ServerState, best: Best | None = None, n_rounds: int = 0
    ):
        self._training = training
        self._n_rounds = n_rounds
        if best is None:
            n_runs = len(state.weights)
            histories = tuple(_earlier_models(state, run) for run in range(n_runs))
            rounds: Indices = np.zeros(n_runs, dtype=np.int64)
            best = Best(state.weights, histories, state.memory, rounds, patience, self._errors(state)[:, 0])
        self.best = best

    def follow(self, state: ServerState, running: NDArray[np.bool_] | None = None) -> Float:
        """Return the mean squared errors and NWJ values (runs, 2) after a round, and keep what is better.

        `running` (runs,) are the runs that took part in it; None: all.
        """
        values = self._errors(state, running)
        errors = values[:, 0]
        self._n_rounds += 1
        better = errors < self.best.lowest
        keep = torch.as_tensor(better, device=state.weights.device)
        runs = torch.as_tensor(self._training.cohort.runs, device=keep.device)
        before = self.best
        self.best = replace(
            before,
            weights=torch.where(keep.unsqueeze(-1), state.weights, before.weights),
            histories=tuple(
                _earlier_models(state, run) if better[run] else before.histories[run] for run in range(len(better))
            ),
            memory=state.memory.where(keep, before.memory, runs),
            rounds=np.where(better, self._n_rounds, before.rounds),
            lowest=np.where(better, errors, before.lowest),
        )
        return values

    @property
    def done(self) -> NDArray[np.bool_]:
        """Runs that have gone `patience` rounds without a new best."""
        return self._n_rounds - self.best.rounds >= self.best.patience

    def _errors(self, state: ServerState, running: NDArray[np.bool_] | None = None) -> Float:
        """Return means (runs, 2) over the rows held out; NaN for NWJ where there are no pairs."""
        if running is None:
            running = np.ones(len(state.weights), dtype=bool)
        (sums,) = self._training.sum(HeldOutErrors(state.weights, running))
        self.mse_of_each = sums.mse_of_each
        pairs = np.where(sums.n_pairs > 0, sums.n_pairs, np.nan)
        return np.column_stack((sums.squares / sums.n_rows, sums.nwj / pairs))


def _earlier_models(state: ServerState, run: int) -> tuple[Tensor, ...]:
    """Return the models (D,) that a run had before its last one, the latest first."""
    return tuple(models[run] for models in state.history)
