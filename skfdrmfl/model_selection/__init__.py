"""Searches over FDRMFL's parameters that train candidates, folds and clients in one pass."""

from skfdrmfl.model_selection._search import VectorizedGridSearchCV, VectorizedRandomizedSearchCV

__all__ = ["VectorizedGridSearchCV", "VectorizedRandomizedSearchCV"]
