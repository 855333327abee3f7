"""The checks behind `diagnose()`: each looks for one failure signature of the method in what training has recorded.

The checks read `history_`, the clients' row counts and the weights of the terms. They see no row of data and train
nothing. A finding is a symptom that fits a cause, not a proof of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from skfdrmfl.common.wording import counted
from skfdrmfl.diagnosis.checks import CHECKS, MI_NWJ
from skfdrmfl.diagnosis.history import FEWEST_ROUNDS, TrainingHistory


class Diagnosis(list[dict[str, Any]]):
    """What `diagnose()` returns: a list of findings, empty if there are none, that prints as a report.

    A finding is a dict of "name", "finding", "evidence" (a dict of numbers) and "remedy"; `summary` is one line on what
    was looked at.
    """

    def __init__(self, findings: Sequence[dict[str, Any]] = (), summary: str = ""):
        super().__init__(findings)
        self.summary = summary

    @property
    def names(self) -> list[str]:
        """The names of the findings, in order."""
        return [finding["name"] for finding in self]

    def __repr__(self) -> str:
        count = counted(len(self), "finding") if self else "nothing found"
        lines = [f"{count}: {self.summary}" if self.summary else count]
        for finding in self:
            evidence = ", ".join(
                f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
                for name, value in finding["evidence"].items()
            )
            lines += ["", f"{finding['name']}: {finding['finding']}"]
            lines += [f"    evidence: {evidence}", f"    remedy: {finding['remedy']}"]
        return "\n".join(lines)


def diagnose(history: TrainingHistory) -> Diagnosis:
    """Return every known failure signature that a training history shows."""
    if not history.n_rounds:
        return Diagnosis((), f"no rounds to judge{_central(history)}")
    keys = ("name", "finding", "evidence", "remedy")
    found = [(name, *told) for name, check in CHECKS.items() if (told := check(history)) is not None]
    return Diagnosis([dict(zip(keys, entry, strict=True)) for entry in found], _summary(history))


def _central(history: TrainingHistory) -> str:
    """Return what to say of a fit that got no clients, who may have been lost on the way."""
    return " (no client_ids and no client_column: central training)" if history.central else ""


def _summary(history: TrainingHistory) -> str:
    """Return one line that says what was looked at, and what the recorded information value is worth."""
    n, k, last = history.n_rounds, len(history.clients), history.periods[-1]
    mse = history.mean("mse", last)
    of_what = "what a linear member leaves of y" if history.of_residual else "the variance of y"
    who = f"{counted(n, 'round')}, {counted(k, 'client')}{_central(history)}"
    line = f"{who}, training mse {mse:.3g} of {of_what}"
    nwj, held_out = history.mean_mi("mi_nwj", last), history.held_out("mi_nwj", last)
    if history.weights["mi"] and not np.isnan(nwj):
        line += f", mi_nwj {nwj:.3g} nats on training rows"
        if not np.isnan(held_out):
            line += f", {held_out:.3g} on rows held out"
        elif nwj > MI_NWJ:
            line += " (which a critic can memorise: early_stopping=True adds its value on rows held out)"
    if n < FEWEST_ROUNDS:
        line += f"; too few rounds for trends, which take {FEWEST_ROUNDS}"
    return line
