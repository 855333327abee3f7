"""Pre-treatments of spectra that work row by row: nothing passes between clients, or from test to training rows."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from cases import Float
from scipy.signal import savgol_filter

WINDOW, ORDER = 11, 2  # columns and degree of the Savitzky-Golay polynomial


def snv(X: Float) -> Float:
    """Standard normal variate: each row to zero mean and unit standard deviation."""
    return (X - X.mean(axis=1, keepdims=True)) / X.std(axis=1, keepdims=True)


PRETREATMENTS: dict[str, Callable[[Float], Float]] = {
    "raw": lambda X: X,
    "snv": snv,
    "snv + std": lambda X: np.column_stack([snv(X), X.std(axis=1)]),
    "snv + mean + std": lambda X: np.column_stack([snv(X), X.mean(axis=1), X.std(axis=1)]),
    "derivative": partial(savgol_filter, window_length=WINDOW, polyorder=ORDER, deriv=1),
    "second derivative": partial(savgol_filter, window_length=WINDOW, polyorder=ORDER, deriv=2),
    "snv + derivative": lambda X: savgol_filter(snv(X), WINDOW, ORDER, deriv=1),
    "snv + second derivative": lambda X: savgol_filter(snv(X), WINDOW, ORDER, deriv=2),
}
# What inner folds may choose from: scatter correction or not, slopes or not. All keep the number of columns.
CHOICES = ("raw", "snv", "derivative", "snv + derivative")


def on_columns(X: Float, name: str, columns: slice) -> Float:
    """X with these columns treated, the others as they are."""
    treated = X.copy()
    treated[:, columns] = PRETREATMENTS[name](X[:, columns])
    return treated
