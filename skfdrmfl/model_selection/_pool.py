"""Fits that wait for each other, so that many candidates and folds train in one stacked pass.

A search first walks through all its fits: each is prepared, put in the pool, and left (`Postponed`). The pool
trains what has gathered. Then the search walks through its fits again, and each takes its trained model from
the pool. What a fit gives is the same, bit for bit, as if it had trained alone.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import joblib
from torch import Tensor

from skfdrmfl.common.arrays import Present
from skfdrmfl.common.progress import Bar
from skfdrmfl.estimator._callbacks import Task
from skfdrmfl.estimator._postponed import Postponed, fits_go_to
from skfdrmfl.federation.engines.rows import Run
from skfdrmfl.federation.widths import stackable
from skfdrmfl.model_selection._prepared import PreparedFit, give_fitted_attributes
from skfdrmfl.model_selection._workers import Workers

# Prepared rows that may wait in the pool.
MAX_WAITING_BYTES = 256_000_000


class FitPool:
    """Prepared fits, and the models trained for them.

    Parameters
    ----------
    workers : Workers
        Who trains.
    most_waiting : int, default=None
        Train as soon as this many fits wait; None lets as many wait as `MAX_WAITING_BYTES` of rows allow.
    bar : Bar
        Shows how many fits are trained.
    task : Task
        What the passes are part of.

    Attributes
    ----------
    seconds : float
        Time spent in training so far.
    """

    def __init__(self, workers: Workers, bar: Bar, task: Task, most_waiting: int | None = None):
        self.workers = workers
        self.most_waiting = most_waiting
        self.bar, self.task = bar, task
        self.seconds = 0.0
        self._collecting = False
        # By the hash of all that a fit depends on:
        self._waiting: dict[str, PreparedFit] = {}
        self._donors: dict[str, Any] = {}  # the trained
        self._errors: dict[str, Exception] = {}  # what training raised
        # Prepared rows of the fits that wait, by their own hash.
        self._tables: dict[str, tuple[Tensor, Tensor, Present | None]] = {}

    # ------------------------------------------------------------------------------- the search's side

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """Put the fits inside in the pool; on leaving, train all that wait."""
        self._collecting = True
        try:
            with fits_go_to(self):
                yield
                self._train_waiting()
        finally:
            self._collecting = False

    def train_if_full(self) -> None:
        """Train the fits that wait if no more of them may wait."""
        if self._is_full():
            self._train_waiting()

    @contextmanager
    def replaying(self) -> Iterator[None]:
        """Let the fits inside take their models from the pool."""
        with fits_go_to(self):
            yield

    # ---------------------------------------------------------------------------- the estimator's side

    def fit(self, estimator: Any, X: Any, y: Any, client_ids: Any, groups: Any = None) -> bool:
        """Fit the estimator from the pool, or put its fit in it; False if it must train by itself."""
        try:
            key = joblib.hash((type(estimator), estimator.get_params(), X, y, client_ids, groups))
        except Exception:  # a parameter that cannot be pickled, such as a lambda
            key = None
        if self._collecting:
            if key is not None and not self._knows(key):
                prepared = PreparedFit.of(estimator, X, y, client_ids, groups)
                self._waiting[key] = replace(prepared, run=self._on_shared_rows(prepared.run))
            raise Postponed
        if key in self._errors:
            raise self._errors[key]
        if key not in self._donors:
            return False
        give_fitted_attributes(self._donors[key], estimator)
        return True

    # ------------------------------------------------------------------------------------------ inside

    def _knows(self, key: str) -> bool:
        return key in self._waiting or key in self._donors or key in self._errors

    def _on_shared_rows(self, run: Run) -> Run:
        """Return the run on the rows of another that waits, if theirs are equal, as for candidates of one fold."""
        key = joblib.hash((run.x.cpu().numpy(), run.y.cpu().numpy(), run.present))
        x, y, present = self._tables.setdefault(key, (run.x, run.y, run.present))
        return replace(run, x=x, y=y, present=present)

    def _is_full(self) -> bool:
        if self.most_waiting is not None:
            return len(self._waiting) >= self.most_waiting
        return sum(x.numel() * x.element_size() for x, *_ in self._tables.values()) > MAX_WAITING_BYTES

    def _train_waiting(self) -> None:
        """Train the fits that wait, group by group, each group in one pass."""
        start = time.perf_counter()
        groups: dict[tuple, dict[str, PreparedFit]] = {}
        for key, prepared in self._waiting.items():
            groups.setdefault(prepared.group, {})[key] = prepared
        for group in groups.values():
            self._train_group(group)
        self._waiting.clear()
        self._tables.clear()
        self.seconds += time.perf_counter() - start

    def _train_group(self, group: dict[str, PreparedFit]) -> None:
        keys, fits = list(group), list(group.values())
        n_trained_before = len(self._donors) + len(self._errors)
        runs, network = stackable([fit.run for fit in fits], [fit.network for fit in fits])
        of_pass = self.task.sub("pass", None)

        def report(n_trained: float) -> None:
            self.bar.reach(n_trained_before + n_trained)
            of_pass.sub("part").end(lambda: {"n_fits": n_trained_before + n_trained})

        of_all = fits[0].schedule, fits[0].engine, report, max(fit.n_threads for fit in fits)
        for numbers, trained in self.workers.train(network, runs, *of_all):
            for i, number in enumerate(numbers):
                try:
                    fits[number].take_over(network, trained, i)
                    self._donors[keys[number]] = fits[number].donor
                except ValueError as error:
                    self._errors[keys[number]] = error
        of_pass.end()
