"""The training record as tables: dicts of columns, which pandas, polars and csv writers take as they are."""

from __future__ import annotations

import csv
import io
from collections.abc import Container, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.common.arrays import Float

Table = dict[str, NDArray[Any]]
OF_EACH = "_per_client"


def aligned(lines: Sequence[Sequence[str]], right: Container[int] = ()) -> list[str]:
    """Return cells as lines of text, columns below each other; those whose numbers are in `right` end together."""
    columns = [
        [f"{cell:{'>' if j in right else '<'}{max(map(len, cells))}}" for cell in cells]
        for j, cells in enumerate(zip(*lines, strict=True))
    ]
    return ["  ".join(line).rstrip() for line in zip(*columns, strict=True)]


def each(value: Any) -> list[Any]:
    """Return what a table has of each output; of one output it has no list."""
    return value if isinstance(value, list) else [value]


def csv_text(table: Mapping[str, Sequence[Any] | NDArray[Any]]) -> str:
    """Return a table as CSV: nothing for None and NaN, a semicolon between the entries of a tuple."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table)
    writer.writerows([[_cell(value) for value in row] for row in zip(*table.values(), strict=True)])
    return text.getvalue()


def _cell(value: Any) -> Any:
    """Return a value as a CSV takes it."""
    if isinstance(value, tuple):
        return ";".join(map(str, value))
    return "" if value is None or value != value else value


def by_round(history: Mapping[str, Float]) -> Table:
    """Return a row for each round: "round", from 1, and every mean over clients in `history_`."""
    means = {name: history[name] for name in history if not name.endswith(OF_EACH)}
    n_rounds = len(next(iter(means.values()), ()))
    return {"round": np.arange(1, n_rounds + 1), **{name: values.copy() for name, values in means.items()}}


def by_client(history: Mapping[str, Float], clients: Sequence[Any]) -> Table:
    """Return a row for each round and client: "round", "client" (its label), and what `history_` has of each client."""
    of_each = {name.removesuffix(OF_EACH): history[name] for name in history if name.endswith(OF_EACH)}
    n_rounds = len(next(iter(of_each.values()), ()))
    labels = np.asarray(clients)
    return {
        "round": np.repeat(np.arange(1, n_rounds + 1), len(labels)),
        "client": np.tile(labels, n_rounds),
        **{name: values.ravel() for name, values in of_each.items()},
    }
