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
from numpy.typing import ArrayLike
from sklearn.base import clone
from sklearn.utils import check_consistent_length, column_or_1d

from skfdrmfl.common.version import versions
from skfdrmfl.compare import _arguments
from skfdrmfl.compare._comparison import Comparison
from skfdrmfl.compare._methods import Run, fdrmfl_runs, reductions, regressions, ridge, rival_runs
from skfdrmfl.compare._permutation import permutation_stages
from skfdrmfl.compare._record import Record
from skfdrmfl.compare._subsets import curve_stages, modality_stages, shares_of
from skfdrmfl.compare._training import Progress, Rows, cross_validate
from skfdrmfl.data.column_names import output_names
from skfdrmfl.data.row_names import check_same_rows
from skfdrmfl.estimator._transformer import FDRMFLTransformer


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
        before = [
            *reductions(n_components, most_components, seeds, regressor, X),
            *regressions(n_outputs, random_state, X, getattr(transformer, "modalities", None)),
        ]
        last = list(fdrmfl_runs(transformer, seeds, clients, regressor))
        taken = {name for run in (*before, *last) for name in (run.name, run.head_name)}
        return [*before, *rival_runs(rivals, taken, regressor), *last]

    runs = make_runs(X, transformer)
    stages = [
        *curve_stages(runs, rows, shares, random_state, by_client=not callable(client_ids)),
        *(modality_stages(make_runs, rows, transformer) if by_modality else ()),
        *permutation_stages(runs, rows, n_permutations, random_state),
    ]
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
    record = Record(runs, rows, outputs, settings)
    next_save = 0.0

    def keep() -> None:
        """Hand what is finished to `save`, but where that would take more than a tenth of the time."""
        nonlocal next_save
        if (
            save is not None
            and (start := time.monotonic()) >= next_save
            and (found := record.comparison(complete=False))
        ):
            save(found)
            next_save = time.monotonic() + 9 * (time.monotonic() - start)

    total, done = (len(runs) + sum(len(stage.runs) for stage in stages)) * len(folds), 0

    def show(n_fits: int, name: str) -> None:
        if progress is not None:
            progress(done + n_fits, total, name)

    try:
        for outcome in cross_validate(runs, rows, show, partial(record.leave_out, "", "")):
            record.finished.append(outcome)
            keep()
        done = len(runs) * len(folds)
        for stage in stages:
            note = partial(record.leave_out, stage.along, stage.point)
            record.beside.append((stage, list(cross_validate(stage.runs, stage.rows, show, note))))
            done += len(stage.runs) * len(folds)
            keep()
    except KeyboardInterrupt as error:
        raise ComparisonInterrupted(record.comparison(complete=False)) from error
    except Exception as error:
        vars(error)["finished"] = record.comparison(complete=False)
        raise
    found = record.comparison(complete=True)
    assert found is not None  # the mean predictor can always be fitted
    return found
