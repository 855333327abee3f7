"""Errors of methods where training rows, clients or modalities vary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from skfdrmfl.common.arrays import Float
from skfdrmfl.inspection._base import COLOURS, MARKERS, Display


@dataclass(eq=False, repr=False)
class VariationDisplay(Display):
    """A learning curve of each method, by training rows or clients; of modalities a bar for each.

    `sklearn.model_selection.LearningCurveDisplay` draws the curve of one estimator, of training folds cut short. This
    one draws what `skfdrmfl.compare.compare` has with `learning_curve=True`, where no client is lost and no group
    parted, or with `by_modality=True`.

    Parameters
    ----------
    along : str
        "rows", "clients" or "modalities".
    points : list of str
        What each point is called, the last of them with everything.
    sizes : ndarray of shape (n_points,)
        Training rows, or clients, at each.
    errors, deviations : dict of str to ndarray of shape (n_points,)
        RMSE of each method, mean and standard deviation over draws; NaN where it could not be fitted.
    """

    along: str
    points: list[str]
    sizes: Float
    errors: dict[str, Float]
    deviations: dict[str, Float]

    @classmethod
    def from_comparison(
        cls,
        comparison: Any,
        *,
        along: str = "rows",
        names: Any = None,
        output: str | None = None,
        unit: str = "",
        **plot_kw: Any,
    ) -> VariationDisplay:
        """Draw the errors of a comparison.

        Parameters
        ----------
        comparison : skfdrmfl.compare.Comparison
        along : {"rows", "clients", "modalities"}, default="rows"
        names : sequence of str, default=None
            Methods; None draws PCA, PLS, PLS with chosen components, RidgeCV and FDRMFL.
        output : str, default=None
            Which of several outputs; None is the first.
        unit : str, default=""
            Unit of y.

        Raises
        ------
        ValueError
            If the comparison has no such errors.
        """
        found = {variation.along: variation for variation in comparison.variations}
        if along not in found:
            has = f"it has {', '.join(found)}" if found else "it has none"
            raise ValueError(f"the comparison has no errors along {along!r} ({has}); ask compare for them.")
        output = comparison.outputs[0] if output is None else output
        lines = found[along].lines(output, names)
        points = {e.point: e.n_clients if along == "clients" else e.n_rows for line in lines.values() for e in line}
        order = sorted(points, key=lambda point: points[point]) if along != "modalities" else list(points)
        measured = {name: {e.point: e.rmse for e in line} for name, line in lines.items()}
        nothing = [np.nan]
        return cls(
            along,
            order,
            np.array([points[point] for point in order]),
            {name: np.array([np.mean(of.get(p, nothing)) for p in order]) for name, of in measured.items()},
            {name: np.array([np.std(of.get(p, nothing)) for p in order]) for name, of in measured.items()},
        ).plot(unit=unit, **plot_kw)

    def plot(self, *, unit: str = "", ax: Any = None, **plot_kw: Any) -> VariationDisplay:
        """Draw them; bars and whiskers are one standard deviation over draws."""
        ax = self._begin(ax)
        places, width = np.arange(len(self.points)), 0.8 / max(1, len(self.errors))
        for i, (name, errors) in enumerate(self.errors.items()):
            look: dict[str, Any] = {"label": name, "color": COLOURS[i % len(COLOURS)], "yerr": self.deviations[name]}
            if self.along == "modalities":
                ax.bar(places + (i - (len(self.errors) - 1) / 2) * width, errors, width, **(look | plot_kw))
            else:
                look |= {"marker": MARKERS[i % len(MARKERS)], "capsize": 2}
                ax.errorbar(self.sizes, errors, **(look | plot_kw))
        if self.along == "modalities":
            ax.set_xticks(places, [point.replace(" ", "\n", 1) for point in self.points])
        else:
            ax.set_xscale("log", base=2)
            ax.set_xticks(self.sizes, [f"{size:.0f}" for size in self.sizes])
        what = {"rows": "training rows", "clients": "clients that train", "modalities": "modalities that are used"}
        ax.set(xlabel=what[self.along], ylabel=f"RMSE ({unit})" if unit else "RMSE")
        ax.set_ylim(bottom=0)
        ax.legend(fontsize=8)
        return self
