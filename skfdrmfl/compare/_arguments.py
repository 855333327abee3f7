"""The arguments of `compare`: what cannot work is refused before any training, the rest becomes folds and clients."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.model_selection import GroupKFold, KFold
from sklearn.utils import _safe_indexing as take_columns
from sklearn.utils import column_or_1d

from skfdrmfl.common.arrays import Float
from skfdrmfl.data.categories import discrete_columns
from skfdrmfl.data.client_ids import check_client_ids
from skfdrmfl.fit.check_input import numbers_of

Fold = tuple["NDArray[np.intp]", "NDArray[np.intp]"]  # positions of training and of test rows
N_SPLITS = 5
MOST_SEED = 2**32 - 1  # of numpy's RandomState


class InvalidArgument(ValueError):
    """An argument of :func:`compare`, `name`, cannot work with these data: its `value`, the `fact` and the `remedy`."""

    def __init__(self, name: str, value: object, fact: str, remedy: str) -> None:
        super().__init__(f"{name}={value!r} {fact}; {remedy}.")
        self.name, self.value, self.fact, self.remedy = name, value, fact, remedy


def targets(y: ArrayLike) -> Float:
    """Return y as numbers, (n,) of one output and (n, n_outputs) of several."""
    values = np.asarray(y)
    if values.ndim != 2 or values.shape[1] == 1:
        values = column_or_1d(values)
    return numbers_of(values)


def check_transformer(transformer: Any) -> None:
    """Refuse a transformer that keeps checkpoints: its many fits would have one path."""
    path = getattr(transformer, "checkpoint_path", None)
    if path is not None:
        fact = "keeps a checkpoint, of which the many fits of a comparison would have one"
        raise InvalidArgument("transformer", f"<checkpoint_path={path!r}>", fact, "set checkpoint_path=None")


def check_complete(name: str, values: ArrayLike) -> None:
    """Refuse NaN and infinity, which would end in an error of the first method that cannot take them."""
    discrete = discrete_columns(values)
    if discrete:
        values = take_columns(values, [j for j in range(np.shape(values)[1]) if j not in discrete], axis=1)
    table = np.asarray(values)
    if table.dtype.kind == "f" and not np.isfinite(table).all():
        n_rows = int((~np.isfinite(table.reshape(len(table), -1))).any(1).sum())
        fact = "has NaN or infinity, with which the rivals cannot be fitted"
        raise InvalidArgument(name, f"<{n_rows} rows>", fact, "impute these values, or drop the rows")


def check_at_least(name: str, value: int, least: int) -> None:
    """Refuse a number that is too small."""
    if value < least:
        raise InvalidArgument(name, value, f"is less than {least}", f"pass {least} or more")


def check_seeds(random_state: int, n_seeds: int) -> range:
    """Return the seeds `random_state`, `random_state + 1`, ...; refuse those that numpy's RandomState cannot take."""
    check_at_least("n_seeds", n_seeds, 1)
    if not isinstance(random_state, Integral) or random_state < 0:
        fact = "is no first seed to count from"
        raise InvalidArgument("random_state", random_state, fact, "pass an integer of 0 or more")
    if random_state + n_seeds - 1 > MOST_SEED:
        fact = f"leaves no {n_seeds} seeds up to {MOST_SEED}, the last one there is"
        raise InvalidArgument("random_state", random_state, fact, "pass a smaller one")
    return range(random_state, random_state + n_seeds)


def make_folds(X: ArrayLike, groups: ArrayLike | None, n_splits: int | None, random_state: int) -> list[Fold]:
    """Return shuffled folds, the same for all methods and seeds; the rows of a group stay in one fold."""
    if np.ndim(X) != 2:
        raise InvalidArgument("X", type(X).__name__, f"has {np.ndim(X)} dimensions", "pass one 2-D table")
    most = len(X) if groups is None else len(np.unique(column_or_1d(groups)))  # type: ignore[arg-type]
    what = "rows" if groups is None else "groups"
    if most < 2:
        raise InvalidArgument(what, f"<{most} of them>", "cannot be parted into folds", f"pass two {what} or more")
    n_splits = min(N_SPLITS, most) if n_splits is None else n_splits
    check_at_least("n_splits", n_splits, 2)
    if n_splits > most:
        raise InvalidArgument("n_splits", n_splits, f"is more than the {most} {what}", f"pass at most {most}")
    return shuffled_folds(X, groups, n_splits, random_state)


def shuffled_folds(X: Any, groups: ArrayLike | None, n_splits: int, random_state: int) -> list[Fold]:
    """Return folds whose rows are drawn; the rows of a group stay together."""
    splitter = KFold if groups is None else GroupKFold
    return list(splitter(n_splits, shuffle=True, random_state=random_state).split(X, groups=groups))


def check_components(n_components: int, X: ArrayLike, folds: list[Fold]) -> None:
    """Refuse more components than a reduction can have, by columns and training rows."""
    check_at_least("n_components", n_components, 1)
    most = min(np.shape(X)[1], *(len(train) for train, _ in folds))
    if n_components > most:
        fact = f"is more than the columns or the rows of a training fold ({most}) allow"
        raise InvalidArgument("n_components", n_components, fact, f"pass at most {most}")


def clients_by_seed(client_ids: ArrayLike | Callable[[int], ArrayLike], seeds: range, n_samples: int) -> NDArray[Any]:
    """Return the client of each row under each seed, of shape (n_seeds, n_samples)."""
    rows = [client_ids(seed) if callable(client_ids) else client_ids for seed in seeds]
    for row in rows:
        if hasattr(row, "__len__") and (n_given := len(row)) != n_samples:  # type: ignore[arg-type]
            fact = f"do not match the {n_samples} rows of X"
            raise InvalidArgument("client_ids", f"<{n_given} entries>", fact, "pass one id per row")
    return np.stack([check_client_ids(row, n_samples) for row in rows])
