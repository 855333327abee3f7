"""Importances of columns in the manner of VIP."""

from __future__ import annotations

from typing import Any

import numpy as np

from skfdrmfl.common.arrays import Float, Indices
from skfdrmfl.inspection._base import COLOURS, Display, names_of, positions_of, transformer_of


class ImportanceDisplay(Display):
    """Importance of each column, scaled as VIP is: VIP_j = sqrt(p I_j^2 / sum_k I_k^2), whose mean square is 1.

    I is `feature_importances_`. As with the "variable importance in projection" of PLS (Wold, Johansson and Cocchi,
    1993), columns above 1 say more than the average one; the two are not the same quantity.

    Parameters
    ----------
    vip : ndarray of shape (n_features,)
    modalities : dict of str to ndarray of int
    positions : ndarray of shape (n_features,)
    named : bool
        Whether `positions` are from the columns' names.
    names : list of str
    axis_name : str, default="column"
        What the axis is called, such as "wavelength, nm".
    """

    def __init__(
        self,
        vip: Float,
        modalities: dict[str, Indices],
        positions: Float,
        named: bool,
        names: list[str],
        axis_name: str = "column",
    ):
        self.vip, self.modalities, self.positions, self.named, self.names = vip, modalities, positions, named, names
        self.axis_name = axis_name

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, xlabel: str | None = None, ax: Any = None, **bar_kw: Any
    ) -> ImportanceDisplay:
        """Draw the importances that a fit has left; no rows are needed.

        Parameters
        ----------
        estimator : fitted FDRMFLTransformer, or Pipeline with one
        xlabel : str, default=None
        ax : matplotlib Axes, default=None
        **bar_kw
            Passed to `Axes.bar`.
        """
        model, _ = transformer_of(estimator)
        importances = model.feature_importances_
        measured = np.concatenate(list(model.modalities_.values()))  # and no labels
        length = np.sqrt(np.mean(importances[measured] ** 2))
        vip = importances / length if length > 0 else importances
        positions, named, axis_name = positions_of(model)
        display = cls(vip, dict(model.modalities_), positions, named, names_of(model), axis_name)
        return display.plot(xlabel=xlabel, ax=ax, **bar_kw)

    def plot(self, *, xlabel: str | None = None, ax: Any = None, **bar_kw: Any) -> ImportanceDisplay:
        """Draw them."""
        ax = self._begin(ax)
        apart = np.diff(np.unique(self.positions[~np.isnan(self.positions)]))
        width = 0.9 * float(apart.min()) if len(apart) else 0.9
        for i, (name, columns) in enumerate(self.modalities.items()):
            look = {"width": width, "color": COLOURS[i % len(COLOURS)], "label": name}
            ax.bar(self.positions[columns], self.vip[columns], **(look | bar_kw))
        ax.axhline(1.0, color="#333333", linewidth=0.8, linestyle="--")
        if len(self.modalities) > 1:
            ax.legend()
        if not self.named and len(self.names) <= 20:
            ax.set_xticks(self.positions, self.names, rotation=45, ha="right")
        ax.set(xlabel=xlabel or self.axis_name, ylabel="importance (mean square 1, as VIP)")
        return self
