"""The figure of a comparison; matplotlib is imported when one is drawn, never before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    Float = NDArray[np.float64]


# Okabe and Ito's palette: told apart with any colour vision. Markers tell clients apart without colour.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
MARKERS = ("o", "^", "s", "D", "v", "P")
INK, GRID = "#333333", "#E3E3E3"
PANEL_INCHES = 3.3
MOST_IN_A_ROW = 4


def plot_predicted(
    measured: Float, client_ids: NDArray[Any], panels: Mapping[str, Float], *, title: str = "", unit: str = ""
) -> Figure:
    """Draw a panel for each entry of `panels`, a title and its predictions (n,), against the measured values (n,).

    Rows are coloured by client. Raises ImportError if matplotlib is not installed.
    """
    figure_class = _figure_class()
    low, high = _limits([measured, *panels.values()])

    n_columns = min(len(panels), MOST_IN_A_ROW)
    n_rows = -(-len(panels) // n_columns)
    figure = figure_class(figsize=(PANEL_INCHES * n_columns, 1.08 * PANEL_INCHES * n_rows + 0.5))
    figure.set_layout_engine("constrained", wspace=0.03, hspace=0.05)
    grid = figure.subplots(n_rows, n_columns, sharex=True, sharey=True, squeeze=False)
    for axes, (heading, predicted) in zip(grid.flat, panels.items(), strict=False):
        _draw_panel(axes, measured, predicted, client_ids)
        axes.set_title(heading, color=INK, fontsize=11)
        axes.set(xlim=(low, high), ylim=(low, high), box_aspect=1)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    suffix = f" ({unit})" if unit else ""
    for axes in grid[-1]:
        axes.set_xlabel(f"measured{suffix}", color=INK, fontsize=10)
    for axes in grid[:, 0]:
        axes.set_ylabel(f"predicted out of fold{suffix}", color=INK, fontsize=10)
    if title:
        figure.suptitle(title, color=INK, fontsize=11)
    if grid.flat[0].get_legend_handles_labels()[1]:
        grid.flat[0].legend(
            loc="upper left", fontsize=9, handletextpad=0.1, borderpad=0.3, framealpha=0.9, edgecolor=GRID
        )
    return figure


def _draw_panel(axes: Any, measured: Float, predicted: Float, clients: NDArray[Any]) -> None:
    """Draw one panel: the 1:1 line, and the rows coloured by client."""
    axes.axline((0, 0), slope=1, color=INK, linewidth=1, zorder=1)
    labels = np.unique(clients)
    if not 1 < len(labels) <= len(COLOURS):  # one, or more than anyone can tell apart
        axes.scatter(measured, predicted, s=16, color=COLOURS[0], alpha=0.7, linewidths=0, zorder=2)
    else:
        for label, colour, marker in zip(labels, COLOURS, MARKERS, strict=False):
            rows = clients == label
            axes.scatter(
                measured[rows],
                predicted[rows],
                s=20,
                color=colour,
                marker=marker,
                edgecolors="white",
                linewidths=0.4,
                alpha=0.9,
                label=f"client {label}",
                zorder=2,
            )
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(INK)
    axes.tick_params(colors=INK, labelsize=9)


def _limits(values: list[Float]) -> tuple[float, float]:
    """Return one range for both axes of all panels, with a margin."""
    everything = np.concatenate(values)
    low, high = float(np.nanmin(everything)), float(np.nanmax(everything))
    margin = 0.04 * (high - low or 1.0)
    return low - margin, high + margin


def _figure_class() -> type[Figure]:
    """Return matplotlib's Figure class; raise an error that says how to install it if it is missing."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            'Figures need matplotlib, which is not installed; run: pip install "skfdrmfl[plot]"'
        ) from error
    return Figure
