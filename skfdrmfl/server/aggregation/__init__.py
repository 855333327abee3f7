"""How the updates of a round become one model.

Modules of this folder name their rules in `RULES`, and what updates may go through before in `MIXINGS`.
"""

from __future__ import annotations

from numpy.typing import NDArray

from skfdrmfl.common.arrays import Indices
from skfdrmfl.common.modules import modules_of
from skfdrmfl.protocol.plan import Schedule
from skfdrmfl.server.aggregation.aggregates import Average, Collected, Mixing, Rule

_TABLES = [vars(module) for module in modules_of(__name__, __path__)]
AGGREGATIONS: dict[str, Rule] = {name: rule for table in _TABLES for name, rule in table.get("RULES", {}).items()}
PREAGGREGATIONS: dict[str, Mixing] = {name: mix for table in _TABLES for name, mix in table.get("MIXINGS", {}).items()}


def aggregation_of(
    schedule: Schedule, origin: NDArray, n_rows: Indices, group_of: Indices | None = None
) -> Average | Collected:
    """Return a round's aggregate, still without updates, by the rule that the schedule names; see `Average`."""
    if not schedule.is_robust:
        return Average(origin, n_rows, group_of)
    mixing = None if schedule.preaggregation is None else PREAGGREGATIONS[schedule.preaggregation]
    rule = AGGREGATIONS[schedule.aggregation]
    return Collected(origin, group_of, rule=rule, mixing=mixing, n_byzantine=schedule.n_byzantine)


__all__ = ["AGGREGATIONS", "PREAGGREGATIONS", "Average", "Collected", "aggregation_of"]
