"""What the training record says went wrong: the failure signatures of the method, each with numbers and a remedy.

All of it is read off `history_` and the clients' row counts; no row is looked at, and nothing is trained. A
finding is a symptom that fits a cause, not a proof of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import log
from typing import Any

import numpy as np

from skfdrmfl.common.arrays import Float

# Trends compare this many stretches of the record with one another; one round more or less is noise.
N_STRETCHES = 5
# Two rounds make a mean, three stretches a trend.
FEWEST_ROUNDS = 6
# Errors are of standardised y: half its variance unexplained is poor on any scale.
POOR_MSE = 0.5
# With clients alike and noisy y, the training error at the end was at most 1.25 times its lowest; with clients who
# disagree 1.3 to 3.5 times (it rises as the learning rate falls and each client's refitting stops).
MSE_RISE = 1.4
# Ratios of small errors mean little: 5 % of the variance of y at least.
MSE_STEP = 0.05
# The best critic of Gaussian pairs gains 0.02 over J = -2 ln 2 at R^2 = 8 %: less is as good as nothing.
MI_GAIN = 0.02
# Twice what the bound is worth there, -1/2 ln(1 - 0.08) = 0.04 nats, for it is noisy on small batches.
MI_NWJ = 0.08
# A regulariser moves between stretches by a tenth in runs without any trouble.
TERM_CHANGE = 0.1
# A term is paid for in error only if its fall, with its weight, is worth a good part of what the error rose by.
TERM_TRADE = 0.2
# Where both rise, a term of less than a tenth of the two together does not matter.
TERM_SHARE = 0.1
# In units of what clients who go independent ways would show. In the first fifth of a run, clients alike stayed
# below 2.6 even with y mostly noise; sorted by a noisy y they showed 2.5 to 6.
EARLY_DRIFT = 3.0
# Later, clients alike reach 10 too, each fitting its own noise: drift alone is no evidence then. With a rising
# error it is, from what independent ways would show on.
LATE_DRIFT = 1.0
# Effective number of clients, beyond one, over the number of clients, beyond one. Log-normal sizes reach a third
# at sigma = 1, two clients at 85 to 15.
EFFECTIVE_CLIENTS = 1 / 3
# Twice the others' error, beyond three standard errors of the mean square of n Gaussian residuals, sqrt(2 / n).
LEFT_BEHIND = 2.0
STANDARD_ERRORS = 3.0
# Predicting the mean has error 1; a tenth more is not rounding.
DIVERGED_MSE = 1.1


class Diagnosis(list[dict[str, Any]]):
    """Findings, each a dict of "name", "finding", "evidence" (a dict of numbers) and "remedy"; empty if none.

    A list in every respect; printed, it is a report.

    Parameters
    ----------
    findings : sequence of dict
    summary : str
        What was looked at.
    """

    def __init__(self, findings: Sequence[dict[str, Any]] = (), summary: str = ""):
        super().__init__(findings)
        self.summary = summary

    @property
    def names(self) -> list[str]:
        """Names of the findings."""
        return [finding["name"] for finding in self]

    def __repr__(self) -> str:
        count = {0: "nothing found", 1: "1 finding"}.get(len(self), f"{len(self)} findings")
        lines = [f"{count}: {self.summary}" if self.summary else count]
        for finding in self:
            evidence = ", ".join(f"{name} {_written(value)}" for name, value in finding["evidence"].items())
            lines += [
                "",
                f"{finding['name']}: {finding['finding']}",
                f"    evidence: {evidence}",
                f"    remedy: {finding['remedy']}",
            ]
        return "\n".join(lines)

    __str__ = __repr__


def _written(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class Record:
    """What there is to judge.

    Attributes
    ----------
    history : mapping of str to ndarray
        `history_`: every term (rounds,), and with "_per_client" (rounds, K), NaN for who was absent.
    n_rows : ndarray of shape (K,)
        Rows of each client.
    clients : sequence
        Labels of the clients.
    weights : mapping of str to float
        lambda of "mi", "kl" and "contrastive".
    """

    history: Mapping[str, Float]
    n_rows: Float
    clients: Sequence[Any]
    weights: Mapping[str, float]

    @property
    def n_rounds(self) -> int:
        """Rounds on record."""
        return len(self.history["mse"])

    @property
    def stretches(self) -> list[slice]:
        """The record cut into about equal stretches of rounds; one if it is too short for trends."""
        n = min(N_STRETCHES, self.n_rounds // 2) if self.n_rounds >= FEWEST_ROUNDS else 1
        ends = [self.n_rounds * i // n for i in range(n + 1)]
        return [slice(a, b) for a, b in pairwise(ends)]

    @property
    def best(self) -> slice:
        """The stretch of the lowest error."""
        return min(self.stretches, key=lambda rounds: self.mean("mse", rounds))

    def per_client(self, term: str, rounds: slice) -> Float:
        """Each client's median (K,) over some rounds, NaN if it took part in none."""
        values = self.history[f"{term}_per_client"][rounds]
        out = np.full(values.shape[1], np.nan)
        there = ~np.isnan(values).all(0)
        out[there] = np.nanmedian(values[:, there], axis=0)
        return out

    def mean(self, term: str, rounds: slice, among: Float | None = None) -> float:
        """Mean by rows of the clients who took part in some rounds, among those not NaN in `among`."""
        values = self.per_client(term, rounds)
        there = ~np.isnan(values) if among is None else ~np.isnan(values + among)
        return float(np.average(values[there], weights=self.n_rows[there])) if there.any() else float("nan")

    def compared(self, term: str, before: slice, after: slice) -> tuple[float, float]:
        """Means of a term in two stretches, over the clients who are in both: who comes and goes is no trend."""
        a, b = self.per_client(term, before), self.per_client(term, after)
        return self.mean(term, before, b), self.mean(term, after, a)

    def risen(self, before: slice, after: slice) -> bool:
        """Whether the error has gone up for good reason to worry."""
        a, b = self.compared("mse", before, after)
        return b >= MSE_RISE * a and b >= a + MSE_STEP


def diagnose(record: Record) -> Diagnosis:
    """Every known failure signature that the record shows.

    Parameters
    ----------
    record : Record

    Returns
    -------
    Diagnosis
    """
    n, k = record.n_rounds, len(record.clients)
    if not n:
        return Diagnosis((), "no rounds to judge: tuning chose the ridge regression, which takes none")
    found = [finding for check in CHECKS if (finding := check(record)) is not None]
    mse = record.mean("mse", record.stretches[-1])
    summary = f"{n} round{'s' * (n != 1)}, {k} client{'s' * (k != 1)}, training mse {mse:.3g} of the variance of y"
    if n < FEWEST_ROUNDS:
        summary += f"; too few rounds for trends, which take {FEWEST_ROUNDS}"
    return Diagnosis(found, summary)


def _finding(name: str, finding: str, evidence: dict[str, Any], remedy: str) -> dict[str, Any]:
    return {"name": name, "finding": finding, "evidence": evidence, "remedy": remedy}


# ------------------------------------------------------------------------------------------ the checks
def _mi_collapsed(record: Record) -> dict[str, Any] | None:
    if not record.weights["mi"]:
        return None
    *_, last = record.stretches
    values = record.history["mi_per_client"][last]
    if not values[~np.isnan(values)].any():
        return _finding(
            "mi collapsed",
            "R_mi is exactly 0: batches of one row have no marginal pairs, so the information term does nothing.",
            {"mi": 0.0, "mi_weight": record.weights["mi"]},
            "let batches hold several rows: raise batch_size, or merge clients of one row; else set mi_weight=0.",
        )
    # A client of one row has no pairs either, and would pass for one whose critic knows everything.
    known = np.where(record.per_client("mi", last) == 0.0, np.nan, 0.0)
    nothing = 2 * log(2)
    stretches = record.stretches[-2:]  # twice in a row is "stable"
    if len(stretches) < 2:
        return None
    mi = min(record.mean("mi", rounds, known) for rounds in stretches)
    nwj = max(record.mean("mi_nwj", rounds, known) for rounds in stretches)
    mse = record.mean("mse", last)
    if not (mi >= nothing - MI_GAIN and nwj <= MI_NWJ and mse >= POOR_MSE):
        return None
    return _finding(
        "mi collapsed",
        "R_mi stays at its no-information value 2 ln 2 while y is predicted poorly: Z tells the critic nothing of y.",
        {"mi": mi, "mi_no_information": nothing, "mi_nwj": nwj, "mse": mse},
        "first make sure that y can be predicted from X at all (pooled, client_ids=None); then train longer or with a "
        "higher learning_rate, lower the other weights, or raise batch_size. Where each client holds a narrow range "
        "of y, pairs inside a batch hardly differ: the term cannot help there, set mi_weight=0.",
    )


def _opposed(record: Record, term: str, *, falls: bool) -> dict[str, Any] | None:
    """Evidence that the error went up, and stayed up, while a term that matters fell or rose; the worst case."""
    weight, stretches = record.weights[term], record.stretches
    found: dict[str, Any] | None = None
    for i, before in enumerate(stretches):
        for after in stretches[i + 1 :]:
            if not (record.risen(before, after) and record.risen(before, stretches[-1])):
                continue
            (a, b), (mse_a, mse_b) = record.compared(term, before, after), record.compared("mse", before, after)
            if falls and not (0 < b <= a * (1 - TERM_CHANGE) and weight * (a - b) >= TERM_TRADE * (mse_b - mse_a)):
                continue
            if not falls and not (b >= a * (1 + TERM_CHANGE) and weight * b >= TERM_SHARE * (weight * b + mse_b)):
                continue
            if found is None or mse_b > found["mse_after"]:
                found = {
                    f"{term}_before": a,
                    f"{term}_after": b,
                    "mse_before": mse_a,
                    "mse_after": mse_b,
                    "weight": weight,
                    "rounds": f"{before.start + 1}-{before.stop} against {after.start + 1}-{after.stop}",
                }
    return found


def _kl_conflict(record: Record) -> dict[str, Any] | None:
    evidence = _opposed(record, "kl", falls=True)
    if evidence is not None:
        return _finding(
            "kl conflict",
            "the error rises while R_kl falls: alignment is paid for in prediction, the modalities seem to carry "
            "complementary signal.",
            evidence,
            "lower kl_weight, by ten times at first, or give modality_dim more room.",
        )
    evidence = _opposed(record, "kl", falls=False)
    if evidence is not None:
        return _finding(
            "kl conflict",
            "R_kl and the error rise together: the modalities' codes move apart against their alignment, and "
            "prediction suffers.",
            evidence,
            "lower kl_weight if the modalities carry complementary signal; if the rows have changed, fit anew; "
            "else lower learning_rate.",
        )
    return None


def _stale_anchors(record: Record) -> dict[str, Any] | None:
    evidence = _opposed(record, "contrastive", falls=True)
    if evidence is None:
        return None
    present = float(np.mean(~np.isnan(record.history["mse_per_client"])))
    return _finding(
        "stale anchors",
        "R_fcl falls while the error of the clients rises: Z stays true to earlier global models that do not suit "
        "the clients.",
        evidence | {"participation": present, "rounds_between_visits": 1.0 / present},
        "lower contrastive_weight, by ten times at first; raise participation, or shorten history_size.",
    )


def _client_drift(record: Record) -> dict[str, Any] | None:
    stretches = record.stretches
    if len(stretches) < 2:
        return None
    # n_eff equal clients whose updates have nothing in common show a drift of n_eff - 1.
    there = ~np.isnan(record.history["mse_per_client"])
    shares = np.where(there, record.n_rows, 0.0)
    independent = shares.sum(1) ** 2 / (shares**2).sum(1) - 1.0
    if np.median(independent) < 0.1:  # one client, or as good as one
        return None
    relative = record.history["drift"] / np.maximum(independent, 0.1)
    early = float(np.median(relative[stretches[0]]))
    overall = float(np.median(relative))
    rises = record.risen(record.best, stretches[-1])
    if not (
        (early >= EARLY_DRIFT and record.mean("mse", stretches[0]) >= MSE_STEP) or (overall >= LATE_DRIFT and rises)
    ):
        return None
    before, after = record.compared("mse", record.best, stretches[-1])
    return _finding(
        "client drift",
        "clients undo each other's work"
        + (
            ", and the error rises as the learning rate falls: each refits its own rows, the average suits none."
            if rises
            else ": they move further apart in a round than the average moves."
        ),
        {
            "drift": float(np.median(record.history["drift"])),
            "drift_over_independent": overall,
            "drift_over_independent_early": early,
            "mse_best": before,
            "mse_last": after,
        },
        "fewer local steps a round (local_epochs) and more rounds, or a lower learning_rate. If clients want different "
        "answers for the same X, no one model suits them: add a column that tells them apart, or fit each kind alone.",
    )


def _client_imbalance(record: Record) -> dict[str, Any] | None:
    n, k = record.n_rows, len(record.n_rows)
    effective = float(n.sum() ** 2 / (n**2).sum())
    if k < 2 or effective - 1 > EFFECTIVE_CLIENTS * (k - 1):
        return None
    return _finding(
        "client imbalance",
        "a few clients hold most rows: the average is theirs, the others have little say.",
        {
            "n_clients": k,
            "effective_clients": effective,
            "largest": int(n.max()),
            "smallest": int(n.min()),
            "share_of_largest": float(n.max() / n.sum()),
        },
        "score each client apart (skfdrmfl.metrics.r2_per_client); merge small clients of one kind, or split or "
        "thin out the largest.",
    )


def _left_behind(record: Record) -> dict[str, Any] | None:
    mse = record.per_client("mse", record.stretches[-1])
    there = np.flatnonzero(~np.isnan(mse))
    if len(there) < 2:
        return None
    worst = there[np.argmax(mse[there])]
    others = there[there != worst]
    rest = float(np.average(mse[others], weights=record.n_rows[others]))
    chance = 1.0 + STANDARD_ERRORS * np.sqrt(2.0 / record.n_rows[worst])
    if not (mse[worst] >= LEFT_BEHIND * chance * rest and mse[worst] >= rest + MSE_STEP):
        return None
    return _finding(
        "client left behind",
        f"client {record.clients[worst]!r} is predicted far worse than the others.",
        {
            "client": record.clients[worst],
            "mse": float(mse[worst]),
            "mse_of_others": rest,
            "rows_seen": int(record.n_rows[worst]),
        },
        "look at its rows first: units, instrument, outliers. If they are right, it needs more rows, more rounds, or a "
        "model of its own.",
    )


def _divergence(record: Record) -> dict[str, Any] | None:
    best, last = record.best, record.stretches[-1]
    before, after = record.compared("mse", best, last)
    if not (after >= DIVERGED_MSE and record.risen(best, last)):
        return None
    return _finding(
        "divergence",
        "the training error has risen above 1, which predicting the mean would give.",
        {"mse_best": before, "mse_last": after},
        "lower learning_rate; see whether y or X have changed scale since the first fit (preprocessing stays as it "
        "was); lower the weights of the terms.",
    )


CHECKS = (
    _mi_collapsed,
    _kl_conflict,
    _stale_anchors,
    _client_drift,
    _client_imbalance,
    _left_behind,
    _divergence,
)
