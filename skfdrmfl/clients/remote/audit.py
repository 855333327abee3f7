"""A site's own record of what has left it: a line for each message, on the disk before the answer leaves.

Names, shapes and bytes are the ledger's, so that the two can be held against each other (`differences`).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from io import FileIO
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

from skfdrmfl.clients.remote.watch import Answer, Question, Watch
from skfdrmfl.protocol.ledger import OF_MIXTURE, UP, FederationLog, bytes_of, shapes_of
from skfdrmfl.protocol.messages import HeldOutErrors
from skfdrmfl.protocol.plan import TRAINING_DTYPE
from skfdrmfl.server.training_ledger import answers_of

Entry = dict[str, Any]
# What a line ends with that a kill has torn, as the next to open the file has found it.
TORN = b" torn"
KEYS = {"site", "run", "round", "what", "shape", "bytes", "counted", "refused"}


class Leaving(NamedTuple):
    """A message as it leaves: what the ledger calls it, shapes of its arrays, bytes, and from how many rows it is.

    `fewest` are the rows of its smallest part, `counted` is whether the ledger counts it.
    """

    what: str
    shape: Any = ()
    bytes: int = 0
    rows: int | None = None
    fewest: int | None = None
    counted: bool = True


def leaving(question: Question, answer: Answer) -> list[Leaving]:
    """Return what an answer gives away, message by message; of a refusal what was asked for, of which nothing left."""
    if answer.refused:
        asked = [Leaving(one.name, rows=one.rows, fewest=one.fewest) for one in question.asked]
        return asked or [Leaving(question.what or "no request", counted=False)]
    if question.what in ("sum", "labels"):
        given = zip(question.content, question.asked, answer.value, strict=True)
        return [
            Leaving(query.name, shapes_of(part), bytes_of(part), one.rows, one.fewest)
            for query, one, part in given
            if part is not None
        ]
    plan = question.plan
    if question.what == "train" and plan is not None:
        n_runs, n_asked = len(plan.runs), len(question.content["runs"])
        n_bytes = n_asked * TRAINING_DTYPE.itemsize
        answers = zip(answers_of(plan.schedule, plan.network.layout.size), question.asked, strict=True)
        return [
            Leaving(what, shape if n_runs == 1 else (n_runs, *shape), n_bytes * prod(shape), one.rows, one.fewest)
            for (what, shape, _), one in answers
        ]
    if question.what == "held out":
        (one,) = question.asked
        of_runs = [int(answer.value.n_rows[run]) for run in question.content]
        return [Leaving(HeldOutErrors.name, ((),) * 4, 4 * 8, n, one.fewest) for n in of_runs]
    rows = answer.value["n_rows"] if question.what == "describe" else None
    return [Leaving(question.what, (), answer.packet.size, rows, rows, counted=False)]


class Audit(Watch):
    """Appends to a file of JSON lines what leaves a site and what is refused. See `watch.Watch`; it watches last.

    An answer leaves after its lines are on the disk. A line that a kill has torn is of an answer that did not leave:
    the next to open the file ends it, and says so.

    Parameters
    ----------
    path : str or path-like
        Made if it is not there; lines are appended, of several runs one after another.
    site : str
        What the site is called.
    policy : str
        The hash of the policy that it answers under; empty without one.

    Raises ValueError where the file is something else, and OSError where nothing can be appended.
    """

    def __init__(self, path: str | os.PathLike[str], site: Any, policy: str = ""):
        self.path, self._site, self._policy = Path(path), site, policy
        if self.path.exists() and (written := self.path.read_bytes()):
            if not written.startswith(b"{"):
                raise ValueError(f"{self.path} is no site's record; name another file.")
            read_audit(self.path)
            if not written.endswith(b"\n"):
                self._append(TORN + b"\n")
        self._opened().close()

    def after(self, question: Question, answer: Answer) -> None:
        """Write the lines of an answer before it leaves; OSError where they cannot be written."""
        text, data = answer.packet.flat()
        of_packet = {
            "refused": bool(answer.refused),
            "reason": answer.refused,
            "packet_bytes": len(text.encode()) + len(data),
            "sha256": hashlib.sha256(text.encode() + data).hexdigest(),
            "policy": self._policy,
        }
        time = datetime.now(UTC).isoformat(timespec="milliseconds")
        messages = leaving(question, answer)
        lines = [
            {"time": time, "site": self._site, "run": question.run, "round": question.round}
            | message._asdict()
            | of_packet
            | {"part": [number, len(messages)]}
            for number, message in enumerate(messages, start=1)
        ]
        self._append(b"".join(json.dumps(line, default=str).encode() + b"\n" for line in lines))

    def _opened(self) -> FileIO:
        return FileIO(self.path, "a", opener=partial(os.open, mode=0o600))

    def _append(self, data: bytes) -> None:
        """Write bytes to the end of the file, and onto the disk."""
        with self._opened() as file:
            while data:
                data = data[file.write(data) :]
            os.fsync(file)


def read_audit(path: str | os.PathLike[str]) -> list[Entry]:
    """Return the messages in a site's record; those of an answer that a kill has kept from leaving are left out.

    ValueError: a line is none of a record.
    """
    entries: list[Entry] = []
    parts: list[Entry] = []  # of an answer, as far as they are there
    *lines, _ = Path(path).read_bytes().split(b"\n")  # the last has no end: it is empty, or torn
    for number, line in enumerate(lines, start=1):
        if line.endswith(TORN):
            continue
        try:
            entry = json.loads(line)
            part, n_parts = entry["part"]
            if KEYS - entry.keys():
                raise KeyError("a key is missing")
        except (ValueError, TypeError, KeyError):
            raise ValueError(
                f"{os.fspath(path)}: line {number} is none of a site's record; name the file that the site has written."
            ) from None
        parts = [*parts, entry] if part > 1 else [entry]
        if part == n_parts:
            entries += parts
    return entries


def differences(log: FederationLog, records: Mapping[Any, Sequence[Entry]]) -> list[str]:
    """Return in sentences how a server's ledger differs from the records of some of its sites, by label.

    With the records of all sites every message of the ledger is in them and none is missing; with those of some, what
    these have sent is in the ledger. Runs that the ledger does not count are left out. With privacy, when the ledger
    knows no site and counts those expected, no record has a kind of message that the ledger lacks.
    """
    of_runs = {site: [e for e in entries if is_counted(e, log)] for site, entries in records.items()}
    said = []
    known = set(map(str, log.clients))
    for row in log.by_client():
        if (entries := of_runs.get(row["client"])) is not None:
            sent = sum(entry["bytes"] for entry in entries)
            if sent != row["sent"]:
                said.append(f"{row['client']!r}: {sent} bytes in its record, {row['sent']} in the ledger")
    said += [f"{site!r} is no site of the ledger" for site in of_runs if log.clients and str(site) not in known]
    ledger, ledger_bytes = _totals((m.round, m.what, m.shape, m.clients, m.bytes) for m in log if m.direction == UP)
    there, there_bytes = _totals(
        (e["round"], e["what"], e["shape"], 1, e["bytes"]) for entries in of_runs.values() for e in entries
    )
    whole = known == set(map(str, of_runs))
    for key in dict.fromkeys((*ledger, *there)):
        number, what, shape = key
        here = f"round {number}, {what} {shape}: {there[key]} messages of {there_bytes[key]} bytes in the records"
        counted = f"{ledger[key]} of {ledger_bytes[key]} in the ledger"
        if not known:
            differs = not ledger[key]
        elif whole:
            differs = (there[key], there_bytes[key]) != (ledger[key], ledger_bytes[key])
        else:
            differs = there[key] > ledger[key]
        if differs:
            said.append(f"{here}, {counted}")
    return said


def _totals(messages: Iterable[tuple[int, str, Any, int, int]]) -> tuple[Counter[Any], Counter[Any]]:
    """Return how many messages there are of each round, kind and shape, and of how many bytes."""
    numbers: Counter[Any] = Counter()
    sizes: Counter[Any] = Counter()
    for number, what, shape, n, n_bytes in messages:
        key = number, what.removeprefix(OF_MIXTURE), json.dumps(shape)
        numbers[key] += n
        sizes[key] += n_bytes
    return numbers, sizes


def is_counted(entry: Entry, log: FederationLog) -> bool:
    """Return whether a ledger counts a message of a site."""
    return entry["counted"] and not entry["refused"] and entry["run"] in log.runs


def sites_of(paths: Iterable[str | os.PathLike[str]]) -> dict[Any, list[Entry]]:
    """Return the messages in some records by what their sites are called."""
    found: dict[Any, list[Entry]] = {}
    for path in paths:
        for entry in read_audit(path):
            found.setdefault(entry["site"], []).append(entry)
    return found
