"""Rows that look corrupt are named before they train, or left out; clean ones change nothing."""

import warnings

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from wire import Processes, Wire, fit_over, rows_of

from skfdrmfl import FDRMFLTransformer, SuspectRowsWarning
from skfdrmfl.clients.client_data import Client, ClientData
from skfdrmfl.common.arrays import SLAB_ROWS
from skfdrmfl.datasets import load_tecator
from skfdrmfl.diagnosis.suspect_table import is_alarming
from skfdrmfl.method.seen_rows import Seen
from skfdrmfl.protocol.door import Block
from skfdrmfl.protocol.queries.suspects import CenterTotals, RobustMoments, _some, first_look, most_sent
from skfdrmfl.site.site_data import site_of
from skfdrmfl.views.base import FEWEST_SMOOTH

FEW = {"tuning": None, "n_rounds": 1, "local_epochs": 1, "random_state": 0}
N, P = 90, 40


def spectra(seed=0, n=N, p=P):
    """Smooth rows of five bands and a little noise, and y from two of these."""
    rng = np.random.default_rng(seed)
    axis = np.arange(p)
    bands = np.exp(-0.5 * ((axis - np.linspace(0, p, 5)[:, None]) / (p / 8)) ** 2)
    amounts = rng.uniform(1.0, 2.0, (n, 5))
    X = amounts @ bands + 1e-3 * rng.standard_normal((n, p))
    return X, 10 * amounts[:, 1] - 5 * amounts[:, 3] + 0.1 * rng.standard_normal(n)


X, Y = spectra()
IDS = np.arange(N) % 3
ROW = 31  # of client 1


def fitted(X=X, y=Y, ids=IDS, suspects="warn", **parameters):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SuspectRowsWarning)
        return FDRMFLTransformer(**FEW | {"suspects": suspects} | parameters).fit(X, y, client_ids=ids)


def spike(row, y):
    row[10:18] *= 1.5


def saturation(row, y):
    row[:] = np.minimum(row, np.quantile(row, 0.8))


def shift(row, y):
    row[:] = np.append(row[3:], [row[-1]] * 3)


def times_10(row, y):
    row *= 10


def constant(row, y):
    row[:] = row.mean()


def code_in_x(row, y):
    row[5] = -9999.0


def code_in_y(row, y):
    y[ROW] = 999.0


def another_y(row, y):
    y[ROW] += 5 * np.std(y)


KINDS = {
    spike: "spike",
    saturation: "saturated",
    shift: "axis shifted",
    times_10: "other units",
    constant: "constant",
    code_in_x: "placeholder in X",
    code_in_y: "placeholder in y",
    another_y: "y unlike that of like rows",
}


def spoiled(kind):
    table, y = X.copy(), Y.copy()
    kind(table[ROW], y)
    return table, y


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_corrupt_row_is_named_with_its_client_and_its_reason(kind):
    found = fitted(*spoiled(kind)).suspects_
    assert pd.DataFrame(found)[["client", "row", "reason"]].to_numpy().tolist() == [[1, ROW, KINDS[kind]]]


def test_the_column_of_a_placeholder_is_named():
    table, y = spoiled(code_in_x)
    frame = pd.DataFrame(table, columns=[f"w{j}" for j in range(P)])
    assert fitted(frame, y).suspects_["column"].tolist() == ["w5"]


def test_of_several_placeholders_in_a_row_the_first_column_is_named():
    table = X.copy()
    table[ROW, [7, 12, 30]] = table[ROW + 1, [9, 20]] = -9999.0
    assert fitted(table).suspects_["column"].tolist() == ["7", "9"]


def test_a_fit_of_clean_rows_is_the_same_to_the_bit_whatever_is_looked_at():
    warn, drop, ignore = (fitted(suspects=how) for how in ("warn", "drop", "ignore"))
    assert not warn.suspects_.n_rows and not drop.suspects_.n_rows
    for model in (warn, drop):
        np.testing.assert_array_equal(model.predict(X), ignore.predict(X))


@pytest.mark.parametrize("tuning", [None, pytest.param("mixture", marks=pytest.mark.slow)])
def test_a_fit_that_drops_a_row_is_that_of_the_others_to_the_bit(tuning):
    table, y = spoiled(spike)
    kept = np.arange(N) != ROW
    dropped = fitted(table, y, suspects="drop", tuning=tuning)
    without = fitted(table[kept], y[kept], IDS[kept], suspects="ignore", tuning=tuning)
    np.testing.assert_array_equal(dropped.predict(X), without.predict(X))
    assert dropped.n_samples_per_client_.tolist() == without.n_samples_per_client_.tolist() == [30, 29, 30]


def test_one_warning_counts_names_rows_and_says_what_to_do_and_a_diagnosis_begins_with_it():
    table, y = spoiled(spike)
    with pytest.warns(SuspectRowsWarning, match=rf'1 of {N} rows look corrupt \(1 spike; first: rows {ROW}\).*"drop"'):
        model = FDRMFLTransformer(**FEW, suspects="warn").fit(table, y, client_ids=IDS)
    assert model.diagnose().names[0] == "suspect rows"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dropped = FDRMFLTransformer(**FEW, suspects="drop").fit(table, y, client_ids=IDS)
        assert "suspect rows" not in dropped.diagnose().names
        assert "no rows were looked at" in repr(FDRMFLTransformer(**FEW, suspects="ignore").fit(table, y).suspects_)


def test_what_is_ignored_is_not_asked_about():
    names = {message.what for message in fitted(suspects="ignore").federation_log_}
    assert "counts of suspects" not in names
    assert "counts of suspects" in {message.what for message in fitted().federation_log_}


def test_a_client_on_another_instrument_is_not_suspect_but_one_row_of_it_elsewhere_is():
    other = 0.9 * X**1.3 + 0.05  # what it measures of the same rows
    whole = np.where((IDS == 2)[:, None], other, X)
    assert not set(fitted(whole).suspects_["reason"]) - {KINDS[another_y]}
    one = X.copy()
    one[ROW] = other[ROW]
    assert fitted(one).suspects_["row"].tolist() == [ROW]


def test_a_client_left_without_rows_is_absent_and_named():
    table, y, ids = X.copy(), Y.copy(), IDS.copy()
    ids[:2] = 3
    y[:2] = -9999.0
    with pytest.warns(SuspectRowsWarning, match=r"all rows of 1 client look corrupt \(3\)"):
        model = FDRMFLTransformer(**FEW, suspects="drop").fit(table, y, client_ids=ids)
    assert model.n_samples_per_client_.tolist() == [29, 29, 30, 0]
    assert np.isnan(model.history_["mse_per_client"][:, 3]).all()


def test_repeats_that_disagree_are_named():
    y = Y.copy()
    table = X.copy()
    table[ROW + 3] = table[ROW]  # of the same client
    y[ROW + 3] = y[ROW] + 3 * np.std(y)
    assert set(fitted(table, y).suspects_["reason"].tolist()) == {"repeats with unlike y"}
    y[ROW + 3] = y[ROW]
    assert not fitted(table, y).suspects_.n_rows


def test_several_modalities_of_which_rows_lack_some():
    table = np.concatenate((X, spectra(1)[0]), axis=1)
    table[::4, P:] = np.nan
    table[ROW, P + 3] = -9999.0
    model = fitted(table, modalities={"a": slice(0, P), "b": slice(P, 2 * P)})
    assert [model.suspects_[name].tolist() for name in ("row", "modality", "column")] == [[ROW], ["b"], [str(P + 3)]]


def exchanged(seed):
    """Tecator's fat with six y exchanged for those of rows more than a standard deviation away, and which these are."""
    rng = np.random.default_rng(seed)
    table, y = load_tecator(return_X_y=True)
    rows = rng.choice(len(y), 3, replace=False).tolist()
    for i in rows[:3]:
        j = rng.choice(np.setdiff1d(np.flatnonzero(np.abs(y - y[i]) > y.std()), rows))
        y[[i, j]] = y[[j, i]]
        rows.append(j)
    return table, y, np.arange(len(y)) % 3, set(rows)


def test_y_that_bends_with_spectra_is_told_from_exchanged_y():
    n_wrong = n_found = n_false = 0
    for seed in range(3):
        table, y, ids, wrong = exchanged(seed)
        found = set(fitted(table, y, ids).suspects_["row"].tolist())
        n_wrong, n_found, n_false = n_wrong + len(wrong), n_found + len(found & wrong), n_false + len(found - wrong)
    assert n_found >= 0.95 * n_wrong and n_false <= 0.007 * 3 * len(y)


@pytest.mark.slow
def test_a_fit_that_drops_exchanged_y_errs_as_one_without_them():
    table, y, ids, wrong = exchanged(0)
    true = load_tecator().target
    test = np.setdiff1d(np.arange(0, len(y), 4), list(wrong))
    train = np.setdiff1d(np.arange(len(y)), test)
    clean = np.setdiff1d(train, list(wrong))
    whole = {"tuning": "mixture", "n_rounds": 60, "local_epochs": 5}
    errors = [
        np.sqrt(
            np.mean((fitted(table[rows], y[rows], ids[rows], suspects, **whole).predict(table[test]) - true[test]) ** 2)
        )
        for rows, suspects in ((train, "drop"), (clean, "ignore"))
    ]
    assert errors[0] < 1.05 * errors[1]


def test_the_first_spread_is_that_within_clients_and_of_their_medians():
    """Two clients of normal rows: of 30 rows around 9 with deviation 2, of 10 around 5 with deviation 1."""
    n, middle, deviation = np.array([30.0, 10.0]), np.array([9.0, 5.0]), 0.6745 * np.array([2.0, 1.0])
    sums = [np.full(2, n @ values) for values in (middle, middle**2, deviation)]
    look = first_look(CenterTotals(40.0, np.full(2, 40.0), *sums, np.array([38.0])), [1])
    within, between = (0.75 * 2.0 + 0.25 * 1.0) ** 2, 0.75 * 1.0**2 + 0.25 * 3.0**2
    for center, spread in ((look.blocks[0].center, look.blocks[0].spread), (look.y_center, look.y_scale)):
        assert_allclose(center, 8.0)
        assert_allclose(spread, np.sqrt(within + between))


@pytest.mark.parametrize("p", [19, 20])
def test_of_20_columns_on_rows_have_a_shape(p):
    table = spectra(n=5, p=p)[0]
    seen = Seen.of(table, np.zeros((5, 1)), [p])
    assert (seen.shapes != 0).any() == (p >= FEWEST_SMOOTH)
    totals = CenterTotals(5.0, *np.ones((4, p + 1)), np.ones(1))
    assert first_look(totals, [p]).blocks[0].smooth == (p >= FEWEST_SMOOTH)


def test_codes_of_categories_and_two_classes_are_not_looked_at():
    frame = pd.DataFrame(X[:, ::4]).assign(kind=pd.Categorical(np.where(np.arange(N) == 7, "rare", "usual")))
    frame.columns = frame.columns.astype(str)
    assert not fitted(frame).suspects_.n_rows
    assert not fitted(y=(np.arange(N) == 7).astype(float)).suspects_.n_rows


def test_nothing_is_looked_at_with_privacy_of_too_few_rows_or_in_partial_fit():
    table, y = spoiled(times_10)
    private = {"dp_clip_norm": 1.0, "dp_bounds": {"X": (-9, 9), "y": (-99, 99)}, "preprocessing": "standardize"}
    few = slice(ROW - 5, ROW + 10)
    for model in (fitted(table, y, **private), fitted(table[few], y[few], IDS[few])):
        assert "no rows were looked at" in repr(model.suspects_)
    assert not FDRMFLTransformer(**FEW).partial_fit(table, y, client_ids=IDS).suspects_.n_rows


def test_suspects_survive_a_file(tmp_path):
    model = fitted(*spoiled(spike))
    model.save(tmp_path / "model.npz")
    loaded = FDRMFLTransformer.load(tmp_path / "model.npz")
    assert repr(loaded.suspects_) == repr(model.suspects_) and loaded.suspects == "warn"


def test_at_most_two_in_a_hundred_made_up_rows_are_false_alarms():
    n_found = 0
    for seed in range(2):
        rng = np.random.default_rng(seed)
        for n, p in ((30, 6), (60, 12), (60, 100)):
            table = rng.standard_normal((n, p))
            n_found += fitted(table, table[:, 0], rng.integers(0, 3, n)).suspects_.n_rows
    assert n_found <= 0.02 * 300


@pytest.mark.parametrize(("x_unit", "y_unit"), [(1e300, 1.0), (1e-300, 1.0), (1.0, 1e200)])
def test_of_values_too_large_or_small_to_square_nothing_is_said(x_unit, y_unit):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = FDRMFLTransformer(**FEW, suspects="warn").fit(X * x_unit, Y * y_unit, client_ids=IDS)
    assert not model.suspects_.n_rows


@pytest.mark.parametrize(("p", "q"), [(1, 1), (5, 2), (40, 1)])
def test_what_a_client_is_said_to_send_at_most_is_what_it_sends_but_for_shapes_of_series(p, q):
    log = fitted(spectra(p=p)[0], np.stack([Y, Y**2], 1)[:, :q]).federation_log_
    looks = {"medians", "products of usual rows", "counts of usual distances", "counts of suspects"}
    sent = sum(m.bytes // m.clients for m in log if m.direction == "up" and m.what in looks)
    assert sent <= most_sent([p], q) <= (sent if p < FEWEST_SMOOTH else 1.2 * sent)


def test_of_sums_that_are_no_numbers_nothing_is_said(monkeypatch):
    honest = RobustMoments.__call__
    monkeypatch.setattr(RobustMoments, "__call__", lambda *a: honest(*a)._replace(products=np.full((42, 42), np.nan)))
    assert not fitted(*spoiled(spike), suspects="drop").suspects_.n_rows


def test_a_warning_of_rows_that_are_far_out_takes_more_than_clean_tables_have():
    far, odd = "unlike other rows", "y unlike that of like rows"
    for reasons, n_rows, alarms in [
        ({}, 20, False),
        ({odd: 2}, 20, False),  # of so few rows the tails are many
        ({far: 1, odd: 2}, 20, True),
        ({far: 2, odd: 2}, 200, False),
        ({far: 2, odd: 3}, 200, True),
        ({"spike": 1}, 10_000, True),
    ]:
        assert is_alarming(reasons, n_rows) is alarms


def test_by_default_rows_are_looked_at_before_a_mixture_alone():
    table, y = spoiled(times_10)
    assert "no rows were looked at" in repr(FDRMFLTransformer(**FEW).fit(table, y).suspects_)
    mixture = FDRMFLTransformer(**FEW | {"tuning": "mixture"})
    with pytest.warns(SuspectRowsWarning, match="other units"):
        assert mixture._prepare_fit(table, y, IDS).fitted.suspects.rows.tolist() == [ROW]


# ------------------------------------------------------------------------------------- rows that are elsewhere


def over_a_wire(suspects, of_site, kind=Wire):
    """A model that a server fits to the rows of `IDS`, of which one site does with suspects what it likes."""
    table, y = spoiled(spike)
    server = FDRMFLTransformer(**FEW, suspects=suspects)
    sites = {
        f"node {label}": site_of(
            FDRMFLTransformer(**FEW, suspects=of_site if label == 1 else suspects),
            rows_of(table, y, np.flatnonzero(label == IDS)),
            label,
        )
        for label in range(3)
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SuspectRowsWarning)
        return fit_over(kind(sites), server)


@pytest.mark.parametrize("kind", [Wire, Processes])
def test_rows_elsewhere_are_dropped_as_those_here_and_the_server_learns_their_number_alone(kind, caplog):
    model, here = over_a_wire("drop", "drop", kind), fitted(*spoiled(spike), suspects="drop")
    np.testing.assert_array_equal(model.predict(X), here.predict(X))
    assert {name: values.tolist() for name, values in model.suspects_.items()} == {
        "client": [1],
        "reason": ["spike"],
        "n_rows": [1],
    }
    assert model.n_samples_per_client_.tolist() == [30, 29, 30]
    assert f"1: row {ROW // 3} is suspect (spike" in caplog.text  # its number at the site, in the site's own log


@pytest.mark.slow
def test_a_site_does_with_its_rows_what_it_is_set_to():
    dropped, kept = over_a_wire("warn", "drop"), over_a_wire("drop", "warn")
    assert dropped.n_samples_per_client_.tolist() == [30, 29, 30]
    assert kept.n_samples_per_client_.tolist() == [30, 30, 30] and kept.suspects_.n_rows == 1
    assert not over_a_wire("warn", "ignore").suspects_.n_rows


def test_rows_by_number_are_those_wherever_a_slab_begins():
    table = np.arange(2.0 * (2 * SLAB_ROWS + 9)).reshape(-1, 2)
    client = Client(ClientData(table, table), np.arange(len(table)), 0)
    which = np.array([0, SLAB_ROWS - 1, SLAB_ROWS, 2 * SLAB_ROWS, len(table) - 1])
    assert_array_equal(_some(client, Block(np.array([1, 0]), None), which), table[which][:, ::-1])
