"""What goes with what: each pair is in a fit that works, or is one that docs/clients.md refuses and an error says why.

What algorithms cannot go with is what they declare.
"""

import re
from collections import Counter
from itertools import product
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
# What algorithms declare that they cannot go with, by the row it is of; and other pairs that are refused.
DECLARED = {"rule": ROBUST_RULES, "nnm": ROBUST_RULES, "privacy": PRIVACY, "input_l1": INPUT_L1}
REFUSED = {
    *[("privacy", name) for name in ("rule", "nnm")],
    *[("early_stopping", "privacy"), ("availability", "privacy"), ("missing modalities", "privacy")],
    *[("availability", "early_stopping"), ("checkpoint", "search")],
}


def is_refused(row, column):
    """Whether two features are said not to go together."""
    declared = column in OF_ALGORITHMS and row in DECLARED and DECLARED[row] in ALGORITHMS[column].refuses
    return declared or (row, column) in REFUSED


def pairs():
    """All pairs of features: one algorithm at a time, and each pair once."""
    names = list(FEATURES)
    return [(a, b) for i, a in enumerate(names) for b in names[:i] if a not in OF_ALGORITHMS]


PAIRS = pairs()


def covering():
    """Features that go together, as many at once as do; each pair that is not refused is in one of these."""
    goes = {frozenset(pair) for pair in PAIRS if not is_refused(*pair)}
    left = set(goes)
    while left:
        chosen = min(sorted(pair, key=list(FEATURES).index) for pair in left)
        news = Counter(name for pair in left for name in pair)
        for name in sorted(FEATURES, key=news.__getitem__, reverse=True):
            pairs_of = {frozenset((name, other)) for other in chosen}
            if pairs_of <= goes and pairs_of & left:
                chosen.append(name)
        yield chosen
        left = {pair for pair in left if not pair <= set(chosen)}


def test_the_page_has_every_feature_every_refusal_and_a_reason():
    section = PAGE.read_text(encoding="utf-8").partition("## What goes with what")[2]
    assert [name for name in FEATURES if name not in OF_ALGORITHMS and name not in section.partition("|")[0]] == []
    _, *rows = re.findall(r"^\| (.+) \| (.+) \| (.+) \|$", section, re.MULTILINE)
    found = [frozenset(pair) for these, those, _ in rows for pair in product(these.split(", "), those.split(", "))]
    assert Counter(found) == Counter(frozenset(pair) for pair in PAIRS if is_refused(*pair))


def run(names, path):
    """Fit with several features at once."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(40, 5))
    y = X[:, 0] - X[:, 3] + 0.1 * rng.normal(size=40)
    ids = np.resize(list("abcde"), 40)
    parameters = {"n_rounds": 2, "local_epochs": 1, "random_state": 0}
    for name in names:
        parameters |= FEATURES[name]
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


@pytest.mark.sampled(3)
@pytest.mark.parametrize("names", list(covering()), ids=" x ".join)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_is_not_refused_fits(names, tmp_path):
    run(names, tmp_path / "fit.npz")


@pytest.mark.parametrize("pair", [pair for pair in PAIRS if is_refused(*pair)], ids=" x ".join)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_pair_that_is_refused_is_an_error_with_a_remedy(pair, tmp_path):
    with pytest.raises(ValueError) as error:
        run(pair, tmp_path / "fit.npz")
    assert "use " in str(error.value) or "set " in str(error.value) or ";" in str(error.value), error.value
