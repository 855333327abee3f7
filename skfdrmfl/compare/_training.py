"""Fits of the comparison: each run on each fold."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn import config_context
from sklearn.base import clone
from sklearn.utils import _safe_indexing as take_rows
from sklearn.utils.metadata_routing import get_routing_for_object
from threadpoolctl import threadpool_limits

from skfdrmfl.common.arrays import Float
from skfdrmfl.common.progress import told_to
from skfdrmfl.compare._arguments import Fold
from skfdrmfl.compare._methods import Run
from skfdrmfl.data.categories import UNKNOWN_LABELS

Progress = Callable[[int, int, str], None]
MIDST_AFTER = 0.5  # seconds, of a fit that takes long


class Rows(NamedTuple):
    """The rows to learn from and to predict, and what is known of each."""

    X: ArrayLike
    y: Float  # (n,) or (n, n_outputs)
    clients: NDArray[Any]  # (n_seeds, n)
    groups: NDArray[Any] | None
    folds: list[Fold]


class Outcome(NamedTuple):
    """What the cross-validation of one run gave."""

    run: Run
    predicted: Float  # out-of-fold predictions, of the shape of y and in its unit
    covered: NDArray[np.bool_]  # (n,), rows of folds in which the model could be trained
    fit_seconds: float  # median wall time of a fit
    ledger: dict[str, Any]  # messages of the first fit, if it was federated


def cross_validate(
    runs: list[Run], rows: Rows, progress: Callable[[int, str], None], left_out: Callable[[Run, Exception], None]
) -> Iterator[Outcome]:
    """Fit every run on every training fold and predict its test fold; yield the outcome of each run.

    A rival of the user that cannot be fitted is handed to `left_out`, with its error; that of another run is raised.
    `progress` is told how many fits are done before the first, after every, and in the midst of one that takes long.
    """
    n_folds = len(rows.folds)
    progress(0, runs[0].name)
    last = time.monotonic()
    for number, run in enumerate(runs):

        def fitted(fold: int, stage: str = "", run: Run = run, first: int = number * n_folds) -> None:
            nonlocal last
            if not stage or time.monotonic() - last >= MIDST_AFTER:
                last = time.monotonic()
                progress(first + fold, f"{run.name}, {stage}" if stage else run.name)

        # More threads gain little at these sizes, stall on a busy machine, and change the last bits.
        with threadpool_limits(limits=1):
            try:
                outcomes = list(_outcomes(run, rows, fitted))
            except Exception as error:
                if not run.is_rival:
                    raise
                left_out(run, error)
                outcomes = []
                fitted(n_folds)
        yield from outcomes


def _outcomes(run: Run, rows: Rows, fitted: Callable[..., None]) -> Iterator[Outcome]:
    """Yield the outcome of one run, and that of its reducer's own head; none where it could not be trained."""
    predicted, by_head = np.full((2, *rows.y.shape), np.nan)
    covered = np.zeros(len(rows.y), dtype=bool)
    seconds: list[float] = []
    ledger: dict[str, Any] = {}
    for fold, (train, test) in enumerate(rows.folds):
        mine = _mine(run, rows, train)
        if len(mine) >= 2:
            start = time.perf_counter()
            with told_to(partial(fitted, fold)):  # in the midst of a fit as many are done
                model = _fit(run, rows, mine)
            seconds.append(time.perf_counter() - start)
            with config_context(transform_output="default"), warnings.catch_warnings():
                warnings.filterwarnings("ignore", UNKNOWN_LABELS)  # of one client's rows others are to be unknown
                X_test = take_rows(rows.X, test)
                predicted[test] = np.reshape(model.predict(X_test), predicted[test].shape)
                if run.head_name:
                    by_head[test] = np.reshape(model.named_steps["reduce"].predict(X_test), by_head[test].shape)
                    ledger = ledger or _ledger(model.named_steps["reduce"], len(mine))
            if not np.isfinite(predicted[test]).all():
                raise ValueError(f"what {run.name} predicts contains NaN or infinity.")
            covered[test] = True
        fitted(fold + 1)
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


def _ledger(reducer: Any, n_rows: int) -> dict[str, Any]:
    """Return the messages of a fit by kind and by client, as plain values."""
    log = getattr(reducer, "federation_log_", None)
    if log is None:
        return {}
    by_client = [{**row, "client": str(row["client"])} for row in log.by_client()]
    return {"n_rows": n_rows, "n_rounds": int(reducer.n_rounds_), "by_kind": log.by_kind(), "by_client": by_client}
