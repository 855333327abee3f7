"""A trained network's Z and predictions, row by row."""

import numpy as np
import pytest
from helpers import make_network, random_weights
from numpy.testing import assert_array_equal

from skfdrmfl.method.evaluate import evaluate, first_slopes

N = 215
NETWORKS = [
    {"columns": (24, 4), "hidden": (40,), "q": 2, "head_hidden": (16,)},
    {"columns": (100,), "hidden": (32,), "c": 1, "d": 8},
    {"columns": (24, 4), "hidden": (16, 8), "fusion": "mean", "d": 8},
    {"columns": (24, 4), "hidden": (16,), "fusion": "gated", "d": 8},
    {"columns": (24, 4), "hidden": (16,), "fusion": "attention", "d": 8},
]


def problem(options, lacking=False):
    """A network, its weights, rows, and which modalities each row has."""
    network, rng = make_network(**options), np.random.default_rng(0)
    present = rng.random((N, len(options["columns"]))) < 0.7 if lacking else None
    return (
        network,
        network.arrays(random_weights(network, 1)[0]),
        rng.standard_normal((N, sum(options["columns"]))),
        present,
    )


@pytest.mark.parametrize("options", NETWORKS)
@pytest.mark.parametrize("lacking", [False, True])
def test_a_row_has_the_same_bits_alone_and_among_any_others(options, lacking):
    network, arrays, x, present = problem(options, lacking)
    z, y_hat = evaluate(network, arrays, x, present)
    for n in (1, 2, 30, 47, 48, 49, 130):
        mine = np.random.default_rng(n).choice(N, n, replace=False)
        z_mine, y_mine = evaluate(network, arrays, x[mine], None if present is None else present[mine])
        assert_array_equal(z_mine, z[mine])
        assert_array_equal(y_mine, y_hat[mine])


@pytest.mark.parametrize("options", NETWORKS[:3])
def test_the_slopes_of_a_row_have_the_same_bits_alone_and_among_any_others(options):
    network, arrays, x, _ = problem(options)
    slopes = first_slopes(network, arrays, x, None)
    for n in (1, 30, 48, 130):
        mine = np.random.default_rng(n).choice(N, n, replace=False)
        for (of_mine, _), (of_all, _) in zip(first_slopes(network, arrays, x[mine], None), slopes, strict=True):
            assert_array_equal(of_mine, of_all[mine])
