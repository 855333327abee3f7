"""Training from the first round to the last: callbacks, divergence, interrupts, checkpoints, and who was left out."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from contextlib import closing, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

from skfdrmfl.common.progress import Bar, tell
from skfdrmfl.common.warn import warn_caller
from skfdrmfl.fit.callbacks import CallbackTask
from skfdrmfl.fit.mixture import Ready
from skfdrmfl.fit.parameters import value_of
from skfdrmfl.protocol.dropped_clients import NOT_FINITE, warning
from skfdrmfl.server.trained import Trained

NO_CLIENTS = "[FDRMFL] no client_ids and no client_column: all rows are one client's, central training"


def train_and_keep(estimator: Any, fitting: Ready, task: CallbackTask) -> None:
    """Train and keep the result, of an interrupt or a full disk the finished rounds. Rounds are parts of `task`."""
    trained: Any = None
    n_rounds = fitting.n_rounds
    passed = getattr(fitting.federation, "passed", str)  # where messages cross a wire
    show = partial(VerbosePrinter, estimator.verbose, n_rounds, central=fitting.fitted.central)
    # What goes on from a checkpoint first says where it stands, which is the end of no round.
    round_ = None if fitting.checkpoint.goes_on else task.sub("round")
    try:
        with closing(show()) if estimator.verbose else nullcontext() as printer:
            heard = task.is_heard or printer is not None or fitting.checkpoint.keeps
            for trained in fitting.train(each_round=heard):
                check_converged(estimator, trained)
                tell(f"round {trained.n_rounds} of {n_rounds}")
                fitting.checkpoint.follow(trained)
                if printer is not None:
                    printer.after_round(trained.numbers(), passed())
                if round_ is not None and round_.end(trained.numbers, partial(_attributes_so_far, fitting, trained)):
                    break
                round_ = None if trained.is_over(n_rounds) else task.sub("round")
    except (ConnectionError, TimeoutError):  # those who would have to be asked again may not be there
        raise
    except (KeyboardInterrupt, OSError):
        if trained is not None:
            estimator._keep(fitting.finish(trained))
        fitting.checkpoint.flush()
        raise
    try:
        fitting.checkpoint.flush()
    finally:
        estimator._keep(fitting.finish(trained))
    if (said := warning(fitting.dropped(trained), NOT_FINITE)) is not None:
        warn_caller(said)


class VerbosePrinter:
    """Shows how training goes: with `verbose` 1 a bar, from 2 on, or where there is one round, lines."""

    def __init__(self, verbose: int, n_rounds: int, *, central: bool):
        if central:
            print(NO_CLIENTS, flush=True)
        self._n_rounds, self._lines = n_rounds, verbose > 1 or n_rounds < 2
        self._bar = Bar("[FDRMFL] training", n_rounds, "round", shown=not self._lines)

    def after_round(self, numbers: Mapping[str, float], passed: str = "") -> None:
        """Show where training stands after a round, by `Trained.numbers`, and what has passed."""
        if done := int(numbers["round"]):
            shown = [name for name in ("loss", "mse", "clip_norm") if name in numbers]
            said = [f"{name.removesuffix('_norm')} {numbers[name]:.4g}" for name in shown]
            text = ", ".join([*said, passed] if passed else said)
            self._bar.reach(done, text)
            if self._lines:
                print(f"[FDRMFL] round {done}/{self._n_rounds}, {text}", flush=True)

    def close(self) -> None:
        """End the bar."""
        self._bar.close()


def check_converged(estimator: Any, trained: Trained) -> None:
    """Raise ValueError if training has diverged."""
    if trained.diverged:
        raise ValueError(
            f"training diverged in round {trained.n_rounds}: weights or losses are no longer finite with "
            f"learning_rate={estimator.learning_rate}, weight_decay={value_of(estimator, 'weight_decay')} and "
            f"preprocessing={estimator.preprocessing!r}; lower the rate or the decay, or scale X."
        )


def _attributes_so_far(fitting: Ready, trained: Any) -> dict[str, Any]:
    """Return the attributes of an estimator fitted so far.

    Delivery asks the clients; what passes the door for this is nobody's message, nor does the guard keep what it sees.
    """
    federation: Any = fitting.federation
    apart = replace(federation, ledger=federation.ledger.copy(), guard=copy.deepcopy(federation.guard))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = replace(fitting, federation=apart).finish(trained)
    return fitted.attributes()
