"""Who was left out of a fit, and why: what is kept of it, and what is said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.common.arrays import Indices
from skfdrmfl.protocol.messages import Update

# Reasons.
NOT_FINITE, OUT_OF_LINE = "update not finite", "rows out of line"

# A client that was left out: its label as "client", the "reason", and the "rounds" (from 1) whose updates of it were.
DroppedClient = dict[str, Any]


def finite_replicas(update: Update, moved: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which replicas (C,) returned finite parameters and a finite loss.

    `moved` (C,) are the squared lengths of the updates, finite wherever one has no entry that is not, but for some that
    are merely large.
    """
    finite: NDArray[np.bool_] = np.isfinite(update.losses[:, -1])  # "loss" is last of `term_names`
    if not np.isfinite(moved).all():
        finite = finite & np.isfinite(update.weights).all(-1)
    return finite


def of_rounds(dropped: Indices, positions: Indices, clients: Sequence[Any], n_before: int) -> list[DroppedClient]:
    """Return who sent updates that were dropped: round, from 0, and place (n, 2), after `n_before` other rounds."""
    return [
        {
            "client": clients[positions[place]],
            "reason": NOT_FINITE,
            "rounds": (n_before + 1 + dropped[dropped[:, 1] == place, 0]).tolist(),
        }
        for place in np.unique(dropped[:, 1]).tolist()
    ]


def together(before: Sequence[DroppedClient], now: Sequence[DroppedClient]) -> list[DroppedClient]:
    """Return who was left out before or now, each client and reason once."""
    merged: dict[tuple[Any, str], DroppedClient] = {}
    for entry in (*before, *now):
        key = (entry["client"], entry["reason"])
        rounds = merged[key]["rounds"] if key in merged else []
        merged[key] = {**entry, "rounds": [*rounds, *entry["rounds"]]}
    return list(merged.values())


def warning(entries: Sequence[Mapping[str, Any]], reason: str) -> str | None:
    """Return what a user is told of those who were left out for a reason; None where there is nobody."""
    mine = [entry for entry in entries if entry["reason"] == reason]
    if not mine:
        return None
    if reason == OUT_OF_LINE:
        names = ", ".join(repr(entry["client"]) for entry in mine)
        named = f"client {names} is" if len(mine) == 1 else f"each of the clients {names} is"
        return (
            f"{named} left out of the sums and of training: what it says of its rows is of another order than "
            "what most clients say. See whether X or y is in other units there, or holds a corrupt row; "
            "dropped_clients_ keeps the names."
        )
    rounds = "; ".join(f"{entry['client']!r} in {_rounds(entry['rounds'])}" for entry in mine)
    return (
        f"updates that are not finite were dropped: of client {rounds}. Look at the rows there, scale X, or lower "
        "learning_rate; dropped_clients_ keeps names and rounds."
    )


def _rounds(rounds: Sequence[int]) -> str:
    """Return the rounds in words."""
    return f"round {rounds[0]}" if len(rounds) == 1 else f"{len(rounds)} rounds (from {rounds[0]} to {rounds[-1]})"
