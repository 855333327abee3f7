"""Class labels in the place of numbers: one helpful error, whatever holds them."""

import numpy as np
import pandas as pd
import pytest

from skfdrmfl import FDRMFLTransformer

X = np.random.default_rng(0).standard_normal((12, 3))
LABELS = ["setosa", "virginica", "versicolor"] * 4


@pytest.mark.parametrize(
    "y",
    [
        np.array(LABELS),
        np.array(LABELS, dtype=object),
        pd.Series(LABELS),
        pd.Series(LABELS, dtype=object),
        pd.DataFrame({"kind": LABELS}, dtype=object),
        np.array([*LABELS[:-1], None], dtype=object),
        np.array([*range(11), "setosa"], dtype=object),
    ],
    ids=["str array", "object array", "Series", "object Series", "DataFrame", "with None", "one among numbers"],
)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_labels_get_the_same_error_whatever_holds_them(y, method):
    model = FDRMFLTransformer(n_rounds=1, tuning=None)
    with pytest.raises(
        ValueError, match="^y cannot be read as numbers .*pass a dense numeric array, classes as columns of 0"
    ):
        getattr(model, method)(X, y)
    assert not hasattr(model, "n_features_in_")


def test_numbers_held_as_objects_are_numbers():
    y = X[:, 0].round(3)
    options = {"n_rounds": 1, "local_epochs": 1, "random_state": 0}
    expected = FDRMFLTransformer(tuning=None, **options).fit(X, y).transform(X)
    for held in (y.astype(object), pd.Series(y.astype(object)), y.tolist()):
        np.testing.assert_array_equal(FDRMFLTransformer(tuning=None, **options).fit(X, held).transform(X), expected)
