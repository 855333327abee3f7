"""How does the coverage of intervals fall, site by site, when a batch is new?

    python studies/experiments/batches.py    # about 1 minute

Made-up spectra of six batches of 30 rows, each with an offset and a gain of its own, learned as six clients; intervals
of nominally 90 % for new rows of these batches, and of ten new ones whose offsets and gains are drawn with the known
ones' deviation times 0, 1, 2, 4. And Corn: two instruments learned, the third new.
"""

from __future__ import annotations

import warnings

import numpy as np
from _experiment import COLOURS, add_corn, arguments, finish, note, options, rmse

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.datasets import fetch_corn

NAME = "experiment_batches"
AXIS = np.linspace(0, 1, 60)
PEAKS = np.exp(-(((AXIS - np.array([0.25, 0.5, 0.75])[:, None]) / 0.12) ** 2))  # (3, columns)


def spectra(n: int, spread: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Rows of one batch, and y; `spread` is the deviation of its offset and log gain."""
    amounts = rng.uniform(0, 1, (n, 3))
    offset, gain = spread * rng.standard_normal(2)
    X = np.exp(gain) * amounts @ PEAKS + offset + 0.01 * rng.standard_normal((n, len(AXIS)))
    return X, 10 * amounts[:, 0] + 3 * amounts[:, 0] * amounts[:, 1] + 0.2 * rng.standard_normal(n)


def judged(model: FDRMFLTransformer, X: np.ndarray, y: np.ndarray) -> tuple[float, float, float, float]:
    """Share of rows covered, of rows not covered that are outside the domain, of all rows outside; RMSE."""
    low, high = model.predict_interval(X, confidence=0.9).T
    covered, outside = (low <= y) & (y <= high), ~np.asarray(model.domain(X)["inside"])
    caught = float(outside[~covered].mean()) if (~covered).any() else float("nan")
    return float(covered.mean()), caught, float(outside.mean()), rmse(y, model.predict(X))


def made_up(repeat: int, spread: float, factors: tuple[float, ...]) -> dict[str, list]:
    """Coverage of known batches and of ten new ones, by how far out they are drawn."""
    rng = np.random.default_rng(repeat)
    sites = [np.random.default_rng([repeat, site]) for site in range(6)]
    known = [spectra(60, spread, of_site) for of_site in sites]
    X, y = (np.concatenate([batch[i][:30] for batch in known]) for i in (0, 1))
    model = FDRMFLTransformer(random_state=repeat).fit(X, y, client_ids=np.repeat(np.arange(6), 30))
    found = {"known": [judged(model, X[30:], y[30:]) for X, y in known]}
    for factor in factors:
        found[f"new, {factor:g} x"] = [judged(model, *spectra(30, spread * factor, rng)) for _ in range(10)]
    return found


def corn(path, target: str, repeat: int) -> dict[str, list]:
    """Coverage of the two known instruments' held-out samples and of the new one's."""
    sets = {name: fetch_corn(path, target=target, instrument=name) for name in ("m5", "mp5", "mp6")}
    order = np.random.default_rng(repeat).permutation(80)
    train, test = order[:60], order[60:]
    X = np.concatenate([sets[name].data[train] for name in ("m5", "mp5")])
    y = np.concatenate([sets[name].target[train] for name in ("m5", "mp5")])
    model = FDRMFLTransformer(random_state=repeat)
    model.fit(X, y, client_ids=np.repeat(["m5", "mp5"], 60), groups=np.tile(train, 2))
    known = [judged(model, sets[name].data[test], sets[name].target[test]) for name in ("m5", "mp5")]
    return {"known": known, "new": [judged(model, sets["mp6"].data[test], sets["mp6"].target[test])]}


def main() -> None:
    args = options(__doc__, NAME, 10)
    add_corn(args)
    args = arguments(args, repeats=1)
    warnings.simplefilter("ignore")  # rows outside the domain, which is what is measured
    found: dict[tuple[str, str], list] = {}
    for repeat in range(args.repeats):
        runs = [(f"batches that differ by {s}", made_up(repeat, s, (0.0, 1.0, 2.0, 4.0))) for s in (0.02, 0.1)]
        for target in () if args.smallest else ("moisture", "protein"):
            try:
                runs.append((f"Corn {target}, mp6 new", corn(args.corn, target, repeat)))
            except (OSError, ValueError) as error:
                note(f"Corn is left out: {error}")
        for name, of_run in runs:
            for batches, judgements in of_run.items():
                found.setdefault((name, batches), []).extend(judgements)
        note(f"repeat {repeat}")
    rows = []
    for (name, batches), judgements in found.items():
        covered, caught, outside, error = np.array(judgements).T
        per_repeat = covered.reshape(args.repeats, -1)
        worst = float(per_repeat.min(1).mean())
        rows.append((name, batches, float(covered.mean()), worst, float(outside.mean())))
        rows[-1] += (float(np.nanmean(caught)) if np.isfinite(caught).any() else float("nan"), float(np.median(error)))

    def draw(axes: list) -> None:
        names = list(dict.fromkeys(row[0] for row in rows))
        for ax, at, label in ((axes[0], 2, "covered, mean over batches"), (axes[1], 3, "covered, worst batch")):
            for name, colour in zip(names, COLOURS, strict=False):
                mine = [row for row in rows if row[0] == name]
                ax.plot(
                    [row[1].replace(", ", "\n") for row in mine],
                    [row[at] for row in mine],
                    "o-",
                    color=colour,
                    label=name,
                )
            ax.axhline(0.9, color="#333333", linewidth=0.8, linestyle="--")
            ax.set(ylabel=label, ylim=(0, 1))
            ax.tick_params(axis="x", labelsize=8)
        axes[1].legend(fontsize=7)

    header = ("data", "batches", "covered", "worst", "outside", "of uncovered outside", "median rmse")
    finish(args, NAME, header, rows, draw, 2)


if __name__ == "__main__":
    main()
