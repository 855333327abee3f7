"""The parameter `pretreatment`: which values it may have, and the view of each modality that it asks for."""

from __future__ import annotations

from typing import Any

from skfdrmfl.data.categories import split
from skfdrmfl.fit.check_input import DataDescription
from skfdrmfl.fit.network_spec import NetworkSpec
from skfdrmfl.views import VIEWS
from skfdrmfl.views.base import View


def check_pretreatment(pretreatment: Any, tuning: Any) -> None:
    """Raise ValueError where `pretreatment` is no name of a view, no list of them, or a list that nothing chooses from.

    Whether it is a string, a list or None has been checked.
    """
    names = [pretreatment] if isinstance(pretreatment, str) else list(pretreatment or ())
    known = ", ".join(map(repr, VIEWS))
    if pretreatment is not None and not names:
        raise ValueError(f"pretreatment is {pretreatment!r}, which is empty; name some of {known}, or pass None.")
    for name in names if pretreatment != "auto" else ():
        if not isinstance(name, str) or name not in VIEWS:
            raise ValueError(f"pretreatment names {name!r}, which is none; the pre-treatments are {known}.")
        if names.count(name) > 1:
            raise ValueError(f"pretreatment names {name!r} twice; name each once.")
    if not isinstance(pretreatment, (str, type(None))) and tuning != "mixture":
        raise ValueError(
            f"pretreatment={pretreatment!r} is a list to choose from, but tuning={tuning!r} chooses none of it; set "
            'tuning="mixture", or name one.'
        )


def views_of(estimator: Any, reading: DataDescription, spec: NetworkSpec) -> dict[str, View]:
    """Return the view of each modality that is pre-treated: of those of numbers, as codes are no values of a series.

    Raises ValueError where a modality has too few columns, or an encoder that columns after the view do not suit.
    """
    name = estimator.pretreatment
    if not isinstance(name, str) or name == "auto":  # a list is for the mixture
        return {}
    view, views = VIEWS[name], {}
    for modality, columns in reading.modalities.items():
        encoder, n_columns = spec.specs[modality], len(split(columns, reading.categories)[1])
        if not n_columns or getattr(encoder, "strongest_preprocessing", "whiten") is None:
            continue
        if n_columns < view.least_columns:
            raise ValueError(
                f"pretreatment={name!r} needs modalities of {view.least_columns} columns or more, but {modality!r} has "
                f"{n_columns}; set pretreatment=None, and pre-treat the columns of the others before X is passed."
            )
        series = getattr(encoder, "reads_series", None)
        if series is False or (series and view.n_appended):
            why = "takes the columns for one series, but these are several, or an image"
            if series:
                why = f"appends {view.n_appended} columns, which have no place in a series"
            raise ValueError(
                f"pretreatment={name!r} does not go with the {type(encoder).__name__} of modality {modality!r}: it "
                f"{why}; give the modality a DenseEncoder, or set pretreatment=None."
            )
        views[modality] = view
    return views
