"""The rows of a table take one product where whitening and the first layer are two, the same to rounding."""

import numpy as np
import pytest
from helpers import make_network, random_weights

from skfdrmfl.common.arrays import SLAB_ROWS
from skfdrmfl.data import transforms
from skfdrmfl.data.transforms import BlockTransform, TableTransform
from skfdrmfl.method.evaluate import forward_pass
from skfdrmfl.method.trained_network import TrainedNetwork

COLUMNS = {"a": np.array([6, 1, 2, 0]), "b": np.array([3, 4, 5])}


def trained(seed, **options):
    """A network behind a whitening of four columns to three, and a standardisation of three."""
    rng = np.random.default_rng(seed)
    projection = rng.standard_normal((4, 3)) * [1.0, 30.0, 1000.0]
    blocks = {
        "a": BlockTransform(rng.standard_normal(4), np.array([0.5, 1.0, np.inf, 2.0]), projection, 3.0),
        "b": BlockTransform(rng.standard_normal(3), np.array([1.0, 3.0, 0.1]), None, 3.0),
    }
    network = make_network((3, 3), names="ab", **options)
    return TrainedNetwork(TableTransform(COLUMNS, blocks), network, network.arrays(random_weights(network, 1, seed)[0]))


def table_of(n, *, lacking):
    """Rows (n, 7), of which a half lack the second modality or none does, and which have which."""
    table = np.random.default_rng(n).standard_normal((n, 7))
    if not lacking:
        return table, None
    present = np.ones((n, 2), dtype=bool)
    present[::2, 1] = False
    table[::2, COLUMNS["b"]] = np.nan
    return table, present


@pytest.mark.parametrize("lacking", [False, True], ids=["complete", "lacking"])
@pytest.mark.parametrize("options", [{}, {"hidden": ()}, {"fusion": "attention", "head_hidden": (3,)}, {"skip": False}])
def test_rows_are_evaluated_as_defined(options, lacking):
    model = trained(0, **options)
    table, present = table_of(2 * SLAB_ROWS + 17, lacking=lacking)
    z, y_hat = model.evaluate(table, present)
    inputs = model.table.apply(table, np.dtype(np.float64), present=present)
    expected = forward_pass(model.network, model.arrays, _tensor(inputs), present)
    np.testing.assert_allclose(z, expected[0].numpy(), rtol=1e-11, atol=1e-11 * np.abs(z).max())
    np.testing.assert_allclose(y_hat, expected[1].numpy(), rtol=1e-11, atol=1e-11 * np.abs(y_hat).max())


def test_rows_take_no_product_as_wide_as_their_columns(monkeypatch):
    model, widths = trained(0, hidden=(1,), d=1), set()

    def watched(rows, matrix):
        widths.add(matrix.shape)
        return rows @ matrix

    monkeypatch.setattr(transforms, "row_products", watched)
    model.evaluate(*table_of(5, lacking=False))
    assert widths == {(4, 2), (3, 2)}  # a hidden unit, and the skip


def _tensor(array):
    import torch

    return torch.from_numpy(array)


def test_a_row_has_the_same_bits_alone_and_among_many():
    model = trained(0, q=2)
    table, present = table_of(SLAB_ROWS + 300, lacking=True)
    z, y_hat = model.evaluate(table, present)
    for mine in (slice(7, 8), slice(100, 149), slice(SLAB_ROWS - 1, None)):
        z_mine, y_mine = model.evaluate(table[mine], present[mine])
        np.testing.assert_array_equal(z_mine, z[mine])
        np.testing.assert_array_equal(y_mine, y_hat[mine])
