"""Questions to clients who are elsewhere, and what becomes of those who do not answer."""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from skfdrmfl.clients.remote.channel import (
    A_REFUSAL,
    AN_ERROR,
    DONE,
    FAILED,
    LOST,
    NO_ANSWER,
    NOT_AS_ASKED,
    REFUSED,
    WHO,
    Channel,
)
from skfdrmfl.clients.remote.codec import from_packet, to_packet
from skfdrmfl.clients.remote.packet import Packet, Request, WireError
from skfdrmfl.protocol.door import NoAnswer
from skfdrmfl.protocol.dropped_clients import DroppedClient
from skfdrmfl.protocol.ledger import shapes_of

# How often a question is put to a client that has lost what it was given.
TIMES = 3
# How often, at least, one that everybody must answer is put to who is silent, and the seconds between.
PATIENCE, PAUSE = 2, 5.0
# How many characters of what a client says are told.
MOST_SAID = 1000


@dataclass(frozen=True)
class Silence:
    """Why a client has not answered."""

    reason: str
    detail: str = ""


class Exchange:
    """All that is said to clients who are elsewhere, by their addresses and labels in the order of positions.

    `missed` keeps who has not answered what, and why. `run` is the name that clients know the fit by, `rows` how many
    each has announced.
    """

    def __init__(
        self,
        channel: Channel,
        addresses: Sequence[Any],
        labels: Sequence[Any],
        run: str = "",
        rows: Mapping[int, int] | None = None,
    ):
        self.channel, self._addresses, self.labels = channel, list(addresses), list(labels)
        self._known: list[set[str]] = [set() for _ in self._addresses]
        self._silent: set[int] = set()  # who has not answered the last time
        self._standing: dict[str, Packet] = {}
        self._objects: dict[str, Any] = {}  # what stands in these packets
        self._last = ""
        self.shared: list[str] = []  # names of what many questions hold: what the plan reads
        self.run, self._n_names = run or secrets.token_hex(8), 0
        self._rows = rows or {}
        self.round = 0  # that the ledger counts in
        self.missed: list[DroppedClient] = []

    # ------------------------------------------------------------------------------------- what clients keep

    def keep(self, value: Any) -> str:
        """Return a name for what clients are given once, and keep; it goes to each with the first question about it.

        What is shared stands in it by name.
        """
        self._n_names += 1
        name = f"{self.run}.{self._n_names}"
        self._standing[name], self._objects[name] = to_packet(value, self._named(self.shared)), value
        return name

    def kept(self, name: str) -> Any:
        """Return what has a name."""
        return self._objects[name]

    def keep_last(self, value: Any) -> str:
        """Return the name of a value that clients keep until they are given another one in this way."""
        if self._objects.get(self._last) is not value:
            self.forget(self._last)
            self._last = self.keep(value)
        return self._last

    def forget(self, name: str) -> None:
        """Let clients forget what has a name."""
        self._standing.pop(name, None)
        self._objects.pop(name, None)

    def forget_all_but(self, *names: str) -> None:
        """Let clients forget everything else."""
        self.shared = []
        for name in self._standing.keys() - set(names):
            self.forget(name)

    def knows(self, position: int, name: str) -> bool:
        """Return whether a client is taken to have what has a name."""
        return name in self._known[position]

    # ---------------------------------------------------------------------------------------------- questions

    def ask(
        self,
        what: str,
        about: Mapping[int, Any],
        needs: Sequence[str] = (),
        check: Callable[[int, Any], None] | None = None,
    ) -> tuple[dict[int, Any], dict[int, Silence]]:
        """Return the answers by position, in the order of `about`, and why the others have not answered.

        What clients must have stands in the questions by name, and `needs` are the names. `check` raises a WireError
        where a position's answer is not as it must be.
        """
        found: dict[int, Any] = {}
        there = self._find(about)
        silent = {p: Silence(NO_ANSWER) for p in about if p not in there}
        waiting = [p for p in about if p in there]
        questions = {id(question): question for question in about.values()}  # one for many, or each its own
        names = self._named(needs)
        written = {key: to_packet(question, names) for key, question in questions.items()}
        for _ in range(TIMES if waiting else 0):
            replies = self.channel.ask(
                {self._addresses[p]: self._request(what, p, written[id(about[p])], needs) for p in waiting}
            )
            again = []
            for p in waiting:
                reply = replies.get(self._addresses[p])
                if reply is None:
                    silent[p] = Silence(NO_ANSWER)
                    self._silent.add(p)
                    continue
                self._silent.discard(p)
                try:
                    kind, answer = from_packet(reply)
                    if kind == LOST:
                        self._known[p] -= set(answer)
                        again.append(p)
                    elif kind in (FAILED, REFUSED):
                        silent[p] = Silence(AN_ERROR if kind == FAILED else A_REFUSAL, _short(answer))
                    elif kind == DONE:
                        if check is not None:
                            check(p, answer)
                        found[p] = answer
                        self._known[p] = (self._known[p] | set(needs)) & self._standing.keys()
                    else:
                        raise WireError("an answer of no known kind")
                except Exception as error:  # whatever a client says, it ends nothing but its own part
                    silent[p] = Silence(NOT_AS_ASKED, _short(error))
            waiting = again
            if not waiting:
                break
        silent |= {p: Silence(NOT_AS_ASKED, "it lost what it was given again and again") for p in waiting}
        return {p: found[p] for p in about if p in found}, silent

    def ask_all(
        self,
        what: str,
        about: Mapping[int, Any],
        needs: Sequence[str] = (),
        check: Callable[[int, Any], None] | None = None,
    ) -> dict[int, Any]:
        """Return everybody's answers by position; who is not there is waited for, and asked again.

        Raises NoAnswer where some have not answered.
        """
        found: dict[int, Any] = {}
        silent: dict[int, Silence] = {}
        end = time.monotonic() + self.channel.wait
        for tries in itertools.count(1):
            left = {p: question for p, question in about.items() if p not in found}
            answers, silent = self.ask(what, left, needs, check)
            found |= answers
            if not silent:
                return {p: found[p] for p in about}
            if all(silence.reason != NO_ANSWER for silence in silent.values()):
                break
            if tries >= PATIENCE and time.monotonic() > end:
                break
            time.sleep(min(PAUSE, self.channel.wait))
        raise self.stopped(silent, len(about))

    def check_alike(self, answers: Mapping[int, Sequence[Any]]) -> None:
        """Check that the answers to each of some queries are of one form, that of most.

        Raises NoAnswer where some are of another form: added up, arrays of unlike shapes would be stretched in silence.
        """
        odd: dict[int, Silence] = {}
        for of_query in zip(*answers.values(), strict=True):
            # Parts that can be added up are sets, or of one shape.
            forms = [None if a is None else (type(a), shapes_of(a)) for a in of_query]
            given = [form for form in forms if form is not None]
            usual = max(given, key=given.count) if given else None
            for p, form in zip(answers, forms, strict=True):
                if form is not None and form != usual:
                    odd[p] = Silence(NOT_AS_ASKED, "of another form than what most say")
        if odd:
            raise self.stopped(odd, len(answers))

    def stopped(self, silent: Mapping[int, Silence], n_asked: int) -> NoAnswer:
        """Return the error that names who is silent, and keep it in mind."""
        self.note(silent, ())
        names = "; ".join(
            f"{self.labels[p]!r}: {s.reason}{f' ({s.detail})' if s.detail else ''}" for p, s in silent.items()
        )
        remedy = "start them again, then the fit, which goes on from its checkpoint_path where it has one"
        reasons = {silence.reason for silence in silent.values()}
        if reasons == {A_REFUSAL}:
            remedy = "ask for what they give, or ask them"
        elif reasons == {AN_ERROR}:
            remedy = "let them mend what their logs say, then fit again"
        return NoAnswer(
            f"{len(silent)} of {n_asked} clients did not answer ({names}), and this cannot be worked out without "
            f"them; {remedy}.",
            tuple(silent),
        )

    def _find(self, positions: Iterable[int]) -> set[int]:
        """Return which of some positions can be asked; who has another address now is looked for there.

        Who was silent is looked for too: a channel may take long to see that nobody is at an address any more.
        """
        now = self.channel.addresses()
        missing = [p for p in positions if self._addresses[p] not in now or p in self._silent]
        strangers = [address for address in now if address not in self._addresses] if missing else []
        if strangers:
            who = {address: Request(WHO, -1, to_packet(None), run=self.run).packet() for address in strangers}
            for address, reply in self.channel.ask(who).items():
                with suppress(Exception):
                    kind, label = from_packet(reply)
                    if kind == DONE and label in self.labels:
                        p = self.labels.index(label)
                        if p in missing:
                            self._addresses[p], self._known[p] = address, set()
        return {p for p in positions if self._addresses[p] in now}

    def note(self, silent: Mapping[int, Silence], rounds: Sequence[int]) -> None:
        """Keep who has not answered, and in which rounds, for `dropped_clients_`."""
        for p, silence in silent.items():
            self.missed.append({"client": self.labels[p], "reason": silence.reason, "rounds": list(rounds)})

    def _named(self, names: Iterable[str]) -> dict[int, str]:
        """Return names by the ids of what they stand for."""
        return {id(self._objects[name]): name for name in names}

    def _request(self, what: str, position: int, about: Packet, needs: Sequence[str]) -> Packet:
        missing = {name: self._standing[name] for name in needs if name not in self._known[position]}
        keep = tuple(self._standing)
        rows = self._rows.get(position, -1)
        return Request(what, position, about, tuple(needs), missing, keep, self.run, rows, self.round).packet()


def _short(said: Any) -> str:
    """Return what a client says, as much of it as a message has room for."""
    text = str(said)
    return text if len(text) <= MOST_SAID else f"{text[:MOST_SAID]}..."
