"""A search whose fits run on a dask cluster is the same search."""

import logging
import os

import numpy as np
import pytest
from joblib import parallel_config
from numpy.testing import assert_array_equal
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline

from skfdrmfl import FDRMFLTransformer

pytestmark = pytest.mark.slow

rng = np.random.default_rng(0)
X = rng.standard_normal((60, 6)) @ rng.standard_normal((6, 12))
Y = np.sin(X[:, 0]) + X[:, 1] + 0.1 * rng.standard_normal(60)
IDS = np.repeat(["a", "b", "c"], [31, 20, 9])
PIPELINE = Pipeline(
    [("reduce", FDRMFLTransformer(n_rounds=2, local_epochs=1, random_state=0, tuning=None)), ("ridge", Ridge())]
)
GRID = {"reduce__mi_weight": [0.0, 0.1], "reduce__learning_rate": [1e-2, 3e-2], "ridge__alpha": [1e-3, 1.0]}


@pytest.fixture(scope="module")
def client():
    """A cluster of two workers on this machine, each a process of its own."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=logging.ERROR) as cluster,
        Client(cluster) as client,
    ):
        yield client


def process(model, X, y):
    """The process that scores a fit."""
    return os.getpid()


def test_a_search_on_a_cluster_gives_the_scores_of_one_here(client):
    here = GridSearchCV(PIPELINE, GRID, cv=3).fit(X, Y, reduce__client_ids=IDS)
    scoring = {"r2": "r2", "process": process}
    with parallel_config("dask"):
        search = GridSearchCV(PIPELINE, GRID, cv=3, scoring=scoring, refit="r2").fit(X, Y, reduce__client_ids=IDS)
    assert_array_equal(search.cv_results_["mean_test_r2"], here.cv_results_["mean_test_score"])
    assert_array_equal(search.predict(X), here.predict(X))
    scored = {search.cv_results_[f"split{i}_test_process"][j] for i in range(3) for j in range(8)}
    assert scored <= set(client.run(os.getpid).values())
