"""A search whose trainings run on a dask cluster is the same search."""

import logging
import os

import pytest
from joblib import parallel_config
from test_model_selection import DIVIDED_GRID, IDS, PIPELINE, X, Y, met, same_results, workers_meet

from skfdrmfl.model_selection import VectorizedGridSearchCV

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def client():
    """A cluster of two workers on this machine, each a process of its own."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=logging.ERROR) as cluster,
        Client(cluster) as client,
    ):
        yield client


@pytest.mark.parametrize("chunk_size", [None, 8])
def test_the_workers_of_a_cluster_train_at_once_and_change_nothing(chunk_size, client, monkeypatch, tmp_path):
    alone = VectorizedGridSearchCV(PIPELINE, DIVIDED_GRID, cv=3).fit(X, Y, reduce__client_ids=IDS)
    workers_meet(monkeypatch, tmp_path)
    with parallel_config("dask"):
        # As in scikit-learn, all workers take part unless told otherwise.
        search = VectorizedGridSearchCV(PIPELINE, DIVIDED_GRID, cv=3, chunk_size=chunk_size)
        search.fit(X, Y, reduce__client_ids=IDS)
    same_results(search, alone)
    processes, _ = met(tmp_path)
    assert processes == set(client.run(os.getpid).values())
    assert len(processes) == 2
    assert os.getpid() not in processes
