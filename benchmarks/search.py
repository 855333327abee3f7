"""VectorizedGridSearchCV against GridSearchCV(n_jobs=2) on the same search: seconds, ratios, equal scores.

    python benchmarks/search.py                       # about five minutes on two cores
    python benchmarks/search.py --loop-rounds 60      # the loop engine at its full length too: add ten minutes
    python benchmarks/search.py --parts processes     # one of the three parts: stacked, loop, processes

Tecator (fat), 3 IID clients, 27 candidates (three values each of `mi_weight`, `contrastive_weight` and
`learning_rate`) x 5 folds, `Pipeline([FDRMFLTransformer(), Ridge()])`, otherwise default settings. Searches take
turns (A B A B ...); the table shows medians. Both have two processes, which are started, and have
imported everything, before the clock runs. The refit of the best candidate is part of every search.

The loop engine is an oracle, not a rival in speed, and slow. Its part runs `--loop-rounds` rounds a fit
instead of 60, both searches alike; a round costs the same whatever their number. Its scores (R²) agree to the
rounding of float32, which training amplifies: to 1e-3 is asked here.

The last part is the vectorised search with two processes against itself with one. Only training is divided:
preparation, scores and the refit take as long in both.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from _common import check, interleaved, note, parser, save, table
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import Pipeline

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.datasets import load_tecator, make_client_ids
from skfdrmfl.model_selection import VectorizedGridSearchCV

GRID = {
    "fdrmfl__mi_weight": [0.0, 1e-3, 1e-2],
    "fdrmfl__contrastive_weight": [0.0, 1e-3, 1e-2],
    "fdrmfl__learning_rate": [0.005, 0.01, 0.02],
}
ASKED = {"torch": 3.0, "loop": 12.0, "processes": 1.3}
# The loop sums in another order: it is equal to rounding in a step, and training amplifies that.
TOLERANCE = {"torch": 0.0, "loop": 1e-3}
FULL_ROUNDS = 60


class Comparison:
    """One search, as `GridSearchCV` with some engine and as `VectorizedGridSearchCV`."""

    def __init__(self, engine: str, n_rounds: int, grid: dict[str, list[float]]):
        self.engine, self.n_rounds, self.grid = engine, n_rounds, grid
        tecator = load_tecator()
        self.X, self.y = tecator.data, tecator.target
        self.client_ids = make_client_ids(self.y, 3, random_state=0)
        splitter = GroupKFold(5, shuffle=True, random_state=0)
        self.folds = list(splitter.split(self.X, groups=tecator.groups))
        self.searches: dict[str, Any] = {}

    def model(self, engine: str) -> Pipeline:
        """The pipeline to be searched."""
        reducer = FDRMFLTransformer(engine=engine, n_rounds=self.n_rounds, random_state=0)
        return Pipeline([("fdrmfl", reducer), ("ridge", Ridge())])

    def vectorized(self) -> None:
        """Ours, always with the stacked engine, in two processes."""
        self.searches["vectorized"] = self._vectorized(2)

    def in_one_process(self) -> None:
        """Ours in this process alone."""
        self.searches["in one process"] = self._vectorized(1)

    def _vectorized(self, n_jobs: int, engine: str = "torch") -> VectorizedGridSearchCV:
        search = VectorizedGridSearchCV(self.model(engine), self.grid, cv=self.folds, n_jobs=n_jobs)
        return search.fit(self.X, self.y, fdrmfl__client_ids=self.client_ids)

    def usual(self) -> None:
        """scikit-learn's, in two processes."""
        search = GridSearchCV(self.model(self.engine), self.grid, cv=self.folds, n_jobs=2)
        self.searches["usual"] = search.fit(self.X, self.y, fdrmfl__client_ids=self.client_ids)

    def one_by_one(self) -> None:
        """One candidate's fits and scores on all folds, in this process."""
        for train, test in self.folds:
            model = self.model(self.engine).fit(self.X[train], self.y[train], fdrmfl__client_ids=self.client_ids[train])
            model.score(self.X[test], self.y[test])

    def largest_difference(self) -> float:
        """Between the two searches' scores, over all candidates and folds."""
        a, b = (search.cv_results_ for search in self.searches.values())
        names = [f"split{i}_test_score" for i in range(len(self.folds))]
        return float(max(np.abs(a[name] - b[name]).max() for name in names))

    @property
    def n_fits(self) -> int:
        """Fits of one search, without the refit."""
        return int(np.prod([len(values) for values in self.grid.values()])) * len(self.folds)


def start_workers(engine: str) -> None:
    """Run small searches, for which the worker processes start and import everything."""
    warm_up = Comparison(engine, 1, {"fdrmfl__mi_weight": [0.0, 1e-3]})
    for search in (warm_up.usual, warm_up.vectorized):
        search()


def measure(engine: str, n_rounds: int, repeats: int) -> dict[str, Any]:
    """Both searches in turn."""
    start_workers(engine)
    comparison = Comparison(engine, n_rounds, GRID)
    times = interleaved(
        {
            "one by one": comparison.one_by_one,
            "vectorized": comparison.vectorized,
            "usual": comparison.usual,
        },
        repeats,
        report=lambda line: note(f"{engine} engine, {n_rounds} rounds, {line}"),
    )
    best = {name: search.best_params_ for name, search in comparison.searches.items()}
    # With the refit, which is done by one process.
    floor = float(np.median(times["one by one"])) / len(comparison.folds) * (comparison.n_fits / 2 + 1)
    return {
        "floor_seconds": floor,
        "floor_ratio": floor / float(np.median(times["vectorized"])),
        "engine": engine,
        "n_rounds": n_rounds,
        "fits": comparison.n_fits,
        "seconds": times,
        "ratio": float(np.median(times["usual"]) / np.median(times["vectorized"])),
        "largest_score_difference": comparison.largest_difference(),
        "same_best": best["usual"] == best["vectorized"],
        "best_score": float(comparison.searches["vectorized"].best_score_),
        "best_params": best["vectorized"],
    }


def measure_processes(repeats: int) -> dict[str, Any]:
    """The vectorised search in one process and in two, in turn."""
    start_workers("torch")
    comparison = Comparison("torch", FULL_ROUNDS, GRID)
    times = interleaved(
        {"one": comparison.in_one_process, "two": comparison.vectorized},
        repeats,
        report=lambda line: note(f"processes: {line}"),
    )
    ratios = np.array(times["one"]) / np.array(times["two"])
    return {
        "fits": comparison.n_fits,
        "seconds": times,
        "ratio": float(np.median(times["one"]) / np.median(times["two"])),
        "ratio_of_each_turn": ratios.tolist(),
        "largest_score_difference": comparison.largest_difference(),
    }


def report_engines(results: list[dict[str, Any]]) -> None:
    """Print the table of both engines of scikit-learn's search against ours."""
    rows = []
    for r in results:
        gap, allowed = r["largest_score_difference"], TOLERANCE[r["engine"]]
        same = "bit for bit" if gap == 0.0 else f"within {gap:.1e}"
        rows.append(
            [
                f"{r['engine']}, {r['n_rounds']} rounds",
                f"{np.median(r['seconds']['usual']):.1f} s",
                f"{r['floor_seconds']:.1f} s",
                f"{np.median(r['seconds']['vectorized']):.1f} s",
                f"{ASKED[r['engine']]:g}x",
                f"{r['ratio']:.1f}x",
                f"{r['floor_ratio']:.1f}x",
                check(min(r["ratio"], r["floor_ratio"]), ASKED[r["engine"]], at_least=True),
                same if gap <= allowed and r["same_best"] else f"NO: {gap:.1e}",
            ]
        )
    print(f"# One search: {results[0]['fits'] // 5} candidates x 5 folds, Tecator fat, 3 clients\n")
    header = ["engine of GridSearchCV", "GridSearchCV(n_jobs=2)", "two free processors", "Vectorized"]
    header += ["asked", "reached", "against two free", "ok"]
    print(table([*header, "scores agree"], rows))
    for r in results:
        if r["n_rounds"] != FULL_ROUNDS:
            print(f"\n{r['engine']}: {r['n_rounds']} rounds a fit instead of {FULL_ROUNDS}, both searches alike.")


def report_processes(result: dict[str, Any]) -> None:
    """Print the table of one process against two."""
    one, two = (f"{np.median(result['seconds'][name]):.1f} s" for name in ("one", "two"))
    turns = result["ratio_of_each_turn"]
    gap = result["largest_score_difference"]
    row = [f"{result['fits']}", one, two, f"{ASKED['processes']:g}x", f"{result['ratio']:.2f}x"]
    row += [f"{min(turns):.2f} to {max(turns):.2f}x", check(result["ratio"], ASKED["processes"], at_least=True)]
    print("\n# The vectorised search, with two processes against one\n")
    header = ["fits", "n_jobs=1", "n_jobs=2", "asked", "reached", "turn by turn", "ok", "scores agree"]
    print(table(header, [[*row, "bit for bit" if gap == 0.0 else f"NO: {gap:.1e}"]]))


def main() -> None:
    """Run the parts asked for and report."""
    options = parser(__doc__)
    options.add_argument(
        "--parts", nargs="+", choices=list(ASKED), default=list(ASKED), help="what to measure (default: all)"
    )
    options.add_argument(
        "--repeats", type=int, default=3, help="of the comparisons with the stacked engine (default: %(default)s)"
    )
    options.add_argument(
        "--loop-rounds", type=int, default=10, help="rounds a fit with the loop engine; 0 leaves it out"
    )
    args = options.parse_args()
    results, processes = [], None
    if "torch" in args.parts:
        results.append(measure("torch", FULL_ROUNDS, args.repeats))
    if "loop" in args.parts and args.loop_rounds:
        results.append(measure("loop", args.loop_rounds, 2))
    if "processes" in args.parts:
        processes = measure_processes(args.repeats)
    if results:
        report_engines(results)
    if processes is not None:
        report_processes(processes)
    save(args.out, "search", {"asked": ASKED, "grid": GRID, "results": results, "processes": processes})


if __name__ == "__main__":
    main()
