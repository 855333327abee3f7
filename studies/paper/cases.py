"""The data of the paper's experiments: a case is a table, what is predicted, and how its rows are split.

| case | rows | columns | modalities |
|---|---|---|---|
| y1, y2, y3 | 2,000 to train on, 500 to test on, drawn anew each repeat | 3,604 | image, text, vector |
| even | the same | 30 | vector |
| tecator-{fat, water, protein} | 215, of which 22 repeat another's spectrum | 100 | nir |
| tecator-...-two | the same | 102 | nir; wet: the other two contents |
| corn-{m5, mp5, mp6}-{moisture, oil, protein, starch} | 80 | 700 | nir |
| corn-...-two | the same | 703 | nir; wet: the other three contents |
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import GroupKFold, KFold

from skfdrmfl.datasets import fetch_corn, load_tecator, make_client_ids, make_simulation, stack_modalities

Float = NDArray[np.float64]
Rows = NDArray[np.int64]

TECATOR = ("fat", "water", "protein")
CORN = ("moisture", "oil", "protein", "starch")
INSTRUMENTS = ("m5", "mp5", "mp6")
N_TRAIN, N_TEST, N_FOLDS = 2000, 500, 5
DEVIATION_OF_S = 19.0  # of the sum that y1 to y3 are functions of


@dataclass(frozen=True)
class Table:
    """X (n, p), y (n,), the columns of each modality, and groups (n,): rows of one group stay in one fold.

    clients (n,) says who holds which row where the data say so; None leaves it to the protocol.
    """

    X: Float
    y: Float
    modalities: dict[str, slice]
    groups: Rows
    clients: Rows | None = None

    def only(self, rows: Rows) -> Table:
        """These rows of the table."""
        clients = None if self.clients is None else self.clients[rows]
        return Table(self.X[rows], self.y[rows], self.modalities, self.groups[rows], clients)


class Split(NamedTuple):
    """Row numbers to train and to test on."""

    train: Rows
    test: Rows


@dataclass(frozen=True)
class Case:
    """A named experiment. Repeat r always has the same rows and the same folds, whatever is run beside it."""

    name: str
    error: str  # "MSE" or "RMSE"
    table: Callable[[int], Table]
    splits: Callable[[Table, int], list[Split]]

    def with_pretreatment(self, treat: Callable[[Float], Float]) -> Case:
        """The case with `treat` applied to its spectra, row by row."""
        return replace(self, table=lambda repeat: _pretreated(self.table(repeat), treat))


def _pretreated(table: Table, treat: Callable[[Float], Float]) -> Table:
    blocks = {name: table.X[:, columns] for name, columns in table.modalities.items()}
    X, modalities = stack_modalities({**blocks, "nir": treat(blocks["nir"])})
    return replace(table, X=X, modalities=modalities)


def grouped_folds(table: Table, repeat: int) -> list[Split]:
    """Five shuffled folds that keep groups together."""
    if len(np.unique(table.groups)) == len(table.groups):
        folds = KFold(N_FOLDS, shuffle=True, random_state=repeat).split(table.X)
    else:
        folds = GroupKFold(N_FOLDS, shuffle=True, random_state=repeat).split(table.X, groups=table.groups)
    return [Split(train, test) for train, test in folds]


def last_rows(table: Table, repeat: int) -> list[Split]:
    """The last `N_TEST` rows are tested."""
    rows = np.arange(len(table.y))
    return [Split(rows[:-N_TEST], rows[-N_TEST:])]


def original_split(table: Table, repeat: int) -> list[Split]:
    """Tecator's published sets: trained on C and M, tested on T."""
    is_test = load_tecator().split == "T"
    return [Split(np.flatnonzero(~is_test), np.flatnonzero(is_test))]


def left_out_clients(table: Table, repeat: int) -> list[Split]:
    """Each client in turn is tested on and holds no training row.

    Nor does any other client hold one of the same sample: of a sample measured on several instruments, a fold
    has its rows on one side only.
    """
    assert table.clients is not None
    splits = []
    for fold in KFold(N_FOLDS, shuffle=True, random_state=repeat).split(np.unique(table.groups)):
        known, new = (np.isin(table.groups, np.unique(table.groups)[part]) for part in fold)
        for client in np.unique(table.clients):
            train, test = known & (table.clients != client), new & (table.clients == client)
            if test.any():
                splits.append(Split(np.flatnonzero(train), np.flatnonzero(test)))
    return splits


def _simulation(function: int, repeat: int) -> Table:
    drawn = make_simulation(function, N_TRAIN + N_TEST, random_state=[function, repeat], return_X_y=False)
    return Table(drawn.data, drawn.target, drawn.modalities, np.arange(N_TRAIN + N_TEST))


def _even(repeat: int) -> Table:
    """y3 as a function of 30 columns instead of 3,604, which 2,000 rows can show."""
    n, p, step = N_TRAIN + N_TEST, 30, 3
    X = np.random.default_rng([3, p, repeat]).standard_normal((n, p))
    s = DEVIATION_OF_S * X[:, ::step].sum(axis=1) / np.sqrt(p // step)
    return Table(X, 8.0 / np.cosh(0.02 * s), {"vector": slice(0, p)}, np.arange(n))


def _spectra(nir: Float, contents: Float, target: int, groups: Rows, *, wet: bool) -> Table:
    blocks = {"nir": nir} | ({"wet": np.delete(contents, target, axis=1)} if wet else {})
    X, modalities = stack_modalities(blocks)
    return Table(X, contents[:, target], modalities, groups)


def _tecator(target: str, repeat: int, *, wet: bool) -> Table:
    data = load_tecator("all")
    return _spectra(data.data, data.target, data.target_names.index(target), data.groups, wet=wet)


def _corn(path: Path, instrument: str, target: str, repeat: int, *, wet: bool) -> Table:
    data = fetch_corn(path, instrument=instrument, target="all")
    return _spectra(data.data, data.target, CORN.index(target), np.arange(len(data.target)), wet=wet)


def instruments(corn: Path, target: str, repeat: int) -> Table:
    """The 80 samples of Corn on three instruments, one client each: 240 rows, a sample's three in one group."""
    tables = [_corn(corn, instrument, target, repeat, wet=False) for instrument in INSTRUMENTS]
    X, y, groups = (np.concatenate([getattr(t, name) for t in tables]) for name in ("X", "y", "groups"))
    return Table(X, y, tables[0].modalities, groups, np.repeat(np.arange(len(tables)), len(tables[0].y)))


def sorted_clients(target: str, repeat: int) -> Table:
    """Tecator with five clients, each one slice of the sorted contents: a client left out asks for extrapolation."""
    table = _tecator(target, repeat, wet=False)
    return replace(table, clients=make_client_ids(table.y, 5, "quantile"))


def all_cases(corn: Path) -> Iterator[Case]:
    """Every case; those of Corn too, whether or not its file is there."""
    for function in (1, 2, 3):
        yield Case(f"y{function}", "MSE", partial(_simulation, function), last_rows)
    yield Case("even", "MSE", _even, last_rows)
    for wet in (False, True):
        end = "-two" if wet else ""
        for target in TECATOR:
            yield Case(f"tecator-{target}{end}", "RMSE", partial(_tecator, target, wet=wet), grouped_folds)
        for instrument in INSTRUMENTS:
            for target in CORN:
                table = partial(_corn, corn, instrument, target, wet=wet)
                yield Case(f"corn-{instrument}-{target}{end}", "RMSE", table, grouped_folds)


def choose(cases: Sequence[Case], patterns: Sequence[str]) -> list[Case]:
    """The cases whose names match any of the shell-style `patterns`."""
    chosen = [case for case in cases if any(fnmatch(case.name, pattern) for pattern in patterns)]
    if not chosen:
        raise SystemExit(f"No case matches {' '.join(patterns)}; there are {', '.join(case.name for case in cases)}.")
    return chosen


def select(patterns: Sequence[str], corn: Path) -> list[Case]:
    """Those of `all_cases` that match."""
    return choose(list(all_cases(corn)), patterns)
