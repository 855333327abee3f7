"""What a site's process does from one message to the next: it answers, keeps what it has to, and says what it did."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter

from skfdrmfl.clients.remote.audit import leaving
from skfdrmfl.clients.remote.packet import Packet
from skfdrmfl.clients.remote.site import ANNOUNCED, ROWS, Site
from skfdrmfl.clients.remote.watch import Answer, Question, Watch

# Bytes of what is kept at most; a server that wants more loses all of it, and sends what it needs again.
MOST_KEPT = 2**28


class SiteProcess:
    """A site that lives on, asked by frames. See `listener.Answer`.

    What is kept is in memory alone: after a restart the site says what it has lost, and is given it again.
    """

    def __init__(self, site: Site):
        self._site = site
        self._kept: dict[str, Packet] = {}

    def __call__(self, text: str, data: bytes | bytearray) -> tuple[str, bytes]:
        """Return the answer to a question. WireError: it is none."""
        answer, kept = self._site.answer(Packet.of_flat(text, data), self._kept)
        # What is prepared of rows is kept for sites of which each message is answered by a new process.
        kept = {name: value for name, value in kept.items() if not name.endswith(ROWS)}
        if sum(map(attrgetter("size"), kept.values())) > MOST_KEPT:
            kept = {name: value for name, value in kept.items() if name == ANNOUNCED}
        self._kept = kept
        return answer.flat()


class Teller(Watch):
    """Says in a line what leaves with each answer, or that it was refused; it watches last."""

    def __init__(self, say: Callable[[str], None]):
        self._say = say

    def after(self, question: Question, answer: Answer) -> None:
        """Say what an answer gives away."""
        messages = leaving(question, answer)
        what = ", ".join(dict.fromkeys(message.what for message in messages)) or question.what
        round_of = f"round {question.round}: " if question.round else ""
        if answer.refused:
            self._say(f"{round_of}{what}: refused, {answer.refused}")
            return
        rows = {message.rows for message in messages if message.rows is not None}
        of_rows = f", from {min(rows)} rows" if rows else ""
        self._say(f"{round_of}{what}: {answer.packet.size / 1e3:.1f} kB{of_rows}")
