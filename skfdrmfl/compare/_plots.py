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
PANEL_INCHES = 3.0
RESIDUAL_HEIGHT = 0.45  # of a panel of residuals, relative to its width
MOST_IN_A_ROW = 5


def plot_predicted(
    measured: Float, client_ids: NDArray[Any], panels: Mapping[str, Float], *, title: str = "", unit: str = ""
) -> Figure:
    """Draw a column for each entry of `panels`, a title and its predictions (n,), and below it the residuals.

    Rows are coloured by client. Raises ImportError if matplotlib is not installed.
    """
    figure_class = _figure_class()
    n_columns = min(len(panels), MOST_IN_A_ROW)
    n_bands = -(-len(panels) // n_columns)
    height = PANEL_INCHES * (1.08 + RESIDUAL_HEIGHT)
    figure = figure_class(figsize=(PANEL_INCHES * n_columns, height * n_bands + 0.75))
    figure.set_layout_engine("constrained", wspace=0.03, hspace=0.05)
    grid = figure.subplots(2 * n_bands, n_columns, squeeze=False, height_ratios=[1.0, RESIDUAL_HEIGHT] * n_bands)
    for axes in grid.flat:
        axes.set_visible(False)
    entries = list(panels.items())
    for band in range(n_bands):
        mine = dict(entries[band * n_columns : (band + 1) * n_columns])
        two = grid[2 * band : 2 * band + 2, : len(mine)]
        for axes in two.flat:
            axes.set_visible(True)
        _draw_band(
            two, measured, client_ids, mine, _limits([measured, *panels.values()]), _residual_limit(measured, panels)
        )
        _label(two, unit)
    if title:
        figure.suptitle(title, color=INK, fontsize=11)
    return figure


def plot_on(
    axes: Any, measured: Float, client_ids: NDArray[Any], panels: Mapping[str, Float], *, unit: str = ""
) -> Figure:
    """Draw on given axes: one, for the predictions of one method, or two rows of as many as there are panels."""
    _figure_class()
    grid = np.asarray(axes, dtype=object)
    grid = grid.reshape(1, 1) if grid.ndim == 0 else grid
    if grid.shape == (2,) and len(panels) == 1:
        grid = grid.reshape(2, 1)
    if grid.shape not in ((1, 1), (2, len(panels))) or (grid.shape == (1, 1) and len(panels) > 1):
        raise ValueError(
            f"ax has shape {np.shape(axes)} but there are {len(panels)} methods to draw; pass axes of shape "
            f"(2, {len(panels)}), or one and one name."
        )
    limits = _limits([measured, *panels.values()])
    _draw_band(grid, measured, client_ids, panels, limits, _residual_limit(measured, panels))
    _label(grid, unit)
    return grid.flat[0].figure


def _draw_band(
    grid: NDArray[Any],
    measured: Float,
    client_ids: NDArray[Any],
    panels: Mapping[str, Float],
    limits: tuple[float, float],
    residual: float,
) -> None:
    """Draw predictions in the first row of axes and residuals in the second, if there is one."""
    for column, (heading, predicted) in zip(grid.T, panels.items(), strict=True):
        column[0].axline((0, 0), slope=1, color=INK, linewidth=1, zorder=1)
        _scatter(column[0], measured, predicted, client_ids)
        column[0].set_title(heading, color=INK, fontsize=10)
        column[0].set(xlim=limits, ylim=limits, box_aspect=1)
        for below in column[1:]:
            column[0].tick_params(labelbottom=False)
            below.axhline(0.0, color=INK, linewidth=1, zorder=1)
            _scatter(below, measured, predicted - measured, client_ids)
            below.set(xlim=limits, ylim=(-residual, residual), box_aspect=RESIDUAL_HEIGHT)
    for row in grid:  # the first of each row alone says what the axis is
        for axes in row[1:]:
            axes.tick_params(labelleft=False)
    if grid.flat[0].get_legend_handles_labels()[1]:
        grid.flat[0].legend(
            loc="upper left", fontsize=9, handletextpad=0.1, borderpad=0.3, framealpha=0.9, edgecolor=GRID
        )


def _label(grid: NDArray[Any], unit: str) -> None:
    """Say what the axes are."""
    suffix = f" ({unit})" if unit else ""
    for axes in grid[-1]:
        axes.set_xlabel(f"measured{suffix}", color=INK, fontsize=10)
    for axes, what in zip(grid[:, 0], ("predicted out of fold", "predicted less measured"), strict=False):
        axes.set_ylabel(f"{what}{suffix}", color=INK, fontsize=9)


def _scatter(axes: Any, x: Float, y: Float, clients: NDArray[Any]) -> None:
    """Draw points coloured by client."""
    labels = np.unique(clients)
    if not 1 < len(labels) <= len(COLOURS):  # one, or more than anyone can tell apart
        axes.scatter(x, y, s=16, color=COLOURS[0], alpha=0.7, linewidths=0, zorder=2)
    else:
        for label, colour, marker in zip(labels, COLOURS, MARKERS, strict=False):
            rows = clients == label
            axes.scatter(
                x[rows],
                y[rows],
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


def _residual_limit(measured: Float, panels: Mapping[str, Float]) -> float:
    """Return the end of the axis of residuals, one for all panels."""
    largest = max(float(np.nanmax(np.abs(predicted - measured))) for predicted in panels.values())
    return 1.05 * (largest or 1.0)


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
