"""Sums by fold are those of the pooled rows that each fold holds out, whoever holds which row."""

from dataclasses import replace

import numpy as np
import pytest
from helpers import simulate
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.cross_decomposition import PLSRegression
from sklearn.linear_model import Ridge

from skfdrmfl.clients.remote.codec import from_packet, to_packet
from skfdrmfl.data.held_out import EVERYTHING, Fold, Split, inner_folds
from skfdrmfl.data.transforms import TableTransform, scaled
from skfdrmfl.mixture.linear_paths import best_of_path, pls_path, ridge_path
from skfdrmfl.mixture.moments import Moments
from skfdrmfl.protocol.plan import Inputs, Targets
from skfdrmfl.protocol.queries.members import FoldMoments
from skfdrmfl.server.outlying_clients import OutlyingClients

K = 5
rng = np.random.default_rng(0)
X = 50.0 + rng.standard_normal((60, 6)) @ rng.standard_normal((6, 6))
Y = np.stack([X[:, 0] - X[:, 1], X[:, 2] ** 2], 1) + rng.standard_normal((60, 2))
THREE = np.repeat([0, 1, 2], [30, 20, 10])
Z, T = (X - X.mean(0)) / X.std(0), (Y - Y.mean(0)) / Y.std(0)


def asked(of=EVERYTHING, n_folds=K, seed=0, x=X):
    """The query for standardised blocks of four columns and two, side by side."""
    columns = {"a": np.arange(4), "b": np.arange(4, 6)}
    blocks = {name: scaled(x[:, mine].mean(0), x[:, mine].std(0)) for name, mine in columns.items()}
    sides = tuple(held_out for _, held_out in inner_folds(of, seed, n_folds))
    y = scaled(Y.mean(0), Y.std(0))
    return FoldMoments(Inputs(TableTransform(columns, blocks)), Targets((y,)), sides, of)


def fold_of_rows(codes, blocks=None, seed=0):
    """The fold (n,) that holds out each row, client by client."""
    found = np.full(len(codes), -1)
    for position in np.unique(codes):
        rows = np.flatnonzero(codes == position)
        own = np.arange(len(rows)) if blocks is None else np.unique(blocks[rows], return_inverse=True)[1]
        for k, (kept, out) in enumerate(inner_folds(EVERYTHING, seed, K)):
            mask = out.mask(own, position)
            assert_array_equal(kept.mask(own, position), ~mask)
            assert (found[rows[mask]] == -1).all()
            found[rows[mask]] = k
    assert (found >= 0).all()
    return found


def assert_are_of_rows(sums, x, y, fold):
    for k in range(K):
        mine = Moments.of_rows(x[fold == k], y[fold == k])
        for found, expected in zip(sums, mine._sums(), strict=True):
            assert found.shape == (K, *np.shape(expected))
            assert_allclose(found[k], expected, rtol=1e-10, atol=1e-10)


@settings(max_examples=5)  # sixty clients in all
@given(codes=st.lists(st.integers(0, 9), min_size=60, max_size=60), seed=st.integers(0, 9))
def test_sums_are_those_of_pooled_rows_whoever_holds_which(codes, seed):
    """Clients of fewer rows than folds among them."""
    codes = np.array(codes)
    (sums,) = simulate(X, Y, codes).sum(asked(seed=seed))
    assert_are_of_rows(sums, Z, T, fold_of_rows(codes, seed=seed))
    assert sums.n.sum() == 60


def test_a_fold_without_rows_has_sums_of_zero():
    (sums,) = simulate(X[:3], Y[:3]).sum(asked())
    empty = sums.n == 0
    assert empty.sum() == 2
    assert all((part[empty] == 0).all() for part in sums)


def test_rows_of_a_block_are_held_out_together():
    codes, blocks = THREE, np.arange(60) // 4
    (sums,) = simulate(X, Y, codes, blocks=blocks).sum(asked())
    fold = fold_of_rows(codes, blocks)
    assert_are_of_rows(sums, Z, T, fold)
    assert all(len(set(fold[(codes == c) & (blocks == b)])) == 1 for c, b in zip(codes, blocks, strict=True))


def test_rows_that_lack_a_modality_are_zeros_there():
    present = np.ones((60, 2), dtype=bool)
    present[::3, 1] = False
    (sums,) = simulate(X, Y, THREE, present=present, n_modalities=2).sum(asked())
    holed = Z.copy()
    holed[::3, 4:] = 0.0
    assert_are_of_rows(sums, holed, T, fold_of_rows(THREE))


def test_folds_of_a_subset_hold_each_of_its_rows_once_and_no_other():
    codes = np.repeat([0, 1, 2], [40, 19, 1])  # the last has no row to hold out
    subset = Split(0.3, 7, held_out=True)
    federation = simulate(X, Y, codes)
    (sums,) = federation.sum(asked(subset))
    assert federation.roster(subset).sizes.tolist() == [12, 6]
    assert sums.n.sum() == 18
    rows = np.concatenate([c.rows_of(subset) for c in federation.clients])
    assert_allclose(sums.xx.sum(0), Z[rows].T @ Z[rows], rtol=1e-10)
    assert asked(subset)(federation.clients[2]) is None


def test_linear_models_of_kept_rows_and_their_errors_follow_from_three_clients_sums():
    (sums,) = simulate(X, Y, THREE).sum(asked())
    held_out, fold = Moments(*sums), fold_of_rows(THREE)
    penalties = [1.0, 1e-2, 1e-4]
    of_ridge, of_pls = (path(held_out.kept) for path in (lambda m: ridge_path(m, penalties), pls_of))
    errors = np.zeros((2, 3, 2))
    for k in range(K):
        kept, out = fold != k, fold == k
        top = np.linalg.eigvalsh(np.cov(Z[kept].T, bias=True))[-1]
        for i, penalty in enumerate(penalties):
            ridge = Ridge(alpha=penalty * kept.sum() * top).fit(Z[kept], T[kept])
            assert_allclose(of_ridge[0][i, k], ridge.coef_.T, atol=1e-8)
            errors[0, i] += np.square(ridge.predict(Z[out]) - T[out]).sum(0)
            for j in range(2):
                pls = PLSRegression(i + 1, scale=False).fit(Z[kept], T[kept, j])
                assert_allclose(of_pls[0][i, k, :, j], pls.coef_[0], atol=1e-8)
                errors[1, i, j] += np.square(pls.predict(Z[out]).ravel() - T[out, j]).sum()
    for path, expected in zip((of_ridge, of_pls), errors, strict=True):
        best, found = best_of_path(path, held_out)
        assert_allclose(found, expected, rtol=1e-8)
        assert_array_equal(best, expected.argmin(0))


def pls_of(moments):
    return pls_path(moments, 3)


# ------------------------------------------------------------------------------------- on its way


def test_a_query_and_its_answer_cross_a_wire_as_they_are():
    there = from_packet(to_packet(asked(seed=3)))
    assert there.folds == asked(seed=3).folds and there.subset is EVERYTHING
    clients = simulate(X, Y, THREE).clients
    answer, same = asked(seed=3)(clients[1]), from_packet(to_packet(there(clients[1])))
    assert type(same) is type(answer)
    assert all(a.tobytes() == b.tobytes() for a, b in zip(answer, same, strict=True))


def test_one_exchange_counts_what_the_folds_weigh():
    federation = simulate(X, Y, THREE)
    federation.sum(asked())
    (message,) = federation.ledger.log(list("abc"))
    assert (message.what, message.direction, message.clients) == ("products by fold", "up", 3)
    assert message.shape == ((K,), (K, 6), (K, 2), (K, 6, 6), (K, 6, 2), (K, 2, 2))
    assert message.bytes == 3 * 8 * K * (1 + 6 + 2 + 36 + 12 + 4)


@pytest.mark.parametrize("what", ["x", "y"])
def test_a_guard_leaves_out_who_answers_in_other_units_and_not_who_has_one_row(what):
    codes = np.repeat(np.arange(6), [14, 13, 12, 11, 9, 1])
    bad = [np.where((codes == 3)[:, None], 1e4 * (a - a.mean(0)), a) for a in (X, Y)]
    federation = simulate(bad[0] if what == "x" else X, bad[1] if what == "y" else Y, codes)
    federation = replace(federation, guard=OutlyingClients(list("abcdef")))
    with pytest.warns(UserWarning, match="client 'd' is left out"):
        (sums,) = federation.sum(asked())
    assert federation.guard.excluded == {3}
    others = codes != 3
    assert_are_of_rows(sums, Z[others], T[others], fold_of_rows(codes)[others])


# ---------------------------------------------------------------------------------------- folds


def test_three_folds_are_those_of_before_and_others_are_told_apart():
    assert inner_folds(EVERYTHING, 4) == inner_folds(EVERYTHING, 4, 3)
    assert Fold(EVERYTHING, 4, 1, True) == Fold(EVERYTHING, 4, 1, True, 3) != Fold(EVERYTHING, 4, 1, True, 5)
    rows, sizes = np.arange(23), []
    for _, held_out in inner_folds(EVERYTHING, 4, K):
        sizes.append(int(held_out.mask(rows, 2).sum()))
    assert sorted(sizes) == [4, 4, 5, 5, 5]
