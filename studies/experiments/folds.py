"""Is a mixture's weight stable under another numbering of folds?

    python studies/experiments/folds.py    # about 2 minutes

One set of training rows, clients and seeds; what changes is the order in which clients deal their rows to inner folds.
Beside it: other seeds of the networks, the folds as they are. Weights of families of members, and the error on rows
held out from all of it.
"""

from __future__ import annotations

from dataclasses import replace
from unittest.mock import patch

import numpy as np
from _experiment import COLOURS, add_corn, arguments, finish, note, options, rmse, tecator
from sklearn.datasets import load_diabetes

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.data.held_out import Fold
from skfdrmfl.datasets import fetch_corn, make_client_ids

NAME = "experiment_folds"
MASK = Fold.mask


def numbered(number: int):
    """Let clients deal rows to folds in another order."""
    return patch.object(Fold, "mask", lambda self, *rows: MASK(replace(self, seed=self.seed + 7919 * number), *rows))


def cases(args) -> dict:
    """Rows, y and groups to train on, and rows and y to test on."""
    found = {}
    for target in ("fat", "water", "protein"):
        X, y, groups, train, test = tecator(0, target)
        found[f"Tecator {target}"] = (X[train], y[train], groups[train], X[test], y[test])
    X, y = load_diabetes(return_X_y=True)
    found["diabetes"] = (X[::2], y[::2], None, X[1::2], y[1::2])
    for target in ("moisture", "oil"):
        try:
            corn = fetch_corn(args.corn, target=target)
        except (OSError, ValueError) as error:
            note(f"Corn is left out: {error}")
            break
        order = np.random.default_rng(0).permutation(80)
        train, test = order[:64], order[64:]
        found[f"Corn {target}"] = (corn.data[train], corn.target[train], None, corn.data[test], corn.target[test])
    return found


def main() -> None:
    args = options(__doc__, NAME, 10)
    add_corn(args)
    args = arguments(args, repeats=2)
    rows = []
    shown: dict[str, list[dict[str, float]]] = {}
    for name, (X, y, groups, X_test, y_test) in list(cases(args).items())[: 1 if args.smallest else None]:
        ids = make_client_ids(y, 3, random_state=0)
        for what in ("folds", "seed"):
            weights, errors = [], []
            for repeat in range(args.repeats):
                model = FDRMFLTransformer(random_state=repeat if what == "seed" else 0)
                same = patch.object(Fold, "mask", lambda self, *mine: MASK(replace(self, seed=0), *mine))
                with numbered(repeat) if what == "folds" else same:
                    model.fit(X, y, client_ids=ids, groups=groups)
                members = [m for m in model.members_ if m["name"] != "mixture"]
                weights.append({f"{m['name']} ({m['view']})": float(np.ravel(m["weight"])[0]) for m in members})
                errors.append(rmse(y_test, model.predict(X_test)))
            names = sorted({n for of in weights for n in of})
            of_each = np.array([[of.get(n, 0.0) for n in names] for of in weights])
            networks = of_each[:, ["network" in n for n in names]].sum(1)
            heaviest = int(of_each.mean(0).argmax())
            spread = of_each.std(0, ddof=1)
            heavy = names[heaviest], float(of_each[:, heaviest].mean()), float(spread[heaviest])
            rows.append(
                (name, what, *heavy, float(networks.mean()), float(networks.std(ddof=1)), float(np.mean(errors)))
            )
            rows[-1] += (float(np.std(errors, ddof=1) / np.mean(errors)),)
            note(f"{rows[-1]}")
            shown[f"{name}|{what}"] = [{"networks": n, "error": e} for n, e in zip(networks, errors, strict=True)]

    def draw(axes: list) -> None:
        for ax, key, label in zip(
            axes, ("networks", "error"), ("weight of all networks", "error over its mean"), strict=True
        ):
            ticks = list(dict.fromkeys(row[0] for row in rows))
            for i, name in enumerate(ticks):
                for shift, what, colour in ((-0.12, "folds", COLOURS[0]), (0.12, "seed", COLOURS[1])):
                    values = np.array([one[key] for one in shown[f"{name}|{what}"]])
                    values = values / values.mean() if key == "error" else values
                    ax.plot(
                        np.full(len(values), i + shift),
                        values,
                        "o",
                        ms=3.5,
                        color=colour,
                        label=what if i == 0 else None,
                    )
            ax.set_xticks(range(len(ticks)), [t.replace(" ", "\n") for t in ticks], fontsize=7)
            ax.set_ylabel(label)
            ax.legend(fontsize=8, title="another", title_fontsize=8)

    header = (
        "data",
        "another",
        "heaviest member",
        "its weight",
        "sd",
        "networks",
        "sd of that",
        "rmse",
        "sd over mean",
    )
    finish(args, NAME, header, rows, draw, 2)


if __name__ == "__main__":
    main()
