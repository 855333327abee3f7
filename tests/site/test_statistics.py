"""Statistics of a federation: those of the pooled rows, whoever holds which, and under the policies of a fit."""

import csv
import io
import json

import numpy as np
import pandas as pd
import pytest

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.clients.policy import SitePolicy
from skfdrmfl.clients.remote.channel import Loopback
from skfdrmfl.protocol.door import NoAnswer
from skfdrmfl.site.site_data import site_of
from skfdrmfl.site.statistics import describe

RNG = np.random.default_rng(0)
X = RNG.standard_normal((90, 6)) * [1, 10, 1e-3, 1, 1, 0] + np.arange(6)
Y = X[:, :2] @ [[1.0, 0.0], [0.5, 1.0]]
SITES = np.repeat(["b", "a", "c"], [20, 40, 30])
HOLES = np.where((SITES == "c")[:, None] & (np.arange(6) >= 4), np.nan, X)
TWO = {"modalities": {"u": slice(0, 4), "v": slice(4, None)}}


def statistics(table=X, y=Y, policy=None, **parameters):
    estimator = FDRMFLTransformer(**parameters)

    def rows(mine):
        return table[mine] if isinstance(table, np.ndarray) else table[mine].reset_index(drop=True)

    sites = {
        i: site_of(estimator, lambda m=label == SITES: (rows(m), y[m]), label, policy=policy)
        for i, label in enumerate(np.unique(SITES).tolist())
    }
    return describe(estimator, Loopback(sites))


def test_means_and_spreads_are_those_of_the_pooled_rows():
    found = statistics()
    assert found.sites["site"].tolist() == ["a", "b", "c"] and found.sites["rows"].tolist() == [40, 20, 30]
    columns = found.columns
    pooled = np.column_stack((X, Y))
    np.testing.assert_allclose(columns["mean"], pooled.mean(0), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(columns["spread"], pooled.std(0), rtol=1e-9)
    assert columns["spread"][5] == 0  # a constant column
    assert columns["column"].tolist() == [0, 1, 2, 3, 4, 5, "y0", "y1"]
    assert columns["kind"].tolist() == ["number"] * 6 + ["target"] * 2
    assert set(columns["rows"]) == {90}


def test_a_modality_is_described_by_the_rows_that_have_it():
    found = statistics(HOLES, **TWO)
    assert found.sites["rows of v"].tolist() == [40, 20, 0] and found.sites["rows of u"].tolist() == [40, 20, 30]
    assert found.columns["rows"].tolist() == [90] * 4 + [60] * 2 + [90] * 2
    np.testing.assert_allclose(found.columns["mean"][:6], np.nanmean(HOLES, 0), rtol=1e-12)
    np.testing.assert_allclose(found.columns["spread"][4], np.nanstd(HOLES[:, 4]), rtol=1e-9)


def test_categories_and_positions_stand_beside_names():
    table = pd.DataFrame(X, columns=[f"{1100 + 2 * j} nm" for j in range(6)])
    table["kind"] = np.where(SITES == "a", "up", "down")
    found = statistics(table)
    assert found.columns["position"][:6].tolist() == [1100.0, 1102.0, 1104.0, 1106.0, 1108.0, 1110.0]
    (kind,) = np.flatnonzero(found.columns["kind"] == "categories")
    assert found.columns["column"][kind] == "kind" and found.columns["categories"][kind] == ("down", "up")
    assert np.isnan(found.columns["mean"][kind])


def test_nothing_is_trained_and_what_was_sent_is_counted():
    kinds = {row["what"] for row in statistics(tuning="mixture").log.by_kind() if row["direction"] == "up"}
    assert kinds == {"sums of columns", "absolute deviations", "squared deviations"}


def test_the_policy_of_a_fit_is_that_of_statistics():
    with pytest.raises(NoAnswer, match="fewer than 25 rows"):
        statistics(policy=SitePolicy(fewest_rows=25))
    with pytest.raises(NoAnswer, match="'sums of columns' is not among queries"):
        statistics(policy=SitePolicy(queries=("parameters",)))
    assert statistics(policy=SitePolicy()).sites["rows"].sum() == 90


def test_exact_sums_are_not_asked_for_with_privacy():
    with pytest.raises(ValueError, match="does not pay for"):
        statistics(dp_clip_norm=1.0, preprocessing="standardize", dp_bounds={"X": (-9, 9), "y": (-9, 9)})


def test_a_rule_guards_statistics_too():
    far = X.copy()
    far[SITES == "b"] *= 1e6
    with pytest.warns(UserWarning, match="'b'"):
        found = statistics(far, aggregation="median")
    np.testing.assert_allclose(found.columns["mean"], np.column_stack((X, Y))[SITES != "b"].mean(0), rtol=1e-9)


def test_text_csv_and_json_say_the_same():
    found = statistics(HOLES, **TWO)
    rows = list(csv.DictReader(io.StringIO(found.to_csv())))
    assert [float(row["mean"]) for row in rows] == found.columns["mean"].tolist()
    assert [row["position"] for row in rows] == [""] * 8
    plain = json.loads(found.to_json())
    assert [row["spread"] for row in plain["columns"]] == found.columns["spread"].tolist()
    assert plain["sites"][1] == {"site": "b", "rows": 20, "rows of u": 20, "rows of v": 20}
    text = repr(found)
    assert "rows of v" in text and "position" not in text and len(text.splitlines()) == 4 + 1 + 9


def test_a_long_table_is_printed_without_its_middle():
    text = repr(statistics(np.tile(X, 5))).splitlines()
    assert "... 20 more" in text and len(text) == 4 + 1 + 1 + 12 + 1
