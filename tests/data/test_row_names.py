"""Laws of rows: what is masked is missing, and rows that are named alike stand in one order or are refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from sklearn.model_selection import cross_val_score

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.compare import compare
from skfdrmfl.data.row_names import check_same_rows
from skfdrmfl.datasets import make_client_ids, stack_modalities
from skfdrmfl.inspection import ClientErrorsDisplay, CoverageDisplay, PredictedMeasuredDisplay, ScoresDisplay
from skfdrmfl.metrics import chemometric_report, r2_per_client, rmsecv, rmsep
from skfdrmfl.site.site_data import SiteRows
from skfdrmfl.site.site_terms import agreed_parameters

N, P = 30, 4
RNG = np.random.default_rng(0)
X = RNG.standard_normal((N, P))
Y = X[:, 0] - X[:, 3] + 0.1 * RNG.standard_normal(N)
SITES = np.array(["north", "south", "west"])[np.arange(N) % 3]
NAMES = [f"A{i}" for i in range(N)]
ORDER = RNG.permutation(N)
TABLE = pd.DataFrame(X, index=NAMES, columns=list("abcd"))
MEASURED, LABELS = pd.Series(Y, index=NAMES), pd.Series(SITES, index=NAMES)
OTHER_Y, OTHER_LABELS = MEASURED.iloc[ORDER], LABELS.iloc[ORDER]


def small():
    return FDRMFLTransformer(tuning=None, n_rounds=1, local_epochs=1, hidden_layer_sizes=(4,), random_state=0)


MODEL = small().fit(TABLE, MEASURED, client_ids=LABELS, groups=LABELS)


def about(estimator, X, y, groups=None):
    """What a site says of its rows."""
    site = SiteRows(estimator, lambda: (X, y, groups), "north")
    return site.describe({"parameters": agreed_parameters(estimator), "categories": None}, "run")


CALLS = {
    "fit, y": lambda y, ids: small().fit(TABLE, y, client_ids=LABELS),
    "fit, client_ids": lambda y, ids: small().fit(TABLE, MEASURED, client_ids=ids),
    "fit, groups": lambda y, ids: small().fit(TABLE, MEASURED, groups=ids),
    "fit, by y": lambda y, ids: small().fit(X, MEASURED, client_ids=ids),
    "partial_fit": lambda y, ids: small().partial_fit(TABLE, y),
    "adapt": lambda y, ids: MODEL.adapt(TABLE, y),
    "score": lambda y, ids: MODEL.score(TABLE, y),
    "score, weights": lambda y, ids: MODEL.score(TABLE, MEASURED, sample_weight=y.abs()),
    "at a site": lambda y, ids: about(small(), TABLE, y),
    "compare": lambda y, ids: compare(TABLE, y, SITES),
    "compare, client_ids": lambda y, ids: compare(TABLE, MEASURED, ids),
    "rmsep": lambda y, ids: rmsep(MEASURED, y),
    "rmsecv": lambda y, ids: rmsecv(small(), TABLE, y),
    "report": lambda y, ids: chemometric_report(MEASURED, MEASURED, ids),
    "by client": lambda y, ids: r2_per_client(MEASURED, Y, ids),
    "scores": lambda y, ids: ScoresDisplay.from_estimator(MODEL, TABLE, y),
    "predictions": lambda y, ids: PredictedMeasuredDisplay.from_estimator(MODEL, TABLE, y),
    "coverage": lambda y, ids: CoverageDisplay.from_estimator(MODEL, TABLE, y),
    "errors": lambda y, ids: ClientErrorsDisplay.from_predictions(MEASURED, Y, ids),
}


@pytest.mark.parametrize("call", CALLS)
def test_the_same_names_in_another_order_are_refused_with_the_remedy(call):
    with pytest.raises(ValueError, match=r"row 'A\d+' is row \d+ of .* but row 0 of .*; pass .*\.loc\[.*\.index\]"):
        CALLS[call](OTHER_Y, OTHER_LABELS)


def test_the_remedy_is_one():
    again = small().fit(TABLE, OTHER_Y.loc[TABLE.index], client_ids=OTHER_LABELS.loc[TABLE.index])
    assert_array_equal(again.predict(TABLE), MODEL.predict(TABLE))


@pytest.mark.parametrize(
    "other",
    [
        OTHER_Y.reset_index(drop=True),  # 0, 1, 2, ...
        OTHER_Y.set_axis(range(1, N + 1)),
        OTHER_Y.set_axis([f"B{i}" for i in range(N)]),
        OTHER_Y.set_axis([*NAMES[1:], NAMES[1]]),  # twice the same
        OTHER_Y.to_numpy(),
        list(OTHER_Y),
        MEASURED,
    ],
)
def test_names_that_say_nothing_are_passed_over(other):
    check_same_rows(X=TABLE, y=other)
    check_same_rows(X=X, y=other, client_ids=None)


def test_numbers_that_are_names_count_and_default_ones_do_not():
    kept, numbers = pd.DataFrame(X, index=np.arange(N) + 7), pd.Series(Y, index=np.arange(N) + 7)
    with pytest.raises(ValueError, match=r"row 36 is row 29 of X but row 0 of y"):
        check_same_rows(X=kept, y=numbers[::-1])
    check_same_rows(X=kept, y=numbers.set_axis(np.arange(N) + 8))  # other numbers: those of another table
    for default in (range(N), range(1, N + 1)):
        check_same_rows(X=pd.DataFrame(X, index=default), y=pd.Series(Y, index=default)[::-1])
    drawn = pd.DataFrame(X).iloc[ORDER]
    check_same_rows(X=drawn, y=pd.Series(Y))
    with pytest.raises(ValueError, match=r"y\.loc\[X\.index\]"):
        check_same_rows(X=drawn, y=pd.Series(Y).iloc[ORDER[::-1]])


@pytest.mark.filterwarnings("error")
def test_folds_of_rows_in_another_order_are_refused_by_the_names_that_they_share():
    with pytest.raises(ValueError, match="align them by these names"):
        cross_val_score(small(), TABLE, OTHER_Y, error_score="raise")


def test_several_levels_and_dates_are_names_too():
    for index in (pd.MultiIndex.from_arrays([SITES, NAMES]), pd.date_range("2026-01-01", periods=N)):
        with pytest.raises(ValueError, match=r"pass y\.loc\[X\.index\]"):
            check_same_rows(X=pd.DataFrame(X, index=index), y=pd.Series(Y, index=index)[::-1])


# ------------------------------------------------------------------------------------------------------ masks

MASKED_X, MASKED_Y = np.ma.array(X, mask=False), np.ma.array(Y, mask=np.arange(N) % 15 == 3)
MASKED_X[4, 2] = MASKED_X[9, 0] = np.ma.masked
MASKED_IDS = np.ma.array(SITES, mask=np.arange(N) == 7)
MASKED = {
    "fit, X": (lambda: small().fit(MASKED_X, Y), "X has masked entries in 2 of 30 rows .first: row 4"),
    "fit, list of rows": (lambda: small().fit(list(MASKED_X), Y), "X has masked entries in 2 of 30 rows .first: row 4"),
    "fit, y": (lambda: small().fit(X, MASKED_Y), "y has masked entries in 2 of 30 rows .first: row 3"),
    "fit, client_ids": (lambda: small().fit(X, Y, client_ids=MASKED_IDS), "client_ids has masked .* 1 of 30 .*row 7"),
    "fit, groups": (lambda: small().fit(X, Y, groups=MASKED_IDS), "groups has masked"),
    "partial_fit": (lambda: small().partial_fit(X, MASKED_Y), "y has masked"),
    "predict": (lambda: small().fit(X, Y).predict(MASKED_X), "X has masked"),
    "transform": (lambda: small().fit(X, Y).transform(MASKED_X), "X has masked"),
    "score": (lambda: small().fit(X, Y).score(X, MASKED_Y), "y has masked"),
    "at a site": (lambda: about(small(), X, MASKED_Y), "y has masked"),
    "compare": (lambda: compare(MASKED_X, Y, SITES), "X has masked"),
    "compare, clients by seed": (lambda: compare(X, Y, lambda seed: MASKED_IDS), "client_ids has masked"),
    "rmsep": (lambda: rmsep(MASKED_Y, Y), "y_true has masked"),
    "rmsecv": (lambda: rmsecv(small(), X, MASKED_Y), "y has masked"),
    "report": (lambda: chemometric_report(Y, MASKED_Y), "y_pred has masked"),
    "clients": (lambda: make_client_ids(MASKED_Y, 3), "y has masked"),
    "stack": (lambda: stack_modalities({"nir": MASKED_X}), "modality 'nir' has masked"),
    "scores": (lambda: ScoresDisplay.from_estimator(small().fit(X, Y), X, MASKED_Y), "y has masked"),
    "predictions": (lambda: PredictedMeasuredDisplay.from_predictions(MASKED_Y, Y), "y_true has masked"),
}


@pytest.mark.parametrize("call", MASKED)
def test_masked_entries_are_refused(call):
    act, words = MASKED[call]
    with pytest.raises(ValueError, match=words):
        act()


def test_a_mask_without_masked_entries_changes_nothing():
    model = small().fit(np.ma.array(X), np.ma.array(Y), client_ids=np.ma.array(SITES))
    assert_array_equal(model.predict(np.ma.array(X, mask=False)), small().fit(X, Y, client_ids=SITES).predict(X))
    assert rmsep(np.ma.array(Y), Y + 1) == 1
    assert_array_equal(stack_modalities({"nir": np.ma.array(X)})[0], X)
