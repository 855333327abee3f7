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
INK, GRID = "#333333", "#E3E3E3"
PANEL_INCHES = 3.0
RESIDUAL_HEIGHT = 0.45  # of a panel of residuals, relative to its width
MOST_IN_A_ROW = 5
LETTERS_PER_INCH = 12
MOST_LINES = 3


@names_as_they_are()
def plot_predicted(
    measured: Float,
    client_ids: NDArray[Any],
    panels: Mapping[str, Float],
    title: str = "",
    unit: str = "",
) -> Any:
    """Draw a column for each of `panels`, a title and its predictions (n,) by client, and below it the residuals."""
    columns, n_in_a_row = _columns(len(panels))
    everything = np.concatenate([measured, *panels.values()])
    low, high = float(np.nanmin(everything)), float(np.nanmax(everything))
    margin = 0.04 * (high - low or 1.0)
    limits = low - margin, high + margin
    largest = max(float(np.nanmax(np.abs(predicted - measured))) for predicted in panels.values())
    residual = 1.05 * (largest or 1.0)
    suffix = f" ({_fitted(unit, 1.0)})" if unit else ""
    for j, ((top, below), (heading, predicted)) in enumerate(zip(columns.T, panels.items(), strict=True)):
        top.axline((0, 0), slope=1, color=INK, linewidth=1, zorder=1)
        _scatter(top, measured, predicted, client_ids)
        top.set_title("\n".join(_fitted(line, PANEL_INCHES) for line in heading.splitlines()), color=INK, fontsize=10)
        top.set(xlim=limits, ylim=limits, box_aspect=1)
        top.tick_params(labelbottom=False)
        below.axhline(0.0, color=INK, linewidth=1, zorder=1)
        _scatter(below, measured, predicted - measured, client_ids)
        below.set(xlim=limits, ylim=(-residual, residual), box_aspect=RESIDUAL_HEIGHT)
        below.set_xlabel(f"measured{suffix}", color=INK, fontsize=10)
        for axes, what in ((top, "predicted out of fold"), (below, "predicted less measured")):
            if j % n_in_a_row:  # the first of each row alone says what the axis is
                axes.tick_params(labelleft=False)
            else:
                axes.set_ylabel(f"{what}{suffix}", color=INK, fontsize=9)
        if j % n_in_a_row == 0 and top.get_legend_handles_labels()[1]:
            look = {"fontsize": 9, "handletextpad": 0.1, "borderpad": 0.3, "framealpha": 0.9, "edgecolor": GRID}
            top.legend(loc="upper left", **look)
    figure = columns.flat[0].figure
    if title:
        figure.suptitle(_fitted(title, PANEL_INCHES * n_in_a_row), color=INK, fontsize=11)
    return figure


def _fitted(text: str, inches: float) -> str:
    """Return a text on as many lines as its width asks for, the end of a very long one left out."""
    lines = textwrap.wrap(text, max(12, int(LETTERS_PER_INCH * inches)), max_lines=MOST_LINES, placeholder=" ...")
    return "\n".join(lines)


def _columns(n_panels: int) -> tuple[NDArray[Any], int]:
    """Return the axes of a new figure, a column for each panel, and how many columns stand side by side."""
    n_in_a_row = min(n_panels, MOST_IN_A_ROW)
    n_bands = -(-n_panels // n_in_a_row)
    height = PANEL_INCHES * (1.08 + RESIDUAL_HEIGHT)
    figure = new_figure(figsize=(PANEL_INCHES * n_in_a_row, height * n_bands + 0.75))
    figure.set_layout_engine("constrained", wspace=0.03, hspace=0.05)
    grid = figure.subplots(2 * n_bands, n_in_a_row, squeeze=False, height_ratios=[1.0, RESIDUAL_HEIGHT] * n_bands)
    columns = np.hstack(np.vsplit(grid, n_bands))  # (2, panels), one band after another
    for axes in columns[:, n_panels:].flat:
        axes.set_visible(False)
    return columns[:, :n_panels], n_in_a_row


def _scatter(axes: Any, x: Float, y: Float, clients: NDArray[Any]) -> None:
    """Draw points coloured by client."""
    labels = np.unique(clients)
    if not 1 < len(labels) <= MOST_COLOURED:
        axes.scatter(x, y, s=16, color=COLOURS[0], alpha=0.7, linewidths=0, zorder=2)
    else:
        for label, colour, marker in zip(labels, COLOURS, MARKERS, strict=False):
            rows = clients == label
            look = {"s": 20, "color": colour, "marker": marker, "edgecolors": "white", "linewidths": 0.4, "alpha": 0.9}
            axes.scatter(x[rows], y[rows], label=_fitted(f"client {label}", 1.5), zorder=2, **look)
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(INK)
    axes.tick_params(colors=INK, labelsize=9)
