"""Where the trainings of a search run: in this thread, or among the workers of the active joblib backend."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs
from joblib.parallel import get_active_backend

from skfdrmfl.common.threads import quiet_torch
from skfdrmfl.federation.engines import ENGINES
from skfdrmfl.federation.engines.rows import Run
from skfdrmfl.federation.runs import Schedule
from skfdrmfl.federation.simulation import train_together
from skfdrmfl.federation.training import Trained
from skfdrmfl.model.network import Network

# Backends whose workers are on this machine: an engine with threads of its own trains faster without them.
LOCAL = ("LokyBackend", "ThreadingBackend", "MultiprocessingBackend")


class Workers:
    """The workers among which the runs of a pass are divided.

    They belong to the joblib backend that is active where this object is made, and stay the same inside a later
    `joblib.parallel_config`. What a run trains to does not depend on the worker, nor on the runs beside it.

    Parameters
    ----------
    n_jobs : int, default=None
        How many workers, as scikit-learn reads it: None is 1 unless a `joblib.parallel_config` says otherwise, -1 is
        one for each processor. A cluster gives all the workers it has.
    """

    def __init__(self, n_jobs: int | None = None):
        self.n_workers = effective_n_jobs(n_jobs)
        self._parallel = _parallel(n_jobs) if self.n_workers > 1 else None
        self._are_here = type(get_active_backend()[0]).__name__ in LOCAL

    def train(
        self,
        network: Network,
        runs: Sequence[Run],
        schedule: Schedule,
        engine: str,
        report: Callable[[float], None],
        n_threads: int = 1,
    ) -> Iterator[tuple[list[int], Trained]]:
        """Train the runs, each once, and yield the shares they are divided into as they are done.

        Parameters
        ----------
        network, runs, schedule, engine
            As `train_together` takes them.
        report : callable
            Called with how many runs have been trained so far, which is a fraction in the midst of a run.
        n_threads : int, default=1
            On how many an engine that has them is to train at least.

        Yields
        ------
        numbers : list of int
            Positions in `runs` of the runs in this share.
        trained : Trained
            Run i of it is `runs[numbers[i]]`.
        """
        if self._parallel is None or (self._are_here and ENGINES[engine].has_threads):
            n_rounds = max(1, len(schedule.rate_factors))
            with quiet_torch():
                for trained in train_together(network, runs, schedule, engine, max(self.n_workers, n_threads)):
                    report(len(runs) * trained.n_rounds / n_rounds)
            yield list(range(len(runs))), trained
            return
        shares = _shares(runs, self.n_workers)
        results = self._parallel(
            delayed(_train_share)(network, [runs[i] for i in numbers], schedule, engine) for numbers in shares
        )
        n_done = 0
        for numbers, trained in zip(shares, results, strict=True):
            n_done += len(numbers)
            report(n_done)
            yield numbers, trained


def _parallel(n_jobs: int | None) -> Parallel:
    """Return joblib's `Parallel`, one task a dispatch, that gives each result as it comes where the backend can."""
    try:
        return Parallel(n_jobs, return_as="generator", batch_size=1)
    except ValueError:  # this backend has no generators
        return Parallel(n_jobs, batch_size=1)


def _shares(runs: Sequence[Run], n_workers: int) -> list[list[int]]:
    """Divide the positions of the runs among the workers, as evenly as can be.

    Runs of equal rates and decays go side by side, as only those share a chunk of the stacked engine.
    """
    order = sorted(range(len(runs)), key=lambda i: (runs[i].settings.learning_rate, runs[i].settings.weight_decay))
    return [part.tolist() for part in np.array_split(order, min(n_workers, len(runs)))]


def _train_share(network: Network, runs: Sequence[Run], schedule: Schedule, engine: str) -> Trained:
    """Train some runs to the end, in a worker.

    The worker may be a thread, which inherits no context variables: the search's pool is not known here, nor
    needed, because no estimator is fitted.
    """
    with quiet_torch():
        *_, trained = train_together(network, runs, schedule, engine)
    return trained
