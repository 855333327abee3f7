"""Training rows of a learning curve: fewer of each client, or of fewer clients; tests stay.

`sklearn.model_selection.learning_curve` takes the first rows of each training fold, whosever they are: clients are lost
and groups are parted. Here a share is taken of each client, groups whole, and the smaller subsets lie in the larger.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.common.arrays import Float
from skfdrmfl.compare._arguments import InvalidArgument
from skfdrmfl.compare._methods import Run
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
    """Yield the fits of the curves, draw by draw: an early end leaves all sizes alike.

    A draw is a seed: it orders rows and clients anew. With `by_client` there is a curve by number of clients too.
    """
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
