"""The guard of the sums: whom it leaves out, whom never, and what then happens."""

import pickle
import warnings

import joblib
import numpy as np
import pytest
from helpers import normal
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.clients.client_data import ClientData
from skfdrmfl.clients.simulation import Simulation
from skfdrmfl.data.partition import Partition
from skfdrmfl.datasets import load_tecator, make_client_ids
from skfdrmfl.protocol.door import Block
from skfdrmfl.protocol.queries import whitening
from skfdrmfl.protocol.queries.whitening import Magnitudes, compare_magnitudes
from skfdrmfl.server.outlying_clients import SUMS, UNITS, OutlyingClients, other_units, too_large

SMALL = {"n_rounds": 2, "local_epochs": 1, "hidden_layer_sizes": (3,), "modality_dim": 3, "random_state": 0}
ROBUST = {"aggregation": "median", **SMALL}
X, Y = load_tecator(return_X_y=True)
X = X[:, ::5]
IDS = make_client_ids(Y, 10, random_state=0)


def fitted(X, y, ids, **parameters):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return FDRMFLTransformer(**({"tuning": None} | ROBUST | parameters)).fit(X, y, client_ids=ids)


def names(model):
    return [entry["client"] for entry in model.dropped_clients_ if entry["reason"] == "rows out of line"]


# ------------------------------------------------------------------------------------ whom it leaves out


@pytest.mark.sampled()
@pytest.mark.parametrize("factor", [1000.0, pytest.param(100.0, marks=pytest.mark.slow), 1e-3, 1e30])
@pytest.mark.parametrize("preprocessing", ["whiten", "standardize", None])
def test_clients_in_other_units_are_left_out_and_named(factor, preprocessing):
    bad = np.where(np.isin(IDS, [7, 8, 9])[:, None], factor * X, X)
    with pytest.warns(
        UserWarning, match="each of the clients 7, 8, 9 is left out of the sums and of training"
    ) as caught:
        model = FDRMFLTransformer(tuning=None, **ROBUST, preprocessing=preprocessing).fit(bad, Y, client_ids=IDS)
    assert len(caught) == 1
    assert model.dropped_clients_ == [{"client": k, "reason": "rows out of line", "rounds": []} for k in (7, 8, 9)]
    assert np.isnan(model.history_["mse_per_client"][:, 7:]).all()
    # All else is the fit without them, whose positions in `clients_` stay the same.
    others = IDS < 7
    alone = fitted(X[others], Y[others], IDS[others], preprocessing=preprocessing)
    assert_array_equal(model.predict(X), alone.predict(X))
    assert names(alone) == []
    found = next(f for f in model.diagnose() if f["name"] == "client left out")
    assert found["evidence"] == {f"client {k}": "rows out of line" for k in (7, 8, 9)}


@pytest.mark.parametrize("parameters", [{"tuning": "mixture"}, {"early_stopping": True}], ids=str)
def test_they_are_asked_for_nothing_more(parameters):
    bad = np.where((IDS == 9)[:, None], 1000 * X, X)
    model = fitted(bad, Y, IDS, **parameters)
    assert names(model) == [9]
    sent = {row["client"]: row for row in model.federation_log_.by_client()}
    assert sent[9] == {"client": 9, "sent": 8 * (1 + X.shape[1]) + 8 * 2, "received": 0}
    assert [m.clients for m in model.federation_log_ if m.what == "magnitudes of columns"] == [10, 10]
    assert max(m.clients for m in model.federation_log_ if m.what != "magnitudes of columns") == 9


def test_y_in_other_units_is_found():
    assert names(fitted(X, np.where(IDS == 3, 1000 * Y, Y), IDS)) == [3]


def test_one_modality_in_other_units_is_found_and_so_is_it_where_most_lack_it():
    modalities = {"a": slice(0, 10), "b": slice(10, 20)}
    bad = X.copy()
    bad[IDS == 2, 10:] *= 1000
    assert names(fitted(bad, Y, IDS, modalities=modalities)) == [2]
    bad[IDS > 4, 10:] = np.nan
    assert names(fitted(bad, Y, IDS, modalities=modalities)) == [2]


def test_the_mean_trusts_everybody_and_asks_for_nothing_more():
    bad = np.where((IDS == 9)[:, None], 1000 * X, X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = FDRMFLTransformer(tuning=None, **SMALL).fit(bad, Y, client_ids=IDS)
    assert model.dropped_clients_ == []
    assert {m.seen for m in model.federation_log_ if m.what == "products of columns"} == {"total"}
    assert not any(m.what == "magnitudes of columns" for m in model.federation_log_)


def test_mixing_alone_brings_the_guard():
    bad = np.where((IDS == 9)[:, None], 1000 * X, X)
    assert names(fitted(bad, Y, IDS, aggregation="mean", preaggregation="nnm", n_byzantine=3)) == [9]


# --------------------------------------------------------------------------------------- whom it leaves in


@pytest.mark.sampled()
@pytest.mark.parametrize("n_clients", [3, 5, 10, 20])
@pytest.mark.parametrize("scheme", ["iid", "quantile", "dirichlet"])
@pytest.mark.parametrize("centred", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_nobody_is_left_out_however_rows_are_dealt(n_clients, scheme, centred):
    ids = make_client_ids(Y, n_clients, scheme=scheme, alpha=0.1, random_state=1)
    x, y = (X - X.mean(0), Y - Y.mean()) if centred else (X, Y)
    assert names(fitted(x, y, ids)) == []


@pytest.mark.sampled(2)
@pytest.mark.parametrize("majority", [False, True])
def test_nobody_is_left_out_where_instruments_differ_as_those_of_corn_do(majority):
    """Offsets, slopes and gains between instruments that are several times the spread of samples."""
    rng = np.random.default_rng(5)
    n, grid = 240, np.linspace(0, 1, 60)
    samples = rng.standard_normal((n, 3)) @ np.sin(np.outer([3, 7, 12], grid)) * 0.05 + 0.4 + 0.3 * grid
    ids = np.arange(n) % (6 if majority else 3)
    instrument = np.maximum(ids - 3, 0) if majority else ids
    gain, offset = np.array([1.0, 0.8, 2.5])[instrument], np.array([0.0, 0.2, 1.5])[instrument]
    x = gain[:, None] * samples + offset[:, None] * (1 + grid**2)
    assert names(fitted(x, samples[:, 0], ids)) == []
    assert names(fitted(x, samples[:, 0], ids, tuning="mixture")) == []


@pytest.mark.sampled(4)
@pytest.mark.parametrize("seed", range(4))
def test_nobody_is_left_out_for_few_rows_or_rare_labels_or_a_skew_y(seed):
    rng = np.random.default_rng(seed)
    sizes = np.repeat(np.arange(7), [1, 2, 5, 400, 400, 400, 10])
    z = rng.standard_normal((len(sizes), 3))
    assert names(fitted(z, z[:, 0], sizes)) == []
    assert names(fitted(z[:, :1], z[:, 0], sizes)) == []
    skew = np.exp(2 * rng.standard_normal(300))
    assert (
        names(fitted(np.exp(2 * rng.standard_normal((300, 4))), skew, make_client_ids(skew, 10, scheme="quantile")))
        == []
    )
    rare = (rng.random((400, 8)) < 0.02).astype(float)
    rare[np.arange(400) % 8 == 0] = rng.random((50, 8)) < 0.3
    rare[:, 0] = rng.random(400) < 0.5
    assert names(fitted(rare, z[:400, 0], np.arange(400) % 8)) == []


def test_of_two_nobody_can_say_who_is_out_of_line():
    assert names(fitted(X * np.where(IDS < 5, 1, 1000)[:, None], Y, np.where(IDS < 5, "a", "b"))) == []


def test_a_client_of_zeros_is_in_no_units():
    assert names(fitted(np.where((IDS == 4)[:, None], 0.0, X), np.where(IDS == 4, 0.0, Y), IDS)) == []


# ---------------------------------------------------------------------------------------------- the sums


def simulation(table, codes, guard):
    return Simulation(ClientData(table, np.zeros((len(table), 1))), Partition.of_codes(codes), guard=guard)


@given(st.integers(0, 999))
def test_sums_of_those_who_stay_are_exact(seed):
    table, codes = normal([seed, 1], 60, 3).numpy() + 1, np.arange(60) % 6
    query = whitening.ColumnSums(Block(np.arange(3)), whitening.EVERYTHING)
    (guarded,) = simulation(table, codes, OutlyingClients("abcdef")).sum(query)
    (plain,) = simulation(table, codes, None).sum(query)
    assert guarded.n_rows == plain.n_rows
    assert_array_equal(guarded.total, plain.total)
    bad = np.where((codes == 5)[:, None], 1e4 * table, table)
    guard = OutlyingClients("abcdef")
    with pytest.warns(UserWarning, match="client 'f' is left out"):
        compare_magnitudes(simulation(bad, codes, guard), [Block(np.arange(3))])
    left = simulation(bad, codes, guard)
    (guarded,) = left.sum(query)
    (plain,) = simulation(table[codes < 5], codes[codes < 5], None).sum(query)
    assert guarded.n_rows == plain.n_rows
    assert_array_equal(guarded.total, plain.total)
    assert {m.seen for m in left.ledger.messages if m.direction == "up"} == {"each"}


class Liar:
    """A query that one client answers in its own way, whatever its rows."""

    def __init__(self, query, position, answer):
        self.query, self.position, self.answer = query, position, answer
        self.name, self.powers, self.subset = query.name, query.powers, query.subset

    def __call__(self, client):
        answer = self.query(client)
        return self.answer(answer) if client.position == self.position else answer


@pytest.mark.parametrize("kind", ["ColumnSums", "AbsoluteDeviations", "SquaredDeviations", "SecondMoments"])
@pytest.mark.parametrize("lie", [1e6, np.nan, -np.inf])
def test_a_lie_in_any_sum_is_left_out_of_it_and_of_all_later_ones(kind, lie):
    table, codes = normal(3, 60, 3).numpy() + 1, np.arange(60) % 6
    more = {"mean": np.ones(3)}
    more = {} if kind == "ColumnSums" else more
    if kind in ("SquaredDeviations", "SecondMoments"):
        more["per_unit"] = more["mean"]
        lie = lie**2
    query = getattr(whitening, kind)(Block(np.arange(3)), whitening.EVERYTHING, **more)
    guard = OutlyingClients("abcdef")
    federation = simulation(table, codes, guard)
    lying = Liar(query, 2, lambda answer: answer._replace(total=answer.total * lie))
    with pytest.warns(UserWarning, match="client 'c'"):
        (first,) = federation.sum(lying)
    honest = codes != 2
    (expected,) = simulation(table[honest], codes[honest], None).sum(query)
    (second,) = federation.sum(query)
    for answer in (first, second):
        assert_array_equal(answer.total, expected.total)


def test_queries_say_what_their_answers_are_in():
    """One power for each part of an answer; a part without a power is never looked at."""
    from skfdrmfl.protocol.queries import axes, importance, labels, members

    found = {}
    for module in (whitening, axes, importance, labels, members):
        for value in vars(module).values():
            if isinstance(value, type) and "name" in vars(value) and "powers" in dir(value):
                found[value.name] = len(value.powers)
    assert found == {
        **dict.fromkeys(("sums of columns", "absolute deviations", "squared deviations", "products of columns"), 2),
        **{"products with directions": 2, "magnitudes of columns": 2, "sums of Z": 2, "products of Z": 2},
        **{"labels of categories": 1, "rows by modality": 2, "products by fold": 6, "products of errors": 2},
        **{"products of scores": 3, "responses and spreads": 5, "responses of the mixture": 4},
        "products of neighbours": 2,
    }


# ---------------------------------------------------------------------------------------------- the laws


def test_magnitudes_are_compared_both_ways_and_sums_one():
    n_rows = np.full(5, 10.0)
    sums = np.outer([1, 1.1, 0.9, 1, 1], [10.0, 20.0]).astype(float)
    for factor, both, one in (
        (2 * SUMS, True, True),
        (1.5 * UNITS, True, False),
        (1 / SUMS, True, False),
        (9, False, False),
    ):
        changed = sums * np.array([1, 1, 1, 1, factor])[:, None]
        assert other_units(changed, n_rows).tolist() == [False] * 4 + [both], factor
        assert too_large(changed, n_rows).tolist() == [False] * 4 + [one], factor


def test_of_sums_their_length_counts_and_not_their_largest_part():
    sums = np.vstack([np.eye(5, 400), np.full(400, SUMS / 10)])  # of length 1, and of 2 SUMS
    assert too_large(sums, np.ones(6)).tolist() == [False] * 5 + [True]


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("adds_up", [True, False])
def test_a_number_of_rows_alone_puts_no_sum_out_of_line(adds_up, power):
    """Sums of n alike rows grow with n and sums of n rows about 0 with sqrt(n): no client of any size stands out."""
    rng = np.random.default_rng(5)
    for odd in (1, 10**9):
        n_rows = np.array([10**5, 10**5 + 7, 10**5 - 9, 10**5 + 1, odd], dtype=float)
        grown = n_rows if adds_up else np.sqrt(n_rows)
        sums = (grown * rng.uniform(0.8, 1.25, 5))[:, None] * [3.0, 4.0]
        assert not too_large(sums, n_rows, power).any()
        sums[4] *= (10 * SUMS * 10**4.5) ** power  # which neither kind of growth explains
        assert too_large(sums, n_rows, power).tolist() == [False] * 4 + [True]


def test_a_whole_block_is_found_where_a_large_column_hides_it():
    """A column of a million, the same everywhere, makes all lengths; the others are a thousand times larger at one."""
    sums = np.ones((5, 4)) * 10
    sums[:, 0] = 1e8
    sums[4, 1:] *= 1000
    assert other_units(sums, np.full(5, 10.0)).tolist() == [False] * 4 + [True]


@given(st.integers(0, 999), st.floats(1e-200, 1e200))
def test_units_in_common_and_order_are_of_no_consequence(seed, unit):
    rng = np.random.default_rng(seed)
    sums, n_rows = rng.lognormal(0, 2.5, (7, 3)), rng.integers(1, 50, 7).astype(float)
    order = rng.permutation(7)
    for compare in (other_units, too_large):
        expected = compare(sums, n_rows)
        assert_array_equal(compare(sums * unit, n_rows), expected)
        assert_array_equal(compare(sums[order], n_rows[order]), expected[order])


def test_magnitudes_are_sums_of_absolute_values():
    table, codes = normal(4, 30, 3).numpy(), np.arange(30) % 3
    (answer,) = simulation(table, codes, None).sum(Magnitudes(Block(np.array([0, 2])), whitening.EVERYTHING))
    assert_allclose(answer.total, np.abs(table[:, [0, 2]]).sum(0), rtol=1e-13)


# ------------------------------------------------------------------------------------------ what is kept


def test_what_was_left_out_survives_every_way_of_keeping_a_model(tmp_path):
    bad = np.where((IDS == 9)[:, None], 1000 * X, X)
    model = fitted(bad, Y, np.array([f"site {k}" for k in IDS]))
    expected = [{"client": "site 9", "reason": "rows out of line", "rounds": []}]
    assert model.dropped_clients_ == expected
    model.save(tmp_path / "model")
    joblib.dump(model, tmp_path / "joblib")
    kept = (
        FDRMFLTransformer.load(tmp_path / "model"),
        joblib.load(tmp_path / "joblib"),
        pickle.loads(pickle.dumps(model)),
    )
    for copy in kept:
        assert copy.dropped_clients_ == expected
        assert copy.diagnose() == model.diagnose()


def test_each_call_looks_anew():
    bad = np.where((IDS == 9)[:, None], 1000 * X, X)
    model = fitted(bad, Y, IDS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.partial_fit(X, Y, client_ids=IDS)  # mended
    assert np.isfinite(model.history_["mse_per_client"][-1]).all()
    assert names(model) == [9]
    with pytest.warns(UserWarning, match="client 1 is left out") as caught:
        model.partial_fit(np.where((IDS == 1)[:, None], 1000 * X, X), Y, client_ids=IDS)
    assert {w.filename for w in caught} == {__file__}  # of the user, not of the package
    assert np.isnan(model.history_["mse_per_client"][-1]).nonzero()[0].tolist() == [1]
    assert names(model) == [9, 1]
