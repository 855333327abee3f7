"""Views of some of the columns, and one view after another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.common.arrays import Float
from skfdrmfl.common.tree import registered
from skfdrmfl.views.base import View


@registered
@dataclass(frozen=True)
class Within(View):
    """A view of the columns between the first `before` and the last `after` ones, which stay as they are."""

    view: View
    before: int = 0
    after: int = 0

    @property
    def name(self) -> str:
        """See `View`."""
        return self.view.name

    @property
    def is_linear(self) -> bool:
        """See `View`."""
        return self.view.is_linear

    @property
    def n_appended(self) -> int:
        """See `View`; they stand before the last `after` columns."""
        return self.view.n_appended

    @property
    def least_columns(self) -> int:
        """See `View`."""
        return self.view.least_columns + self.before + self.after

    def matrix(self, p: int) -> Float:
        """See `View.matrix`."""
        inner = self.view.matrix(p - self.before - self.after)
        out = np.zeros((self.before + len(inner) + self.after, p))
        end = len(out) - self.after, p - self.after
        out[: self.before, : self.before] = np.eye(self.before)
        out[self.before : end[0], self.before : end[1]] = inner
        out[end[0] :, end[1] :] = np.eye(self.after)
        return out

    def apply(self, rows: Float) -> Float:
        """See `View.apply`."""
        first, mine, last = self._parts(rows)
        return np.concatenate((first, self.view.apply(mine), last), axis=1)

    def slopes(self, rows: Float, gradients: Float) -> Float:
        """See `View.slopes`."""
        first, mine, last = self._parts(gradients)
        return np.concatenate((first, self.view.slopes(self._parts(rows)[1], mine), last), axis=-1)

    def columns_behind(self, outputs: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """See `View.columns_behind`."""
        first, mine, last = self._parts(outputs)
        return np.concatenate((first, self.view.columns_behind(mine), last))

    def _parts(self, values: NDArray) -> tuple[NDArray, NDArray, NDArray]:
        """Return the first, the viewed, and the last of the values (..., columns)."""
        end = values.shape[-1] - self.after
        return values[..., : self.before], values[..., self.before : end], values[..., end:]


@registered
@dataclass(frozen=True)
class Chain(View):
    """The `second` view of what the `first` makes of the columns; what the first appends stays, behind all others."""

    first: View
    second: View

    @property
    def name(self) -> str:
        """See `View`."""
        return f"{self.first.name}+{self.second.name}"

    @property
    def is_linear(self) -> bool:
        """See `View`."""
        return self.first.is_linear and self.second.is_linear

    @property
    def n_appended(self) -> int:
        """See `View`."""
        return self.first.n_appended + self.second.n_appended

    @property
    def least_columns(self) -> int:
        """See `View`."""
        return max(self.first.least_columns, self.second.least_columns)

    @property
    def _then(self) -> View:
        """The second view, of what the first returns."""
        return Within(self.second, after=self.first.n_appended)

    def matrix(self, p: int) -> Float:
        """See `View.matrix`."""
        return self._then.matrix(self.first.n_outputs(p)) @ self.first.matrix(p)

    def apply(self, rows: Float) -> Float:
        """See `View.apply`."""
        return self._then.apply(self.first.apply(rows))

    def slopes(self, rows: Float, gradients: Float) -> Float:
        """See `View.slopes`."""
        return self.first.slopes(rows, self._then.slopes(self.first.apply(rows), gradients))

    def columns_behind(self, outputs: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """See `View.columns_behind`."""
        return self.first.columns_behind(self._then.columns_behind(outputs))
