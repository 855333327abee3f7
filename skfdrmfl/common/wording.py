"""How names and numbers of things are said in a line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


def counted(n: int, what: str) -> str:
    """Return a number of things, one or several."""
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def listed(names: Sequence[Any], most: int = 5, show: Callable[[Any], str] = repr) -> str:
    """Return the first of some names."""
    return ", ".join(map(show, names[:most])) + (", ..." if len(names) > most else "")
