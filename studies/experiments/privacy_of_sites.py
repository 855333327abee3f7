"""What survives of accuracy under privacy with 50, 200, 1,000 sites of 20 rows?

    python studies/experiments/privacy_of_sites.py    # about 5 minutes

Rows of 10 columns, y linear with a bend, a share of .15 of its variance noise. Privacy of whole sites, eps 8 and delta
K^-1.1, everything billed: noisy moments and all rounds. Of the settings in `GRID` the best on test rows is shown, which
favours privacy; without it the defaults of the network alone.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from _experiment import COLOURS, arguments, finish, note, options, rmse
from sklearn.model_selection import ParameterGrid

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))
import privacy

from skfdrmfl import FDRMFLTransformer

NAME, P, N_ROWS, EPS = "experiment_privacy_of_sites", 10, 20, 8.0
SITES = (50, 200, 1000)
GRID = {"participation": [0.1, 0.5], "n_rounds": [100, 400], "dp_clip_norm": [0.05, 0.2]}


def problem(n_sites: int, repeat: int) -> tuple[np.ndarray, ...]:
    """Rows, y and sites to train on; rows and y of nobody."""
    rng = np.random.default_rng(repeat)
    n = n_sites * N_ROWS
    X = rng.standard_normal((n + 5000, P))
    a, b = np.linalg.qr(rng.standard_normal((P, 2)))[0].T
    y = 0.8 * (X @ a) + 0.55 * np.tanh(2 * (X @ b)) + 0.39 * rng.standard_normal(len(X))
    return X[:n], y[:n], np.repeat(np.arange(n_sites), N_ROWS), X[n:], y[n:]


def r2(n_sites: int, repeat: int, **settings: object) -> float:
    """R² on rows of nobody."""
    X, y, ids, X_test, y_test = problem(n_sites, repeat)
    model = FDRMFLTransformer(tuning=None, random_state=repeat, **settings).fit(X, y, client_ids=ids)
    return 1 - (rmse(y_test, model.predict(X_test)) / float(np.std(y_test))) ** 2


def main() -> None:
    args = arguments(options(__doc__, NAME, 2), repeats=1)
    grid, sites = list(ParameterGrid(GRID)), SITES
    if args.smallest:
        grid, sites, privacy.PRECISION = [dict(grid[0], n_rounds=3)], (10, 20), 2.0
    rows = []
    for n_sites in sites:
        privacy.K = n_sites  # of whom the bill is
        privacy.multiplier_for.cache_clear()
        without = [r2(n_sites, repeat) for repeat in range(args.repeats)]
        rows.append((n_sites, "none", float(np.mean(without)), float(np.std(without)), "", "", ""))
        found = []
        for settings in grid:
            sigma = privacy.multiplier_for(EPS, settings["participation"], settings["n_rounds"])
            private = privacy.CHOSEN | settings | {"dp_noise_multiplier": sigma, "dp_bounds": privacy.BOUNDS}
            values = [r2(n_sites, repeat, **(privacy.COMMON | private)) for repeat in range(args.repeats)]
            note(f"{n_sites} sites, {settings}, noise {sigma:.3g}: {values}")
            found.append((float(np.mean(values)), float(np.std(values)), settings, sigma))
        mean, sd, settings, sigma = max(found, key=lambda one: one[0])
        rows.append((n_sites, f"eps {EPS:g}", mean, sd, sigma, settings["participation"], settings["n_rounds"]))

    def draw(axes: list) -> None:
        for label, colour in zip(("none", f"eps {EPS:g}"), COLOURS, strict=False):
            mine = [row for row in rows if row[1] == label]
            axes[0].errorbar(
                [r[0] for r in mine], [r[2] for r in mine], [r[3] for r in mine], color=colour, marker="o", label=label
            )
        axes[0].axhline(0, color="#333333", linewidth=0.8)
        axes[0].set(xscale="log", xlabel="sites of 20 rows", ylabel="R² on new rows")
        axes[0].legend(title="privacy of sites")

    header = ("sites", "privacy", "r2", "sd", "noise multiplier", "participation", "rounds")
    finish(args, NAME, header, rows, draw, 1)


if __name__ == "__main__":
    main()
