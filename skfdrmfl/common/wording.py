"""How numbers of things are said in a line."""

from __future__ import annotations


def counted(n: int, what: str) -> str:
    """Return a number of things, one or several."""
    return f"{n} {what}" if n == 1 else f"{n} {what}s"
