"""The default transformer, a mixture, in scikit-learn's tools and on others' tables."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import Pipeline

from skfdrmfl import FDRMFLTransformer

N, P = 60, 20
rng = np.random.default_rng(5)
LATENT = rng.standard_normal((N, 2))
X = rng.uniform(1, 2, (N, 1)) * (3 + LATENT @ np.sin(np.arange(P) / np.array([[3.0], [4.0]])))
X += 0.02 * rng.standard_normal((N, P))
Y = LATENT[:, 0] + 0.5 * LATENT[:, 1] ** 2 + 0.1 * rng.standard_normal(N)
IDS = np.array(list("abc"))[np.arange(N) % 3]
NAMES = [f"w{j}" for j in range(P)]


def make(**changes):
    return FDRMFLTransformer(**({"n_rounds": 3, "local_epochs": 1, "random_state": 0} | changes))


@pytest.fixture(scope="module")
def model():
    return make().fit(X, Y, client_ids=IDS)


def rmse(estimator, rows):
    return np.sqrt(np.mean(np.square(estimator.predict(X[rows]) - Y[rows])))


@pytest.mark.slow
def test_a_search_over_tuning_and_pretreatment_is_a_loop_over_fits():
    grid = [{"tuning": ["mixture"], "pretreatment": ["auto", "snv"]}, {"tuning": [None], "pretreatment": ["snv"]}]
    cv = KFold(2, shuffle=True, random_state=0)
    search = GridSearchCV(make(), grid, cv=cv, scoring="neg_root_mean_squared_error", error_score="raise")
    search.fit(X, Y, client_ids=IDS)
    for i, parameters in enumerate(search.cv_results_["params"]):
        train, test = next(cv.split(X))
        fitted = make(**parameters).fit(X[train], Y[train], client_ids=IDS[train])
        assert_allclose(-search.cv_results_["split0_test_score"][i], rmse(fitted, test), rtol=1e-12)
    assert len(set(search.cv_results_["mean_test_score"])) == 3
    best = search.best_params_
    assert_array_equal(search.predict(X), make(**best).fit(X, Y, client_ids=IDS).predict(X))


@pytest.mark.slow
def test_a_search_over_a_pipeline_takes_every_kind_of_pretreatment():
    pipeline = Pipeline([("reduce", FDRMFLTransformer(random_state=0)), ("ridge", Ridge())])
    grid = {"reduce__tuning": ["mixture", None], "reduce__pretreatment": ["auto", None, "snv"]}
    grid = [grid, {"reduce__pretreatment": [["sg1", "snv+sg1"]]}]  # a list is of mixtures alone
    search = GridSearchCV(pipeline, grid, cv=2, error_score="raise").fit(X, Y, reduce__client_ids=IDS)
    scores = search.cv_results_["mean_test_score"]
    tunings = [parameters.get("reduce__tuning", "mixture") for parameters in search.cv_results_["params"]]
    of_mixtures = [tuning == "mixture" for tuning in tunings]
    assert (scores[of_mixtures] > 0.5).all() and np.isfinite(scores).all()
    best = search.best_estimator_
    assert_array_equal(clone(best).fit(X, Y, reduce__client_ids=IDS).predict(X), best.predict(X))


@pytest.mark.sampled(2)
@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_z_comes_as_the_frame_that_is_asked_for(model, library):
    frame = {"pandas": pd.DataFrame, "polars": pl.DataFrame}[library](dict(zip(NAMES, X.T, strict=True)))
    Z = make().set_output(transform=library).fit_transform(frame, Y, client_ids=IDS)
    assert type(Z).__module__.startswith(library)
    assert list(Z.columns) == ["fdrmfltransformer0", "fdrmfltransformer1"]
    assert_array_equal(Z.to_numpy(), model.transform(X))
    if library == "pandas":
        indexed = frame.set_index(np.arange(N) + 100)
        named = make().set_output(transform="pandas").fit(indexed, Y, client_ids=IDS)
        assert named.transform(indexed).index.tolist() == [*range(100, 160)]


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("table", "y"),
    [
        (X.tolist(), Y.tolist()),
        (np.asfortranarray(X), pd.Series(Y, index=np.arange(N)[::-1])),
        (pl.DataFrame(X), pl.Series("fat", Y)),
        (X.astype(object), Y.astype(">f8")),
    ],
    ids=["lists", "series", "polars", "object"],
)
def test_the_container_changes_nothing(model, table, y):
    other = make().fit(table, y, client_ids=IDS)
    assert_array_equal(other.predict(table), model.predict(X))
    assert list(other.members_) == list(model.members_)


@pytest.mark.slow
def test_rows_in_single_precision_give_z_in_it_and_the_same_to_its_digits(model):
    narrow, y = X.astype(np.float32), Y.astype(np.float32)
    single, double = make().fit(narrow, y, client_ids=IDS), make().fit(narrow.astype(float), Y, client_ids=IDS)
    assert single.transform(narrow).dtype == single.fit_transform(narrow, y, client_ids=IDS).dtype == np.float32
    assert model.transform(narrow).dtype == np.float32 and model.transform(X).dtype == np.float64
    assert_allclose(single.predict(narrow), double.predict(narrow), atol=1e-3 * Y.std())
    assert_allclose(model.transform(narrow), model.transform(X), atol=1e-3)
    for one, other in zip(single.members_, double.members_, strict=True):
        assert one["name"] == other["name"] and one["weight"] == pytest.approx(other["weight"], abs=1e-3)
