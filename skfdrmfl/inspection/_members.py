"""What predicts: the members of a mixture, how each errs on rows held out, and what it weighs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from skfdrmfl.common.arrays import Float
from skfdrmfl.inspection._base import COLOURS, MARKERS, Display, checked_output, transformer_of

# Weights for so many outputs are written one by one.
MOST_WRITTEN = 4
# Errors of which the largest is so many times the least stand on a logarithmic axis, which has marks at 1, 2 and 5.
FAR_APART = 4.0


def weights_text(weights: Float) -> str:
    """Return a member's weights (n_outputs,), of many outputs their mean."""
    if len(weights) > MOST_WRITTEN:
        return f"{weights.mean():.2f} on average"
    return ", ".join(f"{weight:.2f}" for weight in weights.tolist())


@dataclass(eq=False, repr=False)
class MembersDisplay(Display):
    """The error of each member of a mixture on rows held out, and its weight: a row for each, the mixture on top.

    The area of a point grows with the weight, which stands beside the name; members without weight are hollow. A solid
    line marks the error of the mixture, a dashed one that of the mean predictor. Of several outputs each has a colour,
    and errors are over those of the mean predictor. The mixture's error is of the rows that chose its weights.

    Parameters
    ----------
    names : list of str
        "mixture", then its members, those of most weight first.
    weights, errors : ndarray of shape (len(names), n_outputs)
        Weights of the members add up to 1; errors are root mean squares in the units of y.
    """

    names: list[str]
    weights: Float
    errors: Float

    @classmethod
    def from_estimator(cls, estimator: Any, **plot_kw: Any) -> MembersDisplay:
        """Draw what `members_` has; no rows are needed.

        Raises
        ------
        ValueError
            The network is alone, of which no error on rows held out is known, or there is no such output.
        """
        model, _ = transformer_of(estimator)
        members = model.members_
        if all(row["name"] != "mixture" for row in members):
            why = f" ({members.note})" if members.note else ""
            fact = f"is one network{why}, whose error on rows held out is not known"
            remedy = 'fit with tuning="mixture", or draw its training with HistoryDisplay'
            raise ValueError(f"members_ {fact}; {remedy}.")
        weights, errors = (
            np.array([np.atleast_1d(row[what]) for row in members], dtype=np.float64) for what in ("weight", "error")
        )
        return cls([row["name"] for row in members], weights, errors).plot(**plot_kw)

    def plot(self, *, output: int | None = None, ax: Any = None, **scatter_kw: Any) -> MembersDisplay:
        """Draw one `output` in the units of y, or with None all of them."""
        n_outputs = self.errors.shape[1]
        shown = np.arange(n_outputs) if output is None else np.array([checked_output(output, n_outputs)])
        ax = self._begin(ax)
        weights, errors = self.weights[:, shown], self.errors[:, shown]
        mean = errors[self.names.index("mean")]
        label, several = "held-out RMSE (units of y)", len(shown) > 1
        if several:
            label = "held-out RMSE (mean predictor: 1)"
            errors = np.divide(errors, mean, out=np.full_like(errors, np.nan), where=mean > 0)
            mean = np.ones(1)
        for i, number in enumerate(shown.tolist()):
            colour = COLOURS[number % len(COLOURS)]
            places = np.arange(len(self.names)) + 0.5 * ((i + 0.5) / len(shown) - 0.5)  # of outputs one below another
            look = {
                "s": 20 + 120 * weights[:, i],
                "marker": MARKERS[number % len(MARKERS)],
                "facecolors": [colour if weight > 0 else "none" for weight in weights[:, i].tolist()],
                "edgecolors": colour,
                "label": f"output {number}" if n_outputs > 1 else "members",
            }
            ax.scatter(errors[:, i], places, **(look | scatter_kw))
            ax.axvline(errors[0, i], color=colour, linewidth=0.8, label=None if several else "mixture")
        ax.axvline(mean[0], color="#333333", linewidth=0.8, linestyle="--", label="mean predictor")
        labels = [f"{name}  {weights_text(mine)}" for name, mine in zip(self.names, weights, strict=True)]
        ax.set_yticks(np.arange(len(labels)), labels, fontsize="small")
        ax.set_ylim(len(labels) - 0.5, -0.5)
        finite = errors[np.isfinite(errors)]
        if len(finite) and finite.max() > FAR_APART * finite.min() > 0:
            ax.set_xscale("log", subs=[2, 5])
            ax.xaxis.set_major_formatter("{x:g}")
            ax.xaxis.set_minor_formatter("{x:g}")
        ax.set(xlabel=label, ylabel="member, weight")
        ax.legend(fontsize="small")
        return self
