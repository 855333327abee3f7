"""The federated algorithm, a round at a time.

broadcast w_t -> participants train E local epochs on L_k -> average by |D_k| -> w_{t+1}
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import cos, pi

import numpy as np
import torch
from numpy.typing import NDArray

from skfdrmfl.federation import drift, server
from skfdrmfl.federation.aggregation import mean
from skfdrmfl.federation.engines.loop import LoopEngine
from skfdrmfl.federation.engines.stacked import StackedEngine
from skfdrmfl.federation.messages import Broadcast
from skfdrmfl.federation.stopping import EarlyStopping
from skfdrmfl.model.objective import RECORDED, TERMS


@dataclass(frozen=True)
class RoundRecord:
    """One finished round: the state after it, and what is `RECORDED` of each replica (R, n), NaN if absent.

    diverged (runs,); validation (runs,), errors on rows held out, if any are.
    """

    state: server.ServerState
    losses: NDArray[np.float64]
    diverged: NDArray[np.bool_]
    validation: NDArray[np.float64] | None = None


def cosine_decay(t: int, n_rounds: int) -> float:
    """Factor on the learning rate in round t of n_rounds: from 1 towards 0 along half a cosine."""
    return 0.5 * (1.0 + cos(pi * t / n_rounds))


def federated_rounds(
    engine: StackedEngine | LoopEngine,
    state: server.ServerState,
    rate_factors: Sequence[float],
    *,
    participation: float,
    history_size: int,
    stopping: EarlyStopping | None = None,
) -> Iterator[RoundRecord]:
    """Run one round for each of `rate_factors`, from `state` on, yielding a record after each.

    A run whose average or whose losses are no longer finite has diverged: it keeps the last finite model and
    trains no more, the other runs go on. So it is with a run that `stopping` finds done.
    """
    cohort = engine.cohort
    n_runs = state.weights.shape[0]
    diverged = np.zeros(n_runs, dtype=bool)
    over = diverged
    counts = cohort.counts
    group_of = None if cohort.present is None else engine.network.encoder_of()
    replicas_of_run = [np.flatnonzero(cohort.runs == run) for run in range(n_runs)]
    for factor in rate_factors:
        participants = np.concatenate(
            [
                mine[server.invite(int(cohort.seeds[mine[0]]), state.round_index, len(mine), participation)]
                for run, mine in enumerate(replicas_of_run)
                if not over[run]
            ]
        )
        broadcast = Broadcast(state.weights, state.history, state.round_index, factor)
        average = mean.Average(state.weights, cohort.runs[participants], counts[participants], group_of)
        losses = np.full((len(cohort.runs), len(RECORDED)), np.nan)
        for update in engine.run_round(participants, broadcast):
            mine = update.replicas
            weights = update.weights
            if group_of is not None:
                weights = mean.without_idle(weights, state.weights, cohort.runs[mine], counts[mine], group_of)
            average.add(cohort.runs[mine], counts[mine], weights)
            losses[mine, : len(TERMS)] = update.losses.cpu().numpy()
            losses[mine, -1] = drift.squared_distances(weights, state.weights, cohort.runs[mine])
        weights = average.result()
        lost = ~np.isfinite(losses[participants, TERMS.index("loss")])
        if lost.any() or not torch.isfinite(weights.sum()):
            finite = torch.isfinite(weights).all(-1)
            finite[torch.as_tensor(cohort.runs[participants[lost]], device=finite.device)] = False
            diverged = diverged | ~finite.cpu().numpy()
            weights = torch.where(finite.unsqueeze(-1), weights, state.weights)
        step = drift.squared_distances(weights, state.weights)
        losses[:, -1] = drift.relative_drift(losses[:, -1], step[cohort.runs])
        state = server.advance(state, weights, history_size)
        validation = None if stopping is None else stopping.follow(weights)
        yield RoundRecord(state, losses, diverged, validation)
        over = diverged if stopping is None else diverged | stopping.done
        if over.all():
            return
