"""Fits beside the comparison: to fewer rows of each client, to fewer clients, to some modalities; tests stay.

`sklearn.model_selection.learning_curve` takes the first rows of each training fold, whosever they are: clients are lost
and groups are parted. Here a share is taken of each client, groups whole, and the smaller subsets lie in the larger.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone
from sklearn.utils import _safe_indexing as take_columns

from skfdrmfl.common.arrays import Float
from skfdrmfl.compare._arguments import InvalidArgument
from skfdrmfl.compare._methods import Run, modality_columns
from skfdrmfl.compare._result import ALONE, CENTRAL
from skfdrmfl.compare._training import Rows
from skfdrmfl.compare._variation import Stage

SHARES = (0.125, 0.25, 0.5)


def shares_of(learning_curve: bool | Sequence[float]) -> tuple[float, ...]:
    """Return the shares of training rows that are asked for, in their order; refuse those that are none."""
    if isinstance(learning_curve, bool | np.bool_):
        return SHARES if learning_curve else ()
    shares = tuple(sorted(map(float, learning_curve)))
    if not shares or not 0 < shares[0] <= shares[-1] < 1:
        fact = "are no shares of the training rows"
        raise InvalidArgument("learning_curve", learning_curve, fact, "pass numbers between 0 and 1, or True")
    return shares


def curve_stages(
    runs: Sequence[Run], rows: Rows, shares: Sequence[float], random_state: int, *, by_client: bool
) -> Iterator[Stage]:
    """Yield the fits of the curves, by rows and `by_client`, a seed a draw: an early end leaves all sizes alike."""
    for draw, clients in enumerate(rows.clients if shares else ()):
        mine = runs_of_draw(runs, draw)
        rng = np.random.default_rng([random_state, draw])
        by_row = entries(clients, rows.groups, rows.folds, rng)
        order = rng.permutation(np.unique(clients))
        of_client = np.argsort(np.argsort(order))[np.unique(clients, return_inverse=True)[1]]
        sizes = [2**i for i in range(len(order)) if 2**i < len(order)] if by_client else []

        def subset(entry: Sequence[NDArray[Any]], end: float, clients: NDArray[Any] = clients) -> Rows:
            folds = [(train[e[train] < end], test) for e, (train, test) in zip(entry, rows.folds, strict=True)]
            return rows._replace(clients=clients[None], folds=folds)

        for share in shares:
            name = str(Fraction(share).limit_denominator(100))
            yield Stage("rows", name, mine, subset(by_row, share))
        for size in sizes:
            yield Stage("clients", str(size), mine, subset([of_client] * len(rows.folds), size))


def runs_of_draw(runs: Sequence[Run], draw: int) -> list[Run]:
    """Return a run of each method under one seed, which then is the only one; what cannot be fitted is left out."""
    return [
        run._replace(seed=None if run.seed is None else 0, is_rival=True)
        for run in runs
        if run.seed in (None, draw) and run.name not in (CENTRAL, ALONE)
    ]


def entries(
    clients: NDArray[Any], groups: NDArray[Any] | None, folds: Sequence[tuple[Any, Any]], rng: np.random.Generator
) -> list[Float]:
    """Return for each fold the share (n,) from which on a row trains: units of a client come in at random.

    A unit is a row, or the rows of a group with one client. The first unit of each client is at share 0, so that no
    share lacks a client. Test rows have infinity.
    """
    unit = np.arange(len(clients)) if groups is None else np.unique(groups, return_inverse=True)[1]
    found = []
    for train, _ in folds:
        entry = np.full(len(clients), np.inf)
        for client in np.unique(clients[train]):
            mine = train[clients[train] == client]
            _, place, sizes = np.unique(unit[mine], return_inverse=True, return_counts=True)
            order = rng.permutation(len(sizes))
            before = np.empty(len(sizes))
            before[order] = np.r_[0, np.cumsum(sizes[order])[:-1]]
            entry[mine] = before[place] / len(mine)
        found.append(entry)
    return found


def modality_stages(make_runs: Callable[[Any, Any], list[Run]], rows: Rows, transformer: Any) -> Iterator[Stage]:
    """Yield the fits to each modality alone and to all but each, seed by seed; refuse a single modality."""
    columns = modality_columns(rows.X, getattr(transformer, "modalities", None))
    if len(columns) < 2:
        fact = "needs two modalities or more, and there is one"
        remedy = 'pass a transformer with modalities={...} or "prefix", or leave it out'
        raise InvalidArgument("by_modality", True, fact, remedy)
    parts = {f"{name} alone": [name] for name in columns}
    if len(columns) > 2:  # without one of two is the other alone
        parts |= {f"without {name}": [other for other in columns if other != name] for name in columns}
    made = [(point, *_part(rows.X, transformer, columns, names)) for point, names in parts.items()]
    for draw, clients in enumerate(rows.clients):
        for point, X, of_part in made:
            mine = runs_of_draw(make_runs(X, of_part), draw)
            yield Stage("modalities", point, mine, rows._replace(X=X, clients=clients[None]))


def _part(X: ArrayLike, transformer: Any, columns: dict[str, Any], names: list[str]) -> tuple[Any, Any]:
    """Return the columns of some modalities, and the transformer for them."""
    kept = np.sort(np.concatenate([columns[name] for name in names]))
    part = clone(transformer)
    if part.modalities is not None:  # None finds them by itself
        part.set_params(modalities={name: np.searchsorted(kept, columns[name]) for name in names})
    if isinstance(encoders := getattr(part, "encoders", None), Mapping):
        part.set_params(encoders={name: encoder for name, encoder in encoders.items() if name in names} or None)
    return take_columns(X, kept, axis=1), part
