"""The record of a training in periods: what the checks of a diagnosis compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from skfdrmfl.common.arrays import Float

# Trends compare this many periods of the training with one another; one round more or less is noise.
N_PERIODS = 5
# Two rounds make a mean, three periods a trend.
FEWEST_ROUNDS = 6
# With clients alike and noisy y, the training error at the end was at most 1.25 times its lowest; with clients who
# disagree 1.3 to 3.5 times (it rises as the learning rate falls and each client's refitting stops).
MSE_RISE = 1.4
# Ratios of small errors mean little: 5 % of the variance of y at least.
MSE_STEP = 0.05


@dataclass(frozen=True)
class TrainingHistory:
    """What training has recorded, and the row counts and weights that give it meaning.

    `recorded` is the estimator's `history_`: every term (rounds,), and with "_per_client" (rounds, K), NaN for who was
    absent; with early stopping also "validation_mse" and "validation_mi_nwj" (rounds,), NaN in rounds without one.
    """

    recorded: Mapping[str, Float]
    n_rows: Float  # (K,), of each client
    clients: Sequence[Any]  # their labels
    weights: Mapping[str, float]  # lambda of "mi", "kl" and "contrastive"
    dropped: Sequence[Mapping[str, Any]] = ()  # `dropped_clients_`
    # `BlockTransform.tail` of each modality, and of the outputs as "y"; over all rows of the first call.
    tails: Mapping[str, float] = field(default_factory=dict)
    algorithm: str = "fedavg"
    central: bool = False  # whether no fit was told whose rows they are
    of_residual: bool = False  # whether what was learned is what a linear model leaves of y, whose mean square is 1
    suspects: Mapping[str, int] = field(default_factory=dict)  # rows that look corrupt, by reason

    @property
    def n_rounds(self) -> int:
        """Number of rounds recorded."""
        return len(self.recorded["mse"])

    @property
    def periods(self) -> list[slice]:
        """The rounds cut into up to `N_PERIODS` periods of about equal length; one if too few rounds for trends."""
        n = min(N_PERIODS, self.n_rounds // 2) if self.n_rounds >= FEWEST_ROUNDS else 1
        ends = [self.n_rounds * i // n for i in range(n + 1)]
        return [slice(a, b) for a, b in pairwise(ends)]

    @property
    def best_period(self) -> slice:
        """The period with the lowest training error."""
        return min(self.periods, key=lambda period: self.mean("mse", period))

    def per_client(self, term: str, period: slice) -> Float:
        """Return each client's median (K,) of a term over a period, NaN if the client took part in no round of it."""
        # Hundreds of medians of a few rounds are asked for: np.nanmedian takes a millisecond each.
        values = np.sort(self.recorded[f"{term}_per_client"][period], axis=0)  # NaN comes last
        n, clients = (~np.isnan(values)).sum(0), np.arange(values.shape[1])
        return (values[(n - 1) // 2, clients] + values[n // 2, clients]) / 2

    def mean(self, term: str, period: slice, among: Float | None = None) -> float:
        """Return the clients' mean of a term over a period, weighted by rows.

        Clients who took part in no round of the period do not count, nor, with `among` (K,), those who are NaN in it.
        """
        values = self.per_client(term, period)
        counted = ~np.isnan(values) if among is None else ~np.isnan(values + among)
        return float(np.average(values[counted], weights=self.n_rows[counted])) if counted.any() else float("nan")

    def means_of_both(self, term: str, before: slice, after: slice) -> tuple[float, float]:
        """Return a term's means in two periods, over the clients who are in both: who comes and goes is no trend."""
        a, b = self.per_client(term, before), self.per_client(term, after)
        return self.mean(term, before, b), self.mean(term, after, a)

    def mean_mi(self, term: str, period: slice) -> float:
        """Return the mean of "mi" or "mi_nwj" over a period, among the clients that have pairs.

        A client of one row has none: its "mi" of 0 would pass for a critic that knows everything.
        """
        return self.mean(term, period, np.where(self.per_client("mi", period) == 0.0, np.nan, 0.0))

    def held_out(self, term: str, period: slice) -> float:
        """Return the median of "mse" or "mi_nwj" on rows held out over a period, NaN if none was recorded."""
        values = self.recorded.get(f"validation_{term}", np.empty(0))[period]
        values = values[~np.isnan(values)]
        return float(np.median(values)) if len(values) else float("nan")

    def error_rose(self, before: slice, after: slice) -> bool:
        """Return whether the training error rose between two periods by more than it does in runs without trouble."""
        a, b = self.means_of_both("mse", before, after)
        return b >= MSE_RISE * a and b >= a + MSE_STEP
