"""The outcome of a comparison: the measures of each method, as text, as a frame, as JSON, as a figure and as a page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.common.arrays import Float
from skfdrmfl.common.extras import import_extra, names_as_they_are, new_figure
from skfdrmfl.compare._page import page
from skfdrmfl.compare._permutation import PermutationTest
from skfdrmfl.compare._plots import plot_predicted
from skfdrmfl.compare._result import (
    ALONE,
    CENTRAL,
    DRAWN,
    FEDERATED,
    HEAD,
    NO_RATIO,
    RIDGE,
    MethodResult,
    Ratio,
    rmse_ratio,
    squared_errors,
)
from skfdrmfl.compare._text import aligned, rmse_text, spread, table_cells, verdict
from skfdrmfl.compare._variation import Variation, variations_from
from skfdrmfl.inspection import VariationDisplay
from skfdrmfl.metrics import bias, sep, slope

if TYPE_CHECKING:
    from matplotlib.figure import Figure


FORMAT = "skfdrmfl comparison 1"
MEASURES = ("rmse", "r2", "rpd")  # of each run


@dataclass(frozen=True, eq=False)
class Comparison:
    """The outcome of :func:`compare`: a result for each method, and what is needed to draw or recompute it.

    Attributes
    ----------
    methods : tuple of MethodResult
        In the order of the table, the mean predictor first; of several outputs, output by output.
    measured : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        The reference values y.
    client_ids : ndarray of shape (n_seeds, n_samples)
        The client of each row, seed by seed.
    fold : ndarray of shape (n_samples,)
        The fold in which each row was predicted.
    settings : dict
        The arguments of the comparison, as plain values, and the versions of what it was made with.
    groups : ndarray of int of shape (n_samples,), or None
        Rows of one number were never parted.
    outputs : tuple of str
        What is predicted.
    ledger : dict
        What passed between clients and server in the first fit of FDRMFL: "n_rows", "n_rounds", "by_kind" and
        "by_client", as `federation_log_` has them.
    variations : tuple of Variation
        Errors with fewer training rows, fewer clients, some of the modalities, as far as they were asked for.
    permutations : tuple of PermutationTest
        FDRMFL with y permuted, and its p, if that was asked for.
    complete : bool
        Whether all that was asked for is finished.
    """

    methods: tuple[MethodResult, ...]
    measured: Float
    client_ids: NDArray[Any]
    fold: NDArray[np.intp]
    settings: dict[str, Any] = field(default_factory=dict)
    groups: NDArray[np.intp] | None = None
    outputs: tuple[str, ...] = ("y",)
    ledger: dict[str, Any] = field(default_factory=dict)
    variations: tuple[Variation, ...] = ()
    permutations: tuple[PermutationTest, ...] = ()
    complete: bool = True

    def __getitem__(self, name: str | tuple[str, str]) -> MethodResult:
        """Return the result of the method with this name; of several outputs, of a (method, output)."""
        name, output = name if isinstance(name, tuple) else (name, None)
        if output is None and len(self.outputs) > 1:
            raise KeyError(
                f"There are {len(self.outputs)} outputs; ask for ({name!r}, {self.outputs[0]!r}), or use `of`."
            )
        by_name = {method.name: method for method in (self if output is None else self.of(output)).methods}
        if name not in by_name:
            raise KeyError(f"There is no method {name!r}; choose from {', '.join(map(repr, by_name))}.")
        return by_name[name]

    def of(self, output: str) -> Comparison:
        """Return the comparison of one of `outputs`."""
        if output not in self.outputs:
            raise KeyError(f"There is no output {output!r}; choose from {', '.join(map(repr, self.outputs))}.")
        column = self.measured.reshape(len(self.measured), -1)[:, self.outputs.index(output)]
        mine = tuple(method for method in self.methods if len(self.outputs) == 1 or method.output == output)
        return replace(self, methods=mine, measured=column, outputs=(output,))

    @cached_property
    def ratios(self) -> dict[tuple[str, str], Ratio]:
        """The RMSE of each (method, output) over that of FDRMFL on the same rows, with a paired 95 % interval.

        Runs are averaged first: squared errors of a row over seeds, or over the clients' own models. The interval is of
        a bootstrap over rows, or groups of rows; it holds for these folds and fitted models.
        """
        found: dict[tuple[str, str], Ratio] = {}
        rows = np.arange(len(self.measured)) if self.groups is None else self.groups
        for output in self.outputs:
            one = self.of(output)
            squared = {method.name: squared_errors(method.predicted, one.measured) for method in one.methods}
            reference = squared.pop(FEDERATED, None)
            if reference is not None:
                found |= {(name, output): rmse_ratio(errors, reference, rows) for name, errors in squared.items()}
        return found

    def to_table(self) -> str:
        """Return the table as text: RMSE, R², RPD, the RMSE over FDRMFL's, seconds of a fit, and R² per client.

        Of several outputs it is a table each, under its name; there is no newline at the end.
        """
        tables = []
        for output in self.outputs:
            heading = [f"{output}:"] if len(self.outputs) > 1 else []
            tables.append("\n".join([*heading, aligned(table_cells(self, output))]))
        tables += [
            f"{output}, " * (len(self.outputs) > 1) + variation.to_table(output)
            for output in self.outputs
            for variation in self.variations
        ]
        return "\n".join(["\n\n".join(tables), "", *self.footnotes()])

    def verdict(self) -> str:
        """Return who errs least and by how much, in a sentence or two for each output, and who is better alone.

        What more rows or clients may bring, what modalities do, and what permutations say, follow where that was asked
        for.
        """
        unit = self.settings.get("unit", "")
        named = len(self.outputs) > 1
        lines = []
        for output in self.outputs:
            told = [verdict(self, output, unit), *(variation.verdict(output) for variation in self.variations)]
            told += [test.verdict() for test in self.permutations if test.output == output]
            lines += [f"{output}: " * named + text for text in told if text]
        return "\n".join(lines)

    def to_frame(self) -> Any:
        """Return the measures as a pandas DataFrame, a row for each output and method.

        Returns
        -------
        DataFrame
            "output", "method", "rmse" (mean over runs), "rmse_sd", "r2", "rpd", "bias", "sep", "slope" (of the
            first run), "rmse_ratio", "rmse_ratio_low", "rmse_ratio_high" (over FDRMFL's; see `ratios`), "fit_seconds",
            "n_runs", and "r2_client_A" for each client A.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        return import_extra("pandas", "table", "to_frame needs").DataFrame(self.rows())

    def rows(self) -> list[dict[str, Any]]:
        """Return what `to_frame` shows as a list of dicts, which needs no pandas."""
        rows = []
        for method in self.methods:
            y = self.of(method.output if len(self.outputs) > 1 else self.outputs[0]).measured
            first = np.isfinite(method.predicted[0])
            true, predicted = y[first], method.predicted[0][first]
            of_ratio = self.ratios.get((method.name, method.output), NO_RATIO)
            rows.append(
                {
                    "output": method.output,
                    "method": method.name,
                    "rmse": float(method.rmse.mean()),
                    "rmse_sd": spread(method.rmse),
                    "r2": float(method.r2.mean()),
                    "rpd": float(method.rpd.mean()),
                    "bias": bias(true, predicted),
                    "sep": sep(true, predicted),
                    "slope": slope(true, predicted),
                    "rmse_ratio": 1.0 if method.name == FEDERATED else of_ratio.value,
                    "rmse_ratio_low": of_ratio.low,
                    "rmse_ratio_high": of_ratio.high,
                    "fit_seconds": method.fit_seconds,
                    "n_runs": len(method.rmse),
                    **{f"r2_client_{client}": r2 for client, r2 in method.client_r2.items()},
                }
            )
        return rows

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain Python values that :mod:`json` can write; NaN becomes None."""
        clients = self.client_ids
        return {
            "format": FORMAT,
            "settings": self.settings,
            "outputs": list(self.outputs),
            "methods": [
                {
                    "name": method.name,
                    "output": method.output,
                    **{name: _of_runs(getattr(method, name)) for name in MEASURES},
                    "rmse_ratio": list(map(_number, self.ratios.get((method.name, method.output), ()))),
                    "fit_seconds": _number(method.fit_seconds),
                    "client_r2": {str(client): _number(r2) for client, r2 in method.client_r2.items()},
                    "predicted": [list(map(_number, run)) for run in method.predicted],
                }
                for method in self.methods
            ],
            "measured": self.measured.tolist(),
            "client_ids": (clients.astype(str) if clients.dtype.kind == "M" else clients).tolist(),  # dates as text
            "fold": self.fold.tolist(),
            "groups": None if self.groups is None else self.groups.tolist(),
            "ledger": self.ledger,
            "variations": [row for variation in self.variations for row in variation.rows()],
            "failed": {variation.along: variation.failed for variation in self.variations if variation.failed},
            "permutations": [{**test._asdict(), "p": test.p} for test in self.permutations],
            "complete": self.complete,
        }

    def to_json(self) -> str:
        """Return what :meth:`to_dict` returns as JSON text that ends in a newline."""
        return json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Comparison:
        """Return the comparison of which :meth:`to_json` gave this text; labels of clients in measures are strings.

        Raises ValueError where the text is no such JSON.
        """
        try:
            values = json.loads(text)
            if values["format"] != FORMAT:
                raise ValueError(f"format {values['format']!r}")
            tests = values.get("permutations", ())
            methods = tuple(
                MethodResult(
                    method["name"],
                    _floats(method["predicted"]),
                    **{name: _floats(method[name]["runs"]) for name in MEASURES},
                    fit_seconds=float(_floats(method["fit_seconds"])),
                    client_r2={client: float(_floats(r2)) for client, r2 in method["client_r2"].items()},
                    output=method["output"],
                )
                for method in values["methods"]
            )
            return cls(
                methods,
                _floats(values["measured"]),
                np.array(values["client_ids"]),
                np.array(values["fold"], dtype=np.intp),
                values["settings"],
                None if values["groups"] is None else np.array(values["groups"], dtype=np.intp),
                tuple(values["outputs"]),
                values["ledger"],
                variations_from(values.get("variations", ()), values.get("failed", {})),
                tuple(PermutationTest(*(row[name] for name in PermutationTest._fields)) for row in tests),
                values.get("complete", True),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"this is no comparison in the form of this version ({type(error).__name__}: {error}); write it again "
                "with `skfdrmfl compare`."
            ) from error

    def to_html(self, *, title: str = "Comparison", unit: str = "") -> str:
        """Return a page of HTML that stands by itself: tables, figures, settings, versions, ledger, how to repeat it.

        `unit` is that of y. Without matplotlib it has the tables alone, and says so.
        """
        return page(self, title, unit)

    def plot(
        self, *, names: Sequence[str] | None = None, output: str | None = None, title: str = "", unit: str = ""
    ) -> Figure:
        """Draw out-of-fold predictions against measured values, and below them what is left, a column a method.

        Points are those of the first seed; of a method with one model a client, those of the first client's model. The
        RMSE above them is that of the table, the mean over all.

        Parameters
        ----------
        names : sequence of str, default=None
            Methods to draw. None draws PCA, PLS, PLS with chosen components, RidgeCV and FDRMFL, as far as they were
            compared.
        output : str, default=None
            Which of several outputs; None is the first.
        title : str, default=""
            A line above the panels.
        unit : str, default=""
            Unit of y, for the axes.

        Returns
        -------
        matplotlib.figure.Figure
            One that pyplot does not know: nothing has to be closed, and no screen is needed.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        KeyError
            If a method of that name was not compared.
        """
        one = self.of(self.outputs[0] if output is None else output)
        if names is None:
            names = [method.name for method in one.methods if method.name in DRAWN] or [one.methods[0].name]
        panels = {f"{name}\n{rmse_text(one, name)}": one[name].predicted[0] for name in names}
        what = f"{output or self.outputs[0]}" if len(self.outputs) > 1 else ""
        title = ", ".join(filter(None, (title, what))) if what not in title else title
        return plot_predicted(one.measured, self.client_ids[0], panels, title, unit)

    @names_as_they_are()
    def plot_variations(
        self, *, names: Sequence[str] | None = None, output: str | None = None, title: str = "", unit: str = ""
    ) -> Figure:
        """Draw the errors where something varies, a panel for each of `variations`; ValueError where nothing does.

        Parameters, what is returned and other errors are those of `plot`.
        """
        if not self.variations:
            raise ValueError("there are no variations; pass learning_curve=True or by_modality=True to compare.")
        n = len(self.variations)
        figure = new_figure(figsize=(1 + 4.5 * n, 4.2), layout="constrained")
        for variation, ax in zip(self.variations, figure.subplots(1, n, squeeze=False).flat, strict=True):
            of_one = {"along": variation.along, "names": names, "output": output, "unit": unit}
            VariationDisplay.from_comparison(self, **of_one, ax=ax)
        for ax in figure.axes[1:]:
            ax.get_legend().remove()
        figure.suptitle(title, fontsize=11)
        return figure

    def footnotes(self) -> list[str]:
        """Return the lines below the table that say what its rows and figures are."""
        n_seeds = self.settings["n_seeds"]
        lines = [
            f"Reductions, FDRMFL among them, are followed by the same {self.settings['regressor']}; the mean predictor",
            f"  and the y_hat of FDRMFL are not. {RIDGE!r}, and PLS with something chosen or behind SNV or a",
            "  first derivative (SG1), predict by themselves, from all columns; choices are made on training rows.",
            "All rivals see the rows of all clients.",
            f"{HEAD}: the prediction of its own head. {CENTRAL}: trained on all rows as one client.",
            f"{ALONE}: trained on one client's rows, regressor too, and tested on all rows;",
            "  its ± is over clients, under the first seed; the R² of a client is that of its own model "
            "on its own rows.",
        ]
        if n_seeds > 1:
            lines.insert(4, f"± is the standard deviation over {n_seeds} seeds; methods without it have no seed.")
        if any(np.isnan(method.predicted).any() for method in self.methods):
            lines.append(f"{ALONE}: folds in which a client has fewer than two training rows are left out.")
        if self.ratios:
            unit = "rows" if self.groups is None else "groups of rows"
            lines.append(
                f"x FDRMFL: RMSE over FDRMFL's on the same rows [95 % of a paired bootstrap over {unit}, models fixed]."
            )
        for name, error in self.settings.get("failed", {}).items():
            lines.append(f"Left out, as it cannot be fitted: {name} ({' '.join(error.split())}).")
        if not self.complete:
            lines.append("Interrupted: methods and seeds that were not finished are missing.")
        return lines


def _number(value: float) -> float | None:
    """Return a value as a float that JSON knows: NaN and infinity become None."""
    return float(value) if np.isfinite(value) else None


def _floats(values: Any) -> Float:
    """Return numbers that JSON has as an array; None becomes NaN."""
    return np.array(values, dtype=np.float64)


def _of_runs(measure: Float) -> dict[str, Any]:
    """Return a measure (n_runs,) as JSON has it."""
    return {"mean": _number(measure.mean()), "sd": _number(spread(measure)), "runs": list(map(_number, measure))}
