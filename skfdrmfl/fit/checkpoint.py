"""The checkpoint of a fit: a file from which the same fit, started again, goes on where it was killed.

The file holds what preparation has found, and where training stands. It is written after preparation, after every few
rounds and after the last one, and stays when the fit is done. No row is in it.

What a killed fit sent after its last writing is sent again, and with privacy paid for again. So the file of a private
fit is written before preparation too, and says how much may be sent before it is written next.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from skfdrmfl.common.archive import ArchiveError, from_bytes, read, to_bytes, write
from skfdrmfl.fit.fingerprint import differences
from skfdrmfl.fit.prepared_fit import NoCheckpoint, Repeats
from skfdrmfl.protocol.ledger import Ledger, Message
from skfdrmfl.protocol.replicas import Members
from skfdrmfl.server.history import Record
from skfdrmfl.server.trained import Best, ServerState, Trained

KIND, BEGUN = "checkpoint of a fit", "what a fit began with"
# Of what a file holds of training; files of another are refused.
FORMAT = 5
# What of `Record` is in it; the rest comes from the rows.
RECORDED = ("reports", "dropped", "validation", "validation_of_each", "best_round", "clip_norms")
ANEW = "name another checkpoint_path, or remove the file to train anew"


class Checkpoint(NoCheckpoint):
    """The file of one fit, written every so many rounds, of a fit with this `fingerprint`.

    With `is_private` what is sent again is counted. `found` says whether there was a file: `seed`, `preparation`,
    `repeats` and `goes_on` are then those of the fit in it.
    """

    keeps = True

    def __init__(
        self, path: str | os.PathLike[str], every: int, fingerprint: Mapping[str, str], *, is_private: bool = False
    ):
        self.path = Path(os.path.abspath(path))
        if self.path.is_dir() or not self.path.parent.is_dir():
            what = "is a folder" if self.path.is_dir() else "lies in a folder that does not exist"
            raise ValueError(f"checkpoint_path is {str(path)!r}, which {what}; name a file in a folder that exists.")
        self._every, self._n_rounds, self._is_private = every, 0, is_private
        self._fingerprint = dict(fingerprint)
        self._seen = self._stamp()
        self._training: dict[str, Any] | None = None
        self._ledger: Ledger | None = None  # that of the file
        self._counting = Ledger()
        self._texts: list[str] = []  # the JSON of each message of the ledger, put into words once
        self._last: tuple[Any, Ledger] | None = None
        self._written = -1
        self._begun = np.zeros(0, np.uint8)  # put into bytes once
        self.found = self._seen is not None
        if self.found:
            self._read()

    # ------------------------------------------------------------------------------------------- going on

    def _read(self) -> None:
        """Take what is in the file, if it is of this fit."""
        try:
            content = read(self.path, kind=KIND)
        except ArchiveError as error:
            raise self._error(f"where there is no whole checkpoint ({error}); {ANEW}.") from error
        if content.get("format") != FORMAT:
            raise self._error(f"which another version of skfdrmfl has written; go on with that one, {ANEW}.")
        if changed := differences(content["fingerprint"], self._fingerprint):
            raise self._error(
                f"which holds another fit: {'; '.join(changed)}. Go on with what it was, {ANEW}; fits that search or "
                "cross-validate need checkpoint_path=None."
            )
        self._begun, self._training = content["begun"], content["training"]
        begun = from_bytes(self._begun.tobytes(), kind=BEGUN)
        self.seed, self.preparation, self.goes_on = begun["seed"], begun["preparation"], self._training is not None
        if self._is_private:
            kept = content["repeats"]
            at_risk = kept.pop("at_risk")
            self.repeats = Repeats(**kept)
            if not begun["prepared"]:  # killed in the middle of it: what it had asked for, it asks again
                self.repeats = replace(self.repeats, preparations=self.repeats.preparations + 1)
                return
            self.repeats = replace(self.repeats, rounds=self.repeats.rounds + at_risk)
        counted = json.loads(content["ledger"].tobytes())
        counted["messages"] = [Message(*_tuples(entry)) for entry in counted["messages"]]
        counted["by_client"] = {d: np.array(sums, dtype=np.int64) for d, sums in counted["by_client"].items()}
        self._ledger = Ledger.from_dict(counted)

    def _error(self, fact: str) -> ValueError:
        """Return the error that says something of the file."""
        return ValueError(f"checkpoint_path is {str(self.path)!r}, {fact}")

    def prepare(self, seed: int, ledger: Ledger) -> None:
        """Write down that preparation begins, where what it asks for has to be paid for, unless it is done already."""
        if self._is_private and self._ledger is None:
            self._begin(seed, None, ledger, prepared=False)

    def begin(self, seed: int, preparation: Any, ledger: Ledger, n_rounds: int) -> Ledger:
        """Write the file, unless it was there, and return the ledger to count on with: that of the file, if any."""
        self._n_rounds = n_rounds
        self._counting = ledger if self._ledger is None else self._ledger
        if self._ledger is None:
            self._begin(seed, preparation, ledger, prepared=True)
            return ledger
        self._ledger.runs = tuple(dict.fromkeys((*self._ledger.runs, *ledger.runs)))
        if self._is_private:  # before anything is sent again, so that the next restart counts it too
            self._write(self._training, self._ledger)
        return self._ledger

    def _begin(self, seed: int, preparation: Any, ledger: Ledger, *, prepared: bool) -> None:
        """Write the file as it is before the first round."""
        begun = to_bytes({"seed": seed, "preparation": preparation, "prepared": prepared}, kind=BEGUN)
        self._begun = np.frombuffer(begun, np.uint8)
        self._write(None, ledger)

    def resume(self, members: Sequence[Members], number: int = 0) -> list[Trained] | None:
        """Return where the runs of a pass stood when the file was written; None: before the first round of that."""
        if self._training is None or number >= len(self._training["passes"]):
            return None
        self._written = self._training["n_rounds"]
        runs = self._training["passes"][number]
        return [_trained(kept, of_run) for kept, of_run in zip(runs, members, strict=True)]

    # ------------------------------------------------------------------------------------------ keeping it

    def follow(self, stand: Any) -> None:
        """Take note of where training stands, and write it down if it is time to."""
        self._last = stand, self._counting.copy()  # the ledger counts on while the next round is under way
        if stand.n_rounds % self._every == 0:
            self.flush()

    def flush(self) -> None:
        """Write where training stood last, unless the file is as far."""
        if self._last is None or self._last[0].n_rounds <= self._written:
            return
        stand, ledger = self._last
        passes = [[_content(trained) for trained in runs] for runs in stand.passes]
        self._write({"n_rounds": stand.n_rounds, "passes": passes}, ledger)
        self._written = stand.n_rounds

    def _write(self, training: dict[str, Any] | None, ledger: Ledger) -> None:
        """Write the file, unless somebody else has."""
        if self._stamp() not in (None, self._seen) and not self._is_as_left():
            raise self._error(
                "which something else has written while this fit went on; give each fit a path of its own, and fits "
                "that search or cross-validate checkpoint_path=None."
            )
        # Text: a tree of as many messages as a long fit has takes longer to write than a round to train.
        counted = ledger.to_dict(len(self._texts))
        self._texts += map(json.dumps, counted.pop("messages"))
        rest = json.dumps(counted, default=lambda numbers: numbers.tolist())
        text = f'{{"messages": [{",".join(self._texts)}], {rest[1:]}'
        content = {
            "format": FORMAT,
            "fingerprint": self._fingerprint,
            "begun": self._begun,
            "training": training,
            "ledger": np.frombuffer(text.encode(), np.uint8),
        }
        if self._is_private:
            n_done = 0 if training is None else training["n_rounds"]
            at_risk = max(0, min(self._every - n_done % self._every, self._n_rounds - n_done))
            content["repeats"] = {**asdict(self.repeats), "at_risk": at_risk}
        try:
            write(self.path, content, kind=KIND)
        finally:  # an interrupt may come when the file is there already
            self._seen = self._stamp()

    def _is_as_left(self) -> bool:
        """Return whether what is in the file is what this fit has put or found there: it may just have been touched."""
        try:
            content = read(self.path, kind=KIND)
        except (ArchiveError, OSError):
            return False
        training = content["training"]
        n_rounds = -1 if training is None else training["n_rounds"]
        before = content["fingerprint"], content["begun"].tobytes(), n_rounds
        return before == (self._fingerprint, self._begun.tobytes(), self._written)

    def _stamp(self) -> tuple[int, int, int] | None:
        """Return what tells the file there from any other; None: there is none."""
        try:
            stat = os.stat(self.path)
        except FileNotFoundError:
            return None
        return stat.st_ino, stat.st_mtime_ns, stat.st_size


def _content(trained: Trained) -> dict[str, Any]:
    """Return where training stands, without what comes from the rows."""
    best, record = trained.best, trained.record.joined
    return {
        "state": _parts(trained.state),
        "diverged": trained.diverged,
        "best": None if best is None else {**vars(best), "state": _parts(best.state)},
        **{name: getattr(record, name) for name in RECORDED},
    }


def _trained(kept: Mapping[str, Any], members: Members) -> Trained:
    """Return where a run stood, of which `_content` gave this."""
    recorded = {name: kept[name] for name in RECORDED}
    record = Record(positions=members.positions, sizes=members.sizes, **recorded)
    best = None if kept["best"] is None else Best(**{**kept["best"], "state": _state(kept["best"]["state"])})
    return Trained(_state(kept["state"]), record, best, kept["diverged"])


def _parts(state: ServerState) -> dict[str, Any]:
    """Return a state with its models in one array: a file of few arrays is written sooner."""
    return {**vars(state), "weights": np.stack((state.weights, *state.history)), "history": None}


def _state(parts: Mapping[str, Any]) -> ServerState:
    """Return the state of which `_parts` gave these."""
    weights, *history = parts["weights"]
    return ServerState(**{**parts, "weights": weights, "history": tuple(history)})


def _tuples(value: Any) -> Any:
    """Return lists of lists as tuples of tuples."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
