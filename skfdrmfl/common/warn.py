"""Warnings that point at the line of the user, not at one of the package or of scikit-learn."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from types import FrameType

import sklearn

# Folders whose lines are nobody's who called `fit`.
PASSED_BY = tuple(str(path) + os.sep for path in (Path(__file__).resolve().parents[1], Path(sklearn.__file__).parent))


def warn_caller(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn as if from the innermost line outside the package and scikit-learn that led here."""
    frame: FrameType | None = sys._getframe(1)
    level = 2  # that of `frame`
    while frame is not None and frame.f_code.co_filename.startswith(PASSED_BY):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
