"""Packages that only some work needs."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def import_extra(module: str, extra: str, needs: str) -> Any:
    """Return a module that an extra of the package brings; ImportError, after `needs`, says how to install it."""
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise ImportError(f'{needs} {package}, which is not installed; run: pip install "skfdrmfl[{extra}]"') from error
