"""A product of rows and a matrix, row by row."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skfdrmfl.common.arrays import row_products


@pytest.mark.parametrize(("p", "q"), [(100, 32), (700, 5), (7, 1), (3, 100), (3, 0)])
def test_a_row_has_the_same_bits_alone_and_among_any_others(p, q):
    rng = np.random.default_rng(p)
    rows, matrix = rng.standard_normal((215, p)), rng.standard_normal((p, q))
    whole = row_products(rows, matrix)
    assert_allclose(whole, rows @ matrix, rtol=1e-12, atol=1e-12)
    for n in (1, 2, 5, 47, 48, 49, 130):
        mine = rng.choice(215, n, replace=False)
        assert_array_equal(row_products(rows[mine], matrix), whole[mine])
    assert row_products(rows[:0], matrix).shape == (0, q)
    assert_array_equal(row_products(rows[:, :0], matrix[:0]), np.zeros((215, q)))
