"""What is wrong with a file or with an option that says how to read it: one line each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NoReturn

from skfdrmfl.common.wording import meant, shown


class UsageError(Exception):
    """A wrong argument, or data that do not fit it; before the text stands `prog`, or else the command that runs."""

    def __init__(self, text: str, prog: str = "") -> None:
        super().__init__(text)
        self.prog = prog


class FileProblem(Exception):
    """A file that cannot be read for what it is said to be."""


def first_line(error: Exception) -> str:
    """Return the first line of what an error says, its name if it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


@contextmanager
def as_problem(fact: str = "", *kinds: type[Exception]) -> Iterator[None]:
    """Raise errors of these kinds, or any ValueError, as a FileProblem: `fact`, and the first line of what they say."""
    try:
        yield
    except Exception as error:
        if not isinstance(error, (ValueError, *kinds)):
            raise
        raise FileProblem(f"{fact}: {first_line(error)}" if fact else first_line(error)) from error


def refuse(given: Mapping[str, object], fact: str, remedy: str = "leave it out") -> None:
    """Refuse options that are given and would have no effect."""
    for option, value in given.items():
        if value:
            wrong(option, "the table" if value is True else value, fact, remedy)


def no_column(option: str, name: str, columns: Sequence[str], of: object = "the table") -> NoReturn:
    """Refuse a name that no column has, with names that are like it."""
    wrong(option, name, f"is no column of {of}", meant(name, columns, f"choose from {shown(columns, 12)}", repr))


def wrong(option: str, value: object, fact: str, remedy: str) -> NoReturn:
    """Raise the usage error that names an option, its value, what is wrong with it and what to do."""
    end = "" if remedy.endswith("?") else "."
    raise UsageError(f"argument {option}: {value} {fact}; {remedy}{end}")
