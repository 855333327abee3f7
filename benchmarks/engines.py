"""The native engine against the PyTorch engine, scikit-learn's MLP and a plain PyTorch loop: ratios in one run.

    python benchmarks/engines.py                     # about ten minutes on two cores
    python benchmarks/engines.py --only fits rounds  # some of: fits rounds squared many tuning algorithms

Contenders take turns; a ratio is that of the medians, and behind it stands the one of the least times. All use one
thread unless the row says two; fits and squared read the processor's time, the others the clock. Everything goes
through `FDRMFLTransformer`; a round's time is what a fit of more rounds takes longer than one of fewer.

fits     default settings, central, on Tecator (215 x 100) and 3,400 x 14 synthetic rows, against the PyTorch engine and
         against `MLPRegressor((32,))` with as many epochs and as large batches.
rounds   a round of K clients of 64 rows x 100 columns, default network, four losses, against the PyTorch engine.
squared  a network 100-64-64-8-2-1 on the same rows, squared error alone, against a PyTorch loop (`DataLoader`, AdamW).
many     10,000 clients on two threads against the PyTorch engine: time of a round, and peak memory of a process.
tuning   the mixture, the default, on Tecator against a plain fit of the PyTorch engine.
algorithms
         whole fits of Tecator, three clients: 600 rounds of "fedsgd", and of "scaffold" with one epoch, against 60 of
         "fedavg" with five; of rows fitted before, in processor time.
"""

from __future__ import annotations

import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from _common import arguments, check, interleaved, note, parser, peak_megabytes, save, table
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, TensorDataset

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.datasets import load_tecator, make_client_ids
from skfdrmfl.encoders import DenseEncoder

PYTORCH = "torch" if "torch" in FDRMFLTransformer._parameter_constraints["engine"][0].options else "stacked"
N_ROWS, N_COLUMNS, N_EPOCHS, BATCH_SIZE = 64, 100, 3, 32
OFF = {"mi_weight": 0.0, "kl_weight": 0.0, "contrastive_weight": 0.0}
SQUARED = {"encoders": DenseEncoder((64, 64), skip=False), "learning_rate": 1e-3, "weight_decay": 0.01, **OFF}
Row = list[Any]


def compared(what: str, asked: float, slow: list[float], fast: list[float], *, at_least: bool = True) -> Row:
    """One row of the table: how many times as long the first takes."""
    ratio, least = float(np.median(slow) / np.median(fast)), min(slow) / min(fast)
    row = [what, f"{'>=' if at_least else '<='} {asked:g}x", f"{ratio:.2f}x", f"{least:.2f}x"]
    row.append(check(ratio, asked, at_least=at_least))
    note(" ".join(map(str, row)))
    return row


def federation(n_clients: int, engine: str, n_threads: int = 1, **parameters: Any) -> Callable[[int], Any]:
    """Fits of so many rounds to K clients of 64 rows of 100 columns."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_clients * N_ROWS, N_COLUMNS), dtype=np.float32)
    y = np.tanh(2.0 * X[:, :20].mean(1)) + 0.1 * rng.standard_normal(len(X))
    ids = np.repeat(np.arange(n_clients), N_ROWS)

    def fit(n_rounds: int) -> Any:
        options = {"local_epochs": N_EPOCHS, "batch_size": BATCH_SIZE, "n_jobs": n_threads, "random_state": 0}
        model = FDRMFLTransformer(n_rounds=n_rounds, preprocessing="standardize", tuning=None, **options, **parameters)
        return model.set_params(engine=engine).fit(X, y, client_ids=ids)

    return fit


def plain_loop(n_clients: int) -> Callable[[int], None]:
    """The usual way: one client after another, a `DataLoader` and a new AdamW each time."""
    rng = np.random.default_rng(0)
    rows = [torch.from_numpy(rng.standard_normal((N_ROWS, N_COLUMNS), dtype=np.float32)) for _ in range(n_clients)]
    clients = [TensorDataset(x, torch.tanh(2.0 * x[:, :20].mean(1, keepdim=True))) for x in rows]
    nn = torch.nn

    def run(n_rounds: int) -> None:
        layers = [nn.Linear(100, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 8), nn.Linear(8, 2)]
        model = nn.Sequential(*layers, nn.Linear(2, 1))
        for _ in range(n_rounds):
            sent = {name: value.clone() for name, value in model.state_dict().items()}
            total = {name: torch.zeros_like(value) for name, value in sent.items()}
            for client in clients:
                model.load_state_dict(sent)
                optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
                loader = DataLoader(client, batch_size=BATCH_SIZE, shuffle=True)
                for _ in range(N_EPOCHS):
                    for x, y in loader:
                        optimizer.zero_grad()
                        ((model(x) - y) ** 2).mean().backward()
                        optimizer.step()
                for name, value in model.state_dict().items():
                    total[name] += value / len(clients)
            model.load_state_dict(total)

    return run


def seconds_a_round(
    contenders: Mapping[str, Callable[[int], Any]],
    args: Any,
    more: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Seconds of a round of each contender, turn by turn: fits of 1 and of 1 + `more` rounds."""
    works = {f"{name} {n}": partial(work, n) for name, work in contenders.items() for n in (1, 1 + more)}
    times = interleaved(works, args.repeats + 1, clock=clock)  # the first turn warms up
    return {
        name: [(b - a) / more for a, b in zip(times[f"{name} 1"][1:], times[f"{name} {1 + more}"][1:], strict=True)]
        for name in contenders
    }


def fits(args: Any) -> list[Row]:
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
        epochs = {"max_iter": 2 if args.smallest else 300, "tol": 0.0, "n_iter_no_change": 300}
        mlp = MLPRegressor(hidden_layer_sizes=(32,), batch_size=32, random_state=0, **epochs)
        works: dict[str, Callable[[], Any]] = {
            engine: partial(FDRMFLTransformer(engine=engine, random_state=0, tuning=None).fit, X, y)
            for engine in ("native", PYTORCH)
        }
        works["mlp"] = partial(mlp.fit, scaled, target)
        times = interleaved(works, args.repeats, clock=time.process_time)
        rows.append(compared(f"fit, {name}, against {PYTORCH}", 14.0, times[PYTORCH], times["native"]))
        rows.append(compared(f"fit, {name}, against MLPRegressor", 10.0, times["mlp"], times["native"]))
    return rows


def rounds(args: Any) -> list[Row]:
    """A round of the default network with four losses."""
    rows = []
    for n_clients in args.federations:
        asked, two = {3: (7.0, 0.0), 30: (3.0, 0.0), 300: (2.5, 4.0)}[n_clients]
        contenders = {
            PYTORCH: federation(n_clients, PYTORCH),
            "native, 1": federation(n_clients, "native"),
            "native, 2": federation(n_clients, "native", 2),
        }
        times = seconds_a_round(contenders, args, max(2, args.rounds // n_clients))
        rows.append(compared(f"K={n_clients}, four losses", asked, times[PYTORCH], times["native, 1"]))
        rows.append(compared(f"K={n_clients}, four losses, two threads", two, times[PYTORCH], times["native, 2"]))
    return rows


def squared(args: Any) -> list[Row]:
    """Squared error alone, which a plain loop can do too."""
    rows = []
    for n_clients in args.federations:
        contenders = {
            "plain": plain_loop(n_clients),
            "native": federation(n_clients, "native", **SQUARED),
            PYTORCH: federation(n_clients, PYTORCH, **SQUARED),
        }
        times = seconds_a_round(contenders, args, max(2, args.rounds // n_clients), time.process_time)
        what = f"squared error, K={n_clients}, against"
        rows.append(
            compared(
                f"{what} plain PyTorch", {3: 20.0, 30: 28.0, 300: 30.0}[n_clients], times["plain"], times["native"]
            )
        )
        rows.append(compared(f"{what} {PYTORCH}", 0.0, times[PYTORCH], times["native"]))
    return rows


def many(args: Any) -> list[Row]:
    """Ten thousand clients."""
    contenders = {engine: federation(args.clients, engine, 2) for engine in ("native", PYTORCH)}
    times = seconds_a_round(contenders, args, 2)
    what = f"K={args.clients:,}"
    rows = [compared(f"{what}, two threads", 3.0, times[PYTORCH], times["native"])]
    peaks = {}
    for engine in contenders:
        command = [sys.executable, __file__, "--clients", str(args.clients), "--peak", engine]
        peaks[engine] = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1])
    sizes = f"({peaks['native']:.0f} and {peaks[PYTORCH]:.0f} MB)"
    memory = compared(
        f"{what}, memory above the imports {sizes}", 1.0, [peaks["native"]], [peaks[PYTORCH]], at_least=False
    )
    return [*rows, memory]


def tuned(args: Any) -> list[Row]:
    """The mixture with the native engine, and a plain fit with the PyTorch engine."""
    X, y = load_tecator(return_X_y=True)
    work = {
        "tuned": partial(FDRMFLTransformer(random_state=0, n_jobs=2).fit, X, y),
        "plain": partial(FDRMFLTransformer(engine=PYTORCH, random_state=0, tuning=None).fit, X, y),
    }
    times = interleaved(work, args.repeats)
    what = f"the mixture, two threads, against a plain {PYTORCH} fit"
    return [compared(what, 1.0, times["tuned"], times["plain"], at_least=False)]


def algorithms(args: Any) -> list[Row]:
    """Algorithms for clients unlike each other, in as many rounds as they need, and FedAvg."""
    X, y = load_tecator(return_X_y=True)
    ids = make_client_ids(y, 3, random_state=0)
    rounds = {"fedavg": (60, 5), "fedsgd": (600, 1), "scaffold": (600, 1)}
    if args.smallest:
        rounds = dict.fromkeys(rounds, (2, 1))
    options = {"tuning": None, "engine": "native", "random_state": 0}
    work = {}
    for name, (n, e) in rounds.items():
        model = FDRMFLTransformer(algorithm=name, n_rounds=n, local_epochs=e, **options)
        work[name] = partial(model.fit, X, y, client_ids=ids)
    times = interleaved(work, args.repeats + 1, clock=time.process_time)  # the first turn warms up
    spent = {name: mine[1:] for name, mine in times.items()}
    rows = []
    for name, asked in (("fedsgd", 2.0), ("scaffold", 3.0)):
        what = f'{rounds[name][0]} rounds of "{name}", CPU over that of "fedavg"'
        rows.append(compared(what, asked, spent[name], spent["fedavg"], at_least=False))
    return rows


def main() -> None:
    """Run what was chosen and report."""
    parts = {
        "fits": fits,
        "rounds": rounds,
        "squared": squared,
        "many": many,
        "tuning": tuned,
        "algorithms": algorithms,
    }
    options = parser(__doc__)
    options.add_argument("--only", nargs="+", choices=list(parts), default=list(parts), help="parts to run")
    options.add_argument("--repeats", type=int, default=7, help="turns of everybody (default: %(default)s)")
    sizes = (3, 30, 300)
    options.add_argument("--federations", type=int, nargs="+", choices=sizes, default=sizes, help="K (default: all)")
    options.add_argument("--rounds", type=int, default=600, help="of one client, for a round's time (default: 600)")
    options.add_argument("--clients", type=int, default=10_000, help="of the many (default: 10000)")
    options.add_argument("--peak", metavar="ENGINE", help="print the memory that a fit to the many takes here")
    args = arguments(options, repeats=1, federations=[3], rounds=6, clients=50)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", ConvergenceWarning)
    if args.peak:
        federation(3, args.peak)(1)  # a first fit imports the last few modules
        before = peak_megabytes()
        federation(args.clients, args.peak, 2)(3)
        print(peak_megabytes() - before)
        return
    rows = [row for part in args.only for row in parts[part](args)]
    print(table(["", "asked", "medians", "least times", ""], rows))
    save(args.out, "engines", {"rows": rows})


if __name__ == "__main__":
    main()
