"""Ten rows of a new instrument: errors without them, after `adapt`, and with spectra standardised by DS and PDS.

    python benchmarks/adapt.py               # 20 draws; DS and PDS where chemotools is (pip install "skfdrmfl[tools]")

Corn's four targets, fitted to instrument m5 and predicted of mp6 (one model); Tecator's fat, predicted of spectra times
1.1, plus .1, moved by 3 channels with the end held. Rows are dealt to 3 clients. A quarter of the samples is predicted;
of ten of the others the new instrument has measured both spectrum and y. `adapt` knows these alone. DS and PDS take the
same ten samples' spectra on the old instrument too, and the unchanged model predicts what they make of new spectra; of
PDS that of the half-widths 3, 10 and 25 and of two and four components which errs least on the test rows stands here.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from contextlib import suppress
from typing import Any

import numpy as np
from _common import add_corn, arguments, check, parser, save, table
from numpy.typing import NDArray
from sklearn.model_selection import GroupShuffleSplit

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.datasets import fetch_corn, load_tecator, make_client_ids

Float = NDArray[np.float64]
N_ROWS, N_CLIENTS, DRAWS_A_SPLIT = 10, 3, 2
TARGETS = ("moisture", "oil", "protein", "starch")
HOWS = ("auto", "bias", "slope", "input", "head")
HALF_WIDTHS, COMPONENTS = (3, 10, 25), (2, 4)


def moved(X: Float) -> Float:
    """Spectra as another instrument reads them."""
    return 1.1 * np.concatenate((X[:, 3:], np.repeat(X[:, -1:], 3, 1)), 1) + 0.1


def standardised(old: Float, new: Float, later: Float) -> dict[str, list[Float]]:
    """What DS and PDS make of later spectra; nothing without chemotools."""
    try:
        from chemotools.adaptation import DirectStandardization, PiecewiseDirectStandardization
    except ImportError:
        return {}
    of_pds = [PiecewiseDirectStandardization(window_length=w, n_components=n) for w in HALF_WIDTHS for n in COMPONENTS]
    return {
        name: [each.fit(new, X_source=old).transform(later) for each in methods]
        for name, methods in {"DS": [DirectStandardization()], "PDS": of_pds}.items()
    }


def run(corn: Any, draws: int) -> dict[str, dict[str, Float]]:
    """Root mean squared errors (targets,) by set and way, over all draws."""
    tecator = load_tecator()
    m5, mp6 = (fetch_corn(corn, target=TARGETS, instrument=name) for name in ("m5", "mp6"))
    sets = {
        "Corn": (m5.data, mp6.data, m5.target, np.arange(80)),
        "Tecator": (tecator.data, moved(tecator.data), tecator.target[:, None], tecator.groups),
    }
    found = {}
    for name, (old, new, y, groups) in sets.items():
        squares: dict[str, list[Float]] = defaultdict(list)
        n_splits = -(-draws // DRAWS_A_SPLIT)
        for split, (train, test) in enumerate(
            GroupShuffleSplit(n_splits, test_size=0.25, random_state=0).split(old, groups=groups)
        ):
            ids = make_client_ids(y[:, 0], N_CLIENTS, random_state=split)[train]
            model = FDRMFLTransformer(random_state=split).fit(old[train], np.squeeze(y[train]), client_ids=ids)
            for draw in range(min(DRAWS_A_SPLIT, draws - DRAWS_A_SPLIT * split)):
                few = np.random.default_rng([split, draw]).choice(train, N_ROWS, replace=False)
                predicted = {"same instrument": model.predict(old[test]), "without": model.predict(new[test])}
                for how in HOWS:
                    with suppress(ValueError):  # columns that are no spectra, as those made up for the smallest run
                        predicted[how] = model.adapt(new[few], np.squeeze(y[few]), how).predict(new[test])
                for way, versions in standardised(old[few], new[few], new[test]).items():
                    for version, spectra in enumerate(versions):
                        predicted[f"{way} {version}"] = model.predict(spectra)
                for way, y_hat in predicted.items():
                    squares[way].append(((y_hat.reshape(len(test), -1) - y[test]) ** 2).mean(0))
        errors = {way: np.sqrt(np.mean(of_draws, 0)) for way, of_draws in squares.items()}
        found[name] = {way: of for way, of in errors.items() if way[-1].isalpha()}
        for way in ("DS", "PDS"):
            if versions := [of for key, of in errors.items() if key.startswith(f"{way} ")]:
                found[name][way] = np.min(versions, 0)
    return found


def main() -> None:
    options = parser(__doc__)
    add_corn(options)
    options.add_argument("--draws", type=int, default=20, help="draws of ten rows of each set (default: %(default)s)")
    args = arguments(options, draws=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = run(args.corn, args.draws)
    ways = [way for way in found["Tecator"] if way in found["Corn"]]
    rows = []
    for name, errors in found.items():
        for j, target in enumerate(TARGETS if name == "Corn" else ["fat"]):
            rivals = [errors[way][j] for way in ("DS", "PDS") if way in errors]
            asked = min([0.5 * errors["without"][j], *rivals])
            rows.append(
                [f"{name} {target}", *(f"{errors[way][j]:.3f}" for way in ways), check(errors["auto"][j], asked)]
            )
    print(table(["RMSE", *ways, "half, and DS or PDS"], rows))
    if "DS" not in ways:
        print("DS and PDS are missing: they need chemotools and ikpls.")
    save(args.out, "adapt", {name: {way: of.tolist() for way, of in errors.items()} for name, errors in found.items()})


if __name__ == "__main__":
    main()
