"""Held-out errors of each client, and the record as tables."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.data.held_out import Split

rng = np.random.default_rng(11)
X = rng.standard_normal((60, 4))
Y = X[:, 0] + 0.3 * rng.standard_normal(60)
IDS = rng.permutation(np.repeat(["a", "b", "Lone"], [39, 20, 1]))
EARLY = {
    **{"n_rounds": 6, "local_epochs": 1, "hidden_layer_sizes": (4,), "random_state": 0},
    **{"early_stopping": True, "validation_fraction": 0.3, "n_iter_no_change": 50},
}


@pytest.fixture(scope="module")
def model():
    return FDRMFLTransformer(tuning=None, **EARLY).fit(X, Y, client_ids=IDS)


def held_out_rows(model):
    """Rows that each client holds out."""
    for position, label in enumerate(model.clients_):
        mine = np.flatnonzero(label == IDS)
        yield mine[Split(0.3, model._fitted.seed, True).mask(np.arange(len(mine)), position)]


def test_the_error_of_each_client_is_that_on_its_own_rows_held_out(model):
    of_each = model.history_["validation_mse_per_client"]
    assert of_each.shape == (6, 3)
    scale = model._fitted.target.scale
    last = FDRMFLTransformer(tuning=None, **EARLY).fit(X, Y, client_ids=IDS)
    t = last.best_round_ - 1  # predictions are those of the best round's model
    assert t >= 0
    for k, rows in enumerate(held_out_rows(model)):
        if model.clients_[k] == "Lone":
            assert not len(rows) and np.isnan(of_each[:, k]).all()
        else:
            expected = np.mean(((last.predict(X[rows]) - Y[rows]) / scale) ** 2)
            assert_allclose(of_each[t, k], expected, rtol=1e-4)


def test_the_clients_errors_average_to_the_error_of_all(model):
    sizes = np.array([len(rows) for rows in held_out_rows(model)])
    of_each = np.where(sizes > 0, model.history_["validation_mse_per_client"], 0.0)
    assert_allclose(of_each @ sizes / sizes.sum(), model.history_["validation_mse"], rtol=1e-12)


def test_newcomers_have_no_past():
    alone = FDRMFLTransformer(tuning=None, **EARLY, learning_rate=0.01).fit(X, Y, client_ids=IDS)
    alone.partial_fit(X[:8], Y[:8], client_ids=["new"] * 8)
    after = alone.history_["validation_mse_per_client"]
    assert after.shape == (7, 4)
    assert np.isnan(after[:, 3]).all() and np.isnan(after[6]).all()
    assert np.isnan(alone.history_["mse_per_client"][6, :3]).all() and alone.history_["mse_per_client"][6, 3] > 0


def test_without_rows_held_out_there_are_none():
    plain = FDRMFLTransformer(n_rounds=1, random_state=0, tuning=None).fit(X, Y, client_ids=IDS)
    assert "validation_mse_per_client" not in plain.history_


def test_what_a_client_answers_about_rows_held_out_is_seen_by_itself(model):
    assert {m.seen for m in model.federation_log_ if m.what == "errors on rows held out"} == {"each"}


def test_tables_say_what_the_history_says(model):
    frame = pd.DataFrame(model.history_frame_)
    assert frame["round"].tolist() == [1, 2, 3, 4, 5, 6]
    assert_array_equal(frame["validation_mse"], model.history_["validation_mse"])
    assert set(frame) - {"round"} == {name for name in model.history_ if not name.endswith("_per_client")}
    long = pd.DataFrame(model.client_history_frame_)
    assert len(long) == 18
    wide = long.pivot(index="round", columns="client", values="mse")
    assert_array_equal(wide[model.clients_.tolist()].to_numpy(), model.history_["mse_per_client"])
    assert "validation_mse" in long
