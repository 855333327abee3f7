"""Which clients are there in which round, as users say it, and as training needs it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.common.arrays import Indices


def availability_of(
    availability: Any, clients: NDArray, positions: Indices, first_round: int, n_rounds: int
) -> NDArray[np.bool_] | None:
    """Return which of all clients are there in each round to come (n_rounds, K); None: all.

    `availability` is the parameter, `clients` (K,) are all labels known, `positions` those that have rows now: others
    are not asked about, and not there. `first_round` counts from 1. ValueError: a table of the wrong shape or type.
    """
    if availability is None:
        return None
    if callable(availability):
        labels = clients[positions].tolist()
        there = np.zeros((n_rounds, len(clients)), dtype=bool)
        for t in range(n_rounds):
            there[t, positions] = [bool(availability(first_round + t, label)) for label in labels]
        return there
    table = np.asarray(availability)
    last_round = first_round + n_rounds - 1
    if table.ndim != 2 or table.shape[1] != len(clients) or len(table) < last_round:
        raise ValueError(
            f"availability has the shape {table.shape}, but there are {len(clients)} clients and rounds up to "
            f"{last_round}; pass a table of a row a round and a column a client, in the order of clients_."
        )
    if table.dtype != bool and not np.isin(table, (0, 1)).all():
        raise ValueError("availability holds values other than True and False; pass a table of booleans.")
    there = np.zeros((n_rounds, len(clients)), dtype=bool)
    there[:, positions] = table[first_round - 1 : last_round, positions]
    return there


def check_somebody_begins(there: NDArray[np.bool_]) -> None:
    """Raise ValueError where nobody is there in round 1, from whom preprocessing could come."""
    if not there.any():
        raise ValueError(
            "availability lets no client be there in round 1, and preprocessing comes from those who are; "
            "let at least one be there, or let the rounds begin later."
        )


def last_there(available: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return who is there (K,) in the last of the rounds (rounds, K) that anyone is there in; nobody if none is."""
    somebody = np.flatnonzero(available.any(1))
    return available[somebody[-1]] if len(somebody) else np.zeros(available.shape[1], dtype=bool)
