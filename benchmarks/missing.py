"""What a missing modality costs: Corn's three instruments as three modalities, one of them absent in half of the rows.

    python benchmarks/missing.py                       # four targets, 2 seeds: about 8 minutes
    python benchmarks/missing.py --target protein --seeds 1

Protocol: 5 shuffled folds; the training rows are complete and dealt at random to 3 clients. Fusion and
`modality_dropout` are chosen on 3 folds of the training rows, by the squared error that is expected when half of the
held-out rows lack one instrument, any of the three. Then half of the test rows lack m5, or mp5, or mp6, or any of
them. Which half is not drawn: each row is predicted with and without the instrument, and the RMSE is the root of the
mean of both squared errors, which is what all possible halves give on average.

Beside the chosen model, which sees NaN, stand: the same model with the missing block filled with the training rows'
mean, or with the row left out, so that nothing better than the mean of y can be predicted for it; the default
settings; a Ridge on the pooled rows of all instruments, filled; and a model for each pattern, which is what those
other instruments can say at all.

The Corn data are not part of the package: see the docstring of `skfdrmfl.datasets.fetch_corn`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from _common import add_corn, arguments, check, note, parser, save, table
from numpy.typing import NDArray
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GridSearchCV, KFold

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.datasets import fetch_corn, make_client_ids

ASKED = 1.25  # RMSE with an instrument missing in half of the rows, over that with all present
N_CLIENTS = 3
TARGETS = ("moisture", "oil", "protein", "starch")
GRID = {"fusion": ["concat", "attention", "gated"], "modality_dropout": [0.0, 0.3, 0.6]}
CHOSEN, FILLED, DROPPED = "FDRMFL, chosen", "chosen, mean filled in", "chosen, mean of y for such rows"
DEFAULT, DEFAULT_FILLED = "FDRMFL, default", "default, mean filled in"
RIDGE, PATTERNS = "Ridge, pooled, mean filled in", "a FDRMFL for each pattern"

Float = NDArray[np.float64]
Predict = Callable[[Float], Float]


def without(X: Float, columns: slice, filling: Any = np.nan) -> Float:
    """X with one block replaced."""
    out = X.copy()
    out[:, columns] = filling if np.ndim(filling) == 0 else filling[columns]
    return out


def expected_score(blocks: dict[str, slice]) -> Callable[[Any, Float, Float], float]:
    """A scorer: minus the squared error when half of the rows lack one block, any of them."""

    def score(model: Any, X: Float, y: Float) -> float:
        complete = np.mean((model.predict(X) - y) ** 2)
        lacking = [np.mean((model.predict(without(X, columns)) - y) ** 2) for columns in blocks.values()]
        return -0.5 * float(complete + np.mean(lacking))

    return score


def predictions(
    blocks: dict[str, slice], X: Float, y: Float, X_test: Float, seed: int, chosen: list[dict[str, Any]]
) -> Iterator[tuple[str, list[Float]]]:
    """Name of a method, and its predictions of the test rows: complete, then without each of the blocks."""
    client_ids = make_client_ids(y, N_CLIENTS, random_state=seed)
    mean = X.mean(0)
    holes = [without(X_test, columns) for columns in blocks.values()]
    filled = [without(X_test, columns, mean) for columns in blocks.values()]

    search = GridSearchCV(
        FDRMFLTransformer(modalities=blocks, random_state=seed, tuning=None),
        GRID,
        scoring=expected_score(blocks),
        cv=KFold(3, shuffle=True, random_state=seed),
    ).fit(X, y, client_ids=client_ids)
    chosen.append(search.best_params_)
    best = search.best_estimator_
    complete = best.predict(X_test)
    yield CHOSEN, [complete, *(best.predict(rows) for rows in holes)]
    yield FILLED, [complete, *(best.predict(rows) for rows in filled)]
    yield DROPPED, [complete, *(np.full(len(X_test), y.mean()) for _ in holes)]

    default = FDRMFLTransformer(modalities=blocks, random_state=seed, tuning=None).fit(X, y, client_ids=client_ids)
    complete = default.predict(X_test)
    yield DEFAULT, [complete, *(default.predict(rows) for rows in holes)]
    yield DEFAULT_FILLED, [complete, *(default.predict(rows) for rows in filled)]

    ridge = RidgeCV(alphas=np.logspace(-6, 3, 10)).fit(X, y)
    yield RIDGE, [ridge.predict(X_test), *(ridge.predict(rows) for rows in filled)]

    patterns = []
    for absent in (None, *blocks):
        kept = {name: columns for name, columns in blocks.items() if name != absent}
        some = np.hstack([X[:, columns] for columns in kept.values()])
        some_test = np.hstack([X_test[:, columns] for columns in kept.values()])
        width = some.shape[1] // len(kept)
        modalities = {name: slice(j * width, (j + 1) * width) for j, name in enumerate(kept)}
        model = FDRMFLTransformer(modalities=modalities, random_state=seed, fusion=best.fusion, tuning=None)
        patterns.append(model.fit(some, y, client_ids=client_ids).predict(some_test))
    yield PATTERNS, patterns


def main() -> None:
    """Print a table for each target, and what was asked."""
    options = parser(__doc__)
    add_corn(options)
    options.add_argument("--seeds", type=int, default=2, metavar="N", help="how many (default: %(default)s)")
    options.add_argument("--target", choices=TARGETS, nargs="+", default=list(TARGETS), help="which (default: all)")
    options.add_argument("--folds", type=int, default=5, help="of the rows (default: %(default)s)")
    args = arguments(options, seeds=1, target=["oil"], folds=2)
    if args.smallest:
        GRID.update(fusion=["attention"], modality_dropout=[0.3])
    corn = fetch_corn(args.corn, instrument="all", target="all")
    blocks = corn.modalities
    results: dict[str, Any] = {}
    for name in args.target:
        y = corn.target[:, corn.target_names.index(name)]
        squares: dict[str, list[Float]] = {}
        chosen: list[dict[str, Any]] = []
        for seed in range(args.seeds):
            for train, test in KFold(args.folds, shuffle=True, random_state=0).split(corn.data):
                for method, predicted in predictions(blocks, corn.data[train], y[train], corn.data[test], seed, chosen):
                    error = (np.stack(predicted) - y[test]) ** 2
                    squares.setdefault(method, []).append(error)
            note(f"{name}, seed {seed}: done")
        rows, of_target = [], {}
        for method, errors in squares.items():
            full, *lacking = np.concatenate(errors, 1).mean(1)
            halves = [np.sqrt((full + each) / 2) for each in (*lacking, np.mean(lacking))]
            of_target[method] = {
                "all": float(np.sqrt(full)),
                **{k: float(h) for k, h in zip((*blocks, "any"), halves, strict=True)},
            }
            ratios = [h / np.sqrt(full) for h in halves]
            cells = [f"{h:.4f} ({r:.2f})" for h, r in zip(halves, ratios, strict=True)]
            rows.append([method, f"{np.sqrt(full):.4f}", *cells])
        print(f"\n## {name}\n")
        print(table(["method", "all present", *(f"{k} missing in half" for k in blocks), "any missing in half"], rows))
        found = of_target[CHOSEN]
        ratio = found["any"] / found["all"]
        others = min(of_target[m]["any"] for m in (FILLED, DROPPED, DEFAULT_FILLED, RIDGE))
        print(
            f"\nAny missing, at most {ASKED} of all present: {ratio:.2f}, {check(ratio, ASKED)}; filling in and "
            f"leaving out worse: {found['any']:.4f} against {others:.4f} at best, {check(found['any'], others)}."
        )
        counted = {repr(choice): chosen.count(choice) for choice in chosen}
        print("Chosen: " + "; ".join(f"{choice} {n} times" for choice, n in counted.items()) + ".", flush=True)
        results[name] = {"rmse": of_target, "chosen": counted}
    save(args.out, "missing", {"seeds": args.seeds, "asked": ASKED, "targets": results})


if __name__ == "__main__":
    main()
