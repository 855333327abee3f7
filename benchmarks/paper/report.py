"""Put together whatever the experiments have stored: tables into docs/paper.md, figures into docs/figures/.

    python benchmarks/paper/report.py

Each table stands between a pair of markers, `<!-- begin NAME -->` and `<!-- end NAME -->`; what is between them is
replaced, the rest of the page is left alone. A table without records keeps what stands there.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from _study import OUT, ROOT, stored, table
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

PAGE = ROOT / "docs" / "paper.md"
FIGURES = ROOT / "docs" / "figures"
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


def shown(interval: Interval) -> str:
    if not np.isfinite(interval.low):
        return f"{interval.mean:+.1f}"
    return f"{interval.mean:+.1f} ({interval.low:+.1f} to {interval.high:+.1f})"


def number(value: float) -> str:
    """Three significant digits or so."""
    return f"{value:.4f}" if value < 0.1 else f"{value:.3f}" if value < 10 else f"{value:.2f}"


# ------------------------------------------------------------------------------------------------ tables

Tables = dict[str, str]


def fair_tables(out: Path) -> Tables:
    """Error of every method, one table a group of cases."""
    records = stored("fair", out)
    found = {}
    for group, names in GROUPS.items():
        cases = {name: records[name] for name in names if name in records}
        if not cases:
            continue
        rows = []
        for method in (*PREDICTORS, *REDUCERS, TREATED_PLS, *OURS, TREATED):
            for label, regressors in (("", (BY_RIDGE, BY_FOREST)), (", itself", (ITSELF,))):
                if method in PREDICTORS:
                    label = ""
                cells = [_cell(cases[name], method, regressors) for name in cases]
                if any(cells):
                    rows.append([method + label, *cells])
        header = ["Ridge / forest behind it", *cases]
        found[f"fair-{group}"] = table(header, rows) + "\n\n" + _repeats(cases)
    return found


def _cell(records: Records, method: str, regressors: Iterable[str]) -> str:
    """Mean errors; in brackets how many repeats, where that is not all."""
    errors = [per_repeat(records, (method, regressor)) for regressor in regressors]
    n = max(map(len, errors))
    if n == 0:
        return ""
    text = " / ".join(number(e.mean()) if len(e) else "-" for e in errors)
    return text if n == len(records) else f"{text} ({n})"


def _repeats(cases: Mapping[str, Records]) -> str:
    counts = {name: len(records) for name, records in cases.items()}
    if len(set(counts.values())) == 1:
        return f"Repeats: {next(iter(counts.values()))}."
    return "Repeats: " + ", ".join(f"{name} {n}" for name, n in counts.items()) + "."


def paired_table(out: Path) -> Tables:
    """FDRMFL against the best rival and against the usual ones, in the repeats that both were measured in."""
    fair, treated = stored("fair", out), stored("pretreatments", out)
    entries = [(n, fair.get(n, []), m) for names in GROUPS.values() for n in names for m in (FDRMFL, AUTO, TREATED)]
    entries += [(t.case, treated.get(t.case, []), t.method) for t in TARGETS if t.experiment == "pretreatments"]
    rows = []
    for name, records, method in entries:
        ours = (method, BY_RIDGE)
        rivals = {entry: both for entry in _rivals(records, method) if (both := _in_all(records, ours, entry))}
        if not rivals:
            continue
        best = min(rivals, key=lambda entry: per_repeat(rivals[entry], entry).mean())
        for theirs in dict.fromkeys((best, (LASSO, ITSELF) if name[0] == "y" else (RIDGE, ITSELF))):
            if theirs not in rivals:
                continue
            here, new = against(records, ours, theirs)
            label = theirs[0] if theirs[1] == ITSELF else f"{theirs[0]} + {theirs[1]}"
            label += " (best)" if theirs == best else ""
            errors = [number(per_repeat(rivals[theirs], entry).mean()) for entry in (ours, theirs)]
            rows.append([name, method, label, *errors, shown(here), shown(new), len(rivals[theirs])])
    header = ["case", "ours, Ridge behind", "rival", "error", "rival's", "%, these rows", "%, new rows", "repeats"]
    return {"paired": table(header, rows, left=3)} if rows else {}


def _rivals(records: Records, ours: str) -> list[Entry]:
    """Those measured; with a pre-treatment chosen by inner folds where ours has one too."""
    reducers, predictors = ((*REDUCERS, TREATED_PLS), PREDICTORS) if ours == TREATED else (REDUCERS, REGRESSORS)
    entries = [(m, r) for m in reducers for r in (BY_RIDGE, BY_FOREST)] + [(m, ITSELF) for m in predictors]
    return [entry for entry in entries if _in_all(records, entry)]


def targets_table(out: Path) -> Tables:
    """Reached beside asked."""
    rows = []
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
        error = float(per_repeat(measured, ours).mean())
        share = np.mean(per_repeat(measured, ours) <= limit)
        reached = "yes" if error <= limit else f"no, {100 * (error / limit - 1):.0f} % above"
        errors = _cell(measured, target.method, (BY_RIDGE, BY_FOREST, ITSELF))
        n = len(measured)
        rows.append([target.case, target.method, text, number(limit), errors, reached, f"{share * n:.0f} of {n}"])
    header = ["case", "with", "asked", "at most", "Ridge / forest / itself", "by Ridge, reached", "repeats below"]
    return {"targets": table(header, rows, left=3)} if rows else {}


def _in_all(records: Records, *entries: Entry) -> Records:
    """The repeats in which all of these were measured."""
    return [r for r in records if all(regressor in r["scores"].get(name, {}) for name, regressor in entries)]


def published_table(out: Path) -> Tables:
    """The published protocol, the forests' errors, one table a group of cases."""
    records = stored("published", out)
    parts = []
    for names in GROUPS.values():
        cases = {name: records[name] for name in names if name in records}
        methods = [m for m in (MEAN, *REDUCERS, FDRMFL) if any(m in r["scores"] for rs in cases.values() for r in rs)]
        rows = [[m, *(_cell(r, m, [ITSELF if m == MEAN else BY_FOREST]) for r in cases.values())] for m in methods]
        if rows:
            parts.append(table(["trees: 100 behind FDRMFL, 5 behind the others", *cases], rows))
            parts.append(_repeats(cases))
    return {"published": "\n\n".join(parts)} if parts else {}


def plain_table(experiment: str, out: Path, regressor: str = BY_RIDGE) -> Tables:
    """Every variant in every case."""
    records = stored(experiment, out)
    if not records:
        return {}
    variants = dict.fromkeys(v for rs in records.values() for r in rs for v in r["scores"])
    rows = [[v, *(_cell(rs, v, [regressor]) for rs in records.values())] for v in variants]
    return {experiment: table(["", *records], rows) + "\n\n" + _repeats(records)}


def ablation_table(out: Path) -> Tables:
    """Percent of error that each variant adds to the fit with all terms off."""
    records = stored("ablation", out)
    if not records:
        return {}
    variants = dict.fromkeys(v for rs in records.values() for v in rs[0]["scores"])
    rows = []
    for v in variants:
        if v == "all off":
            rows.append(["all off (error)", *(_cell(rs, v, [BY_RIDGE]) for rs in records.values())])
        else:
            pairs = [against(rs, (v, BY_RIDGE), ("all off", BY_RIDGE))[1] for rs in records.values()]
            rows.append([v, *map(shown, pairs)])
    return {"ablation": table(["% against all off, new rows", *records], rows) + "\n\n" + _repeats(records)}


def heterogeneity_table(out: Path) -> Tables:
    """Deals down, weights across."""
    (records,) = stored("heterogeneity", out).values() or [None]
    if records is None:
        return {}
    keys = [name.rsplit(", ", 1) for name in records[0]["scores"]]
    deals, weights = (list(dict.fromkeys(part)) for part in zip(*keys, strict=True))
    rows = []
    for deal in deals:
        cells = [_cell(records, f"{deal}, {weight}", [BY_RIDGE]) for weight in weights]
        none = (f"{deal}, {weights[0]}", BY_RIDGE)
        changes = [against(records, (f"{deal}, {weight}", BY_RIDGE), none) for weight in weights[1:]]
        rows.append([deal, *cells, *(shown(interval) for pair in changes for interval in pair)])
    ends = [f"%, {weight} ({rows_of} rows)" for weight in weights[1:] for rows_of in ("these", "new")]
    text = table(["clients", *weights, *ends], rows)
    return {"heterogeneity": f"{text}\n\nRepeats: {len(records)}."}


def term_table(out: Path) -> Tables:
    """Each weight against weight 0 of the same setting."""
    rows = []
    for name, records in stored("term_search", out).items():
        case, _, setting = name.partition("/")
        for weight, by in records[0]["scores"].items():
            (regressor,) = by
            error = _cell(records, weight, [regressor])
            if weight == "0":
                rows.append([case, setting, weight, error, None, None, None, len(records)])
                continue
            here, new = against(records, (weight, regressor), ("0", regressor))
            earns = "new rows" if _earned(new) else "these rows" if _earned(here) else "no"
            rows.append([case, setting, weight, error, shown(here), shown(new), earns, len(records)])
    header = ["case", "setting", "weight", "error", "%, these rows", "%, new rows", "earned on", "repeats"]
    return {"term-search": table(header, rows, left=2)} if rows else {}


def _earned(interval: Interval) -> bool:
    """At least 5 % lower, the interval clear of zero."""
    return interval.mean <= -5.0 and np.isfinite(interval.low) and interval.high < 0.0


def lambda_table(out: Path) -> Tables:
    """Shares of the variance over the grid, and the best weights on the held-out rows."""
    found = {}
    for case, records in stored("lambda_grid", out).items():
        names = list(records[0]["found"]["shares"])
        rows = [[name, *(f"{100 * r['found']['shares'][name]:.0f} %" for r in records)] for name in names]
        spread = [np.sqrt([by[BY_RIDGE] for by in r["scores"].values()]).mean(axis=1) for r in records]
        rows.append(["best to worst RMSE, inner folds", *(f"{s.min():.3f} to {s.max():.3f}" for s in spread)])
        rows.append(["best weights (MI, KL, contrastive)", *(r["found"]["best"] for r in records)])
        for key in records[0]["found"]["test_mse"]:
            rows.append([f"RMSE on T, {key}", *(number(np.sqrt(r["found"]["test_mse"][key])) for r in records)])
        found["lambda-grid"] = table([case, *(f"repeat {j}" for j in range(len(records)))], rows)
    return found


def pretreatment_tables(out: Path) -> Tables:
    """One table for each way of splitting: cases and their pre-treatments down, methods across."""
    records = stored("pretreatments", out)
    found = {}
    for kind in ("folds", "T", "left-out"):
        cases = {}
        for name, rs in records.items():
            base, *middle, treatment = name.split("/")
            if (middle or ["folds"])[0] == kind:
                cases[f"{base if kind == 'left-out' else base.removeprefix('tecator-')}, {treatment}"] = rs
        if cases:
            measured = {m for rs in cases.values() for r in rs for m in r["scores"]}
            known = [m for m in (*REGRESSORS, *REDUCERS, *OURS) if m in measured]
            methods = [*known, *sorted(measured.difference(known))]
            rows = [
                [m, *(_cell(rs, m, [BY_RIDGE]) or _cell(rs, m, [ITSELF]) for rs in cases.values())] for m in methods
            ]
            turned = [[case, *(row[j + 1] for row in rows)] for j, case in enumerate(cases)]
            text = table([kind, *methods], turned)
            found[f"pretreatments-{kind}"] = text + "\n\n" + _repeats(cases)
    return found


def closure_table(out: Path) -> Tables:
    """How nearly water, fat and protein of Tecator sum to a constant."""
    data = load_tecator("all")
    y, names = data.target, data.target_names
    total = y.sum(axis=1)
    rows = [["sum", f"{total.mean():.1f}", f"{total.std():.2f}", ""]]
    for j, name in enumerate(names):
        others = np.delete(y, j, axis=1)
        residual = y[:, j] - LinearRegression().fit(others, y[:, j]).predict(others)
        rows.append([name, f"{y[:, j].mean():.1f}", f"{y[:, j].std():.2f}", f"{residual.std():.2f}"])
    return {"closure": table(["content, %", "mean", "standard deviation", "what the other two leave"], rows)}


# ------------------------------------------------------------------------------------------------ figures


def figures(out: Path, folder: Path) -> None:
    """The two figures of the page, where there are records."""
    from matplotlib.figure import Figure

    folder.mkdir(parents=True, exist_ok=True)
    records = stored("fair", out)
    names = [name for names in GROUPS.values() for name in names if name in records]
    if names:
        figure = Figure(figsize=(9.0, 0.32 * len(names) + 1.6), layout="constrained")
        axes = figure.add_subplot()
        drawn = {
            MEAN: ((MEAN, ITSELF), "|", "#999999"),
            "PCA, 2 + Ridge": (("PCA, 2", BY_RIDGE), "s", "#56B4E9"),
            "PLS, 16 + Ridge": (("PLS, 16", BY_RIDGE), "^", "#E69F00"),
            RIDGE: ((RIDGE, ITSELF), "D", "#009E73"),
            LASSO: ((LASSO, ITSELF), "v", "#CC79A7"),
            "FDRMFL + Ridge": ((FDRMFL, BY_RIDGE), "o", "#0072B2"),
            f"{AUTO} + Ridge": ((AUTO, BY_RIDGE), "*", "#D55E00"),
        }
        for label, (entry, marker, colour) in drawn.items():
            points = [(per_repeat(records[n], entry), per_repeat(records[n], (MEAN, ITSELF))) for n in names]
            x = [e.mean() / m.mean() if len(e) and len(m) else np.nan for e, m in points]
            axes.plot(x, range(len(names)), marker, color=colour, label=label, markersize=6)
        axes.set_yticks(range(len(names)), names)
        axes.invert_yaxis()
        axes.set_xscale("log")
        axes.set_xlabel("error over that of the mean predictor")
        axes.grid(axis="x", which="both", color="#E3E3E3")
        axes.set_axisbelow(True)
        figure.legend(loc="outside upper center", ncols=4, frameon=False, fontsize=8)
        figure.savefig(folder / "paper_fair.png", dpi=120)
    for records_of_case in stored("heterogeneity", out).values():
        keys = [name.rsplit(", ", 1) for name in records_of_case[0]["scores"]]
        deals, weights = (list(dict.fromkeys(part)) for part in zip(*keys, strict=True))
        figure = Figure(figsize=(6.5, 3.6), layout="constrained")
        axes = figure.add_subplot()
        for weight, marker, colour in zip(weights, "osD", ("#999999", "#E69F00", "#0072B2"), strict=True):
            y = [per_repeat(records_of_case, (f"{deal}, {weight}", BY_RIDGE)).mean() for deal in deals]
            axes.plot(deals, y, f"-{marker}", color=colour, label=f"{weight}")
        axes.set_ylabel("RMSE")
        axes.tick_params(axis="x", rotation=20)
        axes.grid(axis="y", color="#E3E3E3")
        axes.legend(frameon=False)
        figure.savefig(folder / "paper_heterogeneity.png", dpi=120)


# ------------------------------------------------------------------------------------------------ the page

MAKERS: tuple[Callable[[Path], Tables], ...] = (
    targets_table,
    fair_tables,
    paired_table,
    published_table,
    ablation_table,
    heterogeneity_table,
    lambda_table,
    term_table,
    pretreatment_tables,
    closure_table,
)


def filled(page: str, tables: Tables) -> str:
    """The page with each table between its markers; an error names a table that has no place."""
    for name, text in tables.items():
        pattern = re.compile(rf"(<!-- begin {re.escape(name)} -->\n).*?(<!-- end {re.escape(name)} -->)", re.DOTALL)
        page, n = pattern.subn(lambda match, text=text: f"{match[1]}\n{text}\n\n{match[2]}", page)
        if n != 1:
            raise ValueError(f"The page has {n} places for the table {name!r}; mark one with <!-- begin {name} -->.")
    return page


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument(
        "--out", type=Path, default=OUT, metavar="DIR", help="where the JSON is (default: %(default)s)"
    )
    options.add_argument("--page", type=Path, default=PAGE, metavar="FILE", help="default: docs/paper.md")
    options.add_argument("--figures", type=Path, default=FIGURES, metavar="DIR", help="default: docs/figures")
    args = options.parse_args()
    tables = {name: text for maker in MAKERS for name, text in maker(args.out).items()}
    args.page.write_text(filled(args.page.read_text(encoding="utf-8"), tables), encoding="utf-8")
    figures(args.out, args.figures)
    print(f"{args.page}: {', '.join(tables)}")


if __name__ == "__main__":
    main()
