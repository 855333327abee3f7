"""Linear members: in each view the best ridge and the best PLS, columns scaled and not, of paths from moments alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import block_diag

from skfdrmfl.common.arrays import Float
from skfdrmfl.method.linear_paths import best_of_path, pls_path, ridge_path
from skfdrmfl.mixture.sums import ViewSums

# Of the ridge, relative to the largest eigenvalue; and components of PLS.
PENALTIES = tuple(np.logspace(-11, 1, 25).tolist())
COMPONENTS = 25


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


def linear_members(sums: ViewSums, base: str | None, views: Sequence[str]) -> list[LinearMember]:
    """Return the members in some views that follow from a base view."""
    members = []
    for view in views:
        blocks = sums.blocks(view)
        gains = np.concatenate([block.gains for block in blocks.values()])
        own, common = [], []
        for block in blocks.values():
            n_own = len(block.deviation) - block.n_appended
            size = np.sqrt(np.mean(block.deviation[:n_own] ** 2)) if n_own else 1.0
            own.append(block.deviation)
            common.append(np.concatenate((np.full(n_own, size), block.deviation[n_own:])))
        for scaling, units in (("scaled", np.concatenate(own)), ("", np.concatenate(common))):
            per_unit = np.divide(1.0, units, out=np.zeros_like(units), where=units > 0)
            axes, r = np.linalg.qr(per_unit[:, None] * gains)
            kept, held_out = sums.kept.through(r), sums.held_out.through(r)
            back = _to_base(sums, view) @ (per_unit[:, None] * axes)  # (p, r), from coefficients of these axes
            n_components = min(COMPONENTS, int(min(kept.n)) - 1, len(r))
            paths = {"ridge": (ridge_path(kept, PENALTIES), PENALTIES)}
            if n_components > 0:
                numbers = tuple(range(1, n_components + 1))
                paths["pls"] = pls_path(kept, n_components), numbers
            for kind, ((coefficients, intercept), values) in paths.items():
                best, squares = best_of_path((coefficients[:, :-1], intercept[:, :-1]), held_out)
                outputs = np.arange(len(best))
                mine = np.moveaxis(coefficients[best, :, :, outputs], 0, -1)  # (K + 1, r, q)
                members.append(
                    LinearMember(
                        f"{kind} {view}" + (f" {scaling}" if scaling else ""),
                        view,
                        base,
                        back @ mine,
                        np.moveaxis(intercept[best, :, outputs], 0, -1),
                        squares[best, outputs],
                        tuple(float(values[i]) for i in best.tolist()),
                    )
                )
    return members


def _to_base(sums: ViewSums, view: str) -> Float:
    """Return what makes coefficients (p,) of the base view of those (p_v,) of a view."""
    return block_diag(
        *(
            (block.from_base * base.unit).T
            for block, base in zip(sums.blocks(view).values(), sums.table.blocks.values(), strict=True)
        )
    )
