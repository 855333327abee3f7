"""What goes with what: each cell of the table in docs/clients.md is a fit that works, or an error that says why."""

import re
from pathlib import Path

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV

from skfdrmfl import FDRMFLTransformer

PAGE = Path(__file__).resolve().parents[1] / "docs" / "clients.md"
PRIVATE = {
    "preprocessing": "standardize",
    "dp_noise_multiplier": 1.0,
    "dp_clip_norm": 0.5,
    "dp_bounds": {"X": (-5.0, 5.0), "y": (-5.0, 5.0)},
}
FEATURES = {
    "scaffold": {"algorithm": "scaffold"},
    "fedavgm, fedadam": {"algorithm": "fedadam"},
    "fedprox": {"algorithm": "fedprox"},
    "fedsgd": {"algorithm": "fedsgd"},
    "rule": {"aggregation": "median"},
    "nnm": {"preaggregation": "nnm", "n_byzantine": 1},
    "privacy": PRIVATE,
    "early_stopping": {"early_stopping": True},
    "tuning": {"tuning": "auto"},
    "availability": {"availability": lambda round_, client: client != "b" or round_ > 1},
    "input_l1": {"input_l1": 0.01},
    "missing modalities": {"modalities": {"a": [0, 1, 2], "b": [3, 4]}},
    "partial_fit": {},
    "search": {},
    "checkpoint": {},
}


def read_table():
    """The cells of the table: (row, column) to what stands there."""
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    start = next(i for i, line in enumerate(lines) if "| scaffold |" in line)
    header = [cell.strip() for cell in lines[start].strip("|").split("|")]
    cells = {}
    for line in lines[start + 1 :]:
        name, *values = (cell.strip() for cell in line.strip("|").split("|"))
        if name in FEATURES:
            cells |= {(name, column): value for column, value in zip(header[1:], values, strict=True) if value}
    return cells


CELLS = read_table()


def test_the_table_has_every_pair():
    names = list(FEATURES)
    exclusive = {*names[:4]}  # one algorithm at a time
    pairs = {(a, b) for i, a in enumerate(names) for b in names[:i] if not {a, b} <= exclusive}
    assert set(CELLS) == pairs


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
    model = FDRMFLTransformer(**parameters)
    if "search" in names:
        search = GridSearchCV(model, {"learning_rate": [0.01, 0.02]}, cv=2, error_score="raise")
        search.fit(X, y, client_ids=ids)
        model = search.best_estimator_
        if "partial_fit" in names:
            model.partial_fit(X, y, client_ids=ids)
    elif "partial_fit" in names:
        model.partial_fit(X, y, client_ids=ids).partial_fit(X, y, client_ids=ids)
    else:
        model.fit(X, y, client_ids=ids)
    assert np.isfinite(model.predict(X)).all()
    assert model.n_rounds_ >= (0 if "tuning" in names else 1)


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
