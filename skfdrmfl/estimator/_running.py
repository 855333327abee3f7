"""Training from the first round to the last: progress, divergence, interrupts, checkpoints, and who was left out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from skfdrmfl.common.warn import warn_caller
from skfdrmfl.estimator._fitting import Fitting
from skfdrmfl.federation.left_out import NOT_FINITE, LeftOut, warning
from skfdrmfl.federation.training import Trained
from skfdrmfl.model.objective import TERMS


def train_and_keep(estimator: Any, fitting: Fitting) -> None:
    """Train and keep the result; an interrupt first makes the finished rounds the model."""
    trained = None
    if estimator.verbose and fitting.fitted.central:
        print("[FDRMFL] no client_ids and no client_column: all rows are one client's, central training", flush=True)
    try:
        for trained in fitting.train():
            check_converged(estimator, trained, 0)
            fitting.checkpoint.follow(trained)
            _report(estimator.verbose, trained, len(fitting.plan.schedule.rate_factors))
    except KeyboardInterrupt:
        if trained is not None:
            estimator._keep(fitting.finish(trained.models_of(0), trained.memory_of(0), trained.record_of(0)))
        fitting.checkpoint.flush()
        raise
    assert trained is not None
    fitting.checkpoint.flush()
    record = trained.record_of(0)
    estimator._keep(fitting.finish(trained.models_of(0), trained.memory_of(0), record))
    warn_of(fitting.dropped(record), NOT_FINITE)


def check_converged(estimator: Any, trained: Trained, run: int) -> None:
    """Raise ValueError if a run diverged."""
    if trained.diverged[run]:
        raise ValueError(
            f"training diverged in round {trained.n_rounds}: weights or losses are no longer finite with "
            f"learning_rate={estimator.learning_rate}, weight_decay={estimator.weight_decay} and "
            f"preprocessing={estimator.preprocessing!r}; lower the rate or the decay, or scale X."
        )


def warn_of(entries: Sequence[LeftOut], *reasons: str) -> None:
    """Warn, once for each reason, of clients who were left out."""
    for said in (warning(list(entries), reason) for reason in reasons):
        if said is not None:
            warn_caller(said)


def _report(verbose: int, trained: Trained, n_rounds: int) -> None:
    """Print a line of progress, as often as `verbose` asks for."""
    done = trained.n_rounds
    if verbose and done and (verbose > 1 or done == n_rounds or done % max(1, n_rounds // 10) == 0):
        record = trained.record_of(0)
        if record.clip_norms:
            print(f"[FDRMFL] round {done}/{n_rounds}, clip {record.clip_norms[-2]:.4g}", flush=True)
            return
        loss, mse = (record.mean(TERMS.index(term))[-1] for term in ("loss", "mse"))
        print(f"[FDRMFL] round {done}/{n_rounds}, loss {loss:.4g}, mse {mse:.4g}", flush=True)
