"""Warnings that point at the line of the user, not at one of the package."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from types import FrameType

PACKAGE = str(Path(__file__).resolve().parents[1]) + os.sep


def warn_caller(message: str) -> None:
    """Warn as if from the innermost line outside the package that led here."""
    frame: FrameType | None = sys._getframe(1)
    level = 2  # that of `frame`
    while frame is not None and frame.f_code.co_filename.startswith(PACKAGE):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, UserWarning, stacklevel=level)
