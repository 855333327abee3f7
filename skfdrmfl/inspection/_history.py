"""Training, round by round."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from skfdrmfl.common.arrays import Float
from skfdrmfl.estimator._transformer import FDRMFLTransformer
from skfdrmfl.inspection._base import COLOURS, Display, transformer_of
from skfdrmfl.inspection._members import weights_text


@dataclass(eq=False, repr=False)
class HistoryDisplay(Display):
    """Terms of the objective against rounds: a line for each term, or for each client.

    Of a mixture they are those of one network, the one of most weight: the title says which, and what it weighs.

    Parameters
    ----------
    rounds : ndarray of shape (n_rounds,)
    lines : dict of str to ndarray of shape (n_rounds,)
        What is drawn, by the label of the line; NaN leaves a gap.
    ylabel : str
    best_round : int or None
        A vertical line, where early stopping kept a round.
    title : str
        Which network of a mixture it is; empty of a network alone.
    """

    rounds: Any
    lines: dict[str, Float]
    ylabel: str
    best_round: int | None = None
    title: str = ""

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        terms: Sequence[str] = ("loss", "mse", "mi", "kl", "contrastive"),
        by: str = "term",
        **plot_kw: Any,
    ) -> HistoryDisplay:
        """Draw what `history_` has.

        Parameters
        ----------
        terms : sequence of str
            Keys of `history_`, without "_per_client"; with `by="client"` the first alone is drawn. Terms that are 0
            throughout are left out.
        by : {"term", "client"}, default="term"

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
        ylabel = terms[0] if by == "client" else "mean over rows"
        rounds, best = np.arange(1, model.n_rounds_ + 1), model._fitted.best_round
        return cls(rounds, lines, ylabel, best, _title(model)).plot(**plot_kw)

    def plot(self, *, ax: Any = None, **line_kw: Any) -> HistoryDisplay:
        """Draw it."""
        ax = self._begin(ax)
        for i, (label, values) in enumerate(self.lines.items()):
            ax.plot(self.rounds, values, **({"color": COLOURS[i % len(COLOURS)], "label": label} | line_kw))
        if self.best_round:
            ax.axvline(self.best_round, color="#999999", linestyle=":", label=f"best round {self.best_round}")
        ax.set(xlabel="round", ylabel=self.ylabel)
        if self.title:
            ax.set_title(self.title)
        ax.legend()
        return self


def _title(model: FDRMFLTransformer) -> str:
    """Return which network of a mixture the record is of; a network that has diverged is no member."""
    lead = model._fitted.lead
    for member in model.members_:
        if lead and member["name"] == lead:
            return f"{lead}, weight {weights_text(np.atleast_1d(member['weight']))}"
    return lead and f"{lead}, diverged: no member"
