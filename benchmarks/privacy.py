"""What privacy of clients costs in accuracy: K = 1000 clients of 20 to 50 rows, 20 columns, everything billed.

    python benchmarks/privacy.py                # five seeds, eps 8 and 2 at delta = K^-1.1: about 20 minutes
    python benchmarks/privacy.py --tune         # chooses the settings anew, on data of other seeds: about an hour

The noise multiplier is the least at which the whole bill (noisy moments of X and y within public bounds, all rounds)
stays within eps. It stands against the best fit without privacy. The settings of both, in `PRIVATE` and `OPEN`, were
chosen on data of other seeds, from `GRID` and `OPEN_GRID`. Printed is the ratio of RMSEs on 20,000 rows of nobody, for
each seed, with the interval of Student's t of its mean.
"""

from __future__ import annotations

from functools import cache
from math import sqrt
from typing import Any

import numpy as np
from _common import arguments, check, note, parser, save, table
from scipy.stats import t
from sklearn.model_selection import ParameterGrid

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.server.privacy.accountant import Expense, default_delta, epsilon
from skfdrmfl.server.privacy.moments import MOMENTS_NOISE

K, P = 1000, 20
ASKED = {8.0: 1.15, 2.0: 1.6}
SEED_OF_CHOICE = 1000  # seeds of the data on which settings are chosen start here
BOUNDS = {"X": (-4.0, 4.0), "y": (-4.0, 4.0)}
COMMON: dict[str, Any] = {
    "preprocessing": "standardize",
    "mi_weight": 0.0,
    "kl_weight": 0.0,
    "contrastive_weight": 0.0,
    "history_size": 0,
}
MOMENTUM: dict[str, list[Any]] = {"algorithm": ["fedavgm"], "server_momentum": [0.9], "server_learning_rate": [0.5]}
FEW: dict[str, list[Any]] = {
    "participation": [0.1],
    "learning_rate": [0.01],
    "hidden_layer_sizes": [(16,)],
    "weight_decay": [0.1],
}
GRID = ParameterGrid(
    [
        FEW | MOMENTUM | {"n_rounds": [200, 400], "dp_clip_norm": [0.02, 0.03, 0.05, 0.1]},
        FEW
        | {
            "algorithm": ["fedadam"],
            "n_rounds": [400, 800],
            "server_learning_rate": [0.02, 0.03, 0.05],
            "dp_clip_norm": [0.05, 0.1, 0.2],
        },
    ]
)
# Without privacy every algorithm may be tried: full gradients are far ahead.
LOCAL: dict[str, list[Any]] = {
    "n_rounds": [200, 400],
    "participation": [0.1],
    "weight_decay": [0.1, 0.3],
    "learning_rate": [0.01, 0.003],
    "hidden_layer_sizes": [(16,), (32,)],
}
OPEN_GRID = ParameterGrid(
    [
        LOCAL,
        LOCAL | MOMENTUM,
        LOCAL | {"algorithm": ["fedadam"]},
        {
            "algorithm": ["fedsgd"],
            "n_rounds": [600],
            "weight_decay": [0.03, 0.1, 0.3],
            "hidden_layer_sizes": [(16,), (32,)],
            "preprocessing": ["standardize", "whiten"],
        },
    ]
)
CHOSEN: dict[str, Any] = {
    "algorithm": "fedadam",
    "participation": 0.1,
    "learning_rate": 0.01,
    "server_learning_rate": 0.05,
    "hidden_layer_sizes": (16,),
    "weight_decay": 0.1,
}
PRIVATE: dict[float, dict[str, Any]] = {
    8.0: CHOSEN | {"n_rounds": 800, "dp_clip_norm": 0.05},
    2.0: CHOSEN | {"n_rounds": 400, "dp_clip_norm": 0.2},
}
OPEN: dict[str, Any] = {
    "algorithm": "fedsgd",
    "n_rounds": 600,
    "weight_decay": 0.3,
    "hidden_layer_sizes": (32,),
    "preprocessing": "whiten",
}

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray]


def problem(seed: int) -> tuple[Arrays, tuple[np.ndarray, np.ndarray]]:
    """Rows, y and clients to train on; rows and y to test on. A curved function of correlated columns."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(20, 51, K)
    n, n_test = int(sizes.sum()), 20_000
    shift = 0.3 * rng.standard_normal((K, P))  # clients are a little unlike each other
    mix = np.eye(P) + 0.3 * rng.standard_normal((P, P)) / sqrt(P)
    ids = np.concatenate([np.repeat(np.arange(K), sizes), rng.integers(0, K, n_test)])
    X = (rng.standard_normal((n + n_test, P)) @ mix + shift[ids]) / sqrt(1.2)
    a, b, c = np.linalg.qr(rng.standard_normal((P, 3)))[0].T
    y = X @ a + 0.6 * np.tanh(2 * X @ b) + 0.3 * (X @ c) ** 2 + 0.35 * rng.standard_normal(len(X))
    y = (y - 0.3) / 1.25
    return (X[:n], y[:n], ids[:n]), (X[n:], y[n:])


PRECISION = 1.001  # of noise multipliers, a ratio


@cache
def multiplier_for(eps: float, participation: float, n_rounds: int) -> float:
    """The least noise multiplier, to three digits, at which everything billed stays within eps."""

    def bill(sigma: float) -> float:
        rounds = Expense("training rounds", sigma, participation, n_rounds)
        moments = Expense("preprocessing", MOMENTS_NOISE * sigma, 1.0, 1)
        return epsilon((moments, rounds), default_delta(K))

    low, high = 0.3, 20.0
    while high / low > PRECISION:
        middle = sqrt(low * high)
        low, high = (low, middle) if bill(middle) <= eps else (middle, high)
    return high


def rmse(seed: int, settings: dict[str, Any], eps: float | None = None) -> tuple[float, float]:
    """Error on rows of nobody, and what the fit says it spent."""
    (X, y, ids), (X_test, y_test) = problem(seed)
    private: dict[str, Any] = {}
    if eps is not None:
        sigma = multiplier_for(eps, settings["participation"], settings["n_rounds"])
        private = {"dp_noise_multiplier": sigma, "dp_bounds": BOUNDS}
    model = FDRMFLTransformer(random_state=seed, tuning=None, **(COMMON | private | settings)).fit(X, y, client_ids=ids)
    return float(np.sqrt(np.mean((model.predict(X_test) - y_test) ** 2))), model.epsilon_


def choose(grid: ParameterGrid, eps: float | None) -> dict[str, Any]:
    """The settings with the least error on data of a seed of their own."""
    errors = []
    for settings in grid:
        errors.append((rmse(SEED_OF_CHOICE, settings, eps)[0], settings))
        note(f"eps {eps}, {settings}: {errors[-1][0]:.4f}")
    return min(errors, key=lambda pair: pair[0])[1]


def interval(values: list[float]) -> tuple[float, float, float]:
    """Mean of the values and the ends of its interval of 95 % by Student's t."""
    n, mean = len(values), float(np.mean(values))
    half = float(t.ppf(0.975, n - 1) * np.std(values, ddof=1) / sqrt(n)) if n > 1 else float("nan")
    return mean, mean - half, mean + half


def main() -> None:
    """Print the ratios and what was asked."""
    options = parser(__doc__)
    options.add_argument("--seeds", type=int, default=5, metavar="N", help="how many (default: %(default)s)")
    options.add_argument("--tune", action="store_true", help="choose the settings anew")
    args = arguments(options, seeds=1)
    if args.smallest:
        global K, PRECISION
        K, PRECISION = 60, 2.0
        for settings in (OPEN, *PRIVATE.values()):
            settings["n_rounds"] = 3
    open_settings, private = OPEN, PRIVATE
    if args.tune:
        open_settings = choose(OPEN_GRID, None)
        private = {eps: choose(GRID, eps) for eps in ASKED}
        print(f"Chosen without privacy: {open_settings}\nChosen with: {private}")
    best = []
    for seed in range(args.seeds):
        best.append(rmse(seed, open_settings)[0])
        note(f"without privacy, seed {seed}: {best[-1]:.4f}")
    rows, results = [], {}
    for eps, asked in ASKED.items():
        found = [rmse(seed, private[eps], eps) for seed in range(args.seeds)]
        note(f"eps {eps}: {found}")
        ratios = [error / without for (error, _), without in zip(found, best, strict=True)]
        mean, low, high = interval(ratios)
        spent = max(epsilon_ for _, epsilon_ in found)
        results[str(eps)] = {"rmse": [e for e, _ in found], "ratios": ratios, "spent": spent, "settings": private[eps]}
        error = np.mean([e for e, _ in found])
        cells = [f"{eps:g}", f"{spent:.3f}", f"{error:.4f}", f"{mean:.3f} ({low:.3f} to {high:.3f})"]
        rows.append([*cells, f"{asked}", check(mean, asked)])
    print(f"\nRMSE without privacy {np.mean(best):.4f}; delta = {default_delta(K):.3g}\n")
    print(table(["eps", "billed", "RMSE", "ratio", "asked, at most", "reached"], rows))
    save(args.out, "privacy", {"without": best, "with": results, "settings": open_settings})


if __name__ == "__main__":
    main()
