"""How good the first call is: errors beside what was asked and beside rivals that see all rows; its cost.

    python benchmarks/accuracy.py                          # everything, nothing set
    python benchmarks/accuracy.py --rows tecator,corn      # some rows of the table
    python benchmarks/accuracy.py --tuning default,none    # beside the network alone, in the same run
    python benchmarks/accuracy.py --csv docs/data/first_call.csv

Protocol: five shuffled folds, in which groups such as repeats of a spectrum stay together; the training rows of each
are dealt at random to three clients where no sites are known. Everything is fitted on training rows, and all choices
are made inside them. "FDRMFL" is `RidgeCV(alphas=np.logspace(-6, 3, 10))` behind two components, "FDRMFL, predict" the
transformer's own prediction. The RMSE is that of the test rows of all folds together. Repeat r has folds, clients and
first weights of seed r; figures are means over repeats.

Rivals see all training rows: RidgeCV on all standardised columns, PLS with as many components (up to 30) as five inner
folds choose, both by inner folds of groups where there are groups; LassoCV of five folds. The better of two is the
better on the test rows, which favours them.

The Corn data are not part of the package (see `skfdrmfl.datasets.fetch_corn`); where they are absent their targets are
left out. The sets behind each row are in `benchmarks/_cases.py`.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from _cases import (
    ALPHAS,
    MEAN,
    PLS,
    RIDGE,
    RIVALS,
    Case,
    Contender,
    Float,
    Rows,
    corn,
    development,
    diabetes,
    measure,
    permuted,
    spectra,
    tecator,
    unseen,
)
from _common import add_corn, add_csv, arguments, check, note, parser, save, save_csv, table
from sklearn.datasets import make_friedman1
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LassoCV, RidgeCV
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.datasets import make_client_ids, make_simulation

CSV_HEADER = ("row", "case", "method", "measure", "asked", "repeats", "mean", "sd", "least", "most")
SETTINGS: dict[str, dict[str, Any]] = {
    "default": {},
    "none": {"tuning": None},
}
NO_TERMS = {"mi_weight": 0.0, "kl_weight": 0.0, "contrastive_weight": 0.0}


class Figure(NamedTuple):
    """A measure of a method on a case, and what is asked of it, if anything is."""

    case: str
    method: str
    measure: str
    values: Float  # (repeats,)
    asked: float | None = None


def title(setting: str) -> str:
    """What FDRMFL is called under a setting."""
    return "FDRMFL" if setting == "default" else f"FDRMFL, tuning {setting}"


def federated(name: str, **parameters: Any) -> Contender:
    """The transformer: a ridge behind its two components, and its own prediction."""

    def fit(case: Case, train: Rows, seed: int) -> Callable[[Float], dict[str, Float]]:
        X, y = case.X[train], case.y[train]
        fitted = FDRMFLTransformer(random_state=seed, **parameters).fit(X, y, **case.labels(train, seed))
        behind = RidgeCV(ALPHAS).fit(fitted.transform(X), y)
        return lambda X: {name: behind.predict(fitted.transform(X)), f"{name}, predict": fitted.predict(X)}

    return fit


def contenders(options: argparse.Namespace) -> dict[str, Contender]:
    """FDRMFL under each of the settings that are asked for."""
    return {setting: federated(title(setting), **SETTINGS[setting]) for setting in options.tuning}


def own(errors: dict[str, Float]) -> list[str]:
    """The methods that are FDRMFL."""
    return [name for name in errors if name.startswith("FDRMFL")]


def rmse_of(cases: Iterable[Case], asked: dict[str, float], options: argparse.Namespace) -> Iterator[Figure]:
    """RMSE of FDRMFL and its rivals."""
    for case in cases:
        errors = measure(case, RIVALS | contenders(options), options.repeats, options.folds)
        for name, values in errors.items():
            wanted = asked.get(case.name) if name in own(errors) else None
            yield Figure(case.name, name, "RMSE", values, wanted)


def ratios_of(
    cases: Iterable[Case], rivals: tuple[str, ...], asked: dict[str, float], options: argparse.Namespace
) -> Iterator[Figure]:
    """RMSE of FDRMFL over the least of some rivals', of each case and, with limits to both, mean and worst of all."""
    measured = f"RMSE over {rivals[0] if len(rivals) == 1 else 'the better of ' + ' and '.join(rivals)}"
    of_all: dict[str, list[Float]] = {}
    for case in cases:
        errors = measure(
            case, {name: RIVALS[name] for name in rivals} | contenders(options), options.repeats, options.folds
        )
        least = np.min([errors[name] for name in rivals], axis=0)
        for name in rivals:
            yield Figure(case.name, name, "RMSE", errors[name])
        for name in own(errors):
            ratio = errors[name] / least
            of_all.setdefault(name, []).append(ratio)
            yield Figure(case.name, name, measured, ratio, asked.get(case.name, asked.get("each")))
    for name, ratios in of_all.items():
        if "mean" in asked:
            mean = np.exp(np.log(ratios).mean(axis=0))
            yield Figure(f"{len(ratios)} cases, geometric mean", name, measured, mean, asked["mean"])
            yield Figure(f"{len(ratios)} cases, worst", name, measured, np.max(ratios, axis=0), asked["worst"])


def sorted_clients(options: argparse.Namespace) -> Iterator[Figure]:
    """Ten clients, each with one slice of fat."""
    (fat,) = tecator(("fat",))
    case = Case("Tecator fat, ten sorted clients", fat.X, fat.y, fat.groups, n_clients=10, scheme="quantile")
    return rmse_of([case], {case.name: 0.62}, options)


def without_signal(options: argparse.Namespace) -> Iterator[Figure]:
    """Targets that X says nothing of: a repeat is a permutation."""
    values: dict[tuple[str, str], list[float]] = {}
    for seed in range(options.repeats):
        for case in (permuted(next(tecator(("fat",))), seed), permuted(diabetes(), seed)):
            errors = measure(case, {MEAN: RIVALS[MEAN]} | contenders(options), 1, options.folds)
            for name in own(errors):
                values.setdefault((case.name, name), []).append(float(errors[name][0] / errors[MEAN][0]))
    for (case_name, name), ratios in values.items():
        yield Figure(case_name, name, "RMSE over the mean predictor", np.array(ratios), 1.02)


def simulations(options: argparse.Namespace) -> Iterator[Figure]:
    """The paper's simulations, 2,000 rows to train on and 500 to test: a repeat is a draw."""
    n_train, n_test = (60, 30) if options.smallest else (2000, 500)
    for function, asked in ((1, 0.6), (2, 0.7), (3, 1.02)):
        case, values = f"simulation y{function}", dict[tuple[str, str, float | None], list[float]]()
        for seed in range(options.repeats):
            X, y = make_simulation(function, n_train + n_test, seed)
            train, test = (X[:n_train], y[:n_train]), (X[n_train:], y[n_train:])
            against, reference = "the mean predictor", float(np.mean((test[1] - train[1].mean()) ** 2))
            values.setdefault((MEAN, "test MSE", None), []).append(reference)
            if function != 3:  # which is even in the sums: a linear model has the mean's error
                # Columns are of one scale. Penalties below .03 of the largest are never chosen, and cost minutes.
                lasso = LassoCV(cv=5, alphas=20, eps=0.03).fit(np.asfortranarray(train[0]), train[1])
                against, reference = "LassoCV", float(np.mean((lasso.predict(test[0]) - test[1]) ** 2))
                values.setdefault(("LassoCV", "test MSE", None), []).append(reference)
            clients = make_client_ids(train[1], 3, random_state=seed)
            for setting in options.tuning:
                start = time.process_time()
                fitted = FDRMFLTransformer(random_state=seed, **SETTINGS[setting]).fit(*train, client_ids=clients)
                took = time.process_time() - start
                squared = float(np.mean((fitted.predict(test[0]) - test[1]) ** 2))
                name = f"{title(setting)}, predict"
                values.setdefault((name, "test MSE", None), []).append(squared)
                values.setdefault((name, f"test MSE over {against}", asked), []).append(squared / reference)
                values.setdefault((name, "seconds of the processor", 10.0), []).append(took)
        for (name, measured, wanted), found in values.items():
            yield Figure(case, name, measured, np.array(found), wanted)


def terms(options: argparse.Namespace) -> Iterator[Figure]:
    """What the paper's three regularisers change, paired by repeat, in the network alone."""
    both = {"with": federated("with", tuning=None), "without": federated("without", tuning=None, **NO_TERMS)}
    ratios = []
    for case in (*tecator(), *corn(options.corn, "m5", CORN)):
        errors = measure(case, both, options.repeats, options.folds)
        ratios.append(errors["with"] / errors["without"])
        yield Figure(case.name, title("none"), "RMSE over that without terms", ratios[-1])
    mean = np.mean(ratios, axis=0)
    yield Figure(f"{len(ratios)} cases, mean", title("none"), "RMSE over that without terms", mean, 1.01)


def in_turn(fits: dict[str, Callable[[Float, Float], Any]], case: Case, turns: int) -> dict[str, Float]:
    """Seconds of the processor (turns,) that each fit takes, one after the other in every turn.

    No fit meets rows of an earlier one, as no first call does: what was prepared for the same rows is kept.
    """
    taken: dict[str, list[float]] = {name: [] for name in fits}
    for turn in range(turns):
        for number, (name, fit) in enumerate(fits.items()):
            X = case.X * (1 + 1e-6 * (1 + turn * len(fits) + number))
            start = time.process_time()
            fit(X, case.y)
            taken[name].append(time.process_time() - start)
    return {name: np.array(seconds) for name, seconds in taken.items()}


def over(taken: dict[str, Float], case: Case, pairs: Iterable[tuple[str, str, float | None]]) -> Iterator[Figure]:
    """Seconds of each fit, and the least of one over the least of another with its limit."""
    for name, seconds in taken.items():
        yield Figure(case.name, name, "seconds of the processor", seconds)
    for name, other, limit in pairs:
        ratio = np.array([taken[name].min() / taken[other].min()])
        yield Figure(case.name, name, f"least seconds over {other}", ratio, limit)


def processor(options: argparse.Namespace) -> Iterator[Figure]:
    """What the first call costs beside the network alone and beside scikit-learn's of 300 epochs."""
    friedman = make_friedman1(300 if options.smallest else 2000, 10, noise=1.0, random_state=0)
    small = replace(spectra(0, 40, 2, 300), name="80 x 300")
    mlp = MLPRegressor(hidden_layer_sizes=(32,), max_iter=300, n_iter_no_change=300, tol=0.0, random_state=0)
    for case, limit in ((next(tecator(("fat",))), 8.0), (small, 8.0), (Case("2,000 x 10", *friedman), 6.0)):
        settings = dict.fromkeys([*options.tuning, "none"])
        fits = {title(setting): fit_to(case, **SETTINGS[setting]) for setting in settings}
        taken = in_turn(fits | {"MLPRegressor": make_pipeline(StandardScaler(), mlp).fit}, case, options.repeats)
        own = [title(setting) for setting in options.tuning]
        pairs = [(name, other, limit) for name in own if name != (other := title("none"))]
        yield from over(taken, case, [*pairs, *((name, "MLPRegressor", None) for name in own)])


def fit_to(case: Case, **parameters: Any) -> Callable[[Float, Float], Any]:
    """The transformer's fit to all rows of a case."""
    return partial(FDRMFLTransformer(random_state=0, **parameters).fit, **case.labels(np.arange(len(case.y)), 0))


def gradients(options: argparse.Namespace) -> Iterator[Figure]:
    """What 600 rounds of full gradients, or of SCAFFOLD with one epoch, cost beside 60 of plain averaging."""
    case, n_rounds = next(tecator(("fat",))), 20 if options.smallest else 600
    fits = {
        name: fit_to(case, tuning=None, algorithm=name, n_rounds=n_rounds, local_epochs=1)
        for name in ("fedsgd", "scaffold")
    }
    fits["fedavg"] = fit_to(case, tuning=None, n_rounds=n_rounds // 10, local_epochs=5)
    taken = in_turn(fits, case, options.repeats)
    yield from over(taken, case, [("fedsgd", "fedavg", 2.0), ("scaffold", "fedavg", 3.0)])


CORN = ("moisture", "oil", "protein", "starch")
# Each row of the table: what measures it, and how many repeats it has unless --repeats says so.
ROWS: dict[str, tuple[Callable[[argparse.Namespace], Iterator[Figure]], int]] = {
    "tecator": (
        lambda o: rmse_of(tecator(), {"Tecator fat": 0.53, "Tecator water": 0.67, "Tecator protein": 0.55}, o),
        20,
    ),
    "corn": (
        lambda o: ratios_of(
            corn(o.corn, "m5", CORN),
            (RIDGE,),
            dict(zip((f"Corn m5 {name}" for name in CORN), (1.0, 0.8, 0.65, 0.8), strict=True)),
            o,
        ),
        5,
    ),
    "development": (lambda o: ratios_of(development(o.corn), (RIDGE, PLS), {"mean": 0.71, "worst": 1.03}, o), 3),
    "unseen": (lambda o: ratios_of(unseen(), (RIDGE, PLS), {"mean": 0.97, "worst": 1.06}, o), 5),
    "sorted": (sorted_clients, 5),
    "spectra": (lambda o: ratios_of(map(spectra, range(3)), (RIDGE, PLS), {"each": 0.98}, o), 1),
    "simulations": (simulations, 3),
    "permuted": (without_signal, 5),
    "cpu": (processor, 7),
    "rounds": (gradients, 5),
    "terms": (terms, 8),
}


def names_of(known: Iterable[str]) -> Callable[[str], list[str]]:
    """A type for argparse: some of the names there are, separated by commas."""

    def names(text: str) -> list[str]:
        wrong = [name for name in text.split(",") if name not in known]
        if wrong:
            raise argparse.ArgumentTypeError(f"{', '.join(wrong)}: choose from {', '.join(known)}")
        return text.split(",")

    return names


def cells(figure: Figure) -> list[str]:
    """A figure as words: who, what, what was asked, how often, and mean, standard deviation, least and most."""
    values = figure.values
    spread = f"{values.std(ddof=1):.2g}" if len(values) > 1 else ""
    asked = "" if figure.asked is None else f"{figure.asked:g}"
    numbers = [f"{values.mean():.4g}", spread, f"{values.min():.4g}", f"{values.max():.4g}"]
    return [figure.case, figure.method, figure.measure, asked, str(len(values)), *numbers]


def main() -> None:
    """Measure the rows that are asked for, and report each as it is there."""
    options = parser(__doc__)
    options.add_argument(
        "--rows",
        type=names_of(ROWS),
        default=list(ROWS),
        metavar="NAME,...",
        help=f"rows of the table: {', '.join(ROWS)} (default: all)",
    )
    options.add_argument("--repeats", type=int, metavar="N", help="repeats of each (default: each row's own, 1 to 20)")
    options.add_argument("--folds", type=int, default=5, metavar="N", help="outer folds (default: %(default)s)")
    options.add_argument(
        "--tuning",
        type=names_of(SETTINGS),
        default=["default"],
        metavar="NAME,...",
        help=f"settings of FDRMFL, side by side: {', '.join(SETTINGS)} (default: nothing set)",
    )
    add_corn(options)
    add_csv(options, "first_call")
    args = arguments(options, repeats=1, folds=2)
    warnings.filterwarnings("ignore", category=ConvergenceWarning)  # of the networks beside, whose epochs are given
    results: dict[str, list[Figure]] = {}
    repeats = args.repeats
    for row in args.rows:
        work, args.repeats = ROWS[row][0], repeats or ROWS[row][1]
        start = time.perf_counter()
        results[row] = list(work(args))
        print(f"\n## {row}\n")
        lines = [[*cells(f), "" if f.asked is None else check(float(f.values.mean()), f.asked)] for f in results[row]]
        print(table([*CSV_HEADER[1:], "ok"], lines, left=3), flush=True)
        note(f"{row}: {time.perf_counter() - start:.0f} s")
    save_csv(args.csv, CSV_HEADER, ([row, *cells(figure)] for row, found in results.items() for figure in found))
    save(
        args.out,
        "accuracy",
        {row: [f._replace(values=f.values.tolist())._asdict() for f in found] for row, found in results.items()},
    )


if __name__ == "__main__":
    main()
