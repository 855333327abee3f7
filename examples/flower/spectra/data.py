"""How a site's rows are read, at each site alike. Replace the body of `load_data`; nothing else knows what they are."""

import os
from pathlib import Path

import numpy as np


def load_data(context):
    """Return X and y of this site, and groups if rows belong together.

    It is called for every message, so it should take no more than a second: read a prepared file, not a data base. What
    it raises stays in this site's log.
    """
    path = context.node_config.get("data", os.environ.get("SPECTRA_CSV"))
    if path is not None:  # a table with names in the first line, the target in its last column
        table = np.genfromtxt(Path(path), delimiter=",", skip_header=1)
        return table[:, :-1], table[:, -1]
    # For a first try: every third row of a set that comes with the package.
    from skfdrmfl.datasets import load_tecator

    X, y = load_tecator(return_X_y=True)
    mine = slice("abc".index(context.node_config["client"]), None, 3)
    return X[mine], y[mine]
