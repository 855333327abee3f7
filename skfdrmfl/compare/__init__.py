"""The comparison of FDRMFL with the usual reductions, on the same folds and with the same regressor."""

from skfdrmfl.compare._arguments import InvalidArgument
from skfdrmfl.compare._compare import compare
from skfdrmfl.compare._comparison import Comparison
from skfdrmfl.compare._result import MethodResult

__all__ = ["Comparison", "InvalidArgument", "MethodResult", "compare"]
