"""What each alignment of the modalities is worth: Corn's three instruments; Tecator's spectrum beside wet chemistry.

    python benchmarks/alignment.py                        # seven targets, 3 repeats: about ten minutes
    python benchmarks/alignment.py --case corn-protein --repeats 1

Protocol: only rows to train on are used, Tecator's published sets C and M (172 rows) and the training rows of the
first of five folds of Corn (64), in five inner folds, dealt anew in each repeat; equal spectra stay together. The rows
kept are complete and dealt at random to 3 clients. Errors are of the network's head on the rows held out, as they are
and with one modality absent (NaN), any of them. All but `alignment` and `kl_weight` is the default, once with
`fusion="concat"` and once as is meant for missing modalities, `fusion="attention"` with `modality_dropout=0.3`.

The tables show the change of the RMSE against `kl_weight=0`: the mean of the repeats and, in brackets, the lowest and
the highest. Repeats have rows in common; the range is that of folds, clients and first weights only.

The Corn data are not part of the package: see the docstring of `skfdrmfl.datasets.fetch_corn`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from _common import add_corn, arguments, note, parser, save, table
from numpy.typing import NDArray
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.datasets import fetch_corn, load_tecator, make_client_ids, stack_modalities

N_CLIENTS, N_FOLDS = 3, 5
ALIGNMENTS = ("homoscedastic", "diagonal", "moments")
WEIGHTS = (1e-3, 0.1, 1.0)
SETTINGS: dict[str, dict[str, Any]] = {
    "concat": {},
    "attention, dropout 0.3": {"fusion": "attention", "modality_dropout": 0.3},
}
CORN, TECATOR = ("moisture", "oil", "protein", "starch"), ("fat", "water", "protein")
CASES = (*(f"corn-{name}" for name in CORN), *(f"tecator-{name}" for name in TECATOR))

Float = NDArray[np.float64]


class Rows(NamedTuple):
    """Rows to train on."""

    X: Float
    y: Float
    modalities: dict[str, slice]
    groups: NDArray[np.int64]


def rows_of(case: str, corn_file: str) -> Rows:
    """The rows of a case; those to test on are left out."""
    source, _, name = case.partition("-")
    if source == "corn":
        corn = fetch_corn(corn_file, instrument="all", target="all")
        train, _ = next(KFold(5, shuffle=True, random_state=0).split(corn.data))
        y = corn.target[train, corn.target_names.index(name)]
        return Rows(corn.data[train], y, corn.modalities, np.arange(len(train)))
    meat = load_tecator("all")
    train = np.flatnonzero(meat.split != "T")
    target = meat.target_names.index(name)
    X, modalities = stack_modalities({"nir": meat.data, "wet": np.delete(meat.target, target, axis=1)})
    return Rows(X[train], meat.target[train, target], modalities, meat.groups[train])


def squared_error(lacking: slice | None) -> Callable[[Any, Float, Float], float]:
    """A scorer: the mean squared error when all rows lack some columns."""

    def score(model: Any, X: Float, y: Float) -> float:
        if lacking is not None:
            X = X.copy()
            X[:, lacking] = np.nan
        return float(np.mean((model.predict(X) - y) ** 2))

    return score


def errors(rows: Rows, setting: dict[str, Any], repeat: int) -> dict[str, dict[str, float]]:
    """RMSE of each alignment and weight, with all modalities, without each and without any of them."""
    model = FDRMFLTransformer(modalities=rows.modalities, random_state=repeat, tuning=None, **setting)
    grid = [{"kl_weight": [0.0]}, {"alignment": list(ALIGNMENTS), "kl_weight": list(WEIGHTS)}]
    scoring = {"all": squared_error(None)} | {name: squared_error(c) for name, c in rows.modalities.items()}
    folds = GroupKFold(N_FOLDS, shuffle=True, random_state=repeat)
    search = GridSearchCV(model, grid, scoring=scoring, cv=folds, refit=False)
    client_ids = make_client_ids(rows.y, N_CLIENTS, random_state=repeat)
    results = search.fit(rows.X, rows.y, client_ids=client_ids, groups=rows.groups).cv_results_
    found = {}
    for i, params in enumerate(results["params"]):
        key = f"{params['alignment']} {params['kl_weight']:g}" if "alignment" in params else "none"
        squares = {name: float(results[f"mean_test_{name}"][i]) for name in scoring}
        squares["any"] = float(np.mean([squares[name] for name in rows.modalities]))
        found[key] = {name: float(np.sqrt(value)) for name, value in squares.items()}
    return found


def change(repeats: list[dict[str, dict[str, float]]], key: str, which: str) -> str:
    """Change of an error against no alignment, in percent."""
    percent = [100 * (found[key][which] / found["none"][which] - 1) for found in repeats]
    return f"{np.mean(percent):+.1f} ({min(percent):+.1f} to {max(percent):+.1f})"


def main() -> None:
    """Print two tables for each setting: rows that are complete, and rows that lack a modality."""
    options = parser(__doc__)
    add_corn(options)
    options.add_argument("--repeats", type=int, default=3, metavar="N", help="how many (default: %(default)s)")
    options.add_argument("--case", choices=CASES, nargs="+", default=list(CASES), help="which (default: all)")
    args = arguments(options, repeats=1, case=["tecator-fat"])
    results: dict[str, dict[str, Any]] = {setting: {} for setting in SETTINGS}
    for case in args.case:
        rows = rows_of(case, args.corn)
        for setting, params in SETTINGS.items():
            results[setting][case] = [errors(rows, params, repeat) for repeat in range(args.repeats)]
        note(f"{case}: done")
    for setting, cases in results.items():
        for which, title in (("all", "all modalities present"), ("any", "one modality missing")):
            print(f"\n## {setting}: {title}\n")
            none = [f"{np.mean([found['none'][which] for found in of_case]):.4g}" for of_case in cases.values()]
            lines = [["none: RMSE", *none]]
            for key in (f"{alignment} {weight:g}" for alignment in ALIGNMENTS for weight in WEIGHTS):
                lines.append([f"{key}, %", *(change(of_case, key, which) for of_case in cases.values())])
            print(table(["alignment, kl_weight", *cases], lines))
    save(args.out, "alignment", {"repeats": args.repeats, "settings": results})


if __name__ == "__main__":
    main()
