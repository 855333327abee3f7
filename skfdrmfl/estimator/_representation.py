"""What an estimator looks like on a screen: as text, and as a diagram in a notebook."""

from __future__ import annotations

from typing import Any

# Where a fit was told nothing of clients: who meant to train with them sees it.
CENTRAL = "no clients: trained centrally"


class Representation:
    """Texts and diagrams of `FDRMFLTransformer`."""

    def __repr__(self, N_CHAR_MAX: int = 700) -> str:
        text = super().__repr__(N_CHAR_MAX)  # type: ignore[call-arg]
        return f"{text}  # {CENTRAL}" if self._is_central() else text

    def _sk_visual_block_(self) -> Any:
        """Return the estimator's block in the diagram of it, or of the Pipeline it is a step of."""
        from sklearn.utils._repr_html.estimator import _VisualBlock

        caption = CENTRAL if self._is_central() else None
        return _VisualBlock("single", self, names=type(self).__name__, name_details=str(self), name_caption=caption)

    def _is_central(self) -> bool:
        fitted = vars(self).get("_fitted")
        return fitted is not None and fitted.central
