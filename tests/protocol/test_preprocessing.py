"""Sums over clients against the pooled rows: numpy's covariance and eigenvectors, scikit-learn's scaler."""

import numpy as np
import pytest
from helpers import block_of, fit_tables, fit_targets, spectrum
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from skfdrmfl.clients.client_data import Client
from skfdrmfl.data.client_ids import encode_clients
from skfdrmfl.data.partition import Partition
from skfdrmfl.data.transforms import BlockTransform
from skfdrmfl.protocol.queries import whitening as preprocessing
from skfdrmfl.protocol.queries.whitening import BlockSum

SHRINKAGE = 1e-3


def table_of(seed, n, p, spread=2.0):
    """Correlated columns of moderate scales about means of their own."""
    rng = np.random.default_rng(seed)
    mixing = rng.standard_normal((p, p)) * spread ** rng.uniform(-1, 1, p)
    return rng.standard_normal((n, p)) @ mixing + 3 * rng.standard_normal(p)


def one_client(n):
    return Partition.of_codes(np.zeros(n, dtype=np.int64))


def transformed(table, partition=None, kind="whiten", shrinkage=SHRINKAGE, columns=None, rows=None):
    """The encoder inputs of `rows` (default: all), fitted on all."""
    columns = {"x": np.arange(table.shape[1])} if columns is None else columns
    (fitted,) = fit_tables(table, columns, partition or one_client(len(table)), kind, [shrinkage])
    return fitted.apply(table if rows is None else rows, np.float64)


def pooled_whitening(table, shrinkage=SHRINKAGE, scale=1.0):
    """Rows on the shrunk axes of the pooled covariance; compare by `gram`, signs and ties apart."""
    centred = (table - table.mean(0)) / scale
    ev, axes = np.linalg.eigh(np.cov(centred.T, bias=True).reshape(table.shape[1], -1))
    return centred @ axes / np.sqrt(ev.clip(0) + shrinkage * ev.max())


def gram(z):
    """Inner products of the rows: what signs and rotations of the columns leave alone."""
    return z @ z.T


# --------------------------------------------------------- federated = pooled, whoever holds which row

partitions = st.integers(2, 40).flatmap(
    lambda n: st.tuples(
        st.lists(st.integers(0, 6), min_size=n, max_size=n).map(np.array),
        st.integers(1, 5),
        st.integers(0, 99),
    )
)


@given(partitions)
def test_standardising_from_client_sums_is_standardising_the_pooled_rows(problem):
    codes, p, seed = problem
    table = table_of(seed, len(codes), p)
    z = transformed(table, Partition.of_codes(codes), "standardize")
    np.testing.assert_allclose(z, StandardScaler().fit_transform(table), rtol=1e-9, atol=1e-9)


@given(partitions)
def test_whitening_from_client_sums_is_whitening_the_pooled_rows(problem):
    codes, p, seed = problem
    table = table_of(seed, len(codes), p, spread=1.2)
    z = transformed(table, Partition.of_codes(codes))
    np.testing.assert_allclose(gram(z), gram(pooled_whitening(table)), rtol=1e-7, atol=1e-7)


@given(partitions)
def test_targets_are_standardised_from_client_sums(problem):
    codes, q, seed = problem
    targets = table_of(seed, len(codes), q)
    fitted = fit_targets(targets, Partition.of_codes(codes))
    scaler = StandardScaler().fit(targets)
    np.testing.assert_allclose(fitted.mean, scaler.mean_, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(fitted.scale, scaler.scale_, rtol=1e-9)


def test_whitening_without_shrinkage_is_sklearns_whitened_pca():
    table = table_of(0, 50, 4)
    z = transformed(table, shrinkage=0.0)
    theirs = PCA(whiten=True, svd_solver="full").fit_transform(table) * np.sqrt(50 / 49)  # it divides by n - 1
    np.testing.assert_allclose(np.abs(z), np.abs(theirs), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("shrinkage", [1e-4, 1e-2, 1.0])
def test_the_whitened_covariance_is_ev_over_ev_plus_shrinkage_times_the_largest(shrinkage):
    table = table_of(1, 60, 5)
    codes = np.random.default_rng(1).integers(0, 4, 60)
    z = transformed(table, Partition.of_codes(codes), shrinkage=shrinkage)
    ev = np.linalg.eigvalsh(np.cov(table.T, bias=True))[::-1]
    np.testing.assert_allclose(z.mean(0), 0, atol=1e-10)
    np.testing.assert_allclose(np.cov(z.T, bias=True), np.diag(ev / (ev + shrinkage * ev[0])), atol=1e-9)


@pytest.mark.parametrize("kind", ["whiten", "standardize"])
def test_power_is_the_mean_squared_length_of_a_transformed_training_row(kind):
    table = table_of(2, 40, 5)
    table[:, 3] = 7.0
    (fitted,) = fit_tables(table, {"x": np.arange(5)}, one_client(40), kind, [SHRINKAGE])
    z = fitted.apply(table, np.float64)
    np.testing.assert_allclose(fitted.blocks["x"].power, (z**2).sum(1).mean(), rtol=1e-9)


def test_without_preprocessing_the_rows_pass_unchanged():
    table = table_of(3, 20, 4)
    np.testing.assert_array_equal(transformed(table, kind=None), table)


def test_new_rows_are_transformed_by_the_training_statistics():
    table, new = table_of(4, 30, 3), table_of(5, 7, 3)
    scaler = StandardScaler().fit(table)
    np.testing.assert_allclose(transformed(table, kind="standardize", rows=new), scaler.transform(new), atol=1e-9)


def test_every_modality_is_transformed_on_its_own_and_widths_pad_with_zeros():
    table = table_of(6, 30, 6)
    columns = {"a": np.array([4, 0]), "b": np.array([1, 2, 3, 5])}
    (fitted,) = fit_tables(table, columns, one_client(30), "whiten", [SHRINKAGE])
    z = fitted.apply(table, np.float64)
    assert fitted.widths == {"a": 2, "b": 4}
    for name, mine in (("a", z[:, :2]), ("b", z[:, 2:])):
        np.testing.assert_allclose(mine, transformed(table[:, columns[name]]), rtol=1e-9, atol=1e-10)
    padded = fitted.apply(table, np.float64, {"a": 5, "b": 6})
    np.testing.assert_array_equal(padded[:, [0, 1, 5, 6, 7, 8]], z)
    assert not padded[:, [2, 3, 4, 9, 10]].any()


def test_several_shrinkages_at_once_are_each_alone():
    table = table_of(7, 30, 4)
    columns = {"a": np.array([0, 1]), "b": np.array([2, 3])}
    together = fit_tables(table, columns, one_client(30), "whiten", [1e-1, 1e-5])
    for fitted, shrinkage in zip(together, [1e-1, 1e-5], strict=True):
        z = fitted.apply(table, np.float64)
        np.testing.assert_array_equal(z, transformed(table, columns=columns, shrinkage=shrinkage))
    assert not np.allclose(*(t.blocks["a"].projection for t in together))


def test_reading_in_slabs_changes_nothing(monkeypatch):
    table = table_of(8, 33, 4)
    partition = Partition.of_codes(np.arange(33) % 3)
    whole = [transformed(table, partition, kind) for kind in ("whiten", "standardize")]
    monkeypatch.setattr("skfdrmfl.clients.client_data.SLAB_ROWS", 4)
    for kind, z in zip(("whiten", "standardize"), whole, strict=True):
        np.testing.assert_allclose(transformed(table, partition, kind), z, rtol=1e-9, atol=1e-10)


def test_the_same_rows_in_another_order_give_the_same_axes_and_signs():
    table = table_of(9, 40, 5)
    order = np.random.default_rng(0).permutation(40)
    z, shuffled = transformed(table), transformed(table[order])
    np.testing.assert_allclose(shuffled, z[order], rtol=1e-6, atol=1e-8)


# ------------------------------------------------------------------------- scales, offsets, constants


@pytest.mark.parametrize("kind", ["whiten", "standardize"])
@pytest.mark.parametrize("factor", [1e-200, 1e-30, 1e30, 1e200])
def test_units_of_the_whole_table_change_nothing(kind, factor):
    table = table_of(10, 40, 4)
    z, scaled = transformed(table, kind=kind), transformed(table * factor, kind=kind)
    np.testing.assert_allclose(scaled, z, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("kind", ["whiten", "standardize"])
def test_large_offsets_change_nothing_beyond_rounding(kind):
    table = table_of(11, 40, 4)
    offset = np.array([1e8, -1e8, 1e6, 0.0])
    z, moved = transformed(table, kind=kind), transformed(table + offset, kind=kind)
    np.testing.assert_allclose(gram(moved), gram(z), rtol=1e-5, atol=1e-5)


def test_columns_of_very_different_units_are_standardised_before_whitening():
    table = table_of(12, 40, 4, spread=1.0)
    table = (table - table.mean(0)) / table.std(0)
    near, far = table * [1, 2, 50, 99], table * [1, 2, 50, 101]
    np.testing.assert_allclose(gram(transformed(near)), gram(pooled_whitening(near)), rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(gram(transformed(far)), gram(pooled_whitening(table)), rtol=1e-6, atol=1e-8)
    extreme = table * [1e-200, 1e-3, 1e3, 1e200]
    np.testing.assert_allclose(gram(transformed(extreme)), gram(pooled_whitening(table)), rtol=1e-6, atol=1e-8)


@given(
    value=st.floats(-1e18, 1e18).filter(lambda v: abs(v) > 1e-12),
    n=st.integers(2, 60),
    kind=st.sampled_from(["whiten", "standardize"]),
)
def test_a_constant_column_is_as_if_it_were_not_there(value, n, kind):
    # Its mean is a rounded sum: what is left of the column is a rounding error, which must not be scaled up
    # nor, for a large constant, stand beside the others as it is.
    table = table_of(13, n, 3)
    with_constant = np.insert(table, 1, value, axis=1)
    z, other = transformed(table, kind=kind), transformed(with_constant, kind=kind)
    if kind == "standardize":
        np.testing.assert_allclose(other[:, 1], 0, atol=1e-9)
        other = np.delete(other, 1, axis=1)
    np.testing.assert_allclose(gram(other), gram(z), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("kind", ["whiten", "standardize"])
@pytest.mark.parametrize("n", [1, 5])
def test_a_table_of_constants_becomes_zeros(kind, n):
    z = transformed(np.full((n, 3), [0.1, -7.0, 1e-200]), Partition.of_codes(np.arange(n)), kind)
    assert z.shape[1] >= 1
    np.testing.assert_allclose(z, 0, atol=1e-12)


@pytest.mark.parametrize("kind", ["whiten", "standardize"])
def test_a_column_that_was_constant_in_training_says_nothing_later(kind):
    table = table_of(19, 30, 3)
    table[:, 1] = 4.0
    new = table_of(20, 6, 3)
    moved = new.copy()
    moved[:, 1] *= 1e6
    z, other = (transformed(table, kind=kind, rows=rows) for rows in (new, moved))
    np.testing.assert_array_equal(other, z)


def test_undoing_gives_back_the_targets_and_constant_ones_whatever_was_predicted():
    targets = table_of(18, 9, 3)
    targets[:, 1] = 0.1
    fitted = fit_targets(targets, one_client(9))
    standardised = fitted.apply(targets)
    np.testing.assert_allclose(standardised[:, 1], 0, atol=1e-12)
    np.testing.assert_allclose(fitted.undo(standardised), targets, rtol=1e-12)
    np.testing.assert_allclose(fitted.undo(standardised + np.array([0, 5, 0])), targets, rtol=1e-12)


def test_collinear_columns_keep_their_rank_and_no_rounding_directions():
    rng = np.random.default_rng(14)
    table = rng.standard_normal((50, 3)) @ rng.standard_normal((3, 8))
    z = transformed(table, shrinkage=0.0)
    assert z.shape == (50, 3)
    np.testing.assert_allclose(np.cov(z.T, bias=True), np.eye(3), atol=1e-8)


def test_directions_that_shrinkage_leaves_next_to_nothing_are_dropped():
    rng = np.random.default_rng(15)
    axes = np.linalg.qr(rng.standard_normal((40, 5))).Q
    axes = np.linalg.qr(axes - axes.mean(0)).Q * np.sqrt(40)  # exactly centred, white
    table = axes * np.array([1.0, 0.5, 0.1, 3e-5, 5e-6])
    # Shrinkage 1e-3 leaves (3e-5)^2 / 1e-3 = 9e-7, below a millionth; with 1e-4 only the last is below.
    np.testing.assert_allclose(rotated_share(table, 1e-3), [1.0, 1.0, 0.91], rtol=0.01)
    assert len(rotated_share(table, 1e-4)) == 4


def rotated_share(table, shrinkage):
    """Variances of the whitened columns, columns standing on one scale (no standardising)."""
    rng = np.random.default_rng(16)
    turned = table @ np.linalg.qr(rng.standard_normal((table.shape[1],) * 2)).Q
    return transformed(turned, shrinkage=shrinkage).var(0)


# -------------------------------------------------------------------------------------------- wide blocks


@pytest.fixture
def narrow_limit(monkeypatch):
    monkeypatch.setattr(preprocessing, "MAX_EXACT_COLUMNS", 20)
    monkeypatch.setattr(preprocessing, "RANGE_DIMENSIONS", 12)


def low_rank(seed, n, p, rank, noise):
    rng = np.random.default_rng(seed)
    scores = rng.standard_normal((n, rank)) * np.linspace(3, 1, rank)
    return scores @ np.linalg.qr(rng.standard_normal((p, rank))).Q.T + noise * rng.standard_normal((n, p))


@pytest.mark.usefixtures("narrow_limit")
@pytest.mark.parametrize("factor", [1e-200, 1.0, 1e200])
def test_a_wide_block_of_low_rank_is_whitened_on_its_exact_axes(factor):
    table = low_rank(0, 50, 40, 4, 1e-5)
    codes = np.random.default_rng(1).integers(0, 5, 50)
    z = transformed(table * factor, Partition.of_codes(codes))
    assert z.shape[1] < 20
    expected = pooled_whitening(table)
    np.testing.assert_allclose(gram(z), gram(expected), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(np.sort(z.var(0))[::-1][:4], np.sort(expected.var(0))[::-1][:4], rtol=1e-9)


@pytest.mark.parametrize("condition", [1.0, 1e4, 1e7, 1e9, 1e14, np.inf])
def test_columns_are_made_orthonormal_however_near_to_dependent_they_are(condition):
    rng = np.random.default_rng(0)
    columns = np.linalg.qr(rng.standard_normal((300, 8)))[0] @ np.diag(
        np.append(np.geomspace(1, 1e-3, 7), 1 / condition)
    )
    columns = columns @ np.linalg.qr(rng.standard_normal((8, 8)))[0]
    q, r = preprocessing._orthonormal(columns)
    np.testing.assert_allclose(q.T @ q, np.eye(8), atol=1e-14)
    np.testing.assert_allclose(q @ r, columns, atol=1e-14)


@pytest.mark.usefixtures("narrow_limit")
@pytest.mark.parametrize("few", [6, 12])
def test_the_axes_of_a_wide_block_are_exact_in_spite_of_noise_of_which_few_directions_are_asked(monkeypatch, few):
    monkeypatch.setattr(preprocessing, "FEW_DIMENSIONS", few)
    table = low_rank(6, 80, 40, 4, 0.03)
    z = transformed(table, Partition.of_codes(np.arange(80) % 3))
    assert z.shape[1] == few
    leading = np.argsort(-z.var(0))[:4]
    centred = table - table.mean(0)
    left = np.linalg.svd(centred, full_matrices=False).U[:, :4]  # the scores, white but for their lengths
    np.testing.assert_allclose(gram(z[:, leading]), 80 * gram(left * shrunk(centred)), rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("narrow_limit")
@pytest.mark.parametrize("last", [1.0, 0.01, 1e-4])
def test_directions_of_a_wide_block_that_are_no_noise_are_all_asked(monkeypatch, last):
    monkeypatch.setattr(preprocessing, "FEW_DIMENSIONS", 6)
    rng = np.random.default_rng(8)
    table = low_rank(7, 80, 40, 6, 0.0)  # then six more, of which the last are smaller still
    table += (rng.standard_normal((80, 6)) * np.geomspace(1.0, last, 6)) @ rng.standard_normal((6, 40)) / 40**0.5
    assert transformed(table, shrinkage=1e-6).shape[1] == 12


@pytest.mark.usefixtures("narrow_limit")
def test_the_first_variances_of_a_wide_block_whose_others_are_no_noise_are_exact():
    rng = np.random.default_rng(9)
    axes = np.linalg.qr(rng.standard_normal((40, 30))).Q
    table = (rng.standard_normal((80, 30)) * np.geomspace(1.0, 1e-3, 30)) @ axes.T
    centred = table - table.mean(0)
    exact = np.linalg.svd(centred, compute_uv=False)[:6] ** 2 / 80
    found = spectrum(table, Partition.of_codes(np.arange(80) % 3))
    np.testing.assert_allclose((found.scale[0] ** 2 * found.eigenvalues)[:6], exact, rtol=1e-9)


@pytest.mark.usefixtures("narrow_limit")
@pytest.mark.parametrize(("rank", "n_asked"), [(4, [6, 6]), (12, [6, 6, 12, 12, 12])])
def test_more_directions_of_a_wide_block_are_asked_only_where_few_leave_more_than_noise(monkeypatch, rank, n_asked):
    monkeypatch.setattr(preprocessing, "FEW_DIMENSIONS", 6)
    asked, honest = [], preprocessing.RangeProducts._of
    monkeypatch.setattr(
        preprocessing.RangeProducts, "_of", lambda self, x: asked.append(self.directions.shape[1]) or honest(self, x)
    )
    transformed(low_rank(6, 80, 40, rank, 0.03))
    assert asked == n_asked


@pytest.mark.parametrize("n_left", [1, 2, 30])
def test_directions_leave_noise_where_the_least_has_five_times_the_variance_of_one_that_is_left(n_left):
    for least, noise in [(4.99, True), (5.01, False)]:
        found = np.array([least, 20.0, 1e5])
        assert preprocessing._leave_noise(found, found.sum() + n_left, 3 + n_left) is noise


def shrunk(centred):
    ev = np.linalg.svd(centred, compute_uv=False)[:4] ** 2
    return np.sqrt(ev / (ev + SHRINKAGE * ev[0]))


@pytest.mark.usefixtures("narrow_limit")
def test_a_wide_block_without_a_low_dimensional_range_is_standardised():
    table = np.random.default_rng(2).standard_normal((60, 40))
    assert spectrum(table, one_client(60)) is None
    z = transformed(table, Partition.of_codes(np.arange(60) % 7))
    np.testing.assert_allclose(z, StandardScaler().fit_transform(table), rtol=1e-9, atol=1e-9)


@pytest.mark.usefixtures("narrow_limit")
def test_a_constant_column_of_a_wide_block_is_as_if_it_were_not_there():
    table = low_rank(3, 50, 40, 3, 1e-5)
    for value in (0.1, 1e9, 1.1e16):
        with_constant = np.insert(table, 7, value, axis=1)
        np.testing.assert_allclose(gram(transformed(with_constant)), gram(transformed(table)), rtol=1e-4, atol=1e-4)


# ---------------------------------------------------------------------------- the server sees only sums


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("kind", ["whiten", "standardize", "targets"])
def test_rows_are_read_one_client_at_a_time_and_leave_it_as_sums(monkeypatch, wide, kind):
    if wide:
        monkeypatch.setattr(preprocessing, "MAX_EXACT_COLUMNS", 10)
        monkeypatch.setattr(preprocessing, "RANGE_DIMENSIONS", 6)
    table = low_rank(4, 60, 15, 2, 1e-6)
    partition = Partition.of_codes(np.random.default_rng(5).integers(0, 4, 60))
    inside, reads, sent = [], [], []
    honest_slabs, honest_answer = Client.slabs, BlockSum.__call__

    def slabs(self, block, subset):
        assert inside, "rows were read outside any client"
        assert self is inside[0], "a client read the rows of another"
        for x in honest_slabs(self, block, subset):
            np.testing.assert_array_equal(x, table[self.rows][:, : x.shape[1]])
            reads.append(len(x))
            yield x

    def answer(self, client):
        assert any(np.array_equal(client.rows, mine) for mine in partition.rows)
        inside.append(client)
        part = honest_answer(self, client)
        inside.pop()
        sent.append(tuple(np.shape(value) for value in part))
        return part

    monkeypatch.setattr(Client, "slabs", slabs)
    monkeypatch.setattr(BlockSum, "__call__", answer)
    if kind == "targets":
        fit_targets(table, partition)
    elif kind == "whiten":
        assert spectrum(table, partition) is not None
    else:
        block_of(table, partition, "standardize")
    assert sum(reads) % 60 == 0
    assert sum(reads) >= 120
    # What is sent has the same size whatever the number of rows: it is made of columns and directions.
    n_clients = len(partition.rows)
    for i in range(0, len(sent), n_clients):
        assert len(set(sent[i : i + n_clients])) == 1
        for shape in sent[i]:
            assert set(shape) <= {2, 6, 15}


def test_the_whole_fit_reads_nothing_but_what_clients_sum(monkeypatch):
    # Poison everyone's rows but those of the client whose turn it is: the result must not notice.
    table = table_of(17, 40, 5)
    partition = Partition.of_codes(np.arange(40) % 4)
    clean = transformed(table, partition)
    shown = np.full_like(table, np.nan)
    honest = BlockSum.__call__

    def alone(self, client):
        shown[client.rows] = table[client.rows]
        part = honest(self, client)
        shown[client.rows] = np.nan
        return part

    monkeypatch.setattr(BlockSum, "__call__", alone)
    (fitted,) = fit_tables(shown, {"x": np.arange(5)}, partition, "whiten", [SHRINKAGE])
    np.testing.assert_array_equal(fitted.apply(table, np.float64), clean)
    targets = fit_targets(shown, partition)
    np.testing.assert_allclose(targets.mean, table.mean(0), rtol=1e-9)


# ---------------------------------------------------------------------------------------- whose rows


@given(st.lists(st.integers(0, 6), min_size=1, max_size=40))
def test_a_partition_gives_every_row_to_its_client_in_the_order_of_the_table(codes):
    codes = np.array(codes)
    partition = Partition.of_codes(codes)
    np.testing.assert_array_equal(partition.positions, np.unique(codes))
    np.testing.assert_array_equal(partition.sizes, np.unique(codes, return_counts=True)[1])
    for position, rows in zip(partition.positions, partition.rows, strict=True):
        np.testing.assert_array_equal(rows, np.flatnonzero(codes == position))


@given(
    st.lists(st.sampled_from("abcdefg"), min_size=1, max_size=20),
    st.lists(st.sampled_from("abcdefg"), min_size=1, max_size=20),
)
def test_clients_are_an_append_only_list(first, later):
    clients, codes = encode_clients(np.array(first))
    assert clients[codes].tolist() == first
    assert clients.tolist() == sorted(set(first))
    more, later_codes = encode_clients(np.array(later), clients)
    assert more[later_codes].tolist() == later
    assert more[: len(clients)].tolist() == clients.tolist()
    assert sorted(more.tolist()) == sorted(set(first) | set(later))


# -------------------------------------------------------------------------- the limit beyond which a block is wide


@pytest.mark.usefixtures("narrow_limit")
@pytest.mark.parametrize("span", [10.0, 1e6], ids=["one scale for all columns", "each its own"])
@pytest.mark.parametrize("unit", [1e-30, 1.0, 1e30])
def test_a_wide_block_is_low_dimensional_where_its_leading_axes_hold_99_percent(span, unit):
    rng = np.random.default_rng(21)
    signal = rng.standard_normal((80, 12)) @ np.linalg.qr(rng.standard_normal((40, 12))).Q.T
    noise = rng.standard_normal((80, 40))
    units = unit * span ** np.linspace(-0.5, 0.5, 40)

    def table(level):
        return np.insert((signal + level * noise) * units, 5, 7.0 * unit, axis=1)  # and a column that is constant

    def share(level):
        varying = np.delete(table(level), 5, axis=1) / unit
        products = np.cov(varying.T) if span <= 100 else np.corrcoef(varying.T)
        return np.linalg.eigvalsh(products)[-12:].sum() / np.trace(products)

    limit = brentq(lambda level: share(level) - 0.99, 1e-3, 1.0)
    for level, narrow in ((0.99 * limit, True), (1.01 * limit, False)):
        assert (spectrum(table(level), one_client(80)) is not None) == narrow


@pytest.mark.usefixtures("narrow_limit")
@pytest.mark.parametrize(("n_columns", "exact"), [(20, True), (21, False)])
def test_a_block_of_as_many_columns_as_the_limit_is_whitened_on_all_its_axes(n_columns, exact):
    table = np.random.default_rng(22).standard_normal((60, n_columns))
    found = spectrum(table, one_client(60))
    assert (found is not None) == exact
    if found is not None:
        np.testing.assert_allclose(
            found.eigenvalues * found.scale[0] ** 2, PCA().fit(table).explained_variance_ * 59 / 60
        )


@pytest.mark.parametrize("at_a_time", [1, 7, 30])
def test_transforming_in_slabs_changes_nothing(monkeypatch, at_a_time):
    table = table_of(23, 30, 6)
    columns = {"a": np.array([4, 0]), "b": np.array([1, 2, 3, 5])}
    present = np.random.default_rng(23).random((30, 2)) < 0.6
    (fitted,) = fit_tables(table, columns, one_client(30), "whiten", [SHRINKAGE])
    widths = {"a": 3, "b": 4}
    whole = fitted.apply(table, np.float64, widths, present)
    expected = transformed(table, columns=columns) * np.repeat(present, [2, 4], axis=1)
    np.testing.assert_allclose(np.delete(whole, 2, axis=1), expected, rtol=1e-12)
    monkeypatch.setattr("skfdrmfl.data.transforms.SLAB_ROWS", at_a_time)
    np.testing.assert_allclose(fitted.apply(table, np.float64, widths, present), whole, rtol=1e-12)


def test_a_column_that_says_nothing_is_counted_in_its_own_units():
    scale, projection = np.array([2.0, np.inf, 3.0]), np.array([[1.0, -4.0], [1.0, 1.0], [0.0, 0.0]])
    np.testing.assert_array_equal(BlockTransform(np.zeros(3), scale, projection, 1.0).units, [2.0 / 4.0, 1.0, 1.0])
