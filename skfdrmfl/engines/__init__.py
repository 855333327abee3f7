"""The engines by name: one `run_round`, backends whose results agree to rounding.

All draw the same rows in the same order. A loop over clients stands here below and nowhere else.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cache
from multiprocessing import current_process

from skfdrmfl.common.arrays import Indices
from skfdrmfl.engines import native
from skfdrmfl.engines.base import Engine
from skfdrmfl.engines.native import NativeEngine
from skfdrmfl.engines.torch import TorchEngine
from skfdrmfl.method.network import Network
from skfdrmfl.protocol.plan import Settings

ENGINES: dict[str, type[Engine]] = {"torch": TorchEngine, "native": NativeEngine}


def engine_for(
    asked: str,
    network: Network,
    device: str,
    history_size: int,
    sizes: Indices,
    settings: Sequence[Settings],
) -> str:
    """Return the key of `ENGINES` that is to train: with "auto", "native" where it can, else "torch".

    `sizes` (K,) are clients' rows, `settings` those of the runs. ValueError: "native" was asked for, and cannot.
    """
    if asked not in ("auto", "native"):
        return asked
    reason = native.why_not(network, device, history_size, sizes, settings)
    if asked == "native" and reason is not None:
        raise ValueError(f"engine='native' {reason}; set engine='torch', or 'auto' to have it where it can.")
    if reason == native.NOT_COMPILED:
        _say_once()
    return "native" if reason is None else "torch"


@cache
def _say_once() -> None:
    """Log, once a process, what it costs that nothing is compiled: no warning, which some turn into an error."""
    if current_process().name == "MainProcess":  # not in every worker of a search
        logging.getLogger("skfdrmfl").warning(
            "skfdrmfl: without its compiled engine a fit takes up to 150 times as long; install a C compiler, then "
            "skfdrmfl anew, or a wheel that holds the engine. engine='torch' silences this."
        )
