"""Does the contrastive term help where clients really come and go over 1,000 rounds?

    python studies/experiments/churn.py    # about 2 minutes

Tecator's fat, ten clients, sorted by fat or dealt at random; the network alone. A client is there for some 50 rounds,
then away for some 150 (a Markov chain of its own); all are there in round 1, from which preprocessing comes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from _experiment import COLOURS, arguments, finish, note, options, rmse, tecator

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.datasets import make_client_ids

NAME, K = "experiment_churn", 10
WEIGHTS = (0.0, 0.001, 0.03, 0.3)
STAY, RETURN = 1 - 1 / 50, 1 / 150  # a round


def chain(n_rounds: int, seed: int) -> np.ndarray:
    """Who is there in which round (n_rounds, K); never nobody."""
    rng = np.random.default_rng(seed)
    there = np.ones((n_rounds, K), dtype=bool)
    state = rng.random(K) < 0.25
    for r in range(1, n_rounds):
        state = rng.random(K) < np.where(state, STAY, RETURN)
        there[r] = state
        if not state.any():
            there[r, rng.integers(K)] = True
    return there


def error_of_mean(values: Sequence[float]) -> float:
    """Standard error of the mean of these, 0 of a single one."""
    return float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0


def main() -> None:
    args = options(__doc__, NAME, 5)
    args.add_argument("--rounds", type=int, default=1000, metavar="N", help="default: %(default)s")
    args = arguments(args, repeats=1, rounds=3)
    rows = []
    found: dict[tuple[str, str, float], list[float]] = {}
    for scheme in ("quantile", "iid"):
        for who in ("all, always", "come and go"):
            for weight in WEIGHTS:
                errors = []
                for repeat in range(args.repeats):
                    X, y, _, train, test = tecator(repeat)
                    ids = make_client_ids(y[train], K, scheme, random_state=repeat)
                    there = None if who == "all, always" else chain(args.rounds, repeat)
                    settings = {"n_rounds": args.rounds, "contrastive_weight": weight, "random_state": repeat}
                    model = FDRMFLTransformer(tuning=None, availability=there, **settings)
                    errors.append(rmse(y[test], model.fit(X[train], y[train], client_ids=ids).predict(X[test])))
                note(f"{scheme}, {who}, weight {weight}: {np.mean(errors):.3f}")
                found[scheme, who, weight] = errors
                logs = np.log(np.divide(errors, found[scheme, who, 0.0]))  # paired: the same rows, clients, absences
                rows.append((scheme, who, weight, float(np.mean(errors)), error_of_mean(errors)))
                rows[-1] += (float(np.exp(logs.mean())), error_of_mean(logs))

    def draw(axes: list) -> None:
        for ax, scheme in zip(axes, ("quantile", "iid"), strict=True):
            for colour, who in zip(COLOURS, ("all, always", "come and go"), strict=False):
                mine = [row for row in rows if row[:2] == (scheme, who)]
                ax.errorbar(
                    range(len(mine)), [r[3] for r in mine], [r[4] for r in mine], color=colour, label=who, marker="o"
                )
            ax.set_xticks(range(len(WEIGHTS)), map(str, WEIGHTS))
            title = {"quantile": "clients sorted by fat", "iid": "dealt at random"}[scheme]
            ax.set(xlabel="contrastive_weight", ylabel="RMSE of fat, %", title=title, ylim=(0, None))
            ax.legend()

    finish(args, NAME, ("clients", "there", "weight", "rmse", "se", "over weight 0", "se of that"), rows, draw, 2)


if __name__ == "__main__":
    main()
