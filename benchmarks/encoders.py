"""The paper's simulation as images, sequences and vectors, against the same columns flattened, at equal training time.

    python benchmarks/encoders.py                    # functions 1 and 2, 6 seconds of training a fit: four minutes
    python benchmarks/encoders.py --seconds 20       # longer

Protocol: 2,000 rows for training, 500 for the test, 3 clients. Every method gets the number of rounds that it can do in
the given seconds of processor time, on one thread (a round's is measured first), with columns standardised for all.
Its `input_l1` is chosen among 0, 0.03 and 0.1 by 400 of the training rows, after as many rounds on the other 1,600;
then it is trained on all 2,000. The figure is the squared error of the network's own head on the test rows.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from _common import arguments, check, note, parser, save, table
from numpy.typing import NDArray

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.datasets import make_client_ids, make_simulation
from skfdrmfl.encoders import Conv2DEncoder, RecurrentEncoder

N_CLIENTS = 3
L1 = (0.0, 0.03, 0.1)
BLOCKS = {"image": slice(0, 3072), "text": slice(3072, 3572), "vector": slice(3572, 3604)}
FLAT, SHAPED = "flattened, dense", "convolution, recurrent unit, dense"
METHODS: dict[str, dict[str, Any]] = {
    FLAT: {},
    "three modalities, dense": {"modalities": BLOCKS},
    SHAPED: {
        "modalities": BLOCKS,
        "encoders": {"image": Conv2DEncoder((3, 32, 32)), "text": RecurrentEncoder((10, 50))},
    },
    "the same without linear skips": {
        "modalities": BLOCKS,
        "encoders": {
            "image": Conv2DEncoder((3, 32, 32), skip=False),
            "text": RecurrentEncoder((10, 50), skip=False),
        },
    },
}

Array = NDArray[np.float64]


def fitted(params: dict[str, Any], X: Array, y: Array, n_rounds: int) -> FDRMFLTransformer:
    """The model after so many rounds."""
    model = FDRMFLTransformer(8, preprocessing="standardize", n_rounds=n_rounds, random_state=0, tuning=None, **params)
    return model.fit(X, y, client_ids=make_client_ids(y, N_CLIENTS, random_state=0))


def seconds_of(n_rounds: int, params: dict[str, Any], X: Array, y: Array) -> float:
    """Processor seconds of a fit."""
    start = time.process_time()
    fitted(params, X, y, n_rounds)
    return time.process_time() - start


def rounds_in(seconds: float, params: dict[str, Any], X: Array, y: Array) -> int:
    """Rounds that fit into so many seconds: a fit of four rounds takes three rounds longer than one of one."""
    fitted(params, X, y, 1)  # the first one warms up
    one, four = (min(seconds_of(n, params, X, y) for _ in range(3)) for n in (1, 4))
    return max(1, round(3 * seconds / max(four - one, 1e-3)))


def mse(model: FDRMFLTransformer, X: Array, y: Array) -> float:
    """Mean squared error of the head."""
    return float(np.mean((model.predict(X) - y) ** 2))


def run(function: int, seconds: float, n_train: int) -> dict[str, Any]:
    """Test errors on one function."""
    X, y = make_simulation(function, n_train + n_train // 4, random_state=0)
    train, test = slice(n_train), slice(n_train, None)
    kept, held_out = slice(n_train - n_train // 5), slice(n_train - n_train // 5, n_train)
    results: dict[str, Any] = {"mean predictor": {"mse": float(np.mean((y[test] - y[train].mean()) ** 2))}}
    for method, params in METHODS.items():
        n_rounds = rounds_in(seconds, params, X[train], y[train])
        errors = {
            l1: mse(fitted({**params, "input_l1": l1}, X[kept], y[kept], n_rounds), X[held_out], y[held_out])
            for l1 in L1
        }
        chosen = min(errors, key=errors.__getitem__)
        start = time.process_time()
        model = fitted({**params, "input_l1": chosen}, X[train], y[train], n_rounds)
        took = time.process_time() - start
        results[method] = {
            "mse": mse(model, X[test], y[test]),
            "input_l1": chosen,
            "validation": list(errors.values()),
            "rounds": n_rounds,
            "seconds": took,
        }
        note(f"y{function}, {method}: {results[method]}")
    return results


def main() -> None:
    """Run everything and report."""
    options = parser(__doc__)
    options.add_argument("--seconds", type=float, default=6.0, help="of training, each fit (default: %(default)s)")
    options.add_argument("--function", type=int, choices=(1, 2, 3), action="append", help="default: 1 and 2")
    options.add_argument("--rows", type=int, default=2000, metavar="N", help="to train on (default: %(default)s)")
    args = arguments(options, seconds=0.01, function=[1], rows=60)
    results = {f"y{f}": run(f, args.seconds, args.rows) for f in args.function or (1, 2)}
    print(f"# The simulation's modalities, {args.seconds:g} s of training each\n")
    for name, scores in results.items():
        rows = []
        for method, score in scores.items():
            ok = check(score["mse"], scores[FLAT]["mse"]) if method == SHAPED else ""
            spent = f"{score['seconds']:.1f}" if "seconds" in score else ""
            rows.append([method, f"{score['mse']:.3f}", score.get("input_l1"), score.get("rounds"), spent, ok])
        print(f"## {name}\n")
        header = ["method", "test MSE", "input_l1", "rounds", "seconds, with preprocessing", "at most flattened"]
        print(table(header, rows) + "\n")
    save(args.out, "encoders", {"seconds": args.seconds, "results": results})


if __name__ == "__main__":
    main()
