"""Fits of the comparison: each run on each fold, those of FDRMFL together in one pass where they can be."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
from sklearn import config_context
from sklearn.base import clone
from sklearn.utils import _safe_indexing as take_rows
from sklearn.utils.metadata_routing import get_routing_for_object
from threadpoolctl import threadpool_limits

from skfdrmfl.compare._arguments import Fold
from skfdrmfl.compare._methods import Run
from skfdrmfl.estimator._callbacks import Task
from skfdrmfl.estimator._postponed import Postponed
from skfdrmfl.estimator._privacy import is_private
from skfdrmfl.estimator._transformer import FDRMFLTransformer
from skfdrmfl.model_selection._pool import FitPool
from skfdrmfl.model_selection._workers import Workers

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


Progress = Callable[[int, int, str], None]


class Rows(NamedTuple):
    """The rows to learn from and to predict, and what is known of each."""

    X: ArrayLike
    y: NDArray[np.float64]  # (n,) or (n, n_outputs)
    clients: NDArray[Any]  # (n_seeds, n)
    groups: NDArray[Any] | None
    folds: list[Fold]


class Outcome(NamedTuple):
    """What the cross-validation of one run gave."""

    run: Run
    predicted: NDArray[np.float64]  # out-of-fold predictions, of the shape of y and in its unit
    covered: NDArray[np.bool_]  # (n,), rows of folds in which the model could be trained
    fit_seconds: float  # median wall time of a fit
    ledger: dict[str, Any]  # messages of the first fit, if it was federated


def cross_validate(runs: list[Run], rows: Rows, progress: Progress) -> Iterator[Outcome]:
    """Fit every run on every training fold and predict its test fold; yield the outcome of each run."""
    counter = _Counter(len(runs) * len(rows.folds), runs[0].name, progress)
    alone = [run for run in runs if not _can_wait(run.model)]
    together = [run for run in runs if _can_wait(run.model)]
    for run in alone:
        # More threads gain little at these sizes, stall on a busy machine, and change the last bits.
        with threadpool_limits(limits=1):
            outcomes = list(_outcomes(run, rows, counter))
        yield from outcomes
    if not together:
        return
    pool = FitPool(Workers(), cast("Any", counter), Task(None))
    counter.begin_pass(len(together) * len(rows.folds), together[0].name)
    _train_together(pool, together, rows)
    counter.finish()
    share = pool.seconds / (len(together) * len(rows.folds))
    with pool.replaying():
        for run in together:
            for outcome in _outcomes(run, rows, None):
                yield outcome._replace(fit_seconds=outcome.fit_seconds + share)


def _train_together(pool: FitPool, runs: list[Run], rows: Rows) -> None:
    """Train the transformers of all these fits in one pass, as `VectorizedGridSearchCV` does."""
    with pool.collecting():
        for run in runs:
            for train, _ in rows.folds:
                mine = _mine(run, rows, train)
                if len(mine) < 2:
                    continue
                try:
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")  # they come again when the fit is taken from the pool
                        _fit(run, rows, mine)
                except Postponed:
                    pass
                except Exception:  # so does this
                    pass
                pool.train_if_full()


def _outcomes(run: Run, rows: Rows, counter: _Counter | None) -> Iterator[Outcome]:
    """Yield the outcome of one run, and that of its reducer's own head; none where it could not be trained."""
    predicted, by_head = np.full((2, *rows.y.shape), np.nan)
    covered = np.zeros(len(rows.y), dtype=bool)
    seconds: list[float] = []
    ledger: dict[str, Any] = {}
    for train, test in rows.folds:
        mine = _mine(run, rows, train)
        if len(mine) >= 2:
            start = time.perf_counter()
            model = _fit(run, rows, mine)
            seconds.append(time.perf_counter() - start)
            with config_context(transform_output="default"):
                X_test = take_rows(rows.X, test)
                predicted[test] = np.reshape(model.predict(X_test), predicted[test].shape)
                if run.head_name:
                    by_head[test] = np.reshape(model.named_steps["reduce"].predict(X_test), by_head[test].shape)
                    ledger = ledger or _ledger(model.named_steps["reduce"], len(mine))
            covered[test] = True
        if counter is not None:
            counter.count(run.name)
    if covered.sum() >= 2:  # fewer have no R²
        outcome = Outcome(run, predicted, covered, float(np.median(seconds)), ledger)
        yield outcome
        if run.head_name:
            yield outcome._replace(run=run._replace(name=run.head_name), predicted=by_head)


def _mine(run: Run, rows: Rows, train: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the training rows of a fold that a run may see."""
    if run.client is None:
        return train
    return train[rows.clients[run.seed or 0][train] == run.client]


def _fit(run: Run, rows: Rows, mine: NDArray[np.intp]) -> Any:
    """Return the model of a run fitted to some rows, given of clients and groups what it asks for."""
    model = clone(run.model)
    metadata = {"client_ids": rows.clients[run.seed or 0][mine]}
    if rows.groups is not None:
        metadata["groups"] = rows.groups[mine]
    # The user's setting of transformers' output must not change what the regressor is given.
    with config_context(enable_metadata_routing=True, transform_output="default"):
        asked = get_routing_for_object(model).consumes("fit", metadata.keys())
        return model.fit(take_rows(rows.X, mine), rows.y[mine], **{name: metadata[name] for name in asked})


def _can_wait(model: Any) -> bool:
    """Return whether a model's fit can be left to a pass: a transformer of ours that keeps no bill of its privacy."""
    ours = [part for part in (model, *model.get_params(deep=True).values()) if isinstance(part, FDRMFLTransformer)]
    return bool(ours) and not any(is_private(part) or part.checkpoint_path is not None for part in ours)


def _ledger(reducer: Any, n_rows: int) -> dict[str, Any]:
    """Return the messages of a fit by kind and by client, as plain values."""
    log = getattr(reducer, "federation_log_", None)
    if log is None:
        return {}
    by_client = [{**row, "client": str(row["client"])} for row in log.by_client()]
    return {"n_rows": n_rows, "n_rounds": int(reducer.n_rounds_), "by_kind": log.by_kind(), "by_client": by_client}


class _Counter:
    """Counts fits for `progress`; to the pool it is the bar of a search.

    Parameters
    ----------
    total : int
        Fits to come.
    name : str
        The first method.
    progress : callable
    """

    def __init__(self, total: int, name: str, progress: Progress):
        self.done, self.total, self.progress = 0, total, progress
        self.before, self.n_fits, self.name = 0, 0, name
        progress(0, total, name)

    def count(self, name: str) -> None:
        """Count one fit."""
        self.done += 1
        self.progress(self.done, self.total, name)

    def begin_pass(self, n_fits: int, name: str) -> None:
        """Begin a pass of so many fits, named for the first of them."""
        self.before, self.n_fits, self.name = self.done, n_fits, name

    def reach(self, n_done: float, text: str = "") -> None:
        """Show that so many fits of the pass are done."""
        done = self.before + min(int(n_done), self.n_fits)
        if done > self.done:
            self.done = done
            self.progress(done, self.total, self.name)

    def finish(self) -> None:
        """Show that the pass is done; fits that are equal were trained once."""
        self.reach(self.n_fits)
