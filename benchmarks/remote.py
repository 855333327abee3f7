"""What a fit over a network costs and reaches, measured without one: studies/notes.md, "Over a network".

    python benchmarks/remote.py            # about two minutes

1. A round over a channel to one site in this process, over the same round in memory: what both sides spend on
   messages, checks and rows beside training.
2. RMSE of Tecator's fat with few rounds of many epochs, over that of the default: 5 folds that part no repeats, rows
   dealt to three sites twice. Over a network the models have the same bits (tests/clients/test_remote.py).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from _common import ROOT, arguments, interleaved, parser, save, table
from sklearn.model_selection import GroupKFold

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.datasets import load_tecator

sys.path.append(str(ROOT / "tests"))
from wire import fit_over, wire_of

FEW: tuple[dict[str, Any], ...] = (
    {"algorithm": "scaffold", "n_rounds": 15, "local_epochs": 20},
    {"algorithm": "scaffold", "n_rounds": 15, "local_epochs": 30},
    {"n_rounds": 15, "local_epochs": 20},
    {"n_rounds": 10, "local_epochs": 30},
)
SHAPES = ((8000, 100), (6000, 700))
BASE, LONG = 2, 8  # rounds


def own_time(n_rows: int, n_columns: int, repeats: int) -> list[str]:
    """Rows, columns, seconds of a round in memory, and how many times as long it takes over the channel."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_rows, n_columns))
    y = X[:, 0] + rng.standard_normal(n_rows)
    ids = np.zeros(n_rows, dtype=int)

    def fit(n_rounds: int, over: bool) -> Callable[[], Any]:
        model = FDRMFLTransformer(n_rounds=n_rounds, random_state=0, tuning=None)
        return lambda: fit_over(wire_of(model, X, y, ids), model) if over else model.fit(X, y, client_ids=ids)

    works = {f"{n} {over}": fit(n, over) for n in (BASE, LONG) for over in (False, True)}
    spent = {name: float(np.median(times)) for name, times in interleaved(works, repeats).items()}
    here, there = ((spent[f"{LONG} {over}"] - spent[f"{BASE} {over}"]) / (LONG - BASE) for over in (False, True))
    return [f"{n_rows:,}", f"{n_columns}", f"{here:.3f}", f"{there / here:.2f}"]


def rmse(n_seeds: int, **parameters: Any) -> float:
    """Error on test rows of all folds."""
    X, y = load_tecator(return_X_y=True)
    groups = np.unique(X, axis=0, return_inverse=True)[1].ravel()
    squares = []
    for seed in range(n_seeds):
        ids = np.random.default_rng(seed).permutation(np.arange(len(X)) % 3)
        for train, test in GroupKFold(5).split(X, y, groups):
            model = FDRMFLTransformer(random_state=seed, tuning=None, **parameters)
            model.fit(X[train], y[train], client_ids=ids[train])
            squares.append(float(((model.predict(X[test]) - y[test]) ** 2).mean()))
    return float(np.sqrt(np.mean(squares)))


def main() -> None:
    """Print both tables."""
    options = parser(__doc__)
    options.add_argument("--repeats", type=int, default=5, help="turns of each fit (default: %(default)s)")
    options.add_argument("--seeds", type=int, default=2, help="deals of the rows to sites (default: %(default)s)")
    args = arguments(options, repeats=1, seeds=1)
    start = time.perf_counter()
    shapes = [(200, 10)] if args.smallest else SHAPES
    rows = [own_time(*shape, args.repeats) for shape in shapes]
    print("\n" + table(["rows", "columns", "a round in memory, s", "over the channel, times that"], rows) + "\n")
    default = rmse(args.seeds)
    errors = {"default": default, **{str(few): rmse(args.seeds, **few) for few in FEW}}
    print(table(["", "RMSE", "over the default"], [[k, f"{e:.3f}", f"{e / default:.3f}"] for k, e in errors.items()]))
    save(args.out, "remote", {"rounds": rows, "rmse": errors, "seconds": time.perf_counter() - start})


if __name__ == "__main__":
    main()
