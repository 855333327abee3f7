"""The failure signatures of the method: each check reads a training history and returns a finding, or nothing."""

from __future__ import annotations

from itertools import combinations
from math import log
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.diagnosis.history import MSE_STEP, TrainingHistory

# Errors are of standardised y: half its variance unexplained is poor on any scale.
POOR_MSE = 0.5
# The best critic of Gaussian pairs gains 0.02 over J = -2 ln 2 at R^2 = 8 %: less is as good as nothing.
MI_GAIN = 0.02
# Twice the information at that R^2, -1/2 ln(1 - 0.08) = 0.04 nats, for the NWJ value is noisy on small batches.
MI_NWJ = 0.08
# Nats that the NWJ value must lose from training rows to rows held out, on which it is noisy too. With y = x_1 + noise
# at R^2 of 20 to 40 % it lost at most 0.21 (240 and 600 rows, a tenth held out); with y independent of X, 20 columns or
# more and 60 to 600 rows, 0.23 to 2.1.
MI_MEMORISED = 0.2
# A regulariser moves between periods by a tenth in runs without any trouble.
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
# Full gradients take one step a round, and reach central training in about 600; from half of that on nothing is said.
GRADIENT_ROUNDS = 300
STILL_FALLS = 0.9
# Effective number of clients, beyond one, over the number of clients, beyond one. Log-normal sizes reach a third
# at sigma = 1, two clients at 85 to 15.
EFFECTIVE_CLIENTS = 1 / 3
# Twice the others' error, beyond three standard errors of the mean square of n Gaussian residuals, sqrt(2 / n).
LEFT_BEHIND = 2.0
STANDARD_ERRORS = 3.0
# Predicting the mean has error 1; a tenth more is not rounding.
DIVERGED_MSE = 1.1

# The standard over the mean absolute deviation is sqrt(n / k) / 2 where k of n rows are far from all others; at this
# share of its value for one row, k is 2.8. Of Gaussian rows it is 1.25, of log-normal ones with sigma 1 about 2.
FEW_ROWS = 0.6
HEAVY_TAIL = 2.5

# What was found, the evidence, and the remedy.
Finding = tuple[str, dict[str, Any], str]


def _mi_collapsed(history: TrainingHistory) -> Finding | None:
    """Find a critic that tells nothing of y from Z even on training rows, or one that has no pairs to learn from.

    Of what a linear model leaves of y there may be nothing to tell.
    """
    if not history.weights["mi"]:
        return None
    *_, last = history.periods
    values = history.recorded["mi_per_client"][last]
    if not values[~np.isnan(values)].any():
        return (
            "R_mi is exactly 0: batches of one row have no marginal pairs, so the information term does nothing.",
            {"mi": 0.0, "mi_weight": history.weights["mi"]},
            "let batches hold several rows: raise batch_size, or merge clients of one row; else set mi_weight=0.",
        )
    nothing = 2 * log(2)
    last_two = history.periods[-2:]  # twice in a row is "stable"
    if len(last_two) < 2 or history.of_residual:
        return None
    mi = min(history.mean_mi("mi", period) for period in last_two)
    nwj = max(history.mean_mi("mi_nwj", period) for period in last_two)
    mse = history.mean("mse", last)
    if not (mi >= nothing - MI_GAIN and nwj <= MI_NWJ and mse >= POOR_MSE):
        return None
    return (
        "R_mi stays at its no-information value 2 ln 2 while y is predicted poorly: Z tells the critic nothing of y.",
        {"mi": mi, "mi_no_information": nothing, "mi_nwj": nwj, "mse": mse},
        "first make sure that y can be predicted from X at all (pooled, client_ids=None); then train longer or with a "
        "higher learning_rate, lower the other weights, or raise batch_size. Where each client holds a narrow range "
        "of y, pairs inside a batch hardly differ: the term cannot help there, set mi_weight=0.",
    )


def _suspect_rows(history: TrainingHistory) -> Finding | None:
    """Find rows that looked corrupt before training."""
    if not history.suspects:
        return None
    return (
        "rows look corrupt, and what follows may come from them.",
        dict(history.suspects),
        'look at suspects_, which names them; mend them, or set suspects="drop" to fit without them.',
    )


def _mi_memorised(history: TrainingHistory) -> Finding | None:
    """Find a critic that tells y from Z on training rows only; without rows held out there is no evidence of it."""
    if not history.weights["mi"] or history.of_residual:
        return None
    *_, last = history.periods
    nwj, held_out = history.mean_mi("mi_nwj", last), history.held_out("mi_nwj", last)
    # NaN, for nothing recorded, fails every comparison.
    if not (nwj > MI_NWJ and held_out <= MI_NWJ and nwj - held_out >= MI_MEMORISED):
        return None
    mse_held_out = history.held_out("mse", last)
    if mse_held_out < POOR_MSE:  # then Z does tell y, and it is the few held-out pairs that say little
        return None
    evidence = {"mi_nwj": nwj, "validation_mi_nwj": held_out, "mse": history.mean("mse", last)}
    if not np.isnan(mse_held_out):
        evidence["validation_mse"] = mse_held_out
    return (
        "the critic tells y from Z on training rows but not on rows held out: it has learned the rows by heart, and "
        "mi_nwj says nothing of I(Z; y).",
        evidence,
        "do not read mi_nwj as information. If validation_mse is no better than 1, make sure that y can be predicted "
        "from X at all; else fit less closely: more rows, more shrinkage or weight_decay; or set "
        "mi_weight=0. The model that was kept is of round best_round_, perhaps earlier than the rounds judged here.",
    )


def _opposed(history: TrainingHistory, term: str, *, falls: bool) -> dict[str, Any] | None:
    """Return evidence that the error rose, and stayed up, while a term that matters fell (or rose); None if it did not.

    Of several pairs of periods that show it, the evidence is of the pair with the largest error.
    """
    weight, periods = history.weights[term], history.periods
    found: list[dict[str, Any]] = []
    for before, after in combinations(periods, 2):
        a, b = history.means_of_both(term, before, after)
        mse_a, mse_b = history.means_of_both("mse", before, after)
        if falls:
            shows = 0 < b <= a * (1 - TERM_CHANGE) and weight * (a - b) >= TERM_TRADE * (mse_b - mse_a)
        else:
            shows = b >= a * (1 + TERM_CHANGE) and weight * b >= TERM_SHARE * (weight * b + mse_b)
        if shows and history.error_rose(before, after) and history.error_rose(before, periods[-1]):
            rounds = f"{before.start + 1}-{before.stop} against {after.start + 1}-{after.stop}"
            terms = {f"{term}_before": a, f"{term}_after": b, "mse_before": mse_a, "mse_after": mse_b}
            found.append({**terms, "weight": weight, "rounds": rounds})
    return max(found, key=lambda evidence: evidence["mse_after"], default=None)


def _kl_conflict(history: TrainingHistory) -> Finding | None:
    """Find an error that rises while R_kl falls, or together with R_kl."""
    if (evidence := _opposed(history, "kl", falls=True)) is not None:
        return (
            "the error rises while R_kl falls: alignment is paid for in prediction, the modalities seem to carry "
            "complementary signal.",
            evidence,
            "lower kl_weight, by ten times at first, or give modality_dim more room.",
        )
    if (evidence := _opposed(history, "kl", falls=False)) is not None:
        return (
            "R_kl and the error rise together: the modalities' codes move apart against their alignment, and "
            "prediction suffers.",
            evidence,
            "lower kl_weight if the modalities carry complementary signal; if the rows have changed, fit anew; "
            "else lower learning_rate.",
        )
    return None


def _stale_anchors(history: TrainingHistory) -> Finding | None:
    """Find an error that rises while R_fcl falls: clients held to global models that do not suit them."""
    evidence = _opposed(history, "contrastive", falls=True)
    if evidence is None:
        return None
    participation = float(np.mean(~np.isnan(history.recorded["mse_per_client"])))
    return (
        "R_fcl falls while the error of the clients rises: Z stays true to earlier global models that do not suit "
        "the clients.",
        evidence | {"participation": participation, "rounds_between_visits": 1.0 / participation},
        "lower contrastive_weight, by ten times at first; raise participation, or shorten history_size.",
    )


def _client_drift(history: TrainingHistory) -> Finding | None:
    """Find clients that undo one another's work: early and strongly, or all along while the error rises."""
    periods = history.periods
    if len(periods) < 2 or history.algorithm == "fedsgd":  # whose clients take no step that could be undone
        return None
    # n_eff equal clients whose updates have nothing in common show a drift of n_eff - 1.
    took_part = ~np.isnan(history.recorded["mse_per_client"])
    n_rows = np.where(took_part, history.n_rows, 0.0)
    trained: NDArray[np.bool_] = np.asarray(took_part.any(1))
    independent = n_rows.sum(1) ** 2 / np.where(trained, (n_rows**2).sum(1), np.nan) - 1.0
    if not trained[periods[0]].any() or np.nanmedian(independent) < 0.1:  # one client, or as good as one
        return None
    relative = history.recorded["drift"] / np.maximum(independent, 0.1)
    early = float(np.nanmedian(relative[periods[0]]))
    overall = float(np.nanmedian(relative))
    rises = history.error_rose(history.best_period, periods[-1])
    if not (
        (early >= EARLY_DRIFT and history.mean("mse", periods[0]) >= MSE_STEP) or (overall >= LATE_DRIFT and rises)
    ):
        return None
    before, after = history.means_of_both("mse", history.best_period, periods[-1])
    return (
        "clients undo each other's work"
        + (
            ", and the error rises as the learning rate falls: each refits its own rows, the average suits none."
            if rises
            else ": they move further apart in a round than the average moves."
        ),
        {
            "drift": float(np.nanmedian(history.recorded["drift"])),
            "drift_over_independent": overall,
            "drift_over_independent_early": early,
            "mse_best": before,
            "mse_last": after,
        },
        'algorithm="scaffold" with local_epochs=1, or "fedsgd", each with n_rounds=600; or fewer local steps a round '
        "(local_epochs) and more rounds, or a lower learning_rate. If clients want different "
        "answers for the same X, no one model suits them: add a column that tells them apart, or fit each kind alone.",
    )


def _too_few_rounds(history: TrainingHistory) -> Finding | None:
    """Find full gradients that were stopped while the error was still falling."""
    if history.algorithm != "fedsgd" or len(history.periods) < 2:
        return None
    before, after = history.means_of_both("mse", history.periods[-2], history.periods[-1])
    if not (history.n_rounds < GRADIENT_ROUNDS and after < STILL_FALLS * before):
        return None
    return (
        f'algorithm="fedsgd" takes one step a round, and after {history.n_rounds} the error was still falling.',
        {"rounds": history.n_rounds, "mse_before": before, "mse_last": after},
        "n_rounds=600; or, where rounds are dear, server_learning_rate=0.05 with weight_decay=0.1.",
    )


def _skipped_rounds(history: TrainingHistory) -> Finding | None:
    """Find rounds that nobody took part in: too few clients were there, or none answered."""
    nobody = np.isnan(history.recorded["mse_per_client"]).all(1)
    if not nobody.any():
        return None
    return (
        f"{int(nobody.sum())} of {history.n_rounds} rounds had no clients: the model stayed as it was.",
        {"rounds": ", ".join(map(str, (1 + np.flatnonzero(nobody)[:10]).tolist())), "n_rounds": history.n_rounds},
        "lower min_clients, or add rounds (n_rounds) for those that were lost.",
    )


def _client_imbalance(history: TrainingHistory) -> Finding | None:
    """Find clients so unequal in rows that few of them make the average."""
    n, k = history.n_rows, len(history.n_rows)
    effective = float(n.sum() ** 2 / (n**2).sum())
    if k < 2 or effective - 1 > EFFECTIVE_CLIENTS * (k - 1):
        return None
    return (
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


def _left_behind(history: TrainingHistory) -> Finding | None:
    """Find one client whose error is far above that of the others."""
    mse = history.per_client("mse", history.periods[-1])
    judged = np.flatnonzero(~np.isnan(mse))
    if len(judged) < 2:
        return None
    worst = judged[np.argmax(mse[judged])]
    others = judged[judged != worst]
    rest = float(np.average(mse[others], weights=history.n_rows[others]))
    chance = 1.0 + STANDARD_ERRORS * np.sqrt(2.0 / history.n_rows[worst])
    if not (mse[worst] >= LEFT_BEHIND * chance * rest and mse[worst] >= rest + MSE_STEP):
        return None
    return (
        f"client {history.clients[worst]!r} is predicted far worse than the others.",
        {
            "client": history.clients[worst],
            "mse": float(mse[worst]),
            "mse_of_others": rest,
            "rows_seen": int(history.n_rows[worst]),
        },
        "look at its rows first: units, instrument, outliers. If they are right, it needs more rows, more rounds, or a "
        "model of its own.",
    )


def _divergence(history: TrainingHistory) -> Finding | None:
    """Find a training error that rose above that of predicting the mean."""
    best, last = history.best_period, history.periods[-1]
    before, after = history.means_of_both("mse", best, last)
    if not (after >= DIVERGED_MSE and history.error_rose(best, last)):
        return None
    nothing = "adding nothing to a linear member" if history.of_residual else "predicting the mean"
    return (
        f"the training error has risen above 1, which {nothing} would give.",
        {"mse_best": before, "mse_last": after},
        "lower learning_rate; see whether y or X have changed scale since the first fit (preprocessing stays as it "
        "was); lower the weights of the terms.",
    )


def _rows_far_off(history: TrainingHistory) -> Finding | None:
    """Find a block of columns most of which owe their spread to a row or two."""
    of_one_row = 0.5 * float(np.sqrt(history.n_rows.sum()))
    far = {name: tail for name, tail in history.tails.items() if tail >= max(HEAVY_TAIL, FEW_ROWS * of_one_row)}
    if not far:
        return None
    return (
        f"a row or two are so far from all others that they make most of the spread of {', '.join(map(repr, far))}: "
        "scales and whitening are theirs, and what tells the other rows apart is shrunk away.",
        {**{f"tail of {name}": tail for name, tail in far.items()}, "tail of one row": of_one_row},
        "look at the rows of largest values, client by client: a corrupt spectrum, a comma, other units. Mend or leave "
        "them out, and fit anew. Rules of aggregation other than 'mean' leave out their client where they are extreme.",
    )


def _client_left_out(history: TrainingHistory) -> Finding | None:
    """Find clients whose rows or updates were left out of the fit."""
    if not history.dropped:
        return None
    evidence = {
        f"client {entry['client']!r}": entry["reason"] + (f", {n} rounds" if (n := len(entry["rounds"])) else "")
        for entry in history.dropped
    }
    return (
        "the model knows nothing, or not all, of what some clients hold: their rows are of another order than most "
        "clients', their updates were not finite, or, over a network, they did not answer.",
        evidence,
        "rows out of line: see whether X or y is in other units there, or holds a corrupt row, and mend it; do not use "
        "the model for such rows as they are. Updates not finite: look at the rows, scale X, or lower learning_rate. "
        "No answer: see to that client's machine, or give it longer.",
    )


CHECKS = {
    "suspect rows": _suspect_rows,  # what they spoil shows in all that follows
    "mi collapsed": _mi_collapsed,
    "mi memorised": _mi_memorised,
    "kl conflict": _kl_conflict,
    "stale anchors": _stale_anchors,
    "client drift": _client_drift,
    "too few rounds": _too_few_rounds,
    "rounds without clients": _skipped_rounds,
    "client imbalance": _client_imbalance,
    "client left behind": _left_behind,
    "divergence": _divergence,
    "rows far off": _rows_far_off,
    "client left out": _client_left_out,
}
