"""What the experiments share: options, the data, and a table, a figure and a CSV at the end."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from sklearn.model_selection import GroupShuffleSplit

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))  # for _common

from _common import add_corn, add_csv, arguments, note, parser, save, save_csv, table

from skfdrmfl.datasets import load_tecator

__all__ = ["COLOURS", "add_corn", "arguments", "finish", "note", "options", "rmse", "tecator"]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


def options(description: str | None, name: str, repeats: int) -> argparse.ArgumentParser:
    """The options of every experiment."""
    found = parser(description, Path("out") / "experiments")
    found.add_argument("--repeats", type=int, default=repeats, metavar="N", help="how many (default: %(default)s)")
    add_csv(found, name)
    found.add_argument("--figure", type=Path, metavar="FILE", help=f"that of the page is docs/figures/{name}.png")
    return found


def tecator(repeat: int, target: str = "fat") -> tuple[Any, ...]:
    """Spectra, the target, groups, and the rows to train on and to test on, a fifth of the groups."""
    data = load_tecator(target)
    split = GroupShuffleSplit(1, test_size=0.2, random_state=repeat).split(data.data, groups=data.groups)
    return (data.data, data.target, data.groups, *next(split))


def rmse(y: np.ndarray, predicted: np.ndarray) -> float:
    """Root mean squared error."""
    return float(np.sqrt(np.mean((np.ravel(predicted) - np.ravel(y)) ** 2)))


def finish(
    args: argparse.Namespace,
    name: str,
    header: Sequence[str],
    rows: Iterable[Sequence[Any]],
    draw: Callable[[list[Any]], None],
    panels: int,
) -> None:
    """Print the table, write it as JSON and, where asked, as CSV; draw the figure on `panels` axes."""
    cells = [[f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows]
    print(table(header, cells, left=2))
    save(args.out, name, {"header": list(header), "rows": cells, "repeats": args.repeats})
    save_csv(args.csv, header, cells)
    figure = Figure(figsize=(1 + 3.6 * panels, 3.4), layout="constrained")
    axes = list(figure.subplots(1, panels, squeeze=False)[0])
    draw(axes)
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(color="#E6E6E6")
        ax.set_axisbelow(True)
    path = args.figure or args.out / f"{name}.png"
    figure.savefig(path, dpi=110)
    print(f"Written to {path}")
