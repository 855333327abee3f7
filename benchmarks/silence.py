"""How long `compare` shows nothing: the longest times between two signs of progress, and between which.

    python benchmarks/silence.py    # 40 sites of 25 rows, 700 columns: some minutes

A machine that is busy with other work shows longer ones.
"""

from __future__ import annotations

import time
from itertools import pairwise

import numpy as np
from _common import arguments, parser, save, table
from numpy.typing import NDArray

from skfdrmfl.compare import compare


def spectra(n_sites: int, n_rows: int, n_columns: int) -> tuple[NDArray, NDArray, NDArray]:
    """Smooth rows of all sites, y, and the site of each row."""
    rng = np.random.default_rng(0)
    n, axis = n_sites * n_rows, np.linspace(0, 1, n_columns)
    y = rng.uniform(5, 30, n)
    peaks = np.exp(-(((axis - np.array([0.3, 0.5, 0.8])[:, None]) / 0.1) ** 2))  # (3, n_columns)
    amounts = np.column_stack([y, rng.uniform(0, 20, (n, 2))]) / 30  # (n, 3)
    site = np.repeat(np.arange(n_sites), n_rows)
    offset = 0.1 * rng.standard_normal(n_sites)[site][:, None] + 0.05 * rng.standard_normal((n, 1))
    return amounts @ peaks + offset + 0.002 * rng.standard_normal((n, n_columns)), y, site


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--shape", type=int, nargs=3, default=(40, 25, 700), help="sites, rows of each, columns")
    options.add_argument("--folds", type=int, default=5, metavar="N", help="default: %(default)s")
    args = arguments(options, shape=(3, 8, 30), folds=2)
    X, y, site = spectra(*args.shape)
    signs = [(time.perf_counter(), "begin")]
    compare(
        X,
        y,
        site,
        n_seeds=1,
        n_splits=args.folds,
        progress=lambda done, total, name: signs.append((time.perf_counter(), f"{done}/{total} {name}")),
    )
    gaps = sorted(((b[0] - a[0], a[1], b[1]) for a, b in pairwise(signs)), reverse=True)
    print(f"{len(signs)} signs of progress in {signs[-1][0] - signs[0][0]:.0f} s; the longest times between two:\n")
    print(table(["s", "after", "before"], [[f"{seconds:.2f}", a, b] for seconds, a, b in gaps[:10]]))
    save(args.out, "silence", {"shape": list(args.shape), "gaps": gaps[:100]})


if __name__ == "__main__":
    main()
