"""A mixture as a file has it, and back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from skfdrmfl.method.mixture import Mixture, NetworkPart

# The kind of archive that a fitted estimator is.
KIND = "fitted FDRMFLTransformer"


def mixture_to_tree(mixture: Mixture | None) -> dict[str, Any] | None:
    """Return a mixture as what can be written: of a network all but itself, which is built anew."""
    if mixture is None:
        return None
    parts = [
        {"shape": part.network.shape, **{name: value for name, value in vars(part).items() if name != "network"}}
        if isinstance(part, NetworkPart)
        else part
        for part in mixture.parts
    ]
    return {**vars(mixture), "parts": parts}


def mixture_of_tree(tree: dict[str, Any] | None, network_spec: Any, n_outputs: int) -> Mixture | None:
    """Return the mixture of which `mixture_to_tree` gave this.

    `network_spec` is a dataclass with the fields of a network's `shape`, and builds it (`fit.network_spec`).
    """
    if tree is None:
        return None
    parts: list[Any] = []
    for part in tree["parts"]:
        if isinstance(part, dict):
            table = part["table"]
            spec = replace(network_spec, **part.pop("shape"))
            part = NetworkPart(**part, network=spec.network(table.widths, n_outputs, table.columns))
        parts.append(part)
    return Mixture(**{**tree, "parts": tuple(parts)})
