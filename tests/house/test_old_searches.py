"""An import of the searches of earlier versions says what to use instead."""

import importlib

import pytest


@pytest.mark.parametrize("name", ["GridSearchCV", "RandomizedSearchCV"])
def test_the_searches_that_are_gone_name_scikit_learns(name):
    with pytest.raises(ImportError, match=f"Vectorized{name} is gone.*import {name} from sklearn.model_selection"):
        exec(f"from skfdrmfl.model_selection import Vectorized{name}", {})


def test_nothing_else_is_there():
    module = importlib.import_module("skfdrmfl.model_selection")
    assert not hasattr(module, "Searches")
    with pytest.raises(ImportError, match="cannot import name 'Searches'"):
        exec("from skfdrmfl.model_selection import Searches", {})
