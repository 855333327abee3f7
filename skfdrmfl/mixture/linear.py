"""Linear members: in each view the best ridge and the best PLS, columns scaled and not, of paths from moments alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import block_diag

from skfdrmfl.common.arrays import Float
from skfdrmfl.common.progress import tell
from skfdrmfl.method.linear_paths import Path, best_of_path, pls_path, ridge_path
from skfdrmfl.mixture.sums import PARTS_OF_VIEW, ViewBlock, ViewSums

# Of the ridge, relative to the largest eigenvalue; and components of PLS.
PENALTIES = tuple(np.logspace(-11, 1, 25).tolist())
COMPONENTS = 25
# Ridges of views in which PLS errs more than this many times the least would get no weight.
CLOSE = 1.5


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
    members = {space: space.best_pls() for space in spaces}
    least = min((float(m.squares.sum()) for m in members.values() if m is not None), default=np.inf)
    out = []
    for space, pls in members.items():
        if pls is None or pls.squares.sum() <= CLOSE**2 * least:
            tell("ridges")
            out.append(space.best("ridge", ridge_path(space.kept, PENALTIES), PENALTIES))
        if pls is not None:
            out.append(pls)
    return out


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
        self.kept = sums.kept.through(r)
        tell(f"columns of {self._name}, held out")
        self._held_out = sums.held_out.through(r)
        # From coefficients along these axes to those of the base columns z.
        self._back = block_diag(*(block.from_base.T for block in blocks)) @ (per_unit[:, None] * axes)

    def best_pls(self) -> LinearMember | None:
        """Return the PLS of the best number of components; None where there are too few rows or columns for one."""
        tell(f"PLS of {self._name}")
        n_components = min(COMPONENTS, int(min(self.kept.n)) - 1, self.kept.x.shape[-1])
        if n_components < 1:
            return None
        return self.best("pls", pls_path(self.kept, n_components), tuple(range(1, n_components + 1)))

    def best(self, kind: str, path: Path, values: Sequence[float]) -> LinearMember:
        """Return the model of a path that errs least on the rows held out, for each output."""
        coefficients, intercept = path
        best, squares = best_of_path((coefficients[:, :-1], intercept[:, :-1]), self._held_out)
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


def _per_unit(block: ViewBlock, scaled: bool) -> Float:
    """Return what columns of a modality are multiplied by: one over their deviations, or over one common spread.

    What a view has appended is of another unit, and always scaled to the spread of the others.
    """
    units = block.deviation.copy()
    n_own = len(units) - block.n_appended
    if not scaled and n_own:
        units[:n_own] = np.sqrt(np.mean(units[:n_own] ** 2))
    return np.divide(1.0, units, out=np.zeros_like(units), where=units > 0)
