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
from skfdrmfl.protocol.algorithm_state import AlgorithmState
from skfdrmfl.protocol.ledger import Ledger, Message
from skfdrmfl.protocol.replicas import Members
from skfdrmfl.server.history import Record
from skfdrmfl.server.trained import Best, ServerState, Trained

KIND, BEGUN = "checkpoint of a fit", "what a fit began with"
# Of what a file holds of training; files of another are refused.
FORMAT = 4
# What of `Record` is in it; the rest comes from the rows.
RECORDED = ("reports", "dropped", "validation", "validation_of_each", "best_round", "clip_norms")
ANEW = "name another checkpoint_path, or remove the file to train anew"


class Checkpoint(NoCheckpoint):
    """The file of one fit, written every so many rounds, of a fit with this `fingerprint`.

    With `is_private` what is sent again is counted. `found` says whether there was a file: `seed`, `preparation`,
    `repeats` and `goes_on` are then those of the fit in it.

    Raises ValueError where what is there is no checkpoint, damaged, or of a fit with another fingerprint, or where
    there is no such folder.
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
        self._fingerprint = json.dumps(fingerprint)
        self._seen = self._stamp()
        self._training: dict[str, Any] | None = None
        self._ledger: Ledger | None = None  # that of the file
        self._counting = Ledger()
        self._texts: list[str] = []  # the JSON of each message of the ledger, so that each is put into words once
        self._last: tuple[Any, Ledger, dict[str, Any]] | None = None
        self._written = -1
        self._begun = np.zeros(0, np.uint8)
        self.found = self._seen is not None
        if self.found:
            self._read(fingerprint)

    # ------------------------------------------------------------------------------------------- going on

    def _read(self, fingerprint: Mapping[str, str]) -> None:
        """Take what is in the file, if it is of this fit."""
        try:
            content = read(self.path, kind=KIND)
        except ArchiveError as error:
            raise ValueError(
                f"checkpoint_path is {str(self.path)!r}, where there is no whole checkpoint ({error}); {ANEW}."
            ) from error
        if content.get("format") != FORMAT:
            raise ValueError(
                f"checkpoint_path is {str(self.path)!r}, which another version of skfdrmfl has written; go on with "
                f"that one, {ANEW}."
            )
        if changed := differences(json.loads(content["fingerprint"]), fingerprint):
            raise ValueError(
                f"checkpoint_path is {str(self.path)!r}, which holds another fit: {'; '.join(changed)}. Go on with "
                f"what it was, {ANEW}; fits that search or cross-validate need checkpoint_path=None."
            )
        self._begun, self._training = content["begun"], content["training"]
        self.goes_on = self._training is not None
        begun = from_bytes(self._begun.tobytes(), kind=BEGUN)
        self.seed, self.preparation = begun["seed"], begun["preparation"]
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
            self._write(self._training, self._ledger, self._ledger.mark())
        return self._ledger

    def _begin(self, seed: int, preparation: Any, ledger: Ledger, *, prepared: bool) -> None:
        """Write the file as it is before the first round."""
        begun = to_bytes({"seed": seed, "preparation": preparation, "prepared": prepared}, kind=BEGUN)
        self._begun = np.frombuffer(begun, np.uint8)
        self._write(None, ledger, ledger.mark())

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
        ledger = self._counting
        self._last = stand, ledger, ledger.mark()  # the ledger counts on while the next round is under way
        if stand.n_rounds % self._every == 0:
            self.flush()

    def flush(self) -> None:
        """Write where training stood last, unless the file is as far."""
        if self._last is None or self._last[0].n_rounds <= self._written:
            return
        stand, ledger, mark = self._last
        passes = [[_content(trained) for trained in runs] for runs in stand.passes]
        self._write({"n_rounds": stand.n_rounds, "passes": passes}, ledger, mark)
        self._written = stand.n_rounds

    def _write(self, training: dict[str, Any] | None, ledger: Ledger, mark: dict[str, Any]) -> None:
        """Write the file, unless somebody else has."""
        if self._stamp() not in (None, self._seen) and not self._is_as_left():
            raise ValueError(
                f"checkpoint_path is {str(self.path)!r}, which something else has written while this fit went on; give "
                "each fit a path of its own, and fits that search or cross-validate checkpoint_path=None."
            )
        n_messages = mark["n_messages"]
        self._texts += [json.dumps(message, default=int) for message in ledger.messages[len(self._texts) : n_messages]]
        by_client = {direction: counted.tolist() for direction, counted in mark["by_client"].items()}
        rest = json.dumps({name: mark[name] for name in ("exchanges", "round", "runs")} | {"by_client": by_client})[1:]
        messages = np.frombuffer(f'{{"messages": [{",".join(self._texts)}], {rest}'.encode(), np.uint8)
        content = {
            "format": FORMAT,
            "fingerprint": self._fingerprint,
            "begun": self._begun,
            "training": training,
            "ledger": messages,
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


# -------------------------------------------------------------------------------- training as plain values


def _content(trained: Trained) -> dict[str, Any]:
    """Return where training stands as plain values and arrays."""
    best = trained.best
    return {
        "state": _parts(trained.state),
        "diverged": trained.diverged,
        "best": None if best is None else {**vars(best), "state": _parts(best.state)},
        **{name: getattr(trained.record.joined, name) for name in RECORDED},
    }


def _trained(kept: Mapping[str, Any], members: Members) -> Trained:
    """Return where a run stood, of which `_content` gave this."""
    recorded = {name: kept[name] for name in RECORDED}
    record = Record(positions=members.positions, sizes=members.sizes, **recorded)
    best = None if kept["best"] is None else Best(**{**kept["best"], "state": _state(kept["best"]["state"])})
    return Trained(_state(kept["state"]), record, best, kept["diverged"])


def _parts(state: ServerState) -> dict[str, Any]:
    """Return a state as plain values and arrays."""
    memory = {part: dict(arrays) for part, arrays in vars(state.memory).items()}
    return {
        "models": np.stack((state.weights, *state.history)),
        "round_index": state.round_index,
        "memory": memory,
    }


def _state(parts: Mapping[str, Any]) -> ServerState:
    """Return the state of which `_parts` gave these."""
    weights, *history = parts["models"]
    return ServerState(weights, tuple(history), parts["round_index"], AlgorithmState(**parts["memory"]))


def _tuples(value: Any) -> Any:
    """Return lists of lists as tuples of tuples."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
