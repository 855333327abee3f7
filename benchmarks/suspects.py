"""Are corrupt training rows found before they spoil a fit? Shares found, false alarms, and the error without them.

    python benchmarks/suspects.py            # about 20 minutes; --fits 0 leaves out the errors, and takes 2

Tecator's fat and Corn's four targets from m5 (one model of each set), rows dealt at random to 3 clients, three quarters
train; 2 % of these are corrupt, one kind at a time and mixed. Kinds and sizes are those of `benchmarks/trust.py`, and:
y exchanged with a row more than one standard deviation away, a placeholder in y, or in X. Limits were chosen on other
draws. A row is found where `suspects_` has it, for whatever reason.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from typing import Any

import numpy as np
from _common import add_corn, arguments, check, parser, save, table
from numpy.typing import NDArray
from sklearn.model_selection import GroupShuffleSplit
from trust import N_CLIENTS, TARGETS, corruptions

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.datasets import fetch_corn, load_tecator, make_client_ids

Float = NDArray[np.float64]
SHARE, PLACEHOLDERS = 0.02, (-9999.0, 999.0)


def corrupted(
    kind: str, X: Float, y: Float, rows: NDArray, rng: np.random.Generator, other: Float | None, everything: Float
) -> tuple[Float, Float, list[int]]:
    """X and y with rows of one kind of corruption, and which these are: two of each exchange."""
    X, y, touched = X.copy(), y.copy(), []
    for i in rows.tolist():
        if kind == "y exchanged":
            far = np.flatnonzero((np.abs(y - y[i]) > y.std(0)).any(1))
            j = int(rng.choice(far))
            y[[i, j]] = y[[j, i]]
            touched += [i, j]
        elif kind == "placeholder in y":
            y[i, rng.integers(y.shape[1])] = rng.choice(PLACEHOLDERS)
            touched.append(i)
        elif kind == "placeholder in X":
            X[i, rng.integers(X.shape[1])] = rng.choice(PLACEHOLDERS)
            touched.append(i)
        else:
            row = corruptions(X[i : i + 1], rng, None if other is None else other[i : i + 1], everything)[kind]
            if np.isfinite(row).all():
                X[i], touched = row[0], [*touched, i]
    return X, y, touched


def draw(data: Any, kind: str, seed: int) -> tuple[Any, ...]:
    """Training rows with corrupt ones, which these are, and the test rows."""
    X, y, groups, other = data
    train, test = next(GroupShuffleSplit(1, test_size=0.25, random_state=seed).split(X, groups=groups))
    rng = np.random.default_rng(seed)
    ids = make_client_ids(y[:, 0], N_CLIENTS, random_state=seed)[train]
    everywhere = np.arange(len(train))
    if kind == "saturation":  # rows that reach it
        everywhere = np.flatnonzero((X[train] > np.quantile(X, 0.9)).any(1))
    rows = rng.choice(everywhere, max(1, round(SHARE * len(train))), replace=False)
    mine, measured, touched = X[train], y[train], []
    for i in rows:
        one = str(rng.choice(kinds_of(data))) if kind == "mixed" else kind
        there = None if other is None else other[train]
        mine, measured, more = corrupted(one, mine, measured, np.array([i]), rng, there, X)
        touched += more
    return mine, measured, ids, np.unique(touched).astype(int), X[test], y[test]


def kinds_of(data: Any) -> list[str]:
    """What a set's rows may suffer."""
    kinds = ["spike", "saturation", "shift of 5", "times 10", "y exchanged", "placeholder in y", "placeholder in X"]
    return kinds if data[3] is None else [*kinds, "mp6"]


def run(corn: Any, repeats: int, n_fits: int) -> dict[str, dict[str, dict[str, float]]]:
    """Shares found and false alarms by set and kind, and the ratio of errors of the first draws."""
    tecator = load_tecator()
    m5, mp6 = (fetch_corn(corn, target=TARGETS, instrument=name) for name in ("m5", "mp6"))
    sets = {
        "Tecator": (tecator.data, tecator.target[:, None], tecator.groups, None),
        "Corn m5": (m5.data, m5.target, np.arange(80), mp6.data),
    }
    out: dict[str, dict[str, dict[str, float]]] = {}
    for name, data in sets.items():
        out[name] = {}
        for kind in [*kinds_of(data), "mixed"]:
            counts: dict[str, float] = defaultdict(float)
            ratios = []
            for seed in range(repeats):
                X, y, ids, bad, X_test, y_test = draw(data, kind, seed)
                looking = FDRMFLTransformer(tuning=None, suspects="warn", random_state=seed)._prepare_fit(X, y, ids)
                assert looking.fitted.suspects is not None
                found = set(looking.fitted.suspects.rows.tolist())
                counts["corrupt"] += len(bad)
                counts["found"] += len(found & set(bad.tolist()))
                counts["clean"] += len(X) - len(bad)
                counts["alarms"] += len(found - set(bad.tolist()))
                if seed < n_fits:
                    model = FDRMFLTransformer(suspects="drop", random_state=seed).fit(X, y, client_ids=ids)
                    kept = np.setdiff1d(np.arange(len(X)), bad)
                    without = FDRMFLTransformer(suspects="ignore", random_state=seed)
                    without.fit(X[kept], y[kept], client_ids=ids[kept])
                    ratios.append(_error(model, X_test, y_test) / _error(without, X_test, y_test))
            out[name][kind] = {
                "found": counts["found"] / max(counts["corrupt"], 1.0),
                "alarms": counts["alarms"] / counts["clean"],
                "ratio": float(np.mean(ratios)) if ratios else float("nan"),
            }
    return out


def _error(model: FDRMFLTransformer, X: Float, y: Float) -> float:
    """Root of the mean squared error, in units of each output's spread."""
    return float(np.sqrt(np.mean(((model.predict(X).reshape(y.shape) - y) / y.std(0)) ** 2)))


def main() -> None:
    options = parser(__doc__)
    add_corn(options)
    options.add_argument("--repeats", type=int, default=20, help="draws of each set (default: %(default)s)")
    options.add_argument("--fits", type=int, default=5, help="default fits of each kind (default: %(default)s)")
    args = arguments(options, repeats=1, fits=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = run(args.corn, args.repeats, args.fits)
    rows: list[list[Any]] = []
    for name, of_set in results.items():
        for kind, of_kind in of_set.items():
            asked = 0.7 if kind == "y exchanged" else 0.95
            if kind != "mixed":
                found = of_kind["found"]
                rows += [[f"{name}: {kind}, found", f"{found:.3f}", asked, check(found, asked, at_least=True)]]
            else:
                rows += [[f"{name}: {kind}, found", f"{of_kind['found']:.3f}", "", ""]]
            rows += [
                [f"{name}: {kind}, false alarms", f"{of_kind['alarms']:.4f}", 0.02, check(of_kind["alarms"], 0.02)]
            ]
            if np.isfinite(of_kind["ratio"]):
                ratio = of_kind["ratio"]
                rows += [[f"{name}: {kind}, RMSE over that without", f"{ratio:.3f}", 1.03, check(ratio, 1.03)]]
    print(table(["what", "found", "asked", "reached"], rows))
    save(args.out, "suspects", results)


if __name__ == "__main__":
    main()
