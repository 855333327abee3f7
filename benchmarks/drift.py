"""Clients unlike each other, absent or late: each algorithm against training on the pooled rows.

    python benchmarks/drift.py                # about ten minutes
    python benchmarks/drift.py --seeds 31 32  # fewer repeats
    python benchmarks/drift.py --csv docs/data/drift.csv  # the first table, as the documentation keeps it

Tecator's fat, 172 of the 215 rows to train on and 43 to test, drawn anew by each seed, which draws weights and clients
too. A ratio is the RMSE on test rows over that of the default fit of the pooled rows; in brackets its 95 % interval
over seeds. Settings were chosen on seeds 11 to 13.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

from typing import Any

import numpy as np
from _common import add_csv, arguments, parser, save, save_csv, table
from scipy.stats import t as student

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.datasets import load_tecator, make_client_ids

CSV_HEADER = ("clients", "algorithm", "ratio", "low", "high")
SEEDS = (31, 32, 33, 34, 35)
N_TRAIN = 172
ALGORITHMS: dict[str, dict[str, Any]] = {
    "fedavg, 60 rounds": {},
    "fedprox .1, 60 rounds": {"algorithm": "fedprox"},
    "fedavgm .5, 60 rounds": {"algorithm": "fedavgm", "server_momentum": 0.5},
    "fedadam, 60 rounds": {"algorithm": "fedadam"},
    "scaffold, 60 rounds": {"algorithm": "scaffold"},
    "fedsgd, 60 rounds, rate .05, decay .1": {
        "algorithm": "fedsgd",
        "server_learning_rate": 0.05,
        "weight_decay": 0.1,
    },
    "scaffold, 600 rounds of one epoch": {"algorithm": "scaffold", "n_rounds": 600, "local_epochs": 1},
    "fedsgd, 600 rounds, decay .1": {"algorithm": "fedsgd", "n_rounds": 600, "weight_decay": 0.1},
}
PARTITIONS: dict[str, dict[str, Any]] = {
    "3 sorted by y": {"n_clients": 3, "scheme": "quantile"},
    "10 sorted": {"n_clients": 10, "scheme": "quantile"},
    "10, Dirichlet .1": {"n_clients": 10, "scheme": "dirichlet", "alpha": 0.1},
    "10 random": {"n_clients": 10, "scheme": "iid"},
}
ASKED = {"3 sorted by y": 1.05, "10 sorted": 1.05, "10, Dirichlet .1": 1.05}


class Absent:
    """Half of the clients, drawn anew each round; the first round too."""

    def __init__(self, seed: int, n_clients: int = 10, n_rounds: int = 60):
        rng = np.random.default_rng(seed)
        ranks = rng.random((n_rounds, n_clients)).argsort(1)
        self.table = ranks < n_clients // 2

    def __call__(self, round_: int, client: Any) -> bool:
        return bool(self.table[round_ - 1, int(client)])


class Joining:
    """A third of ten clients join after some rounds."""

    def __init__(self, after: int):
        self.after = after

    def __call__(self, round_: int, client: Any) -> bool:
        return round_ > self.after or int(client) >= 3


def rmse(seed: int, partition: dict[str, Any] | None, **parameters: Any) -> float:
    """The error on test rows of a fit."""
    X, y = load_tecator(return_X_y=True)
    order = np.random.default_rng(1000 + seed).permutation(len(y))
    train, test = order[:N_TRAIN], order[N_TRAIN:]
    ids = None if partition is None else make_client_ids(y[train], random_state=seed, **partition)
    model = FDRMFLTransformer(random_state=seed, tuning=None, **parameters).fit(X[train], y[train], client_ids=ids)
    return float(np.sqrt(np.mean((model.predict(X[test]) - y[test]) ** 2)))


def interval(errors: np.ndarray, base: np.ndarray) -> tuple[float, float, float]:
    """The geometric mean over seeds of the ratios of pairs, and the ends of its interval."""
    ratios = np.log(errors / base)
    half = (
        student.ppf(0.975, len(ratios) - 1) * ratios.std(ddof=1) / np.sqrt(len(ratios)) if len(ratios) > 1 else np.nan
    )
    return float(np.exp(ratios.mean())), float(np.exp(ratios.mean() - half)), float(np.exp(ratios.mean() + half))


def ratio(errors: np.ndarray, base: np.ndarray) -> str:
    """The same as text."""
    mean, low, high = interval(errors, base)
    return f"{mean:.2f} ({low:.2f}-{high:.2f})"


def csv_rows(results: dict[str, Any], central: np.ndarray) -> list[list[str]]:
    """Rows of the CSV: what was asked, then each algorithm on all partitions."""
    rows = [[label, "asked", f"{value:g}", "", ""] for label, value in ASKED.items()]
    for name in ALGORITHMS:
        for label in PARTITIONS:
            found = interval(np.array(results[f"{name} | {label}"]), central)
            rows.append([label, name, *(f"{value:.2f}" for value in found)])
    return rows


def main() -> None:
    """Print both tables."""
    options = parser(__doc__)
    options.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    add_csv(options, "drift")
    args = arguments(options, seeds=[31, 32])
    if args.smallest:
        for parameters in ALGORITHMS.values():
            parameters["n_rounds"] = 2
    seeds = args.seeds
    central = np.array([rmse(seed, None) for seed in seeds])
    results: dict[str, Any] = {"seeds": list(seeds), "central": central.tolist()}
    print(f"pooled rows: RMSE {central.mean():.3f}\n", flush=True)
    rows = []
    for name, parameters in ALGORITHMS.items():
        row = [name]
        for label, partition in PARTITIONS.items():
            errors = np.array([rmse(seed, partition, **parameters) for seed in seeds])
            results[f"{name} | {label}"] = errors.tolist()
            row.append(ratio(errors, central))
        rows.append(row)
        print("  ".join(row), flush=True)
    print("\n" + table(("against the pooled rows", *PARTITIONS), rows) + "\n", flush=True)

    random = PARTITIONS["10 random"]
    present = np.array(results["fedavg, 60 rounds | 10 random"])
    rows = []
    for name, changes in (
        ("fedavg: half absent in each round (availability)", lambda seed: {"availability": Absent(seed)}),
        ("fedavg: half absent in each round (participation)", lambda seed: {"participation": 0.5}),
        ("fedavg: a third join half-way", lambda seed: {"availability": Joining(30)}),
    ):
        errors = np.array([rmse(seed, random, **changes(seed)) for seed in seeds])
        results[name] = errors.tolist()
        rows.append([name, ratio(errors, present)])
    gradients = ALGORITHMS["fedsgd, 600 rounds, decay .1"]
    present = np.array(results["fedsgd, 600 rounds, decay .1 | 10 random"])
    errors = np.array([rmse(seed, random, availability=Joining(300), **gradients) for seed in seeds])
    results["fedsgd, a third join half-way"] = errors.tolist()
    rows.append(["fedsgd, 600 rounds: a third join half-way", ratio(errors, present)])
    print(table(("10 random clients", "against all present"), rows))
    save(args.out, "drift", results)
    save_csv(args.csv, CSV_HEADER, csv_rows(results, central))


if __name__ == "__main__":
    main()
