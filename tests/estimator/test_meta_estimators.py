"""What clients reach through scikit-learn's meta-estimators and tools: every fit inside, or an error, never silence.

Each tool is tried with labels by keyword and in a column of an array and of a DataFrame, with metadata routing off and
on. docs/recipes.md shows the table.
"""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.ensemble import AdaBoostRegressor, BaggingRegressor, StackingRegressor, VotingRegressor
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.feature_selection import RFE, RFECV, SelectFromModel, SequentialFeatureSelector
from sklearn.frozen import FrozenEstimator
from sklearn.inspection import PartialDependenceDisplay, permutation_importance
from sklearn.linear_model import Ridge
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    HalvingRandomSearchCV,
    LearningCurveDisplay,
    RandomizedSearchCV,
    ValidationCurveDisplay,
    cross_val_predict,
    cross_val_score,
    cross_validate,
    learning_curve,
    permutation_test_score,
    validation_curve,
)
from sklearn.multioutput import MultiOutputRegressor, RegressorChain
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_html_repr

from skfdrmfl import FDRMFLTransformer, IgnoreClients

pytestmark = pytest.mark.slow

N, P = 48, 4
rng = np.random.default_rng(0)
TABLE = rng.standard_normal((N, P))
Y = TABLE[:, 0] - TABLE[:, 1] + 0.1 * rng.standard_normal(N)
TWO = np.column_stack([Y, TABLE[:, 2] - Y])
CODES = np.arange(N) % 3  # each part of a split has all three
SITES = np.array(["north", "south", "west"])[CODES]
GRID = {"mi_weight": [0.0, 0.01]}


class Witness(FDRMFLTransformer):
    """Remembers whose rows each of its fits had."""

    seen: list[list] = []

    def fit(self, X, y, client_ids=None, groups=None):
        super().fit(X, y, client_ids, groups)
        self.seen.append([] if self._fitted.central else self.clients_.tolist())
        return self


def witness(column=None):
    options = {"n_rounds": 2, "local_epochs": 1, "hidden_layer_sizes": (4,), "modality_dim": 3, "random_state": 0}
    return Witness(client_column=column, tuning=None, **options)


FRAME = pd.DataFrame(TABLE, columns=[f"v{j}" for j in range(P)])
FRAME.insert(0, "site", SITES)
# How labels come: the estimator, X, and what is passed to `fit`.
WAYS = {
    "keyword": (witness(), TABLE, {"client_ids": CODES}),
    "array": (witness(0), np.insert(TABLE, 0, CODES, axis=1), {}),
    "frame": (witness("site"), FRAME, {}),
}


def routing():
    return sklearn.get_config()["enable_metadata_routing"]


def to_step(params):
    return params if routing() else {f"r__{name}": value for name, value in params.items()}


def fitted(tool):
    return lambda m, X, p: tool(m).fit(X, Y, **p)


def of_two(tool):
    return lambda m, X, p: tool(m).fit(X, TWO, **p)


def displayed(display, **options):
    def draw(m, X, p):
        shown = display(m, X, Y, cv=2, error_score="raise", **options, **({"params": p} if p else {}))
        plt.close("all")
        return shown.test_scores

    return draw


def set_output(m, X, p):
    z = clone(m).set_output(transform="pandas").fit(X, Y, **p).transform(X)
    assert list(z.columns) == ["witness0", "witness1"]
    return z


def permuted(m, X, p):
    model = clone(m).fit(X, Y, **p)
    found = permutation_importance(model, X, Y, n_repeats=2, random_state=0).importances
    assert not p or len(found) == P
    assert p or not found[0].any()  # of the column of labels


def dependence(m, X, p):
    PartialDependenceDisplay.from_estimator(clone(m).fit(X, Y, **p), X, [1, (1, 2)], grid_resolution=4)
    plt.close("all")


# Each does with an estimator, X and parameters of `fit` what a user would; a result is compared between the ways.
TOOLS = {
    "Pipeline": lambda m, X, p: Pipeline([("r", m), ("last", Ridge())]).fit(X, Y, **to_step(p)).predict(X),
    "ColumnTransformer": lambda m, X, p: ColumnTransformer([("r", m, slice(0, None))]).fit(X, Y, **p).transform(X),
    "FeatureUnion": lambda m, X, p: FeatureUnion([("r", m)]).fit(X, Y, **p).transform(X),
    "GridSearchCV": lambda m, X, p: (
        GridSearchCV(m, GRID, cv=2, error_score="raise").fit(X, Y, **p).cv_results_["mean_test_score"]
    ),
    "RandomizedSearchCV": fitted(
        lambda m: RandomizedSearchCV(m, GRID, n_iter=1, cv=2, error_score="raise", random_state=0)
    ),
    "HalvingGridSearchCV": fitted(
        lambda m: HalvingGridSearchCV(m, GRID, cv=2, factor=2, min_resources=24, error_score="raise", random_state=0)
    ),
    "HalvingRandomSearchCV": fitted(
        lambda m: HalvingRandomSearchCV(m, GRID, cv=2, factor=2, min_resources=24, error_score="raise", random_state=0)
    ),
    "cross_validate": lambda m, X, p: cross_validate(m, X, Y, cv=2, params=p, error_score="raise")["test_score"],
    "cross_val_score": lambda m, X, p: cross_val_score(m, X, Y, cv=2, params=p, error_score="raise"),
    "cross_val_predict": lambda m, X, p: cross_val_predict(m, X, Y, cv=2, params=p),
    "learning_curve": lambda m, X, p: learning_curve(m, X, Y, cv=2, params=p, train_sizes=[0.5, 1.0])[2],
    "LearningCurveDisplay": displayed(LearningCurveDisplay.from_estimator, train_sizes=[0.5, 1.0]),
    "validation_curve": lambda m, X, p: validation_curve(
        m, X, Y, cv=2, params=p, param_name="mi_weight", param_range=[0.0, 0.01]
    )[1],
    "ValidationCurveDisplay": displayed(
        ValidationCurveDisplay.from_estimator, param_name="mi_weight", param_range=[0.0, 0.01]
    ),
    "permutation_test_score": lambda m, X, p: permutation_test_score(
        m, X, Y, cv=2, params=p, n_permutations=1, random_state=0
    )[0],
    "permutation_importance": permuted,
    "PartialDependenceDisplay": dependence,
    "StackingRegressor": lambda m, X, p: StackingRegressor([("a", m)], Ridge(), cv=2).fit(X, Y, **p).predict(X),
    "VotingRegressor": lambda m, X, p: VotingRegressor([("a", m)]).fit(X, Y, **p).predict(X),
    "BaggingRegressor": lambda m, X, p: BaggingRegressor(m, 2, random_state=0).fit(X, Y, **p).predict(X),
    "AdaBoostRegressor": lambda m, X, p: AdaBoostRegressor(m, n_estimators=2, random_state=0).fit(X, Y, **p).predict(X),
    "TransformedTargetRegressor": lambda m, X, p: (
        TransformedTargetRegressor(m, transformer=StandardScaler()).fit(X, Y, **p).predict(X)
    ),
    "MultiOutputRegressor": of_two(MultiOutputRegressor),
    "RegressorChain": of_two(RegressorChain),
    "SelectFromModel": lambda m, X, p: (
        SelectFromModel(m, max_features=2, threshold=-np.inf).fit(X, Y, **p).transform(X)
    ),
    "RFE": fitted(lambda m: RFE(m, n_features_to_select=2)),
    "RFECV": fitted(lambda m: RFECV(m, cv=2, min_features_to_select=3)),
    "SequentialFeatureSelector": fitted(lambda m: SequentialFeatureSelector(m, n_features_to_select=1, cv=2)),
    "FrozenEstimator": lambda m, X, p: FrozenEstimator(clone(m).fit(X, Y, **p)).fit(X, Y).transform(X),
    "IgnoreClients, a column inside": lambda m, X, p: IgnoreClients(m).fit(X, Y, **p).transform(X),
    "set_output": set_output,
    "clone": lambda m, X, p: clone(clone(m).fit(X, Y, **p)).fit(X, Y, **p).predict(X),
    "pickle": lambda m, X, p: pickle.loads(pickle.dumps(clone(m).fit(X, Y, **p))).predict(X),
    "estimator_html_repr": lambda m, X, p: estimator_html_repr(clone(m).fit(X, Y, **p)) and None,
}
ONLY_ROUTED = (ValueError, "only supported if|enable_metadata_routing=True")
LOST_NAMES = (ValueError, "has no column names where it arrives")
NUMBERS_ONLY = (ValueError, "could not convert string to float")
DROPPED = (ValueError, "which is no label|All the 2 fits failed")
# Where clients cannot come, an error says so: (tool, way, routing; None: both).
REFUSED = {
    ("ColumnTransformer", "keyword", False): ONLY_ROUTED,
    ("LearningCurveDisplay", "keyword", None): (TypeError, "unexpected keyword argument 'params'"),
    ("ValidationCurveDisplay", "keyword", None): (TypeError, "unexpected keyword argument 'params'"),
    ("StackingRegressor", "keyword", False): ONLY_ROUTED,
    ("StackingRegressor", "keyword", True): (TypeError, "Ridge.fit.. got an unexpected keyword argument 'client_ids'"),
    ("VotingRegressor", "keyword", False): ONLY_ROUTED,
    ("BaggingRegressor", "keyword", False): ONLY_ROUTED,
    ("BaggingRegressor", "frame", None): LOST_NAMES,
    ("AdaBoostRegressor", "keyword", None): (TypeError, "unexpected keyword argument 'client_ids'"),
    ("AdaBoostRegressor", "frame", None): LOST_NAMES,
    ("RegressorChain", "frame", None): NUMBERS_ONLY,
    ("RFE", "array", None): DROPPED,
    ("RFE", "frame", None): NUMBERS_ONLY,
    ("RFECV", "keyword", False): ONLY_ROUTED,
    ("RFECV", "array", None): DROPPED,
    ("RFECV", "frame", None): NUMBERS_ONLY,
    ("SequentialFeatureSelector", "keyword", False): ONLY_ROUTED,
    ("SequentialFeatureSelector", "array", None): DROPPED,
    ("SequentialFeatureSelector", "frame", None): NUMBERS_ONLY,
    ("IgnoreClients, a column inside", "keyword", None): (AssertionError, "without clients"),
}


def use(tool, way, routed):
    """Return a tool's result; AssertionError where a fit inside had other clients than all three."""
    model, X, params = WAYS[way]
    Witness.seen.clear()
    with sklearn.config_context(enable_metadata_routing=routed):
        result = TOOLS[tool](clone(model), X, params)
    expected = (SITES if way == "frame" else CODES)[:3].tolist()
    assert Witness.seen and all(seen == expected for seen in Witness.seen), "a fit without clients"
    return np.asarray(result, dtype=float) if isinstance(result, (np.ndarray, float)) else None


def refusal(tool, way, routed):
    return REFUSED.get((tool, way, routed)) or REFUSED.get((tool, way, None))


@pytest.mark.parametrize("routed", [False, True], ids=["routing off", "routing on"])
@pytest.mark.parametrize("tool", TOOLS)
def test_clients_reach_every_fit_inside_or_an_error_says_that_they_do_not(tool, routed):
    results = []
    for way in WAYS:
        if refused := refusal(tool, way, routed):
            with pytest.raises(refused[0], match=refused[1]):
                use(tool, way, routed)
        else:
            results.append(use(tool, way, routed))
    for result in results[1:]:
        if result is not None:
            assert_allclose(result, results[0], rtol=1e-6)


def test_every_tool_has_a_way():
    for tool in TOOLS:
        assert any(refusal(tool, way, True) is None for way in WAYS), tool


def test_a_column_of_a_frame_given_by_position_survives_where_names_are_lost():
    for tool in ("BaggingRegressor", "AdaBoostRegressor"):
        Witness.seen.clear()
        TOOLS[tool](witness(0), FRAME, {})
        assert Witness.seen == 2 * [["north", "south", "west"]]


def test_select_from_model_hands_on_the_columns_of_measurements_alone():
    model, X, _ = WAYS["frame"]
    selected = SelectFromModel(clone(model), max_features=P, threshold=-np.inf).fit(X, Y).get_support(indices=True)
    assert_array_equal(selected, np.arange(1, P + 1))


def test_the_page_has_every_tool_that_does_not_take_clients_in_every_way():
    def cell(tool, way):
        off, on = (refusal(tool, way, routed) is None for routed in (False, True))
        return {(True, True): "yes", (False, True): "routing on", (False, False): "no"}[off, on]

    page = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text(encoding="utf-8")
    shown = {}
    for line in page.splitlines():
        if line.startswith("| `"):
            tools, *cells = (entry.strip() for entry in line.split("|")[1:5])
            for tool in re.findall(r"`([^`]+)`", tools):
                assert tool not in shown, tool
                shown[tool] = cells
    found = {tool: [cell(tool, way) for way in WAYS] for tool in TOOLS}
    assert shown == {tool: cells for tool, cells in found.items() if set(cells) != {"yes"}}
