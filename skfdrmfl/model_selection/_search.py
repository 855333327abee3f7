"""Searches over FDRMFL's parameters that train candidates, folds and clients in one pass."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from typing import Any, NamedTuple

import numpy as np
from joblib import parallel_config
from sklearn.base import BaseEstimator, clone
from sklearn.model_selection import (
    GridSearchCV,
    ParameterGrid,
    ParameterSampler,
    RandomizedSearchCV,
    check_cv,
)
from sklearn.model_selection._search import BaseSearchCV
from sklearn.utils import _safe_indexing, indexable
from sklearn.utils.metadata_routing import get_routing_for_object
from sklearn.utils.validation import _check_method_params

from skfdrmfl.common.progress import Bar
from skfdrmfl.estimator._callbacks import Task
from skfdrmfl.estimator._postponed import Postponed
from skfdrmfl.estimator._privacy import is_private
from skfdrmfl.estimator._representation import DocumentationLink
from skfdrmfl.estimator._transformer import FDRMFLTransformer
from skfdrmfl.model_selection._pool import FitPool
from skfdrmfl.model_selection._workers import Workers

__all__ = ["VectorizedGridSearchCV", "VectorizedRandomizedSearchCV"]


class _FixedSplits:
    """A splitter's folds, drawn once: the pool and the scores must see the same ones."""

    def __init__(self, cv: Any, splits: list[tuple[Any, Any]]):
        self.cv, self.splits = cv, splits

    def split(self, X: Any = None, y: Any = None, **params: Any) -> Iterator[tuple[Any, Any]]:
        return iter(self.splits)

    def get_n_splits(self, X: Any = None, y: Any = None, **params: Any) -> int:
        return len(self.splits)

    def get_metadata_routing(self) -> Any:
        return get_routing_for_object(self.cv)


class _Tasks(NamedTuple):
    """What each candidate is fitted to: the training rows of each fold, with what is routed to `fit`; and `verbose`."""

    X: Any
    y: Any
    fit_params: dict[str, Any]
    splits: list[tuple[Any, Any]]
    verbose: int


class _VectorizedSearch(DocumentationLink, BaseSearchCV):
    """Goes through the search twice: once to gather the fits and train them, once to score them."""

    cv: Any
    verbose: int
    _pool_seconds: float

    def fit(self, X: Any, y: Any = None, **params: Any) -> Any:
        """Run the search; as scikit-learn's, with `client_ids` routed or passed by step name.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        **params : dict
            Passed to `fit` of the estimator, to the splitter (`groups`) and to the scorer.

        Returns
        -------
        self
        """
        self._validate_params()
        cv, verbose = self.cv, self.verbose
        X, y = indexable(X, y)
        routed = self._get_routed_params_for_fit(_check_method_params(X, params=params))
        splits = list(check_cv(cv, y, classifier=False).split(X, y, **routed.splitter.split))
        self._tasks, self._workers = _Tasks(X, y, routed.estimator.fit, splits, verbose), Workers(self.n_jobs)
        # What scikit-learn would print of each fit is not true of fits that were trained before.
        self.cv, self.verbose = _FixedSplits(cv, splits), 0
        try:
            # Training goes to the workers taken above. All else stays in this thread, where the pool is known.
            with parallel_config(backend="sequential"):
                super().fit(X, y, **params)
        finally:
            self.cv, self.verbose = cv, verbose
            del self._tasks, self._workers
        n_fits = len(self.cv_results_["params"]) * self.n_splits_
        self.cv_results_["mean_fit_time"] = self.cv_results_["mean_fit_time"] + self._pool_seconds / n_fits
        return self

    def _run_search(self, evaluate_candidates: Callable[..., Any], *, callback_ctx: Any = None) -> None:
        candidates = list(self._candidates())
        for candidate in candidates:
            _check_no_checkpoints(self._with(candidate))
        X, y, _, splits, verbose = self._tasks
        n_fits = len(candidates) * len(splits)
        if verbose > 0:
            print(f"[search] {len(candidates)} candidates, {len(splits)} folds: {n_fits} fits", flush=True)
        context = None if callback_ctx is None else callback_ctx.subcontext(task_name="search", max_subtasks=None)
        task = Task(self, context, X, y).begin()
        with closing(Bar("[search] training", n_fits, "fit", shown=verbose > 0)) as bar:
            pool = FitPool(self._workers, bar, task, self.chunk_size)
            with pool.collecting():
                for candidate in candidates:
                    for train, _ in splits:
                        self._collect(candidate, train)
                        pool.train_if_full()
            bar.reach(n_fits)  # candidates that differ only in later steps share fits
        self._pool_seconds = pool.seconds
        with pool.replaying():
            if context is None:
                results = evaluate_candidates(candidates)
            else:
                options = {"task_name": "evaluation", "max_subtasks": n_fits, "sequential_subtasks": False}
                context = context.subcontext(**options)
                evaluation = Task(self, context, X, y).begin()
                results = evaluate_candidates(candidates, callback_ctx=context)
                evaluation.end()
        task.end()
        if verbose > 1:
            _print_scores(results)

    def _with(self, candidate: dict[str, Any]) -> Any:
        """Return a clone of the estimator with the parameters of a candidate."""
        return clone(self.estimator).set_params(**clone(candidate, safe=False))

    def _collect(self, candidate: dict[str, Any], train: Any) -> None:
        """Put the fit of one candidate to the training rows of one fold in the pool."""
        X, y, fit_params = self._tasks[:3]
        try:
            estimator = _unheard(self._with(candidate))
            if not _holds_fdrmfl(estimator):
                return
            _refuse_private(estimator)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # they come again when the fit is scored
                estimator.fit(
                    _safe_indexing(X, train),
                    None if y is None else _safe_indexing(y, train),
                    **_check_method_params(X, params=fit_params, indices=train),
                )
        except Postponed:
            pass
        except PrivateSearch:
            raise
        except Exception:  # it comes again, and is dealt with as `error_score` says
            pass


def _print_scores(results: dict[str, Any]) -> None:
    """Print a line for each candidate: its scores, mean and folds."""
    names = [name.removeprefix("mean_test_") for name in results if name.startswith("mean_test_")]
    for i, candidate in enumerate(results["params"]):
        said = []
        for name in names:
            splits = [results[key][i] for key in results if re.fullmatch(rf"split\d+_test_{re.escape(name)}", key)]
            folds = ", ".join(f"{score:.4g}" for score in splits)
            said.append(f"{name} {results[f'mean_test_{name}'][i]:.4g} ({folds})")
        print(f"[search] {i + 1}/{len(results['params'])} {candidate}: {'; '.join(said)}", flush=True)


def _unheard(estimator: BaseEstimator) -> BaseEstimator:
    """Return the estimator, of which no callback will hear: its fit comes again when it is scored."""
    for part in (estimator, *estimator.get_params(deep=True).values()):
        if hasattr(part, "get_params") and not isinstance(part, type):
            vars(part).pop("_skl_callbacks", None)
    return estimator


class PrivateSearch(ValueError):
    """A search over clients that are to be private."""


def _refuse_private(estimator: BaseEstimator) -> None:
    for part in (estimator, *estimator.get_params(deep=True).values()):
        if isinstance(part, FDRMFLTransformer) and is_private(part):
            raise PrivateSearch(
                f"dp_noise_multiplier={part.dp_noise_multiplier} in a search: its fits and scores ask the same clients "
                "many times, and nobody adds up the bill; choose settings on public data and fit once, or search with "
                "dp_noise_multiplier=0.0 and dp_clip_norm=inf."
            )


def _holds_fdrmfl(estimator: BaseEstimator) -> bool:
    return bool(_fdrmfl_in(estimator))


def _fdrmfl_in(estimator: BaseEstimator) -> list[FDRMFLTransformer]:
    parts = [estimator, *estimator.get_params(deep=True).values()]
    return [part for part in parts if isinstance(part, FDRMFLTransformer)]


def _check_no_checkpoints(estimator: BaseEstimator) -> None:
    """Raise ValueError where a fit would keep a checkpoint: all fits of a search would have one path."""
    for part in _fdrmfl_in(estimator):
        if part.checkpoint_path is not None:
            raise ValueError(
                f"checkpoint_path is {part.checkpoint_path!r}, but the fits of a search train together and keep no "
                "checkpoints; set checkpoint_path=None, and a path on best_estimator_ if you fit that again."
            )


class VectorizedGridSearchCV(_VectorizedSearch, GridSearchCV):
    """`GridSearchCV` that trains candidates, folds and clients in one stacked pass.

    A drop-in: same `cv_results_`, same routing of `client_ids`, same scores, bit for bit those of
    `GridSearchCV` with the stacked engine (to rounding where candidates keep few and unequal numbers of
    whitened columns). Candidates whose parameters change no shape and no number of steps (weights of the terms,
    temperature, learning rate, decay, penalties, shrinkage, `random_state`) train together; others are grouped.
    Candidates without an `FDRMFLTransformer` are fitted as usual.

    Parameters
    ----------
    estimator : FDRMFLTransformer, or a Pipeline or other meta-estimator that holds one
        Steps before it are fitted on each fold's training rows, steps after it for each candidate.
    param_grid : dict or list of dict
        As in `GridSearchCV`.
    scoring, refit, cv, error_score, return_train_score
        As in `GridSearchCV`.
    n_jobs : int, default=None
        Workers among which each pass is divided, with the same results: processes, or what the active joblib backend
        has instead (threads, machines of a cluster). None is 1 unless a `joblib.parallel_config` says otherwise, -1
        one for each processor. Preparation, scores and the refit stay in this process.
    pre_dispatch
        Accepted for compatibility.
    verbose : int, default=0
        Above 0, a progress bar on standard error; above 1, the scores of each candidate too.
    chunk_size : int, default=None
        Fits trained in one pass, which bounds memory; None takes as many as 256 MB of prepared rows allow.

    Notes
    -----
    `mean_fit_time` shares a pass's time equally among its fits.
    """

    def __init__(
        self,
        estimator: BaseEstimator,
        param_grid: Any,
        *,
        scoring: Any = None,
        n_jobs: int | None = None,
        refit: Any = True,
        cv: Any = None,
        verbose: int = 0,
        pre_dispatch: Any = "2*n_jobs",
        error_score: Any = np.nan,
        return_train_score: bool = False,
        chunk_size: int | None = None,
    ):
        super().__init__(
            estimator,
            param_grid,
            scoring=scoring,
            n_jobs=n_jobs,
            refit=refit,
            cv=cv,
            verbose=verbose,
            pre_dispatch=pre_dispatch,
            error_score=error_score,
            return_train_score=return_train_score,
        )
        self.chunk_size = chunk_size

    def _candidates(self) -> Iterable[dict[str, Any]]:
        return ParameterGrid(self.param_grid)


class VectorizedRandomizedSearchCV(_VectorizedSearch, RandomizedSearchCV):
    """`RandomizedSearchCV` that trains candidates, folds and clients in one stacked pass.

    See `VectorizedGridSearchCV`; the further parameters are those of `RandomizedSearchCV`.
    """

    def __init__(
        self,
        estimator: BaseEstimator,
        param_distributions: Any,
        *,
        n_iter: int = 10,
        scoring: Any = None,
        n_jobs: int | None = None,
        refit: Any = True,
        cv: Any = None,
        verbose: int = 0,
        pre_dispatch: Any = "2*n_jobs",
        random_state: Any = None,
        error_score: Any = np.nan,
        return_train_score: bool = False,
        chunk_size: int | None = None,
    ):
        super().__init__(
            estimator,
            param_distributions,
            n_iter=n_iter,
            scoring=scoring,
            n_jobs=n_jobs,
            refit=refit,
            cv=cv,
            verbose=verbose,
            pre_dispatch=pre_dispatch,
            random_state=random_state,
            error_score=error_score,
            return_train_score=return_train_score,
        )
        self.chunk_size = chunk_size

    def _candidates(self) -> Iterable[dict[str, Any]]:
        return ParameterSampler(self.param_distributions, self.n_iter, random_state=self.random_state)
