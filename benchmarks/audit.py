"""Whether the noise is what the bill says: a canary client, many runs, and how well its presence can be told.

    python benchmarks/audit.py                  # eps 1, 4 and 8, 2 x 4,000 runs each: about 5 minutes
    python benchmarks/audit.py --broken 0.2     # noise a fifth of what is billed: is caught

The rounds are those of every fit (`federation.rounds`), with clients whose updates are made up: the canary's is as long
as the clip and always the same, all others' are small. An attacker who sees every model judges the steps along the
canary's direction, by their likelihood with and without it. On half of the runs it chooses a threshold; on the others
Clopper-Pearson bounds of its errors (95 % together) give the least epsilon that allows them, log((TPR - delta) / FPR)
(Jagielski et al. 2020).
"""

from __future__ import annotations

from collections.abc import Iterator
from math import exp, log, sqrt

import numpy as np
from _common import arguments, check, note, parser, save, table
from scipy.stats import beta

from skfdrmfl.method.objective import term_names
from skfdrmfl.protocol.messages import Broadcast, Update
from skfdrmfl.protocol.plan import ClientPrivacy, Schedule, Start
from skfdrmfl.protocol.replicas import Replicas
from skfdrmfl.server.privacy.accountant import Expense, epsilon
from skfdrmfl.server.rounds import federated_run
from skfdrmfl.server.trained import Trained
from skfdrmfl.server.training import drive_together

CLAIMS = (1.0, 4.0, 8.0)
DELTA = 1e-5
N_OTHERS, D, N_ROUNDS, RATE, CLIP = 20, 8, 10, 0.5, 0.7
ASKED = 0.2
PRECISION = 1.001  # of noise multipliers, a ratio
MOVES = np.random.default_rng(0)  # of all clients but the canary; the noise is the system's


class MadeUp:
    """A `Training` of clients that return the model with something made up added to it; the canary comes last."""

    def __init__(self, n_clients: int, canary: bool):
        self.canary = n_clients - 1 if canary else None
        zeros = np.zeros(n_clients, dtype=np.int64)
        self.cohort = Replicas(zeros, np.arange(n_clients), zeros.astype(np.uint64), (None,), zeros + 1)  # type: ignore

    def train(self, participants: np.ndarray, broadcast: Broadcast) -> Iterator[Update]:
        """Yield one update of all participants."""
        moved = 0.01 * MOVES.standard_normal((len(participants), D))
        moved[participants == self.canary] = CLIP / sqrt(D)
        yield Update(participants, broadcast.weights + moved, np.zeros((len(participants), len(term_names()))))


def evidence(sigma: float, canary: bool, billed: float) -> float:
    """Log of how much likelier the models of all rounds are with the canary than without, if noise is as billed."""
    n_clients = N_OTHERS + canary
    training = MadeUp(n_clients, canary)
    privacy = ClientPrivacy(sigma, CLIP, RATE, n_clients)
    schedule = Schedule((1.0,) * N_ROUNDS, 1, 1, RATE, 0, privacy=privacy)
    members, model, ratio = training.cohort.members_of(0), np.zeros(D), 0.0
    run = federated_run(members, schedule, Trained.begin(Start(model), members, schedule))
    for (trained,) in drive_together([run], training):  # type: ignore[arg-type]
        step = float((trained.state.weights - model).sum()) / sqrt(D) * privacy.n_expected / CLIP
        ratio += log(1 - RATE + RATE * exp((step - 0.5) / billed**2))
        model = trained.state.weights
    return ratio


def lower_bound(present: np.ndarray, absent: np.ndarray, delta: float = DELTA) -> float:
    """The least epsilon that allows evidence so different, at 95 %; 0 where there is none."""
    half = len(present) // 2
    best, threshold = -1.0, 0.0
    for candidate in np.quantile(
        np.concatenate([present[:half], absent[:half]]), 1 - np.geomspace(0.5 / half, 0.9, 60)
    ):
        score = bound_at(present[:half], absent[:half], candidate, delta)
        if score > best:
            best, threshold = score, candidate
    return max(0.0, bound_at(present[half:], absent[half:], threshold, delta))


def bound_at(present: np.ndarray, absent: np.ndarray, threshold: float, delta: float) -> float:
    """The bound for the attacker who says "present" above a threshold."""
    hits, alarms, n = int((present > threshold).sum()), int((absent > threshold).sum()), len(present)
    rate_of_hits = beta.ppf(0.025, hits, n - hits + 1) if hits else 0.0
    rate_of_alarms = beta.ppf(0.975, alarms + 1, n - alarms) if alarms < n else 1.0
    return log((rate_of_hits - delta) / rate_of_alarms) if rate_of_hits > delta else -1.0


def audit(sigma: float, n_runs: int, billed: float | None = None) -> float:
    """The lower bound of epsilon from `n_runs` runs with the canary and as many without."""
    billed = sigma if billed is None else billed
    present, absent = (np.array([evidence(sigma, canary, billed) for _ in range(n_runs)]) for canary in (True, False))
    return lower_bound(present, absent)


def multiplier_for(eps: float) -> float:
    """The noise multiplier whose rounds are billed at eps."""
    low, high = 0.2, 50.0
    while high / low > PRECISION:
        middle = sqrt(low * high)
        spent = epsilon((Expense("training rounds", middle, RATE, N_ROUNDS),), DELTA)
        low, high = (low, middle) if spent <= eps else (middle, high)
    return high


def main() -> None:
    """Print claims, bounds and their ratio."""
    options = parser(__doc__)
    options.add_argument("--runs", type=int, default=4000, metavar="N", help="with and without (default: %(default)s)")
    options.add_argument("--broken", type=float, default=1.0, metavar="F", help="factor on the noise (default: none)")
    args = arguments(options, runs=8)
    if args.smallest:
        global PRECISION
        PRECISION = 2.0
    rows, results = [], {}
    for claim in CLAIMS:
        sigma = multiplier_for(claim)
        found = audit(sigma * args.broken, args.runs, sigma)
        note(f"eps {claim}: at least {found:.3f}")
        reached = check(found, claim) if claim == 1.0 or found > claim else check(found / claim, ASKED, at_least=True)
        rows.append([f"{claim:g}", f"{sigma:.3f}", f"{found:.3f}", f"{found / claim:.2f}", reached])
        results[str(claim)] = found
    print(table(["eps claimed", "noise multiplier", "at least", "ratio", "reached"], rows))
    save(args.out, "audit", {"bounds": results, "runs": args.runs, "broken": args.broken})


if __name__ == "__main__":
    main()
