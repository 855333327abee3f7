"""Pictures of a fitted model, in scikit-learn's form: `XDisplay.from_estimator(...)`, attributes `ax_` and `figure_`.

Every subclass of `Display` in a module of this folder is public, and the card of a federation, a page. matplotlib is
imported when something is drawn.
"""

from typing import Any

from skfdrmfl.common.modules import modules_of
from skfdrmfl.inspection._base import Display
from skfdrmfl.inspection._card import FederationCard

modules_of(__name__, __path__)
_DISPLAYS = {display.__name__: display for display in Display.__subclasses__()}
globals().update(_DISPLAYS)
__all__ = sorted([*_DISPLAYS, FederationCard.__name__])


def __getattr__(name: str) -> Any:
    """Refuse what is no Display; type checkers learn from it that there are names beside those written here."""
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
