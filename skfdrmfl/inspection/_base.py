"""What all Displays share: axes, colours, the transformer inside a Pipeline, and what columns are called."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from skfdrmfl.common.arrays import Float
from skfdrmfl.common.extras import import_extra
from skfdrmfl.data.client_ids import rows_of_clients
from skfdrmfl.data.row_names import check_same_rows
from skfdrmfl.estimator._transformer import FDRMFLTransformer

# Okabe and Ito's palette: told apart with any colour vision.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#333333", "#F0E442")
MARKERS = ("o", "^", "s", "D", "v", "P", "X", "*")


class Display:
    """A picture that is computed first and drawn by `plot`; `ax_` and `figure_` are those it was drawn on last.

    `from_estimator` takes a fitted `estimator`, where nothing else is said an FDRMFLTransformer or a Pipeline with one,
    rows `X` (n, n_features), their `y` (n,) or (n, n_outputs) and `client_ids` (n,), and which `output` of y is meant.
    All ways to one pass `plot_kw` on to `plot`, which takes `ax`, the Axes to draw on, new ones for None, and keywords
    of the method of Axes that draws its marks: `scatter_kw` for `scatter`, `line_kw` for `plot` or `errorbar`, `bar_kw`
    for `bar`, `box_kw` for `boxplot`.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    """

    ax_: Any
    figure_: Any

    def _begin(self, ax: Any) -> Any:
        """Return the axes to draw on, new ones for None; ImportError where there is no matplotlib."""
        pyplot = import_extra("matplotlib.pyplot", "plot", f"{type(self).__name__} needs")
        if ax is None:
            _, ax = pyplot.subplots(layout="constrained")
        self.ax_, self.figure_ = ax, ax.figure
        return ax

    def _scatter(
        self,
        points: Float,
        clients: dict[Any, NDArray[np.bool_]],
        scatter_kw: dict[str, Any],
        *,
        y: Float | None = None,
        y_name: str = "y",
        legend: str = "best",
    ) -> None:
        """Draw points (n, 2) by client: in its colour and marker or, by `y` (n,), in colours on one scale, `y_name`.

        A client is called what its label is if that is text, else "client" and the label; all rows in one have no name.
        """
        for i, (label, mine) in enumerate(clients.items()):
            look = {"s": 18, "alpha": 0.8, "marker": MARKERS[i % len(MARKERS)]}
            look |= {"label": label if label is None or isinstance(label, str) else f"client {label}"}
            if y is None:
                look["color"] = COLOURS[i % len(COLOURS)]
            else:
                look |= {"c": y[mine], "vmin": np.min(y), "vmax": np.max(y)}
            drawn = self.ax_.scatter(*points[mine].T, **(look | scatter_kw))
        if y is not None and clients:
            self.figure_.colorbar(drawn, ax=self.ax_, label=y_name)
        if None not in clients:
            self.ax_.legend(loc=legend)


def transformer_of(estimator: Any, X: Any = None, **of_rows: Any) -> tuple[FDRMFLTransformer, Any]:
    """Return the fitted transformer, and X as it reaches it: of a Pipeline, its first transformer of this kind.

    Raises TypeError where there is none, ValueError where `of_rows`, such as y, are those of rows in another order.
    """
    check_same_rows(X=X, **of_rows)
    steps = [step for _, step in estimator.steps] if isinstance(estimator, Pipeline) else [estimator]
    for step in steps:
        if isinstance(step, FDRMFLTransformer):
            check_is_fitted(step)
            return step, X
        if X is not None and hasattr(step, "transform"):
            X = step.transform(X)
    fact = "is no FDRMFLTransformer, nor a Pipeline with one among its steps"
    raise TypeError(f"{type(estimator).__name__} {fact}; pass one.")


def checked_output(output: int, n_outputs: int, what: str = "the model") -> int:
    """Return which y is meant; ValueError where `what` does not have it."""
    if not 0 <= output < n_outputs:
        raise ValueError(f"output is {output}, but {what} has {n_outputs} outputs; use 0 to {n_outputs - 1}.")
    return output


def by_client(client_ids: ArrayLike | None, n: int) -> dict[Any, NDArray[np.bool_]]:
    """Return the mask (n,) of each client's rows by its label, sorted; all rows under None without `client_ids`."""
    return {None: np.ones(n, dtype=bool)} if client_ids is None else rows_of_clients(client_ids, n)
