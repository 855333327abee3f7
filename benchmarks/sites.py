"""Sites whose instruments differ altogether: Corn's m5 at one, mp5 at the other, as two modalities, against each alone.

    python benchmarks/sites.py                     # four targets, five seeds: about five minutes
    python benchmarks/sites.py --csv docs/data/sites.csv  # as the documentation keeps it
    python benchmarks/sites.py --choose            # compares settings on other seeds

Each seed deals 60 of the 80 samples to the two sites, 30 each, of which a site measures its own with its own
instrument; the other modality is missing in all of its rows. The other 20 are predicted with each instrument. A ratio
is the RMSE of the common model over that of the same settings at the site alone.

The Corn data are not part of the package: see the docstring of `skfdrmfl.datasets.fetch_corn`.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

from typing import Any

import numpy as np
from _common import add_corn, add_csv, arguments, parser, save, save_csv, table
from scipy.stats import t as student

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.datasets import fetch_corn

TARGETS = ("moisture", "oil", "protein", "starch")
SITES = ("m5", "mp5")
CSV_HEADER = ("target", "site", "ratio", "low", "high")
SEEDS, SEEDS_OF_CHOICE = (31, 32, 33, 34, 35), (11, 12, 13)
SETTINGS: dict[str, dict[str, Any]] = {
    "default": {},
    "mean": {"fusion": "mean"},
    "attention": {"fusion": "attention"},
    "gated": {"fusion": "gated"},
    "attention, MSE alone": {
        "fusion": "attention",
        "mi_weight": 0.0,
        "kl_weight": 0.0,
        "contrastive_weight": 0.0,
    },
    "attention, fedsgd": {"fusion": "attention", "algorithm": "fedsgd", "n_rounds": 300, "weight_decay": 0.1},
    "mean, fedsgd": {"fusion": "mean", "algorithm": "fedsgd", "n_rounds": 600, "weight_decay": 0.1},
    "mean, scaffold": {"fusion": "mean", "algorithm": "scaffold", "n_rounds": 600, "local_epochs": 1},
}
CHOSEN = "attention, MSE alone"


def errors(corn: Any, target: int, seed: int, settings: dict[str, Any]) -> list[tuple[float, float]]:
    """RMSE of the common model and of the site alone, for each site."""
    blocks = [np.asarray(corn[site].data) for site in SITES]
    y = np.asarray(corn[SITES[0]].target)[:, target]
    order = np.random.default_rng(seed).permutation(len(y))
    mine, test = (order[:30], order[30:60]), order[60:]
    n_columns = blocks[0].shape[1]
    columns = [slice(m * n_columns, (m + 1) * n_columns) for m in range(2)]

    def measured(rows: Any, m: int) -> np.ndarray:
        X = np.full((len(rows), 2 * n_columns), np.nan)
        X[:, columns[m]] = blocks[m][rows]
        return X

    modalities = dict(zip(SITES, columns, strict=True))
    X = np.concatenate([measured(mine[m], m) for m in range(2)])
    common = FDRMFLTransformer(modalities=modalities, random_state=seed, tuning=None, **settings)
    common.fit(X, y[np.concatenate(mine)], client_ids=np.repeat(SITES, 30))
    out = []
    for m in range(2):
        alone = FDRMFLTransformer(random_state=seed, tuning=None, **settings).fit(blocks[m][mine[m]], y[mine[m]])
        both = common.predict(measured(test, m)), alone.predict(blocks[m][test])
        out.append(tuple(float(np.sqrt(np.mean((p - y[test]) ** 2))) for p in both))
    return out


def intervals(found: np.ndarray) -> np.ndarray:
    """Ratios and the ends of their 95 % intervals, (sites, 3), of errors (seeds, sites, 2)."""
    logs = np.log(found[..., 0] / found[..., 1])
    half = student.ppf(0.975, len(found) - 1) * logs.std(0, ddof=1) / np.sqrt(len(found))
    return np.exp(np.stack([logs.mean(0), logs.mean(0) - half, logs.mean(0) + half], axis=1))


def main() -> None:
    """Print ratios by target and site."""
    options = parser(__doc__)
    add_corn(options)
    options.add_argument("--choose", action="store_true")
    options.add_argument("--seeds", type=int, nargs="+", help="others than those of the table")
    add_csv(options, "sites")
    args = arguments(options, seeds=[31, 32])
    corn = {site: fetch_corn(args.corn, instrument=site, target="all") for site in SITES}
    seeds = args.seeds or (SEEDS_OF_CHOICE if args.choose else SEEDS)
    names = list(SETTINGS) if args.choose else [CHOSEN]
    rows: list[list[str]] = []
    lines: list[list[str]] = []
    results: dict[str, Any] = {}
    for name in names:
        for target, label in enumerate(TARGETS):
            found = np.array([errors(corn, target, seed, SETTINGS[name]) for seed in seeds])  # (seeds, sites, 2)
            results[f"{name} | {label}"] = found.tolist()
            cells = [[f"{value:.2f}" for value in of_site] for of_site in intervals(found)]
            rows.append([name, label, *(f"{ratio} ({low}-{high})" for ratio, low, high in cells)])
            if name == CHOSEN:
                lines += [[label, site, *cell] for site, cell in zip(SITES, cells, strict=True)]
            print("  ".join(rows[-1]), flush=True)
    print("\n" + table(("settings", "target", *SITES), rows, left=2))
    save(args.out, "sites", results)
    save_csv(args.csv, CSV_HEADER, lines)


if __name__ == "__main__":
    main()
