"""The engines by name: one `run_round`, two backends whose results agree to rounding.

Both draw the same rows in the same order. A loop over clients stands here below and nowhere else.
"""

from __future__ import annotations

from skfdrmfl.federation.engines.loop import LoopEngine
from skfdrmfl.federation.engines.stacked import StackedEngine

ENGINES: dict[str, type[StackedEngine] | type[LoopEngine]] = {"stacked": StackedEngine, "loop": LoopEngine}
