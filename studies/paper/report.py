"""Put together whatever the experiments have stored: tables into docs/data/paper/, one CSV each.

    python studies/paper/report.py     # then: python benchmarks/figures.py

A table without records keeps the file that is there. The figures of studies/notes.md are drawn from these files.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from _study import OUT, ROOT, stored
from cases import CORN, TECATOR, Float
from methods import (
    AUTO,
    FDRMFL,
    LASSO,
    MEAN,
    NEITHER,
    OURS,
    REDUCERS,
    REGRESSORS,
    RIDGE,
    STOPPED,
    TREATED,
    TREATED_PLS,
    TREATED_RIDGE,
)
from protocols import BY_FOREST, BY_RIDGE, ITSELF, Interval, paired_interval
from sklearn.linear_model import LinearRegression

from skfdrmfl.datasets import load_tecator

DATA = ROOT / "docs" / "data" / "paper"
Records = Sequence[Mapping[str, Any]]
Entry = tuple[str, str]  # method, regressor
PREDICTORS = (*REGRESSORS, TREATED_RIDGE)  # have no Z

GROUPS = {
    "simulations": ["y1", "y2", "y3"],
    "tecator": [f"tecator-{t}" for t in TECATOR],
    "tecator-two": [f"tecator-{t}-two" for t in TECATOR],
    **{f"corn-{i}": [f"corn-{i}-{t}" for t in CORN] for i in ("m5", "mp5")},
    **{f"corn-{i}-two": [f"corn-{i}-{t}-two" for t in CORN] for i in ("m5", "mp5")},
}


class Target(NamedTuple):
    """What was asked of a case, and what is held against it: chosen beforehand, not for its error."""

    experiment: str
    case: str
    method: str
    limit: float  # an error, or a factor on the rival's in the same repeats
    rival: str | None = None


ALONE_TREATED, TWO_TREATED = "snv + std", "snv + mean + std"
TARGETS = (
    Target("fair", "y1", FDRMFL, 1.0, LASSO),
    Target("fair", "y2", FDRMFL, 0.95, LASSO),
    *(Target("fair", "y3", method, 1.02, MEAN) for method in (FDRMFL, AUTO, STOPPED, NEITHER)),
    *(
        Target("pretreatments", f"tecator-{content}/{ALONE_TREATED}", FDRMFL, limit)
        for content, limit in zip(TECATOR, (0.55, 0.75, 0.56), strict=True)
    ),
    *(
        Target("pretreatments", f"tecator-{content}-two/{TWO_TREATED}", FDRMFL, limit)
        for content, limit in zip(TECATOR, (0.55, 0.58, 0.50), strict=True)
    ),
    *(Target("fair", f"corn-{i}-{t}", m, 1.0, RIDGE) for i in ("m5", "mp5") for t in CORN for m in (AUTO, TREATED)),
)


# ------------------------------------------------------------------------------------------------ figures of merit


def per_repeat(records: Records, entry: Entry) -> Float:
    """Error of all test rows of a repeat together, one number a repeat; empty where the entry was not measured."""
    found = []
    for record in records:
        mse = record["scores"].get(entry[0], {}).get(entry[1])
        if mse is not None:
            found.append(np.average(mse, weights=record["n_test"]))
    return np.sqrt(found) if _is_root(records) else np.array(found)


def per_fold(records: Records, entry: Entry) -> Float:
    """Error of each fold, the folds of all repeats in one row."""
    found = np.concatenate([record["scores"][entry[0]][entry[1]] for record in records])
    return np.sqrt(found) if _is_root(records) else found


def _is_root(records: Records) -> bool:
    return records[0]["error"] == "RMSE"


def against(records: Records, ours: Entry, theirs: Entry) -> tuple[Interval, Interval]:
    """Percent by which our error is above theirs: for these rows (over repeats), and for new rows (over folds)."""
    both = _in_all(records, ours, theirs)
    if not both:
        raise LookupError(f"{ours} and {theirs} were not measured in the same repeat; run both.")
    base = float(per_repeat(both, theirs).mean())
    repeats = 100.0 * (per_repeat(both, ours) - per_repeat(both, theirs)) / base
    folds = 100.0 * (per_fold(both, ours) - per_fold(both, theirs)) / base
    if len(both[0]["n_test"]) == 1:  # rows drawn anew each repeat
        return paired_interval(repeats), paired_interval(repeats)
    ratio = float(np.mean([np.divide(r["n_test"], r["n_train"]).mean() for r in both]))
    return paired_interval(repeats), paired_interval(folds, test_to_train=ratio)


def ends(*intervals: Interval | None) -> list[float | None]:
    """Mean and both ends of each; an interval of one difference has none."""
    found: list[float | None] = []
    for interval in intervals:
        for value in interval or (None, None, None):
            found.append(value if value is not None and np.isfinite(value) else None)
    return found


# ------------------------------------------------------------------------------------------------ tables

Rows = list[list[Any]]
Tables = dict[str, tuple[list[str], Rows]]  # header and rows of each file
INTERVALS = ["these_rows", "these_low", "these_high", "new_rows", "new_low", "new_high"]  # percent


def error_rows(records: Records, entries: Iterable[Entry]) -> Rows:
    """Method, what stands behind it, mean error and in how many repeats, of the entries that were measured."""
    rows: Rows = []
    for entry in entries:
        errors = per_repeat(records, entry)
        if len(errors):
            rows.append([*entry, errors.mean(), len(errors)])
    return rows


def fair_table(out: Path) -> Tables:
    """Error of every method in every case."""
    methods = (*PREDICTORS, *REDUCERS, TREATED_PLS, *OURS, TREATED)
    entries = [(m, by) for m in methods for by in (BY_RIDGE, BY_FOREST, ITSELF)]
    records = stored("fair", out)
    names = [name for group in GROUPS.values() for name in group if name in records]
    rows = [[name, *row] for name in names for row in error_rows(records[name], entries)]
    return {"errors_fair": (["case", "method", "behind", "error", "repeats"], rows)}


def published_table(out: Path) -> Tables:
    """The published protocol, the forests' errors."""
    entries = [(m, ITSELF if m == MEAN else BY_FOREST) for m in (MEAN, *REDUCERS, FDRMFL)]
    records = stored("published", out)
    rows = [[name, *row] for name, of_case in records.items() for row in error_rows(of_case, entries)]
    return {"errors_published": (["case", "method", "behind", "error", "repeats"], rows)}


def pretreatment_table(out: Path) -> Tables:
    """Cases with their pre-treatments, for each way of splitting."""
    rows: Rows = []
    for name, records in stored("pretreatments", out).items():
        case, *middle, treatment = name.split("/")
        for method in dict.fromkeys(m for record in records for m in record["scores"]):
            found = error_rows(records, [(method, BY_RIDGE)]) or error_rows(records, [(method, ITSELF)])
            rows += [[(middle or ["folds"])[0], case, treatment, *row] for row in found]
    return {"errors_pretreatments": (["rows", "case", "treatment", "method", "behind", "error", "repeats"], rows)}


def paired_table(out: Path) -> Tables:
    """FDRMFL against the best rival and against the usual ones, in the repeats that both were measured in."""
    fair, treated = stored("fair", out), stored("pretreatments", out)
    entries = [(n, fair.get(n, []), m) for names in GROUPS.values() for n in names for m in (FDRMFL, AUTO, TREATED)]
    entries += [(t.case, treated.get(t.case, []), t.method) for t in TARGETS if t.experiment == "pretreatments"]
    rows: Rows = []
    for name, records, method in entries:
        ours = (method, BY_RIDGE)
        rivals = {entry: both for entry in _rivals(records, method) if (both := _in_all(records, ours, entry))}
        if not rivals:
            continue
        best = min(rivals, key=lambda entry: per_repeat(rivals[entry], entry).mean())
        for theirs in dict.fromkeys((best, (LASSO, ITSELF) if name[0] == "y" else (RIDGE, ITSELF))):
            if theirs not in rivals:
                continue
            label = theirs[0] if theirs[1] == ITSELF else f"{theirs[0]} + {theirs[1]}"
            errors = [per_repeat(rivals[theirs], entry).mean() for entry in (ours, theirs)]
            intervals = ends(*against(records, ours, theirs))
            rows.append(
                [name, method, label, "yes" if theirs == best else "no", *errors, *intervals, len(rivals[theirs])]
            )
    header = ["case", "ours", "rival", "best", "error", "rival_error", *INTERVALS, "repeats"]
    return {"paired": (header, rows)}


def _rivals(records: Records, ours: str) -> list[Entry]:
    """Those measured; with a pre-treatment chosen by inner folds where ours has one too."""
    reducers, predictors = ((*REDUCERS, TREATED_PLS), PREDICTORS) if ours == TREATED else (REDUCERS, REGRESSORS)
    entries = [(m, r) for m in reducers for r in (BY_RIDGE, BY_FOREST)] + [(m, ITSELF) for m in predictors]
    return [entry for entry in entries if _in_all(records, entry)]


def targets_table(out: Path) -> Tables:
    """Reached beside asked."""
    rows: Rows = []
    for target in TARGETS:
        ours, theirs = (target.method, BY_RIDGE), (target.rival, ITSELF)
        wanted = (ours,) if target.rival is None else (ours, theirs)
        measured = _in_all(stored(target.experiment, out).get(target.case, []), *wanted)
        if not measured:
            continue
        limit, text = target.limit, "fixed"
        if target.rival is not None:
            limit *= float(per_repeat(measured, theirs).mean())
            text = f"{target.limit:g} x {target.rival}" if target.limit != 1.0 else target.rival
        errors = [per_repeat(measured, (target.method, by)) for by in (BY_RIDGE, BY_FOREST, ITSELF)]
        below = int(np.sum(errors[0] <= limit))
        means = [error.mean() if len(error) else None for error in errors]
        reached = "yes" if means[0] <= limit else "no"
        rows.append([target.case, target.method, text, limit, *means, reached, below, len(measured)])
    header = ["case", "with", "asked", "at_most", "ridge", "forest", "itself", "reached", "repeats_below", "repeats"]
    return {"targets": (header, rows)}


def _in_all(records: Records, *entries: Entry) -> Records:
    """The repeats in which all of these were measured."""
    return [r for r in records if all(regressor in r["scores"].get(name, {}) for name, regressor in entries)]


def ablation_table(out: Path) -> Tables:
    """Percent of error that each variant adds to the fit with all terms off."""
    rows: Rows = []
    none = ("all off", BY_RIDGE)
    for case, records in stored("ablation", out).items():
        for variant in records[0]["scores"]:
            if variant != "all off":
                _, new = against(records, (variant, BY_RIDGE), none)
                rows.append([case, per_repeat(records, none).mean(), variant, *ends(new), len(records)])
    return {"ablation": (["case", "all_off", "variant", *INTERVALS[3:], "repeats"], rows)}


def heterogeneity_table(out: Path) -> Tables:
    """Each weight of the contrastive term against weight 0 of the same deal."""
    rows: Rows = []
    for records in stored("heterogeneity", out).values():
        for name in records[0]["scores"]:
            deal, _, weight = name.rpartition(", contrastive ")
            none = (f"{deal}, contrastive 0", BY_RIDGE)
            pair = (None, None) if weight == "0" else against(records, (name, BY_RIDGE), none)
            rows.append([deal, weight, per_repeat(records, (name, BY_RIDGE)).mean(), *ends(*pair), len(records)])
    return {"heterogeneity": (["clients", "contrastive_weight", "error", *INTERVALS, "repeats"], rows)}


def term_table(out: Path) -> Tables:
    """Each weight against weight 0 of the same setting."""
    rows: Rows = []
    for name, records in stored("term_search", out).items():
        case, _, setting = name.partition("/")
        for weight, by in records[0]["scores"].items():
            (regressor,) = by
            error = per_repeat(records, (weight, regressor)).mean()
            if weight == "0":
                rows.append([case, setting, weight, error, *ends(None, None), None, len(records)])
                continue
            here, new = against(records, (weight, regressor), ("0", regressor))
            earns = "new rows" if _earned(new) else "these rows" if _earned(here) else "no"
            rows.append([case, setting, weight, error, *ends(here, new), earns, len(records)])
    return {"terms": (["case", "setting", "weight", "error", *INTERVALS, "earned_on", "repeats"], rows)}


def _earned(interval: Interval) -> bool:
    """At least 5 % lower, the interval clear of zero."""
    return interval.mean <= -5.0 and np.isfinite(interval.low) and interval.high < 0.0


def lambda_table(out: Path) -> Tables:
    """Shares of the variance over the grid, and the best weights on the held-out rows."""
    rows: Rows = []
    for case, records in stored("lambda_grid", out).items():
        for r, record in enumerate(records):
            found = record["found"]
            spread = np.sqrt([by[BY_RIDGE] for by in record["scores"].values()]).mean(axis=1)
            values = {f"share of variance, %: {name}": 100 * share for name, share in found["shares"].items()}
            values["best to worst RMSE, inner folds"] = f"{spread.min():.3f} to {spread.max():.3f}"
            values["best weights (MI, KL, contrastive)"] = found["best"]
            values |= {f"RMSE on T, {name}": np.sqrt(mse) for name, mse in found["test_mse"].items()}
            rows += [[case, name, r, value] for name, value in values.items()]
    return {"lambda_grid": (["case", "quantity", "repeat", "value"], rows)}


def closure_table(out: Path) -> Tables:
    """How nearly water, fat and protein of Tecator sum to a constant."""
    data = load_tecator("all")
    y, names = data.target, data.target_names
    total = y.sum(axis=1)
    rows: Rows = [["sum", f"{total.mean():.1f}", f"{total.std():.2f}", None]]
    for j, name in enumerate(names):
        others = np.delete(y, j, axis=1)
        residual = y[:, j] - LinearRegression().fit(others, y[:, j]).predict(others)
        rows.append([name, f"{y[:, j].mean():.1f}", f"{y[:, j].std():.2f}", f"{residual.std():.2f}"])
    return {"closure": (["content", "mean", "standard_deviation", "left_by_the_others"], rows)}


# ------------------------------------------------------------------------------------------------ the files

MAKERS: tuple[Callable[[Path], Tables], ...] = (
    targets_table,
    fair_table,
    published_table,
    pretreatment_table,
    paired_table,
    ablation_table,
    heterogeneity_table,
    lambda_table,
    term_table,
    closure_table,
)


def _cell(value: Any) -> Any:
    """Errors with four digits, percents with as many; what is missing is empty."""
    return f"{value:.4g}" if isinstance(value, float) else value


def write(tables: Tables, folder: Path) -> list[str]:
    """One file a table; a table without rows leaves the file that is there."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, (header, rows) in tables.items():
        if rows:
            with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
                lines = csv.writer(file, lineterminator="\n")
                lines.writerow(header)
                lines.writerows([[_cell(value) for value in row] for row in rows])
            written.append(name)
    return written


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument(
        "--out", type=Path, default=OUT, metavar="DIR", help="where the JSON is (default: %(default)s)"
    )
    options.add_argument("--data", type=Path, default=DATA, metavar="DIR", help="default: docs/data/paper")
    args = options.parse_args()
    print(f"{args.data}: {', '.join(name for maker in MAKERS for name in write(maker(args.out), args.data))}")


if __name__ == "__main__":
    main()
