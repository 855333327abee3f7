"""What do the number of clients, local epochs and batch size do to the distance from the noise floor?

    python studies/experiments/noise_floor.py    # about 1 minute

600 rows of 20 columns, y linear or with a bend, plus noise of deviation 1, dealt to K clients at random; the network
alone. The excess is the RMSE against the y without noise: 0 is the floor, least squares has about .19 of a linear y.
"""

from __future__ import annotations

import numpy as np
from _experiment import COLOURS, arguments, finish, note, options, rmse
from sklearn.linear_model import LinearRegression

from skfdrmfl import FDRMFLTransformer

NAME, N, P = "experiment_noise_floor", 600, 20
CLIENTS, EPOCHS, BATCHES = (1, 3, 10, 30), (1, 5, 20), (8, 32, 128)


def problem(kind: str, repeat: int) -> tuple[np.ndarray, ...]:
    """Rows, y with noise; rows and y without, to test on."""
    rng = np.random.default_rng(repeat)
    X, beta = rng.standard_normal((N + 2000, P)), rng.standard_normal(P)
    clean = X @ beta
    if kind == "bent":
        clean = clean + 2 * np.tanh(X @ rng.standard_normal(P))
    return X[:N], clean[:N] + rng.standard_normal(N), X[N:], clean[N:]


def main() -> None:
    args = arguments(options(__doc__, NAME, 3), repeats=1)
    base = {"K": 10, "epochs": 5, "batch": 32}
    grid = [{**base, "K": k, "epochs": e} for k in CLIENTS for e in EPOCHS]
    grid += [{**base, "K": k, "batch": b} for k in CLIENTS for b in BATCHES if b != base["batch"]]
    rows = []
    for kind in ("linear", "bent"):
        for point in grid[: 2 if args.smallest else None]:
            excess = []
            for repeat in range(args.repeats):
                X, y, X_test, clean = problem(kind, repeat)
                ids = np.random.default_rng(repeat).permutation(np.arange(N) % point["K"])
                settings = {"local_epochs": point["epochs"], "batch_size": point["batch"], "random_state": repeat}
                model = FDRMFLTransformer(tuning=None, **settings).fit(X, y, client_ids=ids)
                excess.append(rmse(clean, model.predict(X_test)))
            sd = float(np.std(excess, ddof=1)) if len(excess) > 1 else 0.0
            rows.append((kind, "network", point["K"], point["epochs"], point["batch"], float(np.mean(excess)), sd))
            note(f"{rows[-1]}")
        floor = []
        for repeat in range(args.repeats):
            X, y, X_test, clean = problem(kind, repeat)
            floor.append(rmse(clean, LinearRegression().fit(X, y).predict(X_test)))
        rows.append((kind, "least squares", 1, "", "", float(np.mean(floor)), float(np.std(floor))))

    def draw(axes: list) -> None:
        for ax, (kind, varied) in zip(axes, [(k, v) for k in ("linear", "bent") for v in (3, 4)], strict=True):
            other, usual = (4, base["batch"]) if varied == 3 else (3, base["epochs"])
            mine = [row for row in rows if row[0] == kind and row[1] == "network" and row[other] == usual]
            for value, colour in zip(sorted({row[varied] for row in mine}), COLOURS, strict=False):
                line = [row for row in mine if row[varied] == value]
                label = f"{value} local epochs" if varied == 3 else f"batches of {value}"
                ax.errorbar(
                    [r[2] for r in line],
                    [r[5] for r in line],
                    [r[6] for r in line],
                    color=colour,
                    label=label,
                    marker="o",
                )
            floor = next(row[5] for row in rows if row[:2] == (kind, "least squares"))
            ax.axhline(floor, color="#333333", linewidth=0.8, linestyle="--")
            ax.set(
                xscale="log",
                xlabel="clients of the same 600 rows",
                ylabel="excess error",
                title=f"{kind} y",
                ylim=(0, None),
            )
            ax.legend(fontsize=8)

    header = ("y", "method", "clients", "local epochs", "batch size", "excess", "sd")
    finish(args, NAME, header, rows, draw, 4)


if __name__ == "__main__":
    main()
