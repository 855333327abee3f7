"""The engines by name: one `run_round`, backends whose results agree to rounding.

All draw the same rows in the same order. A loop over clients stands here below and nowhere else.
"""

from __future__ import annotations

import torch

from skfdrmfl.common.arrays import Indices
from skfdrmfl.federation.engines import native
from skfdrmfl.federation.engines.loop import LoopEngine
from skfdrmfl.federation.engines.native import NativeEngine
from skfdrmfl.federation.engines.stacked import StackedEngine
from skfdrmfl.model.network import Network

ENGINES: dict[str, type[StackedEngine] | type[LoopEngine] | type[NativeEngine]] = {
    "stacked": StackedEngine,
    "loop": LoopEngine,
    "native": NativeEngine,
}


def engine_for(asked: str, network: Network, device: torch.device, history_size: int, sizes: Indices) -> str:
    """Return the key of `ENGINES` that is to train: with "auto", "native" where it can, else "stacked".

    Parameters
    ----------
    asked : str
        "auto", or a key.
    network : Network
    device : torch.device
    history_size : int
    sizes : ndarray of shape (K,)
        Rows of each client.

    Raises
    ------
    ValueError
        "native" was asked for by name, and cannot.
    """
    if asked not in ("auto", "native"):
        return asked
    reason = native.why_not(network, device, history_size, sizes)
    if asked == "native" and reason is not None:
        raise ValueError(f"engine='native' {reason}; set engine='stacked', or 'auto' to have it where it can.")
    return "native" if reason is None else "stacked"
