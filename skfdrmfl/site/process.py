"""What a site's process does from one message to the next: it answers, keeps what it has to, and says what it did."""

from __future__ import annotations

import time
from collections.abc import Callable

from skfdrmfl.clients.remote.packet import Packet, Request, WireError
from skfdrmfl.clients.remote.prepared import ROWS
from skfdrmfl.clients.remote.site import Site

# Bytes of what is kept at most; a server that wants more loses all of it, and sends what it needs again.
MOST_KEPT = 2**28


class SiteProcess:
    """A site that lives on, asked by frames. See `listener.Answer`.

    What is kept is in memory alone: after a restart the site says what it has lost, and is given it again.
    """

    def __init__(self, site: Site, say: Callable[[str], None] = print):
        self._site, self._say = site, say
        self._kept: dict[str, Packet] = {}

    def __call__(self, text: str, data: bytes | bytearray) -> tuple[str, bytes]:
        """Return the answer to a question. WireError: it is none."""
        start = time.perf_counter()
        packet = _of_flat(text, data)
        what = Request.of_packet(packet).what
        answer, kept = self._site.answer(packet, self._kept)
        # What is prepared of rows is kept for sites of which each message is answered by a new process.
        kept = {name: value for name, value in kept.items() if not name.endswith(ROWS)}
        self._kept = kept if sum(map(size_of, kept.values())) <= MOST_KEPT else {}
        said, back = answer.flat()
        taken = time.perf_counter() - start
        self._say(f"{what}: {_size(len(text) + len(data))} in, {_size(len(said) + len(back))} out, {taken:.2f} s")
        return said, back


def size_of(packet: Packet) -> int:
    """Return the bytes that a packet takes."""
    return len(packet.text) + sum(array.nbytes for array in packet.arrays)


def _of_flat(text: str, data: bytes | bytearray) -> Packet:
    """Return the packet of a frame; WireError, whatever is wrong with it."""
    try:
        return Packet.of_flat(text, data)  # type: ignore[arg-type]  # any buffer
    except WireError:
        raise
    except Exception as error:
        raise WireError(f"a message is damaged ({type(error).__name__})") from error


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e3:.1f} kB"
