"""The comparison of FDRMFL with the usual reductions and regressions on the same folds, with the same regressor."""

from skfdrmfl.compare._arguments import InvalidArgument
from skfdrmfl.compare._compare import ComparisonInterrupted, compare
from skfdrmfl.compare._comparison import Comparison
from skfdrmfl.compare._permutation import PermutationTest
from skfdrmfl.compare._result import MethodResult
from skfdrmfl.compare._variation import Variation

__all__ = [
    "Comparison",
    "ComparisonInterrupted",
    "InvalidArgument",
    "MethodResult",
    "PermutationTest",
    "Variation",
    "compare",
]
