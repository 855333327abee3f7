"""What `domain` returns: a row for each sample, as a dict of columns that prints as a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.common.arrays import Float
from skfdrmfl.common.wording import counted

# Rows outside that are shown, the farthest first.
MOST_SHOWN = 10


class DomainTable(dict[str, NDArray[Any]]):
    """A dict of columns, which `pandas.DataFrame` takes as it is; printed, a count and the rows farthest outside.

    `y_range` (n_outputs, 2) are least and largest y of the training rows, rounded outwards to tenths of a standard
    deviation, in the units of y; `level` is the share of usual rows within each limit.
    """

    def __init__(self, columns: Mapping[str, NDArray[Any]], y_range: Float, level: float):
        super().__init__(columns)
        self.y_range, self.level = y_range, level

    @property
    def excess(self) -> Float:
        """How many times its limit T2 or Q is (n,), whichever is more."""
        found = np.zeros(len(self["T2"]))
        for name in ("T2", "Q"):
            value, limit = self[name], self[f"{name}_limit"]
            found = np.maximum(found, np.divide(value, limit, out=np.where(value > 0, np.inf, 0.0), where=limit > 0))
        return found

    def __repr__(self) -> str:
        outside = np.flatnonzero(~self["inside"])
        n, beyond = len(self["inside"]), int((~self["y_inside"]).sum())
        head = f"{counted(n, 'row')}: {len(outside)} outside at level {self.level:g}"
        lines = [f"{head}, {beyond} with y out of range"]
        if len(outside):
            lines.append(f"{'row':>6}  {'T2':>9}  {'limit':>9}  {'Q':>9}  {'limit':>9}  moved by")
        farthest = outside[np.argsort(-self.excess[outside], kind="stable")]
        for i in farthest[:MOST_SHOWN].tolist():
            numbers = (f"{self[name][i]:9.3g}" for name in ("T2", "T2_limit", "Q", "Q_limit"))
            lines.append(f"{i:6d}  {'  '.join(numbers)}  {self['moved_by'][i]}")
        if len(outside) > MOST_SHOWN:
            lines.append(f"and {len(outside) - MOST_SHOWN} more")
        return "\n".join(lines)
