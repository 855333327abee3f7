"""How names and numbers of things are said in a line."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from typing import Any

MOST_SHOWN = 6


def counted(n: int, what: str) -> str:
    """Return a number of things, one or several."""
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def listed(names: Sequence[Any], most: int = 5, show: Callable[[Any], str] = repr) -> str:
    """Return the first of some names."""
    return ", ".join(map(show, names[:most])) + (", ..." if len(names) > most else "")


def no_numbers(n: int, what: str) -> str:
    """Return a number of things that are no numbers, one or several."""
    return f"{counted(n, what)} that {'is no number' if n == 1 else 'are no numbers'}"


def shown(names: Sequence[object], most: int = MOST_SHOWN) -> str:
    """Return names in one line, the middle of many left out."""
    if len(names) <= most:
        return ", ".join(map(str, names))
    half = max(1, most // 2)
    return f"{', '.join(map(str, names[:half]))}, ... {names[-1]} ({len(names)} in all)"


def meant(name: str, known: Iterable[str], otherwise: str, show: Callable[[str], str] = str) -> str:
    """Return the question whether a known name was meant that is like this one, in any case; `otherwise` if none is."""
    lower = {other.lower(): other for other in known}
    near = [show(lower[other]) for other in get_close_matches(name.lower(), lower, n=3)]
    return f"did you mean {' or '.join(near)}?" if near else otherwise


def pasted(option: str, *values: str) -> str:
    """Return an option with its values, separated by commas, as a shell takes it."""
    text = ",".join(value.replace(",", "\\,") for value in values) if len(values) > 1 else values[0]
    text = f"'{text}'" if text[-1:] in set(".:;?!") and "'" not in text else shlex.quote(text)  # not the sentence's end
    return f"{option}={text}" if values[0].startswith("-") else f"{option} {text}"
