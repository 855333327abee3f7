"""Quantiles of counted errors cover as conformal ones do, and are those of the errors but for the width of a bin."""

from functools import reduce
from operator import add

import numpy as np
import pytest

from skfdrmfl.method.domain import rank_of
from skfdrmfl.method.intervals import ERROR_EDGES, fewest_rows
from skfdrmfl.protocol.queries.counts import ErrorCountTotals, binned, held_out_counts


def counts_of(*errors):
    """The counts of clients by their errors (n, q)."""
    answers = [binned(position, mine) for position, mine in enumerate(errors)]
    totals = reduce(lambda one, other: ErrorCountTotals(*map(add, one, other)), answers)
    return held_out_counts(totals, errors[0].shape[1])


@pytest.mark.sampled(3)
@pytest.mark.parametrize(("n", "confidence"), [(9, 0.9), (24, 0.5), (61, 0.8)])
def test_exchangeable_errors_are_covered_with_the_confidence_and_little_more(n, confidence):
    draws = 3000  # each a column of its own
    errors = np.random.default_rng(n).standard_t(3, (n + 1, draws)) * 0.1
    covered = (np.abs(errors[-1]) <= counts_of(errors[:-1]).half_width(rank_of(n, confidence))).sum()
    exact, bin_ = rank_of(n, confidence) / (n + 1), 0.01
    noise = 4 * np.sqrt(0.25 / draws)
    assert exact >= confidence
    assert exact - noise <= covered / draws <= exact + bin_ + noise


def test_the_half_width_is_the_ranked_error_up_to_a_bin_and_never_below():
    rng = np.random.default_rng(0)
    errors = [rng.standard_normal((n, 2)) * scale for n, scale in ((20, 0.1), (15, 1.0))]
    counts = counts_of(*errors)
    assert counts.n_rows() == {0: 20, 1: 15}
    for position, mine in ((0, errors[0]), (1, errors[1]), (None, np.concatenate(errors))):
        for rank in (1, 9, len(mine)):
            exact = np.sort(np.abs(mine), 0)[rank - 1]
            found = counts.half_width(rank, position)
            assert (exact <= found).all() and (found <= exact * ERROR_EDGES[1] / ERROR_EDGES[0] * (1 + 1e-12)).all()


def test_counts_of_several_clients_are_those_of_their_rows_together():
    errors = np.random.default_rng(0).standard_normal((30, 1))
    apart, together = counts_of(errors[:10], errors[10:12], errors[12:]), counts_of(errors)
    for rank in (1, 15, 30):
        assert apart.half_width(rank) == together.half_width(rank)


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.99, 1 / 3])
def test_the_fewest_rows_are_the_fewest_that_have_a_rank(confidence):
    n = fewest_rows(confidence)
    assert rank_of(n, confidence) <= n
    assert n == 1 or rank_of(n - 1, confidence) > n - 1
