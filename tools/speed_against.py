"""What a checkout costs against another one, or against an estimator of scikit-learn: in turn, on one machine.

    git worktree add ../before REVISION && (cd ../before && python setup.py build_ext --inplace)
    python tools/speed_against.py ../before                      # what takes seconds: some minutes on two cores
    python tools/speed_against.py ../before --only "p = 10,000"  # rows with these words, long ones too

For each row the two take turns. The table shows the median, over the turns, of this checkout's seconds of one
processor (by the clock in rows of two processes) divided by the other's: below 1 this one is faster. Rows that tell of
memory or of imports run in a fresh process each turn and show the most anonymous memory (kB of `RssAnon`, above that
before the work) of this one as well; the others in processes that live throughout, whose first turn is not counted.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))
import numpy as np
from _common import check, note, parser, save, table

Work = Callable[[], object]
SCRATCH = Path(tempfile.gettempdir()) / "skfdrmfl_speed"


class Row(NamedTuple):
    """What is timed, by public names alone; `make` gets data ready and returns the work."""

    reach: float  # the ratio that is asked for
    make: Callable[[], Work]
    rival: Callable[[], Work] | None = None  # None: the same by the other checkout
    fresh: bool = False  # in a new process each turn, where imports count and memory is measured
    long: bool = False  # left out unless named
    clock: bool = False  # by the clock, of work that has processes of its own


def _model(**parameters: Any) -> Any:
    from skfdrmfl import FDRMFLTransformer

    return FDRMFLTransformer(random_state=0, **{"tuning": None, **parameters})


@cache
def _tecator() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    from skfdrmfl.datasets import load_tecator, make_client_ids

    X, y = load_tecator(return_X_y=True)
    return X, y, make_client_ids(y, 3, random_state=0)


def _first() -> Work:
    """Fits of rows that no fit has seen."""
    X, y, ids = _tecator()
    turns = iter(range(10**6))
    return lambda: [_model().fit(X * (1 + 1e-9 * next(turns)), y, client_ids=ids) for _ in range(5)]


def _again(**parameters: Any) -> Callable[[], Work]:
    def make() -> Work:
        X, y, ids = _tecator()
        return lambda: [_model(**parameters).fit(X, y, client_ids=ids) for _ in range(5)]

    return make


def _search() -> Work:
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import Pipeline

    X, y, ids = _tecator()
    weights = [0.0, 1e-3, 1e-2]
    grid = {"mi_weight": weights, "contrastive_weight": weights, "learning_rate": [0.005, 0.01, 0.02]}
    grid = {f"fdrmfl__{name}": values for name, values in grid.items()}
    pipeline = Pipeline([("fdrmfl", _model(n_rounds=20)), ("ridge", Ridge())])
    return lambda: GridSearchCV(pipeline, grid, cv=5).fit(X, y, fdrmfl__client_ids=ids)


def _small_search(kind: str) -> Callable[[], Work]:
    """27 fits of networks that are not compiled: plain and in two processes, or by the class that there once was."""

    def make() -> Work:
        import pandas as pd
        from sklearn.linear_model import Ridge
        from sklearn.model_selection import GridSearchCV
        from sklearn.pipeline import Pipeline

        from skfdrmfl.encoders import Conv1DEncoder

        X, y, ids = _tecator()
        halves = {"modalities": {"left": slice(0, 50), "right": slice(50, 100)}}
        settings = {
            "attention": {**halves, "fusion": "attention"},
            "Conv1D": {"encoders": Conv1DEncoder()},
            "categories": {},
        }[kind]
        table = pd.DataFrame(X).rename(columns=str)
        if kind == "categories":
            table["kind"] = pd.Categorical(np.where(X[:, 0] > np.median(X[:, 0]), "dark", "light"))
        pipeline = Pipeline([("fdrmfl", _model(n_rounds=5, **settings)), ("ridge", Ridge())])
        grid = {"fdrmfl__mi_weight": [0.0, 1e-3, 1e-2], "fdrmfl__learning_rate": [0.005, 0.01, 0.02]}
        try:
            from skfdrmfl.model_selection import VectorizedGridSearchCV as Search
        except ImportError:
            search = GridSearchCV(pipeline, grid, cv=3, n_jobs=2)
        else:
            search = Search(pipeline, grid, cv=3)
        rows = table if kind == "categories" else X
        return lambda: search.fit(rows, y, fdrmfl__client_ids=ids)

    return make


def _rounds(n_clients: int, n_rounds: int, **parameters: Any) -> Callable[[], Work]:
    """Rounds of clients of 64 rows, of rows that were fitted before: nearly all is the compiled code's."""

    def make() -> Work:
        n = 64 * n_clients
        X = np.random.default_rng(0).standard_normal((n, 100))
        y, settings = X[:, 0] + np.tanh(X[:, 1]), {"n_rounds": n_rounds, "local_epochs": 3, **parameters}
        return lambda: _model(**settings).fit(X, y, client_ids=np.arange(n) % n_clients)

    return make


def _rows(*, mapped: bool = False) -> Callable[[], Work]:
    """A million rows of 100 columns, in memory or in a file."""

    def make() -> Work:
        path = SCRATCH / "rows.npy"
        if not path.exists():
            SCRATCH.mkdir(exist_ok=True)
            np.save(path, np.random.default_rng(0).standard_normal((1_000_000, 100), dtype=np.float32))
        X = np.load(path, mmap_mode="r" if mapped else None)
        y = np.asarray(X[:, 0], dtype=np.float64)
        model = _model(n_rounds=5, local_epochs=1)  # made here: imports are no part of the work
        return lambda: model.fit(X, y, client_ids=np.arange(len(X)) % 3)

    return make


def _clients(n_clients: int) -> Callable[[], Work]:
    def make() -> Work:
        X = np.random.default_rng(0).standard_normal((20 * n_clients, 20))
        model, ids = _model(n_rounds=50, participation=0.01), np.arange(len(X)) % n_clients

        def work() -> None:
            model.fit(X, X[:, 0], client_ids=ids)
            note(f"history_ pickled: {len(pickle.dumps(model.history_)) / 1e6:.1f} MB")

        return work

    return make


def _columns(*, ridge: bool) -> Callable[[], Work]:
    def make() -> Work:
        from sklearn.linear_model import RidgeCV

        rng = np.random.default_rng(0)
        X = rng.standard_normal((500, 20)) @ rng.standard_normal((20, 10_000)) + 0.1 * rng.standard_normal(
            (500, 10_000)
        )
        y, ids = X[:, 0], np.arange(500) % 3
        if ridge:
            return lambda: RidgeCV(np.logspace(-6, 3, 10)).fit(X, y)
        turns = iter(range(10**6))  # rows that no fit has seen
        return lambda: _model(n_rounds=5).fit(X * (1 + 1e-9 * next(turns)), y, client_ids=ids)

    return make


def _predict(n_rows: int, *, mlp: bool = False) -> Callable[[], Work]:
    def make() -> Work:
        import warnings

        from sklearn.neural_network import MLPRegressor

        warnings.simplefilter("ignore")
        X = np.random.default_rng(0).standard_normal((max(1000, n_rows), 100))
        model = MLPRegressor(hidden_layer_sizes=(32,), max_iter=2) if mlp else _model(n_rounds=2)
        model.fit(X[:1000], X[:1000, 0])
        asked, n_times = X[:n_rows], max(1, 1000 // n_rows)
        return lambda: [model.predict(asked) for _ in range(n_times)]

    return make


def _saved(*, alone: bool = False) -> Callable[[], Work]:
    """A model in a file, and a process that predicts from it, in which nothing has been imported yet."""

    def make() -> Work:
        path = SCRATCH / f"model_{Path(os.environ['PYTHONPATH']).name}.npz"
        if not path.exists():
            SCRATCH.mkdir(exist_ok=True)
            code = f"import sys; sys.path[:0] = {sys.path!r}; import speed_against as s; s.write({str(path)!r})"
            subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent)
        X = np.load(SCRATCH / "tecator.npy")
        return (lambda: _predict_light(path, X)) if alone else (lambda: _load_and_predict(path, X))

    return make


def write(path: str) -> None:
    """Write a model of one network, and the rows that it is asked of."""
    X, y, ids = _tecator()
    _model(n_rounds=2).fit(X, y, client_ids=ids).save(path)
    np.save(SCRATCH / "tecator.npy", X)


def _load_and_predict(path: Path, X: np.ndarray) -> object:
    from skfdrmfl import FDRMFLTransformer

    return FDRMFLTransformer.load(path).predict(X)


def _predict_light(path: Path, X: np.ndarray) -> object:
    from skfdrmfl.light import predict_file

    return predict_file(path, X)


def rows() -> dict[str, Row]:
    """What is timed, by name."""
    return {
        "Tecator, first fit of its rows": Row(0.55, _first),
        "Tecator, the same rows again": Row(0.45, _again()),
        "Tecator, early stopping": Row(0.85, _again(early_stopping=True)),
        "GridSearchCV, 135 fits of 20 rounds": Row(0.45, _search),
        "3 clients, 400 rounds": Row(0.75, _rounds(3, 400)),
        "30 clients, 60 rounds": Row(0.75, _rounds(30, 60)),
        "300 clients, 8 rounds": Row(0.75, _rounds(300, 8)),
        "300 clients, 8 rounds, MSE alone": Row(
            0.75, _rounds(300, 8, mi_weight=0.0, kl_weight=0.0, contrastive_weight=0.0)
        ),
        **{
            f"27 fits, {kind}, two processes": Row(1.0, _small_search(kind), long=True, clock=True)
            for kind in ("attention", "Conv1D", "categories")
        },
        "predict, one row": Row(0.25 / 0.64, _predict(1)),
        "predict, 100,000 rows, over MLPRegressor": Row(1.0, _predict(100_000), _predict(100_000, mlp=True)),
        "a fresh process: load and predict": Row(0.5, _saved(), fresh=True),
        "a fresh process: numpy alone": Row(0.06, _saved(alone=True), _saved(), fresh=True),
        "p = 10,000, n = 500, over RidgeCV": Row(2.5, _columns(ridge=False), _columns(ridge=True)),
        "1,000,000 x 100, 3 clients, 5 rounds": Row(0.5, _rows(), fresh=True, long=True),
        "1,000,000 x 100, a memmap": Row(0.5, _rows(mapped=True), fresh=True, long=True),
        "10,000 clients x 20 rows x 20 columns": Row(0.15, _clients(10_000), fresh=True, long=True),
        "100,000 clients x 20 rows x 20 columns": Row(0.15, _clients(100_000), fresh=True, long=True),
        "1,000,000 clients, over 100,000": Row(12.0, _clients(1_000_000), _clients(100_000), fresh=True, long=True),
    }


# --------------------------------------------------------------------------------------------- in a worker


def _anonymous() -> int:
    """Anonymous memory of this process, in kB."""
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon"))


def _watched(work: Work, before: int) -> int:
    """Do the work, and return by how many kB anonymous memory has grown at most."""
    most, done = [_anonymous()], threading.Event()

    def watch() -> None:
        while not done.wait(0.01):
            most[0] = max(most[0], _anonymous())

    watcher = threading.Thread(target=watch, daemon=True)  # which ends with work that fails
    watcher.start()
    work()
    done.set()
    watcher.join()
    return max(most[0], _anonymous()) - before


def work() -> None:
    """Do rows by name as they come on standard input; answer with the processor's seconds and the memory of each."""
    ready: dict[str, Work] = {}
    for line in sys.stdin:
        name, _, whose = line.strip().partition("\t")
        row = rows()[name]
        make = row.rival if whose == "rival" and row.rival is not None else row.make
        if line not in ready:
            ready[line] = make()
        start, before = time.process_time(), _anonymous()
        if row.fresh:
            grown = _watched(ready[line], before)
            imports = "fresh process" in name
            print(time.process_time() - (0 if imports else start), before * imports + grown, flush=True)
        else:
            now = time.perf_counter if row.clock else time.process_time
            start = now()
            ready[line]()
            print(now() - start, 0, flush=True)


def worker(checkout: Path) -> subprocess.Popen[str]:
    """A process that works with the package of a checkout."""
    environment = {**os.environ, "PYTHONPATH": str(checkout.resolve()), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "--work"]
    return subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def ask(process: subprocess.Popen[str], name: str, whose: str) -> tuple[float, int]:
    """Seconds and kB that a worker takes for a row."""
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(f"{name}\t{whose}\n")
    process.stdin.flush()
    seconds, memory = process.stdout.readline().split()
    return float(seconds), int(memory)


def main() -> None:
    options = parser(__doc__)
    options.add_argument("before", type=Path, nargs="?", help="the other checkout")
    options.add_argument("--turns", type=int, default=7, help="turns of each row (default: %(default)s)")
    options.add_argument("--only", default="", metavar="WORDS", help="rows with these words in their names")
    options.add_argument("--work", action="store_true", help="used by the script itself")
    chosen = options.parse_args()
    if chosen.work:
        work()
        return
    if chosen.before is None:
        options.error("name the other checkout")
    after = Path(__file__).parents[1]
    living: dict[Path, subprocess.Popen[str]] = {}
    shown, results = [], {}
    for name, row in rows().items():
        if chosen.only not in name or (row.long and not chosen.only):
            continue
        sides = [(after, "rival") if row.rival and "fresh" not in name else (chosen.before, "rival"), (after, "own")]
        turns = []
        for _ in range(chosen.turns + (not row.fresh)):
            turn = []
            for checkout, whose in sides:
                if row.fresh:
                    process = worker(checkout)
                    turn.append(ask(process, name, whose))
                    process.communicate()
                else:
                    if checkout not in living:
                        living[checkout] = worker(checkout)
                    turn.append(ask(living[checkout], name, whose))
            turns.append(turn)
        counted = turns if row.fresh else turns[1:]
        ratio = float(np.median([own[0] / other[0] for other, own in counted]))
        medians = np.median(np.array(counted), axis=0)  # (other and this, seconds and kB)
        memory = [f"{kB / 1e3:,.0f}" if row.fresh else "" for kB in medians[:, 1]]
        told = [f"{row.reach:.2f}", f"{ratio:.2f}", *(f"{s:.3g}" for s in medians[:, 0]), *memory]
        shown.append([name, *told, check(ratio, row.reach)])
        results[name] = turns
        note(f"{name}: {ratio:.2f}")
    for process in living.values():
        process.communicate()
    print(table(["row", "reach", "ratio", "other, s", "this, s", "other, MB", "this, MB", ""], shown))
    save(chosen.out, "speed_against", results)


if __name__ == "__main__":
    main()
