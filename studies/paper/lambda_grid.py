"""The grid over the three weights on Tecator's training rows, and how much of it is interaction.

    python studies/paper/lambda_grid.py --repeats 1

Two modalities, without which the alignment term is 0. The search sees the 172 rows of the published sets C and M in
five grouped folds; a repeat fixes clients and first weights. The variance of log RMSE over the full grid is split
into main effects and interactions, and the best weights are then tried on the 43 rows of T, which chose nothing.
"""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
from _study import each, options
from cases import Float, Split, original_split
from protocols import iid, variants
from settings import OFF

WEIGHTS = (0.0, 1e-3, 1e-2, 1e-1)
TERMS = tuple(OFF)


def shares(values: Float) -> dict[str, float]:
    """How the variance of a full grid splits into main effects and interactions of its axes; sums to 1.

    The classical decomposition: the effect of a set of axes is the mean over all others, less the effects of
    every smaller set.
    """
    effects: dict[tuple[int, ...], Float] = {}
    axes = range(values.ndim)
    for order in range(values.ndim + 1):
        for kept in combinations(axes, order):
            rest = tuple(axis for axis in axes if axis not in kept)
            smaller = sum((effects[s] for s in effects if set(s) < set(kept)), np.zeros(()))
            effects[kept] = values.mean(axis=rest, keepdims=True) - smaller
    total = values.var()
    return {
        " x ".join(TERMS[axis] for axis in kept): float(np.mean(effect**2) / total)
        for kept, effect in effects.items()
        if kept
    }


def main() -> None:
    args = options(__doc__, cases=["tecator-fat-two"], repeats=3, chosen=None).parse_args()
    grid = [dict(zip(TERMS, weights, strict=True)) for weights in product(WEIGHTS, repeat=len(TERMS))]
    candidates = {" ".join(f"{w:g}" for w in weights.values()): weights for weights in grid}

    def measure(case, repeat):
        table = case.table(repeat)
        client_ids = iid(table.y, repeat)
        (held_out,) = original_split(table, repeat)
        inner = case.splits(table.only(held_out.train), repeat)
        inner = [Split(held_out.train[s.train], held_out.train[s.test]) for s in inner]
        record = variants(case.name, table, inner, candidates, repeat, client_ids=client_ids)
        error = {name: np.average(by["Ridge"], weights=record["n_test"]) for name, by in record["scores"].items()}
        best = min(error, key=error.__getitem__)
        tried = {"best": candidates[best], "all off": OFF, "default": dict.fromkeys(OFF, 1e-3)}
        on_test = variants(case.name, table, [held_out], tried, repeat, client_ids=client_ids)["scores"]
        logs = 0.5 * np.log(list(error.values())).reshape([len(WEIGHTS)] * len(TERMS))
        found = {"best": best, "shares": shares(logs), "test_mse": {k: v["Ridge"][0] for k, v in on_test.items()}}
        return {**record, "found": found}

    each("lambda_grid", args, measure)


if __name__ == "__main__":
    main()
