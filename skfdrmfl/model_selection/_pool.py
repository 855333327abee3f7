"""Fits that wait for each other, so that many candidates and folds train in one stacked pass.

A search first walks through all its fits: each is prepared, put in the pool, and left (`Postponed`). The pool
trains what has gathered. Then the search walks through its fits again, and each takes its trained model from
the pool. What a fit gives is the same, bit for bit, as if it had trained alone.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import joblib
import numpy as np
from joblib import Parallel, delayed, effective_n_jobs
from sklearn.base import clone
from torch import Tensor

from skfdrmfl.common.arrays import Present
from skfdrmfl.common.threads import quiet_torch
from skfdrmfl.estimator._postponed import Postponed, fits_go_to
from skfdrmfl.estimator._preparation import Fitting
from skfdrmfl.federation.engines.rows import Run
from skfdrmfl.federation.runs import Schedule
from skfdrmfl.federation.simulation import train_together
from skfdrmfl.federation.training import Trained
from skfdrmfl.federation.widths import stackable, trimmed
from skfdrmfl.model.network import Network
from skfdrmfl.model_selection._progress import Progress

# Prepared rows that may wait in the pool.
MAX_WAITING_BYTES = 256_000_000


@dataclass
class _Waiting:
    donor: Any
    fitting: Fitting
    run: Run

    @property
    def schedule(self) -> Schedule:
        return self.fitting.plan.schedule

    @property
    def network(self) -> Network:
        return self.fitting.plan.network

    @property
    def engine(self) -> str:
        return self.fitting.simulation.engine

    @property
    def group(self) -> tuple:
        """Fits of one group have networks of one shape, but for the width of their inputs, and all masks or none."""
        masked = self.run.present is not None or self.run.settings.modality_dropout > 0
        return (self.schedule, self.engine, self.run.x.device, masked, tuple(self.network.signature.items()))


class FitPool:
    """Prepared fits, and the models trained for them.

    Parameters
    ----------
    most_waiting : int or None
        Train as soon as this many fits wait; None lets as many wait as `MAX_WAITING_BYTES` of rows allow.
    n_expected : int
        Fits to come, for the progress bar.
    progress : bool
        Whether to show one.
    n_jobs : int or None
        Processes to train in; None trains here.
    """

    def __init__(
        self,
        most_waiting: int | None = None,
        *,
        n_expected: int = 0,
        progress: bool = False,
        n_jobs: int | None = None,
    ):
        self.most_waiting = most_waiting
        self.n_processes = effective_n_jobs(1 if n_jobs is None else n_jobs)
        self.seconds = 0.0
        self._donors: dict[str, Any] = {}
        self._errors: dict[str, Exception] = {}
        self._waiting: dict[str, _Waiting] = {}
        self._tables: dict[str, tuple[Tensor, Tensor, Present | None]] = {}  # prepared rows of those who wait
        self._collecting = False
        self._progress = Progress(n_expected) if progress else None

    # ------------------------------------------------------------------------------- the search's side

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """Inside, fits are put in the pool; on leaving, all that wait are trained."""
        self._collecting = True
        try:
            with fits_go_to(self):
                yield
                self._train_all()
            if self._progress:
                self._progress.finish()
        finally:
            self._collecting = False

    @contextmanager
    def replaying(self) -> Iterator[None]:
        """Inside, fits take their models from the pool."""
        with fits_go_to(self):
            yield

    # ---------------------------------------------------------------------------- the estimator's side

    def fit(self, estimator: Any, X: Any, y: Any, client_ids: Any) -> bool:
        """Fit from the pool; False if the estimator must train by itself."""
        try:
            key = joblib.hash((type(estimator), estimator.get_params(), X, y, client_ids))
        except Exception:  # a parameter that cannot be pickled, such as a lambda
            key = None
        if self._collecting:
            if key is not None and key not in self._donors:
                donor = clone(estimator)
                with quiet_torch():
                    fitting = donor._prepare_fit(X, y, client_ids)
                    run = fitting.run
                self._waiting[key] = _Waiting(donor, fitting, self._sharing(run))
                self._donors[key] = donor
                if self._is_full():
                    self._train_all()
            raise Postponed
        if key in self._errors:
            raise self._errors[key]
        if key not in self._donors:
            return False
        parameters = estimator.get_params(deep=False)
        fitted = {name: value for name, value in vars(self._donors[key]).items() if name not in parameters}
        vars(estimator).update(copy.deepcopy(fitted))
        return True

    # ------------------------------------------------------------------------------------------ inside

    def _sharing(self, run: Run) -> Run:
        """The run on the same prepared rows as others who wait, if theirs are equal: candidates of one fold."""
        key = joblib.hash((run.x.cpu().numpy(), run.y.cpu().numpy(), run.present))
        x, y, present = self._tables.setdefault(key, (run.x, run.y, run.present))
        return replace(run, x=x, y=y, present=present)

    def _is_full(self) -> bool:
        if self.most_waiting is not None:
            return len(self._waiting) >= self.most_waiting
        return sum(x.numel() * x.element_size() for x, *_ in self._tables.values()) > MAX_WAITING_BYTES

    def _train_all(self) -> None:
        start = time.perf_counter()
        groups: dict[tuple, list[str]] = {}
        for key, waiting in self._waiting.items():
            groups.setdefault(waiting.group, []).append(key)
        for keys in groups.values():
            members = [self._waiting[key] for key in keys]
            first = members[0]
            runs, network = stackable([w.run for w in members], [w.network for w in members])
            for share, trained in self._trained(network, runs, first.schedule, first.engine):
                for i, member in enumerate(share):
                    self._hand_over(keys[member], network, trained, i)
        self._waiting.clear()
        self._tables.clear()
        self.seconds += time.perf_counter() - start

    def _trained(
        self, network: Network, runs: list[Run], schedule: Schedule, engine: str
    ) -> Iterator[tuple[list[int], Trained]]:
        """Numbers of some of the runs and what they trained to: all at once here, or a share in each process."""
        if self.n_processes == 1:
            with quiet_torch():
                for trained in train_together(network, runs, schedule, engine):
                    self._show(len(runs) * trained.n_rounds / max(1, len(schedule.rate_factors)))
            self._show(done=len(runs))
            yield list(range(len(runs))), trained
            return
        # Equal rates and decays side by side, as only those share a chunk.
        order = sorted(range(len(runs)), key=lambda i: (runs[i].settings.learning_rate, runs[i].settings.weight_decay))
        shares = [part.tolist() for part in np.array_split(order, min(self.n_processes, len(runs)))]
        results = Parallel(n_jobs=self.n_processes, backend="loky", return_as="generator")(
            delayed(_train_share)(network, [runs[i] for i in share], schedule, engine) for share in shares
        )
        for share, trained in zip(shares, results, strict=True):
            self._show(done=len(share))
            yield share, trained

    def _hand_over(self, key: str, network: Network, trained: Trained, run: int) -> None:
        """Make a trained run the fitted model of its donor."""
        waiting = self._waiting[key]
        donor = waiting.donor
        try:
            donor._check_converged(trained, run)
        except ValueError as error:
            self._errors[key] = error
            return
        narrow = partial(trimmed, wide=network, network=waiting.network)
        models, memory = narrow(trained.models_of(run)), trained.memory_of(run).mapped(narrow)
        waiting.fitting.simulation.ledger.extend(trained.ledgers[run])
        with quiet_torch():
            donor._keep(waiting.fitting.finish(models, memory, trained.record_of(run)))

    def _show(self, partial: float = 0.0, done: int = 0) -> None:
        if self._progress:
            self._progress.add(done)
            self._progress.show(partial)


def _train_share(network: Network, runs: list[Run], schedule: Schedule, engine: str) -> Trained:
    """Train some runs to the end, in a process of its own."""
    with quiet_torch():
        *_, trained = train_together(network, runs, schedule, engine)
    return trained
