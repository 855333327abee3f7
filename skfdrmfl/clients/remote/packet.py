"""The two things that cross a wire."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain, islice
from math import prod
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

# Types of arrays that may cross: numbers, booleans, and strings of fixed width.
KINDS = frozenset("biufU")
# What a packet may have at most, and its text, which takes many times its length once it is read.
MOST_BYTES, MOST_TEXT = 2**30, 2**26


class WireError(ValueError):
    """What has come is not what was agreed."""


class Refusal(ValueError):
    """A client does not answer, for a reason that it may tell: the words hold nothing of its rows."""


class NotNow(Refusal):
    """A client cannot answer this time, and may the next."""


@dataclass(frozen=True)
class Packet:
    """A value on its way."""

    text: str  # JSON
    arrays: tuple[NDArray, ...] = ()

    @cached_property
    def size(self) -> int:
        """How many bytes it has, but for the forms of its arrays."""
        return len(self.text.encode()) + sum(map(attrgetter("nbytes"), self.arrays))

    def flat(self) -> tuple[str, bytes]:
        """Return all there is to it as a text and bytes, which any transport can carry."""
        forms, parts = [], []
        for array in self.arrays:
            # Sums depend on how an array lies in memory, to the last bit: one that lies by columns stays so.
            by_columns = array.flags.f_contiguous and not array.flags.c_contiguous
            forms.append([array.dtype.str, array.shape, "F" if by_columns else "C"])
            parts.append(array.tobytes("A"))
        return json.dumps([self.text, forms], separators=(",", ":")), b"".join(parts)

    @classmethod
    def of_flat(cls, text: str, data: bytes | bytearray) -> Packet:
        """Return the packet of which `flat` made these; WireError where it is of none."""
        if len(text) > MOST_TEXT or len(data) > MOST_BYTES:
            raise WireError(f"a message of {len(text)} characters and {len(data)} bytes is too large")
        try:
            own, forms = json.loads(text)
            arrays, start = [], 0
            for name, shape, order in forms:
                dtype = np.dtype(name)
                if dtype.kind not in KINDS or not isinstance(own, str):
                    raise ValueError(name)
                arrays.append(np.frombuffer(data, dtype, prod(shape), start).reshape(shape, order=order))
                start += dtype.itemsize * prod(shape)
        except Exception as error:  # whatever numpy makes of a type and a shape
            raise WireError(f"a message is damaged ({type(error).__name__})") from error
        if start != len(data):
            raise WireError(f"a message holds {len(data)} bytes where {start} were announced")
        return cls(own, tuple(arrays))


@dataclass(frozen=True)
class Request:
    """What is asked of one client."""

    what: str  # which kind of thing
    position: int  # its place in `clients_`, -1 before places are known
    about: Packet  # the question
    needs: tuple[str, ...] = ()  # names of what it must have to answer
    # What of these comes along, as it is not known to have it
    given: Mapping[str, Packet] = field(default_factory=dict)
    keep: tuple[str, ...] = ()  # names of what will be needed again
    run: str = ""  # one name for all that is asked for a fit
    rows: int = -1  # how many rows it has announced, -1 before it has
    round: int = 0  # that the server's ledger counts it in

    def packet(self) -> Packet:
        """Return it as one packet."""
        inside = [self.about, *self.given.values()]
        forms = [[packet.text, len(packet.arrays)] for packet in inside]
        numbers = self.run, self.rows, self.round
        text = json.dumps([self.what, self.position, self.needs, self.keep, list(self.given), forms, *numbers])
        return Packet(text, tuple(chain.from_iterable(map(attrgetter("arrays"), inside))))

    @classmethod
    def of_packet(cls, received: Packet) -> Request:
        """Return the request of which `packet` made this; WireError where it is of none."""
        try:
            what, position, needs, keep, names, forms, run, rows, number = json.loads(received.text)
            arrays = iter(received.arrays)
            about, *given = [Packet(text, tuple(islice(arrays, n))) for text, n in forms]
            if not {str}.issuperset(map(type, (what, run, *needs, *keep, *names))):
                raise TypeError("names are texts")
            if not {int}.issuperset(map(type, (position, rows, number))):
                raise TypeError("places and numbers of rows and rounds are integers")
            given_by_name = dict(zip(names, given, strict=True))
            return cls(what, position, about, tuple(needs), given_by_name, tuple(keep), run, rows, number)
        except (ValueError, TypeError, RecursionError, OverflowError) as error:
            raise WireError(f"a request was expected ({type(error).__name__})") from error
