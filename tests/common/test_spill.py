"""Fits whose tables lie in a file: the same bits, no table in memory, and no file left."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.clients import client_data
from skfdrmfl.clients.client_data import Client, ClientData
from skfdrmfl.clients.simulation import Simulation
from skfdrmfl.common import spill
from skfdrmfl.data.held_out import EVERYTHING, inner_folds
from skfdrmfl.data.transforms import TableTransform, unchanged
from skfdrmfl.protocol.plan import Inputs, Targets
from skfdrmfl.protocol.queries.members import FoldMoments

MAPS = Path("/proc/self/maps")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder of temporary files, in which all tables lie from now on."""
    monkeypatch.setattr(spill, "SPILL_BYTES", 0)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def n_mapped(folder):
    """How many files of a folder are part of this process's memory."""
    if not MAPS.exists():
        pytest.skip("only Linux says which files are mapped")
    return sum(str(folder) in line for line in MAPS.read_text().splitlines())


def problem(n=300, p=8):
    X = np.random.default_rng(0).standard_normal((n, p))
    return X, X[:, 0] + np.tanh(X[:, 1]), np.arange(n) % 3


def fitted(X, y, ids, **parameters):
    settings = {"tuning": None, "n_rounds": 2, "random_state": 0} | parameters
    return FDRMFLTransformer(**settings).fit(X, y, client_ids=ids)


def results(model, X):
    return [model.transform(X), model.predict(X), model.feature_importances_, *model.weights_.values()]


@pytest.mark.parametrize("tuning", [None, "mixture"])
def test_a_memmap_whose_inputs_lie_in_a_file_gives_the_bits_of_an_array_and_leaves_no_file(
    folder, tmp_path_factory, tuning, monkeypatch
):
    X, y, ids = problem()
    path = tmp_path_factory.mktemp("given") / "X.npy"
    np.save(path, X)
    with monkeypatch.context() as in_memory:
        in_memory.setattr(spill, "SPILL_BYTES", 2**30)
        expected = results(fitted(X, y, ids, tuning=tuning), X)
    mapped = np.load(path, mmap_mode="r")
    for one, other in zip(results(fitted(mapped, y, ids, tuning=tuning), mapped), expected, strict=True):
        assert_array_equal(one, other)
    assert not list(folder.iterdir())


def test_the_file_is_there_while_the_fit_is_and_gone_after_an_interrupt(folder, monkeypatch):
    X, y, ids = problem(1_001)  # more than is kept for the next fit of the same rows
    monkeypatch.setattr("skfdrmfl.fit.fit_preprocessing.MOST_BYTES", 0)
    seen, prepare = [], Simulation.prepare

    def interrupted(self, plan):
        training = prepare(self, plan)
        seen.append(n_mapped(folder))
        raise KeyboardInterrupt(training)

    monkeypatch.setattr(Simulation, "prepare", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fitted(X, y, ids)
    assert seen[0] > 0
    assert not list(folder.iterdir())  # it has no name


def test_the_file_goes_with_the_fit(folder, monkeypatch):
    monkeypatch.setattr("skfdrmfl.fit.fit_preprocessing.MOST_BYTES", 0)
    fitted(*problem())
    assert n_mapped(folder) == 0


def test_a_table_of_as_much_as_is_kept_in_memory_is_kept_there_and_a_larger_one_in_a_file(folder, monkeypatch):
    monkeypatch.setattr(spill, "SPILL_BYTES", 800)
    kept, spilled = spill.new_table((10, 10), np.float64), spill.new_table((101, 1), np.float64)
    assert kept.base is None and isinstance(spilled.base, np.memmap)
    assert not kept.any() and not spilled.any()


def test_a_folder_without_room_is_said_before_anything_is_written(folder, monkeypatch):
    def full(descriptor, offset, length):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full, raising=False)
    with pytest.raises(OSError, match=r"has no room for 2 MB of rows as networks read them; make room, or let TMPDIR"):
        spill.new_table((1000, 250), np.float64)


@pytest.mark.slow
def test_a_fit_takes_no_second_table(folder):
    n, p = 50_000, 100
    X = np.random.default_rng(0).standard_normal((n, p), dtype=np.float32)
    y = np.asarray(X[:, 0], dtype=np.float64)
    tracemalloc.start()
    fitted(X, y, np.arange(n) % 3, n_rounds=1, local_epochs=1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.6 * X.nbytes


def test_products_of_rows_some_at_a_time_are_those_of_all_at_once(monkeypatch):
    X, y, _ = problem()
    client = Client(ClientData(X, y[:, None]), np.arange(len(X)), 0)
    inputs = Inputs(TableTransform({"x": np.arange(8)}, {"x": unchanged(8)}))
    query = FoldMoments(inputs, Targets(()), tuple(out for _, out in inner_folds(EVERYTHING, 0)))
    expected = query(client)
    monkeypatch.setattr(client_data, "PRODUCT_BYTES", 0)
    monkeypatch.setattr(client_data, "SLAB_ROWS", 7)
    for one, other in zip(query(client), expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)
