"""Distances of a domain: leaving a row out is a refit without it, limits hold their share, wrong columns are named."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.covariance import EmpiricalCovariance

from skfdrmfl.data.transforms import BlockSpectrum
from skfdrmfl.method.domain import EDGES, BlockDomain, Domain, counted, of_spectrum, of_transform, rank_of

LEVEL = 0.95


def domain_of(x, n_axes=None):
    """The domain of rows x (n, p), by an eigendecomposition."""
    mean = x.mean(0)
    values, vectors = np.linalg.eigh(np.cov(x.T, bias=True))
    values, vectors = values[::-1][:n_axes], vectors[:, ::-1][:, :n_axes]
    rest = np.trace(np.cov(x.T, bias=True)) - values.sum()
    return BlockDomain(mean, np.ones(x.shape[1]), vectors, values, max(rest, 1e-9), float(len(x)))


def with_rows(block, x):
    """The domain of one modality in which rows x have been counted."""
    found = block.distances(x)
    both = np.concatenate((found, block.left_out(found)), 1) / np.tile(block.units, 2)
    counts = counted(both, EDGES)[None]
    empty = Domain.without_rows({"x": np.arange(x.shape[1])}, {"x": block}, np.zeros(0, np.int64), 1)
    return empty.with_rows(counts[:, :2], counts[:, 2:], counted(np.zeros((1, 1)), np.linspace(-16, 16, 321)))


def test_t2_of_a_row_left_out_is_that_of_the_moments_of_the_others():
    x = np.random.default_rng(0).standard_normal((12, 3)) @ np.diag([3.0, 2.0, 1.0])
    block = domain_of(x)
    found = block.left_out(block.distances(x))[:, 0]
    expected = [
        float(EmpiricalCovariance().fit(np.delete(x, i, 0)).mahalanobis(x[i : i + 1])[0]) for i in range(len(x))
    ]
    assert_allclose(found, expected, rtol=1e-10)


@pytest.mark.parametrize("seed", range(3))
def test_q_of_a_row_left_out_is_nearly_that_of_the_axes_of_the_others(seed):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((40, 2)) @ rng.standard_normal((2, 6)) * 3 + 0.1 * rng.standard_normal((40, 6))
    block = domain_of(x, 2)
    found = block.left_out(block.distances(x))[:, 1]
    expected = [domain_of(np.delete(x, i, 0), 2).distances(x[i : i + 1])[0, 1] for i in range(len(x))]
    assert abs(np.mean(found) / np.mean(expected) - 1) < 0.02
    assert abs(np.mean(block.distances(x)[:, 1]) / np.mean(expected) - 1) > 0.05


@pytest.mark.sampled()
@pytest.mark.parametrize("tails", ["normal", "heavy"])
@pytest.mark.parametrize("n", [16, 60, 200])
def test_limits_hold_their_share_of_new_rows(n, tails):
    rng = np.random.default_rng(n)
    loadings = rng.standard_normal((3, 10))
    noise = rng.standard_normal if tails == "normal" else lambda shape: rng.standard_t(4, shape)

    def draw(m):
        return noise((m, 3)) @ loadings + 0.1 * noise((m, 10))

    inside = []
    for _ in range(60):
        x = draw(n)
        domain = with_rows(domain_of(x, 3), x)
        new = domain.distances(draw(200), None)[:, 0]
        inside.append((new <= domain.limits(LEVEL).usual[0]).mean(0))
    t2, q = np.mean(inside, 0)
    assert min(t2, q) > LEVEL - 0.03
    if n >= 60:
        assert max(t2, q) < LEVEL + 0.025


def test_no_training_row_is_far_outside_however_far_out_it_is():
    x = np.random.default_rng(0).standard_normal((50, 4))
    x[7] *= 1e4
    domain = with_rows(domain_of(x), x)
    assert (domain.distances(x, None) <= domain.limits(0.99).far).all()
    assert (domain.distances(1e3 * x[7:8], None)[0] > domain.limits(0.99).far).any()


@pytest.mark.parametrize("n_axes", [None, 2, 0], ids=["complete", "two axes", "none"])
def test_rows_beyond_limits_are_those_whose_distances_are(n_axes):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((60, 4)) @ np.diag([3.0, 2.0, 1.0, 0.5])
    block = domain_of(x, n_axes)
    directions = np.concatenate((block.axes.T, rng.standard_normal((200, 4))))
    far = np.concatenate([block.mean + size * directions for size in np.geomspace(0.01, 100.0, 25)])
    odd = np.full((2, 4), [[np.nan], [np.inf]])
    rows = np.concatenate((x, far, odd, [[1e200, 0.0, 0.0, 0.0]]))
    domain = with_rows(block, x)
    for limits in (domain.limits(LEVEL).usual, domain.limits(LEVEL).far, np.zeros((1, 2))):
        expected = (domain.distances(rows, None) > limits).any((1, 2))
        assert expected.any() and (not limits.any() or not expected.all())
        np.testing.assert_array_equal(domain.beyond(rows, None, limits), expected)
        lacking = np.zeros((len(rows), 1), dtype=bool)
        assert not domain.beyond(rows, lacking, limits).any()


def test_rows_near_the_mean_take_no_product_with_axes(monkeypatch):
    x = np.random.default_rng(0).standard_normal((60, 4))
    domain, asked = with_rows(domain_of(x), x), []
    exact = BlockDomain._distances
    monkeypatch.setattr(BlockDomain, "_distances", lambda self, z: asked.append(len(z)) or exact(self, z))
    domain.beyond(np.concatenate((x, 1e3 * x[:1])), None, domain.limits(0.99).far)
    assert asked == [1]


@pytest.mark.parametrize("shrinkage", [0.0, 2e-4, 0.3])
def test_the_axes_are_those_before_whitening_whatever_the_shrinkage(shrinkage):
    x = np.random.default_rng(0).standard_normal((60, 5)) @ np.diag([5.0, 3.0, 1.0, 0.3, 1e-2])
    values, vectors = np.linalg.eigh(np.cov(x.T, bias=True))
    spectrum = BlockSpectrum(x.mean(0), np.full(5, 2.0), values[::-1] / 4, vectors[:, ::-1])
    there, back = of_spectrum(spectrum, 60), of_transform(spectrum.whitening(shrinkage), shrinkage, 0, 60)
    assert len(there.variances) == 5
    assert_allclose(back.variances, there.variances, rtol=1e-8)
    assert_allclose(back.distances(x), there.distances(x), rtol=1e-8, atol=1e-12)


def test_columns_that_are_wrong_are_named_and_not_those_beside_them():
    rng = np.random.default_rng(0)
    wave = np.sin(np.arange(60) / np.array([[9.0], [13.0], [17.0], [23.0]]))
    x = 3 + rng.standard_normal((80, 4)) @ wave + 0.01 * rng.standard_normal((80, 60))
    domain = with_rows(domain_of(x, 4), x)
    spoiled = x[:20].copy()
    starts = rng.integers(0, 48, 20)
    for row, start in zip(spoiled, starts.tolist(), strict=True):
        row[start : start + 12] += 2.0
    named = np.array(domain.moved(spoiled, 0))[:, :3]
    by_least_squares = np.argsort(-np.abs(domain.blocks["x"].scores(spoiled)[1]))[:, :3]
    right, other = (
        np.mean((found >= starts[:, None]) & (found < starts[:, None] + 12)) for found in (named, by_least_squares)
    )
    assert right > 0.9 and other < 0.75


def test_the_rank_is_the_smallest_that_covers_the_level():
    assert [rank_of(n, 0.9) for n in (8, 9, 19, 20)] == [9, 9, 18, 19]
