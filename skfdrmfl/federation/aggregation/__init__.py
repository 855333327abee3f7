"""How the updates of a round become one model: a rule a file."""

from skfdrmfl.federation.aggregation.base import Aggregation
from skfdrmfl.federation.aggregation.mean import Average

AGGREGATIONS: dict[str, type[Aggregation]] = {"mean": Average}

__all__ = ["AGGREGATIONS", "Aggregation", "Average"]
