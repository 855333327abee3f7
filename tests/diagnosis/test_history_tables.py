"""Held-out errors of each client, and the record as tables."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.clients.simulation import LocalTraining
from skfdrmfl.data.held_out import Split
from skfdrmfl.method.objective import record_names, term_names
from skfdrmfl.server.history import Record, Reports, extend_history

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


@pytest.mark.parametrize("name", [3, None, "x", "x_per_client", "_per_client"])
def test_what_is_no_key_is_a_key_error_and_no_other(model, name):
    assert name not in model.history_ and model.history_.get(name) is None
    with pytest.raises(KeyError):
        model.history_[name]


def test_history_has_what_each_participant_reported_and_nothing_of_the_others(monkeypatch):
    told, train = [], LocalTraining.train

    def heard(self, participants, broadcast):
        for update in train(self, participants, broadcast):
            told.append((broadcast.round_index, update.replicas.copy(), np.array(update.losses)))
            yield update

    settings = {"participation": 0.5, "n_rounds": 4, "local_epochs": 1, "random_state": 0, "tuning": None}
    ids = np.arange(60) % 7
    model = FDRMFLTransformer(**settings).fit(X, Y, client_ids=ids)
    monkeypatch.setattr(LocalTraining, "train", heard)
    monkeypatch.setattr(LocalTraining, "average_rounds", lambda *_, **__: None)
    by_rounds = FDRMFLTransformer(**settings).fit(X, Y, client_ids=ids)
    assert len({t for t, _, _ in told}) == 4
    for i, term in enumerate(term_names()):
        expected = np.full((4, 7), np.nan)
        for t, who, losses in told:
            expected[t, who] = losses[:, i]
        for found in (model, by_rounds, pickle.loads(pickle.dumps(model))):
            table = found.history_[f"{term}_per_client"]
            assert_array_equal(table, expected)
            sizes = np.where(np.isnan(table), 0, model.n_samples_per_client_)
            assert_allclose(found.history_[term], (np.nan_to_num(table) * sizes).sum(1) / sizes.sum(1), rtol=1e-12)
    before = pickle.dumps(model)
    dict(model.history_)
    assert pickle.dumps(model) == before  # the tables that were read are not kept


def test_the_history_of_earlier_versions_is_gone_on_with(model):
    old, new = copy.deepcopy(model), copy.deepcopy(model)
    fields = {**vars(old._fitted), "history": dict(old.history_)}
    old._fitted = type(old._fitted)(**fields)
    for each in (old, new):
        each.partial_fit(X[:8], Y[:8], client_ids=["new"] * 8)
    assert list(old.history_) == list(new.history_)
    for name, values in new.history_.items():
        assert_array_equal(old.history_[name], values, err_msg=name)
        assert_array_equal(values[:6, :3] if values.ndim == 2 else values[:6], model.history_[name])


def test_absent_clients_take_no_room():
    reports = Reports(np.array([2, 1]), np.array([5, 900_000, 7]), np.ones((3, len(record_names()))))
    record = Record(reports, np.arange(10**6), np.ones(10**6, dtype=np.int64))
    history = extend_history({}, record, 10**6)
    assert len(pickle.dumps(history)) < 5_000
    assert np.flatnonzero(history["mse_per_client"][0] == 1).tolist() == [5, 900_000]
