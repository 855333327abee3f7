"""One round's aggregate: updates go in as they come, one model comes out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.common.arrays import Float, Indices

# From updates w_k - w_t (K, D), and how many of them may be dishonest: the update (D,) of the model.
Rule = Callable[[NDArray, int], NDArray]
# From the same: other updates (K', D), and how many of those may be dishonest.
Mixing = Callable[[NDArray, int], tuple[NDArray, int]]


class Average:
    """FedAvg: parameters averaged by |D_k| over those who answer (McMahan et al. 2017).

    Updates are measured from `origin` (D,), the model sent out or zeros. `n_rows` are those of everyone invited, as of
    `add`, and `group_of` (D,) the group of each parameter, where there are several.
    """

    def __init__(self, origin: NDArray, n_rows: Indices, group_of: Indices | None = None):
        self._origin, self._group_of = origin, group_of
        self._invited: Float = by_group(n_rows).sum(0, dtype=np.float64)
        self._answered = np.zeros_like(self._invited)
        self._sum = np.where(self._of_parameters(self._invited == 0), origin, np.zeros_like(origin))

    @np.errstate(over="ignore", invalid="ignore")  # whether the sum is finite is looked at afterwards
    def add(self, n_rows: Indices, weights: NDArray) -> None:
        """Add the parameters (C, D) of clients with `n_rows` (C,) |D_k|, or (C, groups) for each group of parameters.

        A client has no say on a group for which it has no row. A caller may write to `weights` afterwards.
        """
        n_rows = by_group(n_rows)
        self._answered += n_rows.sum(0)
        # One by one, product and sum rounded each. Bits: see docs/maintainers.md, "one sum a run".
        shares = (n_rows / np.maximum(self._invited, 1.0)).astype(weights.dtype)
        product = np.empty_like(self._sum)
        for mine, share in zip(weights, shares, strict=True):
            np.multiply(mine, self._of_parameters(share), out=product)
            self._sum += product

    @np.errstate(over="ignore", invalid="ignore")
    def result(self) -> NDArray:
        """Return the average (D,) over those who answered; a group of which nobody answered keeps its values."""
        if (self._answered == self._invited).all():
            return self._sum
        silent = (self._answered == 0) & (self._invited > 0)
        share = np.maximum(self._answered, 1.0) / np.maximum(self._invited, 1.0)
        mean = self._sum / self._of_parameters(share.astype(self._sum.dtype))
        return np.where(self._of_parameters(silent), self._origin, mean)

    def _of_parameters(self, values: NDArray) -> NDArray:
        """Return what each group has (groups,), for each parameter (D,); of one group (1,)."""
        return values if self._group_of is None else values[self._group_of]


class Collected:
    """One round's aggregate by a `rule` over all updates, after a `mixing`, kept until all have come.

    **Each client has one vote, however many rows it has**: a count of rows is but a claim. A client has no vote on a
    group of parameters for which it has no rows, such as the encoder of a modality that it lacks, and each group is
    aggregated by itself among those who have. Who does not answer has no vote either; where nobody has one the
    parameters stay as they were sent out. Where fewer vote than twice `n_byzantine`, as many count as dishonest as a
    majority of honest ones leaves room for. `origin` and `group_of` are those of `Average`.
    """

    def __init__(
        self,
        origin: NDArray,
        group_of: Indices | None = None,
        *,
        rule: Rule,
        mixing: Mixing | None = None,
        n_byzantine: int = 0,
    ):
        self._origin, self._group_of = origin, group_of
        self._rule, self._mixing, self._n_byzantine = rule, mixing, n_byzantine
        self._kept: list[tuple[Indices, NDArray]] = []

    def add(self, n_rows: Indices, weights: NDArray) -> None:
        """Keep the parameters of some clients."""
        self._kept.append((by_group(n_rows), weights.copy()))

    @np.errstate(over="ignore", invalid="ignore")  # whether the model is finite is looked at afterwards
    def result(self) -> NDArray:
        """Return the model (D,)."""
        model = self._origin.copy()
        if not self._kept:
            return model
        votes = np.concatenate([n_rows for n_rows, _ in self._kept]) > 0
        moved = np.concatenate([weights for _, weights in self._kept]) - self._origin
        if self._group_of is None:
            return model + self._of(moved[votes[:, 0]]) if votes.any() else model
        for group in np.unique(self._group_of).tolist():
            mine = self._group_of == group
            if votes[:, group].any():
                model[mine] += self._of(moved[np.ix_(votes[:, group], mine)])
        return model

    def _of(self, points: NDArray) -> NDArray:
        """Return the aggregate (d,) of the votes (n, d) on some parameters."""
        votes = points, min(self._n_byzantine, (len(points) - 1) // 2)
        return self._rule(*(votes if self._mixing is None else self._mixing(*votes)))


def by_group(n_rows: Indices) -> Indices:
    """Return numbers of rows (C,) or (C, groups) as (C, groups)."""
    return n_rows if n_rows.ndim > 1 else n_rows[:, None]


def keep_untrained_parameters(weights: NDArray, origin: NDArray, n_rows: Indices, group_of: Indices) -> NDArray:
    """Return `weights` (C, D) with those of groups for which a client has no row, `n_rows` (C, groups), as sent out."""
    return np.where((n_rows == 0)[:, group_of], origin, weights)
