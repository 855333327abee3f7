"""Early stopping: the clients hold out rows of their own, and the model that errs least on them is kept."""

from __future__ import annotations

from dataclasses import dataclass, replace

from skfdrmfl.protocol.messages import HeldOutSums
from skfdrmfl.server.state import ServerState


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
