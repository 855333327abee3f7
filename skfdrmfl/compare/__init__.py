"""The comparison of FDRMFL with the usual reductions and regressions on the same folds, with the same regressor."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skfdrmfl.compare._arguments import InvalidArgument
    from skfdrmfl.compare._compare import ComparisonInterrupted, compare
    from skfdrmfl.compare._comparison import Comparison
    from skfdrmfl.compare._result import MethodResult

__all__ = ["Comparison", "ComparisonInterrupted", "InvalidArgument", "MethodResult", "compare"]

_HOMES = {
    "Comparison": "_comparison",
    "ComparisonInterrupted": "_compare",
    "InvalidArgument": "_arguments",
    "MethodResult": "_result",
    "compare": "_compare",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: the command line answers `--help` without torch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
