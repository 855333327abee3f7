"""Whether two checkouts train to the same bits: for those who move code and mean to change nothing.

    git worktree add ../before REVISION
    python tools/same_bits.py ../before                  # this checkout against that one: about a minute
    python tools/same_bits.py ../before --engine native  # where the native engine goes

Each checkout fits every configuration below in a process of its own. Compared are the raw global models, the weights as
delivered, `history_`, Z and predictions: bit for bit, or, where `--tolerance` is given, what is delivered to that
accuracy, relative to its largest entry. Configurations that a checkout's engine refuses are left out and named. The
script reads public names, but for the raw models. Exit status 1 where anything differs.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]


# ------------------------------------------------------------------------------------- configurations


def problem() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, one output and unequal clients (one of them with a single row)."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((150, 3)) @ rng.standard_normal((3, 14)) + 0.3 * rng.standard_normal((150, 14))
    y = X[:, 0] + np.tanh(X[:, 1]) + 0.1 * rng.standard_normal(150)
    ids = np.repeat(np.arange(5), [70, 40, 25, 14, 1])[rng.permutation(150)]
    return X, y, ids


def with_holes(X: np.ndarray) -> np.ndarray:
    """X whose rows lack the second of two modalities now and then."""
    X = X.copy()
    X[::3, 9:] = np.nan
    X[1::9, :9] = np.nan
    return X


def configurations(engine: str) -> Iterator[tuple[str, Callable[[], Arrays]]]:
    """Names, and what fits one of them and returns all that is compared."""
    import pandas as pd

    from skfdrmfl import FDRMFLTransformer
    from skfdrmfl import encoders as e

    if engine == "torch" and "torch" not in FDRMFLTransformer._parameter_constraints["engine"][0].options:
        engine = "stacked"  # as it was called

    X, y, ids = problem()
    Y = np.column_stack([y, y**2 + X[:, 3]])
    two: dict[str, Any] = {"modalities": {"a": slice(0, 9), "b": slice(9, None)}}
    holes = with_holes(X)
    frame = pd.DataFrame({"n": X[:, 0], "m": X[:, 1], "kind": np.where(X[:, 2] > 0, "up", "down"), "flag": y > 0})

    def fit(table: Any = X, target: Any = y, clients: Any = ids, partial: int = 0, **parameters: Any) -> Any:
        def run() -> Arrays:
            model = FDRMFLTransformer(
                tuning=None, **({"n_rounds": 6, "random_state": 0, "engine": engine} | parameters)
            )
            model.fit(table, target, client_ids=clients)
            for _ in range(partial):
                model.partial_fit(table, target, client_ids=clients)
            return of(model, table)

        return run

    yield "defaults", fit()
    yield "central", fit(clients=None)
    yield "many clients", fit(clients=np.arange(150) % 40)
    yield "no terms", fit(mi_weight=0, kl_weight=0, contrastive_weight=0)
    yield "large terms", fit(mi_weight=0.1, kl_weight=0.1, contrastive_weight=0.3, temperature=0.2, **two)
    yield "one component", fit(n_components=1)
    yield "several outputs", fit(target=Y, n_components=3)
    yield "hidden head", fit(head_hidden_layer_sizes=(6,))
    yield "l1", fit(input_l1=0.5, preprocessing="standardize")
    yield "participation", fit(participation=0.5, history_size=1)
    yield "no preprocessing", fit(preprocessing=None, learning_rate=0.003)
    yield "partial_fit", fit(partial=2)
    yield "float32", fit(table=X.astype(np.float32))
    for fusion in ("mean", "gated", "attention"):
        yield f"fusion {fusion}", fit(fusion=fusion, **two)
    for alignment in ("diagonal", "moments"):
        yield f"alignment {alignment}", fit(alignment=alignment, kl_weight=0.05, **two)
    yield "missing modalities", fit(table=holes, **two)
    yield "missing, mean, dropout", fit(table=holes, fusion="mean", modality_dropout=0.3, **two)
    yield "early stopping", fit(early_stopping=True, n_iter_no_change=2, n_rounds=12)
    yield "early stopping, missing", fit(table=holes, early_stopping=True, validation_fraction=0.3, **two)
    yield "shrinkage auto", fit(shrinkage="auto", n_rounds=3)
    yield "tuning", fit(tuning="auto", n_rounds=3)
    yield "tuning, noise", fit(target=np.random.default_rng(5).standard_normal(150), tuning="auto", n_rounds=3)
    yield "tuning, missing", fit(table=holes, tuning="auto", n_rounds=3, **two)
    yield "tuning, early stopping", fit(tuning="auto", early_stopping=True, n_rounds=5)
    yield "convolution", fit(encoders=e.Conv1DEncoder(), n_rounds=3)
    yield "recurrent", fit(encoders={"a": e.RecurrentEncoder((3, 3)), "b": e.LinearEncoder()}, n_rounds=3, **two)
    for algorithm in ("fedprox", "scaffold", "fedavgm", "fedadam", "fedsgd"):
        yield algorithm, fit(algorithm=algorithm)
    yield "median", fit(aggregation="median", preaggregation="lengths+nnm", n_byzantine=1)
    yield "one round", fit(n_rounds=1)
    yield "three components", fit(n_components=3)
    yield "no history", fit(history_size=0)
    yield "batches of eight", fit(batch_size=8, local_epochs=2)
    yield "standardised", fit(preprocessing="standardize")
    yield "no regularisers", fit(mi_weight=0.0, kl_weight=0.0, contrastive_weight=0.0)
    yield "dense without skip", fit(encoders=e.DenseEncoder((8, 4), skip=False))
    yield "categories", fit(table=frame)


def of(model: Any, table: Any) -> Arrays:
    """All that is compared of a fitted transformer; what starts with "raw" must have equal bits always."""
    fitted = getattr(model, "_fitted", None)
    models = model._global_models if fitted is None else fitted.models
    return {
        "raw models": np.asarray(models),
        **{f"weights {name}": array for name, array in model.weights_.items()},
        **{f"history {name}": array for name, array in model.history_.items()},
        "Z": model.transform(table),
        "predictions": np.asarray(model.predict(table)),
        "variance": model.component_variance_,
    }


# ----------------------------------------------------------------------------------------- comparison


def dump(path: str, engine: str) -> None:
    """Fit everything with the package that is first on the path, and write the arrays to a file."""
    import skfdrmfl

    print(f"fitting with {Path(skfdrmfl.__file__).parent}", file=sys.stderr)
    found: Arrays = {}
    for name, run in configurations(engine):
        try:
            found |= {f"{name} | {key}": array for key, array in run().items()}
        except ValueError as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
    np.savez(path, **found)


def dumped(checkout: Path, folder: str, engine: str) -> Arrays:
    """What a checkout fits, in a process of its own."""
    path = Path(folder) / "fits.npz"
    environment = {**os.environ, "PYTHONPATH": str(checkout.resolve()), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "--dump", str(path), "--engine", engine]
    subprocess.run(command, env=environment, check=True)
    with np.load(path) as arrays:
        return dict(arrays)


def differences(before: Arrays, after: Arrays, tolerance: float) -> Iterator[tuple[str, str]]:
    """Configurations and what differs in them."""
    for key in sorted(before.keys() | after.keys()):
        name, _, what = key.partition(" | ")
        if key not in before or key not in after:
            yield name, f"{what} is {'new' if key in after else 'gone'}"
        elif before[key].shape != after[key].shape or before[key].dtype != after[key].dtype:
            yield name, f"{what} has another shape or type"
        elif before[key].tobytes() != after[key].tobytes():
            scale = float(np.nanmax(np.abs(before[key]), initial=0.0)) or 1.0
            apart = float(np.nanmax(np.abs(before[key] - after[key]), initial=0.0)) / scale
            delivered = what.startswith(("weights", "Z", "variance", "predictions")) or what.endswith("score")
            if not (delivered and apart <= tolerance):
                yield name, f"{what} differs by {apart:.1e} of its largest entry"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("before", type=Path, nargs="?", help="the other checkout")
    parser.add_argument("--after", type=Path, default=Path(__file__).parents[1], help="default: this checkout")
    parser.add_argument("--tolerance", type=float, default=0.0, help="for what is delivered (default: equal bits)")
    parser.add_argument("--engine", choices=("auto", "native", "torch"), default="torch", help="default: torch")
    parser.add_argument("--dump", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.dump:
        dump(options.dump, options.engine)
        return 0
    if options.before is None:
        parser.error("name the other checkout")
    with tempfile.TemporaryDirectory() as a, tempfile.TemporaryDirectory() as b:
        before, after = (dumped(c, f, options.engine) for c, f in ((options.before, a), (options.after, b)))
    names = {key.partition(" | ")[0] for key in before} & {key.partition(" | ")[0] for key in after}
    before, after = ({k: v for k, v in of.items() if k.partition(" | ")[0] in names} for of in (before, after))
    found = list(differences(before, after, options.tolerance))
    for name, what in found:
        print(f"{name}: {what}")
    print(
        f"{len(names)} configurations, {len(names) - len({name for name, _ in found})} the same, {len(before)} arrays"
    )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
