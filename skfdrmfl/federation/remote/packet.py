"""The two things that cross a wire."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from numpy.typing import NDArray


@dataclass(frozen=True)
class Packet:
    """A value on its way.

    Attributes
    ----------
    text : str
        JSON.
    arrays : tuple of ndarray
    """

    text: str
    arrays: tuple[NDArray, ...] = ()


@dataclass(frozen=True)
class Request:
    """What is asked of one client.

    Attributes
    ----------
    what : str
        Which kind of thing.
    position : int
        Its place in `clients_`, -1 before places are known.
    about : Packet
        The question.
    needs : tuple of str
        Names of what it must have to answer.
    given : mapping of str to Packet
        What of these comes along, as it is not known to have it.
    keep : tuple of str
        Names of what will be needed again.
    """

    what: str
    position: int
    about: Packet
    needs: tuple[str, ...] = ()
    given: Mapping[str, Packet] = field(default_factory=dict)
    keep: tuple[str, ...] = ()
