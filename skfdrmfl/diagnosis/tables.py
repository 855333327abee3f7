"""The training record as tables: dicts of columns, which pandas, polars and csv writers take as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.common.arrays import Float

Table = dict[str, NDArray[Any]]
OF_EACH = "_per_client"


def by_round(history: Mapping[str, Float]) -> Table:
    """Return a row for each round: "round", from 1, and every mean over clients in `history_`."""
    means = {name: values for name, values in history.items() if not name.endswith(OF_EACH)}
    n_rounds = len(next(iter(means.values()), ()))
    return {"round": np.arange(1, n_rounds + 1), **{name: values.copy() for name, values in means.items()}}


def by_client(history: Mapping[str, Float], clients: Sequence[Any]) -> Table:
    """Return a row for each round and client: "round", "client" (its label), and what `history_` has of each client."""
    of_each = {name.removesuffix(OF_EACH): v for name, v in history.items() if name.endswith(OF_EACH)}
    n_rounds = len(next(iter(of_each.values()), ()))
    labels = np.asarray(clients)
    return {
        "round": np.repeat(np.arange(1, n_rounds + 1), len(labels)),
        "client": np.tile(labels, n_rounds),
        **{name: values.ravel() for name, values in of_each.items()},
    }
