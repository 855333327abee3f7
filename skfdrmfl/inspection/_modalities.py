"""What each modality contributes to the predictions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from skfdrmfl.common.arrays import Float
from skfdrmfl.inspection._base import COLOURS, Display, checked_output, transformer_of

# Draws of other rows' values; more make the estimate smoother.
N_REPEATS = 10


def contributions(model: Any, X: Any, *, n_repeats: int = N_REPEATS, random_state: Any = 0) -> dict[str, Float]:
    """Return sqrt(1/2 mean (y_hat - y_hat(x^m of another row))^2) of each modality m, (n_outputs,), in units of y.

    Its square over the variance of y_hat is the total index of Sobol of the modality, as Jansen estimates it (Computer
    Physics Communications 117, 1999, eq. 10): for a linear model with independent modalities it is the standard
    deviation of the modality's part of the prediction. Draws are cyclic shifts by random steps, among the rows that
    have the modality; others do not count.
    """
    table, present = model._read(X)
    fitted = model._fitted
    rng = np.random.default_rng(random_state)
    out = {}

    def predict(rows: Any) -> Float:
        return np.asarray(fitted.evaluate(rows, present)[1], dtype=np.float64).reshape(len(rows), -1)

    before = predict(table)
    for m, (name, columns) in enumerate(fitted.network_spec.modalities.items()):
        mine = np.arange(len(table)) if present is None else np.flatnonzero(present[:, m])
        if len(mine) < 2:
            out[name] = np.full(before.shape[1], np.nan)
            continue
        squares = np.zeros(before.shape[1])
        n_draws = min(n_repeats, len(mine) - 1)
        for step in rng.choice(np.arange(1, len(mine)), n_draws, replace=False).tolist():
            drawn = table.copy()
            drawn[np.ix_(mine, columns)] = table[np.ix_(np.roll(mine, step), columns)]
            squares += ((predict(drawn) - before)[mine] ** 2).mean(0) / n_draws
        out[name] = np.sqrt(0.5 * squares)
    return out


@dataclass(eq=False, repr=False)
class ModalityContributionsDisplay(Display):
    """How far predictions move with each modality: a bar for each, in units of y.

    Parameters
    ----------
    contributions : dict of str to ndarray of shape (n_outputs,)
        See `contributions`.
    spread : ndarray of shape (n_outputs,)
        Standard deviation of the predictions.
    """

    contributions: dict[str, Float]
    spread: Float

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        output: int = 0,
        n_repeats: int = N_REPEATS,
        random_state: Any = 0,
        **plot_kw: Any,
    ) -> ModalityContributionsDisplay:
        """Draw what each modality contributes to the predictions on rows.

        Parameters
        ----------
        n_repeats : int, default=10
            Draws; at most n - 1 are taken.
        random_state : int, default=0
        """
        model, rows = transformer_of(estimator, X)
        checked_output(output, model._fitted.network.n_outputs)
        found = contributions(model, rows, n_repeats=n_repeats, random_state=random_state)
        spread = np.asarray(model.predict(rows), dtype=np.float64).reshape(len(rows), -1).std(0)
        return cls(found, spread).plot(output=output, **plot_kw)

    def plot(self, *, output: int = 0, ax: Any = None, **bar_kw: Any) -> ModalityContributionsDisplay:
        """Draw them; a line shows the standard deviation of all predictions."""
        ax = self._begin(ax)
        heights = [values[output] for values in self.contributions.values()]
        ax.bar(list(self.contributions), heights, **({"color": COLOURS[0], "width": 0.6} | bar_kw))
        ax.axhline(self.spread[output], color="#333333", linewidth=0.8, linestyle="--")
        ax.set(xlabel="modality", ylabel="contribution to ŷ (units of y)")
        return self
