"""Whether another checkout is faster: whole fits of both, in turn, on one machine.

    git worktree add ../before REVISION
    python tools/speed_against.py ../before       # about five minutes on two cores

Each checkout runs in a process of its own that lives throughout; for each task the two take turns, and the table shows
the median, over the turns, of the other checkout's seconds of one processor divided by this one's: above 1 this one is
faster. The first turn is not counted: fits of rows that this process has fitted before find their preparation.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))
import numpy as np
from _common import check, note, parser, save, table

ASKED = 0.95


def tasks() -> dict[str, Callable[[], object]]:
    """What is timed, by public names alone."""
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import Pipeline

    from skfdrmfl import FDRMFLTransformer
    from skfdrmfl.datasets import load_tecator, make_client_ids

    try:  # a search of the package's own, which earlier checkouts had
        from skfdrmfl.model_selection import VectorizedGridSearchCV as OwnSearch
    except ImportError:
        OwnSearch = GridSearchCV

    X, y = load_tecator(return_X_y=True)
    ids = make_client_ids(y, 3, random_state=0)
    rng = np.random.default_rng(0)
    wide = rng.standard_normal((300 * 64, 100))
    target = wide[:, 0] + np.tanh(wide[:, 1])

    def rounds(n_clients: int, n_rounds: int, **parameters: float) -> Callable[[], object]:
        n = 64 * n_clients
        return lambda: FDRMFLTransformer(
            n_rounds=n_rounds, local_epochs=3, random_state=0, tuning=None, **parameters
        ).fit(wide[:n], target[:n], client_ids=np.arange(n) % n_clients)

    def search(kind: type = GridSearchCV) -> object:
        grid = {
            "fdrmfl__mi_weight": [0.0, 1e-3, 1e-2],
            "fdrmfl__contrastive_weight": [0.0, 1e-3, 1e-2],
            "fdrmfl__learning_rate": [0.005, 0.01, 0.02],
        }
        model = FDRMFLTransformer(n_rounds=20, random_state=0, tuning=None)
        return kind(Pipeline([("fdrmfl", model), ("ridge", Ridge())]), grid, cv=5).fit(X, y, fdrmfl__client_ids=ids)

    fitted = FDRMFLTransformer(n_rounds=2, random_state=0, tuning=None).fit(X, y, client_ids=ids)
    one_row_each = np.arange(3000)
    no_terms = {"mi_weight": 0.0, "kl_weight": 0.0, "contrastive_weight": 0.0}
    return {
        "Tecator, defaults": lambda: FDRMFLTransformer(random_state=0, tuning=None).fit(X, y, client_ids=ids),
        "Tecator, early stopping": lambda: FDRMFLTransformer(early_stopping=True, random_state=0, tuning=None).fit(
            X, y, ids
        ),
        "Tecator, tuning, 20 rounds": lambda: FDRMFLTransformer(tuning="auto", n_rounds=20, random_state=0).fit(
            X, y, ids
        ),
        "3 clients, 40 rounds": rounds(3, 40),
        "30 clients, 30 rounds": rounds(30, 30),
        "300 clients, 6 rounds": rounds(300, 6),
        "300 clients, 6 rounds, MSE alone": rounds(300, 6, **no_terms),
        "3,000 clients of one row, 3 rounds": lambda: FDRMFLTransformer(n_rounds=3, random_state=0, tuning=None).fit(
            wide[:3000], target[:3000], client_ids=one_row_each
        ),
        "GridSearchCV, 135 fits of 20 rounds": search,
        "GridSearchCV against the search in one pass, 135 fits": lambda: search(OwnSearch),
        "transform, Tecator": lambda: [fitted.transform(X) for _ in range(100)],
        "predict, one row": lambda: [fitted.predict(X[:1]) for _ in range(300)],
    }


def work() -> None:
    """Run tasks by name as they come on standard input; answer with the processor's seconds each took."""
    known = tasks()
    for line in sys.stdin:
        start = time.process_time()
        known[line.strip()]()
        print(time.process_time() - start, flush=True)


def worker(checkout: Path) -> subprocess.Popen[str]:
    """A process that works with the package of a checkout."""
    environment = {**os.environ, "PYTHONPATH": str(checkout.resolve()), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "--work"]
    return subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def seconds(process: subprocess.Popen[str], task: str) -> float:
    """Seconds that a worker takes for a task."""
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(f"{task}\n")
    process.stdin.flush()
    return float(process.stdout.readline())


def main() -> None:
    options = parser(__doc__)
    options.add_argument("before", type=Path, nargs="?", help="the other checkout")
    options.add_argument("--turns", type=int, default=7, help="turns of each task (default: %(default)s)")
    options.add_argument("--only", default="", metavar="WORDS", help="tasks with these words in their names")
    options.add_argument("--work", action="store_true", help="used by the script itself")
    chosen = options.parse_args()
    if chosen.work:
        work()
        return
    if chosen.before is None:
        options.error("name the other checkout")
    before, after = worker(chosen.before), worker(Path(__file__).parents[1])
    rows, results = [], {}
    for name in (name for name in tasks() if chosen.only in name):
        pairs = [(seconds(before, name), seconds(after, name)) for _ in range(1 + chosen.turns)][1:]
        ratio = float(np.median([a / b for a, b in pairs]))
        least = min(a for a, _ in pairs) / min(b for _, b in pairs)
        rows.append([name, f">= {ASKED}x", f"{ratio:.2f}x", f"{least:.2f}x", check(ratio, ASKED, at_least=True)])
        results[name] = {"before": [a for a, _ in pairs], "after": [b for _, b in pairs]}
        note(f"{name}: {ratio:.2f}x")
    for process in (before, after):
        process.communicate()
    print(table(["task", "asked", "median of ratios", "of least seconds", ""], rows))
    save(chosen.out, "speed_against", results)


if __name__ == "__main__":
    main()
