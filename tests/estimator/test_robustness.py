"""Laws of survival: degenerate data, divergence, interrupts, and whatever else runs in the process."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from joblib import Parallel, delayed
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import NotFittedError
from threadpoolctl import threadpool_info, threadpool_limits

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.fit import prepared_fit as _fitting
from skfdrmfl.server import rounds as server

ROOT = Path(__file__).resolve().parents[2]
N = 40
RNG = np.random.default_rng(0)
X = RNG.standard_normal((N, 6))
Y = X[:, 0] - 0.5 * X[:, 1] + 0.1 * RNG.standard_normal(N)
IDS = np.arange(N) % 3
PREPROCESSING = ["whiten", "standardize", None]


def small(**params):
    return FDRMFLTransformer(tuning=None, **{"n_rounds": 4, "local_epochs": 2, "random_state": 0, **params})


def assert_finite(x=X, y=Y, client_ids=IDS, **params):
    """A fit whose every result is finite; returned."""
    estimator = small(**params).fit(x, y, client_ids=client_ids)
    assert np.isfinite(estimator.transform(x)).all()
    assert np.isfinite(estimator.predict(x)).all()
    assert np.isfinite(estimator.component_variance_).all()
    assert all(np.isfinite(array).all() for array in estimator.weights_.values())
    for name, values in estimator.history_.items():
        if not name.endswith("_per_client"):
            assert np.isfinite(values).all(), name
    return estimator


def replaced(columns, value):
    changed = X.copy()
    changed[:, columns] = value
    return changed


# -------------------------------------------------------------------------------------- degenerate data


@pytest.mark.sampled()
@pytest.mark.parametrize("preprocessing", PREPROCESSING)
@pytest.mark.parametrize(
    "x",
    [
        replaced([2], 3.7),
        replaced([0, 3, 5], 0.1),
        replaced(slice(None), 1 / 3),
        replaced(slice(None), 0.0),
        X[:, [0, 0, 0, 1, 1, 1]],
        np.c_[X, X.sum(1), -X],
        np.repeat(X[:2], N // 2, axis=0),
        X[:, :1],
        np.sign(X),
        np.eye(N),
    ],
    ids=[
        *["a constant column", "constant columns", "all constant", "all zero", "repeated columns"],
        *["collinear", "two different rows", "one column", "two values", "one-hot"],
    ],
)
def test_degenerate_columns(x, preprocessing):
    assert_finite(x, preprocessing=preprocessing)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("shrinkage", [0.0, 1e-300, 2e-4, 1.0, 1e6, "auto"])
def test_any_shrinkage_whitens_any_rank(shrinkage):
    for x in (X, replaced([2], 3.7), replaced(slice(None), 1 / 3), X[:, [0, 0, 1, 1]], X[:, :1]):
        assert_finite(x, shrinkage=shrinkage)


@pytest.mark.sampled()
@pytest.mark.parametrize("preprocessing", PREPROCESSING)
@pytest.mark.parametrize(
    "client_ids",
    [None, np.arange(N), np.minimum(np.arange(N), 3), np.where(np.arange(N) < N - 1, 0, 1)],
    ids=["one client", "every row its own", "some one-row clients", "one row aside"],
)
@pytest.mark.parametrize("engine", ["auto", "torch"])
def test_any_share_of_the_rows(client_ids, preprocessing, engine):
    assert_finite(client_ids=client_ids, preprocessing=preprocessing, engine=engine)


@pytest.mark.sampled()
@pytest.mark.parametrize(
    "params",
    [{}, {"shrinkage": "auto"}, {"preprocessing": None}, {"engine": "torch"}],
)
@pytest.mark.parametrize("n", [1, 2, 3])
def test_hardly_any_rows(n, params):
    for client_ids in (None, np.arange(n)):
        estimator = assert_finite(X[:n], Y[:n], client_ids, **params)
        assert np.isfinite(estimator.transform(X)).all()


def test_one_row_predicts_itself():
    assert_allclose(assert_finite(X[:1], Y[:1], None).predict(X[:1]), Y[:1], rtol=1e-6)


@pytest.mark.parametrize("p", [300, pytest.param(2500, marks=pytest.mark.slow)])
@pytest.mark.parametrize("params", [{}, {"preprocessing": "standardize"}, {"shrinkage": "auto"}], ids=str)
def test_more_columns_than_rows(p, params):
    wide = np.random.default_rng(1).standard_normal((N, p))
    assert_finite(wide, n_rounds=2, **params)


@pytest.mark.parametrize("constant", [0.0, 5.0])
def test_wide_and_constant(constant):
    assert_finite(np.full((N, 2500), constant), n_rounds=1)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("preprocessing", ["whiten", "standardize"])
@pytest.mark.parametrize(
    "x",
    [
        X * 1e200,
        X * 1e-200,
        X * -1e150,
        X + 1e8,
        X - 1e10,
        X * 1e-5 + 1e6,
        X * 10.0 ** np.arange(-150, 150, 50),
    ],
    ids=["1e200", "1e-200", "-1e150", "+1e8", "-1e10", "small about large", "mixed"],
)
def test_units_of_x_do_not_matter(x, preprocessing):
    """Preprocessing makes any affine change of units look alike, to the digits the data have left."""
    assert assert_finite(x, preprocessing=preprocessing, n_rounds=15).score(x, Y) > 0.9


@pytest.mark.parametrize(("scale", "offset"), [(1e150, 0), (1e-150, 0), (1, 1e8), (1e3, -1e6)])
def test_units_of_y_do_not_matter(scale, offset):
    expected = small().fit(X, Y, client_ids=IDS)
    estimator = assert_finite(y=Y * scale + offset)
    assert_allclose((estimator.predict(X) - offset) / scale, expected.predict(X), rtol=1e-4, atol=1e-5)


def test_outputs_of_very_different_units_train_together():
    y = np.c_[Y * 1e150, Y * 1e-150, np.ones(N)]
    estimator = assert_finite(y=y, n_rounds=40)
    predicted = estimator.predict(X)
    for j in (0, 1):
        assert np.corrcoef(predicted[:, j], Y)[0, 1] > 0.9


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e-150, -7e8, 1e150])
def test_a_constant_y_is_predicted_as_that_constant(constant):
    estimator = assert_finite(y=np.full(N, constant))
    assert_allclose(estimator.predict(X), constant, rtol=1e-9)


@pytest.mark.parametrize("params", [{}, {"modalities": {"a": [0, 1, 3, 4, 5], "b": [2]}}], ids=["one", "own"])
@pytest.mark.parametrize("preprocessing", ["whiten", "standardize"])
def test_a_column_that_was_constant_in_training_has_no_say_later(preprocessing, params):
    """Nothing was learned about it, so its first random weights must not reach a prediction."""
    trained = replaced([2], 3.7)
    estimator = assert_finite(trained, preprocessing=preprocessing, **params)
    assert_allclose(estimator.predict(replaced([2], 1e4)), estimator.predict(trained), atol=1e-6)


@pytest.mark.parametrize("modalities", [None, {"a": [0, 1, 3, 4, 5], "b": [2]}], ids=["one", "its own modality"])
def test_a_constant_modality_does_not_stop_the_others(modalities):
    x = replaced([2], 3.7)
    assert assert_finite(x, modalities=modalities, n_rounds=40).score(x, Y) > 0.8


def test_unscaled_data_that_cannot_be_trained_on_is_an_error_not_a_model():
    """Without preprocessing nothing keeps float32 from overflowing: that must not pass for a fit."""
    estimator = small(preprocessing=None)
    before = dict(vars(estimator))
    with pytest.raises(ValueError, match="diverged.*scale X"):
        estimator.fit(X * 1e200, Y, client_ids=IDS)
    assert vars(estimator) == before


@pytest.mark.parametrize("offset", [1e8, 1e12])
def test_unscaled_data_with_a_large_offset_are_a_finite_model_or_an_error(offset):
    try:
        estimator = small(preprocessing=None).fit(X + offset, Y, client_ids=IDS)
    except ValueError as error:
        assert "scale X" in str(error)
    else:
        # `mi_nwj` may be minus infinity, which is then a true lower bound.
        assert np.isfinite(estimator.history_["loss"]).all()
        assert np.isfinite(estimator.predict(X + offset)).all()


# ------------------------------------------------------------------------------------ extreme parameters


@pytest.mark.sampled()
@pytest.mark.parametrize("engine", ["auto", "torch"])
@pytest.mark.parametrize(
    "params",
    [
        {"n_components": 20},
        {"n_components": 20, "head_hidden_layer_sizes": (4, 3)},
        {"modality_dim": 1},
        {"hidden_layer_sizes": ()},
        {"hidden_layer_sizes": (1, 1, 1)},
        {"history_size": 0},
        {"history_size": 50},
        {"mi_weight": 0, "kl_weight": 0, "contrastive_weight": 0},
        {"mi_weight": 100.0, "kl_weight": 100.0, "contrastive_weight": 100.0},
        {"temperature": 1e-30},
        {"temperature": 1e30},
        {"batch_size": 1},
        {"batch_size": 10_000},
        {"participation": 1e-9},
        {"participation": 1},
        {"input_l1": 100.0},
        {"weight_decay": 0.0},
        {"weight_decay": 100.0},
        {"learning_rate": 1e-30},
        {"n_rounds": 1, "local_epochs": 1},
        {"random_state": 2**32 - 1},
        {"random_state": np.int64(5)},
    ],
    ids=str,
)
def test_extreme_but_legal_parameters(params, engine):
    modalities = {"a": [0, 1, 2], "b": [3, 4, 5]}
    assert_finite(engine=engine, modalities=modalities, **{"n_rounds": 3, "local_epochs": 1, **params})


def test_a_numpy_scalar_is_as_good_as_a_number():
    """Searches hand over numpy's numbers, the narrow ones included."""
    params = {"n_components": np.int64(2), "n_rounds": np.int32(4), "learning_rate": np.float32(0.01)}
    params |= {"batch_size": np.uint8(32), "shrinkage": np.float64(2e-4), "history_size": np.int16(3)}
    assert_allclose(assert_finite(**params).predict(X), assert_finite().predict(X), rtol=1e-5)


@pytest.mark.parametrize("engine", ["auto", "torch"])
@pytest.mark.parametrize("params", [{"learning_rate": 1e30}, {"weight_decay": 1e12, "n_rounds": 30}], ids=str)
def test_a_diverging_fit_is_an_error_and_leaves_the_estimator_as_it_was(params, engine):
    name, value = next(iter(params.items()))
    for estimator in (small(), small().fit(X, Y, client_ids=IDS), small(shrinkage="auto")):
        estimator.set_params(engine=engine, **params)
        before = dict(vars(estimator))
        copied = copy.deepcopy(before)
        with pytest.raises(ValueError, match=r"diverged in round [12]\b") as caught:
            estimator.fit(X, Y, client_ids=IDS)
        assert name in str(caught.value)
        assert f"{value:g}" in str(caught.value) or repr(value) in str(caught.value)
        assert vars(estimator).keys() == copied.keys()
        assert all(value is before[name] for name, value in vars(estimator).items())
        if hasattr(estimator, "weights_"):
            assert_array_equal(estimator.weights_["head.weight0"], copied["_fitted"].weights["head.weight0"])


def test_a_diverging_partial_fit_keeps_the_model():
    estimator = small().fit(X, Y, client_ids=IDS)
    expected = estimator.predict(X)
    with pytest.raises(ValueError, match="diverged"):
        estimator.set_params(learning_rate=1e30).partial_fit(X, Y, client_ids=IDS + 1)
    assert_array_equal(estimator.predict(X), expected)
    assert estimator.n_rounds_ == 4
    assert estimator.clients_.tolist() == [0, 1, 2]


# -------------------------------------------------------------------------------------------- interrupts


@pytest.fixture
def interrupt(monkeypatch):
    """interrupt(t): a Ctrl-C while round t (from 1) is being averaged."""
    advance = server.advance

    def after(rounds):
        count = 0

        def interrupted(*args, **kwargs):
            nonlocal count
            count += 1
            if count == rounds:
                raise KeyboardInterrupt
            return advance(*args, **kwargs)

        monkeypatch.setattr(server, "advance", interrupted)

    return after


@pytest.mark.parametrize("engine", ["torch"])
@pytest.mark.parametrize("start", ["unfitted", "fitted"])
def test_an_interrupt_in_round_three_leaves_two_rounds(interrupt, engine, start):
    estimator = small(n_rounds=10, engine=engine)
    if start == "fitted":
        estimator.fit(X, Y, client_ids=IDS)
    interrupt(3)
    with pytest.raises(KeyboardInterrupt):
        estimator.fit(X, Y, client_ids=IDS)
    assert estimator.n_rounds_ == 2
    assert estimator.history_["mse"].shape == (2,)
    assert estimator.history_["mse_per_client"].shape == (2, 3)
    assert_array_equal(estimator.n_samples_per_client_, np.bincount(IDS))
    assert np.isfinite(estimator.predict(X)).all()
    assert np.isfinite(estimator.transform(X)).all()
    assert estimator.get_feature_names_out().tolist() == ["fdrmfltransformer0", "fdrmfltransformer1"]


def test_an_interrupted_fit_goes_on_with_partial_fit(interrupt, monkeypatch):
    estimator = small(n_rounds=10, engine="torch")
    with monkeypatch.context():
        interrupt(3)
        with pytest.raises(KeyboardInterrupt):
            estimator.fit(X, Y, client_ids=IDS)
    monkeypatch.undo()
    assert estimator.partial_fit(X, Y, client_ids=IDS).n_rounds_ == 3


@pytest.mark.parametrize("method", ["fit", "partial_fit", "warm fit"])
@pytest.mark.parametrize("start", ["unfitted", "fitted"])
def test_an_interrupt_before_a_round_is_finished_leaves_it_as_before(interrupt, method, start):
    estimator = small(warm_start=method == "warm fit")
    if start == "fitted":
        estimator.fit(X, Y, client_ids=IDS)
    before = dict(vars(estimator))
    interrupt(1)
    with pytest.raises(KeyboardInterrupt):
        getattr(estimator, method.split()[-1])(X, Y, client_ids=IDS + 1)
    assert vars(estimator).keys() == before.keys()
    changed = [name for name, value in vars(estimator).items() if value is not before[name]]
    assert changed == []
    if start == "unfitted":
        with pytest.raises(NotFittedError):
            estimator.predict(X)


def test_an_interrupted_warm_start_counts_its_own_rounds(interrupt):
    estimator = small(warm_start=True, n_rounds=5, engine="torch").fit(X, Y, client_ids=IDS)
    interrupt(3)
    with pytest.raises(KeyboardInterrupt):
        estimator.fit(X, Y, client_ids=IDS + 1)
    assert estimator.n_rounds_ == 7
    assert estimator.history_["mse_per_client"].shape == (7, 4)


def test_an_interrupt_while_shrinkage_is_chosen_leaves_it_as_before(interrupt):
    estimator = small(shrinkage="auto")
    interrupt(3)
    with pytest.raises(KeyboardInterrupt):
        estimator.fit(X, Y, client_ids=IDS)
    with pytest.raises(NotFittedError):
        estimator.predict(X)


# ------------------------------------------------------------------------------------------- randomness


def test_the_same_seed_gives_the_same_bits_and_another_does_not():
    first = assert_finite().predict(X)
    assert_array_equal(assert_finite().predict(X), first)
    assert not np.array_equal(assert_finite(random_state=1).predict(X), first)


def test_no_seed_differs_between_fits():
    predictions = [assert_finite(random_state=None).predict(X) for _ in range(2)]
    assert not np.array_equal(*predictions)
    np.random.seed(0)  # noqa: NPY002
    first = assert_finite(random_state=None).predict(X)
    np.random.seed(0)  # noqa: NPY002
    assert not np.array_equal(assert_finite(random_state=None).predict(X), first)


def test_a_random_state_instance_moves_on():
    state = np.random.RandomState(3)
    first, second = (assert_finite(random_state=state).predict(X) for _ in range(2))
    assert not np.array_equal(first, second)
    assert_array_equal(assert_finite(random_state=np.random.RandomState(3)).predict(X), first)


@pytest.mark.sampled()
@pytest.mark.parametrize("random_state", [None, 0, "instance"])
@pytest.mark.parametrize(
    ("engine", "shrinkage"),
    [("torch", 2e-4), ("auto", 2e-4), ("torch", "auto"), ("auto", "auto")],
)
def test_global_random_states_are_neither_used_nor_moved(random_state, engine, shrinkage):
    if random_state == "instance":
        random_state = np.random.RandomState(0)
    before = torch.get_rng_state(), np.random.get_state()  # noqa: NPY002
    estimator = assert_finite(
        random_state=random_state, engine=engine, participation=0.7, shrinkage=shrinkage, n_rounds=2
    )
    estimator.partial_fit(X, Y, client_ids=IDS)
    assert torch.equal(torch.get_rng_state(), before[0])
    for a, b in zip(np.random.get_state(), before[1], strict=True):  # noqa: NPY002
        assert_array_equal(a, b)
    if random_state == 0:
        torch.manual_seed(1)
        np.random.seed(1)  # noqa: NPY002
        again = small(random_state=0, engine=engine, participation=0.7, shrinkage=shrinkage, n_rounds=2)
        again.fit(X, Y, client_ids=IDS).partial_fit(X, Y, client_ids=IDS)
        assert_array_equal(again.predict(X), estimator.predict(X))


# -------------------------------------------------------------------------- modes of torch and threads


@pytest.fixture
def threads():
    """Sets torch's number of threads for one test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def use(engine="torch", x=X):
    estimator = small(engine=engine).fit(x, Y, client_ids=IDS).partial_fit(x, Y, client_ids=IDS)
    return np.c_[estimator.transform(x), estimator.predict(x)]


@pytest.mark.sampled()
@pytest.mark.parametrize("engine", ["auto", "torch"])
@pytest.mark.parametrize("n_threads", [1, 4])
def test_the_number_of_threads_changes_no_bit_and_is_restored(threads, n_threads, engine):
    wide = np.random.default_rng(0).standard_normal((N, 300))
    threads(1)
    expected = use(engine, wide)
    threads(n_threads)
    assert_array_equal(use(engine, wide), expected)
    assert torch.get_num_threads() == n_threads


def test_the_number_of_threads_is_restored_after_an_error(threads):
    threads(3)
    with pytest.raises(ValueError):
        small().fit(X, Y, client_ids=IDS[:-1])
    with pytest.raises(ValueError, match="diverged"):
        small(learning_rate=1e30).fit(X, Y)
    assert torch.get_num_threads() == 3


def blas_threads():
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


def test_numpy_multiplies_on_one_thread_inside_and_has_its_threads_again(monkeypatch):
    wide, inside, delivered = np.random.default_rng(0).standard_normal((N, 300)), [], _fitting.delivered
    monkeypatch.setattr(_fitting, "delivered", lambda *args: inside.append(blas_threads()) or delivered(*args))
    with threadpool_limits(1, user_api="blas"):
        expected = use("native", wide)
    with threadpool_limits(2, user_api="blas"):
        assert_array_equal(use("native", wide), expected)
        with pytest.raises(ValueError, match="diverged"):
            small(learning_rate=1e30).fit(X, Y)
        assert blas_threads() == {2}
    assert inside == [{1}] * 4


@pytest.mark.sampled()
@pytest.mark.parametrize("engine", ["auto", "torch"])
@pytest.mark.parametrize(
    "mode",
    [torch.no_grad, torch.inference_mode],
    ids=["no_grad", "inference_mode"],
)
def test_gradient_modes_change_nothing_and_stay_as_they_are(mode, engine):
    expected = use(engine)
    with mode():
        before = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        assert_array_equal(use(engine), expected)
        assert (torch.is_grad_enabled(), torch.is_inference_mode_enabled()) == before
    fitted_outside = small(engine=engine).fit(X, Y)
    with mode():
        fitted_inside = small(engine=engine).fit(X, Y)
        fitted_outside.partial_fit(X, Y)
    assert_array_equal(fitted_inside.partial_fit(X, Y).predict(X), fitted_outside.predict(X))


@pytest.mark.sampled()
@pytest.mark.parametrize("engine", ["auto", "torch"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_the_default_dtype_changes_nothing_and_stays_as_it_is(dtype, engine):
    expected = use(engine)
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(dtype)
        assert_array_equal(use(engine), expected)
        assert torch.get_default_dtype() == dtype
    finally:
        torch.set_default_dtype(before)


def test_the_default_device_changes_nothing_and_stays_as_it_is():
    """Notebooks set it to "cuda"; "meta" stands in for a device that this package was not asked to use."""
    expected = use()
    with torch.device("meta"):
        assert_array_equal(use(), expected)
        assert torch.empty(0).device.type == "meta"


@pytest.mark.slow
def test_autocast_and_determinism_modes_change_nothing():
    expected = use()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert_array_equal(use(), expected)
    torch.use_deterministic_algorithms(True)
    try:
        assert_array_equal(use(), expected)
    finally:
        torch.use_deterministic_algorithms(False)


def test_numpy_error_settings_change_nothing():
    with np.errstate(all="raise", under="ignore"):
        for x in (X, replaced([2], 3.7), replaced(slice(None), 0.0)):
            assert_finite(x)
        assert_finite(client_ids=np.arange(N), participation=0.1)


@pytest.mark.parametrize("n_threads", [3])
def test_fits_in_parallel_threads_are_the_serial_ones(threads, n_threads):
    threads(n_threads)
    seeds = list(range(6))
    wide = np.random.default_rng(0).standard_normal((N, 200))
    expected = [small(random_state=seed).fit(wide, Y, client_ids=IDS).predict(wide) for seed in seeds]
    barrier = threading.Barrier(3)

    def fit(seed):
        barrier.wait(timeout=30)
        estimator = small(random_state=seed).fit(wide, Y, client_ids=IDS)
        return estimator.predict(wide), torch.get_num_threads()

    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(fit, seeds))
    for (predicted, _), serial in zip(results, expected, strict=True):
        assert_array_equal(predicted, serial)
    assert torch.get_num_threads() == n_threads
    with ThreadPoolExecutor(1) as pool:  # and new threads find what they would have found
        assert pool.submit(torch.get_num_threads).result() == n_threads


def test_one_model_can_predict_in_many_threads(threads):
    threads(2)
    estimator = small().fit(X, Y, client_ids=IDS)
    expected = estimator.predict(X)
    with ThreadPoolExecutor(4) as pool:
        for predicted in pool.map(lambda _: estimator.predict(X), range(100)):
            assert_array_equal(predicted, expected)
    assert torch.get_num_threads() == 2


def fit_and_predict(seed):
    return small(random_state=seed).fit(X, Y, client_ids=IDS).predict(X)


def test_joblib_workers_fit_alike():
    """Threads here; processes in the comparison's search."""
    expected = [fit_and_predict(seed) for seed in range(4)]
    results = Parallel(n_jobs=2, backend="threading")(delayed(fit_and_predict)(seed) for seed in range(4))
    for predicted, serial in zip(results, expected, strict=True):
        assert_array_equal(predicted, serial)


# ------------------------------------------------------------------------------------- other processes


def run_python(script, **environment):
    """Output of a fresh interpreter; a hang is a failure."""
    cleared = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        cwd=ROOT,
        env={**cleared, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


PROLOGUE = """
import numpy as np
rng = np.random.default_rng(0)
X = rng.standard_normal((60, 300)); y = X[:, 0]; ids = np.arange(60) % 3
def small(**params):
    return skfdrmfl.FDRMFLTransformer(n_rounds=2, local_epochs=1, random_state=0, **({"tuning": None} | params))
def digest(estimator):
    import hashlib
    return hashlib.sha256(estimator.transform(X).tobytes() + estimator.predict(X).tobytes()).hexdigest()
"""


# One interpreter for several questions: to start it costs seconds. Each line that it prints is an answer.
FRESH = f"""
import multiprocessing, sys, threading, warnings
class Blocked:
    tried = []
    names = {{"pandas", "polars", "matplotlib", "tqdm", "pytest", "hypothesis", "skops", "IPython"}}
    def find_spec(self, name, path=None, target=None):
        if name in self.names:
            self.tried.append(name)
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Blocked())

from skfdrmfl.common.late_torch import torch
from skfdrmfl.common.threads import single_threaded
with single_threaded():
    assert "torch" not in sys.modules
    inside = torch.get_num_threads(), torch.is_grad_enabled()
    with torch.enable_grad():
        assert torch.is_grad_enabled()
with single_threaded():
    assert inside == (torch.get_num_threads(), torch.is_grad_enabled()) == (1, False)
print("torch inside:", torch.get_num_threads(), torch.is_grad_enabled())

import sklearn.base, sklearn.metrics, sklearn.utils.validation, torch
Blocked.tried.clear()  # those two ask for some of them, and do without
import skfdrmfl, skfdrmfl.inspection, skfdrmfl.metrics
{PROLOGUE}
for params in ({{}}, {{"engine": "torch"}}, {{"shrinkage": "auto"}}):
    model = small(**params).fit(X, y, client_ids=ids).partial_fit(X, y, client_ids=ids)
    digest(model)
    assert model.history_frame_["round"].tolist() == [1, 2, 3]
    assert model.client_history_frame_["round"].tolist() == [1, 1, 1, 2, 2, 2, 3, 3, 3]
print("in vain:", *Blocked.tried, *[n for n in ("torch._dynamo", "torch._inductor") if n in sys.modules])
try:
    skfdrmfl.inspection.PredictedMeasuredDisplay.from_predictions([1.0, 2.0], [1.0, 2.0])
except ImportError as error:
    print("figure:", "drawn" if Blocked.tried != ["matplotlib"] else "refused" * ("run: pip install" in str(error)))

torch.set_num_threads(4)
def child(queue):
    threads = torch.get_num_threads()
    queue.put((digest(small().fit(X, y, client_ids=ids)), torch.get_num_threads() == threads))
def forked():
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer Pythons warn of forks beside threads, which is the point
        process = context.Process(target=child, args=(queue,))
        process.start()
    result = queue.get(timeout=60)
    process.join(60)
    assert process.exitcode == 0, process.exitcode
    return result
expected = digest(small().fit(X, y, client_ids=ids))
assert torch.get_num_threads() == 4
print("after a fit:", forked() == (expected, True))
stop = threading.Event()
def busy():
    while not stop.is_set():
        small().fit(X, y, client_ids=ids)
thread = threading.Thread(target=busy)
thread.start()
try:
    print("during a fit:", *(forked()[0] == expected for _ in range(2)))
finally:
    stop.set()
    thread.join()
assert torch.get_num_threads() == 4, torch.get_num_threads()
"""


@pytest.fixture(scope="module")
def fresh():
    """What a fresh interpreter without optional packages says, by question."""
    return dict(line.split(":") for line in run_python(FRESH, OMP_NUM_THREADS="2"))


@pytest.mark.slow
def test_only_declared_dependencies_are_needed_and_none_is_imported_in_vain(fresh):
    """Optional packages cannot be imported, as if they were not installed, and nobody here even tries."""
    assert fresh["in vain"] == ""
    assert fresh["figure"] == " refused"


@pytest.mark.slow
def test_torch_that_is_imported_inside_is_held_and_given_back(fresh):
    assert fresh["torch inside"] == f" {min(2, os.cpu_count())} True"


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork is a thing of POSIX")
def test_fit_after_fit_and_fork_does_not_hang_and_gives_the_same_bits(fresh):
    """In the parent with many threads, in forked children of it, and forked while another thread fits."""
    assert fresh["after a fit"] == " True"
    assert fresh["during a fit"] == " True True"


@pytest.mark.slow
@pytest.mark.parametrize("n_threads", ["2", "4"])
def test_the_same_bits_whatever_the_environment_says_of_threads(n_threads):
    script = f"import skfdrmfl\n{PROLOGUE}\nprint(digest(small().fit(X, y, client_ids=ids)))"
    one = run_python(script, OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    assert run_python(script, OMP_NUM_THREADS=n_threads) == one
