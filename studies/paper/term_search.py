"""Settings in which each term of the objective might earn its place: at least 5 % lower error, clear of chance.

    python studies/paper/term_search.py --repeats 2
    python studies/paper/term_search.py --settings 'contrastive*' --cases tecator-fat tecator-water

Each setting compares several weights of one term with that term at 0, the other two off, on the same folds, clients
and seeds. All weights are reported: a best one picked afterwards would owe part of its gain to the picking.

A modality that is missing at test time is filled with its training means, as one would for an estimator that needs
all modalities, or left out as NaN; the latter also with a fusion and dropout made for it.

A linear head cannot see a relation that is even in a linear map of X, nor does the squared error then say where it is;
information does. A hidden head, or the default encoder, sees it without.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from _study import each, matching, options
from cases import Split, Table, select
from protocols import BY_FOREST, BY_RIDGE, variants
from settings import OFF

from skfdrmfl.datasets import make_client_ids
from skfdrmfl.encoders import LinearEncoder

Prepared = tuple[Table, list[Split]]
FEW = 40


def as_it_is(table: Table, splits: list[Split], repeat: int) -> Prepared:
    return table, splits


def few_labels(table: Table, splits: list[Split], repeat: int) -> Prepared:
    """Only `FEW` rows of each fold are trained on."""
    rng = np.random.default_rng(repeat)
    return table, [Split(np.sort(rng.choice(s.train, FEW, replace=False)), s.test) for s in splits]


def noisy_labels(table: Table, splits: list[Split], repeat: int) -> Prepared:
    """Labels to train on carry noise of half their standard deviation; those to test on do not."""
    noise = 0.5 * table.y.std() * np.random.default_rng(repeat).standard_normal(len(table.y))
    return _trained_on(table.y + noise, table, splits)


def wrong_labels(table: Table, splits: list[Split], repeat: int) -> Prepared:
    """A tenth of the labels to train on are those of other rows; those to test on are right."""
    rng = np.random.default_rng(repeat)
    y = table.y.copy()
    wrong = rng.choice(len(y), len(y) // 10, replace=False)
    y[wrong] = rng.permutation(y[wrong])
    return _trained_on(y, table, splits)


def filled_in(table: Table, splits: list[Split], repeat: int) -> Prepared:
    """Test rows lack the second modality: its columns hold their training means."""
    columns = table.modalities["wet"]
    return _with_second(table, splits, lambda split: table.X[split.train, columns].mean(axis=0))


def missing(table: Table, splits: list[Split], repeat: int) -> Prepared:
    """Test rows lack the second modality: its columns are NaN."""
    return _with_second(table, splits, lambda split: np.nan)


def _trained_on(y: Any, table: Table, splits: list[Split]) -> Prepared:
    """These labels for training; test rows keep the table's."""
    return _with_test_rows(replace(table, y=y), splits, [(table.X[s.test], table.y[s.test]) for s in splits])


def _with_second(table: Table, splits: list[Split], value: Callable[[Split], Any]) -> Prepared:
    """Test rows of each fold have this in the columns of the second modality."""
    tests = []
    for split in splits:
        X = table.X[split.test].copy()
        X[:, table.modalities["wet"]] = value(split)
        tests.append((X, table.y[split.test]))
    return _with_test_rows(table, splits, tests)


def _with_test_rows(table: Table, splits: list[Split], tests: Sequence[tuple[Any, Any]]) -> Prepared:
    """The table with each fold's own test rows appended, and the folds that test on those."""
    X, y = (np.concatenate(parts) for parts in zip((table.X, table.y), *tests, strict=True))
    sources = np.concatenate([np.arange(len(table.y)), *(s.test for s in splits)])
    ends = len(table.y) + np.cumsum([len(s.test) for s in splits])
    moved = [Split(s.train, np.arange(end - len(s.test), end)) for s, end in zip(splits, ends, strict=True)]
    return replace(table, X=X, y=y, groups=table.groups[sources]), moved


@dataclass(frozen=True)
class Setting:
    """One term, the weights it is tried with, and the circumstances; `of` is the kind of case it is for."""

    term: str
    prepare: Callable[[Table, list[Split], int], Prepared] = as_it_is
    clients: dict[str, Any] = field(default_factory=lambda: {"n_clients": 3})
    behind: str = BY_RIDGE
    of: str = "spectrum"
    changes: dict[str, Any] = field(default_factory=dict)
    weights: tuple[float, ...] = (0.0, 0.1, 0.3, 1.0)


SORTED = {"n_clients": 5, "scheme": "quantile"}
SMALL = (0.0, 0.05, 0.1, 0.2)
# Found by hand on draws that are not reported: with the default decay the relation is found less often.
LINEAR = {"encoders": LinearEncoder(), "preprocessing": "standardize", "weight_decay": 0.0, "batch_size": 128}
SETTINGS = {
    "mi, few labels, forest": Setting("mi_weight", few_labels, behind=BY_FOREST),
    "mi, noisy labels, forest": Setting("mi_weight", noisy_labels, behind=BY_FOREST, weights=(0.0, 0.1, 0.3, 1.0, 3.0)),
    "mi, wrong labels, forest": Setting("mi_weight", wrong_labels, behind=BY_FOREST, weights=(0.0, 0.3, 1.0, 3.0)),
    "mi, wrong labels, Ridge": Setting("mi_weight", wrong_labels, weights=(0.0, 0.3, 1.0, 3.0)),
    "mi, even relation, linear map": Setting(
        "mi_weight", behind=BY_FOREST, of="even", changes=LINEAR, weights=(0.0, 0.1, 0.3, 1.0, 3.0)
    ),
    "mi, even relation, linear map, hidden head": Setting(
        "mi_weight",
        behind=BY_FOREST,
        of="even",
        changes={**LINEAR, "head_hidden_layer_sizes": (8,)},
        weights=(0.0, 1.0),
    ),
    "mi, even relation, default encoder": Setting("mi_weight", behind=BY_FOREST, of="even", weights=(0.0, 1.0)),
    "contrastive, rare participation": Setting(
        "contrastive_weight", clients={"n_clients": 10, "scheme": "quantile"}, changes={"participation": 0.2}
    ),
    "contrastive, long local training": Setting(
        "contrastive_weight", clients=SORTED, changes={"local_epochs": 30, "n_rounds": 10}
    ),
    "contrastive, sorted clients": Setting("contrastive_weight", clients=SORTED),
    "contrastive, five like clients": Setting("contrastive_weight", clients={"n_clients": 5}, weights=SMALL),
    "contrastive, ten like clients": Setting("contrastive_weight", clients={"n_clients": 10}, weights=SMALL),
    "kl, modality missing at test": Setting("kl_weight", filled_in, of="two", weights=(0.0, 0.1, 1.0, 10.0)),
    "kl, missing as NaN": Setting("kl_weight", missing, of="two", weights=(0.0, 1.0)),
    "kl, missing as NaN, made for it": Setting(
        "kl_weight",
        missing,
        of="two",
        changes={"fusion": "attention", "modality_dropout": 0.3},
        weights=(0.0, 1.0),
    ),
    "kl, few labels": Setting("kl_weight", few_labels, of="two"),
}


def kind(case: str) -> str:
    """What a case is made of: "even", a spectrum alone, or two modalities."""
    return case if case == "even" else "two" if case.endswith("-two") else "spectrum"


def main() -> None:
    args = options(
        __doc__, cases=["even", "tecator-fat", "tecator-fat-two"], repeats=20, chosen="settings"
    ).parse_args()
    chosen = matching(SETTINGS, args.settings)
    cases = [
        replace(case, name=f"{case.name}/{name}")
        for case in select(args.cases, args.corn)
        for name, setting in chosen.items()
        if setting.of == kind(case.name)
    ]

    def measure(case, repeat):
        setting = SETTINGS[case.name.partition("/")[2]]
        table = case.table(repeat)
        client_ids = make_client_ids(table.y, random_state=repeat, **setting.clients)
        table, splits = setting.prepare(table, case.splits(table, repeat), repeat)
        # Appended rows are tested on only: whose they are plays no part.
        client_ids = np.concatenate([client_ids, np.zeros(len(table.y) - len(client_ids), dtype=np.int64)])
        candidates = {f"{w:g}": {**OFF, **setting.changes, setting.term: w} for w in setting.weights}
        return variants(case.name, table, splits, candidates, repeat, client_ids=client_ids, behind=setting.behind)

    each("term_search", args, measure, cases)


if __name__ == "__main__":
    main()
