"""Sixty rows of three modalities, images of two latent variables, at three clients, and a small estimator of them."""

import numpy as np

from skfdrmfl import FDRMFLTransformer

N, WIDTHS = 60, {"nir": slice(0, 4), "mir": slice(4, 7), "wet": slice(7, 9)}
_rng = np.random.default_rng(0)
_LATENT = _rng.standard_normal((N, 2))
X = _LATENT @ _rng.standard_normal((2, 9)) + 0.3 * _rng.standard_normal((N, 9))
Y = _LATENT[:, 0] + 0.5 * _LATENT[:, 1]
IDS = np.repeat(["a", "b", "c"], [25, 20, 15])


def make(**changes):
    """The estimator of few and small rounds, some parameters changed."""
    options = {"modalities": WIDTHS, "n_rounds": 4, "local_epochs": 2, "random_state": 0, "hidden_layer_sizes": (4,)}
    return FDRMFLTransformer(**({"tuning": None} | options | changes))
