"""Training, round by round."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from skfdrmfl.common.arrays import Float
from skfdrmfl.inspection._base import COLOURS, Display, transformer_of


class HistoryDisplay(Display):
    """Terms of the objective against rounds: a line for each term, or for each client.

    Parameters
    ----------
    rounds : ndarray of shape (n_rounds,)
    lines : dict of str to ndarray of shape (n_rounds,)
        What is drawn, by the label of the line; NaN leaves a gap.
    ylabel : str
    best_round : int or None
        A vertical line, where early stopping kept a round.
    """

    def __init__(self, rounds: Any, lines: dict[str, Float], ylabel: str, best_round: int | None = None):
        self.rounds, self.lines, self.ylabel, self.best_round = rounds, lines, ylabel, best_round

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        terms: Sequence[str] = ("loss", "mse", "mi", "kl", "contrastive"),
        by: str = "term",
        ax: Any = None,
        **line_kw: Any,
    ) -> HistoryDisplay:
        """Draw what `history_` has.

        Parameters
        ----------
        estimator : fitted FDRMFLTransformer, or Pipeline with one
        terms : sequence of str
            Keys of `history_`, without "_per_client"; with `by="client"` the first alone is drawn. Terms that are 0
            throughout are left out.
        by : {"term", "client"}, default="term"
        ax : matplotlib Axes, default=None
        **line_kw
            Passed to `Axes.plot`.

        Raises
        ------
        ValueError
            `history_` has no such term, or `by` is something else.
        """
        model, _ = transformer_of(estimator)
        history = model.history_
        if by not in ("term", "client"):
            raise ValueError(f'by is {by!r}; use "term" or "client".')
        wanted = [f"{terms[0]}_per_client"] if by == "client" else list(terms)
        for name in wanted:
            if name not in history:
                known = ", ".join(n for n in history if n.endswith("_per_client") == (by == "client"))
                raise ValueError(f"history_ has no {name!r}; it has {known or 'no entries, as there were no rounds'}.")
        if by == "client":
            values = history[wanted[0]]
            lines = {f"client {c}": values[:, k] for k, c in enumerate(model.clients_.tolist())}
        else:
            lines = {name: history[name] for name in wanted if np.any(history[name] != 0)}
        best = model._fitted.best_round
        display = cls(np.arange(1, model.n_rounds_ + 1), lines, terms[0] if by == "client" else "mean over rows", best)
        return display.plot(ax=ax, **line_kw)

    def plot(self, *, ax: Any = None, **line_kw: Any) -> HistoryDisplay:
        """Draw it."""
        ax = self._begin(ax)
        for i, (label, values) in enumerate(self.lines.items()):
            ax.plot(self.rounds, values, **({"color": COLOURS[i % len(COLOURS)], "label": label} | line_kw))
        if self.best_round:
            ax.axvline(self.best_round, color="#999999", linestyle=":", label=f"best round {self.best_round}")
        ax.set(xlabel="round", ylabel=self.ylabel)
        ax.legend()
        return self
