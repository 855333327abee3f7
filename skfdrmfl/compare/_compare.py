"""The comparison itself: every method meets the same folds, and every reduction the same regressor.

A reduction turns the training rows into `n_components` scores, one and the same regressor is fitted on those, and the
test rows of every fold are predicted once. Beside them stand regressions on all columns. All that is learned, scalers
and numbers of components included, is learned from training rows. A mean predictor stands first, because an error says
little without its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone
from sklearn.metrics import r2_score
from sklearn.utils import check_consistent_length, column_or_1d

from skfdrmfl.common.arrays import Float
from skfdrmfl.common.version import versions
from skfdrmfl.common.warn import warn_caller
from skfdrmfl.compare import _arguments
from skfdrmfl.compare._comparison import Comparison
from skfdrmfl.compare._methods import Run, fdrmfl_runs, reductions, regressions, ridge, rival_runs
from skfdrmfl.compare._permutation import permutation_stages, permutation_tests
from skfdrmfl.compare._result import MethodResult
from skfdrmfl.compare._subsets import curve_stages, modality_stages, shares_of
from skfdrmfl.compare._training import Outcome, Progress, Rows, cross_validate
from skfdrmfl.compare._variation import Stage, variations_of
from skfdrmfl.data.column_names import output_names
from skfdrmfl.data.row_names import check_same_rows
from skfdrmfl.estimator._transformer import FDRMFLTransformer
from skfdrmfl.metrics import r2_per_client, rmse, rpd


class ComparisonInterrupted(KeyboardInterrupt):
    """Ctrl-C during :func:`compare`.

    Attributes
    ----------
    finished : Comparison or None
        What was finished by then: whole methods, or the first seeds of one; None if nothing was.
    """

    def __init__(self, finished: Comparison | None):
        super().__init__("the comparison was interrupted")
        self.finished = finished


def compare(
    X: ArrayLike,
    y: ArrayLike,
    client_ids: ArrayLike | Callable[[int], ArrayLike],
    *,
    groups: ArrayLike | None = None,
    n_components: int = 2,
    n_splits: int | None = None,
    n_seeds: int = 3,
    regressor: Any = None,
    transformer: Any = None,
    rivals: Mapping[str, Any] | None = None,
    random_state: int = 0,
    progress: Progress | None = None,
    learning_curve: bool | Sequence[float] = False,
    by_modality: bool = False,
    n_permutations: int = 0,
    save: Callable[[Comparison], object] | None = None,
) -> Comparison:
    """Cross-validate FDRMFL, the usual reductions before the same regressor, and regressions, on the same folds.

    Parameters
    ----------
    X : array-like or dataframe of shape (n_samples, n_features)
        Rows of all clients. Discrete columns of a dataframe are one column a label to all methods but FDRMFL, which
        embeds them.
    y : array-like or dataframe of shape (n_samples,) or (n_samples, n_outputs)
        One numeric target or several, which FDRMFL and PLS scores learn together.
    client_ids : array-like of shape (n_samples,), or callable
        The client of each row; or a function of a seed (int) that returns them, so that the split into
        clients varies with the seed as well.
    groups : array-like of shape (n_samples,), default=None
        Rows that must not be parted, such as repeated measurements of one sample: one group is always in one fold.
        FDRMFL is given the groups of its training rows, to keep them together in the rows that it holds out itself.
    n_components : int, default=2
        Number of features every method may pass on.
    n_splits : int, default=None
        Number of shuffled folds. None means five, or as many as there are groups, or rows.
    n_seeds : int, default=3
        Number of seeds: FDRMFL, the random projection and a callable `client_ids` are repeated with
        `random_state`, `random_state + 1`, ... The folds stay.
    regressor : regressor, default=None
        What is fitted on the features of all clients' training rows, of every reduction; y_hat only does without. None
        means `RidgeCV(alphas=numpy.logspace(-6, 3, 10))`, with a penalty for each output.
    transformer : FDRMFLTransformer, default=None
        The federated transformer, for settings of your own such as `modalities`; `n_components` and
        `random_state` are set here. None means the default settings.
    rivals : dict of str to estimator, default=None
        Further methods, by the names they are to have in the table. A regressor or a Pipeline that ends in one is used
        as it is; what has no `predict` is a reduction and followed by `regressor`. Each is fitted to the pooled rows,
        and given `client_ids` and `groups` if its metadata request asks for them. One that fails is left out, with a
        warning; `settings["failed"]` has its error.
    random_state : int, default=0
        First seed, and seed of the folds.
    progress : callable, default=None
        Called as `progress(done, total, name)` before the first and after every fit; in the midst of one that takes
        long again, with what it is at in the name.
    learning_curve : bool or sequence of float, default=False
        Whether to compare with fewer training rows too: an eighth, a quarter and a half of those of each client, or the
        shares given. Groups stay whole and no client is lost, other than in scikit-learn's `learning_curve`. Where
        `client_ids` are given, not dealt by a callable, with 1, 2, 4, ... of the clients as well. A seed is a draw.
    by_modality : bool, default=False
        Whether to compare with each modality alone, and without each, too.
    n_permutations : int, default=0
        How often FDRMFL is cross-validated again under the first seed with y permuted: inside clients, and whole groups
        with groups of as many rows.
    save : callable, default=None
        Called with what is finished, a :class:`Comparison` that is not `complete`, after each method; not more often
        than takes a tenth of the time.

    Returns
    -------
    Comparison
        One :class:`MethodResult` each, and for each output, for: the mean predictor; PCA; TruncatedSVD;
        GaussianRandomProjection; PLS scores; PLS with 16 components, if it fits; PLS regression with as many components
        as inner folds choose, on spectra also behind SNV, behind a first derivative (SG1) and behind the pre-treatment
        that the same folds choose; RidgeCV on all columns; the rivals; FDRMFL; its y_hat only; FDRMFL trained
        centrally; and FDRMFL trained by each client alone (under the first seed only). A modality is a spectrum if it
        has 20 columns and the median |correlation| of neighbouring ones is above .9.

    Raises
    ------
    InvalidArgument
        A ValueError: an argument cannot work with these data. It is raised before any training.
    ComparisonInterrupted
        A KeyboardInterrupt, after Ctrl-C; it has what is finished.
    ValueError
        Labels of clients that are missing or cannot be compared, before any training too.
    Exception
        Whatever a fit raises; its attribute `finished` is what was finished by then, as of `ComparisonInterrupted`.

    Examples
    --------
    >>> from skfdrmfl.compare import compare
    >>> from skfdrmfl.datasets import load_tecator, make_client_ids
    >>> X, y = load_tecator(target="fat", return_X_y=True)
    >>> comparison = compare(X, y, make_client_ids(y, 3, random_state=0))  # doctest: +SKIP
    >>> print(comparison.to_table())  # doctest: +SKIP
    """
    check_consistent_length(X, y, groups)
    check_same_rows(X=X, y=y, client_ids=client_ids, groups=groups)
    measured = _arguments.targets(y)
    _arguments.check_complete("X", X)
    _arguments.check_complete("y", measured)
    seeds = _arguments.check_seeds(random_state, n_seeds)
    folds = _arguments.make_folds(X, groups, n_splits, random_state)
    _arguments.check_components(n_components, X, folds)
    clients = _arguments.clients_by_seed(client_ids, seeds, len(measured))
    outputs = output_names(y)
    n_outputs = len(outputs)
    regressor = ridge(n_outputs) if regressor is None else regressor
    transformer = clone(FDRMFLTransformer() if transformer is None else transformer)
    _arguments.check_transformer(transformer)
    transformer.set_params(n_components=n_components)
    named = repr(transformer)
    if getattr(transformer, "suspects", "drop") != "drop":  # looked for once: fits of folds number rows of their own
        transformer._suspects_before(X, measured, clients[0], groups)
        transformer.set_params(suspects="ignore")

    shares = shares_of(learning_curve)
    labels = None if groups is None else column_or_1d(groups)
    rows = Rows(X, measured, clients, labels, folds)

    def make_runs(X: ArrayLike, transformer: Any) -> list[Run]:
        """Return the runs of all methods on these columns, FDRMFL last."""
        most_components = min(np.shape(X)[1], *(len(train) for train, _ in folds))
        runs = [
            *reductions(n_components, most_components, seeds, regressor, X),
            *regressions(n_outputs, random_state, X, getattr(transformer, "modalities", None)),
            *fdrmfl_runs(transformer, seeds, clients, regressor),
        ]
        first = next(i for i, run in enumerate(runs) if run.head_name)
        taken = {name for run in runs for name in (run.name, run.head_name)}
        runs[first:first] = rival_runs(rivals, taken, regressor)
        return runs

    runs = make_runs(X, transformer)
    stages = [
        *curve_stages(runs, rows, shares, random_state, by_client=not callable(client_ids)),
        *(modality_stages(make_runs, rows, transformer) if by_modality else ()),
        *permutation_stages(runs, rows, n_permutations, random_state),
    ]
    fold_of_row = np.empty(len(measured), dtype=np.intp)
    for number, (_, test) in enumerate(folds):
        fold_of_row[test] = number
    settings = {
        "n_samples": len(measured),
        "n_features": int(np.shape(X)[1]),
        "n_clients": len(np.unique(clients[0])),
        "n_components": n_components,
        "n_splits": len(folds),
        "grouped": groups is not None,
        "n_seeds": n_seeds,
        "random_state": random_state,
        "regressor": type(regressor).__name__,
        "transformer": named,
        "rivals": {name: repr(rival) for name, rival in (rivals or {}).items()},
        "versions": versions(),
    }
    asked = {"learning_curve": list(shares), "by_modality": bool(by_modality), "n_permutations": n_permutations}
    settings |= {name: value for name, value in asked.items() if value}
    units = None if labels is None else np.unique(labels, return_inverse=True)[1]
    finished: list[Outcome] = []
    beside: list[tuple[Stage, list[Outcome]]] = []
    failed: dict[str, dict[str, str]] = {}  # of what varies, "" of the comparison itself

    def so_far(*, complete: bool) -> Comparison | None:
        """Return what is finished, if anything is."""
        if not finished:
            return None
        methods = tuple(
            _result(name, output, of_method, j, column, clients)
            for j, (output, column) in enumerate(zip(outputs, measured.reshape(len(measured), -1).T, strict=True))
            for name, of_method in _by_method(finished, runs).items()
        )
        return Comparison(
            methods=methods,
            measured=measured,
            client_ids=clients,
            fold=fold_of_row,
            settings=settings | ({"failed": failed[""]} if "" in failed else {}),
            groups=units,
            outputs=outputs,
            ledger=next((outcome.ledger for outcome in finished if outcome.ledger), {}),
            variations=variations_of(beside, failed, methods, measured, units),
            permutations=permutation_tests(beside, methods),
            complete=complete,
        )

    def left_out(along: str, point: str, run: Run, error: Exception) -> None:
        """Write down where a method could not be fitted, and why."""
        why = f"{type(error).__name__}: {error}"
        failed.setdefault(along, {}).setdefault(f"{run.name}, {point}" if along else run.name, why)
        if not along:
            warn_caller(f"the rival {run.name!r} cannot be fitted and is left out ({why}).")

    next_save = 0.0

    def keep() -> None:
        """Hand what is finished to `save`, but where that would take more than a tenth of the time."""
        nonlocal next_save
        if save is not None and (start := time.monotonic()) >= next_save and (found := so_far(complete=False)):
            save(found)
            next_save = time.monotonic() + 9 * (time.monotonic() - start)

    total, done = (len(runs) + sum(len(stage.runs) for stage in stages)) * len(folds), 0

    def show(n_fits: int, name: str) -> None:
        if progress is not None:
            progress(done + n_fits, total, name)

    try:
        for outcome in cross_validate(runs, rows, show, partial(left_out, "", "")):
            finished.append(outcome)
            keep()
        done = len(runs) * len(folds)
        for stage in stages:
            note = partial(left_out, stage.along, stage.point)
            beside.append((stage, list(cross_validate(stage.runs, stage.rows, show, note))))
            done += len(stage.runs) * len(folds)
            keep()
    except KeyboardInterrupt as error:
        raise ComparisonInterrupted(so_far(complete=False)) from error
    except Exception as error:
        vars(error)["finished"] = so_far(complete=False)
        raise
    found = so_far(complete=True)
    assert found is not None  # the mean predictor can always be fitted
    return found


def _by_method(outcomes: Sequence[Outcome], runs: Sequence[Run]) -> dict[str, list[Outcome]]:
    """Return the outcomes of each method by its name, methods in the order of the runs, whichever was done first."""
    of_methods: dict[str, list[Outcome]] = {name: [] for run in runs for name in (run.name, run.head_name)}
    for outcome in outcomes:
        of_methods[outcome.run.name].append(outcome)
    return {name: of_method for name, of_method in of_methods.items() if of_method}


def _result(name: str, output: str, outcomes: list[Outcome], j: int, y: Float, clients: NDArray[Any]) -> MethodResult:
    """Return the measures of one method from the outcomes of its runs, for one output: the j-th, y (n,)."""
    outcomes = [o._replace(predicted=o.predicted.reshape(len(y), -1)[:, j]) for o in outcomes]

    def of_runs(measure: Callable[..., float]) -> Float:
        return np.array([measure(y[o.covered], o.predicted[o.covered]) for o in outcomes], dtype=np.float64)

    return MethodResult(
        name=name,
        predicted=np.stack([outcome.predicted for outcome in outcomes]),
        rmse=of_runs(rmse),
        r2=of_runs(r2_score),
        rpd=of_runs(rpd),
        fit_seconds=float(np.mean([outcome.fit_seconds for outcome in outcomes])),
        client_r2=_mean_client_r2(outcomes, y, clients),
        output=output,
    )


def _mean_client_r2(outcomes: list[Outcome], y: Float, clients: NDArray[Any]) -> dict[Any, float]:
    """Return R² on each client's own rows: the mean over the seeds in which it is defined."""
    values: dict[Any, list[float]] = {client: [] for client in np.unique(clients).tolist()}
    for run, predicted, covered, *_ in outcomes:
        # A method without a seed is the same under each of them, but the clients' rows are not.
        for client_of_row in clients if run.seed is None else clients[[run.seed]]:
            for client, r2 in r2_per_client(y[covered], predicted[covered], client_of_row[covered]).items():
                if run.client in (None, client) and not np.isnan(r2):
                    values[client].append(r2)
    return {client: float(np.mean(of_seeds)) if of_seeds else np.nan for client, of_seeds in values.items()}
