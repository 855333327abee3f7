"""Linear members: in each view the best ridge and the best PLS, columns scaled and not, of paths from moments alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from scipy.linalg import block_diag

from skfdrmfl.common.arrays import Float, Indices
from skfdrmfl.common.progress import tell
from skfdrmfl.mixture.linear_paths import Path, best_of_path, pls_path, ridge_path
from skfdrmfl.mixture.moments import Moments
from skfdrmfl.mixture.sums import PARTS_OF_VIEW, ViewBlock, ViewSums

# Of the ridge, relative to the largest eigenvalue; and components of PLS.
PENALTIES = tuple(np.logspace(-11, 1, 25).tolist())
COMPONENTS = 25
# Ridges of views in which PLS errs more than this many times the least would get no weight.
CLOSE = 1.5
# Paths of so many axes take less time than the calls that they are made of, so that several go together.
FEW_AXES = 256


@dataclass(frozen=True, eq=False)
class LinearMember:
    """A linear model of the columns of a base view, as `ViewSums.table` gives them, fitted K + 1 times."""

    name: str
    view: str
    base: str | None
    coefficients: Float  # (K + 1, p, q), on the rows that each fold keeps, then on all rows
    intercept: Float  # (K + 1, q)
    squares: Float  # (q,), squared errors on all rows held out
    chosen: tuple[float, ...]  # of each output, the penalty or the number of components


def linear_members(sums: Mapping[str | None, ViewSums], views: Sequence[str]) -> list[LinearMember]:
    """Return the members in some views: PLS in all, the ridge where PLS errs within `CLOSE` of the best."""
    spaces = [
        _Space(of_base, base, view, blocks, scaled)
        for base, of_base in sums.items()
        for view in views
        if PARTS_OF_VIEW[view][0] == base and of_base.axes.size
        for blocks in [list(of_base.blocks(view).values())]
        for scaled in (True, False)
    ]
    pls: dict[_Space, LinearMember] = {}
    for group in _together(spaces):
        n_components = min(COMPONENTS, int(min(group[0].kept.n)) - 1, group[0].kept.x.shape[-1])
        if n_components > 0:
            tell("PLS")
            path = partial(pls_path, n_components=n_components)
            pls |= zip(group, _best("pls", group, path, range(1, n_components + 1)), strict=True)
    least = min((float(member.squares.sum()) for member in pls.values()), default=np.inf)
    close = [space for space in spaces if space not in pls or pls[space].squares.sum() <= CLOSE**2 * least]
    ridge: dict[_Space, LinearMember] = {}
    for group in _together(close):
        tell("ridges")
        path = partial(ridge_path, penalties=PENALTIES)
        ridge |= zip(group, _best("ridge", group, path, PENALTIES), strict=True)
    found = [member for space in spaces for member in (ridge.get(space), pls.get(space))]
    return [member for member in found if member is not None]


def mean_member(sums: ViewSums) -> LinearMember:
    """Return the member that predicts the mean of the rows it has seen."""
    n_sets, p, q = len(sums.kept.n), len(sums.axes), sums.kept.y.shape[-1]
    nothing = np.zeros((n_sets - 1, sums.axes.shape[1], q))
    squares = sums.held_out.squared_errors(nothing, sums.kept.mean_y[:-1]).sum(0)
    return LinearMember("mean", "raw", None, np.zeros((n_sets, p, q)), sums.kept.mean_y, squares, (0.0,) * q)


class _Space:
    """The columns of one view, scaled or not, as coordinates along orthonormal axes."""

    def __init__(self, sums: ViewSums, base: str | None, view: str, blocks: Sequence[ViewBlock], scaled: bool):
        self._name, self._view, self._base = f"{view} scaled" if scaled else view, view, base
        tell(f"columns of {self._name}")
        per_unit = np.concatenate([_per_unit(block, scaled) for block in blocks])
        gains = np.concatenate([block.gains for block in blocks])
        axes, r = np.linalg.qr(per_unit[:, None] * gains)
        self.held_out = sums.held_out.through(r)
        self.kept = self.held_out.kept
        # From coefficients along these axes to those of the base columns z.
        self._back = block_diag(*(block.from_base.T for block in blocks)) @ (per_unit[:, None] * axes)

    def member(self, kind: str, path: Path, best: Indices, squares: Float, values: Sequence[float]) -> LinearMember:
        """Return the model of a path that is best for each output (q,), with the squared errors (P, q) of all."""
        coefficients, intercept = path
        outputs = np.arange(len(best))
        return LinearMember(
            f"{kind} {self._name}",
            self._view,
            self._base,
            self._back @ np.moveaxis(coefficients[best, :, :, outputs], 0, -1),
            np.moveaxis(intercept[best, :, outputs], 0, -1),
            squares[best, outputs],
            tuple(float(values[i]) for i in best.tolist()),
        )


def _together(spaces: Sequence[_Space]) -> list[list[_Space]]:
    """Return the spaces whose paths are worked out in one go: of as many axes each, if these are few."""
    groups: dict[Any, list[_Space]] = {}
    for space in spaces:
        n_axes = space.kept.x.shape[-1]
        groups.setdefault(n_axes if n_axes <= FEW_AXES else space, []).append(space)
    return list(groups.values())


def _best(
    kind: str, spaces: Sequence[_Space], path_of: Callable[[Moments], Path], values: Sequence[float]
) -> list[LinearMember]:
    """Return of each space the model of a path that errs least on the rows held out, for each output."""
    path = path_of(Moments.stacked([space.kept for space in spaces]))  # (P, S, K + 1, ...)
    best, squares = best_of_path(path, Moments.stacked([space.held_out for space in spaces]))
    return [
        space.member(kind, (path[0][:, i], path[1][:, i]), best[i], squares[:, i], values)
        for i, space in enumerate(spaces)
    ]


def _per_unit(block: ViewBlock, scaled: bool) -> Float:
    """Return what columns of a modality are multiplied by: one over their deviations, or over one common spread.

    What a view has appended is of another unit, and always scaled to the spread of the others.
    """
    units = block.deviation.copy()
    n_own = len(units) - block.n_appended
    if not scaled and n_own:
        units[:n_own] = np.sqrt(np.mean(units[:n_own] ** 2))
    return np.divide(1.0, units, out=np.zeros_like(units), where=units > 0)
