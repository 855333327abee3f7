"""Draw the figures of the documentation from the tables in docs/data/ (seconds; nothing is trained).

    python benchmarks/figures.py            # all, into docs/figures/
    python benchmarks/figures.py drift      # some

The tables are what the benchmarks measured; which one wrote which table is said beside the figure on its page.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from _common import DOCS_FIGURES, ROOT, arguments, parser
from matplotlib.axes import Axes
from matplotlib.figure import Figure

DATA = ROOT / "docs" / "data"
BLUE, ORANGE, GREEN, SKY, RED, PINK, GREY = "#0072B2", "#E69F00", "#009E73", "#56B4E9", "#D55E00", "#CC79A7", "#888888"
Table = list[dict[str, str]]


def read(name: str, **wanted: str) -> Table:
    """The rows of a table, those alone whose cells are as wanted."""
    with (DATA / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if all(row[key] == value for key, value in wanted.items())]


def values(rows: Table, key: str) -> np.ndarray:
    """A column of numbers, NaN where there is none."""
    return np.array([float(row[key]) if row[key] else np.nan for row in rows])


def unique(rows: Table, key: str) -> list[str]:
    """What stands in a column, in order."""
    return list(dict.fromkeys(row[key] for row in rows))


def canvas(width: float, height: float, columns: int = 1, **options: Any) -> tuple[Figure, list[Axes]]:
    """A figure and its panels, side by side."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = list(figure.subplots(1, columns, squeeze=False, **options)[0])
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
        ax.set_axisbelow(True)
        ax.grid(axis="x", which="both", color="#E6E6E6")
    return figure, axes


def intervals(ax: Axes, rows: Table, y: Sequence[float], keys: Sequence[str], colour: str, label: str = "") -> None:
    """A point and its interval for each row; percents below zero are what is wished for."""
    mean, low, high = (values(rows, key) for key in keys)
    ax.hlines(y, low, high, color=colour, linewidth=1.6)
    ax.plot(mean, y, "o", color=colour, markersize=4.5, label=label or None)


def name_rows(ax: Axes, names: Sequence[str], size: float = 8) -> None:
    """One name a row, from top to bottom."""
    ax.set_yticks(range(len(names)), names, fontsize=size)
    ax.set_ylim(len(names) - 0.5, -0.5)


# ------------------------------------------------------------------------------------------------ accuracy


def accuracy() -> Figure:
    """The defaults beside the usual rivals, over the mean predictor."""
    rows = read("accuracy")
    targets = unique(rows, "target")
    figure, (ax,) = canvas(7.5, 3.4)
    looks = {
        "PCA, 2 components": ("s", SKY),
        "PLS, 2 components": ("^", ORANGE),
        "PLS, 16 components": ("v", RED),
        "RidgeCV on all columns, no reduction": ("D", GREY),
        "FDRMFL": ("o", BLUE),
    }
    mean = values([r for r in rows if r["method"] == "mean predictor"], "rmse")
    for method, (marker, colour) in looks.items():
        found = [r for r in rows if r["method"] == method]
        label = "FDRMFL, 2 components, federated" if method == "FDRMFL" else method
        ax.plot(values(found, "rmse") / mean, range(len(targets)), marker, color=colour, label=label, markersize=7)
    ax.set_xscale("log")
    ax.set_xlabel("RMSE over that of the mean predictor")
    name_rows(ax, targets, 9)
    figure.legend(loc="outside right upper", frameon=False, fontsize=8)
    return figure


# ------------------------------------------------------------------------------------------------ the paper

PAPER_KEYS = (("these_rows", "these_low", "these_high"), ("new_rows", "new_low", "new_high"))


def paper_fair() -> Figure:
    """Every case, fair protocol, over the mean predictor."""
    rows = read("paper/errors_fair")
    cases = unique(rows, "case")
    error = {(r["case"], r["method"], r["behind"]): float(r["error"]) for r in rows}
    mean = np.array([error[case, "mean predictor", "itself"] for case in cases])
    figure, (ax,) = canvas(9, 7)
    looks = {
        ("PCA, 2", "Ridge"): ("s", SKY),
        ("PLS, 16", "Ridge"): ("^", ORANGE),
        ("Ridge, all columns", "itself"): ("D", GREEN),
        ("Lasso, all columns", "itself"): ("v", PINK),
        ("FDRMFL", "Ridge"): ("o", BLUE),
        ("FDRMFL, tuning='auto'", "Ridge"): ("*", RED),
        ("FDRMFL, pre-treatment chosen", "Ridge"): ("P", "k"),
    }
    for (method, behind), (marker, colour) in looks.items():
        x = np.array([error.get((case, method, behind), np.nan) for case in cases]) / mean
        label = method if behind == "itself" else f"{method} + Ridge"
        ax.plot(x, range(len(cases)), marker, color=colour, label=label, markersize=6)
    ax.set_xscale("log")
    ax.set_xlabel("error over that of the mean predictor")
    name_rows(ax, cases)
    figure.legend(loc="outside upper center", ncols=3, frameon=False, fontsize=8)
    return figure


def paper_targets() -> Figure:
    """Reached over the goal."""
    rows = read("paper/targets")
    figure, (ax,) = canvas(8.5, 6.4)
    ratio = values(rows, "ridge") / values(rows, "at_most")
    ax.barh(range(len(rows)), ratio, color=[BLUE if row["reached"] == "yes" else RED for row in rows], height=0.6)
    for j, (row, r) in enumerate(zip(rows, ratio, strict=True)):
        text = f"{r:.2f}   {row['repeats_below']} of {row['repeats']}"
        ax.text(1.52, j, text, va="center", fontsize=7)
    ax.axvline(1.0, color="k", linewidth=0.8)
    ax.set_xlim(0.5, 1.5)
    ax.set_xlabel("error over the goal (blue: reached)       its value; repeats below")
    name_rows(ax, [f"{row['case']}   {row['with']}" for row in rows], 7)
    return figure


def paper_paired() -> Figure:
    """FDRMFL against its best rival, with both intervals."""
    rows = [r for r in read("paper/paired") if r["best"] == "yes" and not r["case"].startswith("y3")]
    figure, (ax,) = canvas(9.5, 10)
    y = np.arange(len(rows))
    intervals(ax, rows, y + 0.15, PAPER_KEYS[1], SKY, "new rows")
    intervals(ax, rows, y - 0.15, PAPER_KEYS[0], BLUE, "these rows, other folds, clients, seeds")
    ax.axvline(0.0, color="k", linewidth=0.8)
    ax.set_xscale("symlog", linthresh=30)
    ax.set_xticks(
        [-60, -30, -20, -10, 0, 10, 20, 30, 60, 150], ["-60", "-30", "-20", "-10", "0", "10", "20", "30", "60", "150"]
    )
    ax.set_xlabel("percent by which FDRMFL + Ridge errs more, 95 % intervals")
    name_rows(ax, [f"{r['case']}   {r['ours']} | {r['rival']}" for r in rows], 7)
    figure.legend(loc="outside upper center", ncols=2, frameon=False, fontsize=8)
    return figure


def paper_terms() -> Figure:
    """Where a term earns its place."""
    rows = [r for r in read("paper/terms") if r["weight"] != "0"]
    figure, (ax,) = canvas(8, 9)
    y = np.arange(len(rows))
    intervals(ax, rows, y + 0.15, PAPER_KEYS[1], SKY, "new rows")
    intervals(ax, rows, y - 0.15, PAPER_KEYS[0], BLUE, "these rows")
    ax.axvspan(-100, -5, color="#E8F3EC", zorder=0)
    ax.axvline(0.0, color="k", linewidth=0.8)
    ax.set_xlim(-100, 140)
    ax.set_xlabel("percent of error that the weight adds; goal: in the shade, clear of zero")
    names = [f"{r['setting']}, {r['weight']}" for r in rows]
    name_rows(ax, names, 7)
    figure.legend(loc="outside upper center", ncols=2, frameon=False, fontsize=8)
    return figure


def paper_ablation() -> Figure:
    """Each weight off by itself."""
    rows = read("paper/ablation")
    cases = unique(rows, "case")
    figure, axes = canvas(9.5, 2.9, len(cases), sharey=True)
    for ax, case in zip(axes, cases, strict=True):
        mine = [r for r in rows if r["case"] == case]
        intervals(ax, mine, np.arange(len(mine)), PAPER_KEYS[1], BLUE)
        ax.axvline(0.0, color="k", linewidth=0.8)
        ax.set_title(f"{case}: {mine[0]['all_off']}", fontsize=9)
        name_rows(ax, [r["variant"] for r in mine])
    axes[1].set_xlabel("percent against the error with all terms off (its value beside the name), new rows")
    return figure


def paper_heterogeneity() -> Figure:
    """The contrastive term against how unlike the clients are."""
    rows = [r for r in read("paper/heterogeneity") if r["contrastive_weight"] != "0"]
    none = read("paper/heterogeneity", contrastive_weight="0")
    deals = unique(rows, "clients")
    figure, (left, right) = canvas(9, 3.2, 2, sharey=True)
    for weight, colour, shift in (("0.1", ORANGE, -0.12), ("0.5", BLUE, 0.12)):
        mine = [r for r in rows if r["contrastive_weight"] == weight]
        intervals(right, mine, np.arange(len(deals)) + shift, PAPER_KEYS[0], colour, f"weight {weight}")
    left.barh(range(len(deals)), values(none, "error"), color=GREY, height=0.6)
    left.set_xlabel("RMSE without the term")
    right.axvline(0.0, color="k", linewidth=0.8)
    right.set_xlabel("percent that the term adds, these rows")
    right.legend(frameon=False, fontsize=8)
    name_rows(left, deals)
    return figure


def paper_left_out() -> Figure:
    """An instrument, or a slice of the labels, that nobody trained on."""
    rows = read("paper/errors_pretreatments", rows="left-out")
    cases = unique(rows, "case")
    figure, axes = canvas(9.5, 3.4, len(cases), sharey=False)
    looks = {
        "Ridge, all columns": ("D", GREY),
        "PLS, 2": ("^", ORANGE),
        "PLS, 16": ("v", RED),
        "FDRMFL": ("o", BLUE),
        "FDRMFL, standardized": ("*", GREEN),
        "FDRMFL, central": ("s", SKY),
    }
    for ax, case in zip(axes, cases, strict=True):
        mine = [r for r in rows if r["case"] == case]
        treatments = unique(mine, "treatment")
        error = {(r["treatment"], r["method"]): float(r["error"]) for r in mine}
        for method, (marker, colour) in looks.items():
            x = [error.get((treatment, method), np.nan) for treatment in treatments]
            ax.plot(x, range(len(treatments)), marker, color=colour, label=method, markersize=7)
        ax.axvline(error[treatments[0], "mean predictor"], color="k", linestyle=":")
        ax.set_xscale("log")
        ax.set_xlabel(f"RMSE, {case} (dotted: mean predictor)")
        name_rows(ax, treatments, 9)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=6, frameon=False, fontsize=8)
    return figure


def paper_pretreatments() -> Figure:
    """What SNV and derivatives do to each method, Tecator, grouped folds."""
    rows = [r for r in read("paper/errors_pretreatments", rows="folds") if r["method"] != "mean predictor"]
    cases = [case for case in unique(rows, "case") if not case.endswith("-two")]
    raw = [r for r in read("paper/errors_fair") if r["case"] in cases and r["behind"] in ("itself", "Ridge")]
    figure, axes = canvas(10, 3.4, len(cases), sharey=True)
    looks = {
        "Ridge, all columns": ("D", GREY),
        "PLS, 16": ("v", RED),
        "GP on 20 whitened PCs": ("^", ORANGE),
        "MLP on 15 whitened PCs": ("s", SKY),
        "FDRMFL": ("o", BLUE),
    }
    order = [
        "raw",
        "snv",
        "derivative",
        "second derivative",
        "snv + derivative",
        "snv + second derivative",
        "snv + std",
    ]
    for ax, case in zip(axes, sorted(cases), strict=True):
        mine = [r for r in rows if r["case"] == case and r["treatment"] != "raw"]
        error = {(r["treatment"], r["method"]): float(r["error"]) for r in mine}
        error |= {("raw", r["method"]): float(r["error"]) for r in raw if r["case"] == case}
        for method, (marker, colour) in looks.items():
            x = [error.get((treatment, method), np.nan) for treatment in order]
            ax.plot(x, range(len(order)), marker, color=colour, label=method, markersize=6)
        ax.set_xscale("log")
        ax.set_xlabel(f"RMSE, {case.removeprefix('tecator-')}")
        name_rows(ax, order)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=5, frameon=False, fontsize=8)
    return figure


# ------------------------------------------------------------------------------------------------ clients


def drift() -> Figure:
    """Algorithms and clients unlike each other."""
    rows = [r for r in read("drift") if r["algorithm"] != "asked"]
    deals, algorithms = unique(rows, "clients"), unique(rows, "algorithm")
    figure, axes = canvas(10.5, 3.2, len(deals), sharey=True, sharex=True)
    for ax, deal in zip(axes, deals, strict=True):
        mine = [r for r in rows if r["clients"] == deal]
        for j, row in enumerate(mine):
            good = BLUE if float(row["ratio"]) <= 1.05 else GREY
            intervals(ax, [row], [j], ("ratio", "low", "high"), good)
        ax.axvline(1.05, color="k", linestyle=":")
        ax.axvline(1.0, color="k", linewidth=0.8)
        ax.set_xscale("log")
        ax.set_xticks([0.6, 1, 2, 4], ["0.6", "1", "2", "4"])
        ax.minorticks_off()
        ax.set_title(deal, fontsize=9)
        name_rows(ax, algorithms)
    figure.supxlabel("RMSE over that of the pooled rows, 95 % intervals over five seeds (dotted: 1.05)", fontsize=9)
    return figure


def robust() -> Figure:
    """Three attackers of ten."""
    rows = read("robust")
    rules, attacks = unique(rows, "rule"), unique(rows, "attack")
    figure, (ax,) = canvas(7.5, 3.4)
    ax.grid(visible=False)
    ax.grid(axis="y", which="major", color="#E6E6E6")
    for rule, colour, shift in zip(rules, (RED, BLUE), (-0.18, 0.18), strict=True):
        mine = [r for r in rows if r["rule"] == rule]
        ratio, half = values(mine, "ratio"), np.nan_to_num(values(mine, "half_width"))
        x = np.arange(len(attacks)) + shift
        ax.bar(x, ratio, 0.34, color=colour, label=rule)
        ax.errorbar(x, ratio, yerr=half, fmt="none", ecolor="k", elinewidth=1)
    ax.axhline(1.25, color="k", linestyle=":")
    ax.set_yscale("log")
    ax.set_ylim(0.7, 2e4)
    ax.set_xticks(range(len(attacks)), attacks)
    ax.set_ylabel("RMSE over the mean's without attackers")
    ax.legend(frameon=False, fontsize=8)
    return figure


def missing() -> Figure:
    """A modality missing at test time, by what was done about it."""
    rows = read("missing_methods")
    methods, targets = unique(rows, "method"), unique(rows, "target")
    figure, axes = canvas(10.5, 3, len(targets), sharey=True)
    for ax, target in zip(axes, targets, strict=True):
        mine = [r for r in rows if r["target"] == target]
        complete, lacking = values(mine, "all_present"), values(mine, "any_missing")
        ax.hlines(range(len(methods)), complete, lacking, color="#CCCCCC")
        ax.plot(complete, range(len(methods)), "o", color=GREY, label="all present")
        ax.plot(lacking, range(len(methods)), "o", color=BLUE, label="any one missing")
        ax.set_xscale("log")
        ax.minorticks_off()
        ax.set_title(target, fontsize=9)
        name_rows(ax, methods)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2, frameon=False, fontsize=8)
    figure.supxlabel("RMSE, Corn, three instruments as modalities", fontsize=9)
    return figure


def alignment() -> Figure:
    """What alignment changes, complete rows and one modality missing."""
    rows = read("alignment", unit="percent")
    fusions, targets = unique(rows, "fusion"), unique(rows, "target")
    names = [
        f"{r['alignment']}, {r['kl_weight']}" for r in rows if r["fusion"] == "concat" and r["target"] == targets[0]
    ]
    figure, axes = canvas(10, 4, 4, sharey=True)
    panels = [(f, key) for f in fusions for key in ("complete_rows", "one_modality_missing")]
    for ax, (fusion, key) in zip(axes, panels, strict=True):
        grid = np.array(
            [values([r for r in rows if (r["fusion"], r["target"]) == (fusion, t)], key) for t in targets]
        ).T
        ax.grid(visible=False)
        image = ax.imshow(grid, cmap="RdBu_r", vmin=-30, vmax=30, aspect="auto")
        for (i, j), value in np.ndenumerate(grid):
            ax.text(j, i, f"{value:+.0f}", ha="center", va="center", fontsize=6)
        ax.set_xticks(range(len(targets)), targets, rotation=60, ha="right", fontsize=7)
        ax.set_yticks(range(len(names)), names, fontsize=7)
        ax.set_title(f"{fusion}\n{key.replace('_', ' ')}", fontsize=9)
    figure.colorbar(image, ax=axes, label="change of RMSE, %", shrink=0.8)
    return figure


def sites() -> Figure:
    """Sites whose instruments differ altogether."""
    rows = read("sites")
    figure, (ax,) = canvas(6.5, 2.8)
    names = [f"{r['target']}, {r['site']}" for r in rows]
    intervals(ax, rows, np.arange(len(rows)), ("ratio", "low", "high"), BLUE)
    ax.axvline(1.0, color="k", linewidth=0.8)
    ax.axvline(1.03, color="k", linestyle=":")
    ax.set_xlabel("RMSE together over RMSE alone, 95 % intervals over five seeds (dotted: 1.03)", fontsize=8)
    name_rows(ax, names)
    return figure


# ------------------------------------------------------------------------------------------------ information


def information() -> Figure:
    """What the information estimate is worth."""
    known, nothing = read("nwj"), read("nwj_independent")
    figure, (left, right) = canvas(8.5, 3.2, 2)
    left.plot([0, 2], [0, 2], color="#BBBBBB")
    for key, marker, colour in (("rows_600", "o", SKY), ("rows_3000", "s", BLUE)):
        left.plot(values(known, "information"), values(known, key), marker, color=colour, label=key.replace("_", " "))
    left.set_xlabel("I(x; y), nats")
    left.set_ylabel("mi_nwj, training rows")
    left.legend(frameon=False, fontsize=8)
    right.barh(range(len(nothing)), values(nothing, "mi_nwj"), color=RED, height=0.6)
    name_rows(right, [f"{r['rows']} rows, {r['columns']} columns" for r in nothing])
    right.set_xlabel("mi_nwj where I = 0: memorised")
    return figure


FIGURES: tuple[Callable[[], Figure], ...] = (
    accuracy,
    paper_fair,
    paper_targets,
    paper_paired,
    paper_terms,
    paper_ablation,
    paper_heterogeneity,
    paper_left_out,
    paper_pretreatments,
    drift,
    robust,
    missing,
    alignment,
    sites,
    information,
)


def main() -> None:
    options = parser(__doc__, DOCS_FIGURES)
    names = [draw.__name__ for draw in FIGURES]
    options.add_argument("names", nargs="*", choices=[*names, []], metavar="NAME", help=", ".join(names))
    args = arguments(options)
    args.out.mkdir(parents=True, exist_ok=True)
    for draw in FIGURES:
        if not args.names or draw.__name__ in args.names:
            draw().savefig(args.out / f"{draw.__name__}.png", dpi=100, metadata={"Software": None})
            print(f"Written to {args.out / draw.__name__}.png")


if __name__ == "__main__":
    main()
