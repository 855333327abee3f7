"""Splitting one table's rows among simulated clients."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skfdrmfl.common.arrays import check_unmasked

from ._base import check_count, generator_from

Ids = NDArray[np.int64]

_SCHEMES = ("iid", "quantile", "dirichlet")


def make_client_ids(
    y: ArrayLike, n_clients: int, scheme: str = "iid", *, alpha: float = 0.5, random_state: Any = None
) -> Ids:
    """Assign each row to one of several simulated clients.

    Parameters
    ----------
    y : array-like of shape (n,) or (n, n_targets)
        Finite numbers. Several targets are replaced by their first principal score after standardisation (the sign such
        that it grows with the first target); pass one column to split by that.
    n_clients : int
        From 1 to n.
    scheme : {"iid", "quantile", "dirichlet"}, default="iid"
        "iid": at random; sizes differ by at most one.

        "quantile": client k holds the k-th of `n_clients` slices of the sorted y, the most extreme label skew; sizes
        differ by at most one. Equal values stay in row order, so a run of them may be cut.

        "dirichlet": y is cut at its quantiles into up to 10 bins, about 5 rows in each at least (a y of as few distinct
        values has one bin for each), and each bin's rows are dealt out in proportions drawn from a symmetric Dirichlet
        distribution. A client left without rows then takes one, at random, from the largest client.
    alpha : float, default=0.5
        Concentration of the Dirichlet distribution: near 0, each bin goes to one client; large, all are alike.
    random_state : None, int, RandomState or Generator, default=None
        None draws anew each time. NumPy's global state is neither used nor changed. "quantile" draws nothing.

    Returns
    -------
    ndarray of shape (n,), int64
        Numbers from 0 to ``n_clients - 1``, each at least once.

    Raises
    ------
    ValueError
        If `n_clients`, `scheme` or `alpha` is out of range, or `y` has NaN, infinity or a wrong shape.

    References
    ----------
    T.-M. H. Hsu, H. Qi and M. Brown, "Measuring the effects of non-identical data distribution for federated
    visual classification" (arXiv:1909.06335), for Dirichlet label skew.

    Examples
    --------
    >>> from skfdrmfl.datasets import make_client_ids
    >>> make_client_ids([3.0, 1.0, 2.0, 9.0, 8.0, 7.0], 3, "quantile").tolist()
    [1, 0, 0, 2, 2, 1]
    """
    score = _one_score(y)
    n_rows = len(score)
    if check_count(n_clients, "n_clients") > n_rows:
        raise ValueError(f"n_clients is {n_clients} but y has {n_rows} rows; each client needs at least one.")
    if scheme not in _SCHEMES:
        raise ValueError(f"scheme is {scheme!r}; choose one of {', '.join(map(repr, _SCHEMES))}.")
    even: Ids = np.arange(n_rows, dtype=np.int64) * n_clients // n_rows  # 0 .. 0 1 .. 1 2 ..
    if scheme == "quantile":
        ids = np.empty_like(even)
        ids[np.argsort(score, kind="stable")] = even
        return ids
    rng = generator_from(random_state)
    if scheme == "iid":
        return rng.permutation(even)
    if not 0 < alpha < np.inf:
        raise ValueError(f"alpha is {alpha!r}; pass a finite number above 0.")
    return _fill_empty(_deal(_bins(score), n_clients, alpha, rng), n_clients, rng)


def _one_score(y: ArrayLike) -> NDArray[np.float64]:
    """Return one number for each row: y itself, or the first principal score of several targets."""
    check_unmasked(y, "y")
    try:
        values = np.asarray(y, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"y is not a table of numbers ({error}); encode it as numbers first.") from error
    if values.ndim not in (1, 2) or values.size == 0:
        raise ValueError(f"y has shape {values.shape}; pass at least one row of one or more numbers.")
    bad = values.size - int(np.isfinite(values).sum())
    if bad:
        raise ValueError(f"y has {bad} NaN or infinite values; drop or impute these rows first.")
    if values.ndim == 1 or values.shape[1] == 1:
        return values.ravel()
    spread = values.std(axis=0)
    z = (values - values.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    axis = np.linalg.eigh(z.T @ z)[1][:, -1]
    axis = -axis if axis[0] < 0 else axis
    return np.asarray((z * axis).sum(axis=1))  # not z @ axis, which may round equal rows differently


def _bins(score: NDArray[np.float64]) -> Ids:
    """Return the number of each row's bin, 0, 1, ... in order of y; equal values share a bin."""
    n_bins = min(10, max(2, len(score) // 5))
    values, bins = np.unique(score, return_inverse=True)
    if len(values) > n_bins:
        edges = np.quantile(score, np.arange(1, n_bins) / n_bins)
        bins = np.searchsorted(edges, score, side="right")
    return bins.astype(np.int64)


def _deal(bins: Ids, n_clients: int, alpha: float, rng: np.random.Generator) -> Ids:
    """Return each row's client: the rows of each bin are dealt out in proportions drawn for that bin."""
    sizes = np.bincount(bins)
    # Far beyond 1e9 the shares are even to the last row, and then their sum overflows.
    shares = rng.dirichlet(np.full(n_clients, min(alpha, 1e9)), size=len(sizes)).cumsum(axis=1)  # (bins, K)
    shares[:, -1] = 1.0  # rounding must not leave a row beyond the last client
    order = np.lexsort((rng.random(len(bins)), bins))  # by bin, shuffled inside
    sorted_bins = bins[order]
    rank = np.arange(len(bins)) - (sizes.cumsum() - sizes)[sorted_bins]
    place = (rank + 0.5) / sizes[sorted_bins]  # in (0, 1)
    # Bin b's shares lie in (b, b + 1], so one search serves all bins.
    ends = (shares + np.arange(len(sizes))[:, None]).ravel()
    ids = np.empty_like(bins)
    ids[order] = np.searchsorted(ends, sorted_bins + place, side="right") - sorted_bins * n_clients
    return ids


def _fill_empty(ids: Ids, n_clients: int, rng: np.random.Generator) -> Ids:
    """Give each empty client one random row of the client that is largest at that moment, and return `ids`."""
    for client in np.flatnonzero(np.bincount(ids, minlength=n_clients) == 0):
        largest = np.bincount(ids).argmax()
        ids[rng.choice(np.flatnonzero(ids == largest))] = client
    return ids
