"""torch, imported when it is first used: fits in compiled code and predictions of dense networks go without."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from skfdrmfl.common.threads import hold_torch

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:

    class _Late:
        """Has the names of torch, each looked up once."""

        def __getattr__(self, name: str) -> Any:
            is_first = "torch" not in sys.modules
            library = import_module("torch")
            if is_first:
                hold_torch(library)
            found = getattr(library, name)
            setattr(self, name, found)
            return found

    torch, Tensor = _Late(), "Tensor"  # which annotations alone speak of

__all__ = ["Tensor", "torch"]
