"""One network goes on alone: partial_fit and warm_start begin with one, and do not go on from a mixture."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from skfdrmfl import FDRMFLTransformer

rng = np.random.default_rng(0)
X = rng.standard_normal((60, 6))
Y = X[:, 0] + 0.1 * rng.standard_normal(60)
IDS = np.arange(60) % 3
# Of the shape that a network of the mixture has, so that nothing else speaks against going on.
SMALL = {"n_rounds": 2, "local_epochs": 1, "hidden_layer_sizes": (3,), "random_state": 0}


def test_warm_start_does_not_go_on_from_a_mixture():
    model = FDRMFLTransformer(**SMALL).fit(X, Y, IDS)
    before = model.predict(X)
    with pytest.raises(ValueError, match="is a mixture, and one network alone goes on; fit with tuning=None"):
        model.set_params(warm_start=True).fit(X, Y, IDS)
    assert_array_equal(model.predict(X), before)


def test_partial_fit_after_a_mixture_begins_anew_and_says_so():
    model = FDRMFLTransformer(**SMALL).fit(X, Y, IDS)
    with pytest.warns(UserWarning, match="partial_fit begins a network alone anew"):
        model.partial_fit(X, Y, IDS)
    anew = FDRMFLTransformer(**SMALL).partial_fit(X, Y, IDS)
    assert_array_equal(model.predict(X), anew.predict(X))
    assert model.n_rounds_ == 1


def test_a_chain_that_begins_alone_is_that_of_one_network():
    chains = [FDRMFLTransformer(tuning=tuning, **SMALL) for tuning in ("mixture", None)]
    for model in chains:
        model.partial_fit(X, Y, IDS).partial_fit(X, Y, IDS)
    assert "goes on from a network" in chains[0].members_.note
    assert chains[0].n_rounds_ == 2
    assert_array_equal(chains[0].predict(X), chains[1].predict(X))
