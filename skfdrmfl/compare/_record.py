"""What a comparison has found so far: outcomes become results whenever they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import r2_score

from skfdrmfl.common.arrays import Float
from skfdrmfl.common.warn import warn_caller
from skfdrmfl.compare._comparison import Comparison
from skfdrmfl.compare._methods import Run
from skfdrmfl.compare._permutation import permutation_tests
from skfdrmfl.compare._result import MethodResult
from skfdrmfl.compare._training import Outcome, Rows
from skfdrmfl.compare._variation import Stage, variations_of
from skfdrmfl.metrics import r2_per_client, rmse, rpd


@dataclass(eq=False)
class Record:
    """Outcomes of the comparison itself, `finished`, and of the stages `beside` it; what `failed`, and why."""

    runs: Sequence[Run]
    rows: Rows
    outputs: tuple[str, ...]
    settings: dict[str, Any]
    finished: list[Outcome] = field(default_factory=list)
    beside: list[tuple[Stage, list[Outcome]]] = field(default_factory=list)
    failed: dict[str, dict[str, str]] = field(default_factory=dict)  # of what varies, "" of the comparison itself

    def leave_out(self, along: str, point: str, run: Run, error: Exception) -> None:
        """Write down where a method could not be fitted, and why."""
        why = f"{type(error).__name__}: {error}"
        self.failed.setdefault(along, {}).setdefault(f"{run.name}, {point}" if along else run.name, why)
        if not along:
            warn_caller(f"the rival {run.name!r} cannot be fitted and is left out ({why}).")

    def comparison(self, *, complete: bool) -> Comparison | None:
        """Return what is finished, if anything is."""
        if not self.finished:
            return None
        _, y, clients, groups, folds = self.rows
        fold_of_row = np.empty(len(y), dtype=np.intp)
        for number, (_, test) in enumerate(folds):
            fold_of_row[test] = number
        units = None if groups is None else np.unique(groups, return_inverse=True)[1]
        methods = tuple(
            _result(name, output, of_method, j, column, clients)
            for j, (output, column) in enumerate(zip(self.outputs, y.reshape(len(y), -1).T, strict=True))
            for name, of_method in _by_method(self.finished, self.runs).items()
        )
        return Comparison(
            methods=methods,
            measured=y,
            client_ids=clients,
            fold=fold_of_row,
            settings=self.settings | ({"failed": self.failed[""]} if "" in self.failed else {}),
            groups=units,
            outputs=self.outputs,
            ledger=next((outcome.ledger for outcome in self.finished if outcome.ledger), {}),
            variations=variations_of(self.beside, self.failed, methods, y, units),
            permutations=permutation_tests(self.beside, methods),
            complete=complete,
        )


def _by_method(outcomes: Sequence[Outcome], runs: Sequence[Run]) -> dict[str, list[Outcome]]:
    """Return the outcomes of each method by its name, methods in the order of the runs, whichever was done first."""
    of_methods: dict[str, list[Outcome]] = {name: [] for run in runs for name in (run.name, run.head_name)}
    for outcome in outcomes:
        of_methods[outcome.run.name].append(outcome)
    return {name: of_method for name, of_method in of_methods.items() if of_method}


def _result(name: str, output: str, outcomes: list[Outcome], j: int, y: Float, clients: NDArray[Any]) -> MethodResult:
    """Return the measures of one method from the outcomes of its runs, for one output: the j-th, y (n,)."""
    outcomes = [o._replace(predicted=o.predicted.reshape(len(y), -1)[:, j]) for o in outcomes]

    def of_runs(measure: Callable[..., float]) -> Float:
        return np.array([measure(y[o.covered], o.predicted[o.covered]) for o in outcomes], dtype=np.float64)

    return MethodResult(
        name=name,
        predicted=np.stack([outcome.predicted for outcome in outcomes]),
        rmse=of_runs(rmse),
        r2=of_runs(r2_score),
        rpd=of_runs(rpd),
        fit_seconds=float(np.mean([outcome.fit_seconds for outcome in outcomes])),
        client_r2=_mean_client_r2(outcomes, y, clients),
        output=output,
    )


def _mean_client_r2(outcomes: list[Outcome], y: Float, clients: NDArray[Any]) -> dict[Any, float]:
    """Return R² on each client's own rows: the mean over the seeds in which it is defined."""
    values: dict[Any, list[float]] = {client: [] for client in np.unique(clients).tolist()}
    for run, predicted, covered, *_ in outcomes:
        # A method without a seed is the same under each of them, but the clients' rows are not.
        for client_of_row in clients if run.seed is None else clients[[run.seed]]:
            for client, r2 in r2_per_client(y[covered], predicted[covered], client_of_row[covered]).items():
                if run.client in (None, client) and not np.isnan(r2):
                    values[client].append(r2)
    return {client: float(np.mean(of_seeds)) if of_seeds else np.nan for client, of_seeds in values.items()}
