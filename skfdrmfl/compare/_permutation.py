"""Whether a method finds anything: the comparison of FDRMFL with itself, y exchanged between rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.compare._arguments import InvalidArgument, check_at_least
from skfdrmfl.compare._methods import Run
from skfdrmfl.compare._result import FEDERATED, MethodResult
from skfdrmfl.compare._training import Outcome, Rows
from skfdrmfl.compare._variation import Stage
from skfdrmfl.metrics import rmse

ALONG = "permutations"


class PermutationTest(NamedTuple):
    """How a method errs with y as it is, under the first seed, and with y permuted."""

    method: str
    output: str
    rmse: float
    permuted: list[float]  # RMSE of each permutation
    n_fixed: int  # rows that could not exchange their y

    @property
    def p(self) -> float:
        """The share of permutations that err no more, y as it is counted as one of them."""
        return float(1 + np.sum(np.array(self.permuted) <= self.rmse)) / (1 + len(self.permuted))

    def verdict(self) -> str:
        """Return in a sentence what the permutations say."""
        n = len(self.permuted)
        fixed = f"; {self.n_fixed} rows kept their y, as no others of their client go together so" * bool(self.n_fixed)
        return (
            f"With y permuted inside clients {n} times, the whole procedure repeated, {self.method!r} has an RMSE of "
            f"{np.median(self.permuted):.3g} (median): p = {self.p:.2g}"
            f"{', the least that so many permutations can give' * (self.p <= 1 / (1 + n))}{fixed}."
        )


def permutation_stages(runs: Sequence[Run], rows: Rows, n_permutations: int, random_state: int) -> Iterator[Stage]:
    """Yield the fits of FDRMFL under the first seed with y permuted; refuse rows that cannot be exchanged."""
    check_at_least("n_permutations", n_permutations, 0)
    if not n_permutations:
        return
    blocks = exchangeable(rows.clients[0], rows.groups)
    if not blocks:
        fact = "finds no two rows, or groups of as many rows, of one client, between which y could be exchanged"
        raise InvalidArgument("n_permutations", n_permutations, fact, "leave it out")
    mine = [run for run in runs if run.name == FEDERATED and run.seed == 0]
    # Legacy generator: the permutations are those of scikit-learn's permutation_test_score.
    random = np.random.RandomState(random_state)
    for number in range(n_permutations):
        order = np.arange(len(rows.y))
        for block in blocks:
            order[block] = block[random.permutation(len(block))]
        yield Stage(ALONG, str(number + 1), mine, rows._replace(clients=rows.clients[:1], y=rows.y[order]))


def exchangeable(clients: NDArray[Any], groups: NDArray[Any] | None) -> list[NDArray[np.intp]]:
    """Return rows (units, rows of each) between whose units, two or more rows or like groups, y may be exchanged."""
    if groups is None:
        alike = [np.flatnonzero(clients == client)[:, None] for client in np.unique(clients)]
    else:
        codes = np.unique(clients, return_inverse=True)[1]
        kinds: dict[tuple[int, ...], list[NDArray[np.intp]]] = {}
        for group in np.unique(groups):
            mine = np.flatnonzero(groups == group)
            mine = mine[np.argsort(codes[mine], kind="stable")]
            kinds.setdefault(tuple(codes[mine].tolist()), []).append(mine)
        alike = [np.stack(kinds[kind]) for kind in sorted(kinds)]
    return [block for block in alike if len(block) > 1]


def permutation_tests(
    done: Iterable[tuple[Stage, list[Outcome]]], methods: Sequence[MethodResult]
) -> tuple[PermutationTest, ...]:
    """Return the tests of FDRMFL, and of its y_hat only, for each output."""
    mine = [(stage.rows, outcome) for stage, outcomes in done for outcome in outcomes if stage.along == ALONG]
    tested = {outcome.run.name for _, outcome in mine}
    outputs = list(dict.fromkeys(method.output for method in methods))
    found = []
    for method in methods:
        if method.name not in tested:
            continue
        rows, j = mine[0][0], outputs.index(method.output)
        n_fixed = len(rows.y) - sum(block.size for block in exchangeable(rows.clients[0], rows.groups))
        permuted = []
        for of_stage, outcome in mine:
            if outcome.run.name == method.name:
                y, predicted = (table.reshape(len(table), -1)[:, j] for table in (of_stage.y, outcome.predicted))
                permuted.append(rmse(y[outcome.covered], predicted[outcome.covered]))
        found.append(PermutationTest(method.name, method.output, float(method.rmse[0]), permuted, n_fixed))
    return tuple(found)
