"""What a site gives, as its officer says it, and who holds the questions that come to that."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from hashlib import blake2b
from math import inf, sqrt
from pathlib import Path
from typing import Any

import numpy as np

from skfdrmfl.clients.remote.packet import Packet, Refusal
from skfdrmfl.clients.remote.watch import Answer, Question
from skfdrmfl.data.held_out import EVERYTHING, Fold, Split, Subset
from skfdrmfl.protocol.plan import Plan
from skfdrmfl.server.aggregation import AGGREGATIONS, PREAGGREGATIONS
from skfdrmfl.server.algorithms import ALGORITHMS
from skfdrmfl.server.privacy.accountant import Expense, epsilon
from skfdrmfl.server.privacy.moments import MOMENTS_NOISE, ClippedMoments

# What can leave, as the ledger calls it: see docs/privacy.md.
OF_MIXTURES = ("products by fold", "products of errors", "products of scores", "responses of the mixture")
QUERIES = (
    *("labels of categories", "rows by modality", "magnitudes of columns", "sums of columns", "absolute deviations"),
    *("products of columns", "squared deviations", "products of neighbours", "products with directions"),
    *OF_MIXTURES,
    *("errors on rows held out", "counts of errors"),
    *("parameters", "gradients", "mean gradients", "local steps", "loss terms", "clipped moments", "clipped updates"),
    *("updates within the clip", "responses and spreads", "sums of Z", "products of Z", "counts of distances"),
)
# How often one run may part the rows: rows held out to stop early, and folds of the others. Sums over ever other parts
# would add up to single rows.
MOST_PARTINGS = 2
# A site that is invited by chance is so more often than expected by so many standard deviations once in a million runs.
BEYOND_CHANCE = 5.0


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
            entries = tomllib.loads(path.read_text(encoding="utf-8"))
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


# Entries that count from one message or run to the next.
COUNTED = ("epsilon", "runs", "rounds", "messages", "bytes")
_AGGREGATIONS = (*AGGREGATIONS, *PREAGGREGATIONS)


@dataclass(frozen=True)
class Protection:
    """What differential privacy has to be at least: nothing else of the rows leaves."""

    called: str  # what names of parameters are called in refusals, such as "{} of the policy"
    noise_multiplier: float = 0.0
    clip_norm: float = inf
    bounds: Mapping[str, Any] | None = None

    def check(self, question: Question) -> None:
        """Raise Refusal where what is asked is not as private."""
        if question.what in ("who", "describe", "names", "differs"):
            return
        if question.what == "sum":
            for query in question.content:
                if not isinstance(query, ClippedMoments):
                    raise self._refusal(query.name, "leaves without noise")
                self._check_moments(query)
        elif question.what == "train" and question.plan is not None:
            self._check_plan(question.plan)
        else:
            raise self._refusal(question.what, "leaves without noise")

    def _check_plan(self, plan: Plan) -> None:
        privacy = plan.schedule.privacy
        if privacy is None or any(run.subset is not EVERYTHING or run.held_out is not None for run in plan.runs):
            raise self._refusal("training", "has no noise in the server's plan")
        for name, mine, planned, more in (
            ("noise_multiplier", self.noise_multiplier, privacy.noise_multiplier, "more"),
            ("clip_norm", self.clip_norm, privacy.clip_norm, "less"),
        ):
            if not (planned >= mine if more == "more" else 0 < planned <= mine):
                raise Refusal(
                    f"{self.called.format(name)} is {mine} but {planned} in the server's plan; let the server's "
                    f"estimator have as much or {more}."
                )

    def _check_moments(self, query: ClippedMoments) -> None:
        if query.subset is not EVERYTHING:
            raise self._refusal(query.name, "is of some rows alone")
        for block, theirs in zip(query.blocks, query.bounds, strict=True):
            low, high = _pair(self.bounds, block.columns)
            if not (np.all(theirs.low >= low) and np.all(theirs.high <= high)):
                name = "y" if block.columns is None else "X"
                raise Refusal(
                    f"{self.called.format('bounds')} are {self.bounds!r}, and those of {name} that come are wider; "
                    "let the server's dp_bounds be as narrow."
                )

    def _refusal(self, name: str, why: str) -> Refusal:
        entry, value = ("noise_multiplier", self.noise_multiplier)
        if not value:
            entry, value = ("clip_norm", self.clip_norm)
        return Refusal(
            f"{name!r} {why}, but {self.called.format(entry)} is {value}; let the server's estimator have it too."
        )


class PolicyWatch:
    """Holds what is asked of a site, and what leaves, to a policy. See `remote.watch.Watch`."""

    def __init__(self, policy: SitePolicy):
        self.policy = policy
        self._memory: dict[str, Any] = {"runs": {}}
        self._protection = None
        if policy.noise_multiplier is not None or policy.clip_norm is not None:
            self._protection = Protection(
                "{} of the site's policy", policy.noise_multiplier or 0.0, policy.clip_norm or inf, policy.bounds
            )

    def before(self, question: Question) -> None:
        """Raise Refusal where a question asks for more than the policy gives."""
        policy = self.policy
        if question.what == "names" and not policy.names:
            raise Refusal("names of columns do not leave: names is false in the site's policy; let another site say.")
        for one in question.asked:
            if policy.queries is not None and one.name not in policy.queries:
                raise Refusal(f"{one.name!r} is not among queries of the site's policy; ask for no such thing.")
            if not policy.tuning and one.name in OF_MIXTURES:
                raise Refusal(f"{one.name!r}: tuning is false in the site's policy; set tuning=None at all ends.")
            if one.fewest < policy.fewest_rows:
                raise few_rows(one.name, one.fewest, policy.fewest_rows)
        for parting in map(_parting, _subsets(question)):
            if parting and parting[0] == "fold" and not policy.tuning:
                raise Refusal("folds are asked for, but tuning is false in the site's policy; set tuning=None.")
            if parting and "split" in (parting[0], (parting[-1] or [""])[0]) and not policy.early_stopping:
                raise Refusal("rows are held out, but early_stopping is false in the site's policy; set it to False.")
        if question.plan is not None:
            self._check_plan(question.plan)
        if self._protection is not None:
            self._protection.check(question)
        with self._counted() as counts:
            self._count(question, _of_run(counts, question.run, policy.runs), counts)

    def after(self, question: Question, answer: Answer) -> None:
        """Count what leaves; Refusal where it is too much, or of too few rows."""
        policy = self.policy
        if answer.refused or question.what == "who":
            return
        if question.what == "describe" and answer.value["n_rows"] < policy.fewest_rows:
            raise few_rows("a description", answer.value["n_rows"], policy.fewest_rows)
        with self._counted() as counts:
            run = _of_run(counts, question.run, policy.runs)
            run["bytes"] += size_of(answer.packet)
            if policy.bytes is not None and run["bytes"] > policy.bytes:
                run["bytes"] -= size_of(answer.packet)
                raise _too_many("bytes", policy.bytes)

    def _check_plan(self, plan: Plan) -> None:
        policy, schedule = self.policy, plan.schedule
        for name, value, allowed in (
            ("algorithm", schedule.algorithm, policy.algorithms),
            ("aggregation", schedule.aggregation, policy.aggregations),
            ("preaggregation", schedule.preaggregation, policy.aggregations),
        ):
            if allowed is not None and value is not None and value not in allowed:
                raise Refusal(
                    f"{name} is {value!r} in the server's plan, and the site's policy allows {', '.join(allowed)}; "
                    "choose one of these."
                )

    def _count(self, question: Question, run: dict[str, Any], counts: dict[str, Any]) -> None:
        """Count a question before it is answered; Refusal where there were enough."""
        policy = self.policy
        for subset in _subsets(question):
            parting = _parting(subset)
            if parting and parting not in run["partings"]:
                run["partings"].append(parting)
        if len(run["partings"]) > MOST_PARTINGS:
            raise Refusal(
                f"rows are parted in more than {MOST_PARTINGS} ways, and sums over ever other parts add up to single "
                "rows; fit one model in a run."
            )
        if question.what == "who":
            return
        run["messages"] += 1
        run["rounds"] += question.what == "train"
        for name in ("messages", "rounds"):
            most = getattr(policy, name)
            if most is not None and run[name] > most:
                raise _too_many(name, most)
        if self._protection is not None:
            self._charge(question, run, counts)

    def _charge(self, question: Question, run: dict[str, Any], counts: dict[str, Any]) -> None:
        """Put what a question costs on the bill, rounds by the plan that they are of; Refusal where it is too much."""
        expense = None
        if question.what == "sum":
            multiplier = MOMENTS_NOISE * (self.policy.noise_multiplier or 0.0)
            run["moments"] += 1
            expense = ["preprocessing", multiplier, 1.0, run["moments"]]
        elif question.plan is not None and (privacy := question.plan.schedule.privacy) is not None:
            n_rounds, q = len(question.plan.schedule.rate_factors), privacy.sampling_rate
            if run["rounds"] > q * n_rounds + BEYOND_CHANCE * sqrt(q * (1 - q) * n_rounds) + 1:
                raise Refusal(
                    f"asked to train {run['rounds']} times, but {n_rounds} rounds that each invite by a chance of {q} "
                    "hardly ever do; let the server draw as its plan says."
                )
            expense = ["training rounds", privacy.noise_multiplier, q, n_rounds]
        if expense is None or expense in run["bill"]:
            return
        run["bill"] = [line for line in run["bill"] if line[0] != "preprocessing" or line[:3] != expense[:3]] + [
            expense
        ]
        policy = self.policy
        if policy.epsilon is None or policy.delta is None:
            return
        spent = epsilon([Expense(*line) for each in counts["runs"].values() for line in each["bill"]], policy.delta)
        if not spent <= policy.epsilon:
            raise Refusal(
                f"epsilon of all runs would be {spent:.3g}, and the site's policy has {policy.epsilon} at most (delta "
                f"{policy.delta}); ask for more noise or fewer rounds."
            )

    @contextmanager
    def _counted(self) -> Iterator[dict[str, Any]]:
        """Give what has been counted so far; what is changed is kept, unless it is refused."""
        if self.policy.state is None:
            before = json.dumps(self._memory)
            try:
                yield self._memory
            except BaseException:
                self._memory = json.loads(before)
                raise
            return
        path = Path(self.policy.state)
        with _locked(path.with_name(f"{path.name}.lock")):
            counts = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"runs": {}}
            yield counts
            new = path.with_name(f"{path.name}.new")
            with new.open("w", encoding="utf-8") as file:
                json.dump(counts, file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            os.replace(new, path)


def few_rows(name: str, n: int, fewest: int) -> Refusal:
    """Return the refusal of an answer from too few rows; how many there are stays in the site's own log."""
    refusal = Refusal(
        f"{name!r} would be of fewer than {fewest} rows, of the site or of a fold, modality or label, which gives them "
        "away: a sum over one row is that row. Ask for no parts of rows (tuning=None, early_stopping=False), or let "
        "the site lower fewest_rows in its policy."
    )
    refusal.__cause__ = ValueError(f"{n} rows")
    return refusal


def size_of(packet: Packet) -> int:
    """Return how many bytes a packet has, but for the forms of its arrays."""
    return len(packet.text.encode()) + sum(array.nbytes for array in packet.arrays)


def _of_run(counts: dict[str, Any], run: str, most: int | None) -> dict[str, Any]:
    """Return what has been counted of a run."""
    if run not in counts["runs"] and most is not None and len(counts["runs"]) >= most:
        raise _too_many("runs", most)
    new: dict[str, Any] = {"messages": 0, "rounds": 0, "bytes": 0, "moments": 0, "partings": [], "bill": []}
    found: dict[str, Any] = counts["runs"].setdefault(run, new)
    return found


def _too_many(name: str, most: int) -> Refusal:
    return Refusal(f"more {name} are asked for than the {most} that the site's policy has; end here, or ask the site.")


def _subsets(question: Question) -> Iterator[Subset]:
    """Yield the subsets of rows that a question is about."""
    if isinstance(question.content, Subset):
        yield question.content
    if question.what == "sum":
        for query in question.content:
            yield query.subset
            yield from getattr(getattr(query, "members", query), "folds", ())
    for run in () if question.plan is None else question.plan.runs:
        yield run.subset
        if run.held_out is not None:
            yield run.held_out


def _parting(subset: Subset) -> list[Any] | None:
    """Return what tells one way of parting rows from others; None of all rows."""
    if isinstance(subset, Fold):
        return ["fold", subset.seed, subset.n_folds, _parting(subset.of)]
    return ["split", subset.seed, subset.fraction, None] if isinstance(subset, Split) else None


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a file that other processes of the site wait for, where the system has such locks."""
    try:
        import fcntl
    except ModuleNotFoundError:
        yield
        return
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


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


def _pair(bounds: Mapping[str, Any] | None, columns: Any) -> tuple[Any, Any]:
    """Return the widest bounds of the columns of a block (None: of y)."""
    if bounds is None:
        return -inf, inf
    low, high = (np.asarray(side, dtype=np.float64) for side in bounds["y" if columns is None else "X"])
    if columns is not None:
        low, high = (side[columns] if side.ndim else side for side in (low, high))
    return low, high


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else dict(value)
