"""What a site works out is kept for the object it was worked out for; sums of many clients are those of each."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.clients import client_data, simulation
from skfdrmfl.clients.client_data import ClientData, _Kept
from skfdrmfl.clients.simulation import Simulation
from skfdrmfl.data.held_out import EVERYTHING
from skfdrmfl.data.partition import Partition
from skfdrmfl.fit.fit_preprocessing import MEMO
from skfdrmfl.protocol.door import Block
from skfdrmfl.protocol.queries.whitening import ColumnSums, SecondMoments


def test_of_more_results_than_are_kept_the_one_longest_unused_is_dropped():
    kept, computed, keys = _Kept(2), [], [[], [], []]

    def of(i):
        return kept.once(keys[i], lambda: computed.append(i))

    for i in (0, 1, 0, 2, 0, 1):  # at 2, 1 is the one longest unused; at 1 it is 2
        of(i)
    assert computed == [0, 1, 2, 1]


@pytest.mark.parametrize("parameters", [{}, {"participation": 0.5, "early_stopping": True}])
def test_sums_of_all_rows_at_once_are_those_client_by_client(parameters, monkeypatch):
    """In value, and in the ledger to the last record; rows of 12 clients, of unequal numbers."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((90, 5)) * [1, 2, 1, 300, 0]
    ids = np.concatenate([np.arange(12), rng.integers(0, 12, 78)])
    models = []
    for many in (1, 1000):
        monkeypatch.setattr(simulation, "MANY_CLIENTS", many)
        MEMO.clear()
        model = FDRMFLTransformer(n_rounds=1, tuning=None, random_state=0, modalities={"a": [0, 2], "b": [1, 3, 4]})
        models.append(model.set_params(**parameters).fit(X, X[:, 0] + X[:, 1], client_ids=ids))
    MEMO.clear()
    together, one_by_one = models
    assert list(together.federation_log_) == list(one_by_one.federation_log_)
    assert together.federation_log_.by_client() == one_by_one.federation_log_.by_client()
    assert together.federation_log_.exchanges == one_by_one.federation_log_.exchanges
    assert_allclose(together.predict(X), one_by_one.predict(X), rtol=1e-4, atol=1e-5)
    assert_allclose(together.feature_importances_, one_by_one.feature_importances_, rtol=1e-4)
    assert_allclose(together.component_variance_, one_by_one.component_variance_, rtol=1e-3, atol=1e-9)
    assert_allclose(together.domain(X)["T2"], one_by_one.domain(X)["T2"], rtol=1e-9)


def test_answers_are_looked_at_one_by_one_where_a_guard_does_or_modalities_are_missing(monkeypatch):
    X = np.random.default_rng(0).standard_normal((60, 4))
    X[::4, 2:] = np.nan
    found = []
    for many in (1, 1000):
        monkeypatch.setattr(simulation, "MANY_CLIENTS", many)
        MEMO.clear()
        model = FDRMFLTransformer(n_rounds=1, tuning=None, random_state=0, modalities={"a": [0, 1], "b": [2, 3]})
        found.append(model.fit(X, X[:, 0], client_ids=np.arange(60) % 6).predict(X).tobytes())
        guarded = FDRMFLTransformer(n_rounds=1, tuning=None, random_state=0, aggregation="median")
        found.append(guarded.fit(X[:, :2], X[:, 0], client_ids=np.arange(60) % 6).predict(X[:, :2]).tobytes())
    MEMO.clear()
    assert found[:2] == found[2:]


def test_sums_of_all_rows_at_once_are_those_of_a_loop_over_clients(monkeypatch):
    rng = np.random.default_rng(0)
    X, codes = rng.standard_normal((2500, 4)), rng.integers(0, 40, 2500)
    block = Block(np.array([0, 2, 3]))
    queries = ColumnSums(block, EVERYTHING), SecondMoments(block, EVERYTHING, np.full(3, 0.1), np.ones(3))
    rows = [np.flatnonzero(codes == k)[:, None] for k in np.unique(codes)]
    by_hand = [
        sum(x.sum(0) for x in (X[mine, block.columns] for mine in rows)),
        sum(z.T @ z for z in (X[mine, block.columns] - 0.1 for mine in rows)),
    ]
    for many in (1, 1000):
        monkeypatch.setattr(simulation, "MANY_CLIENTS", many)
        federation = Simulation(ClientData(X, X[:, :1]), Partition.of_codes(codes))
        for answer, total in zip(federation.sum(*queries), by_hand, strict=True):
            assert answer.n_rows == 2500
            assert_allclose(answer.total, total, rtol=1e-12)


def test_the_rows_of_a_partition_are_those_of_a_loop():
    rng = np.random.default_rng(0)
    codes, keep, there = rng.integers(0, 9, 40), rng.random(40) < 0.3, rng.random(9) < 0.5
    whole, numbers = Partition.of_codes(codes), rng.permutation(40)
    mine = {k: np.flatnonzero(codes == k) for k in range(9) if (codes == k).any()}
    expected = [
        (whole, mine),
        (whole.restricted_to(there[whole.positions]), {k: rows for k, rows in mine.items() if there[k]}),
        (whole.where(keep[whole.joined]), {k: rows[keep[rows]] for k, rows in mine.items() if keep[rows].any()}),
        (whole.numbered(numbers), {k: numbers[rows] for k, rows in mine.items()}),
    ]
    for partition, rows in expected:
        assert partition.positions.tolist() == list(rows)
        assert [found.tolist() for found in partition.rows] == [of.tolist() for of in rows.values()]
        assert partition.sizes.tolist() == [len(of) for of in rows.values()]


def test_slopes_of_a_small_table_are_taken_of_all_its_rows_once_and_of_a_large_one_slab_by_slab(monkeypatch):
    rng = np.random.default_rng(0)
    X, ids, taken, slopes = rng.standard_normal((90, 3)), np.arange(90) % 2, [], client_data.factored_slopes
    monkeypatch.setattr(client_data, "factored_slopes", lambda *a: taken.append(len(a[2])) or slopes(*a))
    for slab_rows, n_rows in ((90, [90]), (89, [45, 45]), (40, [40, 5, 40, 5])):
        monkeypatch.setattr(client_data, "SLAB_ROWS", slab_rows)
        taken.clear()
        FDRMFLTransformer(n_rounds=1, local_epochs=1, tuning=None, random_state=0).fit(X, X[:, 0], client_ids=ids)
        assert taken == n_rows
