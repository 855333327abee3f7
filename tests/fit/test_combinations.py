"""What goes with what: each cell of the table in docs/clients.md is a fit that works, or an error that says why.

What algorithms cannot go with is what they declare. `python tests/fit/test_combinations.py` prints the table.
"""

import re
from pathlib import Path

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.server.algorithms import ALGORITHMS
from skfdrmfl.server.algorithms.base import INPUT_L1, PRIVACY, ROBUST_RULES

PAGE = Path(__file__).resolve().parents[2] / "docs" / "clients.md"
PRIVATE = {
    "preprocessing": "standardize",
    "dp_noise_multiplier": 1.0,
    "dp_clip_norm": 0.5,
    "dp_bounds": {"X": (-5.0, 5.0), "y": (-5.0, 5.0)},
}
IN_ORDER = sorted(ALGORITHMS, key=lambda name: FDRMFLTransformer.__doc__.find(f'"{name}"'))  # of the docstring
OF_ALGORITHMS = {name: {"algorithm": name} for name in IN_ORDER if name != "fedavg"}
FEATURES = {
    **OF_ALGORITHMS,
    "rule": {"aggregation": "median"},
    "nnm": {"preaggregation": "nnm", "n_byzantine": 1},
    "privacy": PRIVATE,
    "early_stopping": {"early_stopping": True},
    "tuning": {"tuning": "mixture"},
    "availability": {"availability": lambda round_, client: client != "b" or round_ > 1},
    "input_l1": {"input_l1": 0.01},
    "missing modalities": {"modalities": {"a": [0, 1, 2], "b": [3, 4]}},
    "partial_fit": {},
    "search": {},
    "checkpoint": {},
}


# Reasons by their number on the page: of what algorithms declare, and of other pairs.
DECLARED = {"rule": (ROBUST_RULES, 7), "nnm": (ROBUST_RULES, 7), "privacy": (PRIVACY, 1), "input_l1": (INPUT_L1, 8)}
REFUSED = {
    **{("privacy", name): 2 for name in ("rule", "nnm")},
    **{(name, "privacy"): 3 for name in ("early_stopping",)},
    ("availability", "privacy"): 4,
    ("missing modalities", "privacy"): 5,
    ("availability", "early_stopping"): 6,
    ("checkpoint", "search"): 9,
}


def cell_of(row, column):
    """What stands in a cell of the table."""
    number = REFUSED.get((row, column))
    if column in OF_ALGORITHMS and row in DECLARED:
        what, reason = DECLARED[row]
        number = reason if what in ALGORITHMS[column].refuses else None
    return "yes" if number is None else f"no [{number}]"


def cells():
    """All cells: (row, column) to what stands there; one algorithm at a time, and each pair once."""
    names = list(FEATURES)
    pairs = ((a, b) for i, a in enumerate(names) for b in names[:i] if a not in OF_ALGORITHMS)
    return {pair: cell_of(*pair) for pair in pairs}


def table():
    """The table as it stands on the page."""
    names, found = list(FEATURES), cells()
    lines = [["with", *names[:-1]], ["---"] * len(names)]
    lines += [[row, *(found.get((row, name), "") for name in names[:-1])] for row in names[len(OF_ALGORITHMS) :]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


CELLS = cells()


def test_the_page_has_the_table():
    assert table() in PAGE.read_text(encoding="utf-8")


def run(row, column, path):
    """Fit with two features at once."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(40, 5))
    y = X[:, 0] - X[:, 3] + 0.1 * rng.normal(size=40)
    ids = np.resize(list("abcde"), 40)
    names = {row, column}
    parameters = {"n_rounds": 2, "local_epochs": 1, "random_state": 0} | FEATURES[row] | FEATURES[column]
    if "checkpoint" in names:
        parameters["checkpoint_path"] = path
    if "missing modalities" in names:
        X[:6, 3:] = np.nan
    model = FDRMFLTransformer(**({"tuning": None} | parameters))
    if "search" in names:
        search = GridSearchCV(model, {"learning_rate": [0.02]}, cv=2, error_score="raise")
        search.fit(X, y, client_ids=ids)
        model = search.best_estimator_
        if "partial_fit" in names:
            model.partial_fit(X, y, client_ids=ids)
    elif "partial_fit" in names:
        model.partial_fit(X, y, client_ids=ids).partial_fit(X, y, client_ids=ids)
    else:
        model.fit(X, y, client_ids=ids)
    assert np.isfinite(model.predict(X)).all()
    assert model.n_rounds_ >= 1


@pytest.mark.parametrize(("row", "column"), CELLS, ids=[" x ".join(pair) for pair in CELLS])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_cell_is_what_happens(row, column, tmp_path):
    cell = CELLS[row, column]
    if cell == "yes":
        run(row, column, tmp_path / "fit.npz")
        return
    (number,) = re.fullmatch(r"no \[(\d+)\]", cell).groups()
    assert re.search(rf"^{number}\. ", PAGE.read_text(encoding="utf-8"), re.M), f"no reason {number} on the page"
    with pytest.raises(ValueError) as error:
        run(row, column, tmp_path / "fit.npz")
    assert "use " in str(error.value) or "set " in str(error.value) or ";" in str(error.value), error.value


if __name__ == "__main__":
    print(table())
