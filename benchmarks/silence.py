"""How long `compare` shows nothing: the longest times between two signs of progress, and what was fitted then.

python benchmarks/silence.py               # 40 sites x 25 rows x 700 columns
python benchmarks/silence.py --smallest    # in seconds
"""

import argparse
import time

import numpy as np

from skfdrmfl.compare import compare


def spectra(n_sites, n_rows, n_columns, seed=0):
    """Return smooth rows of all sites, y, and the site of each row."""
    rng = np.random.default_rng(seed)
    n, axis = n_sites * n_rows, np.linspace(0, 1, n_columns)
    y = rng.uniform(5, 30, n)
    peaks = np.exp(-(((axis - np.array([0.3, 0.5, 0.8])[:, None]) / 0.1) ** 2))  # (3, n_columns)
    amounts = np.column_stack([y, rng.uniform(0, 20, (n, 2))]) / 30  # (n, 3)
    site = np.repeat(np.arange(n_sites), n_rows)
    offset = 0.1 * rng.standard_normal(n_sites)[site][:, None] + 0.05 * rng.standard_normal((n, 1))
    return amounts @ peaks + offset + 0.002 * rng.standard_normal((n, n_columns)), y, site


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", type=int, nargs=3, default=(40, 25, 700), help="sites, rows of each, columns")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--smallest", action="store_true")
    args = parser.parse_args()
    X, y, site = spectra(*((3, 8, 30) if args.smallest else args.shape))
    last, gaps = [time.perf_counter(), "the beginning"], []

    def show(done, total, name):
        now = time.perf_counter()
        gaps.append((now - last[0], f"{done}/{total}, {last[1]} -> {name}"))
        last[:] = now, name

    start = time.perf_counter()
    compare(X, y, site, n_seeds=args.seeds, n_splits=2 if args.smallest else 5, progress=show)
    print(f"{time.perf_counter() - start:.0f} s in all, {len(gaps)} signs of progress")
    for seconds, what in sorted(gaps, reverse=True)[:12]:
        print(f"{seconds:6.2f} s  {what}")


if __name__ == "__main__":
    main()
