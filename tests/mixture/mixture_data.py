"""Tables of two modalities, one of spectra, at clients; and the sums of their views."""

import numpy as np
from helpers import simulate

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.data.held_out import EVERYTHING, inner_folds
from skfdrmfl.mixture.sums import ask
from skfdrmfl.protocol.door import Block

K = 5
COLUMNS = {"nir": np.arange(24), "lab": np.arange(24, 28)}
THREE = np.repeat([0, 1, 2], [30, 20, 10])


def rows(n=60, q=2, seed=0):
    """Spectra of 24 columns and a table of four, side by side, and outputs."""
    rng = np.random.default_rng(seed)
    latent = rng.standard_normal((n, 3))
    wave = np.sin(np.arange(24) / np.array([[3.0], [4.0], [5.0]]))
    nir = rng.uniform(0.5, 2.0, (n, 1)) * (3 + latent @ wave) + rng.standard_normal((n, 1))
    lab = latent[:, :1] + rng.standard_normal((n, 4)) * [0.5, 1.0, 2.0, 3.0]
    x = np.hstack([nir + 0.02 * rng.standard_normal((n, 24)), lab])
    y = np.stack([latent[:, 0] + 0.3 * lab[:, 1], np.exp(latent[:, 1])], 1)[:, :q]
    return x, y + 0.1 * rng.standard_normal((n, q))


def lacking(n=60):
    """Who has which modality: every third row lacks the table, every seventh the spectra."""
    present = np.ones((n, 2), dtype=bool)
    present[::3, 1], present[1::7, 0] = False, False
    present[~present.any(1)] = True
    return present


def asked(federation, view=None, smooth=("nir",), seed=0, subset=EVERYTHING):
    """The sums of a base view, the standardisation of y, and the folds."""
    folds = inner_folds(subset, seed, K)
    blocks = {name: Block(mine, m) for m, (name, mine) in enumerate(COLUMNS.items())}
    sums, y = ask(federation, blocks, [view], smooth, [out for _, out in folds], subset)
    assert sums[view].smooth == tuple(smooth)
    return sums[view], y, folds


def federation_of(x, y, codes=THREE, present=None, **options):
    return simulate(x, y, codes, present=present, n_modalities=2, **options)


def masks_of(federation, folds, n):
    """Which rows (K + 1, n) each fold keeps, and all."""
    out = np.zeros((len(folds) + 1, n), dtype=bool)
    for k, (kept, _) in enumerate(folds):
        for client in federation.clients:
            out[k, client.rows_of(kept)] = True
    out[-1] = True
    return out


def make(**changes):
    """The estimator of a mixture, of few rounds."""
    return FDRMFLTransformer(**({"n_rounds": 3, "local_epochs": 1, "random_state": 0} | changes))
