"""What a fitted model says of rows beside its predictions: whether they are like the training rows."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.common.arrays import Float, Present
from skfdrmfl.common.wording import counted
from skfdrmfl.diagnosis.domain_table import DomainTable
from skfdrmfl.fit.check_input import whose_rows
from skfdrmfl.fit.result import Fitted
from skfdrmfl.method.domain import FAR_LEVEL, Domain, rank_of
from skfdrmfl.method.intervals import HeldOutCounts, fewest_rows

# The place of rows whose client is not known.
NOBODY = -1
# Columns that are named for a row outside.
MOST_NAMED = 3


def domain_of(fitted: Fitted) -> Domain:
    """Return the domain of a model; ValueError where it has none."""
    if fitted.domain is not None:
        return fitted.domain
    if fitted.account is not None:
        raise ValueError(
            "the model was fitted with privacy, which counts no rows by how far out they lie; domain needs a fit "
            "without dp_noise_multiplier and dp_clip_norm."
        )
    raise ValueError("the model comes from an earlier version and knows no domain; fit it anew.")


def domain_table(fitted: Fitted, table: NDArray, present: Present | None, level: float) -> DomainTable:
    """Return where the rows of a table stand; see `FDRMFLTransformer.domain`."""
    domain = domain_of(fitted)
    limits = domain.limits(level).usual  # (M, 2)
    y_hat = fitted.evaluate(table, present)[1].reshape(len(table), -1)
    table = fitted.as_read(table)
    distances = domain.distances(table, present)  # (n, M, 2)
    times = _times(distances, limits)
    worst = times.max(2).argmax(1) if distances.shape[1] else np.zeros(len(table), dtype=np.int64)
    of_worst = distances[np.arange(len(table)), worst]
    unseen = domain.unseen(table)
    y_range = fitted.target.unit[:, None] * domain.y_range + fitted.target.mean[:, None]
    inside = (times <= 1.0).all((1, 2)) & ~unseen.any(1)
    columns = {
        "T2": of_worst[:, 0],
        "T2_limit": limits[worst, 0],
        "Q": of_worst[:, 1],
        "Q_limit": limits[worst, 1],
        "inside": inside,
        "y_inside": ((y_hat >= y_range[:, 0]) & (y_hat <= y_range[:, 1])).all(1),
        "moved_by": np.full(len(table), "", dtype=object),
    }
    if len(domain.blocks) > 1:
        columns["modality"] = np.array(list(domain.blocks), dtype=object)[worst]
    names = np.arange(fitted.n_features) if fitted.feature_names is None else fitted.feature_names
    moved = {i: domain.discrete[unseen[i]].tolist() for i in np.flatnonzero(unseen.any(1)).tolist()}
    for m in range(len(domain.blocks)):
        mine = np.flatnonzero((times > 1.0).any((1, 2)) & (worst == m))
        for i, found in zip(mine.tolist(), domain.moved(table[mine], m), strict=True):
            moved[i] = moved.get(i, []) + found[:MOST_NAMED].tolist()
    for i, found in moved.items():
        columns["moved_by"][i] = ", ".join(str(names[j]) for j in found[:MOST_NAMED])
    return DomainTable(columns, y_range, level)


# Beyond what rows are far outside of a domain (M, 2): looked up for every prediction, a third of the time of one row's.
_FAR: WeakKeyDictionary[Domain, Float] = WeakKeyDictionary()


def far_rows(fitted: Fitted, table: NDArray, present: Present | None) -> NDArray[np.int64]:
    """Return which rows lie far outside, beyond every training row; none of a model without a domain."""
    if fitted.domain is None:
        return np.zeros(0, dtype=np.int64)
    far = _FAR.get(fitted.domain)
    if far is None:
        far = _FAR[fitted.domain] = fitted.domain.limits(FAR_LEVEL).far
    return np.flatnonzero(fitted.domain.beyond(fitted.as_read(table), present, far))


def intervals(
    fitted: Fitted, table: NDArray, present: Present | None, confidence: float, client_ids: Any = None
) -> Float:
    """Return the ends (n, 2) or (n, q, 2) of intervals; see `FDRMFLTransformer.predict_interval`."""
    held_out = _held_out(fitted)
    y_hat = fitted.evaluate(table, present)[1].astype(np.float64).reshape(len(table), -1)
    half = np.empty(y_hat.shape)
    positions = np.full(len(table), NOBODY)
    if client_ids is not None and fitted.adaptation is None:  # of an instrument that no client of the fit had
        positions = whose_rows(client_ids, len(table), fitted.clients)[1]
        positions[positions >= len(fitted.clients)] = NOBODY
    n_rows = held_out.n_rows()
    for position in np.unique(positions).tolist():
        if position == NOBODY:
            n, who, remedy = sum(n_rows.values()), "all clients together hold out", "or fit more rows"
            if fitted.adaptation is not None:
                who, remedy = "the model was adapted to", "or adapt it to more rows"
        else:
            n, who = n_rows.get(position, 0), f"client {fitted.clients[position]!s} holds out"
            remedy = "or leave client_ids out"
        rank = rank_of(n, confidence)
        if rank > n:
            raise ValueError(
                f"{who} {counted(n, 'row')}, and intervals of confidence {confidence:g} take {fewest_rows(confidence)}"
                f"; pass a confidence of at most {int(1000 * n / (n + 1)) / 1000:g}, {remedy}."
            )
        half[positions == position] = held_out.half_width(rank, None if position == NOBODY else position)
    half *= fitted.target.unit * _widening(fitted, table, present)[:, None]
    ends = np.stack((y_hat - half, y_hat + half), -1)
    return ends[:, 0] if fitted.y_ndim == 1 else ends


def _held_out(fitted: Fitted) -> HeldOutCounts:
    """Return how far off a model is on rows held out; ValueError where it knows of none."""
    if fitted.held_out is not None:
        return fitted.held_out
    if fitted.account is not None:
        fact, remedy = "the model was fitted with privacy, which holds out no rows", "fit without dp_clip_norm"
    else:
        fact = "the model knows no errors on rows held out"
        remedy = 'fit with tuning="mixture" or early_stopping=True'
    raise ValueError(f"{fact}, and intervals are read off these; {remedy}.")


def _widening(fitted: Fitted, table: NDArray, present: Present | None) -> Float:
    """Return how many times as wide intervals are (n,): beyond the domain the root of the excess, of a variance."""
    if fitted.domain is None:
        return np.ones(len(table))
    limits = fitted.domain.limits(FAR_LEVEL).usual
    times = _times(fitted.domain.distances(fitted.as_read(table), present), limits)
    return np.sqrt(np.maximum(times.max((1, 2), initial=1.0), 1.0))


def _times(distances: Float, limits: Float) -> Float:
    """Return how many times their limits distances (n, M, 2) are; of a limit of zero whatever is more is infinite."""
    none = np.where(distances > 0, np.inf, 0.0)
    return np.divide(distances, limits, out=none, where=limits > 0)
