"""Packages that only some work needs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module, metadata
from importlib.util import find_spec
from typing import Any

REQUIREMENT = re.compile(r"""([\w.-]+)([^;\[]*); *extra == ["'](\w+)["']""")


class MissingExtra(ImportError):
    """A package that an extra brings is not installed; the message says how to install it."""


def import_extra(module: str, extra: str, needs: str) -> Any:
    """Return a module that an extra of the package brings; MissingExtra, after `needs`, says how to install it."""
    package = module.partition(".")[0]
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or package).partition(".")[0] != package:  # a package that is there needs another
            raise
        raise MissingExtra(f"{needs} {package}, which is not installed; run: {install(extra, package)}") from error


def install(extra: str, package: str) -> str:
    """Return the command that installs what an extra lacks, `package` at least; it names packages, not this one."""
    try:
        found = [REQUIREMENT.match(line) for line in metadata.requires("skfdrmfl") or ()]
    except metadata.PackageNotFoundError:  # run from a folder that is not installed
        found = []
    brought = {
        match[1].replace("-", "_"): f'"{match[1]}{match[2].strip()}"' for match in found if match and match[3] == extra
    }
    missing = [text for name, text in brought.items() if name == package.replace("-", "_") or not _is_there(name)]
    return " ".join(["pip install", *(missing or [package])])


def _is_there(name: str) -> bool:
    """Return whether a package can be found."""
    try:
        return find_spec(name) is not None
    except (ImportError, ValueError):  # halted by a None among the modules
        return False


def new_figure(**options: Any) -> Any:
    """Return a figure of matplotlib that pyplot does not know; ImportError says how to install it."""
    return import_extra("matplotlib.figure", "plot", "Figures need").Figure(**options)


@contextmanager
def names_as_they_are() -> Iterator[None]:
    """Let matplotlib draw texts letter by letter: a $, _ or % in a name begins no formula."""
    matplotlib = import_extra("matplotlib", "plot", "Figures need")
    with matplotlib.rc_context({"text.usetex": False, "text.parse_math": False}):
        yield
