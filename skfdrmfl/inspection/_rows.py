"""Rows: Z, two components at a time, and how unusual each is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import chi2

from skfdrmfl.common.arrays import Float
from skfdrmfl.data.column_names import output_names
from skfdrmfl.estimator._transformer import FDRMFLTransformer
from skfdrmfl.fit.judgement import domain_of
from skfdrmfl.inspection._base import COLOURS, Display, by_client, transformer_of
from skfdrmfl.inspection._predictions import column_of


def ellipse(points: Float, level: float, n: int = 100) -> Float:
    """Return an outline (n, 2) that holds a share `level` of normal points like those given (m, 2), m at least 3.

    {mean + sqrt(chi2_2(level)) L u : |u| = 1}, with L L' the sample covariance: points on it have that squared
    Mahalanobis distance.
    """
    values, axes = np.linalg.eigh(np.cov(points.T))
    angle = np.linspace(0.0, 2 * np.pi, n)
    circle = np.stack([np.cos(angle), np.sin(angle)])
    return points.mean(0) + np.sqrt(chi2.ppf(level, 2)) * (axes * np.sqrt(values.clip(min=0.0)) @ circle).T


@dataclass(eq=False, repr=False)
class ScoresDisplay(Display):
    """Rows by two components of Z, coloured by y or by client, with an ellipse for each client.

    Axes say the variance of a component over the training rows. Those of one network are principal axes, whose
    variances add up to that of Z: each has a share. Of a mixture the first components are the standardised predictions
    of the outputs, which go together, and the others have the scale of these: there are no shares. With fewer
    components than outputs they are principal axes of the predictions.

    Parameters
    ----------
    scores : ndarray of shape (n, 2)
        The components that are drawn; the second is 0 of a model with one.
    clients : dict of label to ndarray of bool of shape (n,)
        Rows of each client; the label None holds all.
    y : ndarray of shape (n,), or None
        Colours, if not by client.
    ellipses : dict of label to ndarray of shape (100, 2)
        Outlines of clients of three rows or more.
    labels : tuple of str
        What the axes say.
    y_name : str, default="y"
        What the scale of colours says.
    """

    scores: Float
    clients: dict[Any, NDArray[np.bool_]]
    y: Float | None
    ellipses: dict[Any, Float]
    labels: tuple[str, str]
    y_name: str = "y"

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: ArrayLike | None = None,
        *,
        client_ids: ArrayLike | None = None,
        components: tuple[int, int] = (0, 1),
        level: float | None = 0.95,
        output: int = 0,
        **plot_kw: Any,
    ) -> ScoresDisplay:
        """Draw the scores of rows.

        Parameters
        ----------
        y : array-like of shape (n,) or (n, n_outputs), default=None
            Colours, on a scale with the name of the column; markers then tell clients apart. None: colours tell them.
        components : tuple of two int, default=(0, 1)
        level : float in (0, 1) or None, default=0.95
            Share of a normal client's rows within its ellipse; None draws none.
        output : int, default=0
            Which column of y gives the colours.

        Raises
        ------
        ValueError
            Z has no such components, y no such output or not a value for each row.
        """
        model, rows = transformer_of(estimator, X, y=y, client_ids=client_ids)
        z = np.asarray(model._evaluate(rows)[0], dtype=np.float64)
        first, second = components
        n_components = z.shape[1]
        if not (0 <= first < n_components and (0 <= second < n_components or n_components == 1)):
            raise ValueError(f"components is {components}, but Z has {n_components}; use 0 to {n_components - 1}.")
        pair = np.column_stack([z[:, first], z[:, second] if n_components > 1 else np.zeros(len(z))])
        clients = by_client(client_ids, len(z))
        ellipses = {}
        if level is not None and n_components > 1:
            ellipses = {c: ellipse(pair[mine], level) for c, mine in clients.items() if mine.sum() > 2}
        colours = None if y is None else column_of(y, output)
        if colours is not None and len(colours) != len(z):
            raise ValueError(f"y has {len(colours)} entries but X has {len(z)} rows; pass one a row.")
        labels = [_label(model, i) for i in components[:n_components]]
        name = "y" if y is None else output_names(y)[output if np.ndim(y) > 1 else 0]
        display = cls(pair, clients, colours, ellipses, (labels[0], labels[1] if n_components > 1 else ""), name)
        return display.plot(**plot_kw)

    def plot(self, *, ax: Any = None, **scatter_kw: Any) -> ScoresDisplay:
        """Draw them."""
        ax = self._begin(ax)
        self._scatter(self.scores, self.clients, scatter_kw, y=self.y, y_name=self.y_name)
        for i, label in enumerate(self.clients):
            if label in self.ellipses:
                ax.plot(*self.ellipses[label].T, color=COLOURS[i % len(COLOURS)], linewidth=1)
        ax.set(xlabel=self.labels[0], ylabel=self.labels[1])
        return self


def _label(model: FDRMFLTransformer, i: int) -> str:
    """Return what a component of Z is, and what is known of its variance: nothing with privacy."""
    fitted, name = model._fitted, f"Z{i + 1}"
    if fitted.variance is None:
        return name
    if fitted.mixture is None:
        return f"{name} ({100 * fitted.variance[i] / (fitted.variance.sum() or 1.0):.3g} % of variance)"
    n_outputs, n_components = fitted.mixture.from_prediction.shape
    if i < n_outputs <= n_components:
        name += ", standardised ŷ" if n_outputs == 1 else f", standardised ŷ of output {i}"
    return f"{name} (variance {fitted.variance[i]:.3g})"


@dataclass(eq=False, repr=False)
class OutlierDisplay(Display):
    """Hotelling's T² against Q residuals, each over its limit: those of `FDRMFLTransformer.domain`.

    Rows beyond the limit of T² are extreme along the axes of the training rows; rows beyond that of Q hold what these
    do not. Of several modalities a row's are those of the modality in which it is farthest out.

    Parameters
    ----------
    t2, q : ndarray of shape (n,)
    t2_limit, q_limit : float or ndarray of shape (n,)
    clients : dict of label to ndarray of bool of shape (n,)
        Rows of each client; the label None holds all.
    """

    t2: Float
    q: Float
    t2_limit: float | Float
    q_limit: float | Float
    clients: dict[Any, NDArray[np.bool_]]

    @property
    def outliers(self) -> NDArray[np.int64]:
        """Rows beyond either limit."""
        return np.flatnonzero((self.t2 > self.t2_limit) | (self.q > self.q_limit))

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, *, client_ids: ArrayLike | None = None, level: float = 0.95, **plot_kw: Any
    ) -> OutlierDisplay:
        """Draw where rows stand.

        Parameters
        ----------
        level : float in (0, 1), default=0.95
            Share of usual rows within each limit.

        Raises
        ------
        ValueError
            The model has no numeric columns, or no domain.
        """
        model, rows = transformer_of(estimator, X, client_ids=client_ids)
        table = model.domain(rows, level)
        if not any(map(len, domain_of(model._fitted).columns.values())):
            raise ValueError("the model reads categories alone, which have no residuals; use ScoresDisplay.")
        clients = by_client(client_ids, len(table["T2"]))
        t2_limit, q_limit = _one(table["T2_limit"]), _one(table["Q_limit"])
        return cls(table["T2"], table["Q"], t2_limit, q_limit, clients).plot(**plot_kw)

    def plot(self, *, ax: Any = None, **scatter_kw: Any) -> OutlierDisplay:
        """Draw them; values over their limits where these are not the same for all rows."""
        ax = self._begin(ax)
        limits, over = (self.t2_limit, self.q_limit), ""
        t2, q = self.t2, self.q
        if any(np.ndim(limit) for limit in limits):
            t2, q = (v / np.where(limit > 0, limit, 1.0) for v, limit in zip((t2, q), limits, strict=True))
            limits, over = (1.0, 1.0), " over its limit"
        self._scatter(np.column_stack([t2, q]), self.clients, scatter_kw)
        if np.isfinite(limits[0]):
            ax.axvline(limits[0], color="#333333", linewidth=0.8, linestyle="--")
        ax.axhline(limits[1], color="#333333", linewidth=0.8, linestyle="--")
        ax.set(xlabel=f"Hotelling's T²{over}", ylabel=f"Q residual{over}")
        return self


def _one(limits: Float) -> float | Float:
    """Return the limit of all rows, or of each where there are several."""
    return float(limits[0]) if len(limits) and (limits == limits[0]).all() else limits
