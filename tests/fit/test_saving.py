"""Models in files of their own format: equal bits, no pickle, and a refusal of what the format cannot hold."""

import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import InconsistentVersionWarning, NotFittedError
from torch import nn

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.encoders import Conv1DEncoder, RecurrentEncoder, TorchEncoder
from skfdrmfl.engines.native import library

DATA = Path(__file__).parents[1] / "data"
RNG = np.random.default_rng(0)
X = RNG.standard_normal((60, 9))
Y = X[:, 0] - X[:, 4] ** 2
IDS = np.array(["north", "south", "east"])[np.arange(60) % 3]
HOLES = X.copy()
HOLES[::4, 5:] = np.nan
FRAME = pd.DataFrame(X, columns=[f"c{j}" for j in range(9)]).assign(
    kind=np.where(X[:, 2] > 0, "up", None), flag=X[:, 3] > 0
)
TWO = {"modalities": {"a": slice(0, 5), "b": [5, 6, 7, 8]}}
OPTIONS = {"n_rounds": 3, "local_epochs": 1, "random_state": 0}
CASES = {
    "defaults": (X, {}),
    "float32": (X.astype(np.float32), {}),
    "missing modalities": (HOLES, {**TWO, "fusion": "attention", "modality_dropout": 0.2}),
    "learned variances": (X, {**TWO, "alignment": "diagonal"}),
    "encoders": (
        X,
        {**TWO, "encoders": {"a": Conv1DEncoder(n_channels=(4,), kernel_size=3), "b": RecurrentEncoder((2, 2))}},
    ),
    "categories": (FRAME, {}),
    "early stopping": (X, {"early_stopping": True, "head_hidden_layer_sizes": (4,)}),
    "standardised, by mask": (X, {"modalities": {"m": np.ones(9, bool)}, "preprocessing": "standardize"}),
}


@pytest.fixture(params=CASES)
def case(request):
    table, parameters = CASES[request.param]
    return table, FDRMFLTransformer(tuning=None, **OPTIONS, **parameters).fit(table, Y, client_ids=IDS)


def test_a_process_that_loads_and_predicts_imports_nothing_that_trains_and_one_that_fits_in_compiled_code_no_torch(
    tmp_path,
):
    private = {"dp_clip_norm": 1.0, "dp_bounds": {"X": (-9, 9), "y": (-99, 99)}, "preprocessing": "standardize"}
    cases = {
        "alone": {"tuning": None, "early_stopping": True, "algorithm": "scaffold", "pretreatment": "snv"},
        "private": {"tuning": None, **private},
        "mixture": {"tuning": "mixture", "suspects": "warn"},
    }
    np.save(tmp_path / "rows.npy", X)
    predicted = []
    for name, parameters in cases.items():
        model = FDRMFLTransformer(**OPTIONS, **parameters).fit(X, Y, client_ids=IDS)
        model = model.adapt(X[:9], Y[:9] + 1.0) if name == "mixture" else model
        model.save(tmp_path / f"{name}.npz")
        predicted.append(model.predict(X).tobytes().hex())
    code = (
        "import sys, numpy as np; from skfdrmfl import FDRMFLTransformer as Model; X = np.load('rows.npy')\n"
        f"for name in {list(cases)}: print(Model.load(name + '.npz').predict(X).tobytes().hex())\n"
        "print(*({'torch', 'skfdrmfl.fit.prepare', 'skfdrmfl.server.rounds'} & sys.modules.keys()))\n"
        "model = Model(n_rounds=2, local_epochs=1).fit(X, X[:, 0], np.arange(60) % 2); model.save('again.npz')\n"
        "Model.load('again.npz').transform(X); print(model.engine_, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    *loaded, fitted = done.stdout.splitlines()
    assert loaded == [*predicted, ""]
    assert fitted == "native False" or library() is None


@pytest.mark.sampled(2)
def test_a_loaded_model_is_the_saved_one_to_the_last_bit_and_trains_on_alike(case, tmp_path):
    table, model = case
    model.save(tmp_path / "model.npz")
    loaded = FDRMFLTransformer.load(tmp_path / "model.npz")
    assert loaded.transform(table).tobytes() == model.transform(table).tobytes()
    assert loaded.predict(table).tobytes() == model.predict(table).tobytes()
    assert str(loaded.get_params()) == str(model.get_params())
    assert loaded.clients_.tolist() == model.clients_.tolist()
    assert list(loaded.federation_log_) == list(model.federation_log_)
    assert loaded.federation_log_.by_client() == model.federation_log_.by_client()
    assert repr(loaded.members_) == repr(model.members_)
    assert {name: known.tolist() for name, known in loaded.categories_.items()} == {
        name: known.tolist() for name, known in model.categories_.items()
    }
    for name, values in model.history_.items():
        assert_array_equal(loaded.history_[name], values)
    again = [m.partial_fit(table, Y, client_ids=IDS).predict(table) for m in (loaded, model)]
    assert again[0].tobytes() == again[1].tobytes()


def test_the_file_is_a_npz_without_pickles(tmp_path):
    FDRMFLTransformer(tuning=None, **OPTIONS).fit(X, Y).save(tmp_path / "model.npz")
    with np.load(tmp_path / "model.npz", allow_pickle=False) as arrays:
        assert all(array.dtype != object for name, array in arrays.items() if not name.endswith(".json"))
    assert zipfile.ZipFile(tmp_path / "model.npz").testzip() is None


def net(n_columns, n_outputs):
    return nn.Linear(n_columns, n_outputs)


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"encoders": TorchEncoder(net)}, "TorchEncoder"),
        ({"modalities": {"m": lambda table: list(range(9))}}, r"parameters\.modalities\.m"),
        ({"random_state": np.random.RandomState(0)}, r"parameters\.random_state"),
    ],
)
def test_what_a_file_cannot_hold_is_refused_and_the_file_there_stays(changes, where, tmp_path):
    path = tmp_path / "model.npz"
    FDRMFLTransformer(tuning=None, **OPTIONS).fit(X, Y).save(path)
    before = path.read_bytes()
    with pytest.raises(TypeError, match=f"{where}.*joblib.dump"):
        FDRMFLTransformer(tuning=None, **{**OPTIONS, **changes}).fit(X, Y).save(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["model.npz"]


def test_an_attribute_of_its_own_would_be_lost_and_set_output_is_kept(tmp_path):
    model = FDRMFLTransformer(tuning=None, **OPTIONS).fit(FRAME, Y).set_output(transform="pandas")
    model.save(tmp_path / "model.npz")
    loaded = FDRMFLTransformer.load(tmp_path / "model.npz")
    pd.testing.assert_frame_equal(loaded.transform(FRAME), model.transform(FRAME))
    model.note = "mine"
    with pytest.raises(TypeError, match=r"attributes of its own \(note\)"):
        model.save(tmp_path / "model.npz")


def test_only_fitted_models_are_saved_and_only_models_are_loaded(tmp_path):
    with pytest.raises(NotFittedError):
        FDRMFLTransformer(tuning=None).save(tmp_path / "model.npz")
    assert not list(tmp_path.iterdir())
    np.savez(tmp_path / "other.npz", x=X)
    with pytest.raises(ValueError, match=r"other\.npz is no skfdrmfl archive"):
        FDRMFLTransformer.load(tmp_path / "other.npz")


def test_what_metadata_a_model_asks_for_is_kept(tmp_path):
    with config_context(enable_metadata_routing=True):
        model = FDRMFLTransformer(tuning=None, **OPTIONS).set_fit_request(client_ids="site", groups=False)
        model.set_score_request(sample_weight=True).fit(X, Y, client_ids=IDS).save(tmp_path / "model.npz")
        loaded = FDRMFLTransformer.load(tmp_path / "model.npz")
        for method in ("fit", "partial_fit", "score"):
            asked = [getattr(one.get_metadata_routing(), method).requests for one in (model, loaded)]
            assert asked[0] == asked[1]
        assert clone(loaded).get_metadata_routing().fit.requests == {"client_ids": "site", "groups": False}
    FDRMFLTransformer.load(tmp_path / "model.npz").save(tmp_path / "again.npz")
    FDRMFLTransformer(tuning=None, **OPTIONS).fit(X, Y).save(tmp_path / "plain.npz")
    assert "_metadata_request" not in vars(FDRMFLTransformer.load(tmp_path / "plain.npz"))


def test_a_model_of_another_version_warns(tmp_path, monkeypatch):
    model = FDRMFLTransformer(tuning=None, **OPTIONS).fit(X, Y)
    with monkeypatch.context() as patch:
        patch.setattr("skfdrmfl.fit.saving.__version__", "0.0.1")
        model.save(tmp_path / "model.npz")
    with pytest.warns(InconsistentVersionWarning, match=r"version 0\.0\.1"):
        loaded = FDRMFLTransformer.load(tmp_path / "model.npz")
    assert_array_equal(loaded.transform(X), model.transform(X))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.InconsistentVersionWarning")
def test_a_model_saved_before_there_was_one_serialiser_predicts_what_it_did():
    """Trees, encoders, categories and the memory of SCAFFOLD, as 0.2.0.dev0 wrote them, with what it predicted then."""
    model = FDRMFLTransformer.load(DATA / "model_0_2_0.npz")
    with np.load(DATA / "model_0_2_0_expected.npz") as then:
        table = pd.DataFrame(then["numbers"], columns=["nir__a", "nir__b", "raman__c"])
        table["raman__site"] = np.where(then["up"], "up", "down")
        assert_allclose(model.transform(table), then["z"], rtol=0, atol=1e-6)
        assert_allclose(model.predict(table), then["predictions"], rtol=0, atol=1e-6)
    assert model.clients_.tolist() == ["b", "c", "x"] and model.n_rounds_ == 3
    model.fit(table, np.arange(9.0), client_ids=["x", "b", "c"] * 3)  # warm_start: it trains on
    assert model.n_rounds_ == 6


@pytest.mark.parametrize("engine", ["stacked", "loop"])
def test_a_model_of_an_engine_that_is_no_more_loads_and_says_what_to_train_on_with(tmp_path, engine):
    model = FDRMFLTransformer(n_rounds=1, random_state=0, tuning=None).fit(X, Y)
    model.engine = engine
    model.save(tmp_path / "model")
    loaded = FDRMFLTransformer.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    with pytest.raises(
        ValueError, match=f"'engine' parameter .* must be a str among .*'torch'.* Got '{engine}' instead"
    ):
        loaded.partial_fit(X, Y)
    assert loaded.set_params(engine="torch").partial_fit(X, Y).engine_ == "torch"
