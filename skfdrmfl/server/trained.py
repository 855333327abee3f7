"""Where training of one run stands: a value that callbacks read, checkpoints write, and training goes on from."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.common import randomness
from skfdrmfl.method.objective import record_names
from skfdrmfl.protocol.algorithm_state import AlgorithmState
from skfdrmfl.protocol.messages import HeldOutSums
from skfdrmfl.protocol.plan import Schedule, Start
from skfdrmfl.protocol.replicas import Members
from skfdrmfl.server.algorithms import ALGORITHMS
from skfdrmfl.server.history import Record, Reports


@dataclass(frozen=True)
class ServerState:
    """All that lives from one round of a run to the next."""

    weights: NDArray  # (D,), the global model w_t
    history: tuple[NDArray, ...] = ()  # each (D,), earlier global models, the latest first
    round_index: int = 0  # t, rounds completed so far
    memory: AlgorithmState = field(default_factory=AlgorithmState)


def invite(seed: int, round_index: int, n_clients: int, participation: float) -> NDArray[np.int64]:
    """Return who takes part in a round: a share of `n_clients`, at least one, drawn without replacement."""
    if participation >= 1.0:
        return np.arange(n_clients)
    n_invited = max(1, round(participation * n_clients))
    rng = randomness.generator(seed, randomness.PARTICIPATION, round_index)
    return np.sort(rng.choice(n_clients, n_invited, replace=False))


def advance(state: ServerState, weights: NDArray, memory: AlgorithmState, history_size: int) -> ServerState:
    """Return the state after a round that ended with `weights` and `memory`."""
    history = (state.weights, *state.history)[:history_size]
    return ServerState(weights, history, state.round_index + 1, memory)


@dataclass(frozen=True)
class Best:
    """Where a run stood after its best round, or at the start if no round was better."""

    state: ServerState
    round: int  # how many rounds it had been trained for
    lowest: float  # its mean squared error on the rows held out
    patience: int  # rounds without a better one after which the run is done

    def or_better(self, state: ServerState, n_rounds: int, error: float) -> Best:
        """Return where the run stands after `n_rounds` with an `error`, if that is lower, else this."""
        return replace(self, state=state, round=n_rounds, lowest=error) if error < self.lowest else self

    def is_done(self, n_rounds: int) -> bool:
        """Return whether the run has gone `patience` rounds without a new best."""
        return n_rounds - self.round >= self.patience


def means(sums: HeldOutSums) -> tuple[float, float]:
    """Return a run's mean squared error and mean NWJ value; NaN where there are no rows, or no pairs."""
    n_rows, n_pairs, nothing = float(sums.n_rows), float(sums.n_pairs), float("nan")
    return float(sums.squares) / n_rows if n_rows else nothing, float(sums.nwj) / n_pairs if n_pairs else nothing


@dataclass(frozen=True)
class Trained:
    """Where training of one run stands after some rounds."""

    state: ServerState  # the global model, earlier ones, and what the algorithm keeps of each member
    record: Record
    best: Best | None = None  # with early stopping, where the run stood at its best
    diverged: bool = False  # whether the run has stopped, at its last finite model

    @classmethod
    def begin(cls, start: Start, members: Members, schedule: Schedule) -> Trained:
        """Return where a run stands before its first round."""
        kept = start.memory.of_members(members.positions)
        memory = ALGORITHMS[schedule.algorithm].start(kept, start.weights, len(members.positions))
        nothing = Reports.of_table(np.zeros((0, len(members.positions), len(record_names()))))
        state = ServerState(start.weights, tuple(start.history), start.round_index, memory)
        return cls(state, Record(nothing, members.positions, members.sizes))

    @property
    def passes(self) -> tuple[tuple[Trained, ...], ...]:
        """Itself, as the only run of the only pass."""
        return ((self,),)

    @property
    def n_rounds(self) -> int:
        """Rounds completed."""
        return self.record.n_rounds

    def is_over(self, n_rounds: int) -> bool:
        """Return whether no round follows, of `n_rounds` at most."""
        patience_ends = self.best is not None and self.best.is_done(self.n_rounds)
        return self.diverged or patience_ends or self.n_rounds >= n_rounds

    @property
    def _kept(self) -> ServerState:
        return self.state if self.best is None else self.best.state

    @property
    def models(self) -> NDArray:
        """The models (1 + H, D): the last or the best, then earlier ones, the latest first."""
        return np.stack((self._kept.weights, *self._kept.history))

    @property
    def memory(self) -> AlgorithmState:
        """What the algorithm keeps of each member, as of the last or the best model."""
        return self._kept.memory

    def numbers(self) -> dict[str, float]:
        """Return what the last round reports: its number "round", from 1, and means by name."""
        return {"round": self.n_rounds, **self.record.numbers()} if self.n_rounds else {"round": 0}
