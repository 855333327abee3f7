"""Where training of one run stands: a value that callbacks read, checkpoints write, and training goes on from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.method.objective import record_names
from skfdrmfl.protocol.algorithm_state import AlgorithmState
from skfdrmfl.protocol.plan import Schedule, Start
from skfdrmfl.protocol.replicas import Members
from skfdrmfl.server.algorithms import ALGORITHMS
from skfdrmfl.server.history import Record
from skfdrmfl.server.reports import Reports
from skfdrmfl.server.state import ServerState
from skfdrmfl.server.stopping import Best


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
