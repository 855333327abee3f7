"""Many clients, unequal clients and wide rows: seconds and peak memory, through the scikit-learn face.

    python benchmarks/scale.py                      # two to four minutes, 5 GB of memory
    python benchmarks/scale.py --rows 20000         # fewer rows of 3,604 columns: 1 GB

Each case runs in a process of its own, so that its peak memory is its own. "Above the imports" is the peak less
that of a process that imports what the case imports and makes no data; "copies" divides it by the size of X,
X itself included. Default settings but for few rounds; a round's seconds are those of a longer fit less those of a
shorter one.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from _common import arguments, note, parser, peak_megabytes, save, table
from numpy.typing import NDArray

N_COLUMNS = 100
Data = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]


def make(sizes: NDArray[np.int64], n_columns: int = N_COLUMNS) -> Data:
    """Float32 rows of clients of these sizes; y depends on 20 columns."""
    rng = np.random.default_rng(0)
    X = np.empty((int(sizes.sum()), n_columns), dtype=np.float32)
    for i in range(0, len(X), 10_000):
        X[i : i + 10_000] = rng.standard_normal((len(X[i : i + 10_000]), n_columns), dtype=np.float32)
    y = np.tanh(X[:, :20].sum(1) / np.float32(3.0)) + 0.1 * rng.standard_normal(len(X), dtype=np.float32)
    return X, y, np.repeat(np.arange(len(sizes)), sizes)


def log_normal_sizes(n_clients: int) -> NDArray[np.int64]:
    """Rows of clients, from 1 to 5,000."""
    sizes = np.random.default_rng(0).lognormal(4.5, 1.5, n_clients)
    return np.clip(sizes, 1, 5000).astype(np.int64)


def fit_seconds(data: Data, n_rounds: int, **parameters: Any) -> float:
    """One fit."""
    from skfdrmfl import FDRMFLTransformer

    X, y, client_ids = data
    start = time.perf_counter()
    FDRMFLTransformer(n_rounds=n_rounds, random_state=0, tuning=None, **parameters).fit(X, y, client_ids=client_ids)
    return time.perf_counter() - start


def measure(data: Data, few: int, many: int, *, repeats: int = 1, **parameters: Any) -> dict[str, Any]:
    """Seconds of a round and of all else (least of `repeats`), and the size of X."""
    short, long = (min(fit_seconds(data, n, **parameters) for _ in range(repeats)) for n in (few, many))
    per_round = (long - short) / (many - few)
    return {
        "rows": len(data[0]),
        "columns": data[0].shape[1],
        "clients": len(np.unique(data[2])),
        "x_mb": data[0].nbytes / 1e6,
        "round_seconds": per_round,
        "other_seconds": short - few * per_round,
    }


def imports(args: Any) -> dict[str, Any]:
    fit_seconds(make(np.full(3, 10)), 1)  # a first fit imports the last few modules
    return {}


def many_clients(args: Any) -> dict[str, Any]:
    return measure(make(np.full(args.clients, 64)), 1, 3, repeats=args.repeats)


def some_of_many(args: Any) -> dict[str, Any]:
    return measure(make(np.full(args.clients, 64)), 5, 65, repeats=args.repeats, participation=0.01)


def few_clients(args: Any) -> dict[str, Any]:
    return measure(make(np.full(100, 64)), 5, 65, repeats=args.repeats)


def ragged(args: Any) -> dict[str, Any]:
    sizes = log_normal_sizes(args.clients // 10)
    steps = -(-sizes // 32)
    return measure(make(sizes), 1, 3, repeats=args.repeats) | {
        "largest": int(sizes.max()),
        "padded_to_the_longest": float(steps.max() * len(sizes) / steps.sum()),
    }


def equal(args: Any) -> dict[str, Any]:
    sizes = log_normal_sizes(args.clients // 10)
    return measure(make(np.full(len(sizes), sizes.sum() // len(sizes))), 1, 3, repeats=args.repeats)


def wide(args: Any) -> dict[str, Any]:
    return measure(make(np.full(100, args.rows // 100), 3604), 1, 2, local_epochs=1, preprocessing="standardize")


CASES: dict[str, tuple[str, Callable[[Any], dict[str, Any]]]] = {
    "imports": ("imports alone", imports),
    "many": ("10,000 clients of 64 rows", many_clients),
    "some": ("the same, participation=0.01", some_of_many),
    "few": ("100 clients of 64 rows, all of them", few_clients),
    "ragged": ("1,000 clients, log-normal sizes", ragged),
    "equal": ("as many rows, 1,000 equal clients", equal),
    "wide": ("3,604 columns, 100 clients, standardize, 1 epoch", wide),
}


def in_a_process(case: str, args: Any) -> dict[str, Any]:
    """Run one case by itself."""
    options = ("--rows", str(args.rows), "--clients", str(args.clients), "--repeats", str(args.repeats))
    done = subprocess.run(
        [sys.executable, __file__, "--case", case, *options],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Run all cases, or one in this process."""
    options = parser(__doc__)
    options.add_argument(
        "--rows", type=int, default=100_000, help="of the case with 3,604 columns (default: %(default)s)"
    )
    options.add_argument("--clients", type=int, default=10_000, help="of the many (default: %(default)s)")
    options.add_argument("--repeats", type=int, default=2, help="fits, of which the fastest counts (default: 2)")
    options.add_argument("--case", choices=list(CASES), help="run this one here and print JSON")
    args = arguments(options, rows=1000, clients=100, repeats=1)
    if args.case:
        result = CASES[args.case][1](args)
        print(json.dumps(result | {"peak_mb": peak_megabytes()}))
        return
    results: dict[str, dict[str, Any]] = {}
    for case, (title, _) in CASES.items():
        results[case] = in_a_process(case, args)
        note(f"{title}: {results[case]}")
    base = results["imports"]["peak_mb"]
    rows = []
    for case, (title, _) in CASES.items():
        r = results[case]
        if case == "imports":
            rows.append([title, "", "", "", "", f"{base:.0f} MB", "", ""])
            continue
        above = r["peak_mb"] - base
        rows.append(
            [
                title,
                f"{r['rows']:,}",
                f"{r['other_seconds']:.2f} s",
                f"{r['round_seconds']:.3g} s",
                f"{r['x_mb']:.0f} MB",
                f"{r['peak_mb']:.0f} MB",
                f"{above:.0f} MB",
                f"{above / r['x_mb']:.1f}",
            ]
        )
    print("# Scale (X is float32)\n")
    header = ["case", "rows", "all but rounds", "a round", "X", "peak", "above the imports", "copies of X"]
    print(table(header, rows))
    drawn, there = results["some"]["round_seconds"], results["few"]["round_seconds"]
    per_row = results["ragged"]["round_seconds"] / results["ragged"]["rows"]
    per_equal_row = results["equal"]["round_seconds"] / results["equal"]["rows"]
    print(f"\nOne in a hundred of the many clients costs {drawn / there:.2f}x what 100 clients cost, all of them.")
    print(
        f"A row of unequal clients (1 to {results['ragged']['largest']:,} rows) costs "
        f"{per_row / per_equal_row:.2f}x a row of equal ones; padding everybody to the longest "
        f"would cost {results['ragged']['padded_to_the_longest']:.1f}x the steps."
    )
    save(args.out, "scale", {"results": results})


if __name__ == "__main__":
    main()
