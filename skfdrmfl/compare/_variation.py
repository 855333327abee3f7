"""Errors of the methods where something of a comparison varies: training rows, clients, modalities."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.common.arrays import Float
from skfdrmfl.compare._methods import Run
from skfdrmfl.compare._result import DRAWN, FEDERATED, NO_RATIO, MethodResult, Ratio, rmse_ratio, squared_errors
from skfdrmfl.compare._text import aligned, decimals_of, ratio_text
from skfdrmfl.compare._training import Outcome, Rows
from skfdrmfl.metrics import rmse

EVERYTHING = "all"  # the point of the comparison itself
TITLES = {
    "rows": "RMSE by share of each client's training rows",
    "clients": "RMSE by number of clients that train, tested on the rows of all",
    "modalities": "RMSE by modalities that are used",
}


class Stage(NamedTuple):
    """Fits beside the comparison itself: runs on rows of which something is left out."""

    along: str  # what varies
    point: str  # what it is here, such as "1/2"
    runs: list[Run]
    rows: Rows


class Errors(NamedTuple):
    """The errors of one method at one point of a variation."""

    point: str
    n_rows: float  # that train, the mean over folds and draws
    n_clients: float
    method: str
    output: str
    rmse: list[float]  # of each draw
    ratio: Ratio  # of FDRMFL: over its RMSE with everything, on the same rows, as `Comparison.ratios`


class Variation(NamedTuple):
    """The errors of all methods at all points, the last of them with everything.

    Attributes
    ----------
    along : str
        What varies: "rows", "clients" or "modalities".
    errors : tuple of Errors
        Of each point, method and output.
    failed : dict of str to str
        Errors of methods that could not be fitted somewhere.
    """

    along: str
    errors: tuple[Errors, ...]
    failed: dict[str, str]

    def at(self, method: str, output: str) -> dict[str, Errors]:
        """Return the errors of a method by point."""
        return {e.point: e for e in self.errors if e.method == method and e.output == output}

    def lines(self, output: str, names: Sequence[str] | None = None) -> dict[str, list[Errors]]:
        """Return the errors of some methods, point by point; None for those that a comparison draws."""
        found = dict.fromkeys(e.method for e in self.errors if names is None or e.method in names)
        chosen = [name for name in found if names is not None or name in DRAWN] or list(found)
        return {name: list(self.at(name, output).values()) for name in chosen}

    def cells(self, output: str) -> list[list[str]]:
        """Return a row a method and a column a point, titles first; "-" where a method could not be fitted."""
        of_output = [e for e in self.errors if e.output == output]
        points = list(dict.fromkeys(e.point for e in of_output))
        decimals = decimals_of(float(np.mean(e.rmse)) for e in of_output)
        rows = [["method", *points]]
        for name in dict.fromkeys(e.method for e in of_output):
            mine = self.at(name, output)
            rows.append([name, *(f"{np.mean(mine[p].rmse):.{decimals}f}" if p in mine else "-" for p in points)])
        if self.along != "modalities":
            sizes = {e.point: f"{e.n_rows:.0f}" for e in of_output}
            rows.insert(1, ["training rows", *(sizes[point] for point in points)])
        return rows

    def to_table(self, output: str) -> str:
        """Return the errors as text under a title."""
        lines = [f"{TITLES[self.along]}:", aligned(self.cells(output))]
        return "\n".join([*lines, *(f"-: {name} ({' '.join(why.split())})" for name, why in self.failed.items())])

    def verdict(self, output: str) -> str:
        """Return in a sentence what more of what varies brings to FDRMFL, or what each modality does."""
        mine = self.at(FEDERATED, output)
        if EVERYTHING not in mine:
            return ""
        if self.along == "modalities":
            told = [f"{point} {ratio_text(e.ratio)}" for point, e in mine.items() if point != EVERYTHING]
            return f"With some of the modalities FDRMFL errs so many times as much: {', '.join(told)}." if told else ""
        return _doubling(mine, self.along)

    def rows(self) -> list[dict[str, Any]]:
        """Return plain values, a dict for each of `errors`."""
        return [
            {"along": self.along, **e._asdict(), "ratio": [v if np.isfinite(v) else None for v in e.ratio]}
            for e in self.errors
        ]


def _doubling(mine: dict[str, Errors], along: str) -> str:
    """Return what the last doubling of rows or clients has brought, and at best a further one would."""
    end = mine[EVERYTHING]
    size = {point: e.n_rows if along == "rows" else e.n_clients for point, e in mine.items()}
    before = min(mine, key=lambda point: abs(np.log(2 * size[point] / size[EVERYTHING])))
    if before == EVERYTHING or not np.isfinite(mine[before].ratio.value):
        return ""
    value, low, high = mine[before].ratio
    times = size[EVERYTHING] / size[before]
    gain = Ratio(1 / value, 1 / high, 1 / low)
    what = "training rows" if along == "rows" else "clients"
    found = f"From {size[before]:.0f} to {size[EVERYTHING]:.0f} {what} FDRMFL's RMSE becomes {ratio_text(gain)} times"
    if not gain.high < 1:
        return f"{found} as large: more {what} of this kind may bring nothing."
    at_best = float(np.mean(end.rmse)) * gain.value
    more = f"{times:.2g} times as many {what} again would bring at best {at_best:.3g}, for gains dwindle"
    return f"{found} as large: {more}."


def variations_of(
    done: Iterable[tuple[Stage, list[Outcome]]],
    failed: dict[str, dict[str, str]],
    methods: Sequence[MethodResult],
    measured: Float,
    units: NDArray[np.intp] | None,
) -> tuple[Variation, ...]:
    """Return what stages gave beside `methods`, the results with everything; ratios resample `units` (n,), or rows."""
    done = [(stage, outcomes) for stage, outcomes in done if stage.along in TITLES]
    units = np.arange(len(measured)) if units is None else units
    found = []
    for along in dict.fromkeys(stage.along for stage, _ in done):
        at: dict[tuple[str, str], list[tuple[Rows, Outcome]]] = {}  # by point and method, a draw each
        for stage, outcomes in done:
            for outcome in outcomes if stage.along == along else ():
                at.setdefault((stage.point, outcome.run.name), []).append((stage.rows, outcome))
        rows, varied = next(iter(at.values()))[0][0], {name for _, name in at}
        n_clients, n_rows = len(np.unique(rows.clients[0])), len(measured) * (1 - 1 / len(rows.folds))
        errors = []
        for j, output in enumerate(dict.fromkeys(method.output for method in methods)):
            y = measured.reshape(len(measured), -1)[:, j]
            full = {m.name: m for m in methods if m.output == output and m.name in varied}
            for (point, name), of_draws in at.items():
                errors += [_errors(point, of_draws, full[name], j, y, units)] if name in full else []
            for name, m in full.items():
                whole = Ratio(1.0, 1.0, 1.0)
                errors.append(Errors(EVERYTHING, n_rows, n_clients, name, output, m.rmse.tolist(), whole))
        found.append(Variation(along, tuple(errors), failed.get(along, {})))
    return tuple(found)


def _errors(
    point: str, of_draws: list[tuple[Rows, Outcome]], full: MethodResult, j: int, y: Float, units: NDArray[np.intp]
) -> Errors:
    """Return the errors of one method at one point, for the j-th output y (n,)."""
    predicted = np.stack([outcome.predicted.reshape(len(y), -1)[:, j] for _, outcome in of_draws])
    trained = [(rows.clients[0][train], len(train)) for rows, _ in of_draws for train, _ in rows.folds]
    ratio = NO_RATIO
    if full.name == FEDERATED:
        ratio = rmse_ratio(squared_errors(predicted, y), squared_errors(full.predicted, y), units)
    return Errors(
        point,
        float(np.mean([n for _, n in trained])),
        float(np.mean([len(np.unique(clients)) for clients, _ in trained])),
        full.name,
        full.output,
        [rmse(y[known], run[known]) for run in predicted if (known := np.isfinite(run)).any()],
        ratio,
    )


def variations_from(rows: Iterable[dict[str, Any]], failed: dict[str, dict[str, str]]) -> tuple[Variation, ...]:
    """Return the variations of which `Variation.rows` gave these."""
    found: dict[str, list[Errors]] = {}
    for row in rows:
        ratio = Ratio(*(float("nan") if value is None else float(value) for value in row["ratio"]))
        values = {name: row[name] for name in Errors._fields if name != "ratio"}
        found.setdefault(row["along"], []).append(Errors(**values, ratio=ratio))
    return tuple(Variation(along, tuple(errors), failed.get(along, {})) for along, errors in found.items())
