"""Training on a GPU is training on the CPU, to float tolerance, and what it leaves is on the CPU."""

import pickle

import numpy as np
import pytest
import torch

from skfdrmfl import FDRMFLTransformer

rng = np.random.default_rng(0)
X = rng.standard_normal((90, 12))
Y = np.sin(X[:, 0]) + X[:, 1]
IDS = np.repeat([0, 1, 2, 3], [40, 30, 19, 1])

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device")


def test_auto_is_the_cpu_where_there_is_no_gpu():
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    auto = FDRMFLTransformer(n_rounds=2, device="auto", random_state=0, tuning=None).fit(X, Y, client_ids=IDS)
    cpu = FDRMFLTransformer(n_rounds=2, device="cpu", random_state=0, tuning=None).fit(X, Y, client_ids=IDS)
    np.testing.assert_array_equal(auto.transform(X), cpu.transform(X))


@needs_cuda
@pytest.mark.parametrize("engine", ["torch", "auto"])
@pytest.mark.parametrize("device", ["cuda", "auto"])
@pytest.mark.parametrize("missing", [None, "homoscedastic", "diagonal", "moments"])
def test_a_gpu_agrees_with_the_cpu(engine, device, missing):
    # Few steps: rounding grows with training, on any pair of machines.
    options = {"n_rounds": 3, "local_epochs": 1, "random_state": 0, "input_l1": 1e-3, "engine": engine}
    table = X.copy()
    if missing:
        options |= {"modalities": {"a": slice(0, 5), "b": slice(5, 12)}, "modality_dropout": 0.3, "alignment": missing}
        table[::3, :5] = np.nan
        table[70:, 5:] = np.nan
        table[70:, :5] = X[70:, :5]
    gpu = FDRMFLTransformer(device=device, tuning=None, **options).fit(table, Y, client_ids=IDS)
    cpu = FDRMFLTransformer(tuning=None, **options).fit(table, Y, client_ids=IDS)
    np.testing.assert_allclose(gpu.predict(table), cpu.predict(table), rtol=1e-3, atol=1e-3)
    for name in cpu.history_:
        np.testing.assert_allclose(gpu.history_[name], cpu.history_[name], rtol=1e-3, atol=1e-4)


@needs_cuda
def test_a_model_trained_on_a_gpu_is_used_and_continued_on_the_cpu():
    fitted = FDRMFLTransformer(n_rounds=3, device="cuda", random_state=0, tuning=None).fit(X, Y, client_ids=IDS)
    assert all(isinstance(array, np.ndarray) for array in fitted.weights_.values())
    loaded = pickle.loads(pickle.dumps(fitted)).set_params(device="cpu")
    np.testing.assert_array_equal(loaded.transform(X), fitted.transform(X))
    assert loaded.partial_fit(X, Y, client_ids=IDS).n_rounds_ == 4
