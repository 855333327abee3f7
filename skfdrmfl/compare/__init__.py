"""The comparison of FDRMFL with the usual reductions and regressions on the same folds, with the same regressor."""

from skfdrmfl.compare._arguments import InvalidArgument
from skfdrmfl.compare._compare import ComparisonInterrupted, compare
from skfdrmfl.compare._comparison import Comparison
from skfdrmfl.compare._result import MethodResult

__all__ = ["Comparison", "ComparisonInterrupted", "InvalidArgument", "MethodResult", "compare"]
