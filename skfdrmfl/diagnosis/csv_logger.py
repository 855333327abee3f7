"""A callback that writes what each round reports to a file, while the fit goes on."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

# What a round may report, beside its number.
NUMBERS = (
    *("loss", "mse", "mi", "kl", "contrastive", "mi_nwj", "drift"),
    *("validation_mse", "validation_mi_nwj", "clip_norm"),
)
COLUMNS = ("started", "task", "round", "seconds", *NUMBERS)


class CSVLogger:
    """Callback of scikit-learn (1.9) that writes a line to a CSV file after each round of every fit.

    It follows fits inside a Pipeline or a search, in other processes too.

    Parameters
    ----------
    path : str or path-like
        Lines are appended: to start afresh, remove the file.

    Notes
    -----
    Columns are "started", the UTC time at which the outermost fit began; "task", where in it the round was, such as
    "fit 0" or "fit 0 > search 0 > candidate-split-evaluation 3"; "round", from 1; "seconds" since "started"; and the
    means of `history_`, empty where a round has no such number.

    Examples
    --------
    >>> from skfdrmfl import CSVLogger, FDRMFLTransformer
    >>> model = FDRMFLTransformer().set_callbacks(CSVLogger("rounds.csv"))  # doctest: +SKIP
    """

    # Set on a Pipeline or a search it is handed down to whatever is inside.
    max_propagation_depth = None

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(os.path.abspath(path))

    def setup(self, estimator: Any, context: Any) -> None:
        """Begin the file, unless there is one."""
        if not self.path.exists() or not self.path.stat().st_size:
            self._append(COLUMNS)

    def on_fit_task_begin(self, estimator: Any, context: Any) -> None:
        """Do nothing."""

    def on_fit_task_end(self, estimator: Any, context: Any) -> None:
        """Write what a round reports; other tasks report nothing."""
        found = getattr(context, "numbers", None) or {}
        if "round" not in found:
            return
        above = list(_ancestors(context))
        started = above[-1].init_time
        task = " > ".join(f"{each.task_name} {each.task_id}" for each in reversed(above))
        seconds = f"{(datetime.now(UTC) - started).total_seconds():.3f}"
        numbers = [found.get(name, "") for name in NUMBERS]
        self._append((started.isoformat(timespec="seconds"), task, found["round"], seconds, *numbers))

    def teardown(self, estimator: Any, context: Any) -> None:
        """Do nothing: every line is on the disk already."""

    def _append(self, values: tuple[Any, ...]) -> None:
        """Write a line, all at once: several processes may share the file."""
        line = io.StringIO()
        csv.writer(line, lineterminator="\n").writerow(values)
        with self.path.open("a", encoding="utf-8", newline="") as file:
            file.write(line.getvalue())


def _ancestors(context: Any) -> Iterator[Any]:
    """Yield the tasks that a task is part of, the nearest first."""
    while (context := context.parent) is not None:
        yield context
