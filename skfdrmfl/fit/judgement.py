"""What a fitted model says of rows beside its predictions: whether they are like the training rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.common.arrays import Float, Present
from skfdrmfl.diagnosis.domain_table import DomainTable
from skfdrmfl.fit.result import Fitted
from skfdrmfl.method.domain import FAR_LEVEL, Domain

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
    distances = domain.distances(table, present)  # (n, M, 2)
    times = _times(distances, limits)
    worst = times.max(2).argmax(1) if distances.shape[1] else np.zeros(len(table), dtype=np.int64)
    of_worst = distances[np.arange(len(table)), worst]
    unseen = domain.unseen(table)
    y_range = fitted.target.unit[:, None] * domain.y_range + fitted.target.mean[:, None]
    y_hat = fitted.evaluate(table, present)[1].reshape(len(table), -1)
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


def far_rows(fitted: Fitted, table: NDArray, present: Present | None) -> NDArray[np.int64]:
    """Return which rows lie far outside, beyond every training row; none of a model without a domain."""
    if fitted.domain is None:
        return np.zeros(0, dtype=np.int64)
    far = fitted.domain.limits(FAR_LEVEL).far
    return np.flatnonzero((fitted.domain.distances(table, present) > far).any((1, 2)))


def _times(distances: Float, limits: Float) -> Float:
    """Return how many times their limits distances (n, M, 2) are; of a limit of zero whatever is more is infinite."""
    none = np.where(distances > 0, np.inf, 0.0)
    return np.divide(distances, limits, out=none, where=limits > 0)
