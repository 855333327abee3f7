"""How the updates of a round become one model: a rule a file."""

from __future__ import annotations

from numpy.typing import NDArray

from skfdrmfl.common.arrays import Indices
from skfdrmfl.protocol.plan import Schedule
from skfdrmfl.server.aggregation.base import Aggregation
from skfdrmfl.server.aggregation.centered_clipping import centered_clipping
from skfdrmfl.server.aggregation.collected import Collected, Mixing, Rule
from skfdrmfl.server.aggregation.geometric_median import geometric_median
from skfdrmfl.server.aggregation.lengths import usual_lengths, usual_lengths_nearest_neighbors
from skfdrmfl.server.aggregation.mean import Average, unweighted
from skfdrmfl.server.aggregation.median import median
from skfdrmfl.server.aggregation.nearest_neighbors import nearest_neighbors
from skfdrmfl.server.aggregation.trimmed_mean import trimmed_mean

# The mean stands for FedAvg's, which weighs clients by rows and adds updates as they come, unless they are mixed first.
AGGREGATIONS: dict[str, Rule] = {
    "mean": unweighted,
    "median": median,
    "trimmed_mean": trimmed_mean,
    "geometric_median": geometric_median,
    "centered_clipping": centered_clipping,
}
PREAGGREGATIONS: dict[str, Mixing] = {
    "nnm": nearest_neighbors,
    "lengths": usual_lengths,
    "lengths+nnm": usual_lengths_nearest_neighbors,
}


def aggregation_of(
    schedule: Schedule, origin: NDArray, n_rows: Indices, group_of: Indices | None = None
) -> Aggregation:
    """Return a round's aggregate, still without updates, by the rule that the schedule names; see `Average`."""
    if not schedule.is_robust:
        return Average(origin, n_rows, group_of)
    mixing = None if schedule.preaggregation is None else PREAGGREGATIONS[schedule.preaggregation]
    rule = AGGREGATIONS[schedule.aggregation]
    return Collected(origin, group_of, rule=rule, mixing=mixing, n_byzantine=schedule.n_byzantine)


__all__ = ["AGGREGATIONS", "PREAGGREGATIONS", "Aggregation", "Average", "Collected", "aggregation_of"]
