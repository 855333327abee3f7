"""What an estimator looks like on a screen: as text, and as a diagram in a notebook with a link to its page."""

from __future__ import annotations

import inspect
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

# Where a fit was told nothing of clients: who meant to train with them sees it.
CENTRAL = "no clients: trained centrally"


# Where the site has the page of a class, by its public name; and where the site stands in a checkout once it is built.
PAGE = "api/{}.html"
BUILT = Path(__file__).parents[2] / "docs" / "_build" / "html"


class DocumentationLink:
    """Gives an estimator's diagram a link to its documentation."""

    _doc_link_module = "skfdrmfl"
    _doc_link_template = "{url}"

    def _doc_link_url_param_generator(self) -> dict[str, str]:
        return {"url": page_of(type(self))}


def page_of(cls: type) -> str:
    """Return the page of a public class: on the published site, else on one built in the checkout, else its source."""
    room = cls.__module__.split(".")[1]
    page = PAGE.format(".".join(["skfdrmfl", *([] if room == "estimator" else [room]), cls.__name__]))
    if (site := _published()) is not None:
        return f"{site.rstrip('/')}/{page}"
    if (built := BUILT / page).is_file():
        return built.as_uri()
    return Path(inspect.getfile(cls)).resolve().as_uri()


@cache
def _published() -> str | None:
    """Return the address of the site, as the package's metadata has it."""
    try:
        entries = metadata.metadata("skfdrmfl").get_all("Project-URL") or []
    except metadata.PackageNotFoundError:
        return None
    urls = dict(entry.split(", ", 1) for entry in entries)
    return urls.get("Documentation")


class Representation(DocumentationLink):
    """Texts and diagrams of `FDRMFLTransformer`."""

    def __repr__(self, N_CHAR_MAX: int = 700) -> str:
        text = super().__repr__(N_CHAR_MAX)  # type: ignore[call-arg]
        return f"{text}  # {CENTRAL}" if self._is_central() else text

    def _sk_visual_block_(self) -> Any:
        """Return the estimator's block in the diagram of it, or of the Pipeline it is a step of."""
        from sklearn.utils._repr_html.estimator import _VisualBlock

        fitted = vars(self).get("_fitted")
        said = [CENTRAL] if self._is_central() else []
        if fitted is not None and fitted.mixture is not None:
            shares = [row for row in fitted.members[1:] if np.sum(row["weight"]) > 0]
            said.append("mixture of " + ", ".join(row["name"] for row in shares))
        caption = "; ".join(said) or None
        return _VisualBlock("single", self, names=type(self).__name__, name_details=str(self), name_caption=caption)

    def _is_central(self) -> bool:
        fitted = vars(self).get("_fitted")
        return fitted is not None and fitted.central
