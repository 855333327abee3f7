"""Laws of saved estimators: the same predictions, and training goes on from there."""

from __future__ import annotations

import copy
import io
import pickle
import warnings

import joblib
import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import InconsistentVersionWarning

from skfdrmfl import FDRMFLTransformer, IgnoreClients, __version__
from skfdrmfl.encoders import DenseEncoder

RNG = np.random.default_rng(0)
X = RNG.standard_normal((30, 6))
Y = np.c_[X[:, 0] * X[:, 4], X[:, 1]]
IDS = np.array(["north", "south", "east"])[np.arange(30) % 3]

SETTINGS = {
    "defaults": {},
    "everything": {
        "n_components": 3,
        "modalities": {"a": [0, 1, 2], "b": [3, 4, 5]},
        "encoders": {"a": DenseEncoder((4,))},
        "fusion": "mean",
        "head_hidden_layer_sizes": (3,),
        "preprocessing": "standardize",
        "history_size": 2,
    },
    "nothing": {"preprocessing": None, "history_size": 0, "hidden_layer_sizes": ()},
}


@pytest.fixture(params=SETTINGS)
def fitted(request):
    estimator = FDRMFLTransformer(n_rounds=3, local_epochs=1, random_state=0, tuning=None, **SETTINGS[request.param])
    return estimator.fit(X, Y, client_ids=IDS)


def through_pickle(estimator):
    return pickle.loads(pickle.dumps(estimator))


def through_joblib(estimator):
    file = io.BytesIO()
    joblib.dump(estimator, file)
    file.seek(0)
    return joblib.load(file)


def through_skops(estimator):
    sio = pytest.importorskip("skops.io")  # which takes a second to import
    data = sio.dumps(estimator)
    return sio.loads(data, trusted=sio.get_untrusted_types(data=data))


def through_refit(estimator):
    return clone(estimator).fit(X, Y, client_ids=IDS)


@pytest.mark.sampled()
@pytest.mark.parametrize(
    "copied", [through_pickle, through_joblib, copy.deepcopy, copy.copy, through_skops, through_refit]
)
def test_a_copy_is_the_same_model_and_trains_on_alike(fitted, copied):
    other = copied(fitted)
    assert other is not fitted
    assert_array_equal(other.transform(X), fitted.transform(X))
    assert_array_equal(other.predict(X), fitted.predict(X))
    assert other.get_feature_names_out().tolist() == fitted.get_feature_names_out().tolist()
    assert other.get_params().keys() == fitted.get_params().keys()

    before = fitted.predict(X)
    newcomers = np.where(IDS == "east", "west", IDS)
    other.partial_fit(X, Y, client_ids=newcomers)
    assert_array_equal(fitted.predict(X), before)  # no array is shared
    fitted.partial_fit(X, Y, client_ids=newcomers)
    assert_array_equal(other.predict(X), fitted.predict(X))
    assert other.clients_.tolist() == fitted.clients_.tolist() == ["east", "north", "south", "west"]
    for name, values in fitted.history_.items():
        assert_array_equal(other.history_[name], values)


@pytest.mark.sampled(4)
@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_every_pickle_protocol(fitted, protocol):
    assert_array_equal(pickle.loads(pickle.dumps(fitted, protocol)).predict(X), fitted.predict(X))


@pytest.fixture
def every_warning():
    """Without it torch warns once a process, and only the first test would see it."""
    torch.set_warn_always(True)
    yield
    torch.set_warn_always(False)


def test_a_model_mapped_from_disk_works_and_is_not_written_to(fitted, tmp_path, every_warning):
    """joblib hands large models to its workers as read-only memory maps."""
    joblib.dump(fitted, tmp_path / "model.joblib")
    content = (tmp_path / "model.joblib").read_bytes()
    mapped = joblib.load(tmp_path / "model.joblib", mmap_mode="r")
    assert_array_equal(mapped.transform(X), fitted.transform(X))
    assert_array_equal(mapped.predict(X), fitted.predict(X))
    mapped.partial_fit(X, Y, client_ids=IDS)
    fitted.partial_fit(X, Y, client_ids=IDS)
    assert_array_equal(mapped.predict(X), fitted.predict(X))
    assert (tmp_path / "model.joblib").read_bytes() == content


def test_skops_needs_trust_in_this_package_alone(fitted):
    sio = pytest.importorskip("skops.io")
    unknown = sio.get_untrusted_types(data=sio.dumps(fitted))
    assert [name for name in unknown if not name.startswith("skfdrmfl.")] == []


def test_an_unfitted_estimator_can_be_saved_too():
    estimator = FDRMFLTransformer(3, modalities="prefix", tuning=None)
    assert through_pickle(estimator).get_params() == estimator.get_params()
    assert through_skops(estimator).get_params() == estimator.get_params()


def test_weights_are_numpy_arrays_and_no_torch_is_in_the_pickle(fitted):
    assert all(type(array) is np.ndarray for array in fitted.weights_.values())
    assert all(np.isfinite(array).all() for array in fitted.weights_.values())
    modules = set()

    class Recorder(pickle.Unpickler):
        def find_class(self, module, name):
            modules.add(module.partition(".")[0])
            return super().find_class(module, name)

    Recorder(io.BytesIO(pickle.dumps(fitted))).load()
    assert "skfdrmfl" in modules and "torch" not in modules


def test_the_pickle_is_about_as_large_as_its_parameters(fitted):
    n_parameters = sum(array.size for array in fitted.weights_.values())
    n_models = 2 + fitted.history_size + 1  # weights_ are float64, the others float32
    assert len(pickle.dumps(fitted)) < 20_000 + 4 * n_parameters * (n_models + 1)


@pytest.mark.parametrize("other", ["0.0.0", "99.0", None])
def test_a_pickle_of_another_version_warns_and_loads(fitted, other):
    state = fitted.__getstate__()
    (key,) = (name for name, value in state.items() if isinstance(value, str) and value == __version__)
    old = {name: value for name, value in state.items() if name != key}
    if other is not None:
        old[key] = other
    loaded = FDRMFLTransformer.__new__(FDRMFLTransformer)
    match = "FDRMFLTransformer from version " + (other or "")
    with pytest.warns(InconsistentVersionWarning, match=match) as caught:
        loaded.__setstate__(old)
    assert len(caught) == 1
    assert caught[0].message.current_sklearn_version == __version__
    assert_array_equal(loaded.predict(X), fitted.predict(X))
    assert not hasattr(loaded, key)
    loaded.partial_fit(X, Y, client_ids=IDS)


def test_a_pickle_of_another_scikit_learn_warns_and_loads(fitted):
    state = {**fitted.__getstate__(), "_sklearn_version": "0.0"}
    loaded = FDRMFLTransformer.__new__(FDRMFLTransformer)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loaded.__setstate__(state)
    assert_array_equal(loaded.predict(X), fitted.predict(X))
    assert all(issubclass(w.category, InconsistentVersionWarning) for w in caught)


def test_setting_a_state_does_not_change_the_state(fitted):
    state = fitted.__getstate__()
    keys = list(state)
    FDRMFLTransformer.__new__(FDRMFLTransformer).__setstate__(state)
    assert list(state) == keys


def test_it_can_be_saved_inside_a_wrapper():
    wrapped = IgnoreClients(FDRMFLTransformer(n_rounds=2, random_state=0, tuning=None)).fit(X, Y, client_ids=IDS)
    assert_array_equal(through_pickle(wrapped).transform(X), wrapped.transform(X))
    assert_array_equal(through_skops(wrapped).transform(X), wrapped.transform(X))
