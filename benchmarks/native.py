"""The native engine against the stacked one, scikit-learn's MLP, plain PyTorch and JAX: ratios in one run.

    python benchmarks/native.py                              # about ten minutes on two cores
    python benchmarks/native.py --csv docs/data/native.csv   # as the documentation keeps it
    python benchmarks/native.py --only fits rounds           # some of: fits rounds squared search many tuning
    python benchmarks/native.py --jax /path/to/python        # JAX too, in an environment that has it (see "squared")

Contenders take turns; a ratio is that of the medians, and behind it stands the one of the least times. All use one
thread unless the row says two.

fits     `FDRMFLTransformer().fit` with default settings, central, on Tecator (215 x 100) and 3,400 x 14 synthetic rows,
         against the stacked engine and against `MLPRegressor((32,))` with as many epochs and as large batches.
rounds   a round of K clients of 64 rows x 100 columns, default network, four losses, against the stacked engine.
squared  the workload of `competitors/workload.py`, squared error alone, against plain PyTorch and JAX.
search   27 candidates x 5 folds on Tecator in threads, against `GridSearchCV(n_jobs=2)` of the stacked engine.
many     10,000 clients on two threads against the stacked engine: time of a round, and peak memory of a process.
tuning   `tuning="auto"` on Tecator against a plain fit of the stacked engine.
"""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Callable
from typing import Any

import engines
import numpy as np
import torch
from _common import add_csv, check, interleaved, note, parser, save, save_csv, table
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor
from sklearn.preprocessing import StandardScaler

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.datasets import load_tecator
from skfdrmfl.federation.engines import native

PARTS = ("fits", "rounds", "squared", "many", "tuning")
Row = list[Any]


def compared(what: str, asked: float, slow: list[float], fast: list[float], *, at_least: bool = True) -> Row:
    """One row of the table: how many times as long the first takes."""
    ratio, least = float(np.median(slow) / np.median(fast)), min(slow) / min(fast)
    sign = ">=" if at_least else "<="
    row = [what, f"{sign} {asked:g}x", f"{ratio:.2f}x", f"{least:.2f}x", check(ratio, asked, at_least=at_least)]
    note(" ".join(map(str, row)))
    return row


def fits(options: Any) -> list[Row]:
    """Whole fits with default settings."""
    rng = np.random.default_rng(0)
    wide = rng.standard_normal((3_400, 14))
    tables = {
        "Tecator 215 x 100": load_tecator(return_X_y=True),
        "3,400 x 14": (wide, np.sin(wide[:, 0]) + wide[:, 1] * wide[:, 2] + 0.1 * rng.standard_normal(len(wide))),
    }
    rows = []
    for name, (X, y) in tables.items():
        scaled, target = StandardScaler().fit_transform(X), (y - y.mean()) / y.std()

        def ours(engine: str, X: Any = X, y: Any = y) -> Callable[[], Any]:
            return lambda: FDRMFLTransformer(engine=engine, random_state=0).fit(X, y)

        def mlp(X: Any = scaled, y: Any = target) -> Any:
            epochs = {"max_iter": 300, "tol": 0.0, "n_iter_no_change": 300}
            model = MLPRegressor(hidden_layer_sizes=(32,), batch_size=32, random_state=0, **epochs)
            return model.fit(X, y)

        times = interleaved({"native": ours("native"), "torch": ours("torch"), "mlp": mlp}, options.repeats)
        rows.append(compared(f"fit, {name}, against stacked", 14.0, times["torch"], times["native"]))
        rows.append(compared(f"fit, {name}, against MLPRegressor", 10.0, times["mlp"], times["native"]))
    return rows


def rounds(options: Any) -> list[Row]:
    """A round of the default network with four losses."""
    rows = []
    for n_clients, asked in ((3, 7.0), (30, 3.0), (300, 2.5)):
        contenders: dict[str, Any] = {"torch": default_network(n_clients, "torch")}
        for n_threads in (1, 2):
            contenders[f"native, {n_threads}"] = default_network(n_clients, "native", n_threads)
        times = engines.in_turn(contenders, 5, options.sample, options.repeats)
        slow = times["torch"].seconds
        rows.append(compared(f"K={n_clients}, four losses", asked, slow, times["native, 1"].seconds))
        two = 4.0 if n_clients == 300 else 0.0
        rows.append(compared(f"K={n_clients}, four losses, two threads", two, slow, times["native, 2"].seconds))
    return rows


def default_network(n_clients: int, engine: str, n_threads: int = 1) -> engines.Ours:
    """Our engine with the network and the losses of a default fit."""
    return engines.Ours(n_clients, engine, terms=engines.ALL_TERMS, hidden=(32,), skip=True, n_threads=n_threads)


def squared(options: Any) -> list[Row]:
    """The workload that other frameworks can do too."""
    rows = []
    for n_clients, of_torch, of_jax in ((3, 20.0, 1 / 1.2), (30, 28.0, 1.0), (300, 30.0, 1.0)):
        contenders: dict[str, Any] = {
            engines.PLAIN: engines.PyTorchLoop(n_clients),
            "native, 1": engines.Ours(n_clients, "native"),
            "native, 2": engines.Ours(n_clients, "native", n_threads=2),
            "torch": engines.Ours(n_clients),
        }
        times = engines.in_turn(contenders, 3, options.sample, options.repeats)
        plain, one, two = (times[name].seconds for name in (engines.PLAIN, "native, 1", "native, 2"))
        rows.append(compared(f"squared error, K={n_clients}, against plain PyTorch", of_torch, plain, one))
        if n_clients == 300:
            rows.append(compared(f"squared error, K={n_clients}, two threads, against plain PyTorch", 42.0, plain, two))
        rows.append(compared(f"squared error, K={n_clients}, against stacked", 0.0, times["torch"].seconds, one))
        if options.jax:
            theirs = engines.script(options.jax, "run_jax.py", n_clients, engines.CHECK_ROUNDS[n_clients])
            again = engines.in_turn({"native": contenders["native, 1"]}, 0, options.sample, options.repeats)["native"]
            rows.append(
                compared(f"squared error, K={n_clients}, against JAX", of_jax, theirs["seconds"], again.seconds)
            )
    return rows


def many(options: Any) -> list[Row]:
    """Ten thousand clients."""
    contenders: dict[str, Any] = {
        "torch": default_network(10_000, "torch"),
        "native": default_network(10_000, "native", 2),
    }
    times = engines.in_turn(contenders, 2, options.sample, max(2, options.repeats // 2))
    rows = [compared("K=10,000, two threads", 3.0, times["torch"].seconds, times["native"].seconds)]
    peaks = {name: peak_of(name) for name in contenders}
    row = compared("K=10,000, memory above the imports", 1.0, [peaks["native"]], [peaks["torch"]], at_least=False)
    row[0] += f" ({peaks['native']:.0f} and {peaks['stacked']:.0f} MB)"
    return [*rows, row]


def peak_of(engine: str) -> float:
    """Peak memory in MB of some rounds of ten thousand clients, above that of the imports, in a process of its own."""
    code = (
        "import re, sys; sys.path.insert(0, 'benchmarks'); import native\n"
        "def peak(): return int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]) / 1024\n"
        f"before = peak(); work = native.default_network(10_000, {engine!r}, 2)\n"
        "for _ in range(3): work.round()\n"
        "print(peak() - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=engines.ROOT, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def tuned(options: Any) -> list[Row]:
    """Tuning with the native engine, and a plain fit with the stacked one."""
    X, y = load_tecator(return_X_y=True)
    work = {
        "tuned": lambda: FDRMFLTransformer(tuning="auto", random_state=0, n_jobs=2).fit(X, y),
        "plain": lambda: FDRMFLTransformer(engine="torch", random_state=0).fit(X, y),
    }
    times = interleaved(work, options.repeats)
    what = 'tuning="auto", two threads, against a plain stacked fit'
    return [compared(what, 1.0, times["tuned"], times["plain"], at_least=False)]


def main() -> None:
    """Run what was asked for and report."""
    options = parser(__doc__)
    options.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="parts to run")
    options.add_argument("--repeats", type=int, default=7, help="turns of everybody (default: %(default)s)")
    options.add_argument("--sample", type=float, default=0.3, help="seconds of a sample (default: %(default)s)")
    add_csv(options, "native")
    options.add_argument("--jax", metavar="PYTHON", help="a Python that has JAX")
    args = options.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", ConvergenceWarning)
    work = {"fits": fits, "rounds": rounds, "squared": squared, "many": many, "tuning": tuned}
    rows, usual = [], native.SECONDS
    for part in (part for part in PARTS if part in args.only):
        # Single rounds are handed out one by one, and computed many in a call: samples must be long against a call.
        native.SECONDS = args.sample / 20 if part in ("rounds", "squared") else usual
        rows += work[part](args)
    print(table(["", "asked", "medians", "least times", ""], rows))
    save(args.out, "native", {"rows": rows})
    numbers = [
        [what, *asked.removesuffix("x").split(), *(r.removesuffix("x") for r in rest)] for what, asked, *rest, _ in rows
    ]
    save_csv(args.csv, ("what", "sense", "asked", "median", "least"), numbers)


if __name__ == "__main__":
    main()
