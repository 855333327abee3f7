"""The data sets that the command line knows by name: Tecator, packed with the library, and Corn, from a file."""

from __future__ import annotations

from typing import Any

from skfdrmfl.tables.errors import UsageError, wrong

TARGETS = {"tecator": ("fat", "water", "protein"), "corn": ("moisture", "oil", "protein", "starch")}
UNIT = "%"  # of every target above


def targets_of(name: str, asked: list[str]) -> list[str]:
    """Return the targets to predict, the first one that the set has where none is asked for."""
    for target in asked:
        if target not in TARGETS[name]:
            wrong("--target", target, f"is not in {name}", f"choose from {', '.join(TARGETS[name])}")
    return asked or [TARGETS[name][0]]


def load(name: str, path: str | None, targets: list[str]) -> Any:
    """Return the data set of that name as a Bunch; of one target the values are a vector."""
    from skfdrmfl.datasets import fetch_corn, load_tecator

    target = targets[0] if len(targets) == 1 else targets
    if name == "tecator":
        if path is not None:
            wrong("--path", path, "is not used: tecator is packed with the library", "leave it out")
        return load_tecator(target)
    try:
        return fetch_corn(path, target=target)
    except (OSError, ValueError) as error:
        raise UsageError(f"argument --path: {error}") from error
