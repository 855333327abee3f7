"""The modules of a folder, found: a new file there needs no other line."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType


def modules_of(package: str, path: Iterable[str]) -> list[ModuleType]:
    """Return the modules of a package, imported, in the order of their names; `path` is its `__path__`."""
    return [import_module(f"{package}.{name}") for name in sorted(found.name for found in iter_modules(path))]
