"""The figure of a comparison; matplotlib is imported when one is drawn, never before."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.common.arrays import Float
from skfdrmfl.common.extras import names_as_they_are, new_figure
from skfdrmfl.inspection._base import COLOURS, MARKERS

MOST_COLOURED = 6  # clients that anyone can tell apart
INK = "#333333"
PANEL_INCHES = 3.0
RESIDUAL_HEIGHT = 0.45  # of a panel of residuals, relative to its width
MOST_IN_A_ROW = 5
LETTERS_PER_INCH = 12
MOST_LINES = 3


@names_as_they_are()
def plot_predicted(
    measured: Float, client_ids: NDArray[Any], panels: Mapping[str, Float], title: str = "", unit: str = ""
) -> Any:
    """Draw a column for each of `panels`, a title and its predictions (n,) by client, and below it the residuals."""
    n_in_a_row = min(len(panels), MOST_IN_A_ROW)
    n_bands = -(-len(panels) // n_in_a_row)
    height = PANEL_INCHES * (1.08 + RESIDUAL_HEIGHT) * n_bands + 0.75
    figure = new_figure(figsize=(PANEL_INCHES * n_in_a_row, height), layout="constrained")
    look: dict[str, Any] = {"height_ratios": [1.0, RESIDUAL_HEIGHT] * n_bands, "sharey": "row", "squeeze": False}
    columns = np.hstack(np.vsplit(figure.subplots(2 * n_bands, n_in_a_row, **look), n_bands))  # (2, panels), by bands
    for axes in columns[:, len(panels) :].flat:
        axes.set_visible(False)

    predicted = np.stack(list(panels.values()))
    residuals = predicted - measured
    low, high = (float(end([*measured, *predicted.flat])) for end in (np.nanmin, np.nanmax))
    margin, largest = 0.04 * (high - low or 1.0), 1.05 * (float(np.nanmax(np.abs(residuals))) or 1.0)
    limits = low - margin, high + margin
    suffix = f" ({_fitted(unit, 1.0)})" if unit else ""
    for j, heading in enumerate(panels):
        top, below = columns[:, j]
        top.axline((0, 0), slope=1, color=INK, linewidth=1, zorder=0)
        below.axhline(0.0, color=INK, linewidth=1, zorder=0)
        _scatter(top, measured, predicted[j], client_ids)
        _scatter(below, measured, residuals[j], client_ids)
        top.set_title("\n".join(_fitted(line, PANEL_INCHES) for line in heading.splitlines()), fontsize=10)
        top.set(xlim=limits, ylim=limits, box_aspect=1)
        below.set(xlim=limits, ylim=(-largest, largest), box_aspect=RESIDUAL_HEIGHT, xlabel=f"measured{suffix}")
        top.tick_params(labelbottom=False)
        if j % n_in_a_row == 0:  # the first of each row alone says what the axis is
            top.set_ylabel(f"predicted out of fold{suffix}", fontsize=9)
            below.set_ylabel(f"predicted less measured{suffix}", fontsize=9)
            if top.get_legend_handles_labels()[1]:
                top.legend(loc="upper left", fontsize=9, handletextpad=0.1, borderpad=0.3)
    if title:
        figure.suptitle(_fitted(title, PANEL_INCHES * n_in_a_row), fontsize=11)
    return figure


def _fitted(text: str, inches: float) -> str:
    """Return a text on as many lines as its width asks for, the end of a very long one left out."""
    lines = textwrap.wrap(text, max(12, int(LETTERS_PER_INCH * inches)), max_lines=MOST_LINES, placeholder=" ...")
    return "\n".join(lines)


def _scatter(axes: Any, x: Float, y: Float, clients: NDArray[Any]) -> None:
    """Draw points coloured by client."""
    labels = np.unique(clients)
    if not 1 < len(labels) <= MOST_COLOURED:
        axes.scatter(x, y, s=16, color=COLOURS[0], alpha=0.7, linewidths=0)
    else:
        for label, colour, marker in zip(labels, COLOURS, MARKERS, strict=False):
            look = {"s": 20, "color": colour, "marker": marker, "edgecolors": "white", "linewidths": 0.4, "alpha": 0.9}
            axes.scatter(*np.c_[x, y][clients == label].T, label=_fitted(f"client {label}", 1.5), **look)
    axes.grid(linewidth=0.8, alpha=0.4)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
