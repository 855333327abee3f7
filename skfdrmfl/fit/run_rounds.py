"""Training from the first round to the last: callbacks, divergence, interrupts, checkpoints, and who was left out."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import Any

from skfdrmfl.common.warn import warn_caller
from skfdrmfl.fit.callbacks import CallbackTask, Rounds
from skfdrmfl.fit.prepared_fit import Fitting
from skfdrmfl.fit.result import Fitted
from skfdrmfl.fit.verbose import VerbosePrinter
from skfdrmfl.protocol.dropped_clients import NOT_FINITE, DroppedClient, warning
from skfdrmfl.server.trained import Trained


def train_and_keep(estimator: Any, fitting: Fitting, task: CallbackTask) -> None:
    """Train and keep the result; an interrupt first makes the finished rounds the model.

    Parameters
    ----------
    estimator : FDRMFLTransformer
    fitting : Fitting
    task : CallbackTask
        What the rounds are part of.
    """
    trained = None
    n_rounds = len(fitting.plan.schedule.rate_factors)
    rounds = Rounds(task, n_rounds, goes_on=fitting.checkpoint.goes_on)
    heard = task.is_heard or estimator.verbose > 0 or fitting.checkpoint.keeps
    try:
        with closing(VerbosePrinter(estimator.verbose, n_rounds, central=fitting.fitted.central)) as printer:
            for trained in fitting.train(each_round=heard):
                check_converged(estimator, trained)
                fitting.checkpoint.follow(trained)
                printer.after_round(trained.numbers)
                over, fitted = trained.is_over(n_rounds), partial(_attributes_so_far, fitting, trained)
                if rounds.follow(is_over=over, numbers=trained.numbers, fitted=fitted):
                    break
    except KeyboardInterrupt:
        if trained is not None:
            estimator._keep(_finished(fitting, trained))
        fitting.checkpoint.flush()
        raise
    assert trained is not None
    fitting.checkpoint.flush()
    estimator._keep(_finished(fitting, trained))
    warn_of(fitting.dropped(trained.record), NOT_FINITE)


def check_converged(estimator: Any, trained: Trained) -> None:
    """Raise ValueError if training has diverged."""
    if trained.diverged:
        raise ValueError(
            f"training diverged in round {trained.n_rounds}: weights or losses are no longer finite with "
            f"learning_rate={estimator.learning_rate}, weight_decay={estimator.weight_decay} and "
            f"preprocessing={estimator.preprocessing!r}; lower the rate or the decay, or scale X."
        )


def warn_of(entries: Sequence[DroppedClient], *reasons: str) -> None:
    """Warn, once for each reason, of clients who were left out."""
    for said in (warning(list(entries), reason) for reason in reasons):
        if said is not None:
            warn_caller(said)


def _finished(fitting: Fitting, trained: Trained) -> Fitted:
    """Return what the rounds so far leave."""
    return fitting.finish(trained.models, trained.memory, trained.record)


def _attributes_so_far(fitting: Fitting, trained: Trained) -> dict[str, Any]:
    """Return the attributes of an estimator fitted so far.

    Delivery asks the clients; what passes the door for this is nobody's message, nor does the guard keep what it sees.
    """
    federation: Any = fitting.federation
    apart = replace(federation, ledger=federation.ledger.copy(), guard=copy.deepcopy(federation.guard))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = _finished(replace(fitting, federation=apart), trained)
    return fitted.attributes()
