"""What a site gives, as its officer says it, read from a file and checked."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from hashlib import blake2b
from math import inf
from pathlib import Path
from typing import Any

import numpy as np

from skfdrmfl.server.aggregation import AGGREGATIONS, PREAGGREGATIONS
from skfdrmfl.server.algorithms import ALGORITHMS

# What can leave, as the ledger calls it: see docs/privacy.md.
OF_MIXTURES = ("products by fold", "products of errors", "products of scores", "responses of the mixture")
QUERIES = (
    *("medians", "products of usual rows", "counts of usual distances", "counts of suspects"),
    *("labels of categories", "rows by modality", "magnitudes of columns", "sums of columns", "absolute deviations"),
    *("products of columns", "squared deviations", "products of neighbours", "products with directions"),
    *OF_MIXTURES,
    *("errors on rows held out", "counts of errors"),
    *("parameters", "gradients", "mean gradients", "local steps", "loss terms", "clipped moments", "clipped updates"),
    *("updates within the clip", "responses and spreads", "sums of Z", "products of Z", "counts of distances"),
)
# Entries that count from one message or run to the next.
COUNTED = ("epsilon", "runs", "rounds", "messages", "bytes")
_AGGREGATIONS = (*AGGREGATIONS, *PREAGGREGATIONS)


@dataclass(frozen=True)
class SitePolicy:
    """What a site gives, whatever a server asks; `SitePolicy.from_toml` reads it from a file.

    Held to it is what comes: questions, plans and what leaves, over any transport. What is refused is answered with the
    name of the entry, its value and that of the question. None sets no limit.

    Parameters
    ----------
    fewest_rows : int, default=10
        Of which any answer is made: of the site, of each fold, modality and label that the answer tells of, and of the
        rows that it leaves out.
    queries : sequence of str, optional
        What may leave, as `federation_log_` calls it.
    names : bool, default=True
        Whether names of columns may leave. A hash by which sites are compared always does.
    tuning, early_stopping : bool, default=True
        Whether sums by fold may leave, and errors on rows held out.
    algorithms, aggregations : sequence of str, optional
        Which values of `algorithm`, and of `aggregation` and `preaggregation`, a plan may have.
    noise_multiplier, clip_norm : float, optional
        The least `dp_noise_multiplier` and the largest `dp_clip_norm`. With either, only what is private leaves.
    bounds : dict, optional
        The widest `dp_bounds`: {"X": (low, high), "y": (low, high)}, numbers or one for each column.
    epsilon, delta : float, optional
        What all runs together may cost, by the noise, sampling and rounds of the plans that came.
    runs : int, optional
        How many runs there may be.
    rounds, messages, bytes : int, optional
        How many rounds a run may train, how many answers it gets, and how many bytes these have together.
    state : str or path-like, optional
        A file in which `epsilon`, `runs`, `rounds`, `messages` and `bytes` count, over restarts and runs.

    Raises ValueError or TypeError that name the entry, its value and the remedy.
    """

    fewest_rows: int = 10
    queries: tuple[str, ...] | None = None
    names: bool = True
    tuning: bool = True
    early_stopping: bool = True
    algorithms: tuple[str, ...] | None = None
    aggregations: tuple[str, ...] | None = None
    noise_multiplier: float | None = None
    clip_norm: float | None = None
    bounds: Mapping[str, Any] | None = None
    epsilon: float | None = None
    delta: float | None = None
    runs: int | None = None
    rounds: int | None = None
    messages: int | None = None
    bytes: int | None = None
    state: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        for name, known in (("queries", QUERIES), ("algorithms", ALGORITHMS), ("aggregations", _AGGREGATIONS)):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, _texts(name, value, known))
        for name in ("names", "tuning", "early_stopping"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"{name} is {getattr(self, name)!r}; set true or false.")
        for name in ("fewest_rows", "runs", "rounds", "messages", "bytes"):
            _check_number(name, getattr(self, name), whole=True, may_be_none=name != "fewest_rows")
        for name in ("noise_multiplier", "clip_norm", "epsilon", "delta"):
            _check_number(name, getattr(self, name), whole=False)
        if (self.epsilon is None) != (self.delta is None):
            missing = "delta" if self.delta is None else "epsilon"
            raise ValueError(f"{missing} is not set, and means nothing without the other; set epsilon and delta.")
        if self.epsilon is not None and self.noise_multiplier is None:
            fact = "epsilon is set, but no noise_multiplier, which what is asked for before a plan has to have"
            raise ValueError(f"{fact}; set the least noise_multiplier too.")
        if self.delta is not None and self.delta >= 1:
            raise ValueError(f"delta is {self.delta}; set a probability, less than one over the number of sites.")
        if self.bounds is not None:
            _check_bounds(self.bounds)
        if self.state is not None and not isinstance(self.state, (str, os.PathLike)):
            raise TypeError(f"state is {self.state!r}; set the path of a file.")
        if self.counts and self.state is None:
            raise ValueError(f"{self.counts[0]} is {getattr(self, self.counts[0])}, but no file counts; set state.")

    @classmethod
    def from_toml(cls, path: str | os.PathLike[str]) -> SitePolicy:
        """Return the policy of a TOML file, an entry a line.

        Paths are relative to the file. What has to be counted and names no `state` is counted beside it.
        """
        path = Path(path)
        try:
            entries = tomllib.loads(path.read_text(encoding="utf-8-sig"))  # some editors mark a file
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ValueError(
                f"{path} is no TOML ({error}); write an entry a line, such as fewest_rows = 10."
            ) from error
        known = [field.name for field in fields(cls)]
        for name, value in entries.items():
            if name not in known:
                raise ValueError(f"{path}: {name} is no entry of a policy; the entries are {', '.join(known)}.")
            if isinstance(value, list):
                entries[name] = tuple(value)
        if any(entries.get(name) is not None for name in COUNTED):
            entries.setdefault("state", f"{path.name}.state.json")
        if isinstance(entries.get("state"), str):
            entries["state"] = str(path.parent / entries["state"])
        try:
            return cls(**entries)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{path}: {error}") from error

    @property
    def counts(self) -> list[str]:
        """The entries that need a file to count in."""
        return [name for name in COUNTED if getattr(self, name) is not None]

    @property
    def digest(self) -> str:
        """A hash of all entries but `state`, by which others know the policy again."""
        entries = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "state"}
        return blake2b(json.dumps(entries, default=_plain, sort_keys=True).encode(), digest_size=16).hexdigest()


def _texts(name: str, value: Any, known: Any) -> tuple[str, ...]:
    if isinstance(value, str) or not all(isinstance(entry, str) for entry in value):
        raise TypeError(f"{name} is {value!r}; set a list of texts.")
    unknown = [entry for entry in value if entry not in known]
    if unknown:
        raise ValueError(f"{name} has {unknown[0]!r}, which there is not; choose among {', '.join(sorted(known))}.")
    return tuple(value)


def _check_number(name: str, value: Any, *, whole: bool, may_be_none: bool = True) -> None:
    if value is None and may_be_none:
        return
    kinds = (int, np.integer) if whole else (int, float, np.integer, np.floating)
    if isinstance(value, bool) or not isinstance(value, kinds):
        raise TypeError(f"{name} is {value!r}; set a {'whole number' if whole else 'number'}.")
    if not 0 < value < inf:
        raise ValueError(f"{name} is {value}; set a finite number above 0.")


def _check_bounds(bounds: Any) -> None:
    for name in ("X", "y"):
        try:
            low, high = (np.asarray(side, dtype=np.float64) for side in bounds[name])
            if set(bounds) - {"X", "y"} or not np.all(low < high):
                raise ValueError(name)
        except (KeyError, TypeError, ValueError) as error:
            remedy = "set {X = [low, high], y = [low, high]}, each low below its high"
            raise ValueError(f"bounds is {bounds!r}; {remedy}.") from error


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else dict(value)
