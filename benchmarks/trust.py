"""May predictions be believed? Coverage of intervals, corrupt rows found at predict, false alarms, and what they cost.

    python benchmarks/trust.py --repeats 3   # about 4 minutes
    python benchmarks/trust.py --mapie       # CV+ around the same model on pooled rows too (pip install mapie)

Tecator's fat and Corn's four targets from m5 (one model of each set), rows dealt at random to 3 clients, a quarter held
out, repeats of a sample together. Corruptions, of every test row one at a time: a fifth of the channels, neighbours,
times 1.5 (spike); cut at the set's 90th percentile (saturation; rows that reach it); shifted by 5 channels; times 10;
mp6 instead of m5 (Corn). A row is found where `domain` has it outside at its default level.
"""

from __future__ import annotations

import time
import warnings
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import numpy as np
from _common import add_corn, arguments, check, parser, save, seconds, table
from numpy.typing import NDArray
from sklearn.model_selection import GroupShuffleSplit

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.datasets import fetch_corn, load_tecator, make_client_ids
from skfdrmfl.fit import mixture as mixture_fit
from skfdrmfl.mixture import fitting
from skfdrmfl.protocol.queries.counts import DistanceCounts, MixtureErrorCounts

Float = NDArray[np.float64]
CONFIDENCE, N_CLIENTS = 0.9, 3
TARGETS = ("moisture", "oil", "protein", "starch")


def corruptions(X: Float, rng: np.random.Generator, other: Float | None, everything: Float) -> dict[str, Float]:
    """Rows of each kind of corruption; those that it leaves as they are are NaN."""
    p = X.shape[1]
    spiked = X.copy()
    for row in spiked:
        start = rng.integers(0, p - p // 5 + 1)
        row[start : start + p // 5] *= 1.5
    cut = np.minimum(X, np.quantile(everything, 0.9))
    cut[(cut == X).all(1)] = np.nan
    shifted = np.concatenate((X[:, 5:], np.repeat(X[:, -1:], 5, 1)), 1)
    kinds = {"spike": spiked, "saturation": cut, "shift of 5": shifted, "times 10": 10 * X}
    return kinds if other is None else kinds | {"mp6": other}


def run(corn: Any, repeats: int, mapie: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """Shares covered by set and client, and shares found by set and kind, over all repeats; widths beside."""
    tecator = load_tecator()
    m5, mp6 = (fetch_corn(corn, target=TARGETS, instrument=name) for name in ("m5", "mp6"))
    sets = {
        "Tecator": (tecator.data, tecator.target, tecator.groups, None),
        "Corn m5": (m5.data, m5.target, np.arange(80), mp6.data),
    }
    covered: dict[str, Any] = {}
    found: dict[str, Any] = {}
    for name, (X, y, groups, other) in sets.items():
        by_client, by_kind, widths = defaultdict(list), defaultdict(list), []
        for repeat in range(repeats):
            (train, test), rng = next(_split(X, groups, repeat)), np.random.default_rng(repeat)
            ids = make_client_ids(y if y.ndim == 1 else y[:, 0], N_CLIENTS, random_state=repeat)
            model = FDRMFLTransformer(random_state=repeat).fit(X[train], y[train], client_ids=ids[train])
            ends = model.predict_interval(X[test], CONFIDENCE).reshape(len(test), -1, 2)
            measured = y[test].reshape(len(test), -1)
            inside = (ends[..., 0] <= measured) & (measured <= ends[..., 1])
            for label in np.unique(ids):
                by_client[int(label)].append(inside[ids[test] == label])
            width = np.median(ends[..., 1] - ends[..., 0], 0)
            widths.append(width / cv_plus(X[train], y[train], X[test], repeat) if mapie else width * np.nan)
            by_kind["clean"].append(~model.domain(X[test])["inside"])
            rows = None if other is None else other[test]
            for kind, corrupt in corruptions(X[test], rng, rows, X).items():
                there = np.isfinite(corrupt).all(1)
                by_kind[kind].append(~model.domain(corrupt[there])["inside"])
        of_clients = [float(np.concatenate(parts).mean()) for parts in by_client.values()]
        pooled = float(np.concatenate([part.ravel() for parts in by_client.values() for part in parts]).mean())
        covered[name] = {"pooled": pooled, "worst": min(of_clients), "width": float(np.mean(widths))}
        found[name] = {kind: float(np.concatenate(parts).mean()) for kind, parts in by_kind.items()}
    return covered, found


def _split(X: Float, groups: NDArray, seed: int) -> Any:
    return GroupShuffleSplit(1, test_size=0.25, random_state=seed).split(X, groups=groups)


def cv_plus(X: Float, y: Float, new: Float, seed: int) -> Float:
    """Median width (q,) of mapie's CV+ around the same model on pooled rows."""
    from mapie.regression import CrossConformalRegressor

    out = []
    for target in y.reshape(len(y), -1).T:
        model = FDRMFLTransformer(random_state=seed)
        plus = CrossConformalRegressor(model, confidence_level=CONFIDENCE, method="plus", cv=5, random_state=seed)
        _, ends = plus.fit_conformalize(X, target).predict_interval(new)
        out.append(np.median(ends[:, 1, 0] - ends[:, 0, 0]))
    return np.array(out)


def least(work: Callable[[], Any], times: int) -> float:
    """Least CPU seconds of a call."""
    return min(seconds(work, time.process_time) for _ in range(times))


def costs(times: int) -> dict[str, float]:
    """CPU of a default fit and of predicting 10,000 rows, over those without domain and intervals."""
    X, y = load_tecator(return_X_y=True)
    ids = make_client_ids(y, N_CLIENTS, random_state=0)
    many = np.tile(X, (47, 1))[:10000]
    model = FDRMFLTransformer(random_state=0)

    def fit() -> Any:
        return model.fit(X, y, client_ids=ids)

    spent: list[float] = []

    def timed(ask: Callable[..., Any]) -> Callable[..., Any]:
        def ask_in_time(*told: Any) -> Any:
            start = time.process_time()
            try:
                return ask(*told)
            finally:
                spent.append(time.process_time() - start)

        return ask_in_time

    fit()
    places = (
        *((owner, "__call__") for owner in (MixtureErrorCounts, DistanceCounts)),  # what clients do
        *((fitting, name) for name in ("held_out_counts", "counted_rows")),
        (mixture_fit, "domain_of_mixture"),
    )
    with ExitStack() as replaced:
        for owner, name in places:
            replaced.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, timed(getattr(owner, name)))
        whole = seconds(lambda: [fit() for _ in range(times)], time.process_time)
    plain = least(lambda: model.transform(many), times)
    return {
        "fit": whole / (whole - sum(spent)),
        "predict": least(lambda: model.predict(many), times) / plain,
        "domain": least(lambda: model.domain(many), times) / plain,
        "predict_interval": least(lambda: model.predict_interval(many), times) / plain,
    }


def main() -> None:
    options = parser(__doc__)
    add_corn(options)
    options.add_argument("--repeats", type=int, default=20, help="splits of each set (default: %(default)s)")
    options.add_argument("--times", type=int, default=5, help="least of so many timings (default: %(default)s)")
    options.add_argument("--mapie", action="store_true", help="CV+ beside")
    args = arguments(options, repeats=1, times=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        covered, found = run(args.corn, args.repeats, args.mapie)
        ratios = costs(args.times)
    rows: list[list[Any]] = []
    for name, c in covered.items():
        held = check(c["pooled"], 0.88, at_least=True) == check(c["pooled"], 0.94) == "yes"
        rows += [[f"{name}: coverage, pooled", f"{c['pooled']:.3f}", ".88 to .94", "yes" if held else "NO"]]
        rows += [[f"{name}: worst client", f"{c['worst']:.3f}", ".80", check(c["worst"], 0.8, at_least=True)]]
        if np.isfinite(c["width"]):
            rows += [[f"{name}: median width over CV+", f"{c['width']:.2f}", "1.1", check(c["width"], 1.1)]]
    for name, of_set in found.items():
        for kind, share in of_set.items():
            asked, is_clean = (0.02, True) if kind == "clean" else (0.95, False)
            rows += [[f"{name}: {kind}, outside", f"{share:.3f}", asked, check(share, asked, at_least=not is_clean)]]
    for what, ratio in ratios.items():
        asked = 1.15 if what == "fit" else 1.5
        rows += [[f"CPU of {what}", f"{ratio:.2f}", asked, check(ratio, asked)]]
    print(table(["what", "found", "asked", "reached"], rows))
    save(args.out, "trust", {"coverage": covered, "found": found, "cpu": ratios})


if __name__ == "__main__":
    main()
