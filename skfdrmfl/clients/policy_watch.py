"""Who holds the questions that come to a site, and what leaves, to its policy."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf, sqrt
from pathlib import Path
from typing import Any

import numpy as np

from skfdrmfl.clients.policy import OF_MIXTURES, SitePolicy
from skfdrmfl.clients.remote.packet import Refusal
from skfdrmfl.clients.remote.watch import Answer, Question, asked_in_training
from skfdrmfl.data.held_out import EVERYTHING, Fold, Split, Subset
from skfdrmfl.protocol.plan import Plan
from skfdrmfl.server.privacy.accountant import Expense, epsilon
from skfdrmfl.server.privacy.moments import MOMENTS_NOISE, ClippedMoments

# How often one run may part the rows: rows held out to stop early, and folds of the others. Sums over ever other parts
# would add up to single rows.
MOST_PARTINGS = 2
# A site that is invited by chance is so more often than expected by so many standard deviations once in a million runs.
BEYOND_CHANCE = 5.0


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
        if question.what == "who":
            return
        if question.what == "names" and not policy.names:
            raise Refusal("names of columns do not leave: names is false in the site's policy; let another site say.")
        asked = question.asked
        if question.what == "prepare" and question.plan is not None and question.client is not None:
            asked = asked_in_training(question.plan, question.client, range(len(question.plan.runs)))
        for one in asked:
            if policy.queries is not None and one.name not in policy.queries:
                raise Refusal(f"{one.name!r} is not among queries of the site's policy; ask for no such thing.")
            if not policy.tuning and one.name in OF_MIXTURES:
                raise Refusal(f"{one.name!r}: tuning is false in the site's policy; set tuning=None at all ends.")
            if 0 < one.fewest < policy.fewest_rows:
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
        if question.what == "describe":
            n_rows, by_modality = answer.value["n_rows"], answer.value.get("by_modality")
            numbers = [n_rows] if by_modality is None else [n_rows, *by_modality, *(n_rows - by_modality)]
            fewest = min(int(n) for n in numbers if n)
            if fewest < policy.fewest_rows:
                raise few_rows("a description", fewest, policy.fewest_rows)
        with self._counted() as counts:
            run = _of_run(counts, question.run, policy.runs)
            run["bytes"] += answer.packet.size
            if policy.bytes is not None and run["bytes"] > policy.bytes:
                run["bytes"] -= answer.packet.size
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
            if parting and [question.position, *parting] not in run["partings"]:  # another place draws other rows
                run["partings"].append([question.position, *parting])
        if len(run["partings"]) > MOST_PARTINGS:
            raise Refusal(
                f"rows are parted in more than {MOST_PARTINGS} ways, and sums over ever other parts add up to single "
                "rows; fit one model in a run."
            )
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
        others = [line for line in run["bill"] if line[0] != "preprocessing" or line[:3] != expense[:3]]
        run["bill"] = [*others, expense]
        policy = self.policy
        if policy.epsilon is None or policy.delta is None:
            return
        spent = epsilon(
            tuple(Expense(*line) for each in counts["runs"].values() for line in each["bill"]), policy.delta
        )
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
            counts = _counts(path)
            yield counts
            new = path.with_name(f"{path.name}.new")
            with new.open("w", encoding="utf-8") as file:
                json.dump(counts, file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            os.replace(new, path)


def check_state(policy: SitePolicy) -> None:
    """Raise ValueError where the file in which a policy counts cannot be read, or its folder is not there."""
    if policy.state is not None:
        path = Path(policy.state)
        if not path.parent.is_dir():
            raise ValueError(f"state is {path}, whose folder is not there; make the folder, or set another path.")
        _counts(path)


def _counts(path: Path) -> dict[str, Any]:
    """Return what a file has counted so far; ValueError where it has no counts."""
    if not path.exists():
        return {"runs": {}}
    try:
        counts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(counts["runs"], dict):
            raise TypeError("runs")
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"state is {path}, which has no counts of a policy; set another path, or bring the file back."
        ) from error
    return counts


def few_rows(name: str, n: int, fewest: int) -> Refusal:
    """Return the refusal of an answer from too few rows; how many there are stays in the site's own log."""
    refusal = Refusal(
        f"{name!r} would be of fewer than {fewest} rows, of the site or of a fold, modality or label, which gives them "
        "away: a sum over one row is that row. Ask for no parts of rows (tuning=None, early_stopping=False), or let "
        "the site lower fewest_rows in its policy."
    )
    refusal.__cause__ = ValueError(f"{n} rows")
    return refusal


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


def _pair(bounds: Mapping[str, Any] | None, columns: Any) -> tuple[Any, Any]:
    """Return the widest bounds of the columns of a block (None: of y)."""
    if bounds is None:
        return -inf, inf
    low, high = (np.asarray(side, dtype=np.float64) for side in bounds["y" if columns is None else "X"])
    if columns is not None:
        low, high = (side[columns] if side.ndim else side for side in (low, high))
    return low, high
